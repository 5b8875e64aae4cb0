//! Makes a complete file of what a capture left that was killed or could not write on.
//!
//! Row groups and journal are read as `beyla-analyze` would read them, and written anew beside their place. Only
//! when the new file is complete and in its place are the leftovers removed, so this may itself be killed.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use beyla_schema::{
    event::Body,
    file::{self, EventReader, EventWriter, Metadata, Names, Projection},
};
use bytesize::ByteSize;
use indicatif::HumanCount;

use crate::writer::{is_being_written, parts_of, remove};

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such capture.
    #[error("there is neither {0} nor anything that a capture left there")]
    Nothing(PathBuf),
    /// It was killed at once.
    #[error("nothing was recorded to {0}: what the capture had begun is removed")]
    Empty(PathBuf),
    /// It is complete.
    #[error("{0} is complete: there is nothing to recover")]
    Complete(PathBuf),
    /// It goes on.
    #[error("{0} is being written: end the capture with Ctrl-C instead")]
    Busy(PathBuf),
    /// There is a file in its place.
    #[error("{0} exists beside what is left of a later capture: move it away, or overwrite it with --force")]
    Exists(PathBuf),
    /// Not all of what is left can be read.
    #[error(
        "{path} cannot be recovered whole, only its first {events} events: {source}; give up the rest with --force"
    )]
    Damaged {
        /// The file to be.
        path: PathBuf,
        /// Events before the damage.
        events: u64,
        /// What is wrong.
        source: file::Error,
    },
    /// Nothing of what is left can be read.
    #[error("cannot read what is left of {path}: {source}")]
    Read {
        /// The file to be.
        path: PathBuf,
        /// What is wrong.
        source: file::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}; what the capture left is as it was")]
    Write {
        /// Its name.
        path: PathBuf,
        /// The reason.
        source: file::Error,
    },
}

impl Error {
    /// Whether something else was to be asked for.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Nothing(_) | Self::Complete(_) | Self::Busy(_) | Self::Exists(_))
    }
}

/// What was recovered.
#[derive(Debug)]
pub struct Recovered {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Events in it, and how many of them were in the journal.
    pub events: u64,
    /// See `events`.
    pub from_journal: u64,
    /// Wall time of the last of them, nanoseconds.
    pub last_ns: Option<i64>,
    /// Whether the capture had ended and only the file was not complete.
    pub ended: bool,
    /// What was given up.
    pub damage: Option<file::Error>,
}

/// Recovers what a capture to `path` left, or all its parts. `each` is told of every file.
pub fn recover(path: &Path, force: bool, mut each: impl FnMut(&Recovered)) -> Result<(), Error> {
    let names = Names::of(path);
    let mut left: Vec<_> = if names.unfinished() { vec![names.clone()] } else { parts_of(&names.path) };
    left.retain(Names::unfinished);
    let found = left.len();
    left.retain(|names| !is_empty(names) || is_being_written(names) || discard(names).is_err());
    if left.is_empty() && found > 0 {
        return Err(Error::Empty(names.path));
    }
    if left.is_empty() {
        let complete = names.path.exists() || !parts_of(&names.path).is_empty();
        return Err(if complete { Error::Complete(names.path) } else { Error::Nothing(names.path) });
    }
    for names in &left {
        each(&recover_file(names, force)?);
    }
    Ok(())
}

/// Whether the capture was killed before it wrote anything.
fn is_empty(names: &Names) -> bool {
    let is_empty = |file: &Path| fs::metadata(file).is_ok_and(|metadata| metadata.len() == 0);
    is_empty(&names.partial) && (is_empty(&names.journal) || !names.journal.exists())
}

fn discard(names: &Names) -> io::Result<()> {
    remove(&names.partial)?;
    remove(&names.journal)
}

