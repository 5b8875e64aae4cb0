//! The process that attaches programs to the functions of others.
//!
//! Attaching takes CAP_SYS_ADMIN, which the recorder gives up before it looks at the first payload byte. So it starts
//! this program once more for that: it reads which files a process has mapped, attaches the programs that the recorder
//! has loaded to functions in them, for that process only, and does nothing else. The two talk over a socket, a line of
//! JSON each way.

use std::{
    collections::{HashMap, HashSet},
    io,
    num::NonZeroU32,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
};

use aya::programs::{
    ProbeKind, UProbe, loaded_programs,
    uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
};
use serde::{Deserialize, Serialize};

use super::{
    mapped::{self, Identity, Mapped},
    plan::{self, Content, Plan, Program},
};
use crate::{loader::helper, privilege};

/// Name of the subcommand that runs it.
pub const SUBCOMMAND: &str = "attacher";

/// What the recorder asks for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Nothing: the answer says that it has given up what it does not need.
    Ready,
    /// Attach to what a process has loaded and is not attached to: a list of [`Attached`].
    Attach(u32),
    /// A process has ended.
    Forget(u32),
}

/// What was done about a file of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attached {
    /// The library's name in files.
    pub(super) library: String,
    /// Path of the file as the process has it.
    pub(super) file: PathBuf,
    /// Why its plaintext is not seen.
    pub(super) failure: Option<String>,
}

/// Serves the recorder that started this process, which has loaded `programs` under these ids.
pub fn serve(programs: &[u32]) -> io::Result<()> {
    privilege::keep_to_attach()?;
    let mut attacher = Attacher::new(programs)?;
    helper::serve(|request| match request {
        Request::Ready => helper::line(&()),
        Request::Attach(pid) => helper::line(&attacher.attach(pid)),
        Request::Forget(pid) => {
            attacher.forget(pid);
            helper::line(&())
        }
    })
}

struct Attacher {
    programs: HashMap<Program, UProbe>,
    contents: HashMap<Identity, Content>,
    processes: HashMap<u32, Process>,
    detacher: Detacher,
}

#[derive(Default)]
struct Process {
    files: HashSet<Identity>,
    links: Vec<UProbeLink>,
}

impl Attacher {
    fn new(ids: &[u32]) -> io::Result<Self> {
        let mut programs = HashMap::new();
        // Programs of others may end while they are listed.
        for info in loaded_programs().filter_map(Result::ok) {
            let Some(index) = ids.iter().position(|&id| id == info.id()) else { continue };
            let Some(&program) = Program::ALL.get(index) else { continue };
            let kind = if program.is_at_return() { ProbeKind::Return } else { ProbeKind::Entry };
            // SAFETY: the recorder has loaded it as one of this type.
            let probe = unsafe { UProbe::from_program_info(info, program.name().into(), kind) };
            programs.insert(program, probe.map_err(io::Error::other)?);
        }
        Ok(Self {
            programs,
            contents: HashMap::new(),
            processes: HashMap::new(),
            detacher: Detacher::start()?,
        })
    }

    fn attach(&mut self, pid: u32) -> Vec<Attached> {
        let Some(scope) = NonZeroU32::new(pid).map(UProbeScope::OneProcess) else { return Vec::new() };
        let files = mapped::files(pid).unwrap_or_default();
        let Self { programs, contents, processes, .. } = self;
        let process = processes.entry(pid).or_default();
        let mut attached = Vec::new();
        for Mapped { identity, name, path } in files {
            if !process.files.insert(identity) {
                continue;
            }
            let content = contents.entry(identity).or_insert_with(|| plan::of(&name, &path));
            let (library, failure) = match content {
                Content::Nothing => continue,
                Content::Unseen { library, why } => (*library, Some(why.clone())),
                Content::Seen(plan) => {
                    let failure = attach(plan, programs, &path, scope, &mut process.links).err();
                    (plan.library, failure)
                }
            };
            if failure.is_some() && mapped::files(pid).is_none_or(|files| files.is_empty()) {
                // It has ended meanwhile.
                return Vec::new();
            }
            attached.push(Attached { library: library.to_owned(), file: name, failure });
        }
        attached
    }

    fn forget(&mut self, pid: u32) {
        if let Some(process) = self.processes.remove(&pid) {
            self.detacher.detach(process.links);
        }
    }
}

impl Drop for Attacher {
    fn drop(&mut self) {
        for (_, process) in self.processes.drain() {
            self.detacher.detach(process.links);
        }
    }
}

/// Threads that drop links. The kernel takes a tenth of a second for each link, but not longer for many at a time.
struct Detacher {
    links: Option<Sender<UProbeLink>>,
    threads: Vec<JoinHandle<()>>,
}

impl Detacher {
    const THREADS: usize = 32;

    fn start() -> io::Result<Self> {
        let (links, dropped) = channel::<UProbeLink>();
        let dropped = Arc::new(Mutex::new(dropped));
        let thread = |_| {
            let dropped = Arc::clone(&dropped);
            let next = move || dropped.lock().unwrap_or_else(PoisonError::into_inner).recv();
            thread::Builder::new().name("detach".to_owned()).spawn(move || {
                while let Ok(link) = next() {
                    drop(link);
                }
            })
        };
        let threads = (0..Self::THREADS).map(thread).collect::<io::Result<_>>()?;
        Ok(Self { links: Some(links), threads })
    }

    fn detach(&self, links: Vec<UProbeLink>) {
        if let Some(sender) = &self.links {
            for link in links {
                // The threads live as long as this.
                let _ = sender.send(link);
            }
        }
    }
}

impl Drop for Detacher {
    fn drop(&mut self) {
        self.links = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Attaches all of a plan, or nothing.
fn attach(
    plan: &Plan,
    programs: &mut HashMap<Program, UProbe>,
    path: &std::path::Path,
    scope: UProbeScope,
    links: &mut Vec<UProbeLink>,
) -> Result<(), String> {
    let before = links.len();
    for point in &plan.points {
        let Some(program) = programs.get_mut(&point.program) else {
            return Err(format!("the program {} is not loaded", point.program.name()));
        };
        let location = UProbeAttachLocation::AbsoluteOffset(point.offset);
        let place = UProbeAttachPoint { location, cookie: (point.cookie != 0).then_some(point.cookie) };
        let link = program.attach(place, path, scope).and_then(|id| program.take_link(id));
        match link {
            Ok(link) => links.push(link),
            Err(error) => {
                links.truncate(before);
                return Err(reason(&error));
            }
        }
    }
    Ok(())
}

/// The reason at the bottom of an error.
fn reason(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    format!("cannot be attached to: {cause}")
}
