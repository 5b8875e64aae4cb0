//! Chooses the kernel programs that suit the kernel, loads and attaches them.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader,
    maps::{HashMap, Map, MapData, MapError, PerCpuArray, RingBuf, SkStorage},
    programs::{BtfTracePoint, ProgramError, UProbe},
};
use beyla_schema::{
    file::{Probe, ProgramCost},
    wire::{Counters, MAX_CGROUPS, State},
};
use clap::ValueEnum;
use memchr::memmem;

use crate::{privilege, target::Selectors, tls};

/// The kernel object, built from `ebpf/`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("BEYLA_EBPF_OBJECT_PATH"));

/// Where the kernel describes its types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// A hook, and whether a capture makes sense without it.
type Hook = (&'static str, bool);

/// The hooks of connections and processes.
const LIFE_CYCLE: &[Hook] = &[
    ("sched_process_fork", true),
    ("sched_process_exec", true),
    ("sched_process_exit", true),
    ("inet_sock_set_state", true),
    ("sk_data_ready", false),
];

/// What a user may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The best that the kernel has
    #[default]
    Auto,
    /// Where sockets move bytes (Linux 6.3): the cheaper one, which sees io_uring too
    SockLength,
    /// At the exit of system calls (Linux 5.15)
    SysExit,
}

/// Where bytes are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Where sockets move them.
    SockLength,
    /// At the exit of system calls.
    SysExit,
}

impl Mode {
    fn hooks(self) -> impl Iterator<Item = Hook> {
        let bytes: &[Hook] = match self {
            Self::SockLength => &[("sock_send_length", true), ("sock_recv_length", true)],
            Self::SysExit => {
                &[("sys_exit", true), ("tcp_rcv_space_adjust", true), ("tcp_destroy_sock", true)]
            }
        };
        LIFE_CYCLE.iter().chain(bytes).copied()
    }
}

/// Why nothing can be captured, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No privileges.
    #[error(
        "the kernel does not let this user load programs: run it with sudo (or give it CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH)"
    )]
    Privileges,
    /// A kernel without BTF.
    #[error(
        "this kernel does not describe its types ({BTF} is missing): it must be built with CONFIG_DEBUG_INFO_BTF, as the kernels of all current distributions are"
    )]
    NoBtf,
    /// The types of the kernel cannot be read.
    #[error("cannot read {BTF}: {0}")]
    Btf(#[from] aya::BtfError),
    /// The kernel refused the object.
    #[error("the kernel does not accept the programs: {0}")]
    Load(#[from] EbpfError),
    /// A hook we cannot do without.
    #[error("the kernel does not offer the hook {hook}: {source}")]
    Hook {
        /// Name of the hook.
        hook: &'static str,
        /// The kernel's reason.
        source: Box<ProgramError>,
    },
    /// `--probe sock-length` where it cannot be.
    #[error(
        "this kernel has no tracepoint sock_send_length, which came with Linux 6.3: leave --probe out, or ask for --probe sys-exit"
    )]
    NoSockLength,
    /// More cgroups than the programs look for.
    #[error("{0} cgroups are too many: {MAX_CGROUPS} can be recorded at a time")]
    Cgroups(usize),
    /// A descriptor that cannot be had.
    #[error("cannot look at what was loaded: {0}")]
    Io(#[from] io::Error),
    /// The object lacks something: it is not the one this program was built for.
    #[error("the kernel object has no {0}")]
    Missing(&'static str),
    /// A map cannot be used.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The number of CPUs cannot be read.
    #[error("cannot read {0}: {1}")]
    Cpus(&'static str, io::Error),
}

/// Sizes that are set before the programs are loaded.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of the ring buffer: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Most bytes kept of one message.
    pub snaplen: u32,
    /// Most target processes at a time.
    pub targets: u32,
    /// Most connections at a time, where bytes are seen at the exit of system calls.
    pub connections: u32,
    /// Most CPUs that can gather vectors; as many as there are when it is None.
    pub cpus: Option<u32>,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { ring_bytes: 16 << 20, snaplen: 16 << 10, targets: 16_384, connections: 65_536, cpus: None }
    }
}

