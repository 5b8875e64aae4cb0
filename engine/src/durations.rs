//! Durations in bounded memory: kept as they are while they are few, then counted in steps.
//!
//! A step is a part of a power of two: with `BITS` of 9, a 512th. What is read from counts is the middle of a step, so it
//! is at most half a step off. How many may be kept as they are is for the owner to say, who may have many of these.

use std::mem;

/// Durations of some requests, nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations<const BITS: u32> {
    count: u64,
    sum: u128,
    max: u64,
    /// All of them as long as they are kept, in the order they came.
    kept: Vec<u64>,
    /// How many each step has, once they are counted.
    steps: Option<Steps>,
}

/// Counts of consecutive steps, from the first that has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Steps {
    first: usize,
    counts: Vec<u32>,
}

impl<const BITS: u32> Durations<BITS> {
    /// None, to be counted.
    pub fn counted() -> Self {
        Self { steps: Some(Steps::default()), ..Self::default() }
    }

    /// One more.
    pub fn add(&mut self, ns: u64) {
        self.count += 1;
        self.sum += u128::from(ns);
        self.max = self.max.max(ns);
        match &mut self.steps {
            Some(steps) => steps.add(step::<BITS>(ns), 1),
            None => self.kept.push(ns),
        }
    }

    /// All of `others`. They are counted if either are.
    pub fn add_all(&mut self, others: &Self) {
        self.count += others.count;
        self.sum += others.sum;
        self.max = self.max.max(others.max);
        if let Some(counted) = &others.steps {
            self.count_in_steps();
            if let Some(steps) = &mut self.steps {
                let counts = counted.counts.iter().enumerate();
                counts
                    .filter(|(_, count)| **count > 0)
                    .for_each(|(at, &count)| steps.add(counted.first + at, count));
            }
        }
        match &mut self.steps {
            Some(steps) => others.kept.iter().for_each(|&ns| steps.add(step::<BITS>(ns), 1)),
            None => self.kept.extend_from_slice(&others.kept),
        }
    }

