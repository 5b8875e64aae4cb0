//! Native histograms of Prometheus: buckets that grow by a constant factor, and only those with values in them.
//!
//! With the schema `s`, the bucket `i` ends at 2^(i / 2^s). The schema is 3, a factor of less than 1.1, for as long as
//! [`MAX_BUCKETS`] are enough; then pairs of buckets become one. Which schema is left, and what is in its buckets,
//! does not depend on the order of the values.

use std::collections::BTreeMap;

/// The finest schema.
const SCHEMA: i8 = 3;

/// Upper bounds of the buckets between a half and one by [`SCHEMA`]: 2^(i/8) / 2.
const BOUNDS: [f64; 8] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    std::f64::consts::FRAC_1_SQRT_2,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_5,
    0.917_004_043_204_671_2,
];

/// The most buckets of a histogram.
pub const MAX_BUCKETS: usize = 160;

/// Values by buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Native {
    schema: i8,
    zero: u64,
    buckets: BTreeMap<i16, u64>,
}

impl Default for Native {
    fn default() -> Self {
        Self { schema: SCHEMA, zero: 0, buckets: BTreeMap::new() }
    }
}

impl Native {
    /// Up to here values count as zero: what Prometheus' own libraries take, 2^-128.
    pub const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

    /// Counts a value that is finite and not negative.
    pub(super) fn observe(&mut self, value: f64) {
        if value <= Self::ZERO_THRESHOLD {
            self.zero += 1;
            return;
        }
        *self.buckets.entry(index(value, self.schema)).or_default() += 1;
        while self.buckets.len() > MAX_BUCKETS {
            self.schema -= 1;
            let mut merged = BTreeMap::new();
            for (index, count) in &self.buckets {
                *merged.entry((index + 1) >> 1).or_default() += count;
            }
            self.buckets = merged;
        }
    }

    /// The schema: each bucket ends 2^(2^-schema) times as high as the one before.
    pub fn schema(&self) -> i8 {
        self.schema
    }

    /// Values that count as zero.
    pub fn zero(&self) -> u64 {
        self.zero
    }

    /// Buckets that have values, ascending: the index `i` of the bucket that ends at 2^(i / 2^schema), inclusively, and
    /// its count. OpenTelemetry's exponential histogram has the same buckets, with `i - 1` as their index and the schema as
    /// their scale.
    pub fn buckets(&self) -> impl Iterator<Item = (i16, u64)> {
        self.buckets.iter().map(|(&index, &count)| (index, count))
    }
}

/// The bucket of a positive, normal number: the smallest index of which the bound is not below it.
fn index(value: f64, schema: i8) -> i16 {
    const EXPONENT: u64 = 0x7ff << 52;
    // value = fraction * 2^exponent, where the fraction is at least a half and less than one.
    let exponent = (value.to_bits() >> 52) as i16 - 1022;
    let fraction = f64::from_bits(value.to_bits() & !EXPONENT | 1022 << 52);
    let finest =
        BOUNDS.partition_point(|&bound| bound < fraction) as i16 + (exponent - 1) * BOUNDS.len() as i16;
    let coarser = SCHEMA - schema;
    (finest + (1 << coarser) - 1) >> coarser
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_the_bucket_that_ends_next_above_them() {
        for exponent in -300..300 {
            for value in
                [1.0, 1.000_000_1, 1.09, 1.0906, 1.5, 1.999_999_9].map(|value| value * 2f64.powi(exponent))
            {
                for schema in -4..=SCHEMA {
                    let bound = |index: i16| 2f64.powf(f64::from(index) / 2f64.powi(schema.into()));
                    let index = index(value, schema);
                    let (below, above) = (bound(index - 1), bound(index));
                    assert!(below < value && value <= above, "{below} < {value} <= {above} by {schema}");
                }
            }
        }
    }

    #[test]
    fn a_power_of_two_ends_a_bucket() {
        for (value, expected) in [(0.25, -16), (0.5, -8), (1.0, 0), (2.0, 8), (1024.0, 80)] {
            assert_eq!(index(value, 3), expected);
        }
    }

    #[test]
    fn too_many_buckets_are_merged_whatever_the_order() {
        let values: Vec<f64> = (0..4000).map(|n| 1e-9 * 1.012f64.powi(n)).collect();
        let (mut up, mut down) = (Native::default(), Native::default());
        for (value, opposite) in values.iter().zip(values.iter().rev()) {
            up.observe(*value);
            down.observe(*opposite);
        }
        assert_eq!(up, down);
        assert!(up.schema() < SCHEMA && up.buckets.len() <= MAX_BUCKETS, "{}", up.schema());
        assert_eq!(up.buckets().map(|(_, count)| count).sum::<u64>(), 4000);
        let mut fresh = Native { schema: up.schema(), ..Native::default() };
        for value in values {
            fresh.observe(value);
        }
        assert_eq!(up, fresh);
    }
}
