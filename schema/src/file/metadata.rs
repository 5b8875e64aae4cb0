//! What a capture file says about itself as a whole.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::Error;
use crate::event::Clock;

/// The version of the file format that this crate writes.
pub const VERSION: Version = Version { major: 1, minor: 3 };

/// A version of the file format. Files of a newer major are refused; a newer minor only adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// Changes when old readers would misread.
    pub major: u32,
    /// Changes when columns or kinds of rows are added.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The capture as a whole: how it was made, where, and whether it is complete.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Version of the format.
    pub schema_version: Version,
    /// Version of the program that wrote the file.
    pub tool_version: String,
    /// Identifies the capture: 16 hexadecimal digits.
    pub capture_id: String,
    /// Command line of the capture.
    pub argv: Vec<String>,
    /// Machine it ran on.
    pub host: Host,
    /// Matching readings of the host's clocks: one from the beginning, one from the end.
    pub clocks: Vec<ClockSample>,
    /// What was captured, as it was asked for: `port 8080`, `pid 17`, `exe */nginx`, `command`.
    pub selectors: Vec<String>,
    /// Most bytes kept of one message, from its beginning.
    pub snaplen: u32,
    /// Size of the ring buffer, bytes.
    pub ring_bytes: u32,
    /// Redaction policy: `default`, `headers-only` or `none`.
    pub redaction: String,
    /// Names of headers whose values are masked.
    #[serde(default)]
    pub redacted_headers: Vec<String>,
    /// Names of query parameters whose values are masked.
    #[serde(default)]
    pub redacted_parameters: Vec<String>,
    /// Kernel hooks, attached or not.
    pub probes: Vec<Probe>,
    /// Rows that arrived too late to be put in order; 0 in any capture seen so far.
    pub late_rows: u64,
    /// Which part of a rotated capture this file is, from 1. None: the capture is one file.
    #[serde(default)]
    pub part: Option<u32>,
    /// The last of the parts that were merged into this file, beginning with `part`. None: they were not, or are all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_part: Option<u32>,
    /// What was left out when the file was made of another one. None: nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtered: Option<Filtered>,
    /// The captures that were merged into this file. Empty: it is of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<Merged>,
    /// Made of what a capture that was killed had left: its last moments are missing.
    #[serde(default)]
    pub recovered: bool,
    /// What the capture itself cost, up to when the file was finished.
    #[serde(default)]
    pub cost: Cost,
}

/// What a file lacks of the capture it was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filtered {
    /// What was asked for, one text for each condition.
    pub by: Vec<String>,
    /// Rows made by the kernel programs that were left out: what was seen is what is here, this, and what was lost.
    pub left_out: u64,
}

/// One of the captures that were merged into a file, and how its numbers were changed so that they are its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// What was added to its event times, nanoseconds: by its first clock sample it is the same wall time.
    pub shift_ns: u64,
    /// What was added to the numbers of its CPUs.
    pub cpus_from: u16,
    /// What was added to the ids of its processes and threads.
    pub pids_from: u32,
    /// What the ids of its connections were combined with by exclusive or.
    pub connections_with: u64,
    /// What it lost, by cause: rows of the file have sums over the captures.
    pub losses: BTreeMap<String, u64>,
    /// Events its kernel programs saw; 0 when it does not tell.
    pub seen: u64,
    /// Why it ended; None when it was cut off.
    pub end: Option<String>,
    /// What it said about itself.
    pub capture: Metadata,
}

/// Facts of the captured machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine type, such as `x86_64`.
    pub machine: String,
    /// CPUs online.
    pub cpus: u32,
    /// Identifies the boot, so that event times of two captures can be compared.
    pub boot_id: String,
}

/// The three clocks of a host at one moment, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSample {
    /// `CLOCK_MONOTONIC`, the clock of events.
    pub monotonic_ns: u64,
    /// `CLOCK_REALTIME`.
    pub realtime_ns: i64,
    /// `CLOCK_BOOTTIME`: grows by more than the monotonic clock when the machine slept.
    pub boottime_ns: u64,
}

/// A kernel hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Name of the hook.
    pub name: String,
    /// Why it could not be attached. None: it was.
    pub failure: Option<String>,
}

/// What a capture costs the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Each kernel program that ran.
    pub programs: Vec<ProgramCost>,
    /// Events made while they were measured, which ends before the capture does; None: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_events: Option<u64>,
    /// CPU time of the recorder, nanoseconds, of all its processes.
    pub cpu_ns: u64,
    /// Most memory the recorder had, bytes.
    pub memory_bytes: u64,
    /// Bytes written to disk, journal included.
    pub written_bytes: u64,
}

/// What one kernel program cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramCost {
    /// Name of the program.
    pub name: String,
    /// How often it ran.
    pub runs: u64,
    /// How long, nanoseconds, in total.
    pub run_ns: u64,
}

impl Metadata {
    /// Reads the version before the rest, which a newer major may have changed.
    pub(super) fn parse(json: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Versioned {
            schema_version: Version,
        }
        let Versioned { schema_version } = serde_json::from_str(json).map_err(Error::Metadata)?;
        if schema_version.major > VERSION.major {
            return Err(Error::NewerVersion { theirs: schema_version });
        }
        serde_json::from_str(json).map_err(Error::Metadata)
    }

    /// The number that identifies the capture; 0 when what the file has is none.
    pub fn number(&self) -> u64 {
        u64::from_str_radix(&self.capture_id, 16).unwrap_or(0)
    }

    /// The number of its last part. None: it is one file.
    pub fn ends_with_part(&self) -> Option<u32> {
        self.last_part.or(self.part)
    }

    /// When the capture began, wall nanoseconds; 0 when it does not tell.
    pub fn began_ns(&self) -> i64 {
        self.clocks.first().map_or(0, |sample| sample.realtime_ns)
    }

    /// Turns event time into wall time, by the first clock sample.
    pub fn clock(&self) -> Clock {
        self.clocks.first().map_or(Clock::default(), ClockSample::clock)
    }
}

impl ClockSample {
    /// The clock that this sample sets.
    pub fn clock(&self) -> Clock {
        Clock { offset_ns: self.realtime_ns.saturating_sub_unsigned(self.monotonic_ns) }
    }
}