fn recover_file(names: &Names, force: bool) -> Result<Recovered, Error> {
    let path = &names.path;
    if is_being_written(names) {
        return Err(Error::Busy(path.clone()));
    }
    if path.exists() && !force {
        return Err(Error::Exists(path.clone()));
    }
    let mut reader = EventReader::open_path(&names.partial, Projection::All)
        .map_err(|source| Error::Read { path: path.clone(), source })?;
    let mut fresh = path.clone().into_os_string();
    fresh.push(".recovering");
    let fresh = PathBuf::from(fresh);
    let recovered = copy(&mut reader, names, &fresh).and_then(|(recovered, file)| {
        if let (Some(source), false) = (recovered.damage.as_ref(), force) {
            let source = file::Error::Io(io::Error::other(source.to_string()));
            return Err(Error::Damaged { path: path.clone(), events: recovered.events, source });
        }
        let publish = || {
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            discard(names)
        };
        publish().map_err(|error| Error::Write { path: path.clone(), source: error.into() })?;
        Ok(recovered)
    });
    if recovered.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    recovered
}

/// Writes everything that can be read to `fresh`.
fn copy(reader: &mut EventReader, names: &Names, fresh: &Path) -> Result<(Recovered, File), Error> {
    let write = |source| Error::Write { path: names.path.clone(), source };
    let file = create(fresh, names).map_err(|error| write(error.into()))?;
    let clock = reader.metadata().clock();
    let output = file.try_clone().map_err(|error| write(error.into()))?;
    let mut writer = EventWriter::new(output, clock).map_err(write)?;
    let mut recovered = Recovered {
        path: names.path.clone(),
        bytes: 0,
        events: 0,
        from_journal: reader.rows_in_journal(),
        last_ns: None,
        ended: false,
        damage: None,
    };
    let (mut late_rows, mut last) = (0, (0, 0, 0));
    loop {
        let mut pushed = Ok(());
        let batch = reader.next_batch(|event| {
            let key = (event.ts_ns, event.cpu, event.seq);
            late_rows += u64::from(key < last);
            last = last.max(key);
            recovered.events += 1;
            recovered.ended = matches!(event.body, Body::End(_));
            if pushed.is_ok() {
                pushed = writer.push(event);
            }
        });
        pushed.map_err(write)?;
        match batch {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                recovered.damage = Some(error);
                break;
            }
        }
    }
    recovered.last_ns = (recovered.events > 0).then(|| clock.wall_ns(last.0));
    let metadata = Metadata { recovered: true, late_rows, ..reader.metadata().clone() };
    writer.finish(&metadata).map_err(write)?;
    recovered.bytes = file.metadata().map_or(0, |metadata| metadata.len());
    Ok((recovered, file))
}

/// Makes a new file that belongs to whom the leftovers belong to.
fn create(fresh: &Path, names: &Names) -> io::Result<File> {
    // Of a recovery that was killed.
    remove(fresh)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    let owner = fs::metadata(&names.partial).or_else(|_| fs::metadata(&names.journal));
    if let Ok(owner) = owner {
        // Without privileges it belongs to whoever runs this.
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(file)
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, from_journal, .. } = *self;
        let path = self.path.display();
        let size = ByteSize(self.bytes).display().iec();
        let (closed, journal) = (HumanCount(events.saturating_sub(from_journal)), HumanCount(from_journal));
        writeln!(
            f,
            "recovered {} events: {closed} of row groups, {journal} of the journal",
            HumanCount(events)
        )?;
        let last = self.last_ns.map(|last_ns| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(last_ns).unwrap_or(0));
            humantime::format_rfc3339_millis(time)
        });
        match (&self.damage, last, self.ended) {
            (Some(damage), ..) => writeln!(f, "missing   what is behind the damage: {damage}")?,
            (None, Some(_), true) => writeln!(f, "missing   nothing: the capture had ended")?,
            (None, Some(last), false) => {
                writeln!(f, "missing   the capture did not end properly: events after {last} are missing")?;
            }
            (None, None, _) => writeln!(f, "missing   everything: the capture had recorded nothing yet")?,
        }
        write!(f, "wrote     {path}, {size}\nnext      beyla-analyze {path}")
    }
}
