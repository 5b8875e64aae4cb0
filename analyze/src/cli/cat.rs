//! `cat`: events as lines.

use std::{path::PathBuf, process::ExitCode};

use beyla_analyze::cat::{self, End, Form, KINDS};
use clap::{Args, ValueEnum, builder::PossibleValuesParser};

use super::terminal::{Terminal, complain};

const CAT_EXAMPLES: &str = "\
Examples:
  beyla-analyze cat run.parquet | less -R
  beyla-analyze cat run.parquet --connection 4711 --bytes 1000     one connection, and more of what it said
  beyla-analyze cat run.parquet --kind open --kind close
  beyla-analyze cat run.parquet --follow                           while beyla-capture records it
  beyla-analyze cat run.parquet --follow --format ndjson | jq -c 'select(.kind == \"loss\" and .count > 0)'

Exit status:
  0  fine
  2  wrong usage, or a file that cannot be read";

/// Write events as lines: the time, the process, the connection, and what happened
///
/// `<-` is what the process received, `->` what it sent; then the system call, how many bytes, and the first of them.
/// What is no printable ASCII is escaped. With --follow, events are shown as they are written down, a moment after they
/// happened; it ends when the capture does.
#[derive(Debug, Args)]
#[command(after_help = CAT_EXAMPLES)]
pub(crate) struct Cat {
    /// Capture file, also of a capture that goes on
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Show what is added while the capture goes on
    #[arg(short, long)]
    follow: bool,

    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: TextOrNdjson,

    /// Only rows of this kind; can be given several times
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(KINDS))]
    kind: Vec<String>,

    /// Only rows of this connection; can be given several times
    #[arg(long, value_name = "N")]
    connection: Vec<u64>,

    /// Only rows of this process; can be given several times
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,

    /// Bytes of each payload that a line of text shows
    #[arg(long, value_name = "N", default_value_t = 64)]
    bytes: usize,
}

/// How events are shown.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TextOrNdjson {
    /// For people
    Text,
    /// One JSON object a line, with the columns of `events`
    Ndjson,
}

impl Cat {
    pub(crate) fn run(self, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
        let form = match self.format {
            TextOrNdjson::Text => Form::Text(self.bytes),
            TextOrNdjson::Ndjson => Form::Ndjson,
        };
        let cat = cat::Cat { form, kinds: self.kind, connections: self.connection, pids: self.pid };
        // JSON has no colours to take out.
        let end = match (self.follow, cat.form) {
            (false, Form::Text(_)) => cat.show(&self.file, terminal).map(|()| End::Ended)?,
            (false, Form::Ndjson) => cat.show(&self.file, &mut terminal.out).map(|()| End::Ended)?,
            (true, Form::Text(_)) => cat.follow(&self.file, terminal)?,
            (true, Form::Ndjson) => cat.follow(&self.file, &mut terminal.out)?,
        };
        if end == End::Abandoned {
            let file = self.file.display();
            complain(&format!(
                "{file}: the capture was killed: `beyla-capture recover` makes a complete file of it"
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
