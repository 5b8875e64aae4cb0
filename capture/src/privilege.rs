//! Gives privileges up: all of them in the recorder, before it looks at the first payload byte; all but those
//! that looking at other processes needs in the loader, and attaching to them in the attacher.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, fchown},
    path::{Path, PathBuf},
};

use caps::{CapSet, Capability, CapsHashSet};
use nix::{
    sys::prctl::set_no_new_privs,
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};

/// Why privileges cannot be given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Without privileges the file could not be finished.
    #[error(
        "cannot write {0} without the privileges that the recorder gives up before it looks at any data: choose a folder that is yours"
    )]
    Folder(PathBuf),
    /// The kernel refused.
    #[error("cannot give up privileges: {0}")]
    Refused(#[source] io::Error),
}

/// Who the recorder is once it has given up its privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    user: Uid,
    group: Gid,
}

impl Identity {
    /// The user behind sudo if that user can make files beside `output`, else the present one.
    pub fn for_output(output: &Path) -> Result<Self, Error> {
        let present = Self { user: Uid::effective(), group: Gid::effective() };
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
        // That it is missing is the output's to tell.
        let Ok(metadata) = fs::metadata(folder.unwrap_or(Path::new("."))) else { return Ok(present) };
        let writes = |identity: &Self| {
            let mode = metadata.mode();
            let class = if metadata.uid() == identity.user.as_raw() {
                6
            } else if metadata.gid() == identity.group.as_raw() {
                3
            } else {
                0
            };
            mode >> class & 0b11 == 0b11
        };
        let found = invoking_user().into_iter().chain([present]).find(writes);
        found.ok_or_else(|| Error::Folder(output.to_owned()))
    }

    /// The user behind sudo, else the present one.
    pub fn of_user() -> Self {
        invoking_user().unwrap_or(Self { user: Uid::effective(), group: Gid::effective() })
    }

    /// Becomes this identity without any capability, for good: also programs that this process runs get none.
    pub fn assume(self) -> Result<(), Error> {
        let Self { user, group } = self;
        if user != Uid::effective() {
            setgroups(&[group])
                .and_then(|()| setresgid(group, group, group))
                .and_then(|()| setresuid(user, user, user))
                .map_err(|error| Error::Refused(error.into()))?;
        }
        keep(&[]).map_err(Error::Refused)
    }
}

/// The user who called sudo.
fn invoking_user() -> Option<Identity> {
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let user =
        || Some(Identity { user: Uid::from_raw(id("SUDO_UID")?), group: Gid::from_raw(id("SUDO_GID")?) });
    Uid::effective().is_root().then(user).flatten()
}

/// A file that sudo wrote belongs to who called sudo. Where that fails it stays root's.
pub fn give_to_invoking_user(file: &File) {
    if let Some(Identity { user, group }) = invoking_user() {
        let _ = fchown(file, Some(user.as_raw()), Some(group.as_raw()));
    }
}

/// What it takes to read /proc of other users' processes and to borrow their sockets.
const TO_LOOK: &[Capability] = &[Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];

/// Keeps what the loader needs, as far as it is there.
pub fn keep_to_look() -> io::Result<()> {
    keep(TO_LOOK)
}

/// What it takes to attach programs to functions of other users' processes.
const TO_ATTACH: &[Capability] =
    &[Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];

/// Keeps what the attacher needs, as far as it is there.
pub fn keep_to_attach() -> io::Result<()> {
    keep(TO_ATTACH)
}

/// Whether this process may attach programs to functions of others.
pub fn can_attach() -> bool {
    capabilities().contains(&Capability::CAP_SYS_ADMIN)
}

/// Keeps those of `wanted` that this thread has. The program must not have other threads yet.
fn keep(wanted: &[Capability]) -> io::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let kept: CapsHashSet = wanted.iter().copied().filter(|wanted| permitted.contains(wanted)).collect();
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    // Takes CAP_SETPCAP. Without it no new privileges, below, does the same for every program that is started.
    let _ = caps::clear(None, CapSet::Bounding);
    caps::clear(None, CapSet::Inheritable).map_err(io::Error::other)?;
    caps::set(None, CapSet::Effective, &kept).map_err(io::Error::other)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(io::Error::other)?;
    set_no_new_privs()?;
    Ok(())
}

/// The capabilities that this process has.
pub fn capabilities() -> CapsHashSet {
    caps::read(None, CapSet::Effective).unwrap_or_default()
}
