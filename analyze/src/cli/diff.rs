//! `diff`: two runs compared, and whether the difference is one to fail for.

use std::{io::Write, path::PathBuf, process::ExitCode};

use beyla_analyze::{
    diff::{self, Condition, ConditionError, Options, json, markdown, text},
    verdict::{github, junit},
};
use clap::{Args, CommandFactory, ValueEnum, error::ErrorKind};

use super::{
    Cli,
    input::InputOptions,
    status::{self, CHECK_FAILED, Warn},
    terminal::Terminal,
};

const DIFF_EXAMPLES: &str = "\
Examples:
  beyla-analyze diff base.parquet new.parquet
  beyla-analyze diff base.parquet new.parquet --fail-on 'p95>+10%' --fail-on 'error_rate>+0.5pp'
  beyla-analyze diff base.parquet new.parquet --fail-on new_errors --fail-on vanished_routes
  beyla-analyze diff base.parquet new.parquet --fail-on 'route=/pay: p99>+5ms' --fail-on 'total: rate<-5%'
  beyla-analyze diff base.parquet new.parquet --fail-on 'p50>+10%!'        also when chance may explain it
  beyla-analyze diff --base monday-*.parquet --new today-*.parquet        several files a side
  beyla-analyze diff base.parquet new.parquet --from +2s                  without the first two seconds of each
  beyla-analyze diff base.parquet new.parquet --fail-on 'p95>+10%' --format junit > junit.xml

A condition is [SCOPE: ]FIGURE>+CHANGE[!] or [SCOPE: ]FIGURE<-CHANGE[!], or new_errors, new_routes, vanished_routes.
  FIGURE  requests, rate, error_rate, avg, p50, p90, p95, p99, max
  CHANGE  10%; for error_rate also 0.5pp (percentage points), for durations 5ms, for requests and rate 20
  SCOPE   route=/pay, service=shop, total; each route is looked at without it
  !       count the difference also where chance may explain it, or too few requests tell nothing

Exit status:
  0  fine, or no condition failed
  1  some condition failed
  2  wrong usage, or input that cannot be read
  3  with --strict: a capture is not complete";

/// Compare two runs: rate, errors and durations of each route side by side, with a test of what chance explains, and fail
/// for differences that are too large
///
/// Whether a difference is more than the fluctuation of the runs is tested on blocks of time, not on requests, which are not
/// independent. docs/diff.md tells what is assumed. Percentiles are at most 0.4% off.
#[derive(Debug, Args)]
#[command(
    after_help = DIFF_EXAMPLES,
    override_usage = "beyla-analyze diff [OPTIONS] <BASE> <NEW>\n       beyla-analyze diff [OPTIONS] --base <FILE>... --new <FILE>..."
)]
pub(crate) struct Diff {
    /// The capture to compare with, and the capture to compare
    #[arg(value_names = ["BASE", "NEW"], num_args = 2, required_unless_present = "base", conflicts_with_all = ["base", "new"])]
    files: Vec<PathBuf>,

    /// Captures to compare with, where they are several
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "new")]
    base: Vec<PathBuf>,

    /// Captures to compare, where they are several
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "base")]
    new: Vec<PathBuf>,

    /// Fail with status 1 when this holds for any route; can be given several times
    #[arg(long, value_name = "CONDITION", value_parser = condition)]
    fail_on: Vec<Condition>,

    /// How to show it: text, markdown, json; junit and github have the conditions only
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: DiffFormat,

    /// How often a difference that is called significant may be chance: once in a hundred comparisons of a figure
    #[arg(long, value_name = "SHARE", default_value = "0.01", value_parser = share)]
    alpha: f64,

    /// Test no figure of a route with fewer requests on a side
    #[arg(long, value_name = "N", default_value_t = 50)]
    min_requests: u64,

    /// Conditions count also where chance may explain the difference
    #[arg(long)]
    no_significance: bool,

    /// Routes that are shown of each direction
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    /// Fail with status 3 when events were lost or a capture did not end cleanly
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    input: InputOptions,
}

/// How a comparison is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// For people
    Text,
    /// For a comment or a summary
    Markdown,
    /// For programs
    Json,
    /// JUnit XML, a case for each condition and route
    Junit,
    /// Annotations of GitHub Actions
    Github,
}

fn condition(text: &str) -> Result<Condition, ConditionError> {
    text.parse()
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("a share between 0 and 1, such as 0.01".to_owned()),
    }
}

impl Diff {
    pub(crate) fn run(self, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let Self {
            files,
            base,
            new,
            fail_on,
            format,
            alpha,
            min_requests,
            no_significance,
            top,
            strict,
            input,
        } = self;
        if fail_on.is_empty() && matches!(format, DiffFormat::Junit | DiffFormat::Github) {
            let message = "junit and github tell what came of conditions: give some with --fail-on";
            Cli::command().error(ErrorKind::MissingRequiredArgument, message).exit()
        }
        let (base_files, new_files) = match <[PathBuf; 2]>::try_from(files) {
            Ok([base, new]) => (vec![base], vec![new]),
            Err(_) => (base, new),
        };
        let (base_input, _) = input.of(base_files)?;
        let mut new_input = base_input.clone();
        new_input.files = new_files;
        let options = Options { alpha, min_requests, raw: no_significance, conditions: fail_on };
        let comparison = diff::compare(&base_input, &new_input, options)?;
        match format {
            DiffFormat::Text => terminal.text(&text::render(&comparison, top, Terminal::width()))?,
            DiffFormat::Markdown => terminal.out.write_all(markdown::render(&comparison, top).as_bytes())?,
            DiffFormat::Json => terminal.out.write_all(json::render(&comparison).as_bytes())?,
            DiffFormat::Junit | DiffFormat::Github => {
                let (cases, warnings) = comparison.cases();
                let render = if format == DiffFormat::Junit { junit::render } else { github::render };
                terminal.out.write_all(render("beyla-analyze diff", &cases, &warnings).as_bytes())?;
            }
        }
        let code = status::of(terminal, &comparison.files(), Warn::Always, strict)?;
        let failed = comparison.failed() && code == ExitCode::SUCCESS;
        Ok(if failed { ExitCode::from(CHECK_FAILED) } else { code })
    }
}
