//! What the handshake of a TLS connection says in clear: version, server name, and how long it took.
//!
//! Both sides are walked record by record (`records`), and their hellos are read (`hello`), until the handshake is over. In
//! TLS 1.3 that is with the first encrypted record of the client, which has its Finished or what goes before it (RFC 8446
//! section 2); before, when both sides have sent their Finished, the first message after their change of keys
//! (RFC 5246 section 7.3). Where bytes are missing, the rest of that side stays unknown.

use beyla_schema::event::{Data, Direction};
use beyla_schema::request::{Kind, TlsVersion};

use super::records::HANDSHAKE;
use super::side::{Mark, Sender, Work};
use crate::exchange::{Shared, Side};

/// What is known of a connection from its handshake.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) version: Option<TlsVersion>,
    /// The host that the client asked for.
    pub(crate) server_name: Option<Box<str>>,
    /// The protocol that the server chose.
    pub(crate) alpn: Option<Box<str>>,
    /// From the first byte of the client to the end of the handshake, nanoseconds.
    pub(crate) duration_ns: Option<u64>,
}

static NOTHING: Facts = Facts { version: None, server_name: None, alpn: None, duration_ns: None };

/// How far the handshake of a connection has come.
#[derive(Debug)]
pub(crate) enum Handshake {
    /// Nothing has moved.
    Ahead,
    Going(Box<Walk>),
    /// There is no more to learn; None: nothing was.
    Over(Option<Box<Facts>>),
}

/// A handshake that goes on.
#[derive(Debug)]
pub(crate) struct Walk {
    client: Sender,
    server: Sender,
    /// When the first byte of the client moved.
    began_ns: Option<u64>,
    facts: Facts,
}

impl Handshake {
    /// Takes the bytes of one call on the socket. `kind` is the part of the captured process on a connection that is seen
    /// from its first byte; of others nothing is learned.
    pub(crate) fn data(&mut self, ts_ns: u64, data: &Data<'_>, kind: Option<Kind>, shared: &mut Shared) {
        if matches!(self, Self::Over(_)) || data.length == 0 {
            return;
        }
        if let Self::Ahead = self {
            let begins = kind.is_some() && data.position == 0 && data.payload.first() == Some(&HANDSHAKE);
            *self = if begins { Self::Going(Box::new(Walk::new())) } else { Self::Over(None) };
        }
        if let (Self::Going(walk), Some(kind)) = (&mut *self, kind) {
            walk.data(ts_ns, data, kind, shared);
            if walk.is_over() {
                self.stop(shared);
            }
        }
    }

    /// Nothing more will be learned. Gives back all memory but that of what is known.
    pub(crate) fn stop(&mut self, shared: &mut Shared) {
        let facts = match self {
            Self::Ahead => None,
            Self::Going(walk) => {
                walk.client.stop(shared);
                walk.server.stop(shared);
                Some(std::mem::take(&mut walk.facts)).filter(|facts| *facts != NOTHING).map(Box::new)
            }
            Self::Over(_) => return,
        };
        *self = Self::Over(facts);
    }

    /// What is known so far.
    pub(crate) fn facts(&self) -> &Facts {
        match self {
            Self::Going(walk) => &walk.facts,
            Self::Over(Some(facts)) => facts,
            Self::Ahead | Self::Over(None) => &NOTHING,
        }
    }
}

impl Walk {
    fn new() -> Self {
        Self {
            client: Sender::new(Side::Request),
            server: Sender::new(Side::Response),
            began_ns: None,
            facts: Facts::default(),
        }
    }

    fn data(&mut self, ts_ns: u64, data: &Data<'_>, kind: Kind, shared: &mut Shared) {
        let sender = match (kind, data.direction) {
            (Kind::Server, Direction::Receive) | (Kind::Client, Direction::Send) => {
                self.began_ns.get_or_insert(ts_ns);
                &mut self.client
            }
            (Kind::Server, Direction::Send) | (Kind::Client, Direction::Receive) => &mut self.server,
        };
        sender.data(data, &mut Work { ts_ns, facts: &mut self.facts, shared });
        if let (Mark::At(end), Some(began)) = (self.end(), self.began_ns) {
            self.facts.duration_ns = Some(end.saturating_sub(began));
        }
    }

    /// When the handshake was over.
    fn end(&self) -> Mark {
        match self.facts.version {
            Some(TlsVersion::V13) => self.client.sealed,
            Some(_) => self.client.finished.and(self.server.finished),
            None if self.server.owes_hello() => Mark::Awaited,
            None => Mark::Never,
        }
    }

    fn is_over(&self) -> bool {
        !self.client.owes_hello() && !self.server.owes_hello() && self.end() != Mark::Awaited
    }
}