    /// Counts them from now on, and those that were kept.
    pub fn count_in_steps(&mut self) {
        let steps = self.steps.get_or_insert_default();
        for ns in mem::take(&mut self.kept) {
            steps.add(step::<BITS>(ns), 1);
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many are kept as they are.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Their mean, exactly; nanoseconds.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The longest, exactly; nanoseconds.
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// To be asked for percentiles.
    pub fn ranked(self) -> Ranked<BITS> {
        Ranked { durations: self, placed: 0 }
    }
}

/// Durations, as far in order as percentiles need it. Fastest when these are asked for in ascending order.
#[derive(Clone, Debug)]
pub struct Ranked<const BITS: u32> {
    durations: Durations<BITS>,
    /// The rank that was asked for last, from 0: what is kept before it is no longer, and what is behind it no shorter.
    placed: usize,
}

impl<const BITS: u32> Ranked<BITS> {
    /// A percentile by nearest rank: the smallest duration that at least `percent` of all do not exceed. Of durations that
    /// are counted, the middle of its step. Nanoseconds; none when there are no durations.
    pub fn percentile(&mut self, percent: u64) -> Option<u64> {
        let Self { durations: Durations { count, max, kept, steps, .. }, placed } = self;
        let rank = (u128::from(*count) * u128::from(percent)).div_ceil(100).min(u128::from(*count)) as u64;
        let mut before = rank.checked_sub(1)?;
        let Some(Steps { first, counts }) = steps else {
            let rank = before as usize;
            let (part, at) = if rank < *placed {
                (kept.get_mut(..*placed)?, rank)
            } else {
                (kept.get_mut(*placed..)?, rank - *placed)
            };
            *placed = rank;
            return (at < part.len()).then(|| *part.select_nth_unstable(at).1);
        };
        if rank == *count {
            return Some(*max);
        }
        let found = counts.iter().position(|&count| {
            let found = before < count.into();
            before = before.saturating_sub(count.into());
            found
        });
        found.map(|at| middle::<BITS>(*first + at).min(*max))
    }
}

impl Steps {
    fn add(&mut self, step: usize, more: u32) {
        if self.counts.is_empty() {
            self.first = step;
        }
        if step < self.first {
            self.counts.splice(0..0, std::iter::repeat_n(0, self.first - step));
            self.first = step;
        }
        let at = step - self.first;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(more);
        }
    }
}

/// The step of a duration in nanoseconds, of `1 << BITS` steps to a power of two. Up to `1 << (BITS + 1)` every nanosecond is
/// a step of its own.
pub const fn step<const BITS: u32>(ns: u64) -> usize {
    let octave = (ns | 1 << BITS).ilog2() - BITS;
    ((octave as usize) << BITS) + (ns >> octave) as usize
}

/// The duration in the middle of a step.
const fn middle<const BITS: u32>(step: usize) -> u64 {
    let octave = ((step >> BITS) as u64).saturating_sub(1);
    let first = (step as u64 - (octave << BITS)) << octave;
    first + ((1 << octave) - 1) / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BITS: u32 = 6;

    fn durations(values: &[u64], kept: usize) -> Durations<BITS> {
        let mut durations = Durations::default();
        for (index, &ns) in values.iter().enumerate() {
            if index == kept {
                durations.count_in_steps();
            }
            durations.add(ns);
        }
        durations
    }

    /// Median, 99th percentile and longest.
    fn naive(values: &[u64]) -> Vec<u64> {
        let mut values = values.to_vec();
        values.sort_unstable();
        let of = |share: f64| values.get(((values.len() as f64 * share).ceil() as usize).saturating_sub(1));
        [0.5, 0.99, 1.0].into_iter().filter_map(of).copied().collect()
    }

    fn found(durations: Durations<BITS>) -> Vec<u64> {
        let mut ranked = durations.ranked();
        // In another order than that of their ranks, too.
        ranked.percentile(90);
        [50, 99, 100].into_iter().filter_map(|percent| ranked.percentile(percent)).collect()
    }

    #[test]
    fn steps_are_without_gaps_and_narrow() {
        let last = step::<BITS>(u64::MAX);
        let mut first = 0_u64;
        for number in 0..last {
            // The middle of the next step is the first duration that is not nearer to this one.
            let mut end = first;
            while step::<BITS>(end) == number {
                end += (1 << (number >> BITS).saturating_sub(1)).max(1);
            }
            assert_eq!(step::<BITS>(end), number + 1);
            assert_eq!(step::<BITS>(middle::<BITS>(number)), number);
            assert!((end - 1 - first) as f64 <= first as f64 / 64.0);
            first = end;
        }
    }

    #[test]
    fn the_mean_and_the_longest_are_exact_even_of_counts() {
        let counted = durations(&[1_000_003, 5, 7], 0);
        assert_eq!(
            (counted.len(), counted.max(), counted.mean()),
            (3, Some(1_000_003), Some(1_000_015.0 / 3.0))
        );
        assert_eq!(counted.ranked().percentile(100), Some(1_000_003));
        let none = Durations::<BITS>::counted();
        assert_eq!((none.max(), none.mean(), none.is_empty()), (None, None, true));
        assert_eq!(none.ranked().percentile(50), None);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_exact_in_any_division(
            values in proptest::collection::vec(any::<u64>(), 0..300),
            at in any::<proptest::sample::Index>(),
        ) {
            let at = if values.is_empty() { 0 } else { at.index(values.len()) };
            let mut merged = durations(&values[..at], usize::MAX);
            merged.add_all(&durations(&values[at..], usize::MAX));
            prop_assert_eq!(merged.kept(), values.len());
            prop_assert_eq!(found(merged), naive(&values));
        }

        #[test]
        fn what_is_counted_is_nearly_so_in_any_division(
            values in proptest::collection::vec(0..20_000_000_000u64, 1..600),
            at in any::<proptest::sample::Index>(),
            kept in 0..600usize,
            counts_first in any::<bool>(),
        ) {
            let (first, second) = values.split_at(at.index(values.len()));
            let (mut first, mut second) = (durations(first, kept), durations(second, 0));
            second.count_in_steps();
            if counts_first {
                (first, second) = (second, first);
            }
            first.add_all(&second);
            prop_assert_eq!(first.len(), values.len() as u64);
            for (found, exact) in found(first).into_iter().zip(naive(&values)) {
                let off = found.abs_diff(exact);
                prop_assert!(off as f64 <= exact as f64 / 128.0, "{} for {}", found, exact);
            }
        }
    }
}
