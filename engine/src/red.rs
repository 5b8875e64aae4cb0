//! Rate, errors and durations of requests: the numbers of the report.
//!
//! An [`Aggregator`] takes requests as the engine settles them and keeps every duration, so that quantiles
//! are exact. A [`Report`] is tables of plain numbers, for a terminal, JSON or a comparison of two runs.

use std::collections::BTreeMap;

use beyla_schema::request::{Kind, Request};
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::Sink;
use crate::intern::Interner;

/// Collects requests for a [`Report`].
#[derive(Debug, Default)]
pub struct Aggregator {
    range: Option<(u64, u64)>,
    texts: Interner,
    groups: FxHashMap<Key, Group>,
}

/// The finest group that a table is made from; texts are numbers of the interner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    service: Option<u32>,
    method: Option<u32>,
    route: Option<u32>,
    status: Option<u16>,
    rpc_status: Option<u32>,
}

#[derive(Debug, Default)]
struct Group {
    requests: u64,
    errors: u64,
    incomplete: u64,
    durations: Vec<u64>,
}

/// The RED report of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Start of the first request, monotonic nanoseconds.
    pub first_ns: Option<u64>,
    /// End of the last response (or start of the last request, if later), monotonic nanoseconds.
    pub last_ns: Option<u64>,
    /// Requests of both directions.
    pub requests: u64,
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
}

/// Numbers of one group of requests. A field that does not tell the group is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
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

impl Sink for Aggregator {
    fn request(&mut self, request: &Request<'_>) {
        let last = request.end_ns.unwrap_or(request.start_ns);
        let (from, to) = self.range.unwrap_or((request.start_ns, last));
        self.range = Some((from.min(request.start_ns), to.max(last)));

        let mut number = |text: Option<&str>| text.map(|text| self.texts.number(text));
        let key = Key {
            kind: request.kind,
            service: number(Some(request.service).filter(|name| !name.is_empty())),
            method: number(request.method),
            route: number(request.route),
            status: request.status,
            rpc_status: request.rpc_status,
        };
        let group = self.groups.entry(key).or_default();
        group.requests += 1;
        group.errors += u64::from(request.error);
        group.incomplete += u64::from(request.end_ns.is_none());
        group.durations.extend(request.duration_ns);
    }
}

impl Aggregator {
    /// The tables of what has come so far, with the `top` slowest routes.
    pub fn report(&self, top: usize) -> Report {
        Report {
            first_ns: self.range.map(|(first, _)| first),
            last_ns: self.range.map(|(_, last)| last),
            requests: self.groups.values().map(|group| group.requests).sum(),
            inbound: self.side(Kind::Server, top),
            outbound: self.side(Kind::Client, top),
        }
    }

    fn side(&self, kind: Kind, top: usize) -> Option<Side> {
        let by_route = self.rows(kind, |key| Key { status: None, rpc_status: None, ..key });
        let mut slowest = by_route.clone();
        slowest.retain(|row| row.p95_ms.is_some());
        // Stable: routes that are equally slow stay ordered as in the table.
        slowest.sort_by(|a, b| b.p95_ms.partial_cmp(&a.p95_ms).unwrap_or(std::cmp::Ordering::Equal));
        slowest.truncate(top);
        let none = Key { kind, service: None, method: None, route: None, status: None, rpc_status: None };
        Some(Side {
            total: self.rows(kind, |_| none).pop()?,
            by_service: self.rows(kind, |key| Key { service: key.service, ..none }),
            by_route,
            by_status: self.rows(kind, |key| Key { status: key.status, rpc_status: key.rpc_status, ..none }),
            slowest,
        })
    }

    /// One row for every distinct `coarse` key of the groups of `kind`.
    fn rows(&self, kind: Kind, coarse: impl Fn(Key) -> Key) -> Vec<Row> {
        let text = |number: Option<u32>| number.map(|number| self.texts.text(number));
        let mut merged = BTreeMap::<_, Group>::new();
        for (&key, group) in self.groups.iter().filter(|(key, _)| key.kind == kind) {
            let key = coarse(key);
            let name = (text(key.service), text(key.method), text(key.route), (key.status, key.rpc_status));
            let sum = merged.entry(name).or_default();
            sum.requests += group.requests;
            sum.errors += group.errors;
            sum.incomplete += group.incomplete;
            sum.durations.extend_from_slice(&group.durations);
        }
        let seconds = self.range.map_or(0.0, |(first, last)| (last - first) as f64 / 1e9);
        let mut rows: Vec<Row> = merged
            .into_iter()
            .map(|((service, method, route, (status, rpc_status)), group)| Row {
                service: service.map(str::to_owned),
                method: method.map(str::to_owned),
                route: route.map(str::to_owned),
                status,
                rpc_status,
                ..group.row(seconds)
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.requests));
        rows
    }
}

impl Group {
    fn row(mut self, seconds: f64) -> Row {
        self.durations.sort_unstable();
        let durations = &self.durations;
        let rank = |percent| percentile_ms(durations, percent);
        let sum: u128 = durations.iter().copied().map(u128::from).sum();
        Row {
            requests: self.requests,
            rate: (seconds > 0.0).then(|| self.requests as f64 / seconds),
            errors: self.errors,
            error_ratio: self.errors as f64 / self.requests as f64,
            incomplete: self.incomplete,
            avg_ms: (!durations.is_empty()).then(|| sum as f64 / durations.len() as f64 / 1e6),
            p50_ms: rank(50),
            p90_ms: rank(90),
            p95_ms: rank(95),
            p99_ms: rank(99),
            max_ms: rank(100),
            ..Row::default()
        }
    }
}

/// A percentile of durations in nanoseconds, which are sorted; milliseconds. Nearest rank: the smallest value that at
/// least `percent` of all values do not exceed.
pub(crate) fn percentile_ms(durations: &[u64], percent: usize) -> Option<f64> {
    let rank = (durations.len() * percent).div_ceil(100);
    durations.get(rank.checked_sub(1)?).map(|&ns| ns as f64 / 1e6)
}
