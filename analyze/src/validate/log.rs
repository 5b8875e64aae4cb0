//! What is checked, how often it held, and the first rows that break it.

use serde::Serialize;

/// Rows that are named of each invariant.
const NAMED: usize = 3;

/// The invariants of `docs/format.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invariant {
    Rows,
    Columns,
    Nulls,
    Order,
    Time,
    Sequence,
    Captured,
    Ready,
    Positions,
    Totals,
    Losses,
    Identity,
    End,
}

impl Invariant {
    /// All of them, in the order in which they are shown, with what they say.
    pub(super) const ALL: &[(Self, &str, &str)] = &[
        (Self::Rows, "rows", "every row can be decoded and is of a known kind"),
        (Self::Columns, "columns", "the columns are those of the format"),
        (Self::Nulls, "nulls", "columns have values in the kinds of rows that they belong to"),
        (Self::Order, "order", "rows are ordered by (ts_ns, cpu, seq), which is unique"),
        (Self::Time, "time", "time is ts_ns and the first clock sample"),
        (Self::Sequence, "sequence", "seq repeats on no CPU, and is missing only where records were lost"),
        (Self::Captured, "captured", "captured is what is in payload and tail, and no more than length"),
        (Self::Ready, "ready", "bytes were there before they were read"),
        (Self::Positions, "positions", "calls follow one another in each stream, but for losses"),
        (Self::Totals, "totals", "connections moved what their calls moved, but for losses"),
        (Self::Losses, "losses", "counts of losses and of what was seen never decrease"),
        (Self::Identity, "identity", "seen = recorded + lost"),
        (Self::End, "end", "the last row is `end`, and no other"),
    ];
}

/// How an invariant came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It holds.
    Ok,
    /// It does not.
    Failed,
    /// The files do not tell.
    NotChecked,
}

/// A row that breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, as it was named.
    pub file: String,
    /// Number of the row in the file, from 0. None when it is about the file as a whole.
    pub row: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

/// One invariant and how it came out.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// How it came out.
    pub status: Status,
    /// How often it was looked at.
    pub checked: u64,
    /// How often it did not hold.
    pub failed: u64,
    /// Numbers behind it, or why it was not checked.
    pub note: Option<String>,
    /// The first places where it does not hold.
    pub findings: Vec<Finding>,
}

/// A row: the number of its file, and its number in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct At {
    pub(super) file: usize,
    pub(super) row: u64,
}

/// Counts of all invariants of one recording.
pub(super) struct Log {
    checks: Vec<Check>,
    files: Vec<String>,
}

impl Log {
    pub(super) fn new() -> Self {
        let check = |&(_, name, says): &(Invariant, &'static str, &'static str)| Check {
            name,
            says,
            status: Status::Ok,
            checked: 0,
            failed: 0,
            note: None,
            findings: Vec::new(),
        };
        Self { checks: Invariant::ALL.iter().map(check).collect(), files: Vec::new() }
    }

    /// The next rows come from this file. The place of its first row.
    pub(super) fn begin(&mut self, file: &str) -> At {
        self.files.push(file.to_owned());
        At { file: self.files.len() - 1, row: 0 }
    }

    /// Looks at an invariant once. `reason` says what is wrong, if something is.
    pub(super) fn check(&mut self, invariant: Invariant, at: At, reason: Option<String>) {
        self.checks[invariant as usize].checked += 1;
        if let Some(reason) = reason {
            self.fail(invariant, at.file, Some(at.row), reason);
        }
    }

    /// An invariant was looked at so often, and what is wrong was said.
    pub(super) fn looked(&mut self, invariant: Invariant, times: usize) {
        self.checks[invariant as usize].checked += times as u64;
    }

    /// Something is wrong, in a row or a file as a whole.
    pub(super) fn fail(&mut self, invariant: Invariant, file: usize, row: Option<u64>, reason: String) {
        let check = &mut self.checks[invariant as usize];
        check.failed += 1;
        check.status = Status::Failed;
        if check.findings.len() < NAMED {
            let file = self.files.get(file).cloned().unwrap_or_default();
            check.findings.push(Finding { file, row, reason });
        }
    }

    /// Says more of an invariant.
    pub(super) fn note(&mut self, invariant: Invariant, note: String) {
        self.checks[invariant as usize].note = Some(note);
    }

    /// The files do not tell whether an invariant holds, unless it is known that it does not.
    pub(super) fn skip(&mut self, invariant: Invariant, reason: String) {
        let check = &mut self.checks[invariant as usize];
        check.note = Some(reason);
        if check.status == Status::Ok {
            check.status = Status::NotChecked;
        }
    }

    /// The number of the last file.
    pub(super) fn last_file(&self) -> usize {
        self.files.len().saturating_sub(1)
    }

    pub(super) fn finish(self) -> (Vec<String>, Vec<Check>) {
        (self.files, self.checks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_of_the_names() {
        for (index, (invariant, ..)) in Invariant::ALL.iter().enumerate() {
            assert_eq!(*invariant as usize, index);
        }
    }
}
