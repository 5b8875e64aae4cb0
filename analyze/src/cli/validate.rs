//! `validate`: are the files what the format says.

use std::{io::Write, path::PathBuf, process::ExitCode};

use beyla_analyze::{
    replay::Capture,
    validate::{self, Verdict, show},
};
use clap::Args;

use super::{input::expand, status::CHECK_FAILED, terminal::Terminal, values::TextOrJson};

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
pub(crate) struct Validate {
    /// Capture files; consecutive parts of one capture are checked as one
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: TextOrJson,
}

impl Validate {
    pub(crate) fn run(self, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let files = expand(self.files)?;
        let captures = files.iter().map(|file| Capture::open_whole(file));
        let validations = validate::validate(captures.collect::<Result<_, _>>()?, true);
        match self.format {
            TextOrJson::Json => terminal.out.write_all(show::json(&validations).as_bytes())?,
            TextOrJson::Text => terminal.text(&show::text(&validations))?,
        }
        let invalid = validations.iter().any(|validation| validation.verdict == Verdict::Invalid);
        Ok(if invalid { ExitCode::from(CHECK_FAILED) } else { ExitCode::SUCCESS })
    }
}
