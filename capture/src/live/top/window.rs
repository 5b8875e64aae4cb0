//! Rates, errors and durations of the last seconds, by route.
//!
//! A [`Window`] takes requests as the engine settles them; its clock is that of the events.

use std::{
    collections::{VecDeque, hash_map::Entry},
    fmt::Debug,
    ops::RangeInclusive,
};

use beyla_engine::{Sink, durations::Durations};
use beyla_schema::request::{Kind, Request};
use rustc_hash::FxHashMap;

/// Routes that are told apart at a time.
const MAX_ROUTES: usize = 2000;

/// Bytes kept of each part of a name.
const MAX_NAME: usize = 256;

/// Seconds of the history of rates.
const HISTORY: u64 = 60;

/// Durations of a route and second that are kept as they are.
const KEPT: usize = 2048;

const SECOND: u64 = 1_000_000_000;

/// What requests are grouped by. Texts are as the network gave them: to be escaped before a terminal sees them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Service name; empty when not known.
    pub service: String,
    /// Whether the service answered or asked.
    pub kind: Kind,
    /// The route, of gRPC the full method; empty when there is none.
    pub route: String,
    /// The method, of gRPC `gRPC`; empty when not seen.
    pub method: String,
}

impl Name {
    fn of(request: &Request<'_>) -> Self {
        let (method, route) = if request.protocol.is_grpc() {
            (Some("gRPC"), request.path)
        } else {
            (request.method, request.route)
        };
        let text = |text: &str| text.get(..text.floor_char_boundary(MAX_NAME)).unwrap_or("").to_owned();
        Self {
            service: text(request.service),
            kind: request.kind,
            route: text(route.unwrap_or("")),
            method: text(method.unwrap_or("")),
        }
    }
}

/// The requests of the last seconds.
#[derive(Debug)]
pub struct Window {
    seconds: u64,
    since_ns: u64,
    /// The newest second that a request ended in.
    newest: u64,
    requests: u64,
    errors: u64,
    history: Seconds<u64>,
    routes: FxHashMap<Name, Seconds<Slot>>,
    /// Requests that found no room among the routes.
    other: Seconds<Slot>,
}

/// Requests of one route that ended in one second.
#[derive(Debug, Default)]
struct Slot {
    requests: u64,
    errors: u64,
    durations: Durations<6>,
    last_status: Option<u32>,
}

/// What a [`Window`] shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Length of the window, seconds.
    pub seconds: u64,
    /// Requests since the window was made or reset.
    pub requests: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// Requests that ended in each of the last 60 whole seconds, oldest first.
    pub history: Vec<u64>,
    /// The routes with requests in the window: the highest rate first, then by name.
    pub rows: Vec<Row>,
}

/// The requests of one route in the window.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// None for all routes beyond those that are told apart.
    pub name: Option<Name>,
    /// Requests, finished or not.
    pub requests: u64,
    /// Requests per second.
    pub rate: f64,
    /// Requests that failed.
    pub errors: u64,
    /// Median of the durations, nanoseconds; none when no request has one.
    pub p50_ns: Option<u64>,
    /// Their 99th percentile.
    pub p99_ns: Option<u64>,
    /// The longest.
    pub max_ns: Option<u64>,
    /// The last status that was seen; of gRPC, its own.
    pub last_status: Option<u32>,
}

impl Row {
    /// Failed requests as a share of all, 0 to 1.
    pub fn error_share(&self) -> f64 {
        self.errors as f64 / self.requests.max(1) as f64
    }
}

impl Sink for Window {
    fn request(&mut self, request: &Request<'_>) {
        self.requests += 1;
        self.errors += u64::from(request.error);
        let second = request.ended_ns / SECOND;
        if second > self.newest {
            self.newest = second;
            self.forget();
        }
        if second + HISTORY >= self.newest
            && let Some(count) = self.history.at(second)
        {
            *count += 1;
        }
        if second + self.seconds <= self.newest {
            return;
        }
        let room = self.routes.len() < MAX_ROUTES;
        let route = match self.routes.entry(Name::of(request)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) if room => place.insert(Seconds::default()),
            Entry::Vacant(_) => &mut self.other,
        };
        if let Some(slot) = route.at(second) {
            slot.requests += 1;
            slot.errors += u64::from(request.error);
            if slot.durations.kept() >= KEPT {
                slot.durations.count_in_steps();
            }
            request.duration_ns.into_iter().for_each(|ns| slot.durations.add(ns));
            let status = request.rpc_status.or(request.status.map(u32::from));
            slot.last_status = status.or(slot.last_status);
        }
    }
}

