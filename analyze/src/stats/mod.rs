//! What a capture is, without pairing anything: how it was made, when, how large, who is in it, and what it lacks.
//!
//! Of the rows only what is needed is decoded, never the bytes that were moved; sizes come from the footers. Memory does not
//! grow with the rows: whatever is kept of each of something is limited in number, and what was left out is counted.

mod rows;
mod text;

use std::{collections::BTreeMap, fs, path::Path};

use beyla_schema::file::{Cost, Filtered, Host, Metadata, Names, Probe};
use serde::Serialize;

pub use rows::{Connections, Loss, Moved, Process};
pub use text::text;

use self::rows::Rows;
use crate::{
    Error,
    progress::Progress,
    replay::{self, Capture},
    units::rfc3339,
};

/// Name and version of the schema: the number changes when a field changes its meaning or goes away.
const SCHEMA: &str = "beyla-analyze/stats/1";

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Its name, as it was given.
    pub file: String,
    /// How it was made.
    #[serde(flatten)]
    pub about: About,
    /// Wall time of the first and the last event.
    pub first_time: Option<String>,
    /// See `first_time`.
    pub last_time: Option<String>,
    /// The same, nanoseconds since 1970.
    #[serde(skip)]
    pub range: Option<(i64, i64)>,
    /// How much room it takes.
    pub size: Size,
    /// Rows of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Connections.
    pub connections: Connections,
    /// What calls moved, by where it was seen and which way.
    pub moved: Vec<Moved>,
    /// Rows of each system call.
    pub calls: BTreeMap<&'static str, u64>,
    /// Processes, by their ids.
    pub processes: Vec<Process>,
    /// Processes that are not listed.
    pub processes_left_out: u64,
    /// What was lost, by cause.
    pub losses: Vec<Loss>,
    /// Events that the kernel programs saw; None when the file does not tell.
    pub seen: Option<u64>,
    /// Why the capture ended; None when the file does not tell.
    pub end: Option<String>,
    /// Why the file could not be read to its end.
    pub damage: Option<String>,
}

/// What a file says about itself.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    capture_id: String,
    schema_version: String,
    tool_version: String,
    argv: Vec<String>,
    host: Host,
    selectors: Vec<String>,
    snaplen: u32,
    ring_bytes: u32,
    redaction: String,
    redacted_headers: Vec<String>,
    redacted_parameters: Vec<String>,
    probes: Vec<Probe>,
    clocks: Option<Clocks>,
    late_rows: u64,
    part: Option<u32>,
    last_part: Option<u32>,
    filtered: Option<Filtered>,
    /// The captures that were merged into it.
    merged: Vec<About>,
    recovered: bool,
    unfinished: bool,
    cost: Option<Cost>,
}

/// What the clock samples tell.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the unit is part of the name")]
pub struct Clocks {
    /// From the first sample to the last, nanoseconds.
    span_ns: u64,
    /// How much more the wall clock went on than the monotonic one, nanoseconds: it was set, or corrected.
    drift_ns: i64,
    /// How long the machine slept, nanoseconds.
    slept_ns: i64,
}

/// How much room a file takes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Size {
    /// On disk, of an unfinished capture both its files.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Rows of them that are in the journal of an unfinished capture.
    pub rows_in_journal: u64,
    /// Bytes on disk for each row; None without rows.
    pub bytes_per_row: Option<f64>,
    /// Closed row groups.
    pub row_groups: u64,
    /// What each column takes in them.
    pub columns: Vec<Column>,
}

/// What one column takes.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Bytes in the file.
    pub compressed: u64,
    /// Bytes before they were compressed.
    pub uncompressed: u64,
}

