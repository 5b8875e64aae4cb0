//! Bytes seen where sockets move them (Linux 6.3): in the context of the caller, with the socket at hand, once for
//! every message, whatever the system call.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use beyla_schema::wire::{Direction, Origin, Source, State, Target};

use crate::{
    data::{self, MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC},
    filter,
    kernel::{Registers, Sock},
    lifecycle,
    output::{self, Actor},
    payload::Moved,
    syscall::Bytes,
};

/// `trace_sock_send_length(sk, ret, flags)`, include/trace/events/sock.h.
#[btf_tracepoint(function = "sock_send_length")]
fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    moved(&ctx, Direction::Send, 0);
    0
}

/// `trace_sock_recv_length(sk, ret, flags)`, include/trace/events/sock.h.
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    let flags: i32 = ctx.arg(2);
    let flags = flags as u64;
    if flags & (MSG_PEEK | MSG_ERRQUEUE) == 0 {
        moved(&ctx, Direction::Receive, flags);
    }
    0
}

#[inline(always)]
fn moved(ctx: &BtfTracePointContext, direction: Direction, flags: u64) {
    let result: i32 = ctx.arg(1);
    if result <= 0 {
        return;
    }
    let mut actor = Actor::current();
    let target = filter::target(actor.pid);
    actor.target = target.unwrap_or(Target(0));
    let target = target.is_some();
    if !target && !filter::selects_ports() {
        return;
    }
    // SAFETY: the first argument of both tracepoints.
    let sock = unsafe { Sock::new(ctx.arg(0)) };
    let state = if target {
        let Some(state) = sock.storage().or_else(|| first_seen(sock)) else { return };
        state
    } else {
        // Whoever serves a connection of a selected port is a target from here on.
        let Some(state) = sock.storage() else { return };
        if state.flags & State::MARKED == 0 {
            return;
        }
        lifecycle::adopt(actor.pid);
        state
    };
    if state.flags & State::ANNOUNCED == 0 {
        if state.cookie == 0 {
            state.cookie = sock.cookie();
        }
        let Some(transport) = sock.transport() else { return };
        lifecycle::announce(sock.address(), transport, state, Origin::Found, actor);
    }
    if actor.target.goid_offset() != 0
        && let Some(registers) = Registers::of_running_call()
    {
        actor.on(registers.g());
    }
    let mut bytes = Bytes::of_running_call();
    if flags & MSG_TRUNC != 0 && sock.is_tcp() {
        bytes = Bytes::nowhere(bytes.call);
    }
    let (length, source) = (result as u64, Source::Socket);
    data::record(state, &Moved { bytes, length, actor, direction, source });
}

/// What is to be remembered of a socket of a target, if it is one that is wanted. Not those that the kernel uses
/// on its own account in the middle of a system call, such as that of a network file system.
#[inline(always)]
fn first_seen(sock: Sock) -> Option<&'static mut State> {
    if !filter::wants(sock.transport()?) || !sock.has_descriptor() {
        return None;
    }
    let Some(state) = sock.storage_or_new() else {
        output::lost(|counters| &mut counters.storage_full);
        return None;
    };
    if sock.is_datagram() {
        state.flags |= State::DATAGRAM;
    }
    Some(state)
}
