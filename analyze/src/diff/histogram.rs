//! Durations of one block of time, counted in buckets that are as wide as 1/128 of what they hold. Memory depends on the
//! spread of the durations, not on their number.

use beyla_engine::durations::step;

/// Buckets of an octave: values from 2^n to 2^(n+1).
const OCTAVE: u64 = 128;

/// log2 of [`OCTAVE`].
const OCTAVE_BITS: u32 = OCTAVE.trailing_zeros();

/// Counts of durations in nanoseconds. Values below 128 ns have a bucket of their own; a bucket above is at most 0.79% wide,
/// so its middle is at most 0.4% off.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// The octaves that have values, in ascending order.
    octaves: Vec<(u32, Box<[u32; OCTAVE as usize]>)>,
}

/// The number of a bucket: larger values have larger ones.
pub(super) type Bucket = u32;

fn bucket_of(ns: u64) -> Bucket {
    step::<OCTAVE_BITS>(ns) as Bucket
}

/// The value in the middle of a bucket, nanoseconds.
pub(super) fn middle_ns(bucket: Bucket) -> f64 {
    let (octave, place) = (bucket / OCTAVE as u32, u64::from(bucket) % OCTAVE);
    match octave.checked_sub(1) {
        None => place as f64,
        Some(shift) => ((OCTAVE + place) as f64 + 0.5) * (1_u64 << shift) as f64 - 0.5,
    }
}

impl Histogram {
    pub(super) fn add(&mut self, ns: u64) {
        let bucket = bucket_of(ns);
        if let Some(count) = self.octave(bucket / OCTAVE as u32).get_mut((bucket % OCTAVE as u32) as usize) {
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (octave, counts) in &other.octaves {
            for (count, more) in self.octave(*octave).iter_mut().zip(counts.iter()) {
                *count = count.saturating_add(*more);
            }
        }
    }

    fn octave(&mut self, octave: u32) -> &mut [u32; OCTAVE as usize] {
        let at = match self.octaves.binary_search_by_key(&octave, |(octave, _)| *octave) {
            Ok(at) => at,
            Err(at) => {
                self.octaves.insert(at, (octave, Box::new([0; OCTAVE as usize])));
                at
            }
        };
        &mut self.octaves[at].1
    }

    /// Buckets that have values, in ascending order, and how many.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (Bucket, u64)> {
        self.octaves.iter().flat_map(|(octave, counts)| {
            let first = octave * OCTAVE as u32;
            let counts = (first..).zip(counts.iter());
            counts.filter(|(_, count)| **count > 0).map(|(bucket, count)| (bucket, u64::from(*count)))
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets().map(|(_, count)| count).sum()
    }

    /// The bucket of a percentile by nearest rank: that of the smallest value that at least `percent` of all values do not
    /// exceed. None of no values.
    pub(super) fn percentile(&self, percent: u64) -> Option<Bucket> {
        let rank = (u128::from(self.count()) * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        self.buckets().find_map(|(bucket, count)| {
            seen += u128::from(count);
            (seen >= rank).then_some(bucket)
        })
    }

    /// How many values are above a bucket; those in it count half.
    pub(super) fn above(&self, bucket: Bucket) -> f64 {
        let weigh = |(at, count): (Bucket, u64)| match at.cmp(&bucket) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => count as f64 / 2.0,
            std::cmp::Ordering::Greater => count as f64,
        };
        self.buckets().map(weigh).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_bucket_is_less_than_half_a_percent_off() {
        for ns in
            (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) + (1 << bit) / 3, u64::MAX >> bit]).chain([0])
        {
            let middle = middle_ns(bucket_of(ns));
            assert!((middle - ns as f64).abs() <= ns as f64 * 0.004, "{ns}: {middle}");
        }
    }

    #[test]
    fn buckets_are_ordered_as_values_are() {
        let mut last = 0;
        for ns in (0..4096).chain((12..64).map(|bit| 1 << bit)) {
            let bucket = bucket_of(ns);
            assert!(bucket >= last, "{ns}");
            last = bucket;
        }
    }

    #[test]
    fn percentiles_are_those_of_nearest_rank() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50), None);
        (1..=100).for_each(|ns| histogram.add(ns));
        assert_eq!([1, 50, 95, 100].map(|percent| histogram.percentile(percent)), [1, 50, 95, 100].map(Some));
        assert!((histogram.above(95) - 5.5).abs() < f64::EPSILON);
        let mut both = histogram.clone();
        both.merge(&histogram);
        assert_eq!((both.count(), both.percentile(95)), (200, Some(95)));
    }
}
