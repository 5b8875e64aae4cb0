//! Loads the kernel programs and attaches them.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader,
    maps::{HashMap, Map, MapData, MapError, PerCpuArray, RingBuf, SkStorage},
    programs::{BtfTracePoint, ProgramError},
};
use beyla_schema::file::{Probe, ProgramCost};

use crate::target::Selectors;

/// The kernel object, built from `ebpf/`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("BEYLA_EBPF_OBJECT_PATH"));

/// Where the kernel describes its types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The hooks, and whether a capture makes sense without them.
const HOOKS: &[(&str, bool)] = &[
    ("sched_process_fork", true),
    ("sched_process_exec", true),
    ("sched_process_exit", true),
    ("inet_sock_set_state", true),
    ("sk_data_ready", false),
    ("sock_send_length", true),
    ("sock_recv_length", true),
];

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
    #[error("the kernel lacks the hook {hook}, which came with Linux 6.3: {source}")]
    Hook {
        /// Name of the hook.
        hook: &'static str,
        /// The kernel's reason.
        source: Box<ProgramError>,
    },
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
}

/// The attached programs. Dropping it detaches them.
pub struct Attached {
    ebpf: Ebpf,
    /// What the kernel says about each program. Opened before privileges are given up, when it is still allowed.
    infos: Vec<File>,
    /// Hooks, attached or not.
    pub probes: Vec<Probe>,
}

/// The maps through which the programs are spoken to.
pub struct Maps {
    /// Records come out of here.
    pub events: RingBuf<MapData>,
    /// What the programs count: a `wire::Counters` for each CPU.
    pub counters: PerCpuArray<MapData, [u64; 6]>,
    /// Target processes.
    pub targets: HashMap<MapData, u32, u8>,
    /// What is remembered of sockets: a `wire::State`.
    pub sockets: SkStorage<MapData, [u64; 6]>,
    /// The same map once more, for another process.
    pub sockets_map: OwnedFd,
}

/// Loads the programs, sets what they look for, and attaches them.
pub fn attach(selectors: &Selectors, sizes: Sizes) -> Result<(Attached, Maps), Error> {
    if !Path::new(BTF).exists() {
        return Err(Error::NoBtf);
    }
    let btf = Btf::from_sys_fs()?;
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| Error::Cpus(file, error))?;
    let select_ports = u8::from(!selectors.ports.is_empty());
    let select_executables = u8::from(!selectors.executables.is_empty());
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .map_max_entries("EVENTS", sizes.ring_bytes)
        .map_max_entries("SCRATCH", 2 * cpus as u32)
        .override_global("SNAPLEN", &sizes.snaplen, true)
        .override_global("SELECT_PORTS", &select_ports, true)
        .override_global("SELECT_EXECUTABLES", &select_executables, true)
        .load(OBJECT)
        .map_err(|error| if is_refusal(&error) { Error::Privileges } else { Error::Load(error) })?;

    let mut ports: aya::maps::Array<_, u64> =
        ebpf.map_mut("PORTS").ok_or(Error::Missing("map PORTS"))?.try_into()?;
    for (index, word) in (0..).zip(selectors.ports.bitmap()) {
        if word != 0 {
            ports.set(index, word, 0)?;
        }
    }

    let mut probes = Vec::new();
    for &(hook, required) in HOOKS {
        let failure = attach_hook(&mut ebpf, hook, &btf).err();
        match failure {
            Some(HookError::Missing) => return Err(Error::Missing(hook)),
            Some(HookError::Kernel(source)) if required => {
                let refused =
                    matches!(*source, ProgramError::LoadError { ref io_error, .. } if denied(io_error));
                return Err(if refused { Error::Privileges } else { Error::Hook { hook, source } });
            }
            Some(HookError::Kernel(source)) => {
                probes.push(Probe { name: hook.to_owned(), failure: Some(source.to_string()) });
            }
            None => probes.push(Probe { name: hook.to_owned(), failure: None }),
        }
    }

    let mut take = |name: &'static str| ebpf.take_map(name).ok_or(Error::Missing(name));
    let sockets = take("SOCKETS")?;
    let maps = Maps {
        events: take("EVENTS")?.try_into()?,
        counters: take("COUNTERS")?.try_into()?,
        targets: take("TARGETS")?.try_into()?,
        sockets_map: descriptor(&sockets)?,
        sockets: sockets.try_into()?,
    };
    let infos = infos(&ebpf)?;
    Ok((Attached { ebpf, infos, probes }, maps))
}

/// An optional hook that is not attached says nothing.
fn infos(ebpf: &Ebpf) -> io::Result<Vec<File>> {
    let fds = ebpf.programs().filter_map(|(_, program)| program.fd().ok());
    fds.map(|fd| File::open(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))).collect()
}

fn descriptor(map: &Map) -> Result<OwnedFd, Error> {
    match map {
        Map::SkStorage(data) => Ok(data.fd().as_fd().try_clone_to_owned()?),
        _ => Err(Error::Missing("map SOCKETS")),
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
