//! Which connection a TLS session belongs to, where the kernel did not see its socket within the calls of the library.
//!
//! A program reads ciphertext from a socket and hands it to the library, which returns plaintext in the same thread; it
//! hands plaintext to the library, and writes the ciphertext to the socket. So a session belongs to the only
//! connection that its thread read ciphertext from since it last read plaintext; and the only session that wrote
//! plaintext since its thread last wrote ciphertext belongs to the connection it is written to. More than one, or
//! too long between, says nothing: the next calls may.

use beyla_schema::event::{Data, Direction, Event};
use rustc_hash::FxHashMap;

/// How long plaintext and its ciphertext may lie apart.
const WINDOW_NS: u64 = 10_000_000;

/// Threads that are remembered.
const MAX_THREADS: usize = 4096;

/// What is known of sessions and connections that are not tied to each other.
#[derive(Debug, Default)]
pub(crate) struct Association {
    /// By process and thread.
    threads: FxHashMap<(u32, u32), Recent>,
    /// The connections of sessions that are tied to one.
    bound: FxHashMap<u64, u64>,
}

#[derive(Debug, Default)]
struct Recent {
    /// The connection that ciphertext was read from.
    read: Seen,
    /// The session that plaintext was written to.
    wrote: Seen,
}

#[derive(Clone, Copy, Debug, Default)]
enum Seen {
    #[default]
    Nothing,
    One(u64, u64),
    Several,
}

impl Seen {
    fn add(&mut self, id: u64, ts_ns: u64) {
        *self = match *self {
            Self::Nothing => Self::One(id, ts_ns),
            Self::One(before, _) if before == id => Self::One(id, ts_ns),
            // What came long before came to nothing.
            Self::One(_, before) if before.saturating_add(WINDOW_NS) < ts_ns => Self::One(id, ts_ns),
            _ => Self::Several,
        };
    }

    fn take(&mut self, ts_ns: u64) -> Option<u64> {
        match std::mem::take(self) {
            Self::One(id, before) if ts_ns <= before.saturating_add(WINDOW_NS) => Some(id),
            _ => None,
        }
    }
}

impl Association {
    /// The connection of a session.
    pub(crate) fn connection(&self, session: u64) -> Option<u64> {
        self.bound.get(&session).copied()
    }

    /// A session belongs to a connection.
    pub(crate) fn bind(&mut self, session: u64, connection: u64) {
        self.bound.insert(session, connection);
    }

    /// A session is over.
    pub(crate) fn forget(&mut self, session: u64) {
        self.bound.remove(&session);
    }

    /// A session that is not tied to a connection moved plaintext. Gives its connection, if this tells.
    pub(crate) fn plaintext(&mut self, event: &Event<'_>, data: &Data<'_>) -> Option<u64> {
        let recent = self.recent(event);
        match data.direction {
            Direction::Receive => recent.read.take(event.ts_ns),
            Direction::Send => {
                recent.wrote.add(event.connection, event.ts_ns);
                None
            }
        }
    }

    /// A connection that no session is tied to moved ciphertext. Gives its session, if this tells.
    pub(crate) fn ciphertext(&mut self, event: &Event<'_>, data: &Data<'_>) -> Option<u64> {
        let recent = self.recent(event);
        match data.direction {
            Direction::Send => recent.wrote.take(event.ts_ns),
            Direction::Receive => {
                recent.read.add(event.connection, event.ts_ns);
                None
            }
        }
    }

    fn recent(&mut self, event: &Event<'_>) -> &mut Recent {
        let thread = (event.pid, event.tid);
        if self.threads.len() >= MAX_THREADS && !self.threads.contains_key(&thread) {
            self.threads.clear();
        }
        self.threads.entry(thread).or_default()
    }
}
