//! One look at all processes: whose child each is, and which are chosen.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use procfs::process::{Process, all_processes};

use super::{
    Ports,
    sockets::{self, Namespaces},
};

/// Every process: its parent, and whether it was chosen.
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
                let sockets = sockets::of_process(&process, namespaces);
                sockets.iter().any(|socket| socket.remote.is_none() && ports.contains(socket.local.port()))
            };
            if choose(pid, &process) || (!ports.is_empty() && serves(&mut namespaces)) {
                survey.chosen.insert(pid);
            }
        }
        survey
    }

    /// The chosen processes and all their descendants.
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
        let ports: Ports = listener.local_addr().unwrap().port().to_string().parse().unwrap();
        let me = std::process::id();
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
}
