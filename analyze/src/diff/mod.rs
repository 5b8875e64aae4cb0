//! Comparison of two runs: rate, errors and durations of each route side by side, which of the differences are more than the
//! fluctuation of the runs, and whether any of them is one to fail for. [`text`], [`markdown`] and [`json`] show it.
//!
//! Each side is replayed once into counts by route and block of time (`run.rs`). What the tests assume is told in
//! `docs/diff.md`.

mod condition;
mod figure;
mod group;
mod histogram;
pub mod json;
mod judge;
pub mod markdown;
mod percentile;
mod permutation;
mod row;
mod run;
mod show;
pub mod text;

#[cfg(test)]
mod simulation;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{
    condition::{Condition, ConditionError},
    figure::Figure,
    group::{Scope, Status, Subject},
    judge::{Finding, Judgement, Outcome},
    row::{Change, Presence, Row},
    run::MAX_ROUTES,
};

pub(crate) use self::{
    figure::Values,
    show::{named, value as valued},
};

use self::{figure::Tested, group::Group, permutation::holm, run::Run};
use crate::{
    Error,
    replay::{Input, Summary},
};

/// How two runs are compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// A difference is significant when chance makes one as large among all routes at most this often.
    pub alpha: f64,
    /// With fewer requests on a side, a difference of a route is not tested.
    pub min_requests: u64,
    /// Conditions count whether or not a difference is significant.
    pub raw: bool,
    /// What the comparison is to fail for.
    pub conditions: Vec<Condition>,
}

impl Default for Options {
    fn default() -> Self {
        Self { alpha: 0.01, min_requests: 50, raw: false, conditions: Vec::new() }
    }
}

/// Two runs, compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What the comparison was made by.
    pub options: Options,
    /// The run that is compared with.
    pub base: Side,
    /// The run that is compared.
    pub new: Side,
    /// Totals first, then by requests of both runs, most first, then by name.
    pub rows: Vec<Row>,
    /// What came of the conditions, in their order.
    pub judgements: Vec<Judgement>,
}

/// One of the runs.
#[derive(Clone, Debug)]
pub struct Side {
    /// Its files, in the order they were named.
    pub files: Vec<Summary>,
    /// Requests.
    pub requests: u64,
    /// Time that has requests: of each file from the start of the first to the end of the last one, added up.
    pub seconds: f64,
    /// Blocks that the time was divided into.
    pub blocks: usize,
    /// How long each of them is.
    pub block_seconds: f64,
}

impl Comparison {
    /// Whether any condition makes it fail.
    pub fn failed(&self) -> bool {
        self.judgements.iter().any(Judgement::failed)
    }

    /// The files of both sides.
    pub fn files(&self) -> Vec<Summary> {
        self.base.files.iter().chain(&self.new.files).cloned().collect()
    }
}

/// Replays both sides and compares them.
pub fn compare(base: &Input, new: &Input, options: Options) -> Result<Comparison, Error> {
    // What cannot be opened is known before the first side is read.
    new.captures()?;
    let mut base = Run::replay(base, None, true)?;
    let mut new = Run::replay(new, Some(&base), true)?;
    Ok(compare_runs(&mut base, &mut new, options))
}

/// What one run holds, for limits.
pub(crate) struct Measured {
    pub(crate) files: Vec<Summary>,
    /// By direction and name.
    pub(crate) rows: Vec<(Subject, Values)>,
}

/// Replays one run.
pub(crate) fn measure(input: &Input) -> Result<Measured, Error> {
    let run = Run::replay(input, None, true)?;
    let rows = run.groups.iter().map(|(subject, group)| (subject.clone(), Values::new(group, run.seconds)));
    Ok(Measured { rows: rows.collect(), files: run.files })
}

