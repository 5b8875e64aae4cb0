//! Exit statuses, and what is said of files that are not complete.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use beyla_analyze::replay::Summary;

use super::terminal::{Terminal, complain};

/// A check did not hold.
pub(crate) const CHECK_FAILED: u8 = 1;

/// Wrong usage, or input that cannot be read.
pub(crate) const FAILED: u8 = 2;

/// `--strict`, and something is missing.
const INCOMPLETE: u8 = 3;

/// Who says what is missing from the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warn {
    /// Stderr: the result does not.
    Always,
    /// The result itself; stderr repeats it only of files for which the command fails.
    Failures,
}

/// Ends the output, says what is missing from the files, and gives the exit status for it.
pub(crate) fn of(
    terminal: &mut Terminal,
    summaries: &[Summary],
    warn: Warn,
    strict: bool,
) -> io::Result<ExitCode> {
    terminal.out.flush()?;
    let damaged = summaries.iter().any(|summary| summary.damage.is_some());
    let incomplete = strict && summaries.iter().any(|summary| !summary.complete());
    if warn == Warn::Always || damaged || incomplete {
        for warning in summaries.iter().filter_map(Summary::warning) {
            complain(&warning);
        }
    }
    Ok(match (damaged, incomplete) {
        (true, _) => ExitCode::from(FAILED),
        (false, true) => ExitCode::from(INCOMPLETE),
        (false, false) => ExitCode::SUCCESS,
    })
}