impl Window {
    /// A window of the last `seconds` (1 to 60), the present one included. What comes was recorded from `since_ns` on,
    /// monotonic nanoseconds.
    pub fn new(seconds: u64, since_ns: u64) -> Self {
        Self {
            seconds: seconds.clamp(1, HISTORY),
            since_ns,
            newest: 0,
            requests: 0,
            errors: 0,
            history: Seconds::default(),
            routes: FxHashMap::default(),
            other: Seconds::default(),
        }
    }

    /// Begins anew at `now_ns`, monotonic nanoseconds.
    pub fn reset(&mut self, now_ns: u64) {
        *self = Self::new(self.seconds, now_ns);
    }

    /// What the window shows at `now_ns`, monotonic nanoseconds: the time up to which the engine has seen the events.
    pub fn snapshot(&self, now_ns: u64) -> Snapshot {
        let now = now_ns / SECOND;
        let window = (now + 1).saturating_sub(self.seconds)..=now;
        let from_ns = self.since_ns.max(window.start() * SECOND);
        // Of less than a second no rate can be told.
        let length = now_ns.saturating_sub(from_ns).max(SECOND) as f64 / SECOND as f64;

        let named = self.routes.iter().map(|(name, route)| (Some(name), route));
        let rows = named.chain([(None, &self.other)]);
        let rows = rows.filter_map(|(name, route)| row(name, route.within(window.clone()), length));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.name.cmp(&b.name)));

        let ended_in = |second| self.history.within(second..=second).sum();
        let history = (now.saturating_sub(HISTORY)..now).map(ended_in).collect();
        Snapshot { seconds: self.seconds, requests: self.requests, errors: self.errors, history, rows }
    }

    fn forget(&mut self) {
        self.history.forget_before(self.newest.saturating_sub(HISTORY));
        let first = (self.newest + 1).saturating_sub(self.seconds);
        self.other.forget_before(first);
        self.routes.retain(|_, route| {
            route.forget_before(first);
            !route.0.is_empty()
        });
    }
}

fn row<'a>(name: Option<&Name>, slots: impl Iterator<Item = &'a Slot>, length: f64) -> Option<Row> {
    let mut total = Slot::default();
    for slot in slots {
        total.requests += slot.requests;
        total.errors += slot.errors;
        total.durations.add_all(&slot.durations);
        total.last_status = slot.last_status.or(total.last_status);
    }
    let max_ns = total.durations.max();
    let mut durations = total.durations.ranked();
    (total.requests > 0).then(|| Row {
        name: name.cloned(),
        requests: total.requests,
        rate: total.requests as f64 / length,
        errors: total.errors,
        p50_ns: durations.percentile(50),
        p99_ns: durations.percentile(99),
        max_ns,
        last_status: total.last_status,
    })
}

/// Values of seconds, oldest first; a second in which nothing was has none.
#[derive(Debug)]
struct Seconds<T>(VecDeque<(u64, T)>);

impl<T> Default for Seconds<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Default> Seconds<T> {
    /// The value of a second, made if there is none yet.
    fn at(&mut self, second: u64) -> Option<&mut T> {
        let place = self.0.partition_point(|(known, _)| *known < second);
        if self.0.get(place).is_none_or(|(known, _)| *known != second) {
            self.0.insert(place, (second, T::default()));
        }
        self.0.get_mut(place).map(|(_, value)| value)
    }

    fn forget_before(&mut self, second: u64) {
        let old = self.0.partition_point(|(known, _)| *known < second);
        self.0.drain(..old);
    }

    fn within(&self, seconds: RangeInclusive<u64>) -> impl Iterator<Item = &T> {
        self.0.iter().filter(move |(second, _)| seconds.contains(second)).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests;
