//! Requests over time, in at most [`MAX_BUCKETS`] buckets whose length grows with the time they span.

use std::collections::VecDeque;

use beyla_schema::request::Request;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::milliseconds;
use crate::durations::Durations;

/// Buckets of a timeline.
const MAX_BUCKETS: u64 = 120;

/// Lengths of buckets, nanoseconds: each divides the next, and all are such that people count in. After them it is as
/// many days as it takes.
const LENGTHS: [u64; 17] = [
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    300_000_000_000,
    600_000_000_000,
    1_800_000_000_000,
    3_600_000_000_000,
    21_600_000_000_000,
    86_400_000_000_000,
];

/// Durations of a bucket that are kept as they are.
const KEPT: usize = 2048;

/// Requests over time, by when they began.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timeline {
    /// Length of a bucket, seconds.
    pub bucket_seconds: f64,
    /// Consecutive buckets, also those without requests.
    pub buckets: Vec<Bucket>,
}

/// What began in some span of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// When it begins: nanoseconds, a multiple of the length. Written as a time, since 1970.
    #[serde(rename = "time", serialize_with = "rfc3339")]
    pub start_ns: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Median of the durations, milliseconds; within 0.4 %.
    pub p50_ms: Option<f64>,
    /// 99th percentile, likewise.
    pub p99_ms: Option<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn rfc3339<S: Serializer>(ns: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let time = Timestamp::from_nanosecond((*ns).into()).ok();
    time.map(|time| format!("{time:.3}")).serialize(serializer)
}

/// Collects a timeline.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Length of a bucket, nanoseconds.
    length: u64,
    /// Number of the first slot, counted from time 0.
    first: u64,
    slots: VecDeque<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    requests: u64,
    errors: u64,
    durations: Durations<7>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { length: LENGTHS[0], first: 0, slots: VecDeque::new() }
    }
}

impl Recorder {
    pub(super) fn add(&mut self, request: &Request<'_>) {
        let at = loop {
            let number = request.start_ns / self.length;
            if self.slots.is_empty() {
                self.first = number;
            }
            let last = (self.first + self.slots.len() as u64).max(number + 1);
            if last - self.first.min(number) <= MAX_BUCKETS {
                break number;
            }
            self.lengthen();
        };
        while at < self.first {
            self.slots.push_front(Slot::default());
            self.first -= 1;
        }
        let index = (at - self.first) as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            slot.requests += 1;
            slot.errors += u64::from(request.error);
            if slot.durations.kept() >= KEPT {
                slot.durations.count_in_steps();
            }
            request.duration_ns.into_iter().for_each(|ns| slot.durations.add(ns));
        }
    }

    /// The next length: what was in several slots is in one.
    fn lengthen(&mut self) {
        let longer = LENGTHS.into_iter().find(|length| *length > self.length);
        let longer = longer.unwrap_or_else(|| self.length.saturating_mul(2));
        let ratio = longer / self.length;
        let (first, slots) = (self.first, std::mem::take(&mut self.slots));
        (self.length, self.first) = (longer, first / ratio);
        for (number, slot) in (first..).zip(slots) {
            let index = (number / ratio - self.first) as usize;
            if index >= self.slots.len() {
                self.slots.push_back(slot);
            } else if let Some(sum) = self.slots.get_mut(index) {
                sum.requests += slot.requests;
                sum.errors += slot.errors;
                sum.durations.add_all(&slot.durations);
            }
        }
    }

    pub(super) fn timeline(&self) -> Timeline {
        let buckets = (self.first..).zip(&self.slots).map(|(number, slot)| {
            let mut durations = slot.durations.clone().ranked();
            Bucket {
                start_ns: number.saturating_mul(self.length),
                requests: slot.requests,
                errors: slot.errors,
                p50_ms: milliseconds(durations.percentile(50)),
                p99_ms: milliseconds(durations.percentile(99)),
            }
        });
        let buckets: Vec<_> = buckets.collect();
        // Without a bucket nothing is known of their length.
        let bucket_seconds = if buckets.is_empty() { 0.0 } else { self.length as f64 / 1e9 };
        Timeline { bucket_seconds, buckets }
    }
}

#[cfg(test)]
mod tests {
    use beyla_schema::request::{EndReason, Kind};
    use proptest::prelude::*;

    use super::*;

    fn timeline(requests: &[(u64, u64)]) -> Timeline {
        let mut recorder = Recorder::default();
        for &(start_ns, took) in requests {
            let begun = Request::begun(Kind::Server, start_ns, EndReason::Response);
            recorder.add(&Request { error: took % 2 == 1, duration_ns: Some(took), ..begun });
        }
        recorder.timeline()
    }

    #[test]
    fn buckets_grow_with_the_time() {
        let second = 1_000_000_000;
        let short = timeline(&[(10 * second, 1), (10 * second + 50_000_000, 2)]);
        assert_eq!((short.bucket_seconds, short.buckets.len()), (0.001, 51));
        let hour =
            timeline(&[(10 * second, 1_000_000), (3610 * second, 2_000_000), (10 * second, 3_000_000)]);
        assert_eq!((hour.bucket_seconds, hour.buckets.len()), (60.0, 61));
        let first = &hour.buckets[0];
        assert_eq!((first.start_ns, first.requests, first.errors), (0, 2, 0));
        assert_eq!((first.p50_ms, first.p99_ms), (Some(1.0), Some(3.0)));
        assert_eq!(hour.buckets[1].p50_ms, None);
        assert!(timeline(&[(0, 1), (u64::MAX, 1)]).buckets.len() <= 120);
        assert_eq!(timeline(&[]), Timeline::default());
    }

    #[test]
    fn every_length_divides_the_next() {
        assert!(LENGTHS.windows(2).all(|pair| pair[0] < pair[1] && pair[1] % pair[0] == 0));
    }

    proptest! {
        #[test]
        fn every_request_is_in_the_bucket_of_its_time(
            starts in proptest::collection::vec(0..1_000_000_000_000_u64, 1..200),
        ) {
            let requests: Vec<_> = starts.iter().map(|&start| (start, start % 1000)).collect();
            let Timeline { bucket_seconds, buckets } = timeline(&requests);
            let length = (bucket_seconds * 1e9).round() as u64;
            prop_assert!(buckets.len() as u64 <= MAX_BUCKETS);
            for bucket in &buckets {
                prop_assert_eq!(bucket.start_ns % length, 0);
                let within = |start: &&u64| (bucket.start_ns..bucket.start_ns + length).contains(*start);
                prop_assert_eq!(bucket.requests, starts.iter().filter(within).count() as u64);
            }
            prop_assert_eq!(buckets.iter().map(|bucket| bucket.requests).sum::<u64>(), starts.len() as u64);
        }
    }
}
