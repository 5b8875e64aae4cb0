//! Recordings made by hand: what a connection did, event by event, with the faults a recorder can have.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test binary has its own copy and uses its part of it"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod handshakes;
pub mod peer;

use std::net::SocketAddr;

use beyla_engine::{Config, Engine, Sink, Stats};
use beyla_schema::event::{
    Body, Call, Close, Data, Direction, Endpoint, Event, Open, Origin, Process, Source, Transport,
};
use beyla_schema::request::{EndReason, Kind, Protocol, Request, SpanStatus, TlsMatch, TlsVersion};

mod cases;

#[allow(unused_imports, reason = "each test binary uses its part of this")]
pub use cases::cases;

pub const LOCAL: &str = "10.0.0.1:8080";
pub const REMOTE: &str = "10.0.0.2:40000";
pub const STEP: u64 = 1_000_000;

/// An event that owns its bytes.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub ts_ns: u64,
    pub connection: u64,
    pub tid: u32,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Open(Open<'static>),
    Data {
        direction: Direction,
        source: Source,
        position: u64,
        ready_ns: Option<u64>,
        length: u32,
        payload: Vec<u8>,
        tail: Vec<u8>,
    },
    Close(Close),
}

/// A recording of one connection. Every event is a millisecond after the one before.
#[derive(Clone, Debug)]
pub struct Tape {
    pub events: Vec<Recorded>,
    pub config: Config,
    pub connection: u64,
    now: u64,
    snaplen: usize,
    /// Of the socket, and of the plaintext.
    positions: [[u64; 2]; 2],
    ready_ns: Option<u64>,
    source: Source,
    tid: u32,
}

impl Tape {
    /// No event but those that follow.
    pub fn bare() -> Self {
        Self {
            events: Vec::new(),
            config: Config::default(),
            connection: 7,
            now: 0,
            snaplen: usize::MAX,
            positions: [[0, 0]; 2],
            ready_ns: None,
            source: Source::Socket,
            tid: 43,
        }
    }

    pub fn open(origin: Origin, local: &str, remote: &str) -> Self {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        Self::bare().event(What::Open(Open {
            origin,
            transport: Transport::Tcp,
            local: Endpoint::Inet(address(local)),
            remote: Endpoint::Inet(address(remote)),
        }))
    }

    pub fn accept() -> Self {
        Self::open(Origin::Accept, LOCAL, REMOTE)
    }

    pub fn connect() -> Self {
        Self::open(Origin::Connect, LOCAL, REMOTE)
    }

    pub fn found() -> Self {
        Self::open(Origin::Found, LOCAL, REMOTE)
    }

    /// As recorded by a file that begins later.
    pub fn unopened() -> Self {
        Self { positions: [[1000, 2000]; 2], ..Self::bare() }
    }

    /// From here on, calls keep so many bytes, and 64 of their end.
    pub fn snaplen(mut self, snaplen: usize) -> Self {
        self.snaplen = snaplen;
        self
    }

    /// Whether the captured process made the connection.
    pub fn is_client(&self) -> bool {
        let made =
            |event: &Recorded| matches!(&event.what, What::Open(open) if open.origin == Origin::Connect);
        self.events.first().is_some_and(made)
    }

    /// The recording is that of this connection.
    pub fn on(mut self, connection: u64) -> Self {
        self.connection = connection;
        self.events.iter_mut().for_each(|event| event.connection = connection);
        self
    }

    /// From here on, calls are those of a TLS library.
    pub fn plain(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// From here on, calls are those of this thread.
    pub fn thread(mut self, tid: u32) -> Self {
        self.tid = tid;
        self
    }

    /// Both, in the order of time.
    pub fn and(mut self, other: Self) -> Self {
        self.events.extend(other.events);
        self.events.sort_by_key(|event| event.ts_ns);
        self
    }

    /// Time passes.
    pub fn wait(mut self, ns: u64) -> Self {
        self.now += ns;
        self
    }

    /// The bytes of the next read had arrived at `ns`.
    pub fn ready(mut self, ns: u64) -> Self {
        self.ready_ns = Some(ns);
        self
    }

    pub fn recv(self, bytes: impl AsRef<[u8]>) -> Self {
        self.data(Direction::Receive, bytes.as_ref())
    }

    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.data(Direction::Send, bytes.as_ref())
    }

