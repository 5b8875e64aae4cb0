//! `merge`: several captures in one file.

use std::{path::PathBuf, process::ExitCode};

use beyla_analyze::merge;
use clap::Args;

const MERGE_EXAMPLES: &str = "\
Examples:
  beyla-analyze merge run.0*.parquet -o run.parquet           what the capture would have been without --rotate
  beyla-analyze merge web-1.parquet web-2.parquet -o web.parquet

Exit status:
  0  fine
  2  wrong usage, input that cannot be read, or output that cannot be written";

/// Make one capture of several: of the parts of a rotated capture, or of different captures, hosts and boots
///
/// Rows are put in the order of their wall times. Requests, and the ids of their traces and spans, are those that the files
/// give together; the file tells which captures it was made of, and what their ids were changed by. All commands take several
/// files as well: this is for handing on one.
#[derive(Debug, Args)]
#[command(after_help = MERGE_EXAMPLES)]
pub(crate) struct Merge {
    /// Capture files, in any order
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Where to write it; readable for its owner only
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// Overwrite OUT
    #[arg(long)]
    force: bool,
}

impl Merge {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        merge::merge(&self.files, &self.output, self.force)?;
        Ok(ExitCode::SUCCESS)
    }
}
