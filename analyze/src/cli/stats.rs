//! `stats`: what captures are, without pairing anything.

use std::{io::Write, path::PathBuf, process::ExitCode};

use beyla_analyze::stats;
use clap::Args;

use super::{status::FAILED, terminal::Terminal, values::TextOrJson};

const STATS_EXAMPLES: &str = "\
Examples:
  beyla-analyze stats run.parquet
  beyla-analyze stats run.0*.parquet --format json | jq '.files[].size.bytes'
  beyla-analyze stats run.parquet --format json | jq '.files[0].losses[] | select(.count > 0)'

Exit status:
  0  fine, whatever the capture lacks
  2  wrong usage, or a file that cannot be read to its end";

/// Show what captures are: when, where and how they were made, how large they are, who is in them, and what they lack
///
/// Nothing is paired and no payload is read, so this is fast. It works while a capture goes on.
#[derive(Debug, Args)]
#[command(after_help = STATS_EXAMPLES)]
pub(crate) struct Stats {
    /// Capture files; each is looked at by itself
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: TextOrJson,
}

impl Stats {
    pub(crate) fn run(self, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let files = self.files.iter().map(|file| stats::of(file)).collect::<Result<Vec<_>, _>>()?;
        match self.format {
            TextOrJson::Json => terminal.out.write_all(stats::json(&files).as_bytes())?,
            TextOrJson::Text => terminal.text(&stats::text(&files, Terminal::width()))?,
        }
        let damaged = files.iter().any(|file| file.damage.is_some());
        Ok(if damaged { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
    }
}
