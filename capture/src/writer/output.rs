//! The places of files: claimed before anything is captured, given up or filled in the end.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use beyla_schema::file::Names;

use super::Error;
use crate::privilege;

/// Where a capture is written to: one file, or the parts of one.
pub struct Output {
    path: PathBuf,
    rotated: bool,
    pub(super) first: Claim,
    /// Parts of an earlier capture that this one replaces.
    stale: Vec<Names>,
}

/// The place of one file, and the two files that stand for it until it is finished.
pub(super) struct Claim {
    pub(super) names: Names,
    pub(super) partial: File,
    pub(super) journal: File,
}

impl Output {
    /// Claims `path`, or the places of its parts. Only their owner may read them: they hold what the service said.
    pub fn create(path: &Path, rotated: bool, force: bool) -> Result<Self, Error> {
        let mut stale = if rotated { parts_of(path) } else { Vec::new() };
        let first = Names::of(&if rotated { part(path, 1) } else { path.to_owned() });
        if !stale.contains(&first) {
            stale.push(first.clone());
        }
        for names in &stale {
            check(names, force)?;
        }
        let first = Claim::new(first)?;
        Ok(Self { path: path.to_owned(), rotated, first, stale })
    }

    /// Gives the place up again.
    pub fn discard(self) {
        self.first.discard();
    }

    /// Removes the parts of the capture before.
    pub(super) fn replace(&mut self) {
        for names in self.stale.drain(..).filter(|names| *names != self.first.names) {
            for file in [&names.path, &names.partial, &names.journal] {
                let _ = fs::remove_file(file);
            }
        }
        if self.rotated {
            let _ = fs::remove_file(&self.first.names.path);
        }
    }

    /// Which part the first file is; None when it is all.
    pub(super) fn part(&self) -> Option<u32> {
        self.rotated.then_some(1)
    }

    /// The name that was asked for.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a place is free, or may be taken.
fn check(names: &Names, force: bool) -> Result<(), Error> {
    // A device would be replaced by the file: as root, even /dev/null.
    if let Ok(found) = fs::metadata(&names.path)
        && !found.is_file()
    {
        let source = if found.is_dir() {
            io::ErrorKind::IsADirectory.into()
        } else {
            io::Error::other("a recording is a file: this is a device or a pipe")
        };
        return Err(Error::Create { path: names.path.clone(), source });
    }
    if is_being_written(names) {
        return Err(Error::Busy(names.path.clone()));
    }
    if force {
        return Ok(());
    }
    if names.unfinished() {
        return Err(Error::Left(names.path.clone()));
    }
    if names.path.exists() { Err(Error::Exists(names.path.clone())) } else { Ok(()) }
}

/// Whether a capture that runs holds the place: the lock on the partial file ends with its process.
pub(crate) fn is_being_written(names: &Names) -> bool {
    let locked = |file: File| matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    // A link is not followed: what is behind it is none of ours.
    !names.partial.is_symlink() && File::open(&names.partial).is_ok_and(locked)
}

impl Claim {
    /// Makes new files, never ones that are there or that a link points to: this may run as root.
    pub(super) fn new(names: Names) -> Result<Self, Error> {
        let new = |file: &Path| -> io::Result<File> {
            remove(file)?;
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(file)?;
            privilege::give_to_invoking_user(&file);
            Ok(file)
        };
        let both = || {
            let partial = new(&names.partial)?;
            // Nobody else has it, or the filesystem knows no locks.
            let _ = partial.try_lock();
            Ok((partial, new(&names.journal)?))
        };
        match both() {
            Ok((partial, journal)) => Ok(Self { names, partial, journal }),
            Err(source) => Err(Error::Create { path: names.path, source }),
        }
    }

