//! `routes`: which route rules would give how many routes.

use std::{io::Write, path::PathBuf, process::ExitCode};

use beyla_analyze::routes::{self, show};
use clap::Args;

use super::{
    input::InputOptions,
    status::{self, Warn},
    terminal::Terminal,
    values::TextOrJson,
};

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
pub(crate) struct Routes {
    /// Capture files; several are one answer
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    input: InputOptions,

    /// Routes that are shown of each service and rule
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: TextOrJson,
}

impl Routes {
    pub(crate) fn run(self, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let (input, _) = self.input.of(self.files)?;
        let comparison = routes::compare(&input, self.top)?;
        match self.format {
            TextOrJson::Json => terminal.out.write_all(show::json(&comparison).as_bytes())?,
            TextOrJson::Text => terminal.text(&show::text(&comparison, Terminal::width()))?,
        }
        Ok(status::of(terminal, &comparison.files, Warn::Always, false)?)
    }
}
