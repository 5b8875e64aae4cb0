//! Without a command: the report, or what an option asks for instead.

use std::{
    io::{IsTerminal, Read, Write, stdin},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use beyla_analyze::{
    demo,
    export::{self, Metrics, Output},
    report,
    sql::{Format, Session, Show, Target},
};
use beyla_engine::{
    prometheus::{MAX_SERIES, Names},
    red::{Dimension, DimensionError},
    trace_line::{Form, FormError},
};
use clap::{Args, CommandFactory, ValueEnum, error::ErrorKind};

use super::{
    Cli,
    input::InputOptions,
    status::{self, Warn},
    terminal::Terminal,
};

/// Files and what to make of them.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Capture files; several are replayed one after the other into one answer
    #[arg(value_name = "FILE", required_unless_present_any = ["demo", "generate"])]
    files: Vec<PathBuf>,

    /// Use a small capture that comes with the program: nginx as a proxy
    #[arg(long, conflicts_with = "files")]
    demo: bool,

    #[command(flatten)]
    mode: Mode,

    #[command(flatten)]
    input: InputOptions,

    /// How to show it: text, markdown, json or html for the report; table, csv, tsv, json, ndjson, markdown, parquet or
    /// arrow for --sql
    #[arg(long, value_name = "FORMAT")]
    format: Option<AnyFormat>,

    /// Instead of the tables by route and status, one by these columns of `requests`, such as status or
    /// service,client_address
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',', value_parser = dimension)]
    by: Vec<Dimension>,

    /// Write what --sql finds to this file, once it is complete; its owner alone may read it
    #[arg(short, long, value_name = "FILE", requires = "sql")]
    output: Option<PathBuf>,

    /// Rows that each table of the report shows
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    /// What the metrics are called
    #[arg(long, value_name = "NAMES", default_value = "otel", requires = "exposition")]
    metric_names: MetricNames,

    /// The most series that a metric may have; what needs further ones is in one with otel_metric_overflow="true"
    #[arg(long, value_name = "N", default_value_t = MAX_SERIES, value_parser = at_least_one, requires = "exposition")]
    max_series: usize,

    /// Write the metrics as they were at every multiple of this time, such as 15s, in OpenMetrics for
    /// `promtool tsdb create-blocks-from openmetrics`
    #[arg(long, value_name = "TIME", value_parser = step, requires = "exposition")]
    step: Option<Duration>,

    /// Fail with status 3 when events were lost or the capture did not end cleanly
    #[arg(long)]
    strict: bool,
}

