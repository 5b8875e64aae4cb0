//! `schema`: the columns of the tables and what they mean.

use std::{io::Write, path::PathBuf, process::ExitCode};

use beyla_analyze::columns::{self, Of};
use clap::{Args, ValueEnum};

use super::{terminal::Terminal, values::TextOrJson};

const SCHEMA_EXAMPLES: &str = "\
Examples:
  beyla-analyze schema                             both tables
  beyla-analyze schema --table requests
  beyla-analyze schema old.parquet                 what a file of another version lacks, or has beside
  beyla-analyze schema --format json | jq -r '.tables[].columns[].name'

Exit status:
  0  fine
  2  wrong usage, or a file that cannot be opened";

/// Show the columns of the tables that SQL asks: their types, whether they may be null, and what they mean
///
/// With a file: its version, and how its columns differ from those that this program writes.
#[derive(Debug, Args)]
#[command(after_help = SCHEMA_EXAMPLES)]
pub(crate) struct Schema {
    /// A capture file to compare
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Only this table; with a file it is added to the comparison
    #[arg(long, value_name = "TABLE")]
    table: Option<Table>,

    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: TextOrJson,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Table {
    /// The rows of the files
    Events,
    /// What the engine makes of them
    Requests,
}

impl Schema {
    pub(crate) fn run(self, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let tables: &[Of] = match (self.table, &self.file) {
            (Some(Table::Events), _) => &[Of::Events],
            (Some(Table::Requests), _) => &[Of::Requests],
            (None, Some(_)) => &[],
            (None, None) => &[Of::Requests, Of::Events],
        };
        let description = columns::describe(tables, self.file.as_deref())?;
        match self.format {
            TextOrJson::Json => terminal.out.write_all(columns::json(&description).as_bytes())?,
            TextOrJson::Text => terminal.text(&columns::text(&description))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
