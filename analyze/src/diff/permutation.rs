//! Whether two runs differ by more than they fluctuate: a studentized permutation test whose units are blocks of time.
//!
//! Requests that are near in time are not independent: a pause, a queue, a slow neighbour hits many of them at once. A test that takes
//! each request for a fact of its own calls every pair of runs different. Here the facts are blocks: where both runs
//! come from the same process, it does not matter which blocks are said to be whose. `docs/diff.md` has the reasoning and the
//! references.

/// One block of one run: its share of what is compared is `score / weight`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Unit {
    /// Requests, or seconds.
    pub(super) weight: f64,
    /// How many of those requests failed, or are beyond a duration; the sum of their durations; or requests.
    pub(super) score: f64,
}

/// Fewer blocks on a side say nothing.
pub(super) const MIN_BLOCKS: usize = 8;

/// Correlation of neighbouring blocks from which on they are made wider.
const CORRELATED: f64 = 0.2;

/// When so many shuffles were at least as extreme as what was seen, further ones would not change the answer.
const ENOUGH: u32 = 50;

/// Shuffles for a level of 1, so that the smallest p-value is a third of any level; at least, and at most.
const SHUFFLES: f64 = 3.0;
const MIN_SHUFFLES: f64 = 2_000.0;
const MAX_SHUFFLES: f64 = 80_000.0;

/// The same numbers every time: SplitMix64.
pub(super) struct Shuffler(u64);

impl Shuffler {
    pub(super) fn new() -> Self {
        Self(0x0005_DEEC_E66D)
    }

    #[cfg(test)]
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// How likely shares that differ as much would be if both runs came from the same process, two-sided. Fine enough to be told
/// from `level`. None with too few blocks.
pub(super) fn p_value(base: &[Unit], new: &[Unit], level: f64) -> Option<f64> {
    let Cut { joined, inflation } = cut(base, new)?;
    let [base, new] = [base, new].map(|units| {
        let mut units = join(units, joined);
        units.retain(|unit| unit.weight > 0.0);
        units
    });
    let all: Vec<Unit> = base.iter().chain(&new).copied().collect();
    let whole: Sums = all.iter().copied().collect();
    let statistic = |chosen: &[usize]| {
        let new: Sums = chosen.iter().filter_map(|at| all.get(*at)).copied().collect();
        difference(whole - new, new)
    };
    let as_it_is: Vec<usize> = (base.len()..all.len()).collect();
    Some(shuffle(base.len(), new.len(), statistic(&as_it_is) / inflation, level, statistic))
}

/// How blocks have to be cut so that they can be taken for independent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// So many neighbouring blocks are one.
    pub(super) joined: usize,
    /// By how much differences vary more than the blocks tell, for what correlation is left.
    pub(super) inflation: f64,
}

impl Cut {
    /// What takes more correlation for granted.
    pub(super) fn coarser(self, other: Self) -> Self {
        Self { joined: self.joined.max(other.joined), inflation: self.inflation.max(other.inflation) }
    }
}

/// None with too few blocks.
pub(super) fn cut(base: &[Unit], new: &[Unit]) -> Option<Cut> {
    let (mut base, mut new, mut joined) = (base.to_vec(), new.to_vec(), 1);
    let least = |base: &[Unit], new: &[Unit]| with_weight(base).min(with_weight(new));
    let mut correlation = correlation(&base, &new);
    while correlation > CORRELATED && least(&base, &new) >= 2 * MIN_BLOCKS {
        (base, new, joined) = (join(&base, 2), join(&new, 2), 2 * joined);
        correlation = self::correlation(&base, &new);
    }
    let inflation = ((1.0 + correlation) / (1.0 - correlation)).sqrt();
    (least(&base, &new) >= MIN_BLOCKS).then_some(Cut { joined, inflation })
}

fn with_weight(units: &[Unit]) -> usize {
    units.iter().filter(|unit| unit.weight > 0.0).count()
}

/// Makes one block of every so many.
fn join(units: &[Unit], joined: usize) -> Vec<Unit> {
    let merge = |pair: &[Unit]| {
        pair.iter().fold(Unit::default(), |sum, unit| Unit {
            weight: sum.weight + unit.weight,
            score: sum.score + unit.score,
        })
    };
    units.chunks(joined).map(merge).collect()
}

/// Of neighbouring blocks, within each run; 0 to 0.9.
fn correlation(base: &[Unit], new: &[Unit]) -> f64 {
    let (mut neighbours, mut squares, mut count) = (0.0, 0.0, 0.0);
    for run in [base, new] {
        let Sums { weight, score, .. } = run.iter().copied().collect();
        let share = if weight > 0.0 { score / weight } else { 0.0 };
        let residuals: Vec<f64> = run.iter().map(|unit| unit.score - share * unit.weight).collect();
        neighbours += residuals.iter().zip(residuals.iter().skip(1)).map(|(a, b)| a * b).sum::<f64>();
        squares += residuals.iter().map(|residual| residual * residual).sum::<f64>();
        count += residuals.len() as f64;
    }
    if squares <= 0.0 {
        return 0.0;
    }
    // Of a short series it comes out too low, the more the larger it is (Kendall 1954).
    let seen = neighbours / squares;
    (seen + (1.0 + 4.0 * seen.max(0.0)) / (count / 2.0)).clamp(0.0, 0.9)
}

/// Sums over some blocks.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    blocks: f64,
    weight: f64,
    score: f64,
    weight_weight: f64,
    weight_score: f64,
    score_score: f64,
}

