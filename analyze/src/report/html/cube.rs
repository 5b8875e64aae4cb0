//! What the page filters: requests counted by name, status and time, with a histogram of durations each. Filled from the
//! requests of a replay; [`super::document`] writes it into the page.
//!
//! Its size does not depend on how many requests there are. Names are limited in number: what comes after the first
//! [`MAX_GROUPS`] is counted by class of status alone. Buckets of time double their width whenever there would be more than
//! [`MAX_BUCKETS`] of them, or more than [`MAX_STEPS`] steps in all histograms together.

use std::collections::{BTreeMap, HashMap};

use beyla_schema::request::{Kind, Request};
use serde::{Serialize, Serializer};

use super::histogram::Histogram;

/// Groups that have a name.
pub(super) const MAX_GROUPS: usize = 500;

/// Buckets of time.
const MAX_BUCKETS: i64 = 120;

/// Steps of all histograms.
const MAX_STEPS: usize = 300_000;

/// The narrowest bucket, nanoseconds: as many doublings later it is a second.
const NARROWEST_NS: i64 = 1_000_000_000 >> 9;

/// Requests by group and time.
#[derive(Debug, Default)]
pub(super) struct Cube {
    texts: Texts,
    numbers: HashMap<Name, usize>,
    /// In the order they were first seen.
    groups: Vec<Group>,
    named: usize,
    /// Requests of groups that have no name.
    unnamed: u64,
    /// How often the buckets were doubled.
    doublings: u32,
    /// The first and the last bucket, numbered from 1970.
    range: Option<(i64, i64)>,
    /// Steps of all histograms.
    steps: usize,
}

/// What requests of a group have in common. Texts are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Known {
        kind: Kind,
        service: u32,
        method: Option<u32>,
        route: Option<u32>,
        status: Option<u16>,
        rpc_status: Option<u32>,
        grpc: bool,
    },
    /// Beyond the limit.
    Rest { kind: Kind, class: Class },
}

/// What a status means, broadly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(super) enum Class {
    #[serde(rename = "1xx")]
    Informational,
    #[serde(rename = "2xx")]
    Success,
    #[serde(rename = "3xx")]
    Redirection,
    #[serde(rename = "4xx")]
    ClientError,
    #[serde(rename = "5xx")]
    ServerError,
    #[serde(rename = "grpc ok")]
    GrpcOk,
    #[serde(rename = "grpc error")]
    GrpcError,
    /// None was seen.
    #[serde(rename = "none")]
    Unknown,
    #[serde(rename = "other")]
    Other,
}

impl Class {
    fn of(request: &Request<'_>) -> Self {
        match (request.rpc_status, request.status) {
            (Some(0), _) => Self::GrpcOk,
            (Some(_), _) => Self::GrpcError,
            (None, None) => Self::Unknown,
            (None, Some(100..=199)) => Self::Informational,
            (None, Some(200..=299)) => Self::Success,
            (None, Some(300..=399)) => Self::Redirection,
            (None, Some(400..=499)) => Self::ClientError,
            (None, Some(500..=599)) => Self::ServerError,
            (None, Some(_)) => Self::Other,
        }
    }
}

/// Requests of one name.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Name,
    pub(super) class: Class,
    /// By bucket.
    cells: BTreeMap<i64, Counts>,
}

/// Requests of one name that began in one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    requests: u64,
    errors: u64,
    incomplete: u64,
    /// Of all durations, nanoseconds.
    sum_ns: u64,
    /// The longest duration, nanoseconds.
    max_ns: u64,
    durations: Histogram,
}

impl Counts {
    fn add(&mut self, request: &Request<'_>) {
        self.requests += 1;
        self.errors += u64::from(request.error);
        self.incomplete += u64::from(request.end_ns.is_none());
        if let Some(ns) = request.duration_ns {
            self.sum_ns = self.sum_ns.saturating_add(ns);
            self.max_ns = self.max_ns.max(ns);
            self.durations.add(ns);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.incomplete += other.incomplete;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.durations.merge(&other.durations);
    }
}

impl Cube {
    /// Adds a request that began at `wall_ns`, nanoseconds since 1970.
    pub(super) fn add(&mut self, request: &Request<'_>, wall_ns: i64) {
        let number = self.group(request);
        let bucket = wall_ns.div_euclid(NARROWEST_NS) >> self.doublings;
        let (first, last) = self.range.unwrap_or((bucket, bucket));
        self.range = Some((first.min(bucket), last.max(bucket)));
        if let Some(group) = self.groups.get_mut(number) {
            let counts = group.cells.entry(bucket).or_default();
            let before = counts.durations.len();
            counts.add(request);
            self.steps += counts.durations.len() - before;
        }
        while self.is_too_fine() {
            self.double();
        }
    }