    pub fn data(mut self, direction: Direction, bytes: &[u8]) -> Self {
        let kept = bytes.len().min(self.snaplen);
        let tail = (bytes.len() - kept).min(64);
        let position = self.advance(direction, bytes.len());
        let ready_ns = self.ready_ns.take();
        let source = self.source;
        self.event(What::Data {
            direction,
            source,
            position,
            ready_ns,
            length: bytes.len() as u32,
            payload: bytes[..kept].to_vec(),
            tail: bytes[bytes.len() - tail..].to_vec(),
        })
    }

    /// A call without a buffer, such as sendfile.
    pub fn blind(mut self, direction: Direction, length: u32) -> Self {
        let position = self.advance(direction, length as usize);
        let (source, ready_ns) = (self.source, None);
        self.event(What::Data {
            direction,
            source,
            position,
            ready_ns,
            length,
            payload: vec![],
            tail: vec![],
        })
    }

    fn advance(&mut self, direction: Direction, length: usize) -> u64 {
        let next = &mut self.positions[usize::from(self.source != Source::Socket)][direction as usize];
        *next += length as u64;
        *next - length as u64
    }

    /// One call for every byte.
    pub fn bytewise(self, direction: Direction, bytes: &str) -> Self {
        bytes.bytes().fold(self, |tape, byte| tape.data(direction, &[byte]))
    }

    /// The last event was not recorded.
    pub fn lost(mut self) -> Self {
        self.events.pop();
        self
    }

    /// The last event was recorded twice.
    pub fn twice(mut self) -> Self {
        self.events.extend(self.events.last().cloned());
        self
    }

    /// The last two events came the other way round.
    pub fn swapped(mut self) -> Self {
        let last = self.events.len() - 1;
        self.events.swap(last - 1, last);
        self
    }

    pub fn half_close(self, direction: Direction) -> Self {
        let [received, sent] = self.positions[0];
        self.event(What::Close(Close { direction: Some(direction), received, sent }))
    }

    pub fn close(self) -> Self {
        let [received, sent] = self.positions[0];
        self.event(What::Close(Close { direction: None, received, sent }))
    }

    fn event(mut self, what: What) -> Self {
        self.now += STEP;
        self.events.push(Recorded { ts_ns: self.now, connection: self.connection, tid: self.tid, what });
        self
    }

    /// What the engine makes of it.
    pub fn run(&self) -> (Vec<Seen>, Stats) {
        let mut engine = Engine::new(self.config.clone());
        let mut seen = Collect::default();
        let service = Process { executable: "/bin/shop", service: "shop", ..Process::default() };
        engine.push(&event(0, 0, Body::Process(service)), &mut seen);
        for recorded in &self.events {
            recorded.push(&mut engine, &mut seen);
        }
        engine.finish(&mut seen);
        assert_eq!(engine.stats().moved_bytes, engine.stats().accounted_bytes());
        (seen.0, engine.stats().clone())
    }

    /// The requests in short: method, path, status, end reason.
    pub fn requests(&self) -> Vec<String> {
        self.run().0.iter().map(Seen::short).collect()
    }

    pub fn stats(&self) -> Stats {
        self.run().1
    }

    /// The only request.
    pub fn only(&self) -> Seen {
        let (mut seen, _) = self.run();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.remove(0)
    }
}

impl Recorded {
    pub fn event(&self) -> Event<'_> {
        let body = match &self.what {
            What::Open(open) => Body::Open(*open),
            What::Close(close) => Body::Close(*close),
            What::Data { direction, source, position, ready_ns, length, payload, tail } => Body::Data(Data {
                direction: *direction,
                source: *source,
                call: Call::Read,
                position: *position,
                ready_ns: *ready_ns,
                goroutine: 0,
                length: *length,
                payload,
                tail,
            }),
        };
        Event { tid: self.tid, ..event(self.ts_ns, self.connection, body) }
    }

    pub fn push(&self, engine: &mut Engine, sink: &mut impl Sink) {
        engine.push(&self.event(), sink);
    }
}

