//! The test of a percentile: blocks are shuffled as in [`permutation`](super::permutation), and the percentiles of both sides are
//! taken anew each time.
//!
//! How many requests are beyond a common duration would be quicker to count, but hardly tells how far beyond they are. For the
//! shuffles the new run is scaled so that its percentile is that of the base: how much both fluctuate is then not mistaken for
//! the difference between them.

use super::{
    histogram::{Histogram, middle_ns},
    permutation::{Unit, cut, shuffle},
};

/// By how much the distribution of Student is wider than the normal one, three deviations out, for each degree of freedom.
const SMALL: f64 = 2.5;

/// Cells that are walked for each shuffle at most; buckets become wider for it.
const MAX_CELLS: usize = 4_096;

/// How likely percentiles that differ as much would be if both runs came from the same process; as
/// [`p_value`](super::permutation::p_value).
pub(super) fn p_value(base: &[&Histogram], new: &[&Histogram], percent: u64, level: f64) -> Option<f64> {
    let [whole_base, whole_new] = [base, new].map(|side| {
        let mut whole = Histogram::default();
        for histogram in side {
            whole.merge(histogram);
        }
        whole
    });
    // Whether neighbouring blocks are alike shows in how much of them is beyond the percentile. With few requests there, it
    // shows better in how much is beyond the median.
    let cut_at = |percent| {
        let beyond = |side: &[&Histogram], whole: &Histogram| -> Option<Vec<Unit>> {
            let limit = whole.percentile(percent)?;
            let unit = |one: &&Histogram| Unit { weight: one.count() as f64, score: one.above(limit) };
            Some(side.iter().map(unit).collect())
        };
        cut(&beyond(base, &whole_base)?, &beyond(new, &whole_new)?)
    };
    let cut = cut_at(percent)?.coarser(cut_at(50)?);
    let [base_ns, new_ns] = [&whole_base, &whole_new].map(|whole| whole.percentile(percent).map(middle_ns));
    let (base_ns, new_ns) = (base_ns?.max(1.0), new_ns?.max(1.0));

    let [base, new] = [base, new].map(|side| join(side, cut.joined));
    let seen = apart(base_ns, new_ns);
    let test = |factor: f64, seen: f64| {
        let base = base.iter().map(|block| (block, 1.0));
        let blocks: Vec<_> = base.chain(new.iter().map(|block| (block, factor))).collect();
        let cells = Cells::new(&blocks, percent);
        let mut chosen_blocks = vec![false; blocks.len()];
        shuffle(blocks.len() - new.len(), new.len(), seen, level, |chosen| {
            chosen_blocks.fill(false);
            for at in chosen {
                if let Some(slot) = chosen_blocks.get_mut(*at) {
                    *slot = true;
                }
            }
            cells.difference(&chosen_blocks)
        })
    };
    // The first is exact for independent blocks, the second allows for those that are not.
    let freedom = (base.len() + new.len() - 2) as f64;
    let exact = test(1.0, seen);
    let scaled = test(base_ns / new_ns, seen / cut.inflation / (1.0 + SMALL / freedom));
    Some(exact.max(scaled))
}

/// How far apart two durations are, as a share of both.
fn apart(one: f64, other: f64) -> f64 {
    (one - other).abs() / (one + other)
}

/// Makes one block of every so many, and leaves out empty ones.
fn join(side: &[&Histogram], joined: usize) -> Vec<Histogram> {
    let merge = |few: &[&Histogram]| {
        let mut merged = Histogram::default();
        for one in few {
            merged.merge(one);
        }
        merged
    };
    side.chunks(joined).map(merge).filter(|block| block.count() > 0).collect()
}

/// The durations of all blocks, longest first.
struct Cells {
    percent: u64,
    /// Middle of the bucket, block, requests.
    longest_first: Vec<(f64, usize, u64)>,
    /// Requests of each block.
    counts: Vec<u64>,
}

impl Cells {
    /// Of blocks, each with a factor for its durations.
    fn new(blocks: &[(&Histogram, f64)], percent: u64) -> Self {
        let mut cells: Vec<(f64, usize, u64)> = Vec::new();
        // Of an octave at least 16 buckets are left, 6% wide.
        for width in [1, 2, 4, 8] {
            cells.clear();
            for (at, (block, factor)) in blocks.iter().enumerate() {
                let mut last = None;
                for (bucket, count) in block.buckets() {
                    let bucket = bucket / width * width + width / 2;
                    match cells.last_mut().filter(|_| last == Some(bucket)) {
                        Some((_, _, counted)) => *counted += count,
                        None => cells.push((middle_ns(bucket) * factor, at, count)),
                    }
                    last = Some(bucket);
                }
            }
            if cells.len() <= MAX_CELLS {
                break;
            }
        }
        cells.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Self {
            percent,
            longest_first: cells,
            counts: blocks.iter().map(|(block, _)| block.count()).collect(),
        }
    }

    /// How far apart the percentiles of the chosen blocks and of the others are, as a share of both.
    fn difference(&self, chosen: &[bool]) -> f64 {
        // Requests that may be at the percentile or beyond, by nearest rank; of the others and of the chosen.
        let mut beyond = [0_u64; 2];
        for (count, chosen) in self.counts.iter().zip(chosen) {
            beyond[usize::from(*chosen)] += count;
        }
        let mut left = beyond.map(|count| count + 1 - (count * self.percent).div_ceil(100));
        let mut found = [None, None];
        for (ns, at, count) in &self.longest_first {
            let side = usize::from(chosen.get(*at).copied().unwrap_or_default());
            left[side] = left[side].saturating_sub(*count);
            if left[side] == 0 && found[side].is_none() {
                found[side] = Some(*ns);
                if let [Some(one), Some(other)] = found {
                    return apart(one.max(1.0), other.max(1.0));
                }
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of twenty durations in microseconds around `middle`.
    fn blocks(middle: u64) -> Vec<Histogram> {
        let block = |at: u64| {
            let mut histogram = Histogram::default();
            (0..20).for_each(|number| histogram.add((middle + (at * 7 + number * 13) % 101) * 1_000));
            histogram
        };
        (0..24).map(block).collect()
    }

    #[test]
    fn a_run_does_not_differ_from_itself_but_from_a_slower_one() {
        let (run, slower) = (blocks(1_000), blocks(1_200));
        let (run, slower): (Vec<_>, Vec<_>) = (run.iter().collect(), slower.iter().collect());
        assert_eq!(p_value(&run, &run, 95, 0.01), Some(1.0));
        let p = p_value(&run, &slower, 95, 0.01).unwrap();
        assert!(p < 0.001, "{p}");
    }

    #[test]
    fn percentiles_of_sides_are_those_of_their_histograms() {
        let all = [blocks(1_000), blocks(1_300)].concat();
        let cells = Cells::new(&all.iter().map(|block| (block, 1.0)).collect::<Vec<_>>(), 90);
        let chosen: Vec<bool> = (0..all.len()).map(|at| at % 3 == 0).collect();
        let of = |wanted: bool| {
            let mut side = Histogram::default();
            all.iter()
                .zip(&chosen)
                .filter(|(_, chosen)| **chosen == wanted)
                .for_each(|(one, _)| side.merge(one));
            middle_ns(side.percentile(90).unwrap())
        };
        let (one, other) = (of(true), of(false));
        let expected = (one - other).abs() / (one + other);
        assert!((cells.difference(&chosen) - expected).abs() < 1e-12);
    }
}
