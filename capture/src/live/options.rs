//! What is wanted of the live side.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use beyla_engine::{prometheus::Names, route::Rules, trace_line::Form};

/// What to show while a capture runs. Nothing, by default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How paths become routes.
    pub rules: Rules,
    /// Print requests as they come.
    pub traces: Option<Form>,
    /// Serve metrics here.
    pub endpoint: Option<Endpoint>,
    /// Write metrics to this file, again and again and at the end.
    pub textfile: Option<PathBuf>,
    /// Which metrics.
    pub metrics: Metrics,
    /// Leave out series that had no request for so long.
    pub ttl: Option<Duration>,
    /// Send spans and metrics.
    pub otlp: OtlpOptions,
    /// Show a table of what goes on.
    pub top: bool,
}

impl Options {
    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.traces.is_none() && self.only_traces()
    }

    /// Whether metrics are wanted.
    pub(super) fn metrics_wanted(&self) -> bool {
        self.endpoint.is_some() || self.textfile.is_some() || self.otlp.metrics_endpoint.is_some()
    }

    /// Whether nothing but printed traces is wanted, if these are.
    pub(super) fn only_traces(&self) -> bool {
        !(self.metrics_wanted() || self.otlp.traces_endpoint.is_some() || self.top)
    }
}

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address to listen on.
    pub address: IpAddr,
    /// The port; 0 for one that is free.
    pub port: u16,
    /// The path of the metrics; begins with a slash.
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

/// Where spans and metrics are sent, by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpOptions {
    /// The whole URL for spans; none, and there are none.
    pub traces_endpoint: Option<String>,
    /// The whole URL for metrics, likewise.
    pub metrics_endpoint: Option<String>,
    /// Header fields of every request: names and values.
    pub headers: Vec<(String, String)>,
    /// How long a request may take.
    pub timeout: Duration,
    /// Time from one sending of metrics to the next.
    pub interval: Duration,
}

impl Default for OtlpOptions {
    /// The times of the OpenTelemetry specification.
    fn default() -> Self {
        Self {
            traces_endpoint: None,
            metrics_endpoint: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            interval: Duration::from_mins(1),
        }
    }
}
