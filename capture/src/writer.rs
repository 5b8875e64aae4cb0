//! Writes the file: takes batches from the channel, puts them into order and hands them to Parquet.
//!
//! The file is written beside its place as `NAME.partial` and moved there when it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
};

use beyla_schema::{
    event::Clock,
    file::{self, Cost, EventWriter, Metadata},
};

use crate::order::{Batch, Order};

/// Why there is no file, or only a part of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is one already.
    #[error("{0} exists already: choose another name, or overwrite it with --force")]
    Exists(PathBuf),
    /// It cannot be made.
    #[error("cannot write {path}: {source}")]
    Create {
        /// Its name.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It could not be written to the end, but what was written is readable.
    #[error("cannot go on writing {path}: {source}; the first {rows} events are kept in it")]
    CutShort {
        /// Its name.
        path: PathBuf,
        /// The system's reason.
        source: file::Error,
        /// Events in the file.
        rows: u64,
    },
    /// It could not be written, and nothing of it could be kept.
    #[error("cannot write {path}: {source}; nothing of the capture could be kept")]
    Write {
        /// Its name.
        path: PathBuf,
        /// The system's reason.
        source: file::Error,
    },
}

/// The place of the file, claimed before anything is captured.
pub struct Output {
    path: PathBuf,
    partial: PathBuf,
    file: File,
}

impl Output {
    /// Claims `path`. Only its owner may read it: it holds what the service said.
    pub fn create(path: &Path, force: bool) -> Result<Self, Error> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // The second may be another capture's, still going on.
        for taken in [path, partial.as_path()] {
            if !force && taken.exists() {
                return Err(Error::Exists(taken.to_owned()));
            }
        }
        let create = |source| Error::Create { path: path.to_owned(), source };
        if path.is_dir() {
            return Err(create(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(create(error)),
            _ => {}
        }
        // A new file, never one that is there or that a link points to: this may run as root.
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&partial).map_err(create)?;
        give_to_invoking_user(&file);
        Ok(Self { path: path.to_owned(), partial, file })
    }

    /// Gives the place up again.
    pub fn discard(self) {
        // Nothing was written that anybody could miss.
        let _ = fs::remove_file(self.partial);
    }
}

/// A file that sudo wrote belongs to who called sudo. Where that fails it stays root's.
fn give_to_invoking_user(file: &File) {
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) {
        let _ = fchown(file, Some(user), Some(group));
    }
}

/// A finished file.
#[derive(Debug)]
pub struct Written {
    /// Its name.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What the capture cost.
    pub cost: Cost,
}

/// Writes batches until their sender is gone. `metadata` is called at the end, with the number of rows that
/// came too late to be put in order.
pub fn run(
    output: Output,
    batches: &Receiver<Batch>,
    clock: Clock,
    metadata: impl FnOnce(u64) -> Metadata,
) -> Result<Written, Error> {
    let Output { path, partial, file } = output;
    let create = |source| Error::Create { path: path.clone(), source };
    let spare = file.try_clone().map_err(create)?;
    let write = |source| Error::Write { path: path.clone(), source };
    let mut writer = EventWriter::new(file, clock).map_err(write)?;
    let mut order = Order::default();
    let filled = fill(&mut writer, &mut order, batches);
    let metadata = metadata(order.late());
    if let Err(source) = filled.and_then(|()| writer.finish(&metadata)) {
        return Err(match writer.salvage(&spare, &metadata) {
            Ok(rows) if rows > 0 => {
                fs::rename(&partial, &path).map_err(create)?;
                Error::CutShort { path, source, rows }
            }
            _ => {
                // There is nothing in it, and the disk may need the room.
                let _ = fs::remove_file(&partial);
                Error::Write { path, source }
            }
        });
    }
    spare.sync_all().and_then(|()| fs::rename(&partial, &path)).map_err(create)?;
    let bytes = spare.metadata().map_or(0, |metadata| metadata.len());
    Ok(Written { path, bytes, cost: metadata.cost })
}

fn fill(
    writer: &mut EventWriter<File>,
    order: &mut Order,
    batches: &Receiver<Batch>,
) -> Result<(), file::Error> {
    for batch in batches {
        let drained_ns = batch.drained_ns;
        order.push(batch);
        order.release(drained_ns, |event| writer.push(event))?;
    }
    order.finish(|event| writer.push(event))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_place_that_another_capture_claims_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.parquet");
        let first = Output::create(&path, false).unwrap();
        assert!(matches!(Output::create(&path, false), Err(Error::Exists(taken)) if taken == first.partial));
        first.discard();
        assert!(Output::create(&path, false).is_ok());
    }

    #[test]
    fn a_link_in_the_place_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.parquet");
        let precious = folder.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        symlink(&precious, folder.path().join("run.parquet.partial")).unwrap();
        assert!(matches!(Output::create(&path, false), Err(Error::Exists(_))));
        let output = Output::create(&path, true).unwrap();
        assert!(!fs::symlink_metadata(&output.partial).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
}
