//! `check`: assertions about captures, and whether they hold.

use std::{io::Write, path::PathBuf, process::ExitCode};

use beyla_analyze::{
    check::{Assertion, Checks, file},
    replay::Summary,
    verdict::{Case, github, json, junit, markdown, text},
};
use clap::{Args, CommandFactory, ValueEnum, error::ErrorKind};

use super::{
    Cli,
    input::InputOptions,
    status::{self, CHECK_FAILED, Warn},
    terminal::Terminal,
};

const CHECK_EXAMPLES: &str = "\
Examples:
  beyla-analyze check run.parquet --assert 'select count(*) = 0 from requests where status >= 500'
  beyla-analyze check run.parquet --assert 'select approx_percentile_cont(duration_ms, 0.99) < 50 from requests'
  beyla-analyze check run.parquet --assert 'select max(duration_ms) < 200 from requests group by route'
  beyla-analyze check run.parquet --complete --checks checks.yml
  beyla-analyze check run.parquet --checks checks.sql                 every query of the file is an assertion
  beyla-analyze check run.parquet --checks checks.yml --format junit > junit.xml
  beyla-analyze check run.parquet --checks checks.yml --format github

An assertion holds when its query has a row, and every value of every row is true. docs/ci.md tells what a file of checks
may hold.

Exit status:
  0  everything holds
  1  something does not
  2  wrong usage, input that cannot be read, or a query that cannot be run or is neither true nor false
  3  with --strict: the capture is not complete";

/// Check that assertions about captures hold: in SQL over `requests` and `events`, limits of figures, completeness
///
/// Of an assertion that does not hold, what it compares is shown, or what its `show` asks for.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct Check {
    /// Capture files; several are one answer
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// A query whose every value has to be true; can be given several times
    #[arg(long, value_name = "QUERY")]
    assert: Vec<String>,

    /// Checks of a file: YAML, or SQL when its name ends with .sql; can be given several times
    #[arg(long, value_name = "FILE")]
    checks: Vec<PathBuf>,

    /// Check that nothing was lost and every capture ended cleanly
    #[arg(long)]
    complete: bool,

    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: CheckFormat,

    /// Fail with status 3 when events were lost or the capture did not end cleanly
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    input: InputOptions,
}

/// How verdicts are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// For people
    Text,
    /// For a comment or a summary
    Markdown,
    /// For programs
    Json,
    /// JUnit XML
    Junit,
    /// Annotations of GitHub Actions
    Github,
}

const NAME: &str = "beyla-analyze check";

impl Check {
    pub(crate) fn run(self, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let Self { files, assert, checks: check_files, complete, format, strict, input } = self;
        let mut checks = Checks { complete, ..Checks::default() };
        for query in &assert {
            checks.assertions.push(Assertion::new(query)?);
        }
        for path in &check_files {
            let more = file::read(path)?;
            checks.complete |= more.complete;
            checks.assertions.extend(more.assertions);
            checks.limits.extend(more.limits);
        }
        if checks.is_empty() {
            let message = "there is nothing to check: give --assert, --checks or --complete";
            Cli::command().error(ErrorKind::MissingRequiredArgument, message).exit()
        }
        let (input, _) = input.of(files)?;
        let (cases, summaries) = checks.run(&input)?;
        let warnings: Vec<String> = summaries.iter().filter_map(Summary::warning).collect();
        match format {
            CheckFormat::Text => terminal.text(&text::render(&cases, &warnings))?,
            other => {
                let told = match other {
                    CheckFormat::Json => json::render(&cases, &warnings),
                    CheckFormat::Junit => junit::render(NAME, &cases, &warnings),
                    CheckFormat::Github => github::render(NAME, &cases, &warnings),
                    CheckFormat::Markdown | CheckFormat::Text => markdown::render(NAME, &cases, &warnings),
                };
                terminal.out.write_all(told.as_bytes())?;
            }
        }
        let code = status::of(terminal, &summaries, Warn::Always, strict)?;
        let failed = cases.iter().any(Case::failed) && code == ExitCode::SUCCESS;
        Ok(if failed { ExitCode::from(CHECK_FAILED) } else { code })
    }
}
