//! The figures that runs are compared by: their values, and what a test of their difference is about.

use super::{
    group::{Block, Group},
    histogram::{Histogram, middle_ns},
    percentile,
    permutation::{MIN_BLOCKS, Unit, p_value},
    run::Run,
};

/// A number of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Requests.
    Requests,
    /// Requests per second.
    Rate,
    /// Failed requests as a share of all, 0 to 1.
    ErrorRate,
    /// Mean duration, milliseconds.
    Avg,
    /// A percentile of the durations, milliseconds.
    Percentile(u8),
    /// The longest duration, milliseconds.
    Max,
}

impl Figure {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::Requests,
        Self::Rate,
        Self::ErrorRate,
        Self::Avg,
        Self::Percentile(50),
        Self::Percentile(90),
        Self::Percentile(95),
        Self::Percentile(99),
        Self::Max,
    ];

    /// As conditions and documents call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Rate => "rate",
            Self::ErrorRate => "error_rate",
            Self::Avg => "avg",
            Self::Percentile(50) => "p50",
            Self::Percentile(90) => "p90",
            Self::Percentile(95) => "p95",
            Self::Percentile(_) => "p99",
            Self::Max => "max",
        }
    }

    /// The figure of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.name() == name)
    }

    /// Whether it is a duration in milliseconds.
    pub const fn is_duration(self) -> bool {
        matches!(self, Self::Avg | Self::Percentile(_) | Self::Max)
    }

    /// Whether a test can tell a difference from chance: not of one extreme value, nor of counts of runs that may last
    /// longer or shorter.
    pub const fn is_testable(self) -> bool {
        !matches!(self, Self::Requests | Self::Max)
    }

    /// Which differences are too small to be called one: relative, of shares absolute.
    pub(super) const fn floor(self) -> f64 {
        match self {
            Self::ErrorRate => 0.001,
            // Well above what the width of a bucket can make up.
            _ => 0.02,
        }
    }
}

/// Values of one side of a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    requests: u64,
    errors: u64,
    incomplete: u64,
    seconds: f64,
    /// Of all blocks together.
    block: Block,
    extremes: Option<(u64, u64)>,
}

impl Values {
    pub(super) fn new(group: &Group, seconds: f64) -> Self {
        let block = group.whole();
        Self {
            requests: block.requests,
            errors: block.errors,
            incomplete: group.incomplete,
            seconds,
            block,
            extremes: group.extremes,
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    pub(super) fn incomplete(&self) -> u64 {
        self.incomplete
    }

    pub(super) fn timed(&self) -> u64 {
        self.block.durations.count()
    }

    /// None when it is not known.
    pub(crate) fn of(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Requests => Some(self.requests as f64),
            Figure::Rate => (self.seconds > 0.0).then(|| self.requests as f64 / self.seconds),
            Figure::ErrorRate => (self.requests > 0).then(|| self.errors as f64 / self.requests as f64),
            Figure::Avg => {
                let timed = self.timed();
                (timed > 0).then(|| self.block.sum_ms / timed as f64)
            }
            Figure::Percentile(percent) => {
                // The middle of a bucket may be beyond what was seen.
                let (low, high) = self.extremes?;
                let ns = middle_ns(self.block.durations.percentile(percent.into())?);
                Some(ns.clamp(low as f64, high as f64) / 1e6)
            }
            Figure::Max => self.extremes.map(|(_, high)| high as f64 / 1e6),
        }
    }
}

/// One side of a row, for a test.
pub(super) struct Tested<'r> {
    pub(super) run: &'r Run,
    pub(super) group: &'r Group,
    pub(super) values: &'r Values,
}

/// How likely a difference as large would be by chance, to be told from `level`. None when there is too little to tell.
pub(super) fn test(
    figure: Figure,
    base: &Tested<'_>,
    new: &Tested<'_>,
    min_requests: u64,
    level: f64,
) -> Option<f64> {
    let least = |count: fn(&Values) -> u64| count(base.values).min(count(new.values));
    let units = |side: &Tested<'_>, unit: &dyn Fn(&Block) -> Unit| -> Vec<Unit> {
        side.group.blocks.iter().map(unit).collect()
    };
    let compare = |unit: &dyn Fn(&Block) -> Unit| p_value(&units(base, unit), &units(new, unit), level);
    match figure {
        Figure::Requests | Figure::Max => None,
        Figure::Rate => {
            // A route that is hardly asked any more has few requests for the very reason that matters.
            let enough = base.values.requests.max(new.values.requests) >= min_requests;
            if !enough || base.run.blocks().min(new.run.blocks()) < MIN_BLOCKS {
                return None;
            }
            p_value(&rates(base), &rates(new), level)
        }
        Figure::ErrorRate if least(Values::requests) < min_requests => None,
        Figure::ErrorRate => {
            compare(&|block| Unit { weight: block.requests as f64, score: block.errors as f64 })
        }
        Figure::Avg if least(Values::timed) < min_requests => None,
        Figure::Avg => compare(&|block| Unit { weight: block.durations.count() as f64, score: block.sum_ms }),
        Figure::Percentile(percent) => {
            // Five requests beyond a percentile are the least to know where it is.
            let beyond = least(Values::timed) * u64::from(100_u8.saturating_sub(percent)) / 100;
            if least(Values::timed) < min_requests || beyond < 5 {
                return None;
            }
            let [base, new] = [base, new].map(|side| {
                side.group.blocks.iter().map(|block| &block.durations).collect::<Vec<&Histogram>>()
            });
            percentile::p_value(&base, &new, percent.into(), level)
        }
    }
}

/// Every block of the run, also those without requests.
fn rates(side: &Tested<'_>) -> Vec<Unit> {
    let requests = side.group.blocks.iter().map(|block| block.requests as f64);
    let requests = requests.chain(std::iter::repeat(0.0));
    side.run.exposures().zip(requests).map(|(weight, score)| Unit { weight, score }).collect()
}