/// What is looked for, besides what [`Selectors`] say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Where bytes are to be seen.
    pub probe: Choice,
    /// Record UDP sockets too. Not at the exit of system calls.
    pub udp: bool,
    /// Record Unix domain sockets too. Not at the exit of system calls.
    pub unix: bool,
    /// Leave TLS libraries alone.
    pub no_tls: bool,
}

/// The attached programs. Dropping it detaches them.
pub struct Attached {
    ebpf: Ebpf,
    /// Where bytes are seen.
    pub mode: Mode,
    /// What the kernel says about each program. Opened before privileges are given up, when it is still allowed.
    infos: Vec<File>,
    /// Hooks, attached or not.
    pub probes: Vec<Probe>,
    /// What the user should know: what is not recorded, and why.
    pub notes: Vec<String>,
    /// The programs for TLS libraries, to be attached by process: an id for each of [`tls::Program::ALL`]. Empty when
    /// none are wanted or possible.
    pub tls: Vec<u32>,
}

/// The maps through which the programs are spoken to.
pub struct Maps {
    /// Records come out of here.
    pub events: RingBuf<MapData>,
    /// What the programs count: a [`Counters`] for each CPU.
    pub counters: CounterMap,
    /// Target processes: a `wire::Target` each.
    pub targets: Targets,
    /// The same map once more, for another thread.
    pub targets_again: Targets,
    /// What is remembered of sockets: a [`State`].
    pub sockets: SkStorage<MapData, [u64; State::WORDS]>,
    /// The same map once more, for another process.
    pub sockets_map: OwnedFd,
    /// What is remembered of connections, by cookie: a [`State`]. None where that is in their sockets.
    pub connections: Option<HashMap<MapData, u64, [u64; State::WORDS]>>,
    /// What is remembered of TLS sessions, by process and object: a [`State`].
    pub sessions: Sessions,
}

/// What the programs know of target processes.
pub type Targets = HashMap<MapData, u32, u32>;

/// What is remembered of TLS sessions.
pub type Sessions = HashMap<MapData, [u64; 2], [u64; State::WORDS]>;

/// The words of a [`Counters`] for each CPU.
pub type CounterMap = PerCpuArray<MapData, [u64; Counters::WORDS]>;

/// What the kernel can do, as far as it matters here.
struct Kernel {
    sock_length: bool,
    bpf_loop: bool,
}

impl Kernel {
    /// Asks the kernel's description of its types. The type of each tracepoint's programs has its name, and so
    /// has that of each helper.
    fn probe() -> Result<Self, Error> {
        let types = fs::read(BTF).map_err(|_| Error::NoBtf)?;
        let has = |name: &str| memmem::find(&types, format!("\0{name}\0").as_bytes()).is_some();
        Ok(Self { sock_length: has("btf_trace_sock_send_length"), bpf_loop: has("btf_bpf_loop") })
    }

    fn mode(&self, choice: Choice) -> Result<Mode, Error> {
        match choice {
            Choice::SysExit => Ok(Mode::SysExit),
            _ if self.sock_length => Ok(Mode::SockLength),
            Choice::Auto => Ok(Mode::SysExit),
            Choice::SockLength => Err(Error::NoSockLength),
        }
    }
}

