//! Options that say which requests of which files are looked at.

use std::path::PathBuf;

use beyla_analyze::{
    Error,
    replay::Input,
    selection::{Moment, MomentError, Selection},
};
use clap::Args;

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

/// Files, how paths become routes, and which requests count.
#[derive(Debug, Args)]
pub(crate) struct InputOptions {
    #[command(flatten)]
    selecting: Selecting,

    #[command(flatten)]
    routing: Routing,
}

impl InputOptions {
    /// The input, and whether somebody gave route rules.
    pub(crate) fn of(self, files: Vec<PathBuf>) -> Result<(Input, bool), Error> {
        let (rules, given) = self.routing.rules()?;
        Ok((Input { files, rules, selection: self.selecting.into() }, given))
    }
}
