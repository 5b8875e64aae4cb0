//! The TCP sockets a process already has when the capture finds it: marked in the kernel as belonging to the
//! capture, and told as rows, so that every later event can be named.

use std::{collections::HashMap, ffi::OsStr, net::SocketAddr, os::fd::OwnedFd};

use aya::maps::{HashMap as BpfHashMap, MapData, MapError, SkStorage};
use beyla_schema::wire::State;
use procfs::{
    net::TcpState,
    process::{FDTarget, Process},
};
use rustix::{
    net::sockopt::socket_cookie,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use serde::{Deserialize, Serialize};

use super::facts::open;
use crate::host;

/// A [`State`], word by word.
type Words = [u64; State::WORDS];

/// The kernel's memory of sockets.
pub type Marks = SkStorage<MapData, Words>;

/// What the kernel programs remember of connections, by cookie.
pub type Connections = BpfHashMap<MapData, u64, Words>;

/// A socket that was there before the kernel programs saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundSocket {
    /// A moment before the kernel programs knew it: none of its events is earlier.
    pub ts_ns: u64,
    /// Its cookie.
    pub cookie: u64,
    /// Its address.
    pub local: SocketAddr,
    /// Its peer's; none when it listens.
    pub remote: Option<SocketAddr>,
}

/// Flag of map updates, include/uapi/linux/bpf.h: fails when there is a value already.
const BPF_NOEXIST: u64 = 1;

/// Marks all TCP sockets of a process. Those that the kernel programs did not know yet are returned.
pub fn mark(pid: u32, marks: &mut Marks) -> Vec<FoundSocket> {
    let Some(process) = open(pid) else { return Vec::new() };
    let sockets = of_process(&process, &mut Namespaces::new());
    if sockets.is_empty() {
        return Vec::new();
    }
    let handle = Pid::from_raw(process.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let Some(handle) = handle else { return Vec::new() };
    // A descriptor that was closed meanwhile needs no mark.
    let found = sockets.into_iter().filter_map(|Socket { fd, local, remote }| {
        let socket: OwnedFd = pidfd_getfd(&handle, fd, PidfdGetfdFlags::empty()).ok()?;
        let cookie = socket_cookie(&socket).ok()?;
        let ts_ns = host::monotonic_ns();
        // The state of a listener is what its connections begin with: nothing but the mark.
        let state = match remote {
            None => State { flags: State::MARKED, ..State::default() }.words(),
            Some(_) => announced(cookie),
        };
        marks.insert(&socket, state, BPF_NOEXIST).ok()?;
        Some(FoundSocket { ts_ns, cookie, local, remote })
    });
    found.collect()
}

impl FoundSocket {
    /// Has the kernel programs know the connection, unless they do already.
    pub fn remember(&self, connections: &mut Connections) -> Result<(), MapError> {
        connections.insert(self.cookie, announced(self.cookie), BPF_NOEXIST)
    }
}

/// The state of a connection that is told.
fn announced(cookie: u64) -> Words {
    State { cookie, flags: State::MARKED | State::ANNOUNCED, ..State::default() }.words()
}

/// A TCP socket of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    /// Number of the descriptor in its process.
    fd: i32,
    /// Its address.
    pub(super) local: SocketAddr,
    /// Its peer's; none when it listens.
    pub(super) remote: Option<SocketAddr>,
}

/// TCP sockets by inode, for each network namespace.
pub(super) type Namespaces = HashMap<u64, HashMap<u64, (SocketAddr, Option<SocketAddr>)>>;

/// The TCP sockets of a process that listen or are connected. Empty when it may not be looked at.
pub(super) fn of_process(process: &Process, namespaces: &mut Namespaces) -> Vec<Socket> {
    let Ok(fds) = process.fd() else { return Vec::new() };
    let mut sockets = fds.flatten().filter_map(|fd| match fd.target {
        FDTarget::Socket(inode) => Some((fd.fd, inode)),
        _ => None,
    });
    // Most processes have no socket: their namespace does not matter.
    let Some(first) = sockets.next() else { return Vec::new() };
    let namespace = process
        .namespaces()
        .ok()
        .and_then(|namespaces| Some(namespaces.0.get(OsStr::new("net"))?.identifier))
        .unwrap_or(0);
    let addresses = namespaces.entry(namespace).or_insert_with(|| of_namespace(process));
    let socket = |(fd, inode)| addresses.get(&inode).map(|&(local, remote)| Socket { fd, local, remote });
    std::iter::once(first).chain(sockets).filter_map(socket).collect()
}

fn of_namespace(process: &Process) -> HashMap<u64, (SocketAddr, Option<SocketAddr>)> {
    let entries = [process.tcp(), process.tcp6()].into_iter().flatten().flatten();
    let known = entries.filter_map(|entry| match entry.state {
        TcpState::Listen => Some((entry.inode, (entry.local_address, None))),
        // They have no end that anybody could use any more.
        TcpState::Close | TcpState::TimeWait => None,
        _ => Some((entry.inode, (entry.local_address, Some(entry.remote_address)))),
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd as _,
    };

    use super::*;

    #[test]
    fn listeners_and_connections_of_this_process_are_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let sockets = of_process(&open(std::process::id()).unwrap(), &mut Namespaces::new());
        let find = |fd| sockets.iter().find(|socket| socket.fd == fd).copied();
        assert_eq!(find(listener.as_raw_fd()).unwrap().remote, None);
        let client_seen = find(client.as_raw_fd()).unwrap();
        assert_eq!((client_seen.local, client_seen.remote), (client.local_addr().unwrap(), Some(address)));
    }
}
