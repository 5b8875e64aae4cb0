//! Connections and processes: their beginning, their end, and when data arrived for them.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use beyla_schema::wire::{Change, Close, Direction, Kind, Origin, Socket, State, Transport};

use crate::{
    filter,
    kernel::{Sock, Task},
    output::{self, Actor},
};

// include/net/tcp_states.h
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
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
        _ => {
            let Some(state) = sock.state() else { return 0 };
            match new {
                ESTABLISHED => established(sock, state),
                FIN_WAIT1 | LAST_ACK => closed(state, Direction::Send as u8),
                CLOSE_WAIT => closed(state, Direction::Receive as u8),
                CLOSE if old != LISTEN => closed(state, WHOLE),
                _ => {}
            }
        }
    }
    0
}

/// The whole connection, in [`Close::direction`].
const WHOLE: u8 = 255;

#[inline(always)]
fn connecting(sock: Sock) {
    let actor = Actor::current();
    if !filter::is_target(actor.pid) || !sock.is_tcp() {
        return;
    }
    match sock.state_or_new() {
        Some(state) => state.flags |= State::CONNECTING,
        None => {
            output::count(|counters| &mut counters.storage_full);
        }
    }
}

#[inline(always)]
fn listening(sock: Sock) {
    let actor = Actor::current();
    let target = filter::is_target(actor.pid);
    if !(target || filter::is_selected(sock.local_port())) || !sock.is_tcp() {
        return;
    }
    if !target {
        adopt(actor.pid);
    }
    match sock.state_or_new() {
        Some(state) => state.flags |= State::MARKED,
        None => {
            output::count(|counters| &mut counters.storage_full);
        }
    }
    emit_socket(sock, Kind::Listen, sock.cookie(), 0, actor);
}

/// Makes a process that serves a selected port a target.
#[inline(always)]
pub(crate) fn adopt(process: u32) {
    filter::add_target(process);
    output::process(process, 0, Change::Adopt);
}

#[inline(always)]
fn established(sock: Sock, state: &mut State) {
    let origin = if state.flags & State::CONNECTING != 0 { Origin::Connect } else { Origin::Accept };
    announce(sock, state, origin, Actor::NOBODY);
}

/// Delivers the addresses of a connection, once.
#[inline(always)]
pub(crate) fn announce(sock: Sock, state: &mut State, origin: Origin, actor: Actor) {
    if state.cookie == 0 {
        state.cookie = sock.cookie();
    }
    if emit_socket(sock, Kind::Open, state.cookie, origin as u8, actor) {
        state.flags |= State::ANNOUNCED;
    }
}

#[inline(always)]
fn emit_socket(sock: Sock, kind: Kind, cookie: u64, origin: u8, actor: Actor) -> bool {
    let head = output::head(kind, cookie, actor);
    let (local, remote) = sock.addresses();
    output::emit::<Socket>(|record| {
        record.write(Socket {
            head,
            local: bytes(local),
            remote: bytes(remote),
            local_port: sock.local_port(),
            remote_port: sock.remote_port(),
            family: sock.family(),
            origin,
            transport: Transport::Tcp as u8,
        });
    })
}

#[inline(always)]
fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: both are sixteen bytes, and any bytes are a value.
    unsafe { core::mem::transmute(words) }
}

#[inline(always)]
fn closed(state: &mut State, direction: u8) {
    if state.flags & State::ANNOUNCED == 0 {
        return;
    }
    let head = output::head(Kind::Close, state.cookie, Actor::NOBODY);
    let (received, sent) = (state.received, state.sent);
    output::emit::<Close>(|record| {
        record.write(Close { head, received, sent, direction, pad: [0; 7] });
    });
}

/// `trace_sk_data_ready(sk)`, include/trace/events/sock.h: data, or the end of data, arrived on a socket.
#[btf_tracepoint(function = "sk_data_ready")]
fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument of this tracepoint.
    let sock = unsafe { Sock::new(ctx.arg(0)) };
    let Some(state) = sock.state() else { return 0 };
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
    if child.is_leader() && filter::is_target(parent.process()) {
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
    if filter::selects_executables() || filter::is_target(process) {
        output::process(process, 0, Change::Exec);
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
