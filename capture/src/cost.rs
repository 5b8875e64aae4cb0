//! What the capture itself costs, for the summary and the file.

use std::{fs, os::fd::OwnedFd};

use aya::sys::{Stats, enable_stats};
use beyla_schema::file::{Cost, ProgramCost};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// Has the kernel measure its programs as long as it lives. None where that is not allowed (CAP_SYS_ADMIN).
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

/// CPU time and memory of this process and of the loader, so far.
pub fn of_recorder(loader: u32, programs: Vec<ProgramCost>, written_bytes: u64) -> Cost {
    let mut cost = Cost { programs, written_bytes, ..Cost::default() };
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let cpu = usage.user_time() + usage.system_time();
        cost.cpu_ns = cpu.num_nanoseconds().unsigned_abs();
        // Kibibytes on Linux.
        cost.memory_bytes = usage.max_rss().unsigned_abs() * 1024;
    }
    cost.cpu_ns += cpu_ns(loader).unwrap_or(0);
    cost
}

/// CPU time of another process.
fn cpu_ns(pid: u32) -> Option<u64> {
    // Unlike most of /proc everybody may read this.
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
