//! What the capture itself costs, for the summary and the file.

use std::{fs, os::fd::OwnedFd};

use aya::sys::{Stats, enable_stats};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// Has the kernel measure its programs, of all of the machine, as long as it lives. None where that is not allowed (CAP_SYS_ADMIN).
pub struct Meter(Option<OwnedFd>);

impl Meter {
    /// Starts to measure.
    pub fn start() -> Self {
        Self(enable_stats(Stats::RunTime).ok())
    }

    /// Whether it is allowed.
    pub fn measures(&self) -> bool {
        self.0.is_some()
    }
}

/// CPU time of this process and of the loader, nanoseconds: a reading of a clock.
pub fn cpu_ns(loader: u32) -> u64 {
    own_cpu_ns() + of_process(loader).unwrap_or(0)
}

/// CPU time of this process, nanoseconds.
pub fn own_cpu_ns() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(0, |usage| (usage.user_time() + usage.system_time()).num_nanoseconds().unsigned_abs())
}

/// Most memory this process had, bytes.
pub fn memory_bytes() -> u64 {
    // Kibibytes on Linux.
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss().unsigned_abs() * 1024)
}

fn of_process(pid: u32) -> Option<u64> {
    // Unlike most of /proc everybody may read this.
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