    /// The number of the group of a request.
    fn group(&mut self, request: &Request<'_>) -> usize {
        let class = Class::of(request);
        let rest = Name::Rest { kind: request.kind, class };
        let name = if self.named < MAX_GROUPS {
            self.texts.name(request)
        } else {
            // Names beyond the limit are not even kept as texts.
            self.texts.known_name(request).filter(|name| self.numbers.contains_key(name)).unwrap_or(rest)
        };
        self.unnamed += u64::from(name == rest);
        if let Some(&number) = self.numbers.get(&name) {
            return number;
        }
        let number = self.groups.len();
        self.named += usize::from(name != rest);
        self.numbers.insert(name, number);
        self.groups.push(Group { name, class, cells: BTreeMap::new() });
        number
    }

    fn is_too_fine(&self) -> bool {
        let buckets = self.range.map_or(0, |(first, last)| last - first + 1);
        // The two buckets on the sides of 1970 never become one.
        buckets > MAX_BUCKETS || (self.steps > MAX_STEPS && buckets > 2)
    }

    /// Makes one bucket of every two.
    fn double(&mut self) {
        self.doublings += 1;
        self.range = self.range.map(|(first, last)| (first >> 1, last >> 1));
        self.steps = 0;
        for group in &mut self.groups {
            let mut merged = BTreeMap::<i64, Counts>::new();
            for (bucket, counts) in &group.cells {
                merged.entry(bucket >> 1).or_default().merge(counts);
            }
            self.steps += merged.values().map(|counts| counts.durations.len()).sum::<usize>();
            group.cells = merged;
        }
    }

    /// Width of a bucket, nanoseconds.
    pub(super) fn bucket_ns(&self) -> u128 {
        (NARROWEST_NS as u128) << self.doublings
    }

    /// How many buckets there are.
    pub(super) fn buckets(&self) -> i64 {
        self.range.map_or(0, |(first, last)| last - first + 1)
    }

    /// When the first bucket begins, nanoseconds since 1970.
    pub(super) fn first_ns(&self) -> Option<i128> {
        let (first, _) = self.range?;
        Some(i128::from(first) * self.bucket_ns() as i128)
    }

    /// Requests that are in no group of a name.
    pub(super) fn unnamed(&self) -> u64 {
        self.unnamed
    }

    /// The groups, in the order they were first seen.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The texts of names, by number.
    pub(super) fn texts(&self) -> &[Box<str>] {
        &self.texts.texts
    }

    /// The cells of a group, each with the number of its bucket among the buckets there are.
    pub(super) fn cells<'c>(&self, group: &'c Group) -> impl Iterator<Item = Cell<'c>> + use<'c> {
        let (first, _) = self.range.unwrap_or_default();
        group.cells.iter().map(move |(bucket, counts)| Cell { bucket: bucket - first, counts })
    }
}

/// What happened to a group in a bucket; written as an array.
pub(super) struct Cell<'c> {
    bucket: i64,
    counts: &'c Counts,
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Counts { requests, errors, incomplete, sum_ns, max_ns, durations } = self.counts;
        (self.bucket, requests, errors, incomplete, sum_ns, max_ns, durations).serialize(serializer)
    }
}

/// Texts as numbers, in the order they are first seen.
#[derive(Debug, Default)]
struct Texts {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.into(), number);
        self.texts.push(text.into());
        number
    }

    /// The name of a request, whose texts are numbered if they are not yet.
    fn name(&mut self, request: &Request<'_>) -> Name {
        Name::Known {
            kind: request.kind,
            service: self.number(request.service),
            method: request.method.map(|text| self.number(text)),
            route: request.route.map(|text| self.number(text)),
            status: request.status,
            rpc_status: request.rpc_status,
            grpc: request.protocol.is_grpc(),
        }
    }

    /// The same if all of its texts have numbers.
    fn known_name(&self, request: &Request<'_>) -> Option<Name> {
        let known = |text: &str| self.numbers.get(text).copied();
        let maybe = |text: Option<&str>| text.map_or(Some(None), |text| known(text).map(Some));
        Some(Name::Known {
            kind: request.kind,
            service: known(request.service)?,
            method: maybe(request.method)?,
            route: maybe(request.route)?,
            status: request.status,
            rpc_status: request.rpc_status,
            grpc: request.protocol.is_grpc(),
        })
    }
}

