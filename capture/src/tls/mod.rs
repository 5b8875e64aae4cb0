//! Plaintext of TLS: finds the libraries that processes use and attaches kernel programs to their functions.
//!
//! `mapped` lists the files of a process, `plan` says what is attached to each, `openssl` and `go` know the
//! libraries. `attacher` does it, in a process of its own that keeps the privilege this takes and sees no payload;
//! `watch` asks it to, on a thread of the recorder, whenever a target appears or may have loaded something.

mod attacher;
pub(crate) mod go;
mod mapped;
mod openssl;
mod plan;
mod watch;

use std::path::PathBuf;

pub use attacher::{SUBCOMMAND, serve};
use plan::Content;
pub use plan::Program;
pub use watch::{Attacher, Change, Found, Watch, probes};

/// A library that a process has loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name in files.
    pub name: &'static str,
    /// Its file, or the program that brings it along.
    pub file: PathBuf,
    /// Why its plaintext will not be seen.
    pub unseen: Option<String>,
}

/// The TLS libraries that a process has loaded so far. None when it cannot be looked at.
pub fn libraries(pid: u32) -> Option<Vec<Library>> {
    let files = mapped::files(pid)?.into_iter();
    let library = |file: mapped::Mapped| {
        let (name, unseen) = match plan::of(&file.name, &file.path) {
            Content::Nothing => return None,
            Content::Seen(plan) => (plan.library, None),
            Content::Unseen { library, why } => (library, Some(why)),
        };
        Some(Library { name, file: file.name, unseen })
    };
    Some(files.filter_map(library).collect())
}
