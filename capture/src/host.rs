//! Facts of the machine for the file's metadata, and its clocks.

use std::{fs, sync::LazyLock};

use beyla_schema::file::{ClockSample, Host};
use rustix::time::{ClockId, clock_gettime};

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// `CLOCK_MONOTONIC`, the clock of events, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic).unsigned_abs()
}

/// Reads the three clocks at one moment: of several tries, the one that took the least time.
pub fn clock_sample() -> ClockSample {
    let sample = || {
        let before = monotonic_ns();
        let realtime_ns = nanoseconds(ClockId::Realtime);
        let boottime_ns = nanoseconds(ClockId::Boottime).unsigned_abs();
        let took = monotonic_ns() - before;
        (took, ClockSample { monotonic_ns: before + took / 2, realtime_ns, boottime_ns })
    };
    let first = sample();
    let best = (0..4).map(|_| sample()).fold(first, |best, next| if next.0 < best.0 { next } else { best });
    best.1
}

/// Wall time, nanoseconds since 1970-01-01 UTC, of a process's start that `/proc/PID/stat` gives in clock ticks
/// since boot.
pub fn started_ns(ticks: u64) -> i64 {
    static BOOT_NS: LazyLock<i64> = LazyLock::new(|| {
        let clock = clock_sample();
        clock.realtime_ns.saturating_sub_unsigned(clock.boottime_ns)
    });
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
    BOOT_NS.saturating_add_unsigned(ticks.saturating_mul(tick_ns))
}

/// This machine.
pub fn host() -> Host {
    let uname = rustix::system::uname();
    Host {
        name: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        machine: uname.machine().to_string_lossy().into_owned(),
        cpus: aya::util::online_cpus().map_or(0, |cpus| cpus.len() as u32),
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
    }
}

/// Identifies a capture: the same for the same boot and clocks, another for any other capture.
pub fn capture_id(host: &Host, clock: &ClockSample) -> String {
    // FNV-1a: stable across versions of this program, unlike the hashers of the standard library.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let clock = [clock.monotonic_ns.to_le_bytes(), clock.realtime_ns.to_le_bytes()].concat();
    for byte in host.boot_id.bytes().chain(host.name.bytes()).chain(clock) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}