/// What to make of the files; the report when none of these is given.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Mode {
    /// Ask tables such as `requests`, `connections` and `events`. Without QUERY: a prompt on a terminal, else queries from stdin
    #[arg(long, value_name = "QUERY", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "an option with an optional value")]
    sql: Option<Option<String>>,

    /// Write the metrics of the whole run in the text format of Prometheus
    #[arg(long, group = "exposition")]
    prometheus: bool,

    /// Write the metrics of the whole run as OpenMetrics, with exemplars
    #[arg(long, group = "exposition")]
    openmetrics: bool,

    /// Write one line per request: line (that of the first Beyla), text (with ports, route, sizes and span), json,
    /// json-indent, counter
    #[arg(long, value_name = "FORM", value_parser = form, num_args = 0..=1, require_equals = true, default_missing_value = "line")]
    traces: Option<Form>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AnyFormat {
    /// The report for people
    Text,
    /// Tables of Markdown: the report for a pull request
    Markdown,
    /// The report as a page for a browser, in one file
    Html,
    /// Aligned columns
    Table,
    /// Comma-separated values under a header; null is empty
    Csv,
    /// The same with tabs
    Tsv,
    /// One JSON document
    Json,
    /// One JSON object a line
    Ndjson,
    /// A Parquet file
    Parquet,
    /// A stream of Arrow IPC
    Arrow,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MetricNames {
    /// The stable conventions of OpenTelemetry
    Otel,
    /// The names of the first public beta of Beyla, which dashboard 19077 reads
    #[value(name = "beyla-2023")]
    Beyla2023,
}

fn dimension(text: &str) -> Result<Dimension, DimensionError> {
    text.parse()
}

fn form(text: &str) -> Result<Form, FormError> {
    text.parse()
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("there has to be one".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

fn step(text: &str) -> Result<Duration, String> {
    let step: Duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if step.is_zero() || !step.subsec_nanos().is_multiple_of(1_000_000) {
        return Err("Prometheus has times of whole milliseconds".to_owned());
    }
    Ok(step)
}

fn refuse(what: &str, formats: &str) -> ! {
    let message = format!("{what} is written as {formats}");
    Cli::command().error(ErrorKind::ArgumentConflict, message).exit()
}

impl Replay {
    pub(crate) fn run(mut self, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        if self.demo {
            self.files = vec![demo::NAME.into()];
        }
        match (self.mode.sql.take(), self.format) {
            (Some(query), format) => self.sql(query, format, terminal),
            (None, Some(_))
                if self.mode.openmetrics || self.mode.prometheus || self.mode.traces.is_some() =>
            {
                refuse("the output of --prometheus, --openmetrics and --traces", "it is: without --format")
            }
            (None, None) if self.mode.openmetrics || self.mode.prometheus => self.metrics(terminal),
            (None, format) => match self.mode.traces {
                Some(form) => self.traces(form, terminal),
                None => self.report(format, terminal),
            },
        }
    }

    fn report(self, format: Option<AnyFormat>, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let Self { input, files, by, top, strict, .. } = self;
        let (input, _) = input.of(files)?;
        let build = || report::build(&input, by, top);
        let (report, warn) = match format {
            None | Some(AnyFormat::Text) => {
                let report = build()?;
                terminal.text(&report::text::render(&report, top, Terminal::width()))?;
                (report, Warn::Failures)
            }
            Some(AnyFormat::Markdown) => {
                let report = build()?;
                terminal.out.write_all(report::markdown::render(&report, top).as_bytes())?;
                (report, Warn::Failures)
            }
            Some(AnyFormat::Json) => {
                let report = build()?;
                terminal.out.write_all(report::json::render(&report).as_bytes())?;
                (report, Warn::Always)
            }
            Some(AnyFormat::Html) => {
                let page = report::html::build(&input)?;
                terminal.out.write_all(report::html::render(&page).as_bytes())?;
                (page.report, Warn::Always)
            }
            Some(_) => refuse("the report", "text, markdown, json or html; the other formats are for --sql"),
        };
        Ok(status::of(terminal, &report.files, warn, strict)?)
    }

    fn sql(
        self,
        query: Option<String>,
        format: Option<AnyFormat>,
        terminal: &mut Terminal,
    ) -> anyhow::Result<ExitCode> {
        let format = match format {
            None | Some(AnyFormat::Table) => Format::Table,
            Some(AnyFormat::Csv) => Format::Csv,
            Some(AnyFormat::Json) => Format::Json,
            Some(AnyFormat::Ndjson) => Format::Ndjson,
            Some(AnyFormat::Tsv) => Format::Tsv,
            Some(AnyFormat::Markdown) => Format::Markdown,
            Some(AnyFormat::Parquet) => Format::Parquet,
            Some(AnyFormat::Arrow) => Format::Arrow,
            Some(AnyFormat::Text | AnyFormat::Html) => {
                refuse("the result of --sql", "table, csv, tsv, json, ndjson, markdown, parquet or arrow")
            }
        };
        let to_terminal = self.output.is_none() && Terminal::is_terminal();
        if format.is_binary() && to_terminal {
            refuse("what is not text", "a file: with -o FILE");
        }
        let (input, _) = self.input.of(self.files)?;
        let files = input.files.clone();
        let show = Show {
            format,
            colour: terminal.colour && self.output.is_none(),
            progress: format == Format::Table || !to_terminal,
            expanded: false,
        };
        let session = Session::new(input, show)?;
        let query = match query {
            None if self.output.is_none() && stdin().is_terminal() && to_terminal => None,
            Some(query) => Some(query),
            None => {
                let mut queries = String::new();
                stdin().read_to_string(&mut queries).context("cannot read the queries")?;
                Some(queries)
            }
        };
        match (query, self.output) {
            (None, _) => session.prompt(&mut terminal.out)?,
            (Some(query), None) => session.run(&query, &mut terminal.out)?,
            (Some(query), Some(output)) => {
                let mut target = Target::create(&output, &files)?;
                session.run(&query, &mut target)?;
                target.finish()?;
            }
        }
        let summaries = if self.strict { session.summaries()? } else { session.findings() };
        session.leave();
        Ok(status::of(terminal, &summaries, Warn::Always, self.strict)?)
    }

    /// Series have routes as labels if today's conventions are followed, or if there are rules.
    fn metrics(self, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let (input, rules_given) = self.input.of(self.files)?;
        let (names, routes) = match self.metric_names {
            MetricNames::Otel => (Names::Otel, true),
            MetricNames::Beyla2023 => (Names::Beyla2023, rules_given),
        };
        let output = match self.step {
            Some(step) => Output::Backfill(step),
            None if self.mode.openmetrics => Output::OpenMetrics,
            None => Output::Text,
        };
        let metrics = Metrics { names, routes, max_series: self.max_series, output };
        let summaries = export::prometheus(&input, metrics, &mut terminal.out)?;
        Ok(status::of(terminal, &summaries, Warn::Always, self.strict)?)
    }

    fn traces(self, form: Form, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let (input, _) = self.input.of(self.files)?;
        let summaries = export::traces(&input, form, &mut terminal.out, !Terminal::is_terminal())?;
        Ok(status::of(terminal, &summaries, Warn::Always, self.strict)?)
    }
}
