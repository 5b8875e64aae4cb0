//! The numbers of a quantile: all of them, and once they are too many, how many there are near each of a scale.

use std::{collections::BTreeMap, mem::size_of};

/// Numbers that are kept as they are: 8 MiB.
const MAX_EXACT: usize = 1 << 20;

/// Bits of a number that its place on the scale leaves out. 13 bits of the mantissa stay: the middle of a place is no
/// further than 1/16,384 of a number from it.
const DROPPED: u32 = 39;

/// Bytes that a place takes, with its share of the tree.
const PLACE_BYTES: usize = 3 * size_of::<u64>();

/// Numbers, of which any quantile can be asked.
#[derive(Clone, Debug)]
pub(super) enum Histogram {
    /// Every one, as it sorts.
    Exact(Vec<u64>),
    /// How many there are at each place.
    Places(BTreeMap<u32, u64>),
}

impl Default for Histogram {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

/// A number as one that sorts as it does, negative ones first.
fn sortable(number: f64) -> u64 {
    let bits = number.to_bits();
    bits ^ (((bits as i64 >> 63) as u64) | 1 << 63)
}

fn number(sortable: u64) -> f64 {
    let mask = if sortable >> 63 == 1 { 1 << 63 } else { u64::MAX };
    f64::from_bits(sortable ^ mask)
}

impl Histogram {
    /// Adds a number.
    pub(super) fn add(&mut self, number: f64) {
        self.insert(sortable(number));
    }

    fn insert(&mut self, sortable: u64) {
        if let Self::Exact(numbers) = self {
            if numbers.len() < MAX_EXACT {
                numbers.push(sortable);
                return;
            }
            let mut places = BTreeMap::new();
            for number in std::mem::take(numbers) {
                *places.entry((number >> DROPPED) as u32).or_insert(0) += 1;
            }
            *self = Self::Places(places);
        }
        if let Self::Places(places) = self {
            *places.entry((sortable >> DROPPED) as u32).or_insert(0) += 1;
        }
    }

    /// Adds the numbers of another.
    pub(super) fn merge(&mut self, other: &Parts<'_>) {
        for &number in other.numbers {
            self.insert(number);
        }
        for (&place, &count) in other.places.iter().zip(other.counts) {
            if let Self::Exact(numbers) = self {
                let mut places = BTreeMap::new();
                for number in std::mem::take(numbers) {
                    *places.entry((number >> DROPPED) as u32).or_insert(0) += 1;
                }
                *self = Self::Places(places);
            }
            if let Self::Places(places) = self {
                *places.entry(place as u32).or_insert(0) += count;
            }
        }
    }

    /// The smallest number that at least so many billionths of all do not exceed. None when there are none.
    pub(super) fn quantile(&mut self, billionths: u32) -> Option<f64> {
        let count = match self {
            Self::Exact(numbers) => numbers.len() as u64,
            Self::Places(places) => places.values().sum(),
        };
        let rank = (u128::from(count) * u128::from(billionths)).div_ceil(1_000_000_000).max(1) as u64 - 1;
        if rank >= count {
            return None;
        }
        match self {
            Self::Exact(numbers) => Some(number(*numbers.select_nth_unstable(rank as usize).1)),
            Self::Places(places) => {
                let mut before = 0;
                let reaches = |(_, count): &(&u32, &u64)| {
                    before += **count;
                    before > rank
                };
                let (&place, _) = places.iter().find(reaches)?;
                Some(number(u64::from(place) << DROPPED | 1 << (DROPPED - 1)))
            }
        }
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Exact(numbers) => numbers.capacity() * size_of::<u64>(),
            Self::Places(places) => places.len() * PLACE_BYTES,
        }
    }

    /// All it holds, for another to be made of: numbers, places and their counts.
    pub(super) fn into_parts(self) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
        match self {
            Self::Exact(numbers) => (numbers, Vec::new(), Vec::new()),
            Self::Places(places) => {
                let (places, counts) =
                    places.into_iter().map(|(place, count)| (u64::from(place), count)).unzip();
                (Vec::new(), places, counts)
            }
        }
    }
}

/// What another histogram holds.
pub(super) struct Parts<'p> {
    pub(super) numbers: &'p [u64],
    pub(super) places: &'p [u64],
    pub(super) counts: &'p [u64],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = f64>) -> Histogram {
        let mut histogram = Histogram::default();
        numbers.into_iter().for_each(|number| histogram.add(number));
        histogram
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let mut histogram = of((1..=20).rev().map(f64::from));
        for (billionths, expected) in [
            (0, 1.0),
            (50_000_000, 1.0),
            (50_000_001, 2.0),
            (500_000_000, 10.0),
            (950_000_000, 19.0),
            (1_000_000_000, 20.0),
        ] {
            assert_eq!(histogram.quantile(billionths), Some(expected), "{billionths}");
        }
        assert_eq!(Histogram::default().quantile(500_000_000), None);
        assert_eq!(of([1.5, -2.5, -0.5]).quantile(300_000_000), Some(-2.5));
    }

    #[test]
    fn too_many_numbers_are_counted_near_a_scale() {
        let many = MAX_EXACT as u64 * 2;
        let mut histogram = of((0..many).map(|number| number as f64 * 0.001 + 0.5));
        assert!(histogram.bytes() < MAX_EXACT * 8, "{}", histogram.bytes());
        for billionths in [1_u32, 500_000_000, 990_000_000, 1_000_000_000] {
            let rank = (u128::from(many) * u128::from(billionths)).div_ceil(1_000_000_000).max(1) - 1;
            let exact = rank as f64 * 0.001 + 0.5;
            let found = histogram.quantile(billionths).unwrap();
            assert!((found - exact).abs() <= exact / 16_384.0, "{billionths}: {found}, not {exact}");
        }
    }

    #[test]
    fn parts_make_the_whole() {
        let (numbers, places, counts) = of((0..10).map(f64::from)).into_parts();
        let mut whole = of((10..20).map(f64::from));
        whole.merge(&Parts { numbers: &numbers, places: &places, counts: &counts });
        assert_eq!(whole.quantile(500_000_000), Some(9.0));
    }
}
