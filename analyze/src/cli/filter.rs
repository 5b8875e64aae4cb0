//! `filter`: a capture written anew.

use std::{path::PathBuf, process::ExitCode};

use beyla_analyze::filter;
use beyla_engine::redact::{Policy, PolicyError};
use clap::{Args, CommandFactory, ValueEnum, error::ErrorKind};

use super::{Cli, input::InputOptions};

const FILTER_EXAMPLES: &str = "\
Examples:
  beyla-analyze filter run.parquet -o shared.parquet --redact
  beyla-analyze filter run.parquet -o shared.parquet --redact headers-only
  beyla-analyze filter run.parquet -o shared.parquet --redact --redact-header x-session --redact-param uid
  beyla-analyze filter run.parquet -o errors.parquet --where 'status >= 500'
  beyla-analyze filter run.parquet -o slow.parquet --from +30s --to +40s --only-route 'GET /report' --redact
  beyla-analyze filter run.parquet -o db.parquet --connections-where 'remote_port = 5432'

Exit status:
  0  fine
  2  wrong usage, input that cannot be read, or output that cannot be written";

/// Write a capture anew: some of its connections, its secrets masked, or both
///
/// A connection is kept whole or left out: it is kept when a request on it counts. With an outbound connection, the inbound
/// ones that its process was at work on meanwhile are kept too, since they decide whose child a request is. The file says
/// what was left out, and stays valid.
///
/// What is masked keeps its length: requests stay the same but for masked values. The input may be of any version, or
/// what a capture that was killed left.
#[derive(Debug, Args)]
#[command(after_help = FILTER_EXAMPLES)]
pub(crate) struct Filter {
    /// Capture file
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// Where to write it; readable for its owner only
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// Mask secrets
    #[arg(long, value_name = "POLICY", num_args = 0..=1, default_missing_value = "default")]
    redact: Option<Redaction>,

    /// Mask the values of this header field too
    #[arg(long, value_name = "NAME", requires = "redact")]
    redact_header: Vec<String>,

    /// Mask the values of this query parameter too
    #[arg(long, value_name = "NAME", requires = "redact")]
    redact_param: Vec<String>,

    #[command(flatten)]
    selecting: InputOptions,

    /// Only connections with a row for which this SQL expression over the columns of `events` is true: "remote_port = 5432"; of
    /// several, each has to be true of some row
    #[arg(long, help_heading = "Requests", value_name = "EXPRESSION")]
    connections_where: Vec<String>,

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
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let usage = |kind, error: String| Cli::command().error(kind, error).exit();
        let policy =
            self.policy().unwrap_or_else(|error| usage(ErrorKind::ValueValidation, error.to_string()));
        let name = self.input.display().to_string();
        let (input, _) = self.selecting.of(vec![self.input])?;
        if input.files.len() > 1 {
            let several = format!("{name} matches {} files: name one", input.files.len());
            usage(ErrorKind::TooManyValues, several);
        }
        if policy.is_none() && input.selection.is_all() && self.connections_where.is_empty() {
            let nothing = "nothing to do: say what to mask (--redact) or which connections to keep (--where and others)";
            usage(ErrorKind::MissingRequiredArgument, nothing.to_owned());
        }
        let filter = filter::Filter { input: &input, rows: &self.connections_where, policy: policy.as_ref() };
        filter.write(&self.output, self.force)?;
        Ok(ExitCode::SUCCESS)
    }

    fn policy(&self) -> Result<Option<Policy>, PolicyError> {
        let policy = match self.redact {
            None => return Ok(None),
            Some(Redaction::Default) => Policy::standard(),
            Some(Redaction::HeadersOnly) => Policy::standard().headers_only(),
            Some(Redaction::None) => Policy::none(),
        };
        policy.with_names(&self.redact_header, &self.redact_param).map(Some)
    }
}
