//! Whether the tests keep what they promise, on runs that are made up: latencies with a heavy tail that are correlated in time, as those
//! of a queue, a garbage collector or a slow neighbour are. The numbers are the same every time.

use super::{
    histogram::Histogram,
    percentile,
    permutation::{Shuffler, Unit, p_value},
};

const BLOCKS: usize = 40;

/// A source of random numbers other than that of the tests.
struct Chance(Shuffler);

impl Chance {
    fn new(seed: u64) -> Self {
        let mut shuffler = Shuffler::new();
        let offset = shuffler.next();
        Self(Shuffler::seeded(offset.wrapping_add(seed << 32)))
    }

    fn uniform(&mut self) -> f64 {
        (self.0.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A normal number, near enough.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A made-up run of one route.
struct Made {
    durations: Vec<Histogram>,
    failed: Vec<Unit>,
}

/// `requests` in a block on average, whose medians follow each other with `correlation` and a spread of `weather`.
fn run(seed: u64, requests: f64, (correlation, weather): (f64, f64), slower: f64) -> Made {
    let mut chance = Chance::new(seed);
    let mut level = chance.normal() * weather;
    let (mut durations, mut failed) = (Vec::new(), Vec::new());
    for _ in 0..BLOCKS {
        level =
            correlation * level + (1.0_f64 - correlation * correlation).sqrt() * weather * chance.normal();
        let count = (requests * (0.6 + 0.8 * chance.uniform())).round().max(1.0);
        let mut block = Histogram::default();
        // Failures come in bursts.
        let bad = if chance.uniform() < 0.1 { 0.3 } else { 0.005 };
        let mut errors = 0.0;
        for _ in 0..count as u64 {
            let tail = if chance.uniform() < 0.02 { 3.0 } else { 1.0 };
            block.add((10e6 * slower * tail * (level + 0.15 * chance.normal()).exp()) as u64);
            errors += f64::from(u8::from(chance.uniform() < bad));
        }
        durations.push(block);
        failed.push(Unit { weight: count, score: errors });
    }
    Made { durations, failed }
}

fn of_percentile(base: &Made, new: &Made, percent: u64) -> f64 {
    let [base, new] = [base, new].map(|made| made.durations.iter().collect::<Vec<_>>());
    percentile::p_value(&base, &new, percent, 0.01).unwrap()
}

/// How many of `pairs` pairs are called different at 0.01.
fn different(pairs: u64, p: impl Fn(u64) -> f64) -> u64 {
    (0..pairs).filter(|pair| p(*pair) <= 0.01).count() as u64
}

const PAIRS: u64 = 200;

#[test]
fn runs_of_the_same_service_hardly_ever_differ() {
    for (name, weather) in
        [("independent", (0.0, 0.05)), ("correlated", (0.5, 0.1)), ("strongly", (0.8, 0.1))]
    {
        for percent in [50, 95] {
            let alarms = different(PAIRS, |pair| {
                let made = |seed| run(seed, 8.0, weather, 1.0);
                of_percentile(&made(2 * pair), &made(2 * pair + 1), percent)
            });
            // 2 of 200 are to be expected.
            println!("{name} p{percent}: {alarms} of {PAIRS} false alarms");
            assert!(alarms <= 8, "{name} p{percent}: {alarms} of {PAIRS}");
        }
    }
    let alarms = different(PAIRS, |pair| {
        let made = |seed| run(seed, 8.0, (0.0, 0.0), 1.0);
        p_value(&made(2 * pair).failed, &made(2 * pair + 1).failed, 0.01).unwrap()
    });
    println!("bursts of errors: {alarms} of {PAIRS} false alarms");
    assert!(alarms <= 6, "errors: {alarms} of {PAIRS}");
}

#[test]
fn requests_taken_for_independent_would_differ_all_the_time() {
    // The test that docs/diff.md warns of: a normal approximation for shares beyond the median, of requests instead of blocks.
    let alarms = different(PAIRS, |pair| {
        let [base, new] = [2 * pair, 2 * pair + 1].map(|seed| {
            let mut whole = Histogram::default();
            run(seed, 80.0, (0.8, 0.1), 1.0).durations.iter().for_each(|block| whole.merge(block));
            whole
        });
        let mut joint = base.clone();
        joint.merge(&new);
        let limit = joint.percentile(50).unwrap();
        let share = |side: &Histogram| side.above(limit) / side.count() as f64;
        let z = (share(&base) - share(&new)).abs()
            / (0.25 / base.count() as f64 + 0.25 / new.count() as f64).sqrt();
        if z > 2.576 { 0.0 } else { 1.0 }
    });
    println!("requests for units: {alarms} of {PAIRS} false alarms");
    assert!(alarms > PAIRS / 4, "{alarms} of {PAIRS}");
}

#[test]
fn a_fifth_more_latency_is_found() {
    // Of 320 requests, and of 1,280.
    for (percent, requests, correlation, least) in
        [(50, 8.0, 0.3, 95), (95, 8.0, 0.3, 80), (95, 32.0, 0.3, 95), (95, 8.0, 0.0, 80), (95, 8.0, 0.6, 60)]
    {
        let found = different(PAIRS, |pair| {
            let made = |seed, slower| run(seed, requests, (correlation, 0.05), slower);
            of_percentile(&made(2 * pair, 1.0), &made(2 * pair + 1, 1.2), percent)
        });
        println!("p{percent} of {} requests: {found} of {PAIRS} found", requests * BLOCKS as f64);
        assert!(found >= PAIRS * least / 100, "p{percent} of {requests} a block: {found} of {PAIRS}");
    }
}
