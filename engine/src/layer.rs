//! One layer of a connection: the bytes of its socket, or the plaintext that a TLS library made of them.
//!
//! A layer has two streams, knows or finds out who asks and who answers, and which protocol decodes the bytes.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use beyla_schema::event::{Data, Direction, Event};
use beyla_schema::request::{EndReason, Kind};

use crate::Sink;
use crate::exchange::{Context, Link, Moment, Shared, Side, Tls};
use crate::http1::{self, Leave, Pairing};
use crate::http2::{self, Session};
use crate::stream::{Call, Stream};

/// State of a layer.
#[derive(Debug)]
pub(crate) struct Layer {
    received: Stream,
    sent: Stream,
    calls: u64,
    role: Role,
    state: State,
    /// The peer has sent its last byte.
    peer_done: bool,
}

/// What a layer has of its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    pub(crate) connection: u64,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) tls: Option<Tls<'a>>,
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
    Http2(Box<Session>),
    /// Ciphertext.
    Tls,
    /// Not decoded: another protocol, from the beginning or by a switch.
    Opaque,
}

impl Layer {
    /// A layer of which nothing is known: as if found in its middle.
    pub(crate) fn found() -> Self {
        Self {
            received: Stream::FOUND,
            sent: Stream::FOUND,
            calls: 0,
            role: Role::Unknown,
            state: State::Http1(Box::new(Pairing::found())),
            peer_done: false,
        }
    }

    /// The captured process is known to be the server, or the client.
    pub(crate) fn play(&mut self, kind: Kind) {
        if self.role == Role::Unknown {
            self.role = Role::Known(kind);
        }
    }

    /// Every byte from here on will be seen, if none has moved yet: all of them when `whole`.
    pub(crate) fn begin(&mut self, whole: bool) {
        if self.calls > 0 {
            return;
        }
        self.received = Stream::BEGUN;
        self.sent = Stream::BEGUN;
        if whole {
            self.state = State::Http1(Box::new(Pairing::begun()));
        }
    }

    /// Nothing of it is decoded.
    pub(crate) fn close_eyes(&mut self, shared: &mut Shared) {
        match &mut self.state {
            State::Http1(pairing) => pairing.abandon(shared),
            State::Http2(session) => session.abandon(shared),
            State::Tls | State::Opaque => {}
        }
        self.state = State::Opaque;
    }

    /// A TLS library was seen at work on the connection: what its socket moves is ciphertext.
    pub(crate) fn is_ciphertext(&mut self, ends: &Ends<'_>, shared: &mut Shared, sink: &mut dyn Sink) {
        if let State::Http1(_) | State::Http2(_) = self.state {
            self.end(EndReason::Gap, ends, shared, sink);
            self.state = State::Tls;
        }
    }

