//! Keeps the kernel's table of targets in step with the selectors.
//!
//! The kernel programs follow forks and new listeners of selected ports on their own; this is for what was
//! there before the capture, for programs that are started later and match a pattern, and for what is told of
//! each target.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aya::maps::MapError;
use beyla_schema::wire::{self, Change, Target};

use super::{Connections, Facts, FoundSocket, Selectors, survey::Survey};
use crate::{
    host,
    loader::Eyes,
    probe::{Sessions, Targets},
    tls::{self, Watch},
};

/// Why a process cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--pid` of nobody.
    #[error("no process has the id {0}")]
    NoProcess(u32),
    /// The kernel refused.
    #[error("cannot make process {pid} a target: {source}")]
    Map {
        /// The process.
        pid: u32,
        /// The kernel's reason.
        source: MapError,
    },
}

/// The targets and what is known of them.
pub struct Tracker {
    selectors: Selectors,
    /// What the user calls all of them.
    service: Option<String>,
    targets: Targets,
    /// What the kernel programs remember of connections, where that is in a table.
    connections: Option<Connections>,
    /// Looks at processes.
    pub eyes: Eyes,
    /// Has programs attached to their TLS libraries, where that is wanted and possible.
    pub watch: Option<Watch>,
    /// What the kernel programs remember of TLS sessions.
    sessions: Sessions,
    found_ns: u64,
    known: BTreeMap<u32, Facts>,
    /// Sockets of the targets found so far, until they are told.
    sockets: Vec<(u32, FoundSocket)>,
    count: Arc<AtomicUsize>,
}

/// What is found out when a target appears or changes.
#[derive(Debug, Default)]
pub struct Found {
    /// The process.
    pub facts: Facts,
    /// Its sockets that nobody knew of.
    pub sockets: Vec<FoundSocket>,
}

impl Tracker {
    /// Nobody is a target yet. All that will be are reported under the name `service`, if there is one.
    pub fn new(
        selectors: Selectors,
        service: Option<String>,
        targets: Targets,
        eyes: Eyes,
        connections: Option<Connections>,
        sessions: Sessions,
    ) -> Self {
        let (known, sockets) = (BTreeMap::new(), Vec::new());
        Self {
            selectors,
            service,
            targets,
            connections,
            eyes,
            watch: None,
            sessions,
            found_ns: host::monotonic_ns(),
            known,
            sockets,
            count: Arc::default(),
        }
    }

