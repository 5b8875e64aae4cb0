//! Files that are written: beside their place, and moved there once they are complete.
//!
//! Nothing is ever half written at the place, and whatever ends the work early, an error or Ctrl-C, leaves nothing behind.
//! Only the owner may read such a file.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use beyla_schema::{
    event::{Clock, Event},
    file::{EventWriter, Metadata, VERSION},
};
use tempfile::NamedTempFile;

use crate::{Error, interrupt::Interrupt};

/// A capture file in the making.
pub(crate) struct Output {
    path: PathBuf,
    force: bool,
    file: NamedTempFile,
    writer: EventWriter<File>,
    interrupt: Interrupt,
}

impl Output {
    /// Begins a file that will be at `path`; `clock` fills its `time` column. A file that is there already is an error, unless
    /// with `force`.
    pub(crate) fn create(path: &Path, force: bool, clock: Clock) -> Result<Self, Error> {
        let refused = |error| refused(path, &error);
        let interrupt = Interrupt::listen().map_err(refused)?;
        let file = beside(path, force)?;
        let writer = EventWriter::new(file.reopen().map_err(refused)?, clock);
        let writer = writer.map_err(|error| failed(path, error.to_string()))?;
        Ok(Self { path: path.to_owned(), force, file, writer, interrupt })
    }

    /// Adds an event. Events must come in the order of `(ts_ns, cpu, seq)`.
    pub(crate) fn push(&mut self, event: &Event<'_>) -> Result<(), Error> {
        if self.interrupt.came() {
            return Err(failed(&self.path, "interrupted: nothing was written".to_owned()));
        }
        self.writer.push(event).map_err(|error| failed(&self.path, error.to_string()))
    }

    /// Ends the file and moves it to its place.
    pub(crate) fn finish(self, metadata: &Metadata) -> Result<(), Error> {
        let Self { path, force, file, mut writer, .. } = self;
        writer.finish(metadata).map_err(|error| failed(&path, error.to_string()))?;
        put(file, &path, force)
    }
}

/// A file in the folder of `path`, to be put there. A file that is there already is an error, unless with `force`.
pub(crate) fn beside(path: &Path, force: bool) -> Result<NamedTempFile, Error> {
    if !force && path.exists() {
        return Err(refused(path, &io::ErrorKind::AlreadyExists.into()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(|error| refused(path, &error))
}

/// Puts a complete file at `path`.
pub(crate) fn put(file: NamedTempFile, path: &Path, force: bool) -> Result<(), Error> {
    file.as_file().sync_all().map_err(|error| refused(path, &error))?;
    let persisted = if force { file.persist(path) } else { file.persist_noclobber(path) };
    persisted.map(|_| ()).map_err(|error| refused(path, &error.error))
}

/// Refuses to write `output` from a capture of which this program does not know every row.
pub(crate) fn knows_all_of(metadata: &Metadata, output: &Path) -> Result<(), Error> {
    if metadata.schema_version > VERSION {
        let reason = "its input was written by a newer version, of which rows would be missing";
        return Err(failed(output, reason.to_owned()));
    }
    Ok(())
}

/// Why `output` cannot be written.
pub(crate) fn failed(output: &Path, reason: String) -> Error {
    Error::Output { file: output.display().to_string(), reason }
}

/// What the system has against `output`.
pub(crate) fn refused(output: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::AlreadyExists => "exists already: overwrite it with --force".to_owned(),
        _ => error.to_string(),
    };
    failed(output, reason)
}
