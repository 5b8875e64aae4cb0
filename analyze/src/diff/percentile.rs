//! The test of a percentile: blocks are shuffled as in [`permutation`](super::permutation), and the percentiles of both sides are
//! taken anew each time.
//!
//! How many requests are beyond a common duration would be quicker to count, but it hardly tells how far beyond they are: a
//! tail that is a fifth longer would need three times as many requests to be found.

use std::cmp::Reverse;

use super::{
    histogram::{Bucket, Histogram, middle_ns},
    permutation::{Unit, cut, shuffle},
};

/// Cells that are walked for each shuffle at most; buckets become wider for it.
const MAX_CELLS: usize = 4_096;

/// How likely percentiles that differ as much would be if both runs came from the same process; as
/// [`p_value`](super::permutation::p_value).
pub(super) fn p_value(base: &[&Histogram], new: &[&Histogram], percent: u64, level: f64) -> Option<f64> {
    let mut joint = Histogram::default();
    base.iter().chain(new).for_each(|histogram| joint.merge(histogram));
    // Whether neighbouring blocks are alike shows in how much of them is beyond the percentile. With few requests there, it
    // shows better in how much is beyond the median.
    let cut_at = |percent| {
        let limit = joint.percentile(percent)?;
        let beyond = |side: &[&Histogram]| -> Vec<Unit> {
            side.iter().map(|one| Unit { weight: one.count() as f64, score: one.above(limit) }).collect()
        };
        cut(&beyond(base), &beyond(new))
    };
    let cut = cut_at(percent)?.coarser(cut_at(50)?);
    let [base, new] = [base, new].map(|side| join(side, cut.joined));
    let blocks: Vec<&Histogram> = base.iter().chain(&new).collect();
    let cells = Cells::new(&blocks, percent);
    let mut chosen_blocks = vec![false; blocks.len()];
    let statistic = |chosen: &[usize]| {
        chosen_blocks.fill(false);
        for at in chosen {
            chosen_blocks.get_mut(*at).into_iter().for_each(|slot| *slot = true);
        }
        cells.difference(&chosen_blocks)
    };
    Some(shuffle(base.len(), new.len(), cut.inflation, level, statistic))
}

/// Makes one block of every so many, and leaves out empty ones.
fn join(side: &[&Histogram], joined: usize) -> Vec<Histogram> {
    let merge = |few: &[&Histogram]| {
        let mut merged = Histogram::default();
        few.iter().for_each(|one| merged.merge(one));
        merged
    };
    side.chunks(joined).map(merge).filter(|block| block.count() > 0).collect()
}

/// The durations of all blocks, longest first.
struct Cells {
    percent: u64,
    /// Middle of the bucket, block, requests.
    cells: Vec<(f64, usize, u64)>,
    /// Requests of each block.
    counts: Vec<u64>,
}

impl Cells {
    fn new(blocks: &[&Histogram], percent: u64) -> Self {
        let mut cells: Vec<(Bucket, usize, u64)> = Vec::new();
        for (at, block) in blocks.iter().enumerate() {
            cells.extend(block.buckets().map(|(bucket, count)| (bucket, at, count)));
        }
        cells.sort_unstable_by_key(|(bucket, at, _)| (Reverse(*bucket), *at));
        // Of an octave at least 16 buckets are left, 6% wide.
        for width in [2, 4, 8] {
            if cells.len() <= MAX_CELLS {
                break;
            }
            cells.iter_mut().for_each(|(bucket, ..)| *bucket = *bucket / width * width + width / 2);
            cells.sort_unstable_by_key(|(bucket, at, _)| (Reverse(*bucket), *at));
            cells.dedup_by(|next, kept| {
                let same = (next.0, next.1) == (kept.0, kept.1);
                kept.2 += if same { next.2 } else { 0 };
                same
            });
        }
        let cells = cells.into_iter().map(|(bucket, at, count)| (middle_ns(bucket), at, count)).collect();
        Self { percent, cells, counts: blocks.iter().map(|block| block.count()).collect() }
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
        for (ns, at, count) in &self.cells {
            let side = usize::from(chosen.get(*at).copied().unwrap_or_default());
            left[side] = left[side].saturating_sub(*count);
            if left[side] == 0 && found[side].is_none() {
                found[side] = Some(*ns);
                if let [Some(one), Some(other)] = found {
                    return (one - other).abs() / (one + other).max(1.0);
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
        let cells = Cells::new(&all.iter().collect::<Vec<_>>(), 90);
        let chosen: Vec<bool> = (0..all.len()).map(|at| at % 3 == 0).collect();
        let of = |wanted: bool| {
            let mut side = Histogram::default();
            all.iter().zip(&chosen).filter(|(_, chosen)| **chosen == wanted).for_each(|(one, _)| side.merge(one));
            middle_ns(side.percentile(90).unwrap())
        };
        let (one, other) = (of(true), of(false));
        let expected = (one - other).abs() / (one + other);
        assert!((cells.difference(&chosen) - expected).abs() < 1e-12);
    }
}
