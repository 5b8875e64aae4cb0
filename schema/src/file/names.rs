//! The files of a capture: the finished one, and the two that stand for it until then.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

const PARTIAL: &str = "partial";
const JOURNAL: &str = "journal";

/// Where a capture is, finished or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The finished file: `run.parquet`.
    pub path: PathBuf,
    /// Closed row groups, while there is no finished file: `run.parquet.partial`.
    pub partial: PathBuf,
    /// Events that are in no closed row group: `run.parquet.journal`.
    pub journal: PathBuf,
}

impl Names {
    /// The three names, given any of them.
    pub fn of(path: &Path) -> Self {
        let unfinished = path.extension().is_some_and(|end| end == PARTIAL || end == JOURNAL);
        let path = if unfinished { path.with_extension("") } else { path.to_owned() };
        let with = |end: &str| {
            let mut name = path.clone().into_os_string();
            name.push(OsStr::new("."));
            name.push(OsStr::new(end));
            PathBuf::from(name)
        };
        Self { partial: with(PARTIAL), journal: with(JOURNAL), path }
    }

    /// Whether a capture was begun here and not finished. A journal beside a finished file is only what the
    /// capture had no time to remove.
    pub fn unfinished(&self) -> bool {
        self.partial.exists() || (self.journal.exists() && !self.path.exists())
    }
}