pub fn event(ts_ns: u64, connection: u64, body: Body<'_>) -> Event<'_> {
    Event { ts_ns, cpu: 0, seq: ts_ns, pid: 42, tid: 43, connection, carried: false, body }
}

/// A request that owns its texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub service: String,
    pub pid: u32,
    pub tid: u32,
    pub kind: Kind,
    pub protocol: Protocol,
    pub method: Option<String>,
    pub scheme: Option<String>,
    pub authority: Option<String>,
    pub path: Option<String>,
    pub query: Option<String>,
    pub status: Option<u16>,
    pub error: bool,
    pub start_ns: u64,
    pub end_ns: Option<u64>,
    pub duration_ns: Option<u64>,
    pub service_ns: Option<u64>,
    pub queue_ns: Option<u64>,
    pub request_bytes: Option<u64>,
    pub response_bytes: Option<u64>,
    pub client: Option<String>,
    pub server: Option<String>,
    pub connection: u64,
    pub stream: Option<u32>,
    pub ordinal: u64,
    pub tls: Option<Source>,
    pub tls_match: Option<TlsMatch>,
    pub tls_version: Option<TlsVersion>,
    pub tls_server_name: Option<String>,
    pub tls_alpn: Option<String>,
    pub handshake_ns: Option<u64>,
    pub user_agent: Option<String>,
    pub request_type: Option<String>,
    pub response_type: Option<String>,
    pub rpc: Option<(String, String)>,
    pub rpc_status: Option<u32>,
    pub rpc_message: Option<String>,
    pub span_status: SpanStatus,
    pub header_bytes: (Option<u64>, Option<u64>),
    pub messages: (Option<u64>, Option<u64>),
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub parent_id: Option<String>,
    pub trace_state: Option<String>,
    pub end_reason: EndReason,
    pub ended_ns: u64,
}

impl Seen {
    pub fn short(&self) -> String {
        format!(
            "{} {} {} {}",
            self.method.as_deref().unwrap_or("-"),
            self.path.as_deref().unwrap_or("-"),
            self.status.map_or("-".to_owned(), |status| status.to_string()),
            self.end_reason.name(),
        )
    }

    /// Without what depends on when the calls were made.
    pub fn timeless(mut self) -> Self {
        self.start_ns = 0;
        self.end_ns = self.end_ns.map(|_| 0);
        self.duration_ns = self.duration_ns.map(|_| 0);
        self.service_ns = self.service_ns.map(|_| 0);
        self.queue_ns = None;
        self.handshake_ns = self.handshake_ns.map(|_| 0);
        self.ended_ns = 0;
        self
    }
}

/// Collects requests.
#[derive(Debug, Default)]
pub struct Collect(pub Vec<Seen>);

impl Sink for Collect {
    fn request(&mut self, request: &Request<'_>) {
        let text = |text: Option<&str>| text.map(str::to_owned);
        self.0.push(Seen {
            service: request.service.to_owned(),
            pid: request.pid,
            tid: request.tid,
            kind: request.kind,
            protocol: request.protocol,
            method: text(request.method),
            scheme: text(request.scheme),
            authority: text(request.authority),
            path: text(request.path),
            query: text(request.query),
            status: request.status,
            error: request.error,
            start_ns: request.start_ns,
            end_ns: request.end_ns,
            duration_ns: request.duration_ns,
            service_ns: request.service_ns,
            queue_ns: request.queue_ns,
            request_bytes: request.request_bytes,
            response_bytes: request.response_bytes,
            client: request.client.map(|address| address.to_string()),
            server: request.server.map(|address| address.to_string()),
            connection: request.connection,
            stream: request.stream,
            ordinal: request.ordinal,
            tls: request.tls,
            tls_match: request.tls_match,
            tls_version: request.tls_version,
            tls_server_name: text(request.tls_server_name),
            tls_alpn: text(request.tls_alpn),
            handshake_ns: request.handshake_ns,
            user_agent: text(request.user_agent),
            request_type: text(request.request_type),
            response_type: text(request.response_type),
            rpc: text(request.rpc_service).zip(text(request.rpc_method)),
            rpc_status: request.rpc_status,
            rpc_message: text(request.rpc_message),
            span_status: request.span_status,
            header_bytes: (request.request_header_bytes, request.response_header_bytes),
            messages: (request.request_messages, request.response_messages),
            trace_id: request.trace_id.map(|id| id.to_string()),
            span_id: request.span_id.map(|id| id.to_string()),
            parent_id: request.parent_id.map(|id| id.to_string()),
            trace_state: text(request.trace_state),
            end_reason: request.end_reason,
            ended_ns: request.ended_ns,
        });
    }
}
