//! Collects requests into groups.

use std::collections::BTreeMap;

use beyla_schema::request::{Kind, Request};
use rustc_hash::FxHashMap;

use super::{Dimension, Report, Row, Side, breakdown::Collector, group::Group, timeline::Recorder};
use crate::{Sink, intern::Interner};

/// Durations that are kept as they are, of all groups together; then all are counted in steps.
const KEPT: usize = 1 << 21;

/// Groups that are told apart. Requests of further ones are in one that has this as its route.
pub(super) const MAX_GROUPS: usize = 4096;

/// The route of requests that found no room among the groups.
pub(super) const FURTHER: &str = "(further groups)";

/// Collects requests for a [`Report`]. Times are those of the requests.
#[derive(Debug)]
pub struct Aggregator {
    range: Option<(u64, u64)>,
    texts: Interner,
    groups: FxHashMap<Key, Group>,
    breakdown: Option<Collector>,
    /// Of what was served, and of what was called.
    timelines: [Recorder; 2],
    /// Durations that may still be kept as they are. None: all are counted.
    room: Option<usize>,
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

impl Default for Aggregator {
    fn default() -> Self {
        Self::with_room(KEPT)
    }
}

impl Sink for Aggregator {
    fn request(&mut self, request: &Request<'_>) {
        let last = request.end_ns.unwrap_or(request.start_ns);
        let (from, to) = self.range.unwrap_or((request.start_ns, last));
        self.range = Some((from.min(request.start_ns), to.max(last)));

        self.room = match self.room {
            Some(0) => {
                self.groups.values_mut().for_each(|group| group.durations.count_in_steps());
                self.breakdown.iter_mut().for_each(Collector::count_in_steps);
                None
            }
            room => room.map(|room| room - usize::from(request.duration_ns.is_some())),
        };
        let exact = self.room.is_some();
        let key = self.key(request);
        self.groups.entry(key).or_insert_with(|| Group::new(exact)).add(request);
        if let Some(breakdown) = &mut self.breakdown {
            breakdown.add(request, exact);
        }
        let [served, called] = &mut self.timelines;
        if request.kind == Kind::Server { served.add(request) } else { called.add(request) }
    }
}

impl Aggregator {
    /// One that also makes a table by these.
    #[must_use]
    pub fn by(self, dimensions: Vec<Dimension>) -> Self {
        let breakdown = (!dimensions.is_empty()).then(|| Collector::new(dimensions));
        Self { breakdown, ..self }
    }

    fn with_room(durations: usize) -> Self {
        Self {
            range: None,
            texts: Interner::default(),
            groups: FxHashMap::default(),
            breakdown: None,
            timelines: Default::default(),
            room: Some(durations),
        }
    }

    /// The group of a request; once there are many, perhaps that of all further ones.
    fn key(&mut self, request: &Request<'_>) -> Key {
        let full = self.groups.len() >= MAX_GROUPS;
        let mut unknown = false;
        let mut number = |text: Option<&str>| {
            let text = text?;
            if !full {
                return Some(self.texts.number(text));
            }
            let known = self.texts.get(text);
            unknown |= known.is_none();
            known
        };
        let key = Key {
            kind: request.kind,
            service: number(Some(request.service).filter(|name| !name.is_empty())),
            method: number(request.method),
            route: number(request.route),
            status: request.status,
            rpc_status: request.rpc_status,
        };
        if !full || !unknown && self.groups.contains_key(&key) {
            return key;
        }
        let route = Some(self.texts.number(FURTHER));
        Key { service: None, method: None, route, status: None, rpc_status: None, ..key }
    }