#[cfg(test)]
mod tests {
    use beyla_schema::request::EndReason;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn request(route: &str, status: u16, duration_ns: u64) -> Request<'_> {
        Request {
            service: "shop",
            method: Some("GET"),
            route: Some(route),
            status: Some(status),
            error: status >= 500,
            end_ns: Some(duration_ns),
            duration_ns: Some(duration_ns),
            ..Request::begun(Kind::Server, 0, EndReason::Response)
        }
    }

    fn sum(group: &Group) -> Counts {
        let mut all = Counts::default();
        group.cells.values().for_each(|cell| all.merge(cell));
        all
    }

    #[test]
    fn buckets_double_until_there_are_few_enough() {
        let mut cube = Cube::default();
        for second in 0..3_600 {
            cube.add(&request("/", 200, 1_000_000), second * SECOND);
        }
        assert_eq!(cube.bucket_ns(), 32 * SECOND as u128);
        assert_eq!((cube.buckets(), cube.first_ns()), (113, Some(0)));
        let [group] = cube.groups() else { panic!("{:?}", cube.groups()) };
        let counts: Vec<_> = group.cells.values().map(|cell| cell.requests).collect();
        assert_eq!(counts[..2], [32, 32]);
        assert_eq!(counts.iter().sum::<u64>(), 3_600);
    }

    #[test]
    fn the_order_of_requests_does_not_change_the_buckets() {
        let times: Vec<i64> = (0..500).map(|number| number * number % 701 * SECOND / 3).collect();
        let [mut forth, mut back] = [Cube::default(), Cube::default()];
        for time in &times {
            forth.add(&request("/", 200, 7_000), *time);
        }
        for time in times.iter().rev() {
            back.add(&request("/", 200, 7_000), *time);
        }
        assert_eq!(forth.doublings, back.doublings);
        assert_eq!(forth.groups[0].cells, back.groups[0].cells);
    }

    #[test]
    fn times_from_the_whole_range_of_clocks_end_in_few_buckets() {
        let mut cube = Cube::default();
        for time in [i64::MIN, -1, 0, 1, i64::MAX] {
            cube.add(&request("/", 200, 1), time);
        }
        assert!(cube.buckets() <= MAX_BUCKETS);
        assert_eq!(sum(&cube.groups[0]).requests, 5);
    }

    #[test]
    fn histograms_that_grow_too_large_make_buckets_wider() {
        let mut cube = Cube::default();
        let mut number = 0_u64;
        for route in 0..100 {
            let route = format!("/{route}");
            for bucket in 0..100 {
                for step in 0..80 {
                    number += 1;
                    cube.add(
                        &request(&route, 200, 1_000 << (step % 30) | number % 37),
                        bucket * NARROWEST_NS,
                    );
                }
            }
        }
        assert!(cube.steps <= MAX_STEPS, "{}", cube.steps);
        assert_eq!(cube.groups.iter().map(|group| sum(group).requests).sum::<u64>(), 800_000);
    }

    #[test]
    fn further_names_are_counted_by_class_and_their_texts_not_kept() {
        let mut cube = Cube::default();
        for number in 0..10_000 {
            let route = format!("/{number}");
            cube.add(&request(&route, if number % 10 == 0 { 503 } else { 200 }, 1), 0);
        }
        cube.add(&request("/1", 200, 1), 0);
        assert_eq!(cube.groups.len(), MAX_GROUPS + 2);
        assert_eq!(cube.unnamed(), 10_000 - MAX_GROUPS as u64);
        assert!(cube.texts().len() <= MAX_GROUPS + 2);
        let rest =
            |class| cube.groups.iter().find(|group| group.name == Name::Rest { kind: Kind::Server, class });
        let failed = sum(rest(Class::ServerError).expect("a group for the rest that failed"));
        assert_eq!((failed.requests, failed.errors), (950, 950));
    }

    #[test]
    fn a_cell_counts_what_a_request_has() {
        let mut cube = Cube::default();
        cube.add(&request("/", 200, 3_000), 0);
        cube.add(&request("/", 200, 9_000), SECOND);
        let unanswered = Request { end_ns: None, duration_ns: None, ..request("/", 200, 0) };
        cube.add(&unanswered, SECOND);
        let Counts { requests, errors, incomplete, sum_ns, max_ns, durations } = sum(&cube.groups[0]);
        assert_eq!((requests, errors, incomplete, sum_ns, max_ns), (3, 0, 1, 12_000, 9_000));
        assert_eq!(durations.len(), 2);
    }
}