/// Looks at a file.
pub fn of(path: &Path) -> Result<Stats, Error> {
    let mut capture = Capture::open_facts(path)?;
    let mut rows = Rows::default();
    let mut progress = Progress::new(capture.rows(), true);
    let mut read = 0;
    let damage = loop {
        let batch = match capture.next_record_batch() {
            Ok(Some(batch)) => batch,
            Ok(None) => break None,
            Err(error) => break Some(replay::damage(&error, read)),
        };
        if let Err(error) = rows.batch(&batch, read) {
            break Some(replay::damage(&error, read));
        }
        read += batch.num_rows() as u64;
        progress.advance(batch.num_rows() as u64);
    };
    drop(progress);
    let clock = capture.metadata().clock();
    let range = rows.range.map(|(first, last)| (clock.wall_ns(first), clock.wall_ns(last)));
    Ok(Stats {
        file: capture.name().to_owned(),
        about: About::of(capture.metadata(), capture.unfinished()),
        first_time: range.and_then(|(first, _)| rfc3339(first)),
        last_time: range.and_then(|(_, last)| rfc3339(last)),
        range,
        size: Size::of(path, &capture),
        kinds: rows.kinds,
        connections: rows.connections,
        moved: rows.moved.into_values().collect(),
        calls: rows.calls,
        processes: rows.processes.into_values().map(|process| process.timed(clock)).collect(),
        processes_left_out: rows.processes_left_out,
        losses: rows.losses.into_values().map(|loss| loss.timed(clock)).collect(),
        seen: rows.seen,
        end: rows.end,
        damage,
    })
}

impl About {
    fn of(metadata: &Metadata, unfinished: bool) -> Self {
        let Metadata {
            schema_version,
            tool_version,
            capture_id,
            argv,
            host,
            clocks,
            selectors,
            snaplen,
            ring_bytes,
            redaction,
            redacted_headers,
            redacted_parameters,
            probes,
            late_rows,
            part,
            last_part,
            filtered,
            merged,
            recovered,
            cost,
        } = metadata.clone();
        let merged = merged.iter().map(|merged| Self::of(&merged.capture, false)).collect();
        let clocks = clocks.first().zip(clocks.last()).map(|(first, last)| {
            let span_ns = last.monotonic_ns.saturating_sub(first.monotonic_ns);
            let wall_ns = last.realtime_ns.saturating_sub(first.realtime_ns);
            let boot_ns = last.boottime_ns.saturating_sub(first.boottime_ns);
            let slept_ns = i64::try_from(boot_ns).unwrap_or(i64::MAX).saturating_sub_unsigned(span_ns);
            Clocks { span_ns, drift_ns: wall_ns.saturating_sub_unsigned(span_ns), slept_ns }
        });
        Self {
            capture_id,
            schema_version: schema_version.to_string(),
            tool_version,
            argv,
            host,
            selectors,
            snaplen,
            ring_bytes,
            redaction,
            redacted_headers,
            redacted_parameters,
            probes,
            // At the beginning there is one reading.
            clocks: clocks.filter(|clocks| clocks.span_ns > 0),
            late_rows,
            part,
            last_part,
            filtered,
            merged,
            recovered,
            unfinished,
            cost: (cost != Cost::default()).then_some(cost),
        }
    }
}

impl Size {
    fn of(path: &Path, capture: &Capture) -> Self {
        let names = Names::of(path);
        let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        let bytes = if capture.unfinished() {
            length(&names.partial) + length(&names.journal)
        } else {
            length(&names.path)
        };
        let (rows, layout) = (capture.rows(), capture.layout());
        let columns = layout.columns.iter().map(|column| Column {
            name: column.name.clone(),
            compressed: column.compressed,
            uncompressed: column.uncompressed,
        });
        Self {
            bytes,
            rows,
            rows_in_journal: rows.saturating_sub(layout.rows),
            bytes_per_row: (rows > 0).then(|| bytes as f64 / rows as f64),
            row_groups: layout.row_groups,
            columns: columns.collect(),
        }
    }
}

#[derive(Serialize)]
struct Document<'s> {
    schema: &'static str,
    files: &'s [Stats],
}

/// As JSON, ended by a newline.
pub fn json(files: &[Stats]) -> String {
    // Only maps with keys that are no text, and types that refuse, can fail to serialise; there are none here.
    let mut json = serde_json::to_string_pretty(&Document { schema: SCHEMA, files }).unwrap_or_default();
    json.push('\n');
    json
}
