//! Bytes seen at the exit of the system calls that moved them, where the kernel lacks the tracepoints of
//! `sock_length` (before Linux 6.3): the socket is found through the descriptor.
//!
//! A descriptor may be closed, or given to another file, by another thread before its call is over; the first is
//! counted, the second is not noticed. What moves without a system call of its own (io_uring) is not seen.

use core::ptr::null_mut;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use beyla_schema::wire::{Call, Direction, Origin, Source, State, Target, Transport};

use crate::{
    connection,
    data::{self, MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC},
    filter,
    kernel::{Descriptor, Look, Registers, Sock},
    lifecycle,
    output::{self, Actor},
    payload::{self, Moved, Scratch},
    syscall::{Arguments, Bytes, Kind},
};

/// `trace_sys_exit(regs, ret)`, include/trace/events/syscalls.h.
#[btf_tracepoint(function = "sys_exit")]
fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let result: i64 = ctx.arg(1);
    if result <= 0 {
        return 0;
    }
    let mut actor = Actor::current();
    let target = filter::target(actor.pid);
    actor.target = target.unwrap_or(Target(0));
    let target = target.is_some();
    if !target && !filter::selects_ports() {
        return 0;
    }
    // SAFETY: the first argument of this tracepoint.
    let registers = unsafe { Registers::new(ctx.arg(0)) };
    if actor.target.goid_offset() != 0 {
        actor.on(registers.g());
    }
    let arguments = registers.arguments();
    match arguments.kind() {
        Kind::Moves(call) if target => moved(call, &arguments, result as u64, actor),
        Kind::Accepts if !target => accepted(result as u32, actor),
        Kind::EntersRing if target => {
            output::count(|counters| &mut counters.io_uring);
        }
        _ => {}
    }
    0
}

/// Whoever serves a connection of a selected port is a target from here on.
#[inline(always)]
fn accepted(number: u32, actor: Actor) {
    if let Look::Socket(descriptor) = Descriptor::look(number)
        && connection::is_marked(&descriptor)
    {
        lifecycle::adopt(actor.pid);
    }
}

#[inline(always)]
fn moved(call: Call, arguments: &Arguments, result: u64, actor: Actor) {
    let (direction, flags) = match call {
        Call::Read | Call::Readv | Call::Splice => (Direction::Receive, 0),
        Call::Recvfrom | Call::Recvmmsg => (Direction::Receive, arguments.fourth),
        Call::Recvmsg => (Direction::Receive, arguments.third),
        _ => (Direction::Send, 0),
    };
    // Neither moves the stream: a peek leaves the bytes where they are, the error queue has other bytes.
    if flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return;
    }
    let Some(scratch) = payload::scratch(direction) else {
        output::lost(|counters| &mut counters.storage_full);
        return;
    };
    let discarded = flags & MSG_TRUNC != 0;
    let bytes = if discarded { Bytes::nowhere(call) } else { arguments.bytes(call) };
    scratch.moved = Moved { bytes, length: result, actor, direction, source: Source::Socket };
    // From a socket to a pipe, or the other way round.
    let other = if call == Call::Splice { arguments.third } else { NONE };
    let state = connection(arguments.first, other, scratch);
    // SAFETY: what `connection` returns.
    let Some(state) = (unsafe { state.as_mut() }) else { return };
    if !matches!(scratch.moved.bytes.call, Call::Sendmmsg | Call::Recvmmsg) {
        record(state, scratch);
        return;
    }
    let (size, length_at) = if arguments.is_64_bit() { (64, 56) } else { (32, 28) };
    let visible = u64::from(arguments.is_64_bit() && !discarded);
    let at = arguments.second;
    let mut messages = Messages { state, scratch, at, size, length_at, visible };
    payload::repeat(result.min(MAX_MESSAGES), message, &mut messages);
    if !payload::has_loop() {
        let mut missed = result.saturating_sub(payload::limit(MAX_MESSAGES));
        while missed > 0 && missed < MAX_MESSAGES {
            output::lost(|counters| &mut counters.message_limit);
            missed -= 1;
        }
    }
}

