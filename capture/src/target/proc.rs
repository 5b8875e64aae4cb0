//! What /proc tells about processes and the sockets they listen on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    iter,
    net::SocketAddr,
    path::PathBuf,
};

use procfs::{
    net::TcpState,
    process::{FDTarget, Process, all_processes},
};

use super::Ports;

/// What is known of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Path of its executable; empty when it is gone.
    pub executable: PathBuf,
    /// Name to report it under: the file name of the executable.
    pub service: String,
    /// Its arguments, separated by blanks.
    pub command_line: String,
    /// Path of its control group.
    pub cgroup: String,
    /// Id of its container; empty outside of containers.
    pub container: String,
    /// What runs it: `go`, `node`, ...; empty when not known.
    pub runtime: &'static str,
    /// When it started, nanoseconds since 1970-01-01 UTC.
    pub started_ns: Option<i64>,
    /// The process that started it; 0 when it is gone.
    pub parent: u32,
}

impl Facts {
    /// Looks a process up; what cannot be found stays empty.
    pub fn of(pid: u32) -> Self {
        let Some(process) = open(pid) else { return Self::default() };
        let executable = process.exe().unwrap_or_default();
        // The kernel adds this to the path of an executable that was replaced while it runs.
        let name = executable.file_name().unwrap_or_default().to_string_lossy();
        let service = name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned();
        let parent = process.stat().map_or(0, |stat| stat.ppid.unsigned_abs());
        Self { executable, service, parent, ..Self::default() }
    }
}

fn open(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

/// A socket that a process listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    /// Number of the descriptor in its process.
    pub(super) fd: i32,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

/// The sockets the process listens on. Empty when it is gone or may not be looked at.
pub(super) fn listeners(pid: u32) -> Vec<Listener> {
    open(pid).map(|process| process_listeners(&process, &mut HashMap::new())).unwrap_or_default()
}

/// Listening addresses by inode, for each network namespace.
type Namespaces = HashMap<u64, HashMap<u64, SocketAddr>>;

fn process_listeners(process: &Process, namespaces: &mut Namespaces) -> Vec<Listener> {
    let Ok(fds) = process.fd() else { return Vec::new() };
    let mut sockets = fds.flatten().filter_map(|fd| match fd.target {
        FDTarget::Socket(inode) => Some((fd.fd, inode)),
        _ => None,
    });
    // Most processes have no socket: their namespace does not matter.
    let Some(first) = sockets.next() else { return Vec::new() };
    let namespace = process
        .namespaces()
        .ok()
        .and_then(|namespaces| Some(namespaces.0.get(OsStr::new("net"))?.identifier))
        .unwrap_or(0);
    let addresses = namespaces.entry(namespace).or_insert_with(|| listening(process));
    let listener = |(fd, inode)| addresses.get(&inode).map(|&address| Listener { fd, address });
    iter::once(first).chain(sockets).filter_map(listener).collect()
}

fn listening(process: &Process) -> HashMap<u64, SocketAddr> {
    let entries = [process.tcp(), process.tcp6()].into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.state == TcpState::Listen)
        .map(|entry| (entry.inode, entry.local_address))
        .collect()
}

/// Every process: its parent, and whether `choose` wants it.
pub(super) struct Survey {
    parents: BTreeMap<u32, u32>,
    chosen: BTreeSet<u32>,
}

impl Survey {
    /// Looks at every process once and chooses those that listen on one of `ports` or that `choose` wants.
    pub(super) fn take(ports: &Ports, mut choose: impl FnMut(u32, &Process) -> bool) -> Self {
        let mut survey = Self { parents: BTreeMap::new(), chosen: BTreeSet::new() };
        let mut namespaces = Namespaces::new();
        // Processes come and go while we look: whatever cannot be read is not there any more.
        for process in all_processes().into_iter().flatten().flatten() {
            let pid = process.pid.unsigned_abs();
            let Ok(stat) = process.stat() else { continue };
            survey.parents.insert(pid, stat.ppid.unsigned_abs());
            let serves = |namespaces| {
                let listeners = process_listeners(&process, namespaces);
                listeners.iter().any(|listener| ports.contains(listener.address.port()))
            };
            if choose(pid, &process) || (!ports.is_empty() && serves(&mut namespaces)) {
                survey.chosen.insert(pid);
            }
        }
        survey
    }

    /// The chosen processes and all their descendants, in ascending order.
    pub(super) fn targets(&self) -> BTreeSet<u32> {
        let is_target = |pid: u32| {
            let ancestors = iter::successors(Some(pid), |pid| self.parents.get(pid).copied());
            // A parent is older than its child, but process ids wrap around: never follow a circle.
            ancestors.take(self.parents.len() + 1).any(|pid| self.chosen.contains(&pid))
        };
        self.parents.keys().copied().filter(|&pid| is_target(pid)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_process_is_found_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let me = std::process::id();
        assert!(listeners(me).iter().any(|listener| listener.address == address));
        let ports: Ports = address.port().to_string().parse().unwrap();
        assert!(Survey::take(&ports, |_, _| false).targets().contains(&me));
        drop(listener);
        assert!(!Survey::take(&ports, |_, _| false).targets().contains(&me));
    }

    #[test]
    fn descendants_of_a_target_are_targets() {
        let survey = Survey {
            parents: [(1, 0), (2, 1), (3, 2), (4, 3), (5, 1), (7, 8), (8, 7)].into(),
            chosen: [2].into(),
        };
        assert_eq!(survey.targets(), [2, 3, 4].into());
    }

    #[test]
    fn a_process_that_is_gone_has_no_facts() {
        assert_eq!(Facts::of(u32::MAX), Facts::default());
        assert!(Facts::of(std::process::id()).parent > 0);
    }
}