    /// How many processes are targets, for whoever wants to watch.
    pub fn count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.count)
    }

    /// When the search for targets began.
    pub fn found_ns(&self) -> u64 {
        self.found_ns
    }

    /// The targets so far.
    pub fn known(&self) -> &BTreeMap<u32, Facts> {
        &self.known
    }

    /// The sockets that the targets had when they were found, each with its process. They are told once.
    pub fn take_sockets(&mut self) -> Vec<(u32, FoundSocket)> {
        std::mem::take(&mut self.sockets)
    }

    /// Makes everything a target that is selected and already running.
    pub fn find(&mut self) -> Result<(), Error> {
        for &pid in &self.selectors.pids {
            if self.eyes.facts(pid) == Facts::default() {
                return Err(Error::NoProcess(pid));
            }
        }
        // A target may fork between the look at it and its entry in the table, from where on the kernel follows
        // it: look again. Twice is enough, since those found later have parents that are in the table.
        for _ in 0..2 {
            let mut targets = self.survey();
            targets.retain(|pid| !self.is_ours(*pid) && !self.known.contains_key(pid));
            for pid in targets {
                let facts = self.facts(pid);
                let sockets = self.add(pid, facts, tls::Change::Began(pid))?;
                self.sockets.extend(sockets.into_iter().map(|socket| (pid, socket)));
            }
        }
        Ok(())
    }

    /// What is known of a process, and what the user calls it.
    fn facts(&mut self, pid: u32) -> Facts {
        self.eyes.facts(pid).called(self.service.as_deref())
    }

    /// Every process that is selected now.
    fn survey(&self) -> BTreeSet<u32> {
        let Selectors { ports, pids, executables, cgroups, .. } = &self.selectors;
        let survey = Survey::take(ports, |pid, process| {
            pids.contains(&pid)
                || cgroups.iter().any(|cgroup| cgroup.contains(process))
                || (!executables.is_empty() && process.exe().is_ok_and(|path| self.matches(&path)))
        });
        survey.targets()
    }

    /// Runs `start` so that the process it starts is a target from its first instruction: the kernel
    /// follows the forks of targets, and for that moment this process is one.
    pub fn adopt_child<T>(&mut self, start: impl FnOnce() -> T) -> Result<T, Error> {
        let me = std::process::id();
        self.targets.insert(me, Target::NEW.0, 0).map_err(|source| Error::Map { pid: me, source })?;
        let started = start();
        self.targets.remove(&me).map_err(|source| Error::Map { pid: me, source })?;
        Ok(started)
    }

    /// Follows a change that the kernel reports. What is found if the process is, or was, a target.
    pub fn changed(&mut self, record: &wire::Process) -> Option<Found> {
        let pid = record.head.pid;
        if record.change == Change::Exit as u8 {
            let facts = self.known.remove(&pid).unwrap_or_default();
            self.forget_sessions(pid);
            self.count.store(self.known.len(), Ordering::Relaxed);
            return Some(Found { facts, sockets: Vec::new() });
        }
        if self.is_ours(pid) {
            // In a selected control group the kernel programs cannot tell it from others. That it was one for a
            // moment is told like everything that has a number.
            let _ = self.targets.remove(&pid);
            return Some(Found { facts: self.facts(pid), sockets: Vec::new() });
        }
        let mut facts = self.facts(pid);
        let is_stranger = record.head.seq == wire::UNNUMBERED;
        if is_stranger && !self.known.contains_key(&pid) && !self.matches(&facts.executable) {
            return None;
        }
        if facts == Facts::default()
            && let Some(parent) = self.known.get(&record.parent)
        {
            // It has ended already, and ran what its parent runs.
            facts = Facts { parent: record.parent, ..parent.clone() };
        }
        // A table that is full is counted by the kernel side whenever it matters; here the process is
        // at least named.
        let forked = record.change == Change::Start as u8;
        let change = if forked { tls::Change::Forked(pid) } else { tls::Change::Began(pid) };
        let sockets = self.add(pid, facts.clone(), change).unwrap_or_default();
        Some(Found { facts, sockets })
    }

    /// Nobody is a target any more: programs that are still attached to TLS libraries see nothing.
    pub fn release(&mut self) {
        let pids: Vec<_> = self.targets.keys().flatten().collect();
        for pid in pids {
            // It may have ended just now.
            let _ = self.targets.remove(&pid);
        }
        self.watch = None;
    }

    /// Whether the process is a part of the recorder.
    fn is_ours(&self, pid: u32) -> bool {
        self.eyes.is_ours(pid) || self.watch.as_ref().is_some_and(|watch| watch.pid() == pid)
    }

    /// Forgets the TLS sessions of a process that has ended without ending them.
    fn forget_sessions(&mut self, pid: u32) {
        let Some(watch) = &self.watch else { return };
        watch.tell(tls::Change::Ended(pid));
        let keys: Vec<_> = self.sessions.keys().flatten().filter(|key| key[0] == u64::from(pid)).collect();
        for key in keys {
            let _ = self.sessions.remove(&key);
        }
    }

    fn matches(&self, executable: &std::path::Path) -> bool {
        self.selectors.executables.iter().any(|pattern| pattern.matches(executable))
    }

    /// Makes a process a target, and marks the sockets it already has.
    fn add(&mut self, pid: u32, facts: Facts, change: tls::Change) -> Result<Vec<FoundSocket>, Error> {
        let target = facts.goid_offset.map_or(Target::NEW, Target::go);
        self.targets.insert(pid, target.0, 0).map_err(|source| Error::Map { pid, source })?;
        let mut sockets = self.eyes.mark(pid);
        if let Some(connections) = &mut self.connections {
            // What the kernel programs have told meanwhile is not told again.
            sockets.retain(|socket| socket.remote.is_none() || socket.remember(connections).is_ok());
        }
        if let Some(watch) = &self.watch {
            watch.tell(change);
        }
        self.known.insert(pid, facts);
        self.count.store(self.known.len(), Ordering::Relaxed);
        Ok(sockets)
    }
}
