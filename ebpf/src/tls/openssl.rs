//! Libraries of OpenSSL's family: the calls that move plaintext, and those that begin and end sessions.
//!
//! Plaintext is taken when a call returns: only then it is known how much of it has moved. The functions that return
//! a number of bytes and those that return success and tell the number elsewhere (`_ex`) differ in that alone.

use aya_ebpf::{
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use beyla_schema::wire::{Direction, Source, State};

use super::{INSIDE, Inside, READ, Read, TAKEN};
use crate::{output, output::Actor, payload};

/// `SSL *SSL_new(SSL_CTX *)`.
#[uretprobe]
fn ssl_new(ctx: RetProbeContext) -> u32 {
    let object: u64 = ctx.ret();
    if object != 0
        && let Some(actor) = super::actor()
    {
        super::begin(actor, object, State::default());
    }
    0
}

/// `SSL_free(SSL *)`.
#[uprobe]
fn ssl_free(ctx: ProbeContext) -> u32 {
    let actor = Actor::current();
    if let Some(object) = ctx.arg(0) {
        super::end(actor, object);
    }
    0
}

/// `SSL_read(SSL *, void *, int)`, `SSL_write`, and their forms with a fourth argument that tells the number of bytes.
#[uprobe]
fn ssl_enter(ctx: ProbeContext) -> u32 {
    let (Some(object), Some(buffer), Some(moved_at)) = (ctx.arg(0), ctx.arg(1), ctx.arg(3)) else { return 0 };
    let Some(actor) = super::actor() else { return 0 };
    if !enter(actor, Inside { object, buffer, moved_at }) {
        output::lost(|counters| &mut counters.storage_full);
    }
    0
}

/// `int SSL_do_handshake(SSL *)`, which some libraries call from within the others: then the thread stays in those.
#[uprobe]
fn ssl_handshake_enter(ctx: ProbeContext) -> u32 {
    let Some(object) = ctx.arg(0) else { return 0 };
    let Some(actor) = super::actor() else { return 0 };
    if super::inside(actor).is_none_or(|inside| inside.object != object) {
        // Nothing that would be recorded is lost where there is no room.
        enter(actor, Inside { object, buffer: HANDSHAKE, moved_at: 0 });
    }
    0
}

/// In place of the buffer that a handshake does not have.
const HANDSHAKE: u64 = 0;

/// The thread begins a call for a session. False when there is no room to remember it.
#[inline(always)]
fn enter(actor: Actor, inside: Inside) -> bool {
    let Some(session) = super::known_session(actor, inside.object) else { return false };
    if session.cookie == 0 {
        take_over(session, actor);
    }
    INSIDE.insert(actor.thread(), inside, 0).is_ok()
}

/// What the thread has just read in ciphertext belongs to the session that it now calls its library for.
#[inline(always)]
fn take_over(session: &mut State, actor: Actor) {
    let thread = actor.thread();
    // SAFETY: a copy is made at once, of a value that only this thread changes.
    let Some(Read { cookie, flags }) = (unsafe { READ.get(thread) }).copied() else { return };
    let _ = READ.remove(thread);
    // SAFETY: the value is not read.
    if unsafe { TAKEN.get(cookie) }.is_none() && TAKEN.insert(cookie, 1, 0).is_ok() {
        session.cookie = cookie;
        session.flags |= flags as u32 & State::CONNECTING;
    }
}

/// `SSL_do_handshake` returns.
#[uretprobe]
fn ssl_handshake_leave(_ctx: RetProbeContext) -> u32 {
    let actor = Actor::current();
    if super::inside(actor).is_some_and(|inside| inside.buffer == HANDSHAKE) {
        let _ = INSIDE.remove(actor.thread());
    }
    0
}

/// `int SSL_read(SSL *, void *, int)` returns.
#[uretprobe]
fn ssl_read(ctx: RetProbeContext) -> u32 {
    let result: i32 = ctx.ret();
    moved(Direction::Receive, result, false)
}

/// `int SSL_write(SSL *, const void *, int)` returns.
#[uretprobe]
fn ssl_write(ctx: RetProbeContext) -> u32 {
    let result: i32 = ctx.ret();
    moved(Direction::Send, result, false)
}

/// `int SSL_read_ex(SSL *, void *, size_t, size_t *)` returns.
#[uretprobe]
fn ssl_read_ex(ctx: RetProbeContext) -> u32 {
    let result: i32 = ctx.ret();
    moved(Direction::Receive, result, true)
}

/// `int SSL_write_ex(SSL *, const void *, size_t, size_t *)` returns.
#[uretprobe]
fn ssl_write_ex(ctx: RetProbeContext) -> u32 {
    let result: i32 = ctx.ret();
    moved(Direction::Send, result, true)
}

#[inline(always)]
fn moved(direction: Direction, result: i32, is_apart: bool) -> u32 {
    let actor = Actor::current();
    let Some(Inside { object, buffer, moved_at }) = super::inside(actor) else { return 0 };
    let _ = INSIDE.remove(actor.thread());
    if result <= 0 {
        return 0;
    }
    // A record has 16 KiB, a call no more than four bytes can count.
    let length = if is_apart { payload::read_word(moved_at) } else { result as u32 };
    if length == 0 {
        return 0;
    }
    let Some(session) = super::session(actor, object) else {
        output::lost(|counters| &mut counters.storage_full);
        return 0;
    };
    super::record(session, &super::plaintext(Source::OpenSsl, direction, actor, buffer, length.into()));
    0
}
