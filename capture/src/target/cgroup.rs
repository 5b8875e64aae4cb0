//! Control groups as a selector: `--cgroup /system.slice/nginx.service` chooses all processes in the group and
//! in the groups below it, now and later.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use procfs::process::Process;

/// A control group of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its path in the hierarchy, from the root.
    pub path: PathBuf,
    /// Its depth: 0 for the root.
    pub level: u32,
    /// What the kernel calls it: the inode of its folder.
    pub id: u64,
}

/// Not a control group.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCgroup {
    /// There is no unified hierarchy.
    #[error("no cgroup2 file system is mounted: control groups of version 1 cannot be selected")]
    NoHierarchy,
    /// Nothing of that name.
    #[error("{} is not a control group: name one below {}, such as /system.slice/nginx.service", .0.display(), .1.display())]
    Missing(PathBuf, PathBuf),
}

impl Cgroup {
    /// Whether the process is in this group or in one below it.
    pub(super) fn contains(&self, process: &Process) -> bool {
        let groups = process.cgroups().map(|groups| groups.0).unwrap_or_default();
        let unified = groups.iter().find(|group| group.hierarchy == 0);
        unified.is_some_and(|group| Path::new(&group.pathname).starts_with(&self.path))
    }
}

impl FromStr for Cgroup {
    type Err = InvalidCgroup;

    /// Takes the path within the hierarchy, or that of its folder in the file system.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mount = hierarchy().ok_or(InvalidCgroup::NoHierarchy)?;
        let given = Path::new(text);
        let inner = given.strip_prefix(&mount).unwrap_or(given);
        let names = inner.components().filter(|part| matches!(part, Component::Normal(_)));
        let inner: PathBuf = names.collect();
        let missing = || InvalidCgroup::Missing(given.to_owned(), mount.clone());
        let folder = fs::metadata(mount.join(&inner)).map_err(|_| missing())?;
        if !folder.is_dir() {
            return Err(missing());
        }
        let level = inner.components().count() as u32;
        Ok(Self { path: Path::new("/").join(inner), level, id: folder.ino() })
    }
}

/// Where the unified hierarchy is mounted.
fn hierarchy() -> Option<PathBuf> {
    let mounts = Process::myself().ok()?.mountinfo().ok()?;
    mounts.0.into_iter().find(|mount| mount.fs_type == "cgroup2").map(|mount| mount.mount_point)
}