/// Loads the programs, sets what they look for, and attaches them.
pub fn attach(selectors: &Selectors, sizes: Sizes, settings: Settings) -> Result<(Attached, Maps), Error> {
    if !Path::new(BTF).exists() {
        return Err(Error::NoBtf);
    }
    let kernel = Kernel::probe()?;
    let mode = kernel.mode(settings.probe)?;
    let btf = Btf::from_sys_fs()?;
    let mut notes = Vec::new();
    let mut probes = Vec::new();
    if mode == Mode::SysExit {
        if settings.probe == Choice::Auto {
            let failure = "this kernel does not have it: it came with Linux 6.3".to_owned();
            notes.push(format!("without sock_send_length: bytes are seen at the exit of system calls, those of io_uring are not ({failure})"));
            probes.push(Probe { name: "sock_send_length".to_owned(), failure: Some(failure) });
        }
        if settings.udp || settings.unix {
            notes.push(
                "UDP and Unix domain sockets are not recorded: they need --probe sock-length".to_owned(),
            );
        }
    }

    let mut ebpf = load(&btf, &kernel, mode, selectors, sizes, settings)?;
    let mut ports: aya::maps::Array<_, u64> =
        ebpf.map_mut("PORTS").ok_or(Error::Missing("map PORTS"))?.try_into()?;
    for (index, word) in (0..).zip(selectors.ports.bitmap()) {
        if word != 0 {
            ports.set(index, word, 0)?;
        }
    }

    for (hook, required) in mode.hooks() {
        let failure = attach_hook(&mut ebpf, hook, &btf).err();
        match failure {
            Some(HookError::Missing) => return Err(Error::Missing(hook)),
            Some(HookError::Kernel(source)) if required => {
                let refused =
                    matches!(*source, ProgramError::LoadError { ref io_error, .. } if denied(io_error));
                return Err(if refused { Error::Privileges } else { Error::Hook { hook, source } });
            }
            Some(HookError::Kernel(source)) => {
                // The only one that a capture can do without.
                notes.push(format!("without {hook}: queue times are not known ({source})"));
                probes.push(Probe { name: hook.to_owned(), failure: Some(source.to_string()) });
            }
            None => probes.push(Probe { name: hook.to_owned(), failure: None }),
        }
    }

    let tls = match tls_programs(&mut ebpf, settings) {
        Ok(ids) => ids,
        Err(why) => {
            notes.push(format!("TLS is not looked into: {why}"));
            probes.push(Probe { name: "tls".to_owned(), failure: Some(why) });
            Vec::new()
        }
    };

    let mut take = |name: &'static str| ebpf.take_map(name).ok_or(Error::Missing(name));
    let sockets = take("SOCKETS")?;
    let targets = take("TARGETS")?;
    let maps = Maps {
        events: take("EVENTS")?.try_into()?,
        counters: take("COUNTERS")?.try_into()?,
        targets_again: Map::HashMap(MapData::from_fd(descriptor(&targets)?)?).try_into()?,
        targets: targets.try_into()?,
        sockets_map: descriptor(&sockets)?,
        sockets: sockets.try_into()?,
        connections: match mode {
            Mode::SockLength => None,
            Mode::SysExit => Some(take("CONNECTIONS")?.try_into()?),
        },
        sessions: take("SESSIONS")?.try_into()?,
    };
    let infos = infos(&ebpf)?;
    Ok((Attached { ebpf, mode, infos, probes, notes, tls }, maps))
}

/// Scratch rooms that the programs use on each CPU.
const SCRATCH_ROOMS: u32 = 4;

/// Threads that can be in TLS libraries at a time.
const TLS_THREADS: u32 = 16_384;

/// Creates the maps and sets what the programs read as constants.
fn load(
    btf: &Btf,
    kernel: &Kernel,
    mode: Mode,
    selectors: &Selectors,
    sizes: Sizes,
    settings: Settings,
) -> Result<Ebpf, Error> {
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| Error::Cpus(file, error))?;
    let cpus = sizes.cpus.unwrap_or(cpus as u32);
    let at_exit = mode == Mode::SysExit;
    let connections = if at_exit { sizes.connections } else { 1 };
    let (sessions, threads) = if settings.no_tls { (1, 1) } else { (sizes.connections, TLS_THREADS) };
    let flag = |is_set: bool| u8::from(is_set);
    let (sys_exit, has_loop) = (flag(at_exit), flag(kernel.bpf_loop));
    let select_ports = flag(!selectors.ports.is_empty());
    let select_executables = flag(!selectors.executables.is_empty());
    let (udp, unix) = (flag(settings.udp), flag(settings.unix));

    let count = selectors.cgroups.len();
    let (mut levels, mut ids) = ([0u64; MAX_CGROUPS], [0u64; MAX_CGROUPS]);
    if count > MAX_CGROUPS {
        return Err(Error::Cgroups(count));
    }
    for (cgroup, (level, id)) in selectors.cgroups.iter().zip(levels.iter_mut().zip(&mut ids)) {
        (*level, *id) = (cgroup.level.into(), cgroup.id);
    }
    let count = count as u32;

    EbpfLoader::new()
        .btf(Some(btf))
        .map_max_entries("EVENTS", sizes.ring_bytes)
        .map_max_entries("SCRATCH", SCRATCH_ROOMS * cpus)
        .map_max_entries("TARGETS", sizes.targets)
        .map_max_entries("CONNECTIONS", connections)
        .map_max_entries("SESSIONS", sessions)
        .map_max_entries("TAKEN", sessions)
        .map_max_entries("INSIDE", threads)
        .map_max_entries("READ", threads)
        .override_global("SNAPLEN", &sizes.snaplen, true)
        .override_global("SYS_EXIT", &sys_exit, true)
        .override_global("HAS_LOOP", &has_loop, true)
        .override_global("SELECT_PORTS", &select_ports, true)
        .override_global("SELECT_EXECUTABLES", &select_executables, true)
        .override_global("SELECT_CGROUPS", &count, true)
        .override_global("CGROUP_LEVELS", &levels[..], true)
        .override_global("CGROUP_IDS", &ids[..], true)
        .override_global("RECORD_UDP", &udp, true)
        .override_global("RECORD_UNIX", &unix, true)
        .load(OBJECT)
        .map_err(|error| if is_refusal(&error) { Error::Privileges } else { Error::Load(error) })
}

