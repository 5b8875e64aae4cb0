//! Files that are written: beside their place, and moved there once they are complete.
//!
//! Nothing is ever half written at the place, and whatever ends the work early, an error or Ctrl-C, leaves nothing behind.
//! Only the owner may read such a file. What is no file, a device or a pipe, is written to itself and never replaced.

use std::{
    fs::{self, File},
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
    place: Place,
    writer: EventWriter<File>,
    interrupt: Interrupt,
}

impl Output {
    /// Begins a file that will be at `path`; `clock` fills its `time` column. A file that is there already is an error, unless
    /// with `force`.
    pub(crate) fn create(path: &Path, force: bool, clock: Clock) -> Result<Self, Error> {
        let refused = |error| refused(path, &error);
        let interrupt = Interrupt::listen().map_err(refused)?;
        let place = Place::take(path, force)?;
        let writer = EventWriter::new(place.file()?, clock);
        let writer = writer.map_err(|error| failed(path, error.to_string()))?;
        Ok(Self { place, writer, interrupt })
    }

    /// Adds an event. Events must come in the order of `(ts_ns, cpu, seq)`.
    pub(crate) fn push(&mut self, event: &Event<'_>) -> Result<(), Error> {
        if self.interrupt.came() {
            return Err(failed(&self.place.path, "interrupted: nothing was written".to_owned()));
        }
        self.writer.push(event).map_err(|error| failed(&self.place.path, error.to_string()))
    }

    /// Ends the file and moves it to its place.
    pub(crate) fn finish(self, metadata: &Metadata) -> Result<(), Error> {
        let Self { place, mut writer, .. } = self;
        writer.finish(metadata).map_err(|error| failed(&place.path, error.to_string()))?;
        place.fill()
    }
}

/// A place that is written to.
pub(crate) struct Place {
    path: PathBuf,
    force: bool,
    kind: Kind,
}

/// Where the bytes go meanwhile.
enum Kind {
    /// A file beside, which is moved to the place.
    Beside(NamedTempFile),
    /// What is no file, such as a pipe or `/dev/null`: itself.
    Itself(File),
}

impl Place {
    /// Takes the place at `path`. A file that is there already is an error, unless with `force`.
    pub(crate) fn take(path: &Path, force: bool) -> Result<Self, Error> {
        let kind = match fs::metadata(path) {
            Ok(file) if !file.is_file() => File::options().write(true).open(path).map(Kind::Itself),
            Ok(_) if !force => Err(io::ErrorKind::AlreadyExists.into()),
            _ => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map(Kind::Beside)
            }
        };
        Ok(Self { path: path.to_owned(), force, kind: kind.map_err(|error| refused(path, &error))? })
    }

    /// What to write to.
    pub(crate) fn file(&self) -> Result<File, Error> {
        let file = match &self.kind {
            Kind::Beside(file) => file.as_file(),
            Kind::Itself(file) => file,
        };
        file.try_clone().map_err(|error| refused(&self.path, &error))
    }

    /// All is written: it is there now.
    pub(crate) fn fill(self) -> Result<(), Error> {
        let Kind::Beside(file) = self.kind else { return Ok(()) };
        let put = file.as_file().sync_all().and_then(|()| {
            let put = if self.force { file.persist(&self.path) } else { file.persist_noclobber(&self.path) };
            put.map_err(|error| error.error)
        });
        put.map(|_| ()).map_err(|error| refused(&self.path, &error))
    }
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
