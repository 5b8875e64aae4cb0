//! Whose events are captured, and what is known of them.

mod cgroup;
mod facts;
mod ports;
mod runtime;
mod sockets;
mod survey;
mod tracker;

pub use cgroup::{Cgroup, InvalidCgroup};
pub use facts::Facts;
pub use ports::{InvalidPorts, Ports};
pub use runtime::Runtime;
pub use sockets::{Connections, FoundSocket, Marks, mark};
pub use tracker::{Error, Found, Tracker};

use globset::{Glob, GlobMatcher};

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

/// A pattern for the path of an executable.
#[derive(Clone, Debug)]
pub struct Executable(GlobMatcher);

impl Executable {
    /// Whether the whole path matches, or its last component when the pattern has no slash.
    fn matches(&self, path: &std::path::Path) -> bool {
        let path = if self.0.glob().glob().contains('/') {
            path
        } else {
            path.file_name().unwrap_or_default().as_ref()
        };
        self.0.is_match(path)
    }
}

impl std::str::FromStr for Executable {
    type Err = globset::Error;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        Ok(Self(Glob::new(pattern)?.compile_matcher()))
    }
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
        let executables = self.executables.iter().map(|pattern| format!("exe {}", pattern.0.glob()));
        let cgroups = self.cgroups.iter().map(|cgroup| format!("cgroup {}", cgroup.path.display()));
        let command = (!self.command.is_empty()).then(|| format!("command {}", self.command.join(" ")));
        ports.into_iter().chain(pids).chain(executables).chain(cgroups).chain(command).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Executable;

    #[test]
    fn patterns_match_names_or_whole_paths() {
        let matches =
            |pattern: &str, path: &str| pattern.parse::<Executable>().unwrap().matches(Path::new(path));
        assert!(matches("nginx", "/usr/sbin/nginx"));
        assert!(matches("python3*", "/usr/bin/python3.11"));
        assert!(matches("/usr/*/nginx", "/usr/sbin/nginx"));
        assert!(matches("*/nginx", "/usr/sbin/nginx"));
        assert!(!matches("nginx", "/usr/sbin/nginx-debug"));
        assert!(!matches("/opt/*", "/usr/sbin/nginx"));
        assert!("[".parse::<Executable>().is_err());
    }
}
