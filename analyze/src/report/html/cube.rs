//! What the page filters: requests counted by name, status and time, with a histogram of durations each. Filled from the
//! requests of a replay; [`super::document`] writes it into the page.
//!
//! Its size does not depend on how many requests there are. Names are limited in number: what comes after the first
//! [`MAX_GROUPS`] is counted by class of status alone. Buckets of time double their width whenever there would be more than
//! [`MAX_BUCKETS`] of them, or more than [`MAX_STEPS`] steps in all histograms together.

use std::collections::BTreeMap;

use beyla_schema::request::Request;
use rustc_hash::FxHashMap;
use serde::{Serialize, Serializer};

use super::{
    histogram::Histogram,
    names::{Class, Name, Texts},
};

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
    numbers: FxHashMap<Name, usize>,
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
    pub(super) fn texts(&self) -> Vec<&str> {
        self.texts.all()
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

#[cfg(test)]
mod tests;
