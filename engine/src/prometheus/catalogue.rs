//! The families of requests: what they are called, and what they observe of whom.

use beyla_schema::request::Kind as Side;

use super::family::{Family, Kind, Label, Sample, Unit, Value};
use super::histogram::{DURATION_BUCKETS, SIZE_BUCKETS};
use super::series::{Group, Series};
use super::{Histogram, Names};

/// What a family observes of a request.
#[derive(Clone, Copy, Debug)]
enum Of {
    Duration,
    RequestSize,
    ResponseSize,
}

/// A family of histograms.
#[derive(Debug)]
pub(super) struct Metric {
    of: Of,
    pub(super) group: Group,
    name: &'static str,
    instrument: &'static str,
    help: &'static str,
}

const fn metric(
    of: Of,
    kind: Side,
    rpc: bool,
    name: &'static str,
    instrument: &'static str,
    help: &'static str,
) -> Metric {
    Metric { of, group: Group { kind, rpc }, name, instrument, help }
}

const CLIENT_DURATION: &str = "Duration of HTTP requests made by the captured processes.";
const CLIENT_REQUEST: &str = "Body size of HTTP requests made by the captured processes.";
const CLIENT_RESPONSE: &str = "Body size of responses to HTTP requests made by the captured processes.";
const SERVER_DURATION: &str = "Duration of HTTP requests served by the captured processes.";
const SERVER_REQUEST: &str = "Body size of HTTP requests served by the captured processes.";
const SERVER_RESPONSE: &str = "Body size of responses to HTTP requests served by the captured processes.";
const CLIENT_CALLS: Metric = metric(
    Of::Duration,
    Side::Client,
    true,
    "rpc_client_duration_seconds",
    "rpc.client.duration",
    "Duration of gRPC calls made by the captured processes.",
);
const SERVER_CALLS: Metric = metric(
    Of::Duration,
    Side::Server,
    true,
    "rpc_server_duration_seconds",
    "rpc.server.duration",
    "Duration of gRPC calls served by the captured processes.",
);

/// By name.
#[rustfmt::skip]
static OTEL: [Metric; 8] = [
    metric(Of::RequestSize, Side::Client, false, "http_client_request_body_size_bytes", "http.client.request.body.size", CLIENT_REQUEST),
    metric(Of::Duration, Side::Client, false, "http_client_request_duration_seconds", "http.client.request.duration", CLIENT_DURATION),
    metric(Of::ResponseSize, Side::Client, false, "http_client_response_body_size_bytes", "http.client.response.body.size", CLIENT_RESPONSE),
    metric(Of::RequestSize, Side::Server, false, "http_server_request_body_size_bytes", "http.server.request.body.size", SERVER_REQUEST),
    metric(Of::Duration, Side::Server, false, "http_server_request_duration_seconds", "http.server.request.duration", SERVER_DURATION),
    metric(Of::ResponseSize, Side::Server, false, "http_server_response_body_size_bytes", "http.server.response.body.size", SERVER_RESPONSE),
    CLIENT_CALLS,
    SERVER_CALLS,
];

/// By name.
#[rustfmt::skip]
static BEYLA_2023: [Metric; 6] = [
    metric(Of::Duration, Side::Client, false, "http_client_duration_seconds", "http.client.duration", CLIENT_DURATION),
    metric(Of::RequestSize, Side::Client, false, "http_client_request_size_bytes", "http.client.request.size", CLIENT_REQUEST),
    metric(Of::Duration, Side::Server, false, "http_server_duration_seconds", "http.server.duration", SERVER_DURATION),
    metric(Of::RequestSize, Side::Server, false, "http_server_request_size_bytes", "http.server.request.size", SERVER_REQUEST),
    CLIENT_CALLS,
    SERVER_CALLS,
];

/// The families of histograms, by name.
pub(super) fn metrics(names: Names) -> &'static [Metric] {
    match names {
        Names::Otel => &OTEL,
        Names::Beyla2023 => &BEYLA_2023,
    }
}

impl Metric {
    /// What was observed for a series.
    pub(super) fn histogram<'a>(&self, series: &'a Series) -> Histogram<'a> {
        match self.of {
            Of::Duration => series.duration(),
            Of::RequestSize => series.request_size(),
            Of::ResponseSize => series.response_size(),
        }
    }

    /// Lines of text for a series: its buckets, the sum and the count.
    pub(super) fn samples(&self) -> u64 {
        let buckets = match self.of {
            Of::Duration => DURATION_BUCKETS,
            Of::RequestSize | Of::ResponseSize => SIZE_BUCKETS,
        };
        buckets as u64 + 2
    }

    pub(super) fn family<'a>(&self, samples: Vec<Sample<'a>>) -> Family<'a> {
        let Self { of, name, instrument, help, .. } = *self;
        let unit = match of {
            Of::Duration => Unit::Seconds,
            Of::RequestSize | Of::ResponseSize => Unit::Bytes,
        };
        Family { name, instrument, help, unit, kind: Kind::Histogram, samples }
    }
}

/// The family of the services of which these are the labels.
pub(super) fn services<'a>(services: impl IntoIterator<Item = Vec<Label<'a>>>) -> Family<'a> {
    let sample = |labels: Vec<_>| Sample { labels: labels.into(), value: Value::Number(1.0) };
    Family {
        name: "target_info",
        instrument: "",
        help: "A captured service.",
        unit: Unit::One,
        kind: Kind::Info,
        samples: services.into_iter().map(sample).collect(),
    }
}
