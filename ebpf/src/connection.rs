//! Where what is remembered of a connection is kept.
//!
//! Where sockets come with the bytes (`sock_send_length`, `sock_recv_length`) everything is in the socket's own
//! storage and dies with it. At the exit of a system call there is only the address of a socket, through which
//! the verifier lets nobody get at that storage: there it has the flags, which the programs that are called with
//! sockets set and the kernel passes from listeners to connections, and the rest is in a table by cookie.

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::HashMap};
use beyla_schema::wire::{BY_INODE, State};

use crate::{
    kernel::{self, Descriptor, Sock},
    output,
};

/// Whether bytes are seen at the exit of system calls. The loader sets it, and loads what belongs to it.
#[unsafe(no_mangle)]
static SYS_EXIT: u8 = 0;

/// Connections by cookie, where bytes are seen at the exit of system calls. The loader sets its size.
#[map]
static CONNECTIONS: HashMap<u64, State> = HashMap::with_max_entries(1, 0);

/// Whether bytes are seen at the exit of system calls.
#[inline(always)]
pub(crate) fn at_exit() -> bool {
    kernel::setting(&SYS_EXIT) != 0
}

/// What is remembered of a connection.
#[inline(always)]
pub(crate) fn of(sock: Sock) -> Option<&'static mut State> {
    if !at_exit() {
        return sock.storage();
    }
    let cookie = sock.known_cookie();
    get(cookie).or_else(|| by_inode(cookie, sock.inode()))
}

/// What is to be remembered of a connection that is established, whose socket has `mark`.
#[inline(always)]
pub(crate) fn established(sock: Sock, mark: &'static mut State) -> Option<&'static mut State> {
    let cookie = sock.cookie();
    if !at_exit() {
        mark.cookie = cookie;
        return Some(mark);
    }
    get(cookie).or_else(|| create(cookie, mark.flags))
}

/// What is remembered of the connection of a descriptor, or is from now on. None, and a loss, when there is no
/// room for it.
#[inline(always)]
pub(crate) fn of_descriptor(descriptor: &Descriptor) -> Option<&'static mut State> {
    let &Descriptor { cookie, inode, .. } = descriptor;
    get(cookie)
        .or_else(|| by_inode(cookie, inode))
        .or_else(|| create(if cookie != 0 { cookie } else { BY_INODE | inode }, 0))
}

/// The socket is gone.
#[inline(always)]
pub(crate) fn forget(sock: Sock) {
    let cookie = sock.known_cookie();
    if cookie != 0 {
        let _ = CONNECTIONS.remove(cookie);
    }
}

/// Whether the connection of a descriptor was accepted from a listening socket that belongs to the capture.
#[inline(always)]
pub(crate) fn is_marked(descriptor: &Descriptor) -> bool {
    get(descriptor.cookie).is_some_and(|state| state.flags & State::MARKED != 0)
}

#[inline(always)]
fn get(key: u64) -> Option<&'static mut State> {
    // SAFETY: entries live until `tcp_destroy_sock`, when nobody is left who could be at work on the socket.
    CONNECTIONS.get_ptr_mut(key).and_then(|state| unsafe { state.as_mut() })
}

/// A connection that was seen before its socket had a cookie. It moves to its cookie as soon as it has one, where
/// it is found when its socket is destroyed; what its records call it stays.
#[inline(always)]
fn by_inode(cookie: u64, inode: u64) -> Option<&'static mut State> {
    if inode == 0 {
        return None;
    }
    let before = get(BY_INODE | inode)?;
    if cookie == 0 {
        return Some(before);
    }
    let moving = *before;
    if CONNECTIONS.insert(cookie, moving, BPF_NOEXIST.into()).is_err() {
        return Some(before);
    }
    let _ = CONNECTIONS.remove(BY_INODE | inode);
    get(cookie)
}

#[inline(always)]
fn create(key: u64, flags: u32) -> Option<&'static mut State> {
    let state = State { cookie: key, flags, ..State::default() };
    // Another thread may have been faster.
    let _ = CONNECTIONS.insert(key, state, BPF_NOEXIST.into());
    let state = get(key);
    if state.is_none() {
        output::lost(|counters| &mut counters.storage_full);
    }
    state
}
