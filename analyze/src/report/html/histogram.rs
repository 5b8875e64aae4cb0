//! Durations of requests in steps that grow with them: sixteen for each power of two of nanoseconds. The middle of a step
//! is within 3.1% of every duration in it. `cube.js` reads the steps by the same rule.

use beyla_engine::durations;
use serde::Serialize;

/// Steps for each power of two, as a power of two.
const STEP_BITS: u32 = 4;

/// Steps for each power of two.
pub(super) const STEPS: u32 = 1 << STEP_BITS;

fn step(ns: u64) -> u16 {
    durations::step::<STEP_BITS>(ns) as u16
}

/// How many durations there are of each step; steps without any take no room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    /// Ordered by step.
    steps: Vec<(u16, u64)>,
}

impl Histogram {
    /// Adds a duration in nanoseconds.
    pub(super) fn add(&mut self, ns: u64) {
        self.add_step(step(ns), 1);
    }

    /// Adds all of another one.
    pub(super) fn merge(&mut self, other: &Self) {
        for &(step, count) in &other.steps {
            self.add_step(step, count);
        }
    }

    fn add_step(&mut self, step: u16, count: u64) {
        match self.steps.binary_search_by_key(&step, |&(step, _)| step) {
            Ok(place) => {
                if let Some((_, sum)) = self.steps.get_mut(place) {
                    *sum += count;
                }
            }
            Err(place) => self.steps.insert(place, (step, count)),
        }
    }

    /// Steps that have durations.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }
}

/// A flat list: step, count, step, count.
impl Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.steps.iter().flat_map(|&(step, count)| [u64::from(step), count]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first duration of a step, and the first one after it.
    fn bounds(step: u16) -> (u128, u128) {
        let (octave, part) = (u32::from(step) / STEPS, u128::from(u32::from(step) % STEPS));
        if octave == 0 {
            return (part, part + 1);
        }
        let low = (u128::from(STEPS) + part) << (octave - 1);
        (low, low + (1 << (octave - 1)))
    }

    #[test]
    fn every_duration_is_in_its_step_and_near_its_middle() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for ns in edges.chain([u64::MAX, 1_234_567, 999_999_999]) {
            let (low, high) = bounds(step(ns));
            assert!((low..high).contains(&u128::from(ns)), "{ns} is not in {low}..{high}");
            let middle = (low + high - 1) as f64 / 2.0;
            assert!((middle - ns as f64).abs() <= 0.031_3 * ns as f64, "{ns} is far from {middle}");
        }
    }

    #[test]
    fn steps_follow_one_another() {
        let steps: Vec<_> = (0..4_096).map(step).collect();
        assert!(steps.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
    }

    #[test]
    fn a_merged_histogram_has_the_durations_of_both() {
        let [mut one, mut other, mut both] = [(); 3].map(|()| Histogram::default());
        for ns in [5, 900, 70_000] {
            one.add(ns);
            both.add(ns);
        }
        for ns in [900, 1 << 40] {
            other.add(ns);
            both.add(ns);
        }
        one.merge(&other);
        assert_eq!(one, both);
        assert_eq!(one.len(), 4);
    }
}
