//! A row of the comparison: figures of the same requests in both runs.

use super::{
    figure::Figure,
    group::{Status, Subject},
};

/// Some requests in both runs.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which requests.
    pub subject: Subject,
    /// Where they are.
    pub presence: Presence,
    /// Failed requests.
    pub errors: [u64; 2],
    /// Requests without a full response.
    pub incomplete: [u64; 2],
    /// Every figure, in the order of [`Figure::ALL`].
    pub changes: Vec<Change>,
    /// Statuses that only the new run has, and whether they are errors.
    pub new_statuses: Vec<(Status, bool)>,
    /// Statuses that only the base has.
    pub vanished_statuses: Vec<(Status, bool)>,
}

/// In which run requests of a route are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// In both.
    Both,
    /// Only in the new one.
    New,
    /// Only in the base.
    Vanished,
    /// Only in one, but the other has routes that could not be told apart.
    Unknown,
}

/// A figure in both runs. None is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Which.
    pub figure: Figure,
    /// In the base.
    pub base: Option<f64>,
    /// In the new run.
    pub new: Option<f64>,
    /// How likely a difference as large is by chance. None where it was not tested.
    pub p: Option<f64>,
    /// The same, adjusted for the number of routes that were looked at.
    pub p_adjusted: Option<f64>,
}

impl Change {
    /// The difference, in the unit of the figure.
    pub fn absolute(&self) -> Option<f64> {
        Some(self.new? - self.base?)
    }

    /// The difference as a share of the base. None also where that is zero.
    pub fn relative(&self) -> Option<f64> {
        let base = self.base.filter(|base| *base != 0.0)?;
        Some(self.absolute()? / base)
    }

    /// Whether chance hardly explains it.
    pub fn is_significant(&self, alpha: f64) -> bool {
        self.p_adjusted.is_some_and(|p| p <= alpha)
    }

    /// Whether it is significant and large enough to speak of.
    pub fn stands_out(&self, alpha: f64) -> bool {
        let size = match self.figure {
            Figure::ErrorRate => self.absolute(),
            // From nothing to something is any share.
            _ => self.relative().or(Some(f64::INFINITY)),
        };
        self.is_significant(alpha) && size.is_some_and(|size| size.abs() >= self.figure.floor())
    }

    /// Whether the values differ, but there is too little of them for a test.
    pub fn is_untold(&self) -> bool {
        self.figure.is_testable() && self.p.is_none() && self.absolute().is_some_and(|change| change != 0.0)
    }
}

impl Row {
    /// A figure of it.
    pub fn change(&self, figure: Figure) -> Option<&Change> {
        self.changes.iter().find(|change| change.figure == figure)
    }

    /// Requests of both runs.
    pub fn requests(&self) -> [u64; 2] {
        let change = self.change(Figure::Requests);
        change.map_or([0, 0], |change| [change.base, change.new].map(|count| count.unwrap_or(0.0) as u64))
    }
}
