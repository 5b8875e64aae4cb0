//! Durations in bounded memory: exact while they are few, then counted in steps.
//!
//! The steps are a 64th of a power of two, so that a quantile is at most 1.6 % too long.

use std::mem;

/// So many values take as much memory as the counts of all steps.
const EXACT: usize = STEPS / 2;

const STEPS_PER_OCTAVE: u64 = 64;
const STEPS: usize = step(u64::MAX) + 1;

/// Durations of some requests, nanoseconds.
#[derive(Debug)]
pub(super) enum Durations {
    Exact(Vec<u64>),
    Counted { steps: Box<[u32]>, max: u64 },
}

/// What a table shows of durations, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantiles {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Durations {
    pub(super) fn add(&mut self, ns: u64) {
        match self {
            Self::Exact(values) if values.len() < EXACT => values.push(ns),
            Self::Exact(values) => {
                let values = mem::take(values);
                *self = Self::Counted { steps: vec![0; STEPS].into(), max: 0 };
                values.into_iter().chain([ns]).for_each(|ns| self.add(ns));
            }
            Self::Counted { steps, max } => {
                *max = ns.max(*max);
                count(steps, step(ns), 1);
            }
        }
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        match others {
            Self::Exact(values) => values.iter().for_each(|&ns| self.add(ns)),
            Self::Counted { steps: more, max: longest } => {
                // The longest one is among them: added as a value it would count twice.
                let (mut steps, mut max) = (more.clone(), *longest);
                match mem::take(self) {
                    Self::Exact(values) => {
                        for ns in values {
                            max = ns.max(max);
                            count(&mut steps, step(ns), 1);
                        }
                    }
                    Self::Counted { steps: known, max: longest } => {
                        max = longest.max(max);
                        known.iter().enumerate().for_each(|(step, &n)| count(&mut steps, step, n));
                    }
                }
                *self = Self::Counted { steps, max };
            }
        }
    }

    /// By nearest rank; none when there are no durations.
    pub(super) fn quantiles(self) -> Option<Quantiles> {
        match self {
            Self::Exact(mut values) => {
                values.sort_unstable();
                let of = |percent| values.get(rank(values.len() as u64, percent) as usize).copied();
                Some(Quantiles { p50: of(50)?, p99: of(99)?, max: *values.last()? })
            }
            Self::Counted { steps, max } => {
                let total = steps.iter().copied().map(u64::from).sum();
                let of = |percent| {
                    let mut left = rank(total, percent);
                    let found = steps.iter().position(|&count| {
                        let found = left < count.into();
                        left = left.saturating_sub(count.into());
                        found
                    });
                    found.map(|step| longest(step).min(max))
                };
                Some(Quantiles { p50: of(50)?, p99: of(99)?, max })
            }
        }
    }
}

fn count(steps: &mut [u32], step: usize, more: u32) {
    if let Some(count) = steps.get_mut(step) {
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
        values.iter().for_each(|&ns| durations.add(ns));
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
        for step_ in 1..STEPS {
            let first = longest(step_ - 1) + 1;
            assert_eq!((step(first), step(longest(step_))), (step_, step_));
            assert!((longest(step_) - first) as f64 <= first as f64 / 64.0);
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
