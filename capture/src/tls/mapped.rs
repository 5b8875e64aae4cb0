//! The executable files that a process has mapped: its program and the libraries it has loaded so far.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use procfs::process::{MMPermissions, MMapPath, Process};

/// A file, whatever paths lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// A file that a process executes code of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) identity: Identity,
    /// Its path as the process has it.
    pub(super) name: PathBuf,
    /// Where it can be opened, also when it is in another mount namespace or deleted.
    pub(super) path: PathBuf,
}

/// The files of a process. None when it is gone or cannot be looked at.
pub(super) fn files(pid: u32) -> Option<Vec<Mapped>> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let mut files = BTreeMap::new();
    for map in process.maps().ok()? {
        let MMapPath::Path(name) = map.pathname else { continue };
        if map.perms.contains(MMPermissions::EXECUTE) && map.inode != 0 {
            let (start, end) = map.address;
            let path = PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
            files.entry((map.dev, map.inode)).or_insert((name, path));
        }
    }
    let mapped = files.into_values().filter_map(|(name, path)| {
        // Some file systems say another device number in the table of mappings than everywhere else.
        let metadata = fs::metadata(&path).ok()?;
        let identity = Identity { device: metadata.dev(), inode: metadata.ino() };
        Some(Mapped { identity, name, path })
    });
    Some(mapped.collect())
}