impl Sums {
    fn add(&mut self, Unit { weight, score }: Unit) {
        self.blocks += 1.0;
        self.weight += weight;
        self.score += score;
        self.weight_weight += weight * weight;
        self.weight_score += weight * score;
        self.score_score += score * score;
    }

    /// The share, and its variance as that of a ratio of sums over blocks.
    fn share(&self) -> (f64, f64) {
        let share = self.score / self.weight;
        let squares = self.score_score - 2.0 * share * self.weight_score + share * share * self.weight_weight;
        let variance = squares.max(0.0) / (self.weight * self.weight) * self.blocks / (self.blocks - 1.0);
        (share, variance)
    }
}

impl FromIterator<Unit> for Sums {
    fn from_iter<I: IntoIterator<Item = Unit>>(units: I) -> Self {
        let mut sums = Self::default();
        for unit in units {
            sums.add(unit);
        }
        sums
    }
}

impl std::ops::Sub for Sums {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            blocks: self.blocks - other.blocks,
            weight: self.weight - other.weight,
            score: self.score - other.score,
            weight_weight: self.weight_weight - other.weight_weight,
            weight_score: self.weight_score - other.weight_score,
            score_score: self.score_score - other.score_score,
        }
    }
}

/// How far apart two shares are, in standard errors.
fn difference(base: Sums, new: Sums) -> f64 {
    let ((base_share, base_variance), (new_share, new_variance)) = (base.share(), new.share());
    let apart = (new_share - base_share).abs();
    // Sums of blocks that are all the same leave rounding errors of each.
    let least = 1e-9 * (base_share.abs() + new_share.abs());
    if apart <= least { 0.0 } else { apart / (base_variance + new_variance).sqrt().max(least) }
}

/// The share of shuffles that are at least as extreme as what was seen, itself included. Blocks are numbered; `statistic` is
/// given which of them are said to be of the new run.
pub(super) fn shuffle(
    base: usize,
    new: usize,
    seen: f64,
    level: f64,
    mut statistic: impl FnMut(&[usize]) -> f64,
) -> f64 {
    let mut order: Vec<usize> = (0..base + new).collect();
    // What is as extreme but for rounding counts.
    let seen = seen * (1.0 - 1e-9);
    let shuffles = (SHUFFLES / level).clamp(MIN_SHUFFLES, MAX_SHUFFLES) as u32;
    let (mut random, mut extreme) = (Shuffler::new(), 0);
    for done in 1..=shuffles {
        for at in 0..new {
            let other = at + random.below(order.len() - at);
            order.swap(at, other);
        }
        extreme += u32::from(statistic(order.get(..new).unwrap_or_default()) >= seen);
        if extreme == ENOUGH {
            return f64::from(extreme) / f64::from(done);
        }
    }
    f64::from(extreme + 1) / f64::from(shuffles + 1)
}

/// Holm's step-down: what each p-value becomes when all of them are looked at, so that the chance of any false alarm
/// among them stays below the level. Missing ones do not count.
pub(super) fn holm(p_values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> =
        p_values.iter().enumerate().filter_map(|(at, p)| Some((at, (*p)?))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (mut adjusted, mut least, count) = (vec![None; p_values.len()], 0.0_f64, order.len());
    for (rank, (at, p)) in order.into_iter().enumerate() {
        least = least.max(p * (count - rank) as f64).min(1.0);
        if let Some(slot) = adjusted.get_mut(at) {
            *slot = Some(least);
        }
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(shares: impl IntoIterator<Item = f64>) -> Vec<Unit> {
        shares.into_iter().map(|score| Unit { weight: 10.0, score }).collect()
    }

    #[test]
    fn a_run_does_not_differ_from_itself() {
        let run = units((0..32).map(|block| f64::from(block % 5)));
        assert_eq!(p_value(&run, &run, 0.01), Some(1.0));
        let still = units([0.0; 32]);
        assert_eq!(p_value(&still, &still, 0.01), Some(1.0));
    }

    #[test]
    fn what_fails_always_differs_from_what_never_fails() {
        let p = p_value(&units([0.0; 16]), &units([10.0; 16]), 0.001).unwrap();
        assert!(p < 0.001, "{p}");
    }

    #[test]
    fn one_bad_moment_is_not_significant() {
        let mut incident = vec![0.0; 32];
        incident[7] = 10.0;
        let p = p_value(&units([0.0; 32]), &units(incident), 0.01).unwrap();
        assert!(p > 0.3, "{p}");
    }

    #[test]
    fn few_blocks_say_nothing() {
        assert_eq!(p_value(&units([0.0; 7]), &units([10.0; 32]), 0.01), None);
        let mostly_empty: Vec<_> =
            (0..32).map(|block| Unit { weight: f64::from(u8::from(block < 7)), score: 0.0 }).collect();
        assert_eq!(p_value(&mostly_empty, &units([1.0; 32]), 0.01), None);
    }

    #[test]
    fn many_looks_cost_what_holm_says() {
        let adjusted = holm(&[Some(0.01), None, Some(0.04), Some(0.03), Some(0.9)]);
        let expected = [Some(0.04), None, Some(0.09), Some(0.09), Some(0.9)];
        for (adjusted, expected) in adjusted.into_iter().zip(expected) {
            assert!((adjusted.unwrap_or(2.0) - expected.unwrap_or(2.0)).abs() < 1e-12);
        }
    }
}
