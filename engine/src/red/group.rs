//! The numbers of one group of requests.

use beyla_schema::request::Request;

use super::Row;
use crate::durations::Durations;

/// Durations of which percentiles are exact, or within 0.1 %.
pub(crate) type Latencies = Durations<9>;

/// Counts and durations of some requests.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) requests: u64,
    errors: u64,
    incomplete: u64,
    pub(super) durations: Latencies,
}

impl Group {
    /// Nothing yet. Durations are kept as they are if that is `exact`.
    pub(super) fn new(exact: bool) -> Self {
        let durations = if exact { Latencies::default() } else { Latencies::counted() };
        Self { durations, ..Self::default() }
    }

    pub(super) fn add(&mut self, request: &Request<'_>) {
        self.requests += 1;
        self.errors += u64::from(request.error);
        self.incomplete += u64::from(request.end_ns.is_none());
        if let Some(ns) = request.duration_ns {
            self.durations.add(ns);
        }
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.incomplete += other.incomplete;
        self.durations.add_all(&other.durations);
    }

    /// The numbers, of a report about so many seconds.
    pub(super) fn row(self, seconds: f64) -> Row {
        let (mean, max) = (self.durations.mean(), self.durations.max());
        let mut durations = self.durations.ranked();
        let mut rank = |percent| milliseconds(durations.percentile(percent));
        Row {
            requests: self.requests,
            rate: (seconds > 0.0).then(|| self.requests as f64 / seconds),
            errors: self.errors,
            error_ratio: self.errors as f64 / self.requests as f64,
            incomplete: self.incomplete,
            avg_ms: mean.map(|ns| ns / 1e6),
            p50_ms: rank(50),
            p90_ms: rank(90),
            p95_ms: rank(95),
            p99_ms: rank(99),
            max_ms: milliseconds(max),
            ..Row::default()
        }
    }
}

/// Nanoseconds as milliseconds.
pub fn milliseconds(ns: Option<u64>) -> Option<f64> {
    ns.map(|ns| ns as f64 / 1e6)
}
