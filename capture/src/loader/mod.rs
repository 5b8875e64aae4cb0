//! The part of the recorder that keeps privileges.
//!
//! Once the probes are attached the recorder gives up all of its own (`privilege`). Processes that become targets later
//! have to be looked at all the same, and with more rights than it then has: for that it starts this program once
//! more as a small process, which reads /proc, marks sockets in the kernel's memory of them, ends the command that
//! the recorder started, and does nothing else. It sees no event and no payload. The two talk over a socket, a line
//! of JSON each way; when the recorder is gone, the socket ends and so does the loader.

mod serve;

pub use serve::serve;

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream, unix::process::CommandExt as _},
    process::{Child, Command, Stdio},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

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
            Self::Loader(loader) => loader.ask(Request::Facts(pid)).unwrap_or_else(|_| Facts::of(pid)),
        }
    }

    /// Marks the sockets of a process, and returns those that the kernel programs did not know.
    pub fn mark(&mut self, pid: u32) -> Vec<FoundSocket> {
        match self {
            Self::Own(marks) => mark(pid, marks),
            Self::Loader(loader) => loader.ask(Request::Mark(pid)).unwrap_or_default(),
        }
    }

    /// Ends the command that the recorder started, politely.
    pub fn end_command(&mut self) -> io::Result<()> {
        match self {
            Self::Own(_) => Ok(()),
            Self::Loader(loader) => loader.ask(Request::EndCommand),
        }
    }

    /// Whether the process is a part of the recorder.
    pub fn is_ours(&self, pid: u32) -> bool {
        pid == std::process::id() || matches!(self, Self::Loader(loader) if loader.child.id() == pid)
    }
}

/// The recorder's end of a loader. The loader ends when this is dropped.
#[derive(Debug)]
pub struct Loader {
    child: Child,
    socket: BufReader<UnixStream>,
}

impl Loader {
    /// Starts a loader that uses the map `marks`, and may end the process `command`.
    pub fn start(marks: OwnedFd, command: Option<u32>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // Standard input and output are the two descriptors that a started program gets without further ado: the
        // socket, and the map.
        let mut loader = Command::new("/proc/self/exe");
        loader.arg0("beyla-capture").arg(SUBCOMMAND).args(command.map(|pid| pid.to_string()));
        // Ctrl-C is for the recorder, which still needs it then.
        loader.process_group(0);
        let child = loader.stdin(OwnedFd::from(theirs)).stdout(Stdio::from(marks)).spawn()?;
        // It holds the other end of the socket, which must end when the loader does.
        drop(loader);
        let mut loader = Self { child, socket: BufReader::new(ours) };
        loader.ask::<()>(Request::Ready)?;
        Ok(loader)
    }

    /// The loader's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn ask<T: DeserializeOwned>(&mut self, request: Request) -> io::Result<T> {
        let mut line = serde_json::to_string(&request)?;
        line.push('\n');
        self.socket.get_mut().write_all(line.as_bytes())?;
        line.clear();
        self.socket.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // The end of the socket ends it; then there is nothing left to say if it had failed.
        let _ = self.socket.get_ref().shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}
