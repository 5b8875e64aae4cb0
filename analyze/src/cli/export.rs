//! `export`: requests in the formats of other tools.

use std::{path::PathBuf, process::ExitCode};

use beyla_analyze::export::{self, Again, BaseUrl, BaseUrlError, Format, output};
use beyla_schema::request::Kind;
use clap::{Args, CommandFactory, ValueEnum, error::ErrorKind};

use super::{
    Cli,
    input::InputOptions,
    status::{self, Warn},
    terminal::Terminal,
};

const EXPORT_EXAMPLES: &str = "\
Examples:
  beyla-analyze export run.parquet --to parquet -o requests.parquet      a row per request, for DuckDB, pandas, Spark
  beyla-analyze export run.parquet --to perfetto -o run.perfetto-trace   a timeline for ui.perfetto.dev
  beyla-analyze export run.parquet --to otlp-json -o spans.jsonl         spans for the OpenTelemetry Collector
  beyla-analyze export run.parquet --to har --where 'status >= 500' -o errors.har
  beyla-analyze export run.parquet --to curl --base-url http://localhost:8080 | sh
  beyla-analyze export run.parquet --to k6 --speed 2 -o again.js && k6 run again.js

docs/export.md tells what each format has, and what it has not.

Exit status:
  0  fine
  2  wrong usage, input that cannot be read, or output that cannot be written
  3  with --strict: the capture is not complete";

/// Write requests in the format of another tool: tables, spans, timelines, metrics, scripts that send them again
///
/// Requests come in the order they ended and are written as they come, so that a capture of any length takes little memory.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(crate) struct Export {
    /// Capture files; several are replayed one after the other into one output
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// The format
    #[arg(long, value_name = "FORMAT")]
    to: To,

    /// Write to this file, which is there when it is complete and readable for its owner only; to standard output without
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    /// Overwrite OUT
    #[arg(long, requires = "output")]
    force: bool,

    #[command(flatten)]
    input: InputOptions,

    /// Send again the requests that were served, or those that were made (curl, k6) [default: server]
    #[arg(long, help_heading = "Scripts", value_name = "KIND")]
    kind: Option<Served>,

    /// Send the requests to this URL instead of where they were sent: http://localhost:8080 (curl, k6)
    #[arg(long, help_heading = "Scripts", value_name = "URL", value_parser = base_url)]
    base_url: Option<BaseUrl>,

    /// Send the requests so many times faster than they were recorded (k6) [default: 1]
    #[arg(long, help_heading = "Scripts", value_name = "TIMES", value_parser = speed)]
    speed: Option<f64>,

    /// Fail with status 3 when events were lost or the capture did not end cleanly
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// The table `requests` as Parquet, with zstd
    Parquet,
    /// The table `requests` as an Arrow IPC file
    Arrow,
    /// The table `requests` as comma-separated values; null is empty
    Csv,
    /// The table `requests` as one JSON object a line
    Ndjson,
    /// Spans as the OpenTelemetry Collector writes them to files with `format: proto`
    Otlp,
    /// Spans as the OpenTelemetry Collector writes them to files, one JSON object a line
    OtlpJson,
    /// An HTTP archive 1.2
    Har,
    /// A timeline for ui.perfetto.dev
    Perfetto,
    /// The metrics of the whole run, with exemplars
    #[value(name = "openmetrics")]
    OpenMetrics,
    /// A shell script with a curl command for each request
    Curl,
    /// A script for k6 that sends the requests when they were recorded
    K6,
}

impl From<To> for Format {
    fn from(to: To) -> Self {
        match to {
            To::Parquet => Self::Parquet,
            To::Arrow => Self::Arrow,
            To::Csv => Self::Csv,
            To::Ndjson => Self::Ndjson,
            To::Otlp => Self::Otlp,
            To::OtlpJson => Self::OtlpJson,
            To::Har => Self::Har,
            To::Perfetto => Self::Perfetto,
            To::OpenMetrics => Self::OpenMetrics,
            To::Curl => Self::Curl,
            To::K6 => Self::K6,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Served {
    /// Those that the captured services answered
    Server,
    /// Those that they made
    Client,
}

fn base_url(text: &str) -> Result<BaseUrl, BaseUrlError> {
    text.parse()
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(times) if f64::is_normal(times) && times > 0.0 => Ok(times),
        _ => Err("no number above 0".to_owned()),
    }
}

fn refuse(message: &str) -> ! {
    Cli::command().error(ErrorKind::ArgumentConflict, message).exit()
}

impl Export {
    pub(crate) fn run(self, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let format = Format::from(self.to);
        if !format.is_script() && (self.kind.is_some() || self.base_url.is_some()) {
            refuse(
                "--kind and --base-url are for --to curl and --to k6; others have --where \"kind = 'server'\"",
            );
        }
        if format != Format::K6 && self.speed.is_some() {
            refuse("--speed is for --to k6");
        }
        if self.output.is_none() && format.is_binary() && Terminal::is_terminal() {
            refuse("this format is nothing for a terminal: write it to a file with -o, or into a pipe");
        }
        let again = Again {
            kind: match self.kind {
                None | Some(Served::Server) => Kind::Server,
                Some(Served::Client) => Kind::Client,
            },
            base_url: self.base_url,
            speed: self.speed.unwrap_or(1.0),
        };
        let (input, _) = self.input.of(self.files)?;
        let summaries = match &self.output {
            Some(path) => {
                output::to_file(path, self.force, |out| export::export(&input, format, &again, out, true))?
            }
            None => export::export(&input, format, &again, &mut terminal.out, !Terminal::is_terminal())?,
        };
        Ok(status::of(terminal, &summaries, Warn::Always, self.strict)?)
    }
}
