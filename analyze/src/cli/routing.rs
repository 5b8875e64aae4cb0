//! Options that say how paths become routes.

use std::path::PathBuf;

use beyla_analyze::{Error, config};
use beyla_engine::route::{NameError, Pattern, PatternError, Rules, Unmatched};
use clap::Args;

use super::terminal::complain;

/// How paths become routes.
#[derive(Debug, Args)]
pub(crate) struct Routing {
    /// Make this the route of the paths that it matches: /users/{id}, /users/:id, /files/v:version, /static/*
    #[arg(long, help_heading = "Routes", value_name = "PATTERN", value_parser = pattern)]
    route: Vec<Pattern>,

    /// Leave out requests to the paths that this matches
    #[arg(long, help_heading = "Routes", value_name = "PATTERN", value_parser = pattern)]
    route_ignore: Vec<Pattern>,

    /// The route of other paths: heuristic (* for segments that look like ids), low-cardinality (the same, and for places
    /// with more than 10 different segments), path (as it is), wildcard (/** for all), unset (none) [default: heuristic]
    #[arg(long, help_heading = "Routes", value_name = "HOW", value_parser = unmatched)]
    unmatched: Option<Unmatched>,

    /// Read the rules from the section `routes` of a YAML file with Beyla's keys; options add to it and come first
    #[arg(long, help_heading = "Routes", value_name = "FILE")]
    config: Option<PathBuf>,
}

fn pattern(text: &str) -> Result<Pattern, PatternError> {
    text.parse()
}

fn unmatched(text: &str) -> Result<Unmatched, NameError> {
    text.parse()
}

impl Routing {
    /// The rules, and whether somebody gave any. Says which keys of a configuration file are not used.
    pub(crate) fn rules(self) -> Result<(Rules, bool), Error> {
        let Self { route, route_ignore, unmatched, config } = self;
        let mut file = None;
        if let Some(path) = config {
            let config = config::read(&path)?;
            if !config.unknown.is_empty() {
                let unknown = config.unknown.join(", ");
                complain(&format!("{}: not used here: {unknown}", path.display()));
            }
            file = config.routes;
        }
        let given = file.is_some() || !route.is_empty() || !route_ignore.is_empty() || unmatched.is_some();
        Ok((file.unwrap_or_default().preceded_by(route, route_ignore, unmatched), given))
    }
}
