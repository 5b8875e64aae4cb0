//! Checks whether captures are what `docs/format.md` says: every invariant in one pass over the rows, with memory for
//! connections, CPUs and causes only. Consecutive parts of one capture are one recording.
//!
//! `docs/validate.md` tells how to read the answer; [`show`] writes it.

mod columns;
mod counts;
mod coverage;
mod log;
pub mod show;
mod streams;

use arrow::array::RecordBatch;
use beyla_schema::{
    arrow::events::EventBatch,
    event::Clock,
    file::{Error as FileError, Metadata, VERSION},
};
use serde::Serialize;

pub use log::{Check, Finding, Status};

use self::{
    counts::Counts,
    log::{At, Invariant, Log},
    streams::Streams,
};
use crate::{parts::recordings, progress::Progress, replay::Capture};

/// What is to be said of a recording as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every invariant holds.
    Valid,
    /// The same, but the capture was cut off: how it ended is not in the files.
    Incomplete,
    /// Some invariant does not hold.
    Invalid,
}

/// How one recording came out.
#[derive(Clone, Debug, Serialize)]
pub struct Validation {
    /// Its files, in the order of its parts.
    pub files: Vec<String>,
    /// The capture they are of.
    pub capture_id: String,
    /// Number of its first part; none when it is in one file.
    pub first_part: Option<u32>,
    /// Version of the format.
    pub schema_version: String,
    /// The answer.
    pub verdict: Verdict,
    /// Why it is not known how it ended; none when it is.
    pub incomplete: Option<String>,
    /// Rows in the files.
    pub rows: u64,
    /// Rows that the kernel programs made.
    pub recorded: u64,
    /// Records that were lost, as the recorder says.
    pub lost: u64,
    /// Every invariant.
    pub checks: Vec<Check>,
}

/// Validates files: each recording among them by itself.
pub fn validate(captures: Vec<Capture>, progress: bool) -> Vec<Validation> {
    let mut progress = Progress::new(captures.iter().map(Capture::rows).sum(), progress);
    let recordings = recordings(captures, Capture::metadata).into_iter();
    recordings.map(|recording| validate_recording(recording, &mut progress)).collect()
}

fn validate_recording(recording: Vec<Capture>, progress: &mut Progress) -> Validation {
    let metadata = recording.first().map(|capture| capture.metadata().clone()).unwrap_or_default();
    let mut validator = Validator::new(&metadata);
    for mut capture in recording {
        validator.file(&mut capture, progress);
    }
    validator.finish(metadata)
}

/// The state of the pass over one recording.
struct Validator {
    log: Log,
    counts: Counts,
    streams: Streams,
    rows: u64,
    /// Whether the files begin where the capture began.
    whole: bool,
    /// Why it is not known how the capture ended, as far as the last file goes.
    cut_off: Option<String>,
    /// Written by a later program, which may know of kinds of rows and causes that this one does not.
    newer: bool,
}

impl Validator {
    fn new(first: &Metadata) -> Self {
        let whole = first.part.unwrap_or(1) == 1;
        Self {
            log: Log::new(),
            counts: Counts::new(whole),
            streams: Streams::new(whole),
            rows: 0,
            whole,
            cut_off: None,
            newer: false,
        }
    }

    fn file(&mut self, capture: &mut Capture, progress: &mut Progress) {
        let metadata = capture.metadata().clone();
        let mut at = self.log.begin(capture.name());
        let left_out = metadata.filtered.as_ref().map_or(0, |filtered| filtered.left_out);
        self.counts.begin(metadata.late_rows, left_out);
        self.newer |= metadata.schema_version > VERSION;
        columns::check_schema(&capture.schema(), metadata.schema_version, at, &mut self.log);
        let damage = loop {
            match capture.next_record_batch() {
                Ok(None) => break None,
                Ok(Some(batch)) => {
                    if let Err(error) = self.batch(&batch, metadata.clock(), at) {
                        break Some(error);
                    }
                    at.row += batch.num_rows() as u64;
                    progress.advance(batch.num_rows() as u64);
                }
                Err(error) => break Some(error),
            }
        };
        self.rows += at.row;
        if let Some(error) = &damage {
            let reason = crate::replay::damage(error, at.row);
            self.log.fail(Invariant::Rows, at.file, Some(at.row), reason);
        }
        self.cut_off = match () {
            () if damage.is_some() => Some("the file is damaged".to_owned()),
            () if capture.unfinished() => Some("the capture is still running, or it was killed".to_owned()),
            () if metadata.recovered => Some("recovered from a capture that was killed".to_owned()),
            () if !self.counts.ended() => Some("there is no `end` row".to_owned()),
            () => None,
        };
    }

    fn batch(&mut self, batch: &RecordBatch, clock: Clock, first: At) -> Result<(), FileError> {
        columns::check_rows(batch, clock, first, &mut self.log)?;
        let events = EventBatch::new(batch)?;
        for row in 0..events.rows() {
            let at = At { row: first.row + row as u64, ..first };
            match events.event(row) {
                Ok(Some(event)) => {
                    self.counts.event(&event, at, &mut self.log);
                    self.streams.event(&event, at, &mut self.log);
                }
                Ok(None) if self.newer => {}
                Ok(None) => {
                    self.log.fail(
                        Invariant::Rows,
                        at.file,
                        Some(at.row),
                        "a kind that is not known".to_owned(),
                    );
                }
                Err(reason) => self.log.fail(Invariant::Rows, at.file, Some(at.row), reason.to_owned()),
            }
        }
        self.log.looked(Invariant::Rows, events.rows());
        Ok(())
    }

    fn finish(self, metadata: Metadata) -> Validation {
        let Self { mut log, counts, streams, rows, whole, cut_off, newer } = self;
        if let Some(reason) = &cut_off {
            log.skip(Invariant::End, reason.clone());
        }
        let inexact = match (&cut_off, metadata.part) {
            (_, Some(part)) if !whole => Some(format!("part {part} without those before it")),
            (Some(reason), _) => Some(reason.clone()),
            (None, _) if counts.rotated => Some("the capture goes on in the next part".to_owned()),
            (None, _) if newer => Some("written by a newer version".to_owned()),
            (None, _) => None,
        };
        let (recorded, lost) = (counts.recorded, counts.lost());
        let explained = match &inexact {
            _ if lost > 0 => Some("records were lost"),
            Some(reason) => Some(&**reason),
            None => None,
        };
        streams.finish(explained, &mut log);
        counts.finish(inexact.as_deref(), &mut log);
        let (files, checks) = log.finish();
        let verdict = match &cut_off {
            _ if checks.iter().any(|check| check.status == Status::Failed) => Verdict::Invalid,
            Some(_) => Verdict::Incomplete,
            None => Verdict::Valid,
        };
        Validation {
            files,
            capture_id: metadata.capture_id,
            first_part: metadata.part,
            schema_version: metadata.schema_version.to_string(),
            verdict,
            incomplete: cut_off,
            rows,
            recorded,
            lost,
            checks,
        }
    }
}
