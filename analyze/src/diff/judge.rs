//! What comes of a condition: which rows exceed it, and whether that counts.

use super::{
    Change, Options, Presence, Row, Status, Subject,
    condition::{Condition, What},
    figure::Figure,
};

/// What came of a condition.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The condition.
    pub condition: Condition,
    /// The rows that it looked at.
    pub findings: Vec<Finding>,
}

/// What came of a condition for one row.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which requests.
    pub subject: Subject,
    /// Whether the row makes the condition fail.
    pub outcome: Outcome,
    /// The figure; none for conditions about statuses and routes.
    pub change: Option<Change>,
    /// What is there or not, of conditions about statuses and routes.
    pub statuses: Vec<Status>,
    /// Requests in the base and in the new run.
    pub requests: [u64; 2],
}

/// Whether a row makes a condition fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It does.
    Failed,
    /// The threshold is exceeded, but there are too few requests or blocks to tell whether that is chance.
    Undecided,
    /// The threshold is exceeded by no more than the runs fluctuate.
    Noise,
    /// The threshold is not exceeded.
    Passed,
}

impl Outcome {
    /// As documents call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Undecided => "undecided",
            Self::Noise => "noise",
            Self::Passed => "passed",
        }
    }
}

impl Judgement {
    /// Whether the comparison fails.
    pub fn failed(&self) -> bool {
        self.outcome() == Outcome::Failed
    }

    /// The worst of all rows; undecided when there is none: a route that nobody asked for may be a slip of the pen.
    pub fn outcome(&self) -> Outcome {
        self.findings.iter().map(|finding| finding.outcome).min().unwrap_or(Outcome::Undecided)
    }
}

pub(super) fn judge(condition: &Condition, rows: &[Row], options: &Options) -> Judgement {
    let covered = rows.iter().filter(|row| condition.covers(&row.subject));
    let findings = covered.filter_map(|row| finding(condition, row, options)).collect();
    Judgement { condition: condition.clone(), findings }
}

/// None where the condition has nothing to look at.
fn finding(condition: &Condition, row: &Row, options: &Options) -> Option<Finding> {
    let forced = condition.forced || options.raw;
    let counts = |exceeded: bool| if exceeded { Outcome::Failed } else { Outcome::Passed };
    let (mut change, mut statuses) = (None, Vec::new());
    let outcome = match condition.what {
        What::Change(figure, threshold) => {
            // A route that nobody asks any more has a rate, and nothing else.
            let counted = matches!(figure, Figure::Rate | Figure::Requests);
            if !(row.presence == Presence::Both || row.presence == Presence::Vanished && counted) {
                return None;
            }
            let seen = *row.change(figure)?;
            change = Some(seen);
            if !threshold.exceeded(seen.base?, seen.new?) {
                Outcome::Passed
            } else if forced || !figure.is_testable() || seen.is_significant(options.alpha) {
                Outcome::Failed
            } else if seen.p.is_none() {
                Outcome::Undecided
            } else {
                Outcome::Noise
            }
        }
        What::NewErrors => {
            statuses.extend(row.new_statuses.iter().filter(|(_, error)| *error).map(|(status, _)| *status));
            counts(!statuses.is_empty())
        }
        What::NewRoutes => counts(row.presence == Presence::New),
        What::VanishedRoutes if row.presence == Presence::Vanished => {
            let [base, _] = row.requests();
            // That one of a few requests does not come again says nothing.
            if forced || base >= options.min_requests { Outcome::Failed } else { Outcome::Undecided }
        }
        What::VanishedRoutes => Outcome::Passed,
    };
    Some(Finding { subject: row.subject.clone(), outcome, change, statuses, requests: row.requests() })
}