fn compare_runs(base: &mut Run, new: &mut Run, options: Options) -> Comparison {
    // Blocks of the same length fluctuate alike.
    let (base_width, new_width) = (base.width_ns, new.width_ns);
    base.widen(new_width, 2 * permutation::MIN_BLOCKS);
    new.widen(base_width, 2 * permutation::MIN_BLOCKS);

    let subjects: BTreeSet<&Subject> = base.groups.keys().chain(new.groups.keys()).collect();
    // Totals are looked at apart from routes.
    let mut sizes = BTreeMap::<bool, usize>::new();
    for subject in &subjects {
        *sizes.entry(subject.scope == Scope::Total).or_default() += 1;
    }
    let mut rows: Vec<Row> = subjects
        .iter()
        .map(|subject| {
            let family = sizes.get(&(subject.scope == Scope::Total)).copied().unwrap_or(1);
            row(subject, base, new, &options, options.alpha / family.max(1) as f64)
        })
        .collect();
    adjust(&mut rows);
    rows.sort_by_key(|row| {
        (row.subject.scope != Scope::Total, std::cmp::Reverse(row.requests().iter().sum::<u64>()))
    });
    let judgements =
        options.conditions.iter().map(|condition| judge::judge(condition, &rows, &options)).collect();
    Comparison { base: side(base), new: side(new), rows, judgements, options }
}

fn side(run: &Run) -> Side {
    let totals = run.groups.iter().filter(|(subject, _)| subject.scope == Scope::Total);
    Side {
        files: run.files.clone(),
        requests: totals.map(|(_, group)| group.whole().requests).sum(),
        seconds: run.seconds,
        blocks: run.blocks(),
        block_seconds: run.width_ns as f64 / 1e9,
    }
}

fn row(subject: &Subject, base_run: &Run, new_run: &Run, options: &Options, level: f64) -> Row {
    let none = Group::default();
    let [base_group, new_group] = [base_run, new_run].map(|run| run.groups.get(subject));
    let unsure = |run: &Run| {
        let others = Subject { kind: subject.kind, scope: Scope::Others };
        subject.scope == Scope::Others || run.groups.contains_key(&others)
    };
    let presence = match (base_group, new_group) {
        (None, _) if unsure(base_run) => Presence::Unknown,
        (_, None) if subject.scope == Scope::Others => Presence::Unknown,
        (None, _) => Presence::New,
        // Routes of the base are told apart in the new run in any case.
        (_, None) => Presence::Vanished,
        (Some(_), Some(_)) => Presence::Both,
    };
    let (base_group, new_group) = (base_group.unwrap_or(&none), new_group.unwrap_or(&none));
    let base = Values::new(base_group, base_run.seconds);
    let new = Values::new(new_group, new_run.seconds);
    let tested = (
        Tested { run: base_run, group: base_group, values: &base },
        Tested { run: new_run, group: new_group, values: &new },
    );
    let changes = Figure::ALL.map(|figure| {
        let p = figure::test(figure, &tested.0, &tested.1, options.min_requests, level);
        Change { figure, base: base.of(figure), new: new.of(figure), p, p_adjusted: None }
    });
    Row {
        subject: subject.clone(),
        presence,
        errors: [base.errors(), new.errors()],
        incomplete: [base.incomplete(), new.incomplete()],
        changes: changes.to_vec(),
        new_statuses: missing_from(base_group, new_group),
        vanished_statuses: missing_from(new_group, base_group),
    }
}

/// Statuses of `there` that are not in `here`, and whether they are errors.
fn missing_from(here: &Group, there: &Group) -> Vec<(Status, bool)> {
    let known = |status| here.statuses.iter().any(|count| count.status == status);
    let statuses = there.statuses.iter().filter(|count| !known(count.status));
    let mut statuses: Vec<_> = statuses.map(|count| (count.status, count.errors > 0)).collect();
    statuses.sort_unstable();
    statuses
}

/// Adjusts the p-values of each figure for the number of rows that were tested, totals and routes apart.
fn adjust(rows: &mut [Row]) {
    for total in [true, false] {
        for at in 0..Figure::ALL.len() {
            let family = |row: &Row| (row.subject.scope == Scope::Total) == total;
            let mut changes: Vec<&mut Change> =
                rows.iter_mut().filter(|row| family(row)).filter_map(|row| row.changes.get_mut(at)).collect();
            let p_values: Vec<_> = changes.iter().map(|change| change.p).collect();
            for (change, adjusted) in changes.iter_mut().zip(holm(&p_values)) {
                change.p_adjusted = adjusted;
            }
        }
    }
}
