//! Has the attacher look at targets: when they appear, and again while they may be loading libraries.
//!
//! A thread of the recorder. Nothing tells when a process loads a library, so it is looked at often while it is young,
//! and once a second later.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use beyla_schema::{file::Probe, wire::Target};

use super::{
    Program,
    attacher::{Attached, Request, SUBCOMMAND},
};
use crate::{loader::helper::Helper, probe::Targets};

/// Only what is there is changed (include/uapi/linux/bpf.h).
const BPF_EXIST: u64 = 2;

/// The first look at a process is at once, the next one soon, and then it takes twice as long each time ...
const SOON: Duration = Duration::from_millis(1);
/// ... up to this.
const LATER: Duration = Duration::from_secs(1);

/// A process that was forked has what its parent had. One that serves a single connection ends before anything is
/// attached, and the many of them should not cost much.
const FORKED: Duration = Duration::from_millis(20);

/// What happened to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It appeared, or runs another program from here on.
    Began(u32),
    /// A target forked it.
    Forked(u32),
    /// It is gone.
    Ended(u32),
}

/// What was attached and what could not be and why, once for each file.
pub type Found = Arc<Mutex<BTreeMap<String, Option<String>>>>;

/// The recorder's end of an attacher, which is to be started while the recorder has its privileges.
#[derive(Debug)]
pub struct Attacher {
    helper: Helper,
    map: Targets,
}

impl Attacher {
    /// Starts an attacher for the programs of these ids, in the order of [`Program::ALL`]. `map` is what the kernel
    /// programs know of targets.
    pub fn start(programs: &[u32], map: Targets) -> io::Result<Self> {
        debug_assert_eq!(programs.len(), Program::ALL.len());
        let mut helper = Helper::start(SUBCOMMAND, programs.iter().map(u32::to_string), None)?;
        helper.ask::<()>(&Request::Ready)?;
        Ok(Self { helper, map })
    }
}

/// Has an attacher look at targets. Both end when this is dropped.
#[derive(Debug)]
pub struct Watch {
    changes: Option<Sender<Change>>,
    thread: Option<JoinHandle<()>>,
    found: Found,
    attacher: u32,
}

impl Watch {
    /// Has the attacher look at the processes that are targets already, and then at others, on a thread that has the
    /// privileges of the caller. `say` is told, once for each file, what cannot be seen.
    pub fn start(
        attacher: Attacher,
        targets: impl IntoIterator<Item = u32>,
        say: impl Fn(&str) + Send + 'static,
    ) -> io::Result<Self> {
        let Attacher { helper, map } = attacher;
        let pid = helper.pid();
        let found = Found::default();
        let (changes, received) = channel();
        let mut watcher = Watcher {
            helper,
            found: Arc::clone(&found),
            map,
            next: BTreeMap::new(),
            with_tls: BTreeSet::new(),
            say,
        };
        for pid in targets {
            watcher.begin(pid);
            watcher.look(pid);
        }
        let thread = thread::Builder::new().name("tls".to_owned()).spawn(move || watcher.run(&received))?;
        Ok(Self { changes: Some(changes), thread: Some(thread), found, attacher: pid })
    }

    /// Tells what happened to a target.
    pub fn tell(&self, change: Change) {
        if let Some(changes) = &self.changes {
            // A thread that has given up has said so.
            let _ = changes.send(change);
        }
    }

    /// The attacher's process.
    pub fn pid(&self) -> u32 {
        self.attacher
    }

    /// What was attached, also when this is gone.
    pub fn found(&self) -> Found {
        Arc::clone(&self.found)
    }
}

/// The same for the metadata of a file.
pub fn probes(found: &Found) -> Vec<Probe> {
    let found = found.lock().unwrap_or_else(PoisonError::into_inner);
    found.iter().map(|(name, failure)| Probe { name: name.clone(), failure: failure.clone() }).collect()
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.changes = None;
        if let Some(thread) = self.thread.take() {
            // It has said what it had to.
            let _ = thread.join();
        }
    }
}

struct Watcher<S> {
    helper: Helper,
    found: Found,
    map: Targets,
    /// When each target is looked at next, and how long it was waited for.
    next: BTreeMap<u32, (Instant, Duration)>,
    /// Targets with something attached.
    with_tls: BTreeSet<u32>,
    say: S,
}

impl<S: Fn(&str)> Watcher<S> {
    fn run(mut self, changes: &Receiver<Change>) {
        loop {
            let now = Instant::now();
            let due = self.next.iter().filter(|(_, (at, _))| *at <= now).map(|(&pid, _)| pid);
            for pid in due.collect::<Vec<_>>() {
                self.look(pid);
            }
            let next = self.next.values().map(|&(at, _)| at).min();
            let wait = next.map_or(LATER, |at| at.saturating_duration_since(Instant::now()));
            match changes.recv_timeout(wait) {
                Ok(Change::Began(pid)) => {
                    self.begin(pid);
                    self.look(pid);
                }
                Ok(Change::Forked(pid)) => {
                    self.next.insert(pid, (Instant::now() + FORKED, FORKED));
                }
                Ok(Change::Ended(pid)) => {
                    self.next.remove(&pid);
                    self.with_tls.remove(&pid);
                    let _ = self.helper.ask::<()>(&Request::Forget(pid));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    // Detaching takes its time, which nobody needs to wait for.
                    self.helper.leave();
                    return;
                }
            }
        }
    }

    fn begin(&mut self, pid: u32) {
        self.next.insert(pid, (Instant::now(), SOON / 2));
    }

    fn look(&mut self, pid: u32) {
        let Ok(attached) = self.helper.ask::<Vec<Attached>>(&Request::Attach(pid)) else { return };
        if let Some((at, waited)) = self.next.get_mut(&pid) {
            *waited = (*waited * 2).min(LATER);
            *at = Instant::now() + *waited;
        }
        if attached.iter().any(|attached| attached.failure.is_none()) {
            self.with_tls.insert(pid);
        }
        if self.with_tls.contains(&pid)
            && let Ok(target) = self.map.get(&pid, 0)
        {
            // Its sockets are to be looked at from now on. It may have ended just now.
            let _ = self.map.insert(pid, target | Target::HAS_TLS, BPF_EXIST);
        }
        for Attached { library, file, failure } in attached {
            let name = format!("{library}:{}", file.display());
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            // That others are loaded does not say that they are used.
            if let Some(failure) = &failure
                && ["openssl", "go"].contains(&&*library)
                && !found.contains_key(&name)
            {
                (self.say)(&format!("TLS of process {pid} is not seen: {} {failure}", file.display()));
            }
            // What was seen into in one process can be.
            let known = found.entry(name).or_insert_with(|| failure.clone());
            *known = known.take().and(failure);
        }
    }
}
