//! Keeps the kernel's table of targets in step with the selectors.
//!
//! The kernel programs follow forks and new listeners of selected ports on their own; this is for what was
//! there before the capture, and for programs that are started later and match a pattern.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aya::maps::{HashMap, MapData, MapError, SkStorage};
use beyla_schema::wire::{self, Change, State};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{Facts, Selectors, proc};

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
    targets: HashMap<MapData, u32, u8>,
    sockets: SkStorage<MapData, [u64; 6]>,
    known: BTreeMap<u32, Facts>,
    count: Arc<AtomicUsize>,
}

/// [`State`] of a listening socket that belongs to the capture, as the kernel lays it out.
const MARK: [u64; 6] = [0, 0, 0, 0, 0, (State::MARKED as u64) << 32];

impl Tracker {
    /// Nobody is a target yet.
    pub fn new(
        selectors: Selectors,
        targets: HashMap<MapData, u32, u8>,
        sockets: SkStorage<MapData, [u64; 6]>,
    ) -> Self {
        Self { selectors, targets, sockets, known: BTreeMap::new(), count: Arc::default() }
    }

    /// How many processes are targets, for whoever wants to watch.
    pub fn count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.count)
    }

    /// The targets so far.
    pub fn known(&self) -> &BTreeMap<u32, Facts> {
        &self.known
    }

    /// Makes everything a target that is selected and already running.
    pub fn find(&mut self) -> Result<(), Error> {
        for &pid in &self.selectors.pids {
            if Facts::of(pid) == Facts::default() {
                return Err(Error::NoProcess(pid));
            }
        }
        // A target may fork between the look at it and its entry in the table, from where on the kernel follows
        // it: look again. Twice is enough, since those found later have parents that are in the table.
        for _ in 0..2 {
            let mut targets = self.survey();
            targets.retain(|pid| *pid != std::process::id() && !self.known.contains_key(pid));
            for pid in targets {
                self.add(pid, Facts::of(pid))?;
            }
        }
        Ok(())
    }

    /// Every process that is selected now.
    fn survey(&self) -> BTreeSet<u32> {
        let Selectors { ports, pids, executables, .. } = &self.selectors;
        let survey = proc::Survey::take(ports, |pid, process| {
            pids.contains(&pid)
                || (!executables.is_empty() && process.exe().is_ok_and(|path| self.matches(&path)))
        });
        survey.targets()
    }

    /// Runs `start` so that the process it starts is a target from its first instruction: the kernel
    /// follows the forks of targets, and for that moment this process is one.
    pub fn adopt_child<T>(&mut self, start: impl FnOnce() -> T) -> Result<T, Error> {
        let me = std::process::id();
        self.targets.insert(me, 1, 0).map_err(|source| Error::Map { pid: me, source })?;
        let started = start();
        self.targets.remove(&me).map_err(|source| Error::Map { pid: me, source })?;
        Ok(started)
    }

    /// Follows a change that the kernel reports. The facts of the process if it is, or was, a target.
    pub fn changed(&mut self, record: &wire::Process) -> Option<Facts> {
        let pid = record.head.pid;
        if record.change == Change::Exit as u8 {
            let facts = self.known.remove(&pid);
            self.count.store(self.known.len(), Ordering::Relaxed);
            return Some(facts.unwrap_or_default());
        }
        let facts = Facts::of(pid);
        let is_stranger = record.head.seq == wire::UNNUMBERED;
        if is_stranger && !self.known.contains_key(&pid) && !self.matches(&facts.executable) {
            return None;
        }
        // A table that is full is counted by the kernel side whenever it matters; here the process is
        // at least named.
        let _ = self.add(pid, facts.clone());
        Some(facts)
    }

    fn matches(&self, executable: &std::path::Path) -> bool {
        self.selectors.executables.iter().any(|pattern| pattern.matches(executable))
    }

    /// Makes a process a target, and marks the sockets it already listens on.
    fn add(&mut self, pid: u32, facts: Facts) -> Result<(), Error> {
        self.targets.insert(pid, 1, 0).map_err(|source| Error::Map { pid, source })?;
        for listener in proc::listeners(pid) {
            // Without the mark, connections are known from their first byte instead of from the moment they
            // are established. A descriptor that was closed meanwhile needs no mark.
            if let Some(socket) = borrow(pid, listener.fd) {
                let _ = self.sockets.insert(&socket, MARK, 0);
            }
        }
        self.known.insert(pid, facts);
        self.count.store(self.known.len(), Ordering::Relaxed);
        Ok(())
    }
}

/// A descriptor of another process.
fn borrow(pid: u32, fd: i32) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process, fd, PidfdGetfdFlags::empty()).ok()
}
