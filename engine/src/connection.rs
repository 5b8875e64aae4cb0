//! One connection: who it links, which side the captured process is on, and which protocol decodes it.

use std::net::SocketAddr;

use beyla_schema::event::{Close, Data, Direction, Event, Open, Origin, Source, Transport};
use beyla_schema::request::{EndReason, Kind};

use crate::Sink;
use crate::exchange::{Link, Moment, Shared};
use crate::http1::{self, Pairing, Side};
use crate::stream::Stream;

/// State of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    received: Stream,
    sent: Stream,
    calls: u64,
    role: Role,
    state: State,
    /// The peer has sent its last byte.
    peer_done: bool,
}

/// Who asks and who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Not known: no request was recognised yet.
    Unknown,
    /// Taken from the direction of what looks like a request, until a response agrees.
    Assumed(Kind),
    /// Known from how the connection was made.
    Known(Kind),
}

#[derive(Debug)]
enum State {
    /// HTTP/1.x, until the bytes say otherwise.
    Http1(Box<Pairing>),
    /// Not decoded: another protocol, from the beginning or by a switch.
    Opaque,
}

impl Connection {
    /// A connection of which nothing is known: as if found in its middle.
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            local: None,
            remote: None,
            received: Stream::FOUND,
            sent: Stream::FOUND,
            calls: 0,
            role: Role::Unknown,
            state: State::Http1(Box::new(Pairing::found())),
            peer_done: false,
        }
    }

    /// Learns the addresses; and, if nothing has moved yet, that every byte from here on will be seen. What is
    /// `carried` over from another part of the capture may have moved bytes there.
    pub(crate) fn open(&mut self, open: &Open<'_>, carried: bool) {
        self.local = open.local.inet().map(canonical);
        self.remote = open.remote.inet().map(canonical);
        if open.transport == Transport::Udp {
            self.state = State::Opaque;
            return;
        }
        let kind = match open.origin {
            Origin::Accept => Some(Kind::Server),
            Origin::Connect => Some(Kind::Client),
            Origin::Found => None,
        };
        if let (Some(kind), Role::Unknown) = (kind, self.role) {
            self.role = Role::Known(kind);
        }
        if self.calls == 0 && !carried {
            self.received = Stream::BEGUN;
            self.sent = Stream::BEGUN;
            if kind.is_some() {
                self.state = State::Http1(Box::new(Pairing::begun()));
            }
        }
    }

    /// Takes the bytes of one call.
    pub(crate) fn data(
        &mut self,
        event: &Event<'_>,
        data: &Data<'_>,
        shared: &mut Shared,
        sink: &mut dyn Sink,
    ) {
        if data.source != Source::Socket {
            shared.stats.undecoded_bytes += u64::from(data.length);
            return;
        }
        self.calls += 1;
        let stream = match data.direction {
            Direction::Receive => &mut self.received,
            Direction::Send => &mut self.sent,
        };
        let call = stream.advance(data);
        shared.stats.gap_bytes = shared.stats.gap_bytes.saturating_add(call.lost);
        shared.stats.truncated_bytes += call.hidden;
        shared.stats.duplicate_bytes += call.seen;
        self.assume_role(data.direction, if call.seen == 0 { call.head } else { b"" }, shared);
        let Some(link) = self.link() else {
            shared.stats.unparsed_bytes += (call.head.len() + call.tail.len()) as u64;
            return;
        };
        let State::Http1(pairing) = &mut self.state else {
            shared.stats.opaque_bytes += u64::from(data.length) - call.seen;
            return;
        };
        let now = Moment {
            ts_ns: event.ts_ns,
            ready_ns: data.ready_ns,
            pid: event.pid,
            tid: event.tid,
            call: self.calls,
        };
        let mut context = http1::Context { link, now, shared, sink };
        if pairing.call(side(link.kind, data.direction), &call, &mut context).is_break() {
            self.state = State::Opaque;
        }
    }

    /// For a connection found in its middle: takes a call that begins like a request for one.
    fn assume_role(&mut self, direction: Direction, call: &[u8], shared: &mut Shared) {
        let State::Http1(pairing) = &mut self.state else { return };
        let assumed = match self.role {
            Role::Known(_) => return,
            Role::Assumed(_) if pairing.has_answered() => return,
            Role::Assumed(kind) => Some(kind),
            Role::Unknown => None,
        };
        let kind = match direction {
            Direction::Receive => Kind::Server,
            Direction::Send => Kind::Client,
        };
        // What was taken for a request may have been a body that looks like one: until a response agrees, a
        // request the other way counts more.
        if assumed != Some(kind) && http1::head::begins_request_line(call) {
            pairing.abandon(shared);
            self.role = Role::Assumed(kind);
        }
    }

    fn link(&self) -> Option<Link> {
        let (Role::Assumed(kind) | Role::Known(kind)) = self.role else {
            return None;
        };
        let (client, server) = match kind {
            Kind::Server => (self.remote, self.local),
            Kind::Client => (self.local, self.remote),
        };
        Some(Link { connection: self.id, kind, client, server })
    }

    /// One direction, or all of the connection, has ended. After the latter the state can be dropped.
    pub(crate) fn close(&mut self, close: &Close, shared: &mut Shared, sink: &mut dyn Sink) {
        let kind = self.link().map(|link| link.kind);
        let Some(direction) = close.direction else {
            let received = self.received.missing_of(close.received);
            let sent = self.sent.missing_of(close.sent);
            if received > 0 || sent > 0 {
                shared.stats.gap_bytes = shared.stats.gap_bytes.saturating_add(received).saturating_add(sent);
                shared.stats.incomplete_connections += 1;
            }
            let unseen = if kind == Some(Kind::Server) { sent } else { received };
            let reason = if unseen > 0 { EndReason::Gap } else { EndReason::Closed };
            self.end(reason, shared, sink);
            return;
        };
        self.peer_done |= direction == Direction::Receive;
        // What a peer sent before its end may still be unread: a client has it all when it closes too.
        let answered = direction == Direction::Send && (kind == Some(Kind::Server) || self.peer_done);
        if answered {
            self.with_pairing(shared, sink, Pairing::response_ended);
        }
    }

    /// Settles what is unfinished. A response of unknown length is complete when the connection has closed.
    pub(crate) fn end(&mut self, reason: EndReason, shared: &mut Shared, sink: &mut dyn Sink) {
        self.with_pairing(shared, sink, |pairing, context| {
            if reason == EndReason::Closed {
                pairing.response_ended(context);
            }
            pairing.end(reason, context);
        });
        self.state = State::Opaque;
    }

    fn with_pairing(
        &mut self,
        shared: &mut Shared,
        sink: &mut dyn Sink,
        work: impl FnOnce(&mut Pairing, &mut http1::Context<'_>),
    ) {
        let (Some(link), State::Http1(pairing)) = (self.link(), &mut self.state) else {
            return;
        };
        let mut context = http1::Context { link, now: Moment::default(), shared, sink };
        work(pairing, &mut context);
    }
}

/// Which side of the exchange the bytes of a direction are.
fn side(kind: Kind, direction: Direction) -> Side {
    match (kind, direction) {
        (Kind::Server, Direction::Receive) | (Kind::Client, Direction::Send) => Side::Request,
        (Kind::Server, Direction::Send) | (Kind::Client, Direction::Receive) => Side::Response,
    }
}

/// A v4-mapped IPv6 address is the IPv4 address it stands for.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
