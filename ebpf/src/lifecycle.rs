//! Connections and processes: their beginning, their end, and when data arrived for them.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use beyla_schema::wire::{Change, Direction, Kind, MAX_PATH, Origin, Socket, State, Transport};

use crate::{
    connection, filter,
    kernel::{Address, Endpoints, Sock, Task},
    output::{self, Actor},
};

// include/net/tcp_states.h
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const FIN_WAIT1: i32 = 4;
const CLOSE: i32 = 7;
const CLOSE_WAIT: i32 = 8;
const LAST_ACK: i32 = 9;
const LISTEN: i32 = 10;

/// `trace_inet_sock_set_state(sk, oldstate, newstate)`, include/trace/events/sock.h.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument of this tracepoint.
    let sock = unsafe { Sock::new(ctx.arg(0)) };
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    // Closing a connection that was shut down before enters the same state once more.
    if old == new {
        return 0;
    }
    match new {
        // `connect` and `listen` enter these states in the context of the process that calls them.
        SYN_SENT => connecting(sock),
        LISTEN => listening(sock),
        ESTABLISHED => established(sock, old),
        _ => {
            let Some(state) = connection::of(sock) else { return 0 };
            match new {
                FIN_WAIT1 | LAST_ACK => closed(state, Direction::Send as u8),
                CLOSE_WAIT => closed(state, Direction::Receive as u8),
                CLOSE if old != LISTEN => closed(state, output::WHOLE),
                _ => {}
            }
        }
    }
    0
}

#[inline(always)]
fn connecting(sock: Sock) {
    let actor = Actor::current();
    if !is_target(actor.pid) || !sock.is_tcp() || !sock.has_descriptor() {
        return;
    }
    match sock.storage_or_new() {
        Some(state) => state.flags |= State::CONNECTING,
        None => output::lost(|counters| &mut counters.storage_full),
    }
}

#[inline(always)]
fn listening(sock: Sock) {
    let actor = Actor::current();
    let target = is_target(actor.pid);
    if !(target || filter::is_selected(sock.local_port())) || !sock.is_tcp() {
        return;
    }
    if !target {
        adopt(actor.pid);
    }
    match sock.storage_or_new() {
        Some(state) => state.flags |= State::MARKED,
        None => output::lost(|counters| &mut counters.storage_full),
    }
    emit_inet(sock.address(), Kind::Listen, sock.cookie(), 0, Transport::Tcp, actor);
}

/// Whether the running process is a target: it becomes one when it is in a selected cgroup.
#[inline(always)]
fn is_target(process: u32) -> bool {
    if filter::is_target(process) {
        return true;
    }
    if filter::is_in_cgroup() {
        adopt(process);
        return true;
    }
    false
}

/// Makes a process that serves a selected port, or is in a selected cgroup, a target.
#[inline(always)]
pub(crate) fn adopt(process: u32) {
    filter::add_target(process);
    output::process(process, 0, Change::Adopt);
}

#[inline(always)]
fn established(sock: Sock, old: i32) {
    let Some(mark) = sock.storage().or_else(|| accepted(sock, old)) else { return };
    let origin = if mark.flags & State::CONNECTING != 0 { Origin::Connect } else { Origin::Accept };
    if let Some(state) = connection::established(sock, mark) {
        announce(sock.address(), Transport::Tcp, state, origin, Actor::NOBODY);
    }
}

/// The mark of a connection to a selected port whose listener has none: a listener of Multipath TCP is two sockets, and
/// one that listened before the capture could only be marked where its process has it.
#[inline(always)]
fn accepted(sock: Sock, old: i32) -> Option<&'static mut State> {
    if old != SYN_RECV || !filter::is_selected(sock.local_port()) || !sock.is_tcp() {
        return None;
    }
    let Some(state) = sock.storage_or_new() else {
        output::lost(|counters| &mut counters.storage_full);
        return None;
    };
    state.flags |= State::MARKED;
    Some(state)
}

