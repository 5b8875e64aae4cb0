//! How many random cases a property is tried on, and which.
//!
//! The same ones every time, so that a change that has nothing to do with a property cannot fail it. `BEYLA_CASES=n` tries
//! each on n new ones; what it prints with a failure, `BEYLA_SEED`, tries them again.

use std::time::{SystemTime, UNIX_EPOCH};

use proptest::test_runner::{Config, RngSeed};

/// A configuration that tries `count` cases if nothing else is said.
pub fn cases(count: u32) -> Config {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("BEYLA_SEED");
    let (cases, seed) = match number("BEYLA_CASES") {
        None => (count, seed.unwrap_or(1)),
        Some(cases) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            (cases as u32, seed.unwrap_or(now))
        }
    };
    // Shown by the test runner only if the test fails.
    println!("BEYLA_CASES={cases} BEYLA_SEED={seed}");
    Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() }
}
