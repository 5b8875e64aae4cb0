//! TLS sessions: what the libraries that hold them turn ciphertext into, and which connection carries them.
//!
//! [`openssl`] and [`go`] are attached to the functions of one process at a time and see plaintext there; [`socket`]
//! looks at what sockets move. A session is tied to the connection that its library, or its program, uses:
//!
//! - the socket is at work within a call of the library;
//! - or the thread has just read the beginning of a connection in TLS, and now calls the library for a session that has
//!   no connection yet: programs that hand ciphertext over in memory do the one right after the other;
//! - or, in Go, the session says which descriptor it uses.
//!
//! A session for which nothing of that holds gets a number of its own.

pub(crate) mod go;
pub(crate) mod openssl;
pub(crate) mod socket;

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::{HashMap, LruHashMap},
};
use beyla_schema::wire::{BY_TLS, Call, Direction, Source, State};

use crate::{
    data, filter,
    output::{self, Actor},
    payload::Moved,
    syscall::Bytes,
};

/// A session: a process, and the address of what its library keeps of it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Key {
    process: u64,
    object: u64,
}

/// What is remembered of sessions. The loader sets its size.
#[map]
static SESSIONS: HashMap<Key, State> = HashMap::with_max_entries(1, 0);

/// What a thread is doing in a library.
#[derive(Clone, Copy)]
#[repr(C)]
struct Inside {
    object: u64,
    buffer: u64,
    /// Where the library says how many bytes it moved, where that is not what it returns.
    moved_at: u64,
}

/// Threads that are in a call of a library, by process and thread id. The loader sets its size.
#[map]
static INSIDE: HashMap<u64, Inside> = HashMap::with_max_entries(1, 0);

/// A connection that ciphertext was read from.
#[derive(Clone, Copy)]
#[repr(C)]
struct Read {
    cookie: u64,
    /// Of its state.
    flags: u64,
}

/// The connection without a session that a thread read ciphertext from last. The loader sets its size.
#[map]
static READ: LruHashMap<u64, Read> = LruHashMap::with_max_entries(1, 0);

/// Connections that sessions were tied to while their sockets were not at hand, which learn of it by the next call. The
/// loader sets its size.
#[map]
static TAKEN: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1, 0);

/// What the running thread does in a library, if it is in one.
#[inline(always)]
fn inside(actor: Actor) -> Option<Inside> {
    // SAFETY: a copy is made at once, of a value that only this thread changes.
    unsafe { INSIDE.get(actor.thread()) }.copied()
}

/// What is remembered of a session.
#[inline(always)]
fn session(actor: Actor, object: u64) -> Option<&'static mut State> {
    let key = Key { process: actor.pid.into(), object };
    // SAFETY: entries live until the library frees the session, after which nobody works on it.
    SESSIONS.get_ptr_mut(key).and_then(|state| unsafe { state.as_mut() })
}

/// The same, or what it is from now on: a session that was not seen from its beginning. None when there is no room for it.
#[inline(always)]
fn known_session(actor: Actor, object: u64) -> Option<&'static mut State> {
    if let Some(state) = session(actor, object) {
        return Some(state);
    }
    begin(actor, object, State::MIDDLE);
    session(actor, object)
}

/// A session begins, where there may have been another one. Without room for it, what it moves is lost, and counted then.
#[inline(always)]
fn begin(actor: Actor, object: u64, state: State) {
    let _ = SESSIONS.insert(Key { process: actor.pid.into(), object }, state, 0);
}

/// A session is over.
#[inline(always)]
fn end(actor: Actor, object: u64) {
    let Some(state) = session(actor, object) else { return };
    if state.cookie & BY_TLS != 0 {
        output::closed(state.cookie, state.received, state.sent, output::WHOLE);
    }
    let _ = SESSIONS.remove(Key { process: actor.pid.into(), object });
}

/// Plaintext of `length` bytes at `at`.
#[inline(always)]
fn plaintext(source: Source, direction: Direction, actor: Actor, at: u64, length: u64) -> Moved {
    let bytes = Bytes { call: Call::Other, vector: 0, at, size: length };
    Moved { bytes, length, actor, direction, source }
}

/// Records plaintext that a session moved. Apart from its callers, so that it is in each program once.
#[inline(never)]
fn record(state: &mut State, moved: &Moved) -> u64 {
    if state.cookie == 0 {
        state.cookie = BY_TLS | number();
    }
    data::record(state, moved);
    0
}

/// The number of a session: never the same twice, for no CPU makes two within 16 nanoseconds.
#[inline(always)]
fn number() -> u64 {
    // SAFETY: helpers without arguments.
    let (now_ns, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    (now_ns >> 4 << 12 | u64::from(cpu & 0xfff)) & (BY_TLS - 1)
}

/// The running thread, which is in a TLS library. None when its process is no target. From then on its sockets are
/// looked at for sessions.
#[inline(always)]
fn actor() -> Option<Actor> {
    let actor = Actor::current();
    Some(Actor { target: filter::target_with_tls(actor.pid)?, ..actor })
}
