//! Whose events are captured, and what is known of them.

mod cgroup;
mod executable;
mod facts;
mod ports;
mod runtime;
mod sockets;
mod survey;
mod tracker;

pub use cgroup::{Cgroup, InvalidCgroup};
pub use executable::Executable;
pub use facts::Facts;
pub(crate) use facts::percent_decoded;
pub use ports::{InvalidPorts, Ports};
pub use runtime::Runtime;
pub use sockets::{Connections, FoundSocket, Marks, mark};
pub use tracker::{Error, Found, Tracker};

/// What the user asked to capture. A process is a target when any of these chooses it.
#[derive(Clone, Debug, Default)]
pub struct Selectors {
    /// Processes that listen on one of these ports.
    pub ports: Ports,
    /// These processes.
    pub pids: Vec<u32>,
    /// Processes whose executable's path matches one of these patterns.
    pub executables: Vec<Executable>,
    /// Processes in these control groups and below.
    pub cgroups: Vec<Cgroup>,
    /// A command that the capture starts itself.
    pub command: Vec<String>,
}

impl Selectors {
    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
            && self.pids.is_empty()
            && self.executables.is_empty()
            && self.cgroups.is_empty()
            && self.command.is_empty()
    }

    /// One text for each selector, for people and for the file's metadata.
    pub fn describe(&self) -> Vec<String> {
        let ports = (!self.ports.is_empty()).then(|| format!("port {}", self.ports));
        let pids = self.pids.iter().map(|pid| format!("pid {pid}"));
        let executables = self.executables.iter().map(|pattern| format!("exe {pattern}"));
        let cgroups = self.cgroups.iter().map(|cgroup| format!("cgroup {}", cgroup.path.display()));
        let command = (!self.command.is_empty()).then(|| format!("command {}", self.command.join(" ")));
        ports.into_iter().chain(pids).chain(executables).chain(cgroups).chain(command).collect()
    }
}
