//! Rate, errors and durations of requests: the numbers of the report.
//!
//! An [`Aggregator`] takes requests as the engine settles them and holds a bounded number of groups and durations. A
//! [`Report`] is tables of plain numbers, for a terminal, JSON or a comparison of two runs.

mod aggregator;
mod breakdown;
mod group;
mod timeline;

use serde::Serialize;

pub use aggregator::Aggregator;
pub use breakdown::{Breakdown, Dimension, DimensionError};
pub(crate) use group::Latencies;
pub use group::milliseconds;
pub use timeline::{Bucket, Timeline};

/// The RED report of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Start of the first request, nanoseconds.
    pub first_ns: Option<u64>,
    /// End of the last response (or start of the last request, if later), nanoseconds.
    pub last_ns: Option<u64>,
    /// Requests of both directions.
    pub requests: u64,
    /// Whether percentiles are exact. Else there were too many durations to keep them all, and they are within 0.1 %.
    pub exact: bool,
    /// Requests the captured processes answered; none when there were none.
    pub inbound: Option<Side>,
    /// Requests the captured processes made; none when there were none.
    pub outbound: Option<Side>,
}

/// One direction of a [`Report`]. Tables are ordered by requests, most first, then by name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// All requests.
    pub total: Row,
    /// By service.
    pub by_service: Vec<Row>,
    /// By service, method and route.
    pub by_route: Vec<Row>,
    /// By status.
    pub by_status: Vec<Row>,
    /// The routes with the highest 95th percentile, slowest first.
    pub slowest: Vec<Row>,
    /// By what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breakdown: Option<Breakdown>,
    /// Over time.
    pub timeline: Timeline,
}

/// Numbers of one group of requests. A field that does not tell the group is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// What tells the group in a [`Breakdown`], in the order of its columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Vec<Option<String>>>,
    /// Service name.
    pub service: Option<String>,
    /// Method.
    pub method: Option<String>,
    /// Route.
    pub route: Option<String>,
    /// HTTP status; in [`Side::by_status`] none means that none was seen.
    pub status: Option<u16>,
    /// gRPC status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc_status: Option<u32>,
    /// Requests.
    pub requests: u64,
    /// Requests per second over the time of the report; none when that is zero.
    pub rate: Option<f64>,
    /// Requests that failed.
    pub errors: u64,
    /// Failed requests as a share of all, 0 to 1.
    pub error_ratio: f64,
    /// Requests without a full response: they have no duration.
    pub incomplete: u64,
    /// Mean duration, milliseconds.
    pub avg_ms: Option<f64>,
    /// Median, milliseconds.
    pub p50_ms: Option<f64>,
    /// 90th percentile, milliseconds.
    pub p90_ms: Option<f64>,
    /// 95th percentile, milliseconds.
    pub p95_ms: Option<f64>,
    /// 99th percentile, milliseconds.
    pub p99_ms: Option<f64>,
    /// Longest, milliseconds.
    pub max_ms: Option<f64>,
}