    /// The tables of what has come so far, with the `top` slowest routes.
    pub fn report(&self, top: usize) -> Report {
        Report {
            first_ns: self.range.map(|(first, _)| first),
            last_ns: self.range.map(|(_, last)| last),
            requests: self.groups.values().map(|group| group.requests).sum(),
            exact: self.room.is_some(),
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
        let [served, called] = &self.timelines;
        Some(Side {
            total: self.rows(kind, |_| none).pop()?,
            by_service: self.rows(kind, |key| Key { service: key.service, ..none }),
            by_route,
            by_status: self.rows(kind, |key| Key { status: key.status, rpc_status: key.rpc_status, ..none }),
            slowest,
            breakdown: self.breakdown.as_ref().map(|breakdown| breakdown.table(kind, self.seconds())),
            timeline: if kind == Kind::Server { served } else { called }.timeline(),
        })
    }

    /// What the report is about.
    fn seconds(&self) -> f64 {
        self.range.map_or(0.0, |(first, last)| (last - first) as f64 / 1e9)
    }

    /// One row for every distinct `coarse` key of the groups of `kind`.
    fn rows(&self, kind: Kind, coarse: impl Fn(Key) -> Key) -> Vec<Row> {
        let text = |number: Option<u32>| number.map(|number| self.texts.text(number));
        let mut merged = BTreeMap::<_, Group>::new();
        for (&key, group) in self.groups.iter().filter(|(key, _)| key.kind == kind) {
            let key = coarse(key);
            let name = (text(key.service), text(key.method), text(key.route), (key.status, key.rpc_status));
            merged.entry(name).or_default().add_all(group);
        }
        let mut rows: Vec<Row> = merged
            .into_iter()
            .map(|((service, method, route, (status, rpc_status)), group)| Row {
                service: service.map(str::to_owned),
                method: method.map(str::to_owned),
                route: route.map(str::to_owned),
                status,
                rpc_status,
                ..group.row(self.seconds())
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.requests));
        rows
    }
}

#[cfg(test)]
mod tests {
    use beyla_schema::request::EndReason;

    use super::*;

    fn request(route: &str, ms: u64) -> Request<'_> {
        Request {
            route: Some(route),
            end_ns: Some(ms * 1_000_000),
            duration_ns: Some(ms * 1_000_000),
            ..Request::begun(Kind::Server, 0, EndReason::Response)
        }
    }

    fn report(mut aggregator: Aggregator, requests: &[(&str, u64)]) -> Report {
        for &(route, ms) in requests {
            aggregator.request(&request(route, ms));
        }
        aggregator.report(10)
    }

    #[test]
    fn percentiles_stay_near_when_there_are_too_many_durations_to_keep() {
        let requests: Vec<_> = (1..=1000).map(|n| (["/a", "/b"][n as usize % 2], n * 37 % 1009)).collect();
        let exact = report(Aggregator::default(), &requests);
        let counted = report(Aggregator::with_room(100), &requests);
        assert_eq!((exact.exact, counted.exact), (true, false));
        let (exact, counted) = (exact.inbound.unwrap(), counted.inbound.unwrap());
        assert_eq!(exact.by_route.len(), 2);
        for (exact, counted) in
            exact.by_route.iter().zip(&counted.by_route).chain([(&exact.total, &counted.total)])
        {
            assert_eq!(
                (&exact.route, exact.requests, exact.avg_ms),
                (&counted.route, counted.requests, counted.avg_ms)
            );
            assert_eq!(exact.max_ms, counted.max_ms);
            for (exact, counted) in [(exact.p50_ms, counted.p50_ms), (exact.p99_ms, counted.p99_ms)] {
                let (exact, counted) = (exact.unwrap(), counted.unwrap());
                assert!((exact - counted).abs() <= exact / 1000.0, "{counted} for {exact}");
            }
        }
    }

    #[test]
    fn further_groups_are_one() {
        let mut aggregator = Aggregator::default();
        for n in 0..MAX_GROUPS + 50 {
            aggregator.request(&request(&format!("/{n}"), 1));
        }
        aggregator.request(&request("/0", 1));
        let side = aggregator.report(10).inbound.unwrap();
        assert_eq!(side.by_route.len(), MAX_GROUPS + 1);
        assert_eq!((side.by_route[0].route.as_deref(), side.by_route[0].requests), (Some(FURTHER), 50));
        assert_eq!((side.by_route[1].route.as_deref(), side.by_route[1].requests), (Some("/0"), 2));
    }
}
