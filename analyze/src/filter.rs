//! Writes a capture anew with its secrets masked: event by event, in order, so that what the engine makes of it stays
//! the same but for what is masked.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use beyla_engine::redact::{Description, Policy, Redactor, redact_text};
use beyla_schema::{
    event::Event,
    file::{EventWriter, Metadata, VERSION},
};
use tempfile::NamedTempFile;

use crate::{Error, progress::Progress, replay::Capture};

/// Copies `capture` to `output` with what `policy` names masked. Nothing is at `output` before the copy is complete;
/// its owner alone may read it.
pub fn redact(capture: Capture, output: &Path, force: bool, policy: &Policy) -> Result<(), Error> {
    let failed = |reason: String| Error::Output { file: output.display().to_string(), reason };
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => failed("exists already: overwrite it with --force".to_owned()),
        _ => failed(error.to_string()),
    };
    let written = |error: beyla_schema::file::Error| failed(error.to_string());
    if capture.metadata().schema_version > VERSION {
        let reason = "its input was written by a newer version, of which rows would be missing";
        return Err(failed(reason.to_owned()));
    }
    if !force && output.exists() {
        return Err(refused(io::ErrorKind::AlreadyExists.into()));
    }

    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let file = NamedTempFile::new_in(folder).map_err(refused)?;
    let mut copy = Copy {
        writer: EventWriter::new(file.reopen().map_err(refused)?, capture.metadata().clock())
            .map_err(written)?,
        redactor: Redactor::new(policy),
    };
    let metadata = masked(capture.metadata(), policy);
    let mut progress = Progress::new(capture.rows(), true);
    let mut result = Ok(());
    capture.each_event(&mut progress, |event| {
        if result.is_ok() {
            result = copy.event(event);
        }
        result.is_ok()
    })?;
    result.and_then(|()| copy.writer.finish(&metadata)).map_err(written)?;
    file.as_file().sync_all().map_err(refused)?;
    let persisted = if force { file.persist(output) } else { file.persist_noclobber(output) };
    persisted.map(|_| ()).map_err(|error| refused(error.error))
}

/// A copy in the making.
struct Copy {
    writer: EventWriter<std::fs::File>,
    redactor: Redactor,
}

impl Copy {
    fn event(&mut self, event: &Event<'_>) -> Result<(), beyla_schema::file::Error> {
        self.writer.push(&self.redactor.redact(event))
    }
}

/// What the copy says about itself: the same, but for what was done to it, now and perhaps before.
fn masked(metadata: &Metadata, policy: &Policy) -> Metadata {
    let Description { name, headers, query_keys } = policy.describe();
    let before = &*metadata.redaction;
    Metadata {
        schema_version: VERSION,
        argv: metadata.argv.iter().map(|argument| redact_text(policy, argument).into_owned()).collect(),
        redaction: if name == "none" || before == "headers-only" { before } else { name }.to_owned(),
        redacted_headers: united(&metadata.redacted_headers, headers),
        redacted_parameters: united(&metadata.redacted_parameters, query_keys),
        ..metadata.clone()
    }
}

fn united(before: &[String], now: Vec<String>) -> Vec<String> {
    before.iter().cloned().chain(now).collect::<BTreeSet<_>>().into_iter().collect()
}
