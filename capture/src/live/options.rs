//! What is wanted of the live side.

use std::{net::IpAddr, path::PathBuf};

use beyla_engine::{prometheus::Names, route::Rules};

/// What to show while a capture runs. Nothing, by default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How paths become routes.
    pub rules: Rules,
    /// Print a line per request to standard output.
    pub traces: bool,
    /// Serve metrics here.
    pub endpoint: Option<Endpoint>,
    /// Write metrics to this file, again and again and at the end.
    pub textfile: Option<PathBuf>,
    /// Which metrics.
    pub metrics: Metrics,
}

impl Options {
    /// Whether anything is wanted.
    pub fn is_anything(&self) -> bool {
        self.traces || self.metrics_wanted()
    }

    /// Whether metrics are wanted.
    pub(super) fn metrics_wanted(&self) -> bool {
        self.endpoint.is_some() || self.textfile.is_some()
    }

    /// Whether traces are all that is wanted.
    pub(super) fn only_traces(&self) -> bool {
        self.traces && !self.metrics_wanted()
    }
}

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address to listen on.
    pub address: IpAddr,
    /// The port; 0 for one that is free.
    pub port: u16,
    /// The path of the metrics.
    pub path: String,
}

/// What metrics are called, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// What metrics and labels are called.
    pub names: Names,
    /// Whether series have the route as a label.
    pub routes: bool,
    /// The most series that a metric may have.
    pub max_series: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { names: Names::Otel, routes: true, max_series: beyla_engine::prometheus::MAX_SERIES }
    }
}
