//! Writes a capture anew: some of its connections, its secrets masked, or both; event by event, in order, so that what the
//! engine makes of what is left stays the same but for what is masked.
//!
//! Connections are whole or left out. `kept` finds those that are needed; the copy counts what it leaves out, and the
//! file says so, which is how `validate` can still account for every event.

mod kept;

use std::{collections::BTreeSet, path::Path};

use beyla_engine::redact::{Description, Policy, Redactor, redact_text};
use beyla_schema::file::{Filtered, Metadata, VERSION};

use self::kept::Kept;
use crate::{
    Error, RECORDER,
    output::{Output, knows_all_of},
    progress::Progress,
    replay::{Capture, Input},
};

/// Which connections are kept, and what is masked.
pub struct Filter<'f> {
    /// The connections of the requests that count. It has one file.
    pub input: &'f Input,
    /// Of them those with a row for which this expression over the columns of `events` is true; each has to be of some row.
    pub rows: &'f [String],
    /// What is masked.
    pub policy: Option<&'f Policy>,
}

impl Filter<'_> {
    /// Writes `output`. Nothing is there before the copy is complete; its owner alone may read it.
    pub fn write(&self, output: &Path, force: bool) -> Result<(), Error> {
        let Some(path) = self.input.files.first() else { return Ok(()) };
        let capture = Capture::open_whole(path)?;
        knows_all_of(capture.metadata(), output)?;
        let kept = if self.keeps_all() { None } else { Some(Kept::find(self.input, self.rows)?) };

        let mut metadata = capture.metadata().clone();
        metadata.schema_version = VERSION;
        metadata.recovered |= capture.unfinished();
        if let Some(policy) = self.policy {
            metadata = masked(metadata, policy);
        }
        let mut output = Output::create(output, force, metadata.clock())?;
        let mut redactor = self.policy.map(Redactor::new);
        let mut progress = Progress::new(capture.rows(), true);
        let (mut left_out, mut result) = (0, Ok(()));
        capture.each_event(&mut progress, |event| {
            if kept.as_ref().is_none_or(|kept| kept.has(event)) {
                result = match &mut redactor {
                    Some(redactor) => output.push(&redactor.redact(event)),
                    None => output.push(event),
                };
            } else if event.cpu != RECORDER && !event.carried {
                left_out += 1;
            }
            result.is_ok()
        })?;
        result?;
        if kept.is_some() {
            let filtered = metadata.filtered.get_or_insert_default();
            filtered.left_out = filtered.left_out.saturating_add(left_out);
            filtered.by.extend(self.conditions());
        }
        output.finish(&metadata)
    }

    fn keeps_all(&self) -> bool {
        self.rows.is_empty() && self.input.selection.is_all()
    }

    fn conditions(&self) -> Vec<String> {
        let rows = self.rows.iter().map(|rows| format!("connections where {rows}"));
        self.input.selection.conditions().into_iter().chain(rows).collect()
    }
}

/// What the copy says about itself: the same, but for what is masked, now and perhaps before.
fn masked(metadata: Metadata, policy: &Policy) -> Metadata {
    let Description { name, headers, query_keys } = policy.describe();
    let before = &*metadata.redaction;
    let masked = |text: &String| redact_text(policy, text).into_owned();
    Metadata {
        argv: metadata.argv.iter().map(masked).collect(),
        redaction: if name == "none" || before == "headers-only" { before } else { name }.to_owned(),
        redacted_headers: united(&metadata.redacted_headers, headers),
        redacted_parameters: united(&metadata.redacted_parameters, query_keys),
        filtered: metadata.filtered.as_ref().map(|filtered| Filtered {
            by: filtered.by.iter().map(masked).collect(),
            left_out: filtered.left_out,
        }),
        merged: metadata
            .merged
            .into_iter()
            .map(|mut merged| {
                merged.capture = self::masked(merged.capture, policy);
                merged
            })
            .collect(),
        ..metadata
    }
}

fn united(before: &[String], now: Vec<String>) -> Vec<String> {
    before.iter().cloned().chain(now).collect::<BTreeSet<_>>().into_iter().collect()
}
