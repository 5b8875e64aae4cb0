//! When a capture ends by itself, and when it goes on in another file.

use std::time::Duration;

/// How much is recorded, and in how many files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Stop after this many events.
    pub max_events: Option<u64>,
    /// Stop when the file, or all parts together, has this many bytes.
    pub max_size: Option<u64>,
    /// Begin another part now and then.
    pub rotate: Option<Rotate>,
    /// Finished parts to keep; the oldest are deleted.
    pub keep: Option<u32>,
    /// Close row groups at this many events: for tests.
    pub group_rows: Option<usize>,
}

/// How long a part becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotate {
    /// About this many bytes.
    Size(u64),
    /// About this much time.
    Time(Duration),
}

impl Rotate {
    /// Whether a part of this size that was begun this long ago is to be ended.
    pub(super) fn is_due(self, size: u64, age_ns: u64) -> bool {
        match self {
            Self::Size(most) => size >= most,
            Self::Time(most) => u128::from(age_ns) >= most.as_nanos(),
        }
    }
}
