//! Whose events are recorded: the table of target processes and the set of selected ports.
//!
//! User space fills both; forks of targets, servers of selected ports and processes of selected cgroups are added
//! here, in the kernel, so that nothing happens between their appearance and their capture.

use aya_ebpf::{
    helpers::bpf_get_current_ancestor_cgroup_id,
    macros::map,
    maps::{Array, HashMap},
};
use beyla_schema::wire::{MAX_CGROUPS, Target, Transport};

use crate::{kernel, output};

/// Target processes, by thread-group id. The loader sets its size.
#[map]
static TARGETS: HashMap<u32, Target> = HashMap::with_max_entries(16384, 0);

/// Selected ports: bit `port % 64` of word `port / 64`.
#[map]
static PORTS: Array<u64> = Array::with_max_entries(1024, 0);

/// Whether any port is selected. Without, other processes' sockets need no second look.
#[unsafe(no_mangle)]
static SELECT_PORTS: u8 = 0;

/// Whether user space wants to hear of every program that is started, to select by its path.
#[unsafe(no_mangle)]
static SELECT_EXECUTABLES: u8 = 0;

/// How many cgroups are selected.
#[unsafe(no_mangle)]
static SELECT_CGROUPS: u32 = 0;

/// The levels of the selected cgroups below the root of their hierarchy, version 2.
#[unsafe(no_mangle)]
static CGROUP_LEVELS: [u64; MAX_CGROUPS] = [0; MAX_CGROUPS];

/// Their ids: the numbers of their inodes.
#[unsafe(no_mangle)]
static CGROUP_IDS: [u64; MAX_CGROUPS] = [0; MAX_CGROUPS];

/// Whether UDP sockets of targets are recorded.
#[unsafe(no_mangle)]
static RECORD_UDP: u8 = 0;

/// Whether Unix domain sockets of targets are recorded.
#[unsafe(no_mangle)]
static RECORD_UNIX: u8 = 0;

/// Whether sockets of this kind are recorded.
#[inline(always)]
pub(crate) fn wants(transport: Transport) -> bool {
    match transport {
        Transport::Tcp => true,
        Transport::Udp => kernel::setting(&RECORD_UDP) != 0,
        Transport::Unix => kernel::setting(&RECORD_UNIX) != 0,
    }
}

/// Whether the running task is in a selected cgroup, or in one below it.
#[inline(always)]
pub(crate) fn is_in_cgroup() -> bool {
    let count = kernel::setting(&SELECT_CGROUPS);
    let mut index = 0;
    while index < MAX_CGROUPS && (index as u32) < count {
        // SAFETY: a helper that takes any level, and settings of the loader.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(kernel::setting(&CGROUP_LEVELS[index]) as i32) };
        if id != 0 && id == kernel::setting(&CGROUP_IDS[index]) {
            return true;
        }
        index += 1;
    }
    false
}

/// Whether ports are selected at all.
#[inline(always)]
pub(crate) fn selects_ports() -> bool {
    kernel::setting(&SELECT_PORTS) != 0
}

/// Whether every start of a program is reported.
#[inline(always)]
pub(crate) fn selects_executables() -> bool {
    kernel::setting(&SELECT_EXECUTABLES) != 0
}

/// Whether `port` is selected.
#[inline(always)]
pub(crate) fn is_selected(port: u16) -> bool {
    selects_ports() && PORTS.get(u32::from(port / 64)).is_some_and(|word| word >> (port % 64) & 1 == 1)
}

/// Whether the process is a target.
#[inline(always)]
pub(crate) fn is_target(process: u32) -> bool {
    // SAFETY: the value is not read, so it does not matter that it may change meanwhile.
    unsafe { TARGETS.get(process) }.is_some()
}

/// What is known of the process, if it is a target.
#[inline(always)]
pub(crate) fn target(process: u32) -> Option<Target> {
    // SAFETY: a copy is made at once; that it may change meanwhile does not matter.
    unsafe { TARGETS.get(process) }.copied()
}

/// The same of a process that is at work in a TLS library, which is remembered.
#[inline(always)]
pub(crate) fn target_with_tls(process: u32) -> Option<Target> {
    // SAFETY: the entry of a process that is running; threads of it may write the same.
    let target = TARGETS.get_ptr_mut(process).and_then(|target| unsafe { target.as_mut() })?;
    if target.0 & Target::HAS_TLS == 0 {
        target.0 |= Target::HAS_TLS;
    }
    Some(*target)
}

/// Makes the process a target.
#[inline(always)]
pub(crate) fn add_target(process: u32) {
    if TARGETS.insert(process, Target::NEW, 0).is_err() {
        output::count(|counters| &mut counters.targets_full);
    }
}

/// Forgets a process that has ended, and says whether it was a target.
#[inline(always)]
pub(crate) fn remove_target(process: u32) -> bool {
    TARGETS.remove(process).is_ok()
}
