//! One connection: who it links, the bytes of its socket, and the plaintext of its TLS session if there is one.

use std::net::SocketAddr;

use beyla_schema::event::{BY_TLS, Close, Data, Direction, Event, Open, Origin, Source, Transport};
use beyla_schema::request::{EndReason, Kind, TlsMatch};

use crate::Sink;
use crate::exchange::{Shared, Tls};
use crate::layer::{Ends, Layer};
use crate::tls::Handshake;

/// State of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    ends: Ends<'static>,
    /// The part of the captured process, from how the connection was made.
    kind: Option<Kind>,
    /// Seen since it was made.
    whole: bool,
    socket: Layer,
    handshake: Handshake,
    plain: Option<Box<Plain>>,
    /// When the ciphertext arrived that the next plaintext is made of.
    ready_ns: Option<u64>,
}

/// The plaintext of a TLS session.
#[derive(Debug)]
pub(crate) struct Plain {
    layer: Layer,
    source: Source,
    how: Option<TlsMatch>,
    /// What its events call it, when that is not the connection.
    pub(crate) session: Option<u64>,
}

impl Connection {
    /// A connection of which nothing is known: as if found in its middle.
    pub(crate) fn new(id: u64) -> Self {
        Self {
            ends: Ends { connection: id, local: None, remote: None, tls: None },
            kind: None,
            whole: false,
            socket: Layer::found(),
            handshake: Handshake::Ahead,
            plain: None,
            ready_ns: None,
        }
    }

    /// Learns the addresses; and, if nothing has moved yet, that every byte from here on will be seen. What is
    /// `carried` over from another part of the capture may have moved bytes there.
    pub(crate) fn open(&mut self, open: &Open<'_>, carried: bool, shared: &mut Shared) {
        self.ends.local = open.local.inet().map(canonical);
        self.ends.remote = open.remote.inet().map(canonical);
        if open.transport == Transport::Udp {
            self.socket.close_eyes(shared);
            return;
        }
        self.kind = match open.origin {
            Origin::Accept => Some(Kind::Server),
            Origin::Connect => Some(Kind::Client),
            Origin::Found => None,
        };
        if let Some(kind) = self.kind {
            self.socket.play(kind);
        }
        if !carried {
            self.whole = self.kind.is_some();
            self.socket.begin(self.whole);
        }
    }

    /// Takes the bytes of one call: of the socket, or of a TLS library.
    pub(crate) fn data(
        &mut self,
        event: &Event<'_>,
        data: &Data<'_>,
        shared: &mut Shared,
        sink: &mut dyn Sink,
    ) {
        if data.source == Source::Socket {
            self.handshake.data(event.ts_ns, data, self.kind.filter(|_| self.whole), shared);
            self.socket.data(event, data, data.ready_ns, &self.ends, shared, sink);
            if data.direction == Direction::Receive && self.socket.is_tls() {
                self.ready_ns = self.ready_ns.or(data.ready_ns);
            }
            return;
        }
        if self.plain.is_none() {
            let apart = event.connection & BY_TLS != 0;
            let (how, session) = match (apart, event.connection == self.ends.connection) {
                (false, _) => (Some(TlsMatch::Nested), None),
                (true, true) => (None, None),
                (true, false) => (Some(TlsMatch::Time), Some(event.connection)),
            };
            let mut layer = Layer::found();
            if self.whole && data.position == 0 {
                layer.begin(true);
            }
            self.unwrap(Box::new(Plain { layer, source: data.source, how, session }), shared, sink);
        }
        let ready_ns = match data.direction {
            Direction::Receive => data.ready_ns.or(self.ready_ns.take()),
            Direction::Send => None,
        };
        if let Some(plain) = &mut self.plain {
            let ends = plain.ends(&self.ends, &self.handshake);
            plain.layer.data(event, data, ready_ns, &ends, shared, sink);
        }
    }

    /// This is the plaintext of the connection.
    pub(crate) fn unwrap(&mut self, mut plain: Box<Plain>, shared: &mut Shared, sink: &mut dyn Sink) {
        self.socket.is_ciphertext(&self.ends, shared, sink);
        if let Some(kind) = self.kind {
            plain.layer.play(kind);
        }
        self.plain = Some(plain);
    }

    /// Takes the plaintext away from what stands for its connection, to be that of a connection: it was tied to it by
    /// time.
    pub(crate) fn into_plain(mut self, shared: &mut Shared) -> Option<Box<Plain>> {
        self.handshake.stop(shared);
        let mut plain = self.plain?;
        plain.how = Some(TlsMatch::Time);
        plain.session = Some(self.ends.connection);
        Some(plain)
    }

    /// Whether it moves ciphertext of which the plaintext is not known.
    pub(crate) fn is_sealed(&self) -> bool {
        self.plain.is_none() && self.socket.is_tls()
    }

    /// What the events of its TLS session call it, when that is not the connection.
    pub(crate) fn session(&self) -> Option<u64> {
        self.plain.as_ref()?.session
    }

    /// One direction, or all of the connection, has ended. After the latter the state can be dropped.
    pub(crate) fn close(&mut self, close: &Close, shared: &mut Shared, sink: &mut dyn Sink) {
        if let Some(direction) = close.direction {
            self.socket.half_close(direction, &self.ends, shared, sink);
            if let Some(plain) = &mut self.plain {
                let ends = plain.ends(&self.ends, &self.handshake);
                plain.layer.half_close(direction, &ends, shared, sink);
            }
            return;
        }
        self.socket.close(Some((close.received, close.sent)), &self.ends, shared, sink);
        self.handshake.stop(shared);
        self.close_session(shared, sink);
    }

    /// Its TLS session has ended.
    pub(crate) fn close_session(&mut self, shared: &mut Shared, sink: &mut dyn Sink) {
        if let Some(plain) = &mut self.plain {
            let ends = plain.ends(&self.ends, &self.handshake);
            plain.layer.close(None, &ends, shared, sink);
        }
    }

    /// Settles what is unfinished.
    pub(crate) fn end(&mut self, reason: EndReason, shared: &mut Shared, sink: &mut dyn Sink) {
        self.socket.end(reason, &self.ends, shared, sink);
        self.handshake.stop(shared);
        if let Some(plain) = &mut self.plain {
            let ends = plain.ends(&self.ends, &self.handshake);
            plain.layer.end(reason, &ends, shared, sink);
        }
    }
}

impl Plain {
    /// What it has of its connection.
    fn ends<'a>(&self, ends: &Ends<'_>, handshake: &'a Handshake) -> Ends<'a> {
        let Ends { connection, local, remote, .. } = *ends;
        let tls = Tls { source: self.source, how: self.how, facts: handshake.facts() };
        Ends { connection, local, remote, tls: Some(tls) }
    }
}

/// A v4-mapped IPv6 address is the IPv4 address it stands for.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
