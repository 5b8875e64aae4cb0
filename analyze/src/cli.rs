//! The command line: what is accepted, and the plain values it is turned into. Nothing is decided here that the
//! library could decide.

use std::{io::Write, path::PathBuf, time::Duration};

use anstream::ColorChoice;
use beyla_analyze::{
    export::{Metrics, Output},
    sql::Format,
};
use beyla_engine::{
    prometheus::{MAX_SERIES, Names},
    redact::{Policy, PolicyError},
    route::{NameError, Pattern, PatternError, Rules, Unmatched},
    trace_line::{Form, FormError},
};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  beyla-analyze run.parquet                        rate, errors and durations
  beyla-analyze run.parquet --format json          the same for programs
  beyla-analyze run.parquet --sql                  a prompt; \\d lists tables and columns
  beyla-analyze run.parquet --traces | head        one line per request
  beyla-analyze run.parquet --traces=json          one JSON object per request
  beyla-analyze run.parquet --prometheus           metrics of the whole run
  beyla-analyze run.parquet --prometheus --step 15s    as they were every 15 seconds, to load into Prometheus
  beyla-analyze run.parquet --route '/users/{id}' --route '/static/*' --unmatched wildcard
  beyla-analyze run.parquet --config beyla.yml     the same from a file with Beyla's keys

  beyla-analyze run.parquet --sql \"
    select route, count(*) as n, approx_percentile_cont(duration_ms, 0.95) as p95
    from requests where kind = 'server' group by route order by p95 desc limit 5\"
  beyla-analyze a.parquet b.parquet --sql 'select * from requests' --format ndjson
  beyla-analyze run.parquet --sql --format csv < queries.sql
  beyla-analyze routes run.parquet                 which route rules would give how many routes
  beyla-analyze validate run.parquet               is it what the format says
  beyla-analyze filter run.parquet -o shared.parquet --redact

A file that is called like a command is given as ./validate.

Exit status:
  0  fine
  2  wrong usage, or input that cannot be read
  3  with --strict: the capture is not complete

Data goes to stdout, everything else to stderr.";

/// Replays captures of beyla-capture: reports, SQL, metrics, traces.
///
/// Every request in the files is paired again from the recorded bytes, by the same engine as during the
/// capture. The same files always give the same output.
#[derive(Debug, Parser)]
#[command(
    name = "beyla-analyze",
    version,
    override_usage = "beyla-analyze [OPTIONS] <FILE>...\n       beyla-analyze <COMMAND>",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = EXAMPLES,
    max_term_width = 100
)]
struct Cli {
    /// Capture files; several are replayed one after the other into one answer
    #[arg(value_name = "FILE", required_unless_present = "generate")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    mode: Mode,

    #[command(flatten)]
    routing: Routing,

    /// How to show it: text or json for the report, table, csv, json or ndjson for --sql
    #[arg(long, value_name = "FORMAT")]
    format: Option<AnyFormat>,

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

    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true)]
    color: Color,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Routes(Routes),
    Validate(Validate),
    Filter(Filter),
}

/// How paths become routes.
#[derive(Debug, Args)]
struct Routing {
    /// Make this the route of the paths that it matches: /users/{id}, /users/:id, /files/v:version, /static/*
    #[arg(long, help_heading = "Routes", value_name = "PATTERN", value_parser = pattern)]
    route: Vec<Pattern>,

    /// Leave out requests to the paths that this matches
    #[arg(long, help_heading = "Routes", value_name = "PATTERN", value_parser = pattern)]
    route_ignore: Vec<Pattern>,

    /// The route of other paths: heuristic (* for segments that look like ids), low-cardinality (the same, and for places
    /// with more than 10 different segments), path (as it is), wildcard (/** for all), unset (none) [default: heuristic]
    #[arg(long, help_heading = "Routes", value_name = "HOW", value_parser = unmatched)]
    unmatched: Option<Unmatched>,

    /// Read the rules from the section `routes` of a YAML file with Beyla's keys; options add to it and come first
    #[arg(long, help_heading = "Routes", value_name = "FILE")]
    config: Option<PathBuf>,
}

fn pattern(text: &str) -> Result<Pattern, PatternError> {
    text.parse()
}

fn form(text: &str) -> Result<Form, FormError> {
    text.parse()
}

