//! Durations in bounded memory: exact while they are few, then counted in steps.
//!
//! The steps are a 64th of a power of two, so that a quantile is at most 1.6 % too long.

use std::mem;

/// So many values take as much memory as the counts of all steps.
const EXACT: usize = STEPS / 2;

const STEPS_PER_OCTAVE: u64 = 64;
const STEPS: usize = step(u64::MAX) + 1;

/// Durations of some requests, nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Durations {
    max: u64,
    /// All of them while they are few, else none.
    exact: Vec<u64>,
    /// How many each step has once they are many, else nothing.
    counts: Vec<u32>,
}

/// What a table shows of durations, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantiles {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl Durations {
    pub(super) fn add(&mut self, ns: u64) {
        self.max = self.max.max(ns);
        if self.counts.is_empty() && self.exact.len() < EXACT {
            self.exact.push(ns);
        } else {
            count(self.counts(), step(ns), 1);
        }
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        others.exact.iter().for_each(|&ns| self.add(ns));
        if !others.counts.is_empty() {
            self.max = self.max.max(others.max);
            let counts = self.counts();
            others.counts.iter().enumerate().for_each(|(step, &more)| count(counts, step, more));
        }
    }

    /// By nearest rank; none when there are no durations.
    pub(super) fn quantiles(mut self) -> Option<Quantiles> {
        self.exact.sort_unstable();
        let of = |percent| {
            if self.counts.is_empty() {
                return self.exact.get(rank(self.exact.len() as u64, percent) as usize).copied();
            }
            let total = self.counts.iter().copied().map(u64::from).sum();
            let mut before = rank(total, percent);
            let found = self.counts.iter().position(|&count| {
                let found = before < count.into();
                before = before.saturating_sub(count.into());
                found
            });
            found.map(|step| longest(step).min(self.max))
        };
        Some(Quantiles { p50: of(50)?, p99: of(99)?, max: self.max })
    }

    /// Counts from now on.
    fn counts(&mut self) -> &mut [u32] {
        if self.counts.is_empty() {
            self.counts = vec![0; STEPS];
            for ns in mem::take(&mut self.exact) {
                count(&mut self.counts, step(ns), 1);
            }
        }
        &mut self.counts
    }
}

fn count(counts: &mut [u32], step: usize, more: u32) {
    if let Some(count) = counts.get_mut(step) {
        *count = count.saturating_add(more);
    }
}

/// Position, from 0, of the smallest of `count` values that `percent` of them do not exceed.
fn rank(count: u64, percent: u64) -> u64 {
    (count * percent).div_ceil(100).saturating_sub(1)
}

/// The step of a duration. The first two octaves' worth of steps are one nanosecond each.
const fn step(ns: u64) -> usize {
    let octave = (ns | STEPS_PER_OCTAVE).ilog2() - STEPS_PER_OCTAVE.ilog2();
    octave as usize * STEPS_PER_OCTAVE as usize + (ns >> octave) as usize
}

/// The longest duration of a step.
fn longest(step: usize) -> u64 {
    let octave = (step as u64 / STEPS_PER_OCTAVE).saturating_sub(1);
    let first = (step as u64 - octave * STEPS_PER_OCTAVE) << octave;
    first + ((1 << octave) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn durations(values: &[u64]) -> Durations {
        let mut durations = Durations::default();
        for &ns in values {
            durations.add(ns);
        }
        durations
    }

    fn naive(values: &[u64]) -> Option<Quantiles> {
        let mut values = values.to_vec();
        values.sort_unstable();
        let of = |share: f64| values.get(((values.len() as f64 * share).ceil() as usize).saturating_sub(1));
        Some(Quantiles { p50: *of(0.5)?, p99: *of(0.99)?, max: *values.last()? })
    }

    #[test]
    fn steps_are_without_gaps_and_narrow() {
        assert_eq!(longest(step(u64::MAX)), u64::MAX);
        for number in 1..STEPS {
            let first = longest(number - 1) + 1;
            assert_eq!((step(first), step(longest(number))), (number, number));
            assert!((longest(number) - first) as f64 <= first as f64 / 64.0);
        }
    }

    proptest! {
        #[test]
        fn few_are_exact(values in proptest::collection::vec(any::<u64>(), 0..300)) {
            prop_assert_eq!(durations(&values).quantiles(), naive(&values));
        }

        #[test]
        fn many_are_nearly_so_in_any_division(
            seed in proptest::collection::vec(0..20_000_000_000u64, 1..300),
            repeat in 1..40usize,
            at in any::<proptest::sample::Index>(),
        ) {
            let values: Vec<u64> =
                seed.iter().enumerate().flat_map(|(add, &ns)| vec![ns + add as u64; repeat]).collect();
            let (first, second) = values.split_at(at.index(values.len()));
            let mut merged = durations(first);
            merged.add_all(&durations(second));
            let (Some(found), Some(exact)) = (merged.quantiles(), naive(&values)) else {
                return Err(TestCaseError::fail("no quantiles"));
            };
            prop_assert_eq!(found.max, exact.max);
            for (found, exact) in [(found.p50, exact.p50), (found.p99, exact.p99)] {
                prop_assert!(found >= exact && (found - exact) as f64 <= exact as f64 / 64.0, "{found} for {exact}");
            }
        }
    }
}
