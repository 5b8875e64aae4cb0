//! The part of the recorder that keeps privileges.
//!
//! Once the probes are attached the recorder gives up all of its own (`privilege`). Processes that become targets later
//! have to be looked at all the same, and with more rights than it then has: for that it starts a `helper`, which
//! reads /proc, marks sockets in the kernel's memory of them, ends the command that the recorder started, and does
//! nothing else. It sees no event and no payload.

pub(crate) mod helper;
mod serve;

pub use serve::serve;

use std::{io, os::fd::OwnedFd};

use helper::Helper;
use serde::{Deserialize, Serialize};

use crate::target::{Facts, FoundSocket, Marks, mark};

/// Name of the subcommand that runs the loader.
pub const SUBCOMMAND: &str = "loader";

/// What the recorder asks for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Request {
    /// Nothing: the answer says that it has given up what it does not need.
    Ready,
    /// What is known of a process: [`Facts`].
    Facts(u32),
    /// Mark its sockets: a list of [`FoundSocket`].
    Mark(u32),
    /// End the command that the recorder started.
    EndCommand,
}

/// Looks at processes: with the rights of this process, or through a loader.
#[derive(Debug)]
pub enum Eyes {
    /// This process has the rights.
    Own(Marks),
    /// It had them.
    Loader(Loader),
}

impl Eyes {
    /// What is known of a process; nothing when it cannot be looked at.
    pub fn facts(&mut self, pid: u32) -> Facts {
        match self {
            Self::Own(_) => Facts::of(pid),
            // Without a loader there is what everybody may see.
            Self::Loader(loader) => loader.0.ask(&Request::Facts(pid)).unwrap_or_else(|_| Facts::of(pid)),
        }
    }

    /// Marks the sockets of a process, and returns those that the kernel programs did not know.
    pub fn mark(&mut self, pid: u32) -> Vec<FoundSocket> {
        match self {
            Self::Own(marks) => mark(pid, marks),
            Self::Loader(loader) => loader.0.ask(&Request::Mark(pid)).unwrap_or_default(),
        }
    }

    /// Ends the command that the recorder started, politely.
    pub fn end_command(&mut self) -> io::Result<()> {
        match self {
            Self::Own(_) => Ok(()),
            Self::Loader(loader) => loader.0.ask(&Request::EndCommand),
        }
    }

    /// Whether the process is a part of the recorder.
    pub fn is_ours(&self, pid: u32) -> bool {
        pid == std::process::id() || matches!(self, Self::Loader(loader) if loader.pid() == pid)
    }
}

/// The recorder's end of a loader. The loader ends when this is dropped.
#[derive(Debug)]
pub struct Loader(Helper);

impl Loader {
    /// Starts a loader that uses the map `marks`, and may end the process `command`.
    pub fn start(marks: OwnedFd, command: Option<u32>) -> io::Result<Self> {
        let command = command.map(|pid| pid.to_string());
        let mut loader = Self(Helper::start(SUBCOMMAND, command, Some(marks))?);
        loader.0.ask::<()>(&Request::Ready)?;
        Ok(loader)
    }

    /// The loader's process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.0.end();
    }
}