/// Delivers the addresses of a connection, once.
#[inline(always)]
pub(crate) fn announce(
    address: Address,
    transport: Transport,
    state: &mut State,
    origin: Origin,
    actor: Actor,
) {
    let delivered = if let Transport::Unix = transport {
        emit_unix(address, state.cookie, origin as u8, actor)
    } else {
        emit_inet(address, Kind::Open, state.cookie, origin as u8, transport, actor)
    };
    if delivered {
        state.flags |= State::ANNOUNCED;
    }
}

#[inline(always)]
fn emit_inet(
    address: Address,
    kind: Kind,
    cookie: u64,
    origin: u8,
    transport: Transport,
    actor: Actor,
) -> bool {
    let head = output::head(kind, cookie, actor);
    let Endpoints { local, remote, local_port, remote_port, family, .. } = address.endpoints();
    output::emit::<Socket>(|record| {
        let transport = transport as u8;
        record.write(Socket { head, local, remote, local_port, remote_port, family, origin, transport });
    })
}

/// A socket with the path of its named end.
#[repr(C)]
struct Named {
    socket: Socket,
    path: [u8; MAX_PATH],
}

#[inline(always)]
fn emit_unix(address: Address, cookie: u64, origin: u8, actor: Actor) -> bool {
    let head = output::head(Kind::Open, cookie, actor);
    output::emit::<Named>(|record| {
        let record: *mut Named = record.as_mut_ptr();
        // SAFETY: the record is reserved memory of its type; plain integers need no initial value.
        let record = unsafe { &mut *record };
        // An accepted socket has the name of its listener; one that connects has none, but its peer may.
        let local_port = address.path(&mut record.path);
        let mut remote_port = 0;
        if local_port == 0
            && let Some(peer) = address.peer()
        {
            remote_port = peer.path(&mut record.path);
        }
        record.socket = Socket {
            head,
            local: [0; 16],
            remote: [0; 16],
            local_port,
            remote_port,
            family: 1,
            origin,
            transport: Transport::Unix as u8,
        };
    })
}

#[inline(always)]
fn closed(state: &mut State, direction: u8) {
    if state.flags & State::ANNOUNCED == 0 {
        return;
    }
    output::closed(state.cookie, state.received, state.sent, direction);
}

/// `trace_sk_data_ready(sk)`, include/trace/events/sock.h: data, or the end of data, arrived on a socket.
#[btf_tracepoint(function = "sk_data_ready")]
fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument of this tracepoint.
    let sock = unsafe { Sock::new(ctx.arg(0)) };
    let Some(state) = connection::of(sock) else { return 0 };
    // A listener's state is what its connections begin with: it must not carry a time.
    if state.ready_ns == 0 && i32::from(sock.tcp_state()) != LISTEN {
        // SAFETY: a helper without arguments.
        state.ready_ns = unsafe { aya_ebpf::helpers::bpf_ktime_get_ns() };
    }
    0
}

/// `trace_sched_process_fork(parent, child)`, include/trace/events/sched.h.
#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the arguments of this tracepoint.
    let (parent, child) = unsafe { (Task::new(ctx.arg(0)), Task::new(ctx.arg(1))) };
    if child.is_leader() && is_target(parent.process()) {
        filter::add_target(child.process());
        output::process(child.process(), parent.process(), Change::Start);
    }
    0
}

/// `trace_sched_process_exec(p, old_pid, bprm)`, include/trace/events/sched.h.
#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument of this tracepoint.
    let process = unsafe { Task::new(ctx.arg(0)) }.process();
    let target = filter::is_target(process);
    if target || filter::is_in_cgroup() {
        if !target {
            filter::add_target(process);
        }
        output::process(process, 0, Change::Exec);
    } else if filter::selects_executables() {
        output::stranger(process);
    }
    0
}

/// `trace_sched_process_exit(p)`, include/trace/events/sched.h: once for every thread.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument of this tracepoint.
    let task = unsafe { Task::new(ctx.arg(0)) };
    if task.is_last() && filter::remove_target(task.process()) {
        output::process(task.process(), 0, Change::Exit);
    }
    0
}