/// No descriptor.
const NONE: u64 = u64::MAX;

/// What is remembered of the connection that a call used, by its first descriptor or else the other, which sends. Null
/// when it used none; apart from its caller because of the stack.
#[inline(never)]
fn connection(number: u64, other: u64, scratch: &mut Scratch) -> *mut State {
    let mut look = Descriptor::look(number as u32);
    if other != NONE && matches!(look, Look::NoSocket) {
        scratch.moved.direction = Direction::Send;
        look = Descriptor::look(other as u32);
    }
    let descriptor = match look {
        Look::Socket(descriptor) if descriptor.is_tcp() => descriptor,
        Look::Socket(_) | Look::NoSocket => return null_mut(),
        Look::Gone => {
            output::lost(|counters| &mut counters.descriptor_gone);
            return null_mut();
        }
    };
    let Some(state) = connection::of_descriptor(&descriptor) else { return null_mut() };
    if state.flags & State::ANNOUNCED == 0 {
        let actor = scratch.moved.actor;
        lifecycle::announce(descriptor.address(), Transport::Tcp, state, Origin::Found, actor);
    }
    state
}

/// Apart from its callers, so that it is in the program once and has a stack frame of its own.
#[inline(never)]
fn record(state: &mut State, scratch: &Scratch) -> u64 {
    data::record(state, &scratch.moved);
    0
}

/// `UIO_MAXIOV` of include/uapi/linux/uio.h: the kernel takes no more messages at once.
const MAX_MESSAGES: u64 = 1024;

/// A walk over an array of `struct mmsghdr` (include/linux/socket.h).
#[repr(C)]
struct Messages {
    state: *mut State,
    scratch: *mut Scratch,
    at: u64,
    /// Bytes of one.
    size: u64,
    /// Where in it is the number of bytes that moved.
    length_at: u64,
    /// 0 when its bytes are not to be looked for.
    visible: u64,
}

/// Records one message.
#[inline(never)]
extern "C" fn message(index: u64, messages: *mut Messages) -> u64 {
    // SAFETY: `repeat` passes on what `moved` gave it.
    let messages = unsafe { &mut *messages };
    // SAFETY: as in `moved`, which is still running.
    let (state, scratch) = unsafe { (&mut *messages.state, &mut *messages.scratch) };
    let header = messages.at + index * messages.size;
    scratch.moved.length = payload::read_word(header + messages.length_at).into();
    if messages.visible != 0 {
        scratch.moved.bytes = Bytes::of_message(scratch.moved.bytes.call, header);
    }
    if scratch.moved.length != 0 {
        record(state, scratch);
    }
    0
}

/// `trace_tcp_rcv_space_adjust(sk)`, include/trace/events/tcp.h: called for every read of a connection, before the
/// exit of its system call.
///
/// It has what is missing there: the socket itself. So a connection gets its cookie before its first bytes are
/// recorded, and whoever reads from one of a selected port is a target in time for that very read.
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
fn tcp_rcv_space_adjust(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument of this tracepoint.
    let sock = unsafe { Sock::new(ctx.arg(0)) };
    let known = sock.known_cookie() != 0;
    if known && !filter::selects_ports() || !sock.is_owned() {
        return 0;
    }
    let marked =
        filter::selects_ports() && sock.storage().is_some_and(|state| state.flags & State::MARKED != 0);
    if known && !marked {
        return 0;
    }
    let actor = Actor::current();
    if filter::is_target(actor.pid) {
        if !known {
            sock.cookie();
        }
    } else if marked {
        lifecycle::adopt(actor.pid);
    }
    0
}

/// `trace_tcp_destroy_sock(sk)`, include/trace/events/tcp.h: nobody can work on the socket any more.
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument of this tracepoint.
    connection::forget(unsafe { Sock::new(ctx.arg(0)) });
    0
}