    /// Whether it moves ciphertext.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.state, State::Tls)
    }

    /// Takes the bytes of one call. Those of a read had arrived at `ready_ns`, if that is known.
    pub(crate) fn data(
        &mut self,
        event: &Event<'_>,
        data: &Data<'_>,
        ready_ns: Option<u64>,
        ends: &Ends<'_>,
        shared: &mut Shared,
        sink: &mut dyn Sink,
    ) {
        self.calls += 1;
        let stream = match data.direction {
            Direction::Receive => &mut self.received,
            Direction::Send => &mut self.sent,
        };
        let call = stream.advance(data);
        let stats = &mut shared.stats;
        stats.moved_bytes = stats.moved_bytes.saturating_add(data.length.into());
        stats.gap_bytes = stats.gap_bytes.saturating_add(call.lost);
        stats.duplicate_bytes += call.seen;
        let accounted = stats.accounted_bytes();
        let fresh = u64::from(data.length) - call.seen;
        if call.seen == 0 && !call.head.is_empty() {
            self.look(data.direction, call.head, shared);
        }
        if let (Some(link), State::Http1(_) | State::Http2(_)) = (self.link(ends), &self.state) {
            let &Event { ts_ns, pid, tid, .. } = event;
            let now = Moment { ts_ns, ready_ns, pid, tid, goroutine: data.goroutine, call: self.calls };
            let mut context = Context { link, now, shared, sink };
            self.decode(side(link.kind, data.direction), &call, &mut context);
        }
        let stats = &mut shared.stats;
        let rest = fresh - (stats.accounted_bytes() - accounted);
        match &self.state {
            State::Opaque => stats.opaque_bytes += rest,
            State::Tls => stats.ciphertext_bytes += rest,
            State::Http1(_) if self.role == Role::Unknown => {
                stats.truncated_bytes += call.hidden;
                stats.unparsed_bytes += rest - call.hidden;
            }
            State::Http1(_) | State::Http2(_) => {
                stats.truncated_bytes += call.hidden;
                debug_assert_eq!(rest, call.hidden, "every byte is accounted for");
            }
        }
    }

    /// Hands a call to the protocol, and to the one it leaves the connection to.
    fn decode(&mut self, side: Side, call: &Call<'_>, cx: &mut Context<'_>) {
        let (mut session, flow) = match &mut self.state {
            State::Tls | State::Opaque => return,
            State::Http2(session) => {
                if session.call(side, call, cx).is_break() {
                    self.state = State::Opaque;
                }
                return;
            }
            State::Http1(pairing) => {
                if pairing.call(side, call, cx).is_continue() {
                    return;
                }
                match pairing.leave() {
                    Leave::Opaque => {
                        self.state = State::Opaque;
                        return;
                    }
                    Leave::Tls => {
                        self.state = State::Tls;
                        return;
                    }
                    Leave::Http2(before) => {
                        let mut session = Session::begun();
                        let mut flow = ControlFlow::Continue(());
                        if !before.is_empty() {
                            cx.shared.stats.parsed_bytes -= before.len() as u64;
                            let before = Call { head: &before, ..Call::default() };
                            flow = session.call(Side::Request, &before, cx);
                        }
                        if flow.is_continue() {
                            flow = session.call(side, call, cx);
                        }
                        (session, flow)
                    }
                    Leave::Upgrade(upgrade) => {
                        let http1::Upgrade { exchange, rest, hidden, tail } = *upgrade;
                        let mut session = Session::begun();
                        session.upgraded(exchange);
                        let call = Call { head: &rest, hidden, tail: &tail, ..Call::default() };
                        let flow = session.call(Side::Response, &call, cx);
                        (session, flow)
                    }
                }
            }
        };
        self.state = if flow.is_break() {
            session.end(EndReason::Gap, cx);
            State::Opaque
        } else {
            State::Http2(Box::new(session))
        };
    }

    /// Takes a call that begins like a request for one, or like HTTP/2 or TLS, where nothing says yet what is spoken.
    fn look(&mut self, direction: Direction, call: &[u8], shared: &mut Shared) {
        let State::Http1(pairing) = &mut self.state else { return };
        let doubtful = pairing.is_doubtful();
        if let Role::Known(_) = self.role
            && !doubtful
        {
            return;
        }
        if doubtful && let Some((side, session)) = http2::recognise(call) {
            let kind = kind(side, direction);
            if self.role != Role::Known(other(kind)) {
                pairing.abandon(shared);
                if self.role != Role::Known(kind) {
                    self.role = Role::Assumed(kind);
                }
                self.state = State::Http2(Box::new(session));
            }
            return;
        }
        if doubtful && matches!(call, [20..=23, 3, 0..=4, ..]) {
            pairing.abandon(shared);
            self.state = State::Tls;
            return;
        }
        let assumed = match self.role {
            Role::Known(_) => return,
            Role::Assumed(_) if pairing.has_answered() => return,
            Role::Assumed(kind) => Some(kind),
            Role::Unknown => None,
        };
        let kind = kind(Side::Request, direction);
        // What was taken for a request may have been a body that looks like one: until a response agrees, a
        // request the other way counts more.
        if assumed != Some(kind) && http1::head::begins_request_line(call) {
            pairing.abandon(shared);
            self.role = Role::Assumed(kind);
        }
    }

    fn link<'a>(&self, ends: &Ends<'a>) -> Option<Link<'a>> {
        let (Role::Assumed(kind) | Role::Known(kind)) = self.role else {
            return None;
        };
        let (client, server) = match kind {
            Kind::Server => (ends.remote, ends.local),
            Kind::Client => (ends.local, ends.remote),
        };
        Some(Link { connection: ends.connection, kind, client, server, tls: ends.tls })
    }

    /// One direction has ended.
    pub(crate) fn half_close(
        &mut self,
        direction: Direction,
        ends: &Ends<'_>,
        shared: &mut Shared,
        sink: &mut dyn Sink,
    ) {
        self.peer_done |= direction == Direction::Receive;
        let kind = self.link(ends).map(|link| link.kind);
        // What a peer sent before its end may still be unread: a client has it all when it closes too.
        let answered = direction == Direction::Send && (kind == Some(Kind::Server) || self.peer_done);
        if answered {
            self.with(ends, shared, sink, |state, cx| {
                if let State::Http1(pairing) = state {
                    pairing.response_ended(cx);
                }
            });
        }
    }

    /// The whole connection has ended, after it moved so many bytes; None where that is not known.
    pub(crate) fn close(
        &mut self,
        totals: Option<(u64, u64)>,
        ends: &Ends<'_>,
        shared: &mut Shared,
        sink: &mut dyn Sink,
    ) {
        let missing = |stream: Stream, total: Option<u64>| total.map_or(0, |total| stream.missing_of(total));
        let received = missing(self.received, totals.map(|(received, _)| received));
        let sent = missing(self.sent, totals.map(|(_, sent)| sent));
        if received > 0 || sent > 0 {
            shared.stats.gap_bytes = shared.stats.gap_bytes.saturating_add(received).saturating_add(sent);
            shared.stats.incomplete_connections += 1;
        }
        let server = self.link(ends).map(|link| link.kind) == Some(Kind::Server);
        let unseen = if server { sent } else { received };
        let reason = if unseen > 0 { EndReason::Gap } else { EndReason::Closed };
        self.end(reason, ends, shared, sink);
    }

    /// Settles what is unfinished. A response of unknown length is complete when the connection has closed.
    pub(crate) fn end(
        &mut self,
        reason: EndReason,
        ends: &Ends<'_>,
        shared: &mut Shared,
        sink: &mut dyn Sink,
    ) {
        self.with(ends, shared, sink, |state, cx| match state {
            State::Http1(pairing) => {
                if reason == EndReason::Closed {
                    pairing.response_ended(cx);
                }
                pairing.end(reason, cx);
            }
            State::Http2(session) => session.end(reason, cx),
            State::Tls | State::Opaque => {}
        });
        self.state = State::Opaque;
    }

    fn with(
        &mut self,
        ends: &Ends<'_>,
        shared: &mut Shared,
        sink: &mut dyn Sink,
        work: impl FnOnce(&mut State, &mut Context<'_>),
    ) {
        if let Some(link) = self.link(ends) {
            let mut context = Context { link, now: Moment::default(), shared, sink };
            work(&mut self.state, &mut context);
        }
    }
}

/// Which side of the exchange the bytes of a direction are.
fn side(kind: Kind, direction: Direction) -> Side {
    match (kind, direction) {
        (Kind::Server, Direction::Receive) | (Kind::Client, Direction::Send) => Side::Request,
        (Kind::Server, Direction::Send) | (Kind::Client, Direction::Receive) => Side::Response,
    }
}

/// What the captured process is, when the bytes of a direction are a side of the exchange.
fn kind(side: Side, direction: Direction) -> Kind {
    match (side, direction) {
        (Side::Request, Direction::Receive) | (Side::Response, Direction::Send) => Kind::Server,
        (Side::Request, Direction::Send) | (Side::Response, Direction::Receive) => Kind::Client,
    }
}

fn other(kind: Kind) -> Kind {
    match kind {
        Kind::Server => Kind::Client,
        Kind::Client => Kind::Server,
    }
}