    pub(super) fn discard(self) {
        // Nothing was written that anybody could miss.
        let _ = fs::remove_file(self.names.partial);
        let _ = fs::remove_file(self.names.journal);
    }
}

/// Removes a file that may not be there.
pub(crate) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Moves a finished file to its place. Returns its size.
pub(super) fn publish(file: &File, names: &Names) -> io::Result<u64> {
    file.sync_all()?;
    fs::rename(&names.partial, &names.path)?;
    remove(&names.journal)?;
    Ok(file.metadata()?.len())
}

/// The name of a part: `run.0001.parquet` of `run.parquet`.
pub(super) fn part(path: &Path, number: u32) -> PathBuf {
    path.with_file_name(named(path, OsStr::new(&format!("{number:04}"))))
}

/// The name of all parts, as a shell would match them: `run.*.parquet`.
pub(super) fn all_parts(path: &Path) -> PathBuf {
    path.with_file_name(named(path, OsStr::new("*")))
}

fn named(path: &Path, part: &OsStr) -> OsString {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".");
    name.push(part);
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    name
}

/// The parts there are of a capture that was written to `path`, finished or not, by their number.
pub(crate) fn parts_of(path: &Path) -> Vec<Names> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let number = |name: &Path| -> Option<u32> {
        let name = Names::of(name).path;
        let stem = if path.extension().is_some() { name.file_stem()? } else { name.file_name()? };
        let number = Path::new(stem).extension()?.to_str()?.parse().ok()?;
        (part(path, number).file_name() == name.file_name()).then_some(number)
    };
    let names = entries.flatten().map(|entry| PathBuf::from(entry.file_name()));
    let mut numbers: Vec<_> = names.filter_map(|name| number(&name)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().map(|number| Names::of(&part(path, number))).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn a_place_that_another_capture_claims_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.parquet");
        let first = Output::create(&path, false, false).unwrap();
        for force in [false, true] {
            assert!(matches!(Output::create(&path, false, force), Err(Error::Busy(taken)) if taken == path));
        }
        first.discard();
        let killed = Output::create(&path, false, false).unwrap();
        drop(killed);
        assert!(matches!(Output::create(&path, false, false), Err(Error::Left(taken)) if taken == path));
        assert!(Output::create(&path, false, true).is_ok());
    }

    #[test]
    fn a_link_in_the_place_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.parquet");
        let precious = folder.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        for end in ["partial", "journal"] {
            symlink(&precious, folder.path().join(format!("run.parquet.{end}"))).unwrap();
        }
        assert!(matches!(Output::create(&path, false, false), Err(Error::Left(_))));
        let Claim { names, .. } = Output::create(&path, false, true).unwrap().first;
        assert!(!names.partial.is_symlink() && !names.journal.is_symlink());
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _socket = UnixListener::bind(&path).unwrap();
        for force in [false, true] {
            assert!(matches!(Output::create(&path, false, force), Err(Error::Create { .. })));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn parts_are_known_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.parquet");
        let files = [
            "run.0002.parquet",
            "run.10000.parquet",
            "run.0003.parquet.partial",
            "run.0003.parquet.journal",
            "run.parquet",
            "run.1.parquet",
            "run.0001.csv",
            "runs.0001.parquet",
            "run.x.parquet",
        ];
        for file in files {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let parts: Vec<_> = parts_of(&path).into_iter().map(|names| names.path).collect();
        assert_eq!(parts, [2, 3, 10000].map(|number| part(&path, number)));
        assert_eq!(part(Path::new("a/run"), 7), Path::new("a/run.0007"));
        assert_eq!(all_parts(Path::new("run.parquet")), Path::new("run.*.parquet"));
        // Nothing of them is touched before the new capture records.
        assert!(matches!(Output::create(&path, true, false), Err(Error::Exists(_))));
        let mut output = Output::create(&path, true, true).unwrap();
        assert_eq!(parts_of(&path).len(), 4);
        output.replace();
        assert_eq!(parts_of(&path), [Names::of(&part(&path, 1))]);
        assert!(path.exists());
    }
}
