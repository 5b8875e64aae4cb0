//! `filter`: a capture written anew.

use std::{path::PathBuf, process::ExitCode};

use beyla_analyze::{filter, replay::Capture};
use beyla_engine::redact::{Policy, PolicyError};
use clap::{Args, CommandFactory, ValueEnum, error::ErrorKind};

use super::{Cli, input::expand};

const FILTER_EXAMPLES: &str = "\
Examples:
  beyla-analyze filter run.parquet -o shared.parquet --redact
  beyla-analyze filter run.parquet -o shared.parquet --redact headers-only
  beyla-analyze filter run.parquet -o shared.parquet --redact --redact-header x-session --redact-param uid

Exit status:
  0  fine
  2  wrong usage, input that cannot be read, or output that cannot be written";

/// Write a capture anew with its secrets masked, so that it can be handed on
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

    /// What to mask
    #[arg(long, value_name = "POLICY", num_args = 0..=1, default_missing_value = "default", required = true)]
    redact: Redaction,

    /// Mask the values of this header field too
    #[arg(long, value_name = "NAME")]
    redact_header: Vec<String>,

    /// Mask the values of this query parameter too
    #[arg(long, value_name = "NAME")]
    redact_param: Vec<String>,

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
        let policy = self
            .policy()
            .unwrap_or_else(|error| Cli::command().error(ErrorKind::ValueValidation, error).exit());
        let inputs = expand(vec![self.input.clone()])?;
        let [input] = inputs.as_slice() else {
            let message = format!("{} matches {} files: name one", self.input.display(), inputs.len());
            Cli::command().error(ErrorKind::TooManyValues, message).exit()
        };
        filter::redact(Capture::open_whole(input)?, &self.output, self.force, &policy)?;
        Ok(ExitCode::SUCCESS)
    }

    fn policy(&self) -> Result<Policy, PolicyError> {
        let policy = match self.redact {
            Redaction::Default => Policy::standard(),
            Redaction::HeadersOnly => Policy::standard().headers_only(),
            Redaction::None => Policy::none(),
        };
        policy.with_names(&self.redact_header, &self.redact_param)
    }
}
