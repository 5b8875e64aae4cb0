//! Go's `crypto/tls`: plaintext where `Read` copies it to its caller and where `Write` hands it on, both under the lock of
//! their direction.
//!
//! Go passes arguments in registers of its own. The places, and what is where at each, are found by `capture`
//! (`tls::go`), which tells it by the cookie of each place: what a program needs in the low half, and in the high half
//! what tells a `*net.TCPConn` from other connections, 0 when that is not known.

use aya_ebpf::{helpers::bpf_get_attach_cookie, macros::uprobe, programs::ProbeContext};
use beyla_schema::wire::{Direction, Source, State};

use super::TAKEN;
use crate::{
    kernel::{Descriptor, Look},
    output::{self, Actor},
    payload,
};

/// `(*Conn).serverHandshake` or, when the cookie says so, `(*Conn).clientHandshake`.
#[uprobe]
fn go_handshake(ctx: ProbeContext) -> u32 {
    let Some(actor) = super::actor() else { return 0 };
    let object = argument(&ctx, 0);
    let cookie = socket(object, hash(&ctx));
    if let Some(session) = super::session(actor, object)
        && cookie != 0
        && session.cookie == cookie
    {
        // A client that renegotiates.
        return 0;
    }
    let flags = if low(&ctx) != 0 { State::CONNECTING } else { 0 };
    super::begin(actor, object, State { cookie, flags, ..State::default() });
    0
}

/// `(*Conn).Read` copies plaintext; the connection is so far above the stack pointer as the cookie says.
#[uprobe]
fn go_read(ctx: ProbeContext) -> u32 {
    let connection = payload::read_long(stack(&ctx) + u64::from(low(&ctx)));
    moved(&ctx, connection, Direction::Receive, argument(&ctx, 1), argument(&ctx, 2))
}

/// `(*Conn).Write` hands plaintext on.
#[uprobe]
fn go_write(ctx: ProbeContext) -> u32 {
    moved(&ctx, argument(&ctx, 0), Direction::Send, argument(&ctx, 2), argument(&ctx, 3))
}

/// `(*Conn).Close`.
#[uprobe]
fn go_close(ctx: ProbeContext) -> u32 {
    super::end(Actor::current(), argument(&ctx, 0));
    0
}

#[inline(always)]
fn moved(ctx: &ProbeContext, connection: u64, direction: Direction, at: u64, length: u64) -> u32 {
    if length == 0 || length > u64::from(u32::MAX) {
        return 0;
    }
    let Some(mut actor) = super::actor() else { return 0 };
    if actor.target.goid_offset() != 0 {
        actor.on(g(ctx));
    }
    let Some(session) = super::known_session(actor, connection) else {
        output::lost(|counters| &mut counters.storage_full);
        return 0;
    };
    if session.cookie == 0 {
        session.cookie = socket(connection, hash(ctx));
    }
    super::record(session, &super::plaintext(Source::Go, direction, actor, at, length));
    0
}

/// The cookie of the socket of a connection's `net.Conn`, which learns by its next call that it is taken. 0 when it is not
/// known. That is an interface, whose table of methods has the hash of its type at 16, and whose value leads to a
/// `netFD`, which has the descriptor at 16.
#[inline(always)]
fn socket(connection: u64, hash: u32) -> u64 {
    let (methods, value) = (payload::read_long(connection), payload::read_long(connection + 8));
    if hash != 0 && payload::read_word(methods + 16) != hash {
        return 0;
    }
    match Descriptor::look(payload::read_word(payload::read_long(value) + 16)) {
        Look::Socket(descriptor) if descriptor.is_tcp() && descriptor.cookie != 0 => {
            let _ = TAKEN.insert(descriptor.cookie, 1, 0);
            descriptor.cookie
        }
        _ => 0,
    }
}

/// What a program needs to know of its place.
#[inline(always)]
fn low(ctx: &ProbeContext) -> u32 {
    cookie(ctx) as u32
}

/// What tells a `*net.TCPConn`.
#[inline(always)]
fn hash(ctx: &ProbeContext) -> u32 {
    (cookie(ctx) >> 32) as u32
}

#[inline(always)]
fn cookie(ctx: &ProbeContext) -> u64 {
    // SAFETY: the context of the running program.
    unsafe { bpf_get_attach_cookie(ctx.regs.cast()) }
}

/// An argument of a function of Go.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn argument(ctx: &ProbeContext, number: usize) -> u64 {
    // SAFETY: the registers that the context is.
    let registers = unsafe { &*ctx.regs };
    match number {
        0 => registers.rax,
        1 => registers.rbx,
        2 => registers.rcx,
        _ => registers.rdi,
    }
}

/// The address of the `runtime.g` that runs.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn g(ctx: &ProbeContext) -> u64 {
    // SAFETY: the registers that the context is.
    unsafe { &*ctx.regs }.r14
}

/// The stack pointer.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn stack(ctx: &ProbeContext) -> u64 {
    // SAFETY: the registers that the context is.
    unsafe { &*ctx.regs }.rsp
}

/// An argument of a function of Go.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn argument(ctx: &ProbeContext, number: usize) -> u64 {
    // SAFETY: the registers that the context is.
    unsafe { &*ctx.regs }.regs[number]
}

/// The address of the `runtime.g` that runs.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn g(ctx: &ProbeContext) -> u64 {
    // SAFETY: the registers that the context is.
    unsafe { &*ctx.regs }.regs[28]
}

/// The stack pointer.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn stack(ctx: &ProbeContext) -> u64 {
    // SAFETY: the registers that the context is.
    unsafe { &*ctx.regs }.sp
}
