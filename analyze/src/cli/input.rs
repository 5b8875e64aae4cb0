//! Options that say which requests of which files are looked at.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use beyla_analyze::{
    Error,
    replay::{Input, Threads},
    selection::{Moment, MomentError, Selection},
};
use beyla_schema::file::Names;
use clap::Args;
use glob::{MatchOptions, glob_with};

use super::routing::Routing;

/// The option for the end of the span of time. Where `--to` means something else, only its other name is left.
pub(super) const END: &str = "end";

/// Its other name, which every command takes.
pub(super) const UNTIL: &str = "until";

/// Which requests count.
#[derive(Debug, Args)]
pub(crate) struct Selecting {
    /// Only requests that began at this time or later: RFC 3339 (UTC without an offset), or +30s after the capture began
    #[arg(long, help_heading = "Requests", value_name = "TIME", value_parser = moment)]
    from: Option<Moment>,

    /// Only requests that began before this time
    #[arg(id = END, long = "to", visible_alias = UNTIL, help_heading = "Requests", value_name = "TIME", value_parser = moment)]
    to: Option<Moment>,

    /// Only requests that this service served or made; can be given several times
    #[arg(long, help_heading = "Requests", value_name = "NAME")]
    service: Vec<String>,

    /// Only requests of this route, as the report shows it; can be given several times
    #[arg(long, help_heading = "Requests", value_name = "ROUTE")]
    only_route: Vec<String>,

    /// Only requests for which this SQL expression over the columns of `requests` is true: "status >= 500 and duration_ms > 20"
    #[arg(long = "where", help_heading = "Requests", value_name = "EXPRESSION")]
    predicate: Option<String>,
}

fn moment(text: &str) -> Result<Moment, MomentError> {
    text.parse()
}

impl From<Selecting> for Selection {
    fn from(options: Selecting) -> Self {
        let Selecting { from, to, service: services, only_route: routes, predicate } = options;
        Self { from, to, services, routes, predicate }
    }
}

/// Files, how paths become routes, which requests count, and how many threads replay them.
#[derive(Debug, Args)]
pub(crate) struct InputOptions {
    #[command(flatten)]
    selecting: Selecting,

    #[command(flatten)]
    routing: Routing,

    /// Threads that decode the files beside the one that pairs; with 1 it does both [default: the cores of the machine, up to 4]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl InputOptions {
    /// The input, and whether somebody gave route rules.
    pub(crate) fn of(self, files: Vec<PathBuf>) -> Result<(Input, bool), Error> {
        let files = expand(files)?;
        let (rules, given) = self.routing.rules()?;
        let threads = self.threads.map_or_else(Threads::default, |number| Threads(number.get()));
        Ok((Input { files, rules, selection: self.selecting.into(), threads }, given))
    }
}

/// The files that arguments name. What names no file but has a `*`, `?` or `[` is a pattern, and stands for the files that
/// match it, in the order of their names.
pub(crate) fn expand(arguments: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for argument in arguments {
        match argument.to_str().filter(|text| text.contains(['*', '?', '[']) && !is_file(&argument)) {
            Some(pattern) => files.extend(matching(pattern)?),
            None => files.push(argument),
        }
    }
    Ok(files)
}

/// Whether there is a capture of this name, finished or not.
fn is_file(path: &Path) -> bool {
    path.exists() || Names::of(path).unfinished()
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let refused = |reason: String| Error::Pattern { pattern: pattern.to_owned(), reason };
    let options = MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let found = glob_with(pattern, options).map_err(|error| refused(error.msg.to_owned()))?;
    let mut files =
        found.collect::<Result<Vec<_>, _>>().map_err(|error| refused(error.error().to_string()))?;
    files.retain(|file| !file.is_dir());
    files.sort();
    if files.is_empty() {
        return Err(refused("there is no such file, and none that it matches as a pattern".to_owned()));
    }
    Ok(files)
}