fn unmatched(text: &str) -> Result<Unmatched, NameError> {
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

/// Where the route rules are to come from.
pub(crate) struct RouteOptions {
    pub(crate) config: Option<PathBuf>,
    patterns: Vec<Pattern>,
    ignored: Vec<Pattern>,
    unmatched: Option<Unmatched>,
}

impl RouteOptions {
    /// The rules of the options together with those of a file, and whether anybody asked for any.
    pub(crate) fn rules(self, file: Option<Rules>) -> (Rules, bool) {
        let Self { patterns, ignored, unmatched, .. } = self;
        let given = file.is_some() || !patterns.is_empty() || !ignored.is_empty() || unmatched.is_some();
        (file.unwrap_or_default().preceded_by(patterns, ignored, unmatched), given)
    }
}

impl From<Routing> for RouteOptions {
    fn from(routing: Routing) -> Self {
        let Routing { route: patterns, route_ignore: ignored, unmatched, config } = routing;
        Self { config, patterns, ignored, unmatched }
    }
}

const ROUTES_EXAMPLES: &str = "\
Examples:
  beyla-analyze routes run.parquet                 the path, the heuristic, low cardinality, the wildcard
  beyla-analyze routes run.parquet --route '/users/{id}' --route '/static/*' --top 20
  beyla-analyze routes run.parquet --config beyla.yml --format json

Exit status:
  0  fine
  2  wrong usage, or input that cannot be read";

/// Compare route rules: how many routes each of them gives a service, which have the most requests, and what became them
///
/// The rules that are compared are the path as it is, the heuristic, low cardinality, the wildcard, and, with --route or
/// patterns in --config, these: `given`. docs/routes.md tells what they do.
#[derive(Debug, Args)]
#[command(after_help = ROUTES_EXAMPLES)]
struct Routes {
    /// Capture files; several are one answer
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    routing: Routing,

    /// Routes that are shown of each service and rule
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: TextOrJson,
}

const VALIDATE_EXAMPLES: &str = "\
Examples:
  beyla-analyze validate run.parquet
  beyla-analyze validate run-*.parquet             the parts of a rotated capture are one
  beyla-analyze validate run.parquet --format json | jq .verdict

Exit status:
  0  valid, or incomplete: the capture was cut off
  1  some invariant does not hold
  2  wrong usage, or a file that cannot be opened";

/// Check that files are what the format says: order, columns, positions, totals, and that what was seen is what was
/// recorded and lost
///
/// One line per invariant, and the first rows that break it. Whether events were lost is not checked: that is what
/// `beyla-analyze FILE --strict` does.
#[derive(Debug, Args)]
#[command(after_help = VALIDATE_EXAMPLES)]
struct Validate {
    /// Capture files; consecutive parts of one capture are checked as one
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: TextOrJson,
}

const FILTER_EXAMPLES: &str = "\
Examples:
  beyla-analyze filter run.parquet -o shared.parquet --redact
  beyla-analyze filter run.parquet -o shared.parquet --redact headers-only
  beyla-analyze filter run.parquet -o shared.parquet --redact --redact-header x-session --redact-param uid

Exit status:
  0  fine
  2  wrong usage, input that cannot be read, or output that cannot be written";

/// Write a capture anew with its secrets masked, so that it can be handed on
///
/// What is masked keeps its length: requests stay the same but for masked values. The input may be of any version, or
/// what a capture that was killed left.
#[derive(Debug, Args)]
#[command(after_help = FILTER_EXAMPLES)]
struct Filter {
    /// Capture file
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// Where to write it; readable for its owner only
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// What to mask
    #[arg(long, value_name = "POLICY", num_args = 0..=1, default_missing_value = "default", required = true)]
    redact: Redaction,

    /// Mask the values of this header field too
    #[arg(long, value_name = "NAME")]
    redact_header: Vec<String>,

    /// Mask the values of this query parameter too
    #[arg(long, value_name = "NAME")]
    redact_param: Vec<String>,

    /// Overwrite OUT
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Redaction {
    /// Credentials in header fields, query parameters and command lines
    Default,
    /// Bodies too, and what is not HTTP
    HeadersOnly,
    /// Only what is named with --redact-header and --redact-param
    None,
}

impl Filter {
    fn policy(&self) -> Result<Policy, PolicyError> {
        let policy = match self.redact {
            Redaction::Default => Policy::standard(),
            Redaction::HeadersOnly => Policy::standard().headers_only(),
            Redaction::None => Policy::none(),
        };
        policy.with_names(&self.redact_header, &self.redact_param)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TextOrJson {
    /// For people
    Text,
    /// For programs
    Json,
}

/// What to make of the files; the report when none of these is given.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Mode {
    /// Ask the tables `requests` and `events`. Without QUERY: a prompt on a terminal, else queries from stdin
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

    /// Write the manual page or completions for a shell
    #[arg(long, value_name = "WHAT")]
    generate: Option<Generate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AnyFormat {
    /// The report for people
    Text,
    /// Aligned columns
    Table,
    /// Comma-separated values under a header; null is empty
    Csv,
    /// One JSON document
    Json,
    /// One JSON object a line
    Ndjson,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MetricNames {
    /// The stable conventions of OpenTelemetry
    Otel,
    /// The names of the first public beta of Beyla, which dashboard 19077 reads
    #[value(name = "beyla-2023")]
    Beyla2023,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    Always,
    Never,
}

/// What can be generated from the command line's definition.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Generate {
    Man,
    CompleteBash,
    CompleteZsh,
    CompleteFish,
}

/// What is to be done.
pub(crate) struct Options {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) action: Action,
    pub(crate) routes: RouteOptions,
    pub(crate) strict: bool,
    pub(crate) color: ColorChoice,
}

/// What is to be made of the files.
pub(crate) enum Action {
    TextReport {
        top: usize,
    },
    JsonReport {
        top: usize,
    },
    Sql {
        query: Option<String>,
        format: Format,
    },
    /// Series have routes as labels if today's conventions are followed, or if there are rules.
    Prometheus(Metrics),
    Traces(Form),
    Routes {
        top: usize,
        json: bool,
    },
    Validate {
        json: bool,
    },
    Filter {
        output: PathBuf,
        policy: Policy,
        force: bool,
    },
    /// Write these bytes, which need no file.
    Print(Vec<u8>),
}

/// The options of the command line. Ends the process when there are none to return: wrong usage, `--help`.
pub(crate) fn parse() -> std::io::Result<Options> {
    let Cli { files, mode, routing, format, top, metric_names, max_series, step, strict, color, command } =
        Cli::parse();
    let mut routes = RouteOptions::from(routing);
    let color = match color {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    };
    if let Some(command) = command {
        let (files, action) = match command {
            Command::Routes(Routes { files, routing, top, format }) => {
                routes = routing.into();
                (files, Action::Routes { top, json: format == TextOrJson::Json })
            }
            Command::Validate(Validate { files, format }) => {
                (files, Action::Validate { json: format == TextOrJson::Json })
            }
            Command::Filter(filter) => {
                let policy = filter
                    .policy()
                    .unwrap_or_else(|error| Cli::command().error(ErrorKind::ValueValidation, error).exit());
                let Filter { input, output, force, .. } = filter;
                (vec![input], Action::Filter { output, policy, force })
            }
        };
        return Ok(Options { files, action, routes, strict, color });
    }
    let refuse = |what: &str, formats: &str| -> ! {
        let message = format!("{what} is written as {formats}");
        Cli::command().error(ErrorKind::ArgumentConflict, message).exit()
    };
    let openmetrics = mode.openmetrics;
    let action = match (mode, format) {
        (Mode { generate: Some(what), .. }, _) => Action::Print(generate(what)?),
        (Mode { sql: Some(query), .. }, format) => {
            let format = match format {
                None | Some(AnyFormat::Table) => Format::Table,
                Some(AnyFormat::Csv) => Format::Csv,
                Some(AnyFormat::Json) => Format::Json,
                Some(AnyFormat::Ndjson) => Format::Ndjson,
                Some(AnyFormat::Text) => refuse("the result of --sql", "table, csv, json or ndjson"),
            };
            Action::Sql { query, format }
        }
        (Mode { prometheus: true, .. } | Mode { openmetrics: true, .. }, None) => {
            let (names, routes) = match metric_names {
                MetricNames::Otel => (Names::Otel, true),
                MetricNames::Beyla2023 => (Names::Beyla2023, false),
            };
            let output = match (step, openmetrics) {
                (Some(step), _) => Output::Backfill(step),
                (None, true) => Output::OpenMetrics,
                (None, false) => Output::Text,
            };
            Action::Prometheus(Metrics { names, routes, max_series, output })
        }
        (Mode { traces: Some(form), .. }, None) => Action::Traces(form),
        (
            Mode { prometheus: true, .. } | Mode { openmetrics: true, .. } | Mode { traces: Some(_), .. },
            Some(_),
        ) => refuse("the output of --prometheus, --openmetrics and --traces", "it is: without --format"),
        (_, None | Some(AnyFormat::Text)) => Action::TextReport { top },
        (_, Some(AnyFormat::Json)) => Action::JsonReport { top },
        (_, Some(_)) => refuse("the report", "text or json; the other formats are for --sql"),
    };
    Ok(Options { files, action, routes, strict, color })
}

fn generate(what: Generate) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut command = Cli::command();
    let mut complete = |shell| clap_complete::generate(shell, &mut command, "beyla-analyze", &mut bytes);
    match what {
        Generate::Man => manual(&mut bytes)?,
        Generate::CompleteBash => complete(Shell::Bash),
        Generate::CompleteZsh => complete(Shell::Zsh),
        Generate::CompleteFish => complete(Shell::Fish),
    }
    bytes.flush()?;
    Ok(bytes)
}

/// One page: the commands follow the options of the program.
fn manual(page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = Cli::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(page)?;
    for command in command.get_subcommands() {
        writeln!(page, ".SH \"COMMAND {}\"", command.get_name().to_uppercase())?;
        let command = clap_mangen::Man::new(command.clone());
        command.render_synopsis_section(page)?;
        command.render_description_section(page)?;
        command.render_options_section(page)?;
        command.render_extra_section(page)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