/// Loads the programs for TLS libraries. Their ids, or in words why there are none.
fn tls_programs(ebpf: &mut Ebpf, settings: Settings) -> Result<Vec<u32>, String> {
    if settings.no_tls {
        return Ok(Vec::new());
    }
    if !privilege::can_attach() {
        return Err("attaching to its libraries takes CAP_SYS_ADMIN".to_owned());
    }
    let load = |program: &tls::Program| {
        let program: &mut UProbe = ebpf.program_mut(program.name()).ok_or("it is missing")?.try_into()?;
        program.load()?;
        Ok(program.info()?.id())
    };
    let ids: Result<_, Box<dyn std::error::Error>> = tls::Program::ALL.iter().map(load).collect();
    ids.map_err(|error| format!("the kernel does not accept the programs: {error}"))
}

/// An optional hook that is not attached says nothing.
fn infos(ebpf: &Ebpf) -> io::Result<Vec<File>> {
    let fds = ebpf.programs().filter_map(|(_, program)| program.fd().ok());
    fds.map(|fd| File::open(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))).collect()
}

fn descriptor(map: &Map) -> Result<OwnedFd, Error> {
    match map {
        Map::SkStorage(data) | Map::HashMap(data) => Ok(data.fd().as_fd().try_clone_to_owned()?),
        _ => Err(Error::Missing("map of a known kind")),
    }
}

enum HookError {
    Missing,
    Kernel(Box<ProgramError>),
}

impl From<ProgramError> for HookError {
    fn from(error: ProgramError) -> Self {
        Self::Kernel(Box::new(error))
    }
}

fn attach_hook(ebpf: &mut Ebpf, hook: &str, btf: &Btf) -> Result<(), HookError> {
    let program: &mut BtfTracePoint = ebpf.program_mut(hook).ok_or(HookError::Missing)?.try_into()?;
    program.load(hook, btf)?;
    program.attach()?;
    Ok(())
}

/// EPERM, not EACCES: that is how the verifier refuses a program.
fn denied(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error())
}

/// Whether the reason at the bottom of an error is a lack of privileges.
fn is_refusal(error: &EbpfError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(denied) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Attached {
    /// Runs of programs that the kernel skipped, because the program was already running on that CPU when
    /// a soft interrupt wanted it: their events are lost. None when the kernel does not tell.
    pub fn skipped_runs(&self) -> Option<u64> {
        let skipped = self.infos.iter().map(|mut info| {
            let mut text = String::new();
            info.rewind().and_then(|()| info.read_to_string(&mut text)).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
            line.trim().parse::<u64>().ok()
        });
        skipped.sum()
    }

    /// What each program cost so far. Empty when the kernel does not measure it.
    pub fn costs(&self) -> Vec<ProgramCost> {
        let costs = self.ebpf.programs().filter_map(|(name, program)| {
            let info = program.info().ok().filter(|info| info.run_count() > 0)?;
            let run_ns = info.run_time().as_nanos().try_into().unwrap_or(u64::MAX);
            Some(ProgramCost { name: name.to_owned(), runs: info.run_count(), run_ns })
        });
        let mut costs: Vec<_> = costs.collect();
        costs.sort_by(|one, other| one.name.cmp(&other.name));
        costs
    }
}
