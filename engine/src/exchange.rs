//! A request on its way to the sink: what is known of it so far, and how it is handed out.
//!
//! The protocols make an [`Exchange`] of every request they read and add to it what its response says;
//! [`Shared::settle`] makes the row of it.

use std::net::SocketAddr;

use beyla_schema::event::Source;
use beyla_schema::request::{EndReason, Kind, Protocol, Request, SpanStatus, TlsMatch};
use rustc_hash::FxHashMap;

use crate::grpc::{self, Rpc};
use crate::parents::{self, Parent, Parents};
use crate::route::Routes;
use crate::tls::Facts;
use crate::{Config, Sink, Stats, trace};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    /// Time of the latest event.
    pub(crate) now_ns: u64,
    /// Service names by process.
    pub(crate) services: FxHashMap<u32, Box<str>>,
    /// Who may have made an outbound request.
    pub(crate) parents: Parents,
    routes: Routes,
    /// Bytes held by unfinished heads and unanswered requests.
    pub(crate) memory: usize,
    /// Texts of settled requests, for the next ones.
    spare: Vec<String>,
}

/// Settled texts that are kept for reuse, and the capacity above which one is not.
const SPARE: usize = 256;
const SPARE_CAPACITY: usize = 4096;

/// How much later than its response a request may be recorded. A client's reading thread can be ahead of its
/// writing thread by as long as the scheduler holds the latter back.
pub(crate) const EARLY_NS: u64 = 10_000_000;

/// The part a direction plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// What the bytes of a call are worked on with.
pub(crate) struct Context<'a> {
    pub(crate) link: Link<'a>,
    /// The call whose bytes are read; an earlier one when a parked call is made up for.
    pub(crate) now: Moment,
    pub(crate) shared: &'a mut Shared,
    pub(crate) sink: &'a mut dyn Sink,
}

/// The connection of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) connection: u64,
    pub(crate) kind: Kind,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) server: Option<SocketAddr>,
    pub(crate) tls: Option<Tls<'a>>,
}

/// The TLS that a request came through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tls<'a> {
    pub(crate) source: Source,
    pub(crate) how: Option<TlsMatch>,
    pub(crate) facts: &'a Facts,
}

/// The call that moved a byte.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    pub(crate) ts_ns: u64,
    pub(crate) ready_ns: Option<u64>,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) goroutine: u64,
    /// Number of the call on its connection.
    pub(crate) call: u64,
}

/// A request that waits for its response, or for the end of it.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The call with its first byte.
    pub(crate) first: Moment,
    pub(crate) ordinal: u64,
    pub(crate) protocol: Protocol,
    pub(crate) texts: Texts,
    pub(crate) stream: Option<u32>,
    pub(crate) status: Option<u16>,
    pub(crate) request_bytes: Option<u64>,
    pub(crate) response_bytes: Option<u64>,
    pub(crate) request_header_bytes: Option<u64>,
    pub(crate) response_header_bytes: Option<u64>,
    pub(crate) rpc: Rpc,
    /// What `traceparent` says.
    trace: Option<parents::Context>,
    parent: Option<Parent>,
    /// Bytes counted in [`Shared::memory`].
    held: usize,
}

/// The texts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Method,
    Scheme,
    Authority,
    Path,
    Query,
    UserAgent,
    RequestType,
    ResponseType,
    RpcMessage,
    TraceState,
}

/// Where each of them lies, in one allocation. None: it was not observed.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    bytes: String,
    spans: [Option<(u32, u32)>; Text::TraceState as usize + 1],
}

impl Texts {
    /// Keeps `text`; bytes that are no UTF-8 become replacement characters.
    pub(crate) fn set(&mut self, which: Text, text: &[u8]) {
        let start = self.bytes.len() as u32;
        match str::from_utf8(text) {
            Ok(text) => self.bytes.push_str(text),
            Err(_) => self.bytes.push_str(&String::from_utf8_lossy(text)),
        }
        self.spans[which as usize] = Some((start, self.bytes.len() as u32));
    }

    /// Keeps `text` if there is one.
    pub(crate) fn set_some(&mut self, which: Text, text: Option<&[u8]>) {
        if let Some(text) = text {
            self.set(which, text);
        }
    }

    /// Adds to a text that was the last to be kept, after a comma; keeps it if there was none.
    pub(crate) fn append(&mut self, which: Text, text: &[u8]) {
        let before = self.spans[which as usize];
        match before {
            Some((start, end)) if end as usize == self.bytes.len() => {
                self.bytes.push(',');
                self.set(which, text);
                self.spans[which as usize] = Some((start, self.bytes.len() as u32));
            }
            Some(_) => {}
            None => self.set(which, text),
        }
    }

    pub(crate) fn get(&self, which: Text) -> Option<&str> {
        self.spans[which as usize].map(|(start, end)| &self.bytes[start as usize..end as usize])
    }
}

impl Exchange {
    /// A request of which nothing is known yet.
    pub(crate) fn new(first: Moment, ordinal: u64, protocol: Protocol, shared: &mut Shared) -> Self {
        let texts = Texts { bytes: shared.spare.pop().unwrap_or_default(), ..Texts::default() };
        Self {
            first,
            ordinal,
            protocol,
            texts,
            stream: None,
            status: None,
            request_bytes: None,
            response_bytes: None,
            request_header_bytes: None,
            response_header_bytes: None,
            rpc: Rpc::default(),
            trace: None,
            parent: None,
            held: 0,
        }
    }

    /// Whether the method is `method`.
    pub(crate) fn is(&self, method: &str) -> bool {
        self.texts.get(Text::Method) == Some(method)
    }

    /// Takes the status from the trailers in a body of gRPC-Web.
    pub(crate) fn read_trailers(&mut self) {
        let Self { rpc: Rpc { response, .. }, .. } = self;
        let messages = std::mem::take(response);
        for (name, value) in messages.trailers() {
            if name.eq_ignore_ascii_case(b"grpc-status") {
                self.rpc.set_status(value);
            } else if name.eq_ignore_ascii_case(b"grpc-message") {
                self.texts.set(Text::RpcMessage, &grpc::message(value));
            }
        }
        self.rpc.response = messages;
    }

    /// Takes what a request says in its `traceparent`. Without a valid one, `tracestate` says nothing (W3C Trace Context
    /// section 3.3.1.4).
    pub(crate) fn trace(&mut self, context: Option<parents::Context>) {
        self.trace = context;
        if self.trace.is_none() {
            self.texts.spans[Text::TraceState as usize] = None;
        }
    }
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            routes: Routes::new(config.routes.clone()),
            config,
            stats: Stats::default(),
            now_ns: 0,
            services: FxHashMap::default(),
            parents: Parents::default(),
            memory: 0,
            spare: Vec::new(),
        }
    }

    /// A request whose head is known begins to wait: counts what it holds until it is settled, and looks who made it.
    /// False when that is too much in all.
    pub(crate) fn hold(&mut self, exchange: &mut Exchange, link: &Link<'_>) -> bool {
        exchange.parent = self.parents.begin(
            link,
            exchange.first,
            exchange.ordinal,
            exchange.trace,
            self.config.capture_id,
        );
        self.count(exchange)
    }

    /// Counts what was added to a request that waits. False when that is too much in all.
    pub(crate) fn count(&mut self, exchange: &mut Exchange) -> bool {
        let bytes = exchange.texts.bytes.len();
        self.memory = self.memory + bytes - exchange.held;
        exchange.held = bytes;
        self.memory <= self.config.max_memory
    }

    /// Hands `exchange` to the sink. `end_ns` is the time of the last response byte, if it was seen.
    pub(crate) fn settle(
        &mut self,
        exchange: Exchange,
        link: &Link<'_>,
        end_reason: EndReason,
        end_ns: Option<u64>,
        sink: &mut dyn Sink,
    ) {
        let Exchange { first, ordinal, protocol, texts, status, .. } = &exchange;
        let start_ns = first.ts_ns;
        // A response can be recorded a moment before its request, by another CPU: no time is negative.
        let end_ns = end_ns.map(|end| end.max(start_ns));
        let ready_ns = first.ready_ns.filter(|&ready| link.kind == Kind::Server && ready <= start_ns);
        let path = texts.get(Text::Path);
        let service = self.services.get(&first.pid).map_or("", |name| name);
        let is_rpc = protocol.is_grpc();
        let rpc_status = exchange.rpc.status().filter(|_| is_rpc);
        let (rpc_service, rpc_method) = path.filter(|_| is_rpc).and_then(grpc::names).unzip();
        let route = match path {
            Some(path) if !is_rpc => self.routes.resolve(service, path).route,
            path => path,
        };
        let span_id = trace::span_id(self.config.capture_id, link.connection, *ordinal);
        let caller = self.parents.end(*first, exchange.parent, self.config.capture_id);
        let (trace_id, parent_id) = match caller.or(exchange.trace) {
            Some((trace, parent)) => (trace, Some(parent)),
            None => (trace::trace_id(self.config.capture_id, link.connection, *ordinal), None),
        };
        // A side that was seen to its end has them all, and so has a stream that was cut off.
        let messages = |side: &grpc::Messages, bytes: Option<u64>| {
            side.count().filter(|_| is_rpc && (bytes.is_some() || end_reason == EndReason::Reset))
        };
        let facts = link.tls.map(|tls| tls.facts);
        let outcome = Outcome { kind: link.kind, end_reason, status: *status, is_rpc, rpc_status };
        self.stats.requests += 1;
        sink.request(&Request {
            service,
            pid: first.pid,
            tid: first.tid,
            goroutine: first.goroutine,
            kind: link.kind,
            protocol: *protocol,
            tls: link.tls.map(|tls| tls.source),
            tls_match: link.tls.and_then(|tls| tls.how),
            tls_version: facts.and_then(|facts| facts.version),
            tls_server_name: facts.and_then(|facts| facts.server_name.as_deref()),
            tls_alpn: facts.and_then(|facts| facts.alpn.as_deref()),
            method: texts.get(Text::Method),
            scheme: Some(texts.get(Text::Scheme).unwrap_or(if link.tls.is_some() {
                "https"
            } else {
                "http"
            })),
            authority: texts.get(Text::Authority),
            path,
            query: texts.get(Text::Query),
            route,
            user_agent: texts.get(Text::UserAgent),
            request_type: texts.get(Text::RequestType),
            response_type: texts.get(Text::ResponseType),
            status: *status,
            rpc_service,
            rpc_method,
            rpc_status,
            rpc_message: texts.get(Text::RpcMessage).filter(|_| is_rpc),
            error: outcome.is_error(),
            span_status: outcome.span_status(),
            start_ns,
            end_ns,
            duration_ns: end_ns.map(|end| end - ready_ns.unwrap_or(start_ns)),
            service_ns: end_ns.map(|end| end - start_ns),
            queue_ns: ready_ns.map(|ready| start_ns - ready),
            handshake_ns: facts.and_then(|facts| facts.duration_ns),
            request_bytes: exchange.request_bytes,
            response_bytes: exchange.response_bytes,
            request_header_bytes: exchange.request_header_bytes,
            response_header_bytes: exchange.response_header_bytes,
            request_messages: messages(&exchange.rpc.request, exchange.request_bytes),
            response_messages: messages(&exchange.rpc.response, exchange.response_bytes),
            client: link.client,
            server: link.server,
            connection: link.connection,
            stream: exchange.stream,
            ordinal: *ordinal,
            trace_id: Some(trace_id),
            span_id: Some(span_id),
            parent_id,
            trace_state: texts.get(Text::TraceState),
            end_reason,
            ended_ns: self.now_ns,
        });
        self.release(exchange);
    }

    /// Gives up an exchange that was none.
    pub(crate) fn discard(&mut self, exchange: Exchange) {
        self.parents.end(exchange.first, exchange.parent, self.config.capture_id);
        self.release(exchange);
    }

    /// Takes back what an exchange holds.
    fn release(&mut self, exchange: Exchange) {
        let Exchange { mut texts, held, .. } = exchange;
        self.memory -= held;
        if self.spare.len() < SPARE && texts.bytes.capacity() <= SPARE_CAPACITY {
            texts.bytes.clear();
            self.spare.push(texts.bytes);
        }
    }
}

/// What became of a request, as far as it decides whether it failed.
struct Outcome {
    kind: Kind,
    end_reason: EndReason,
    status: Option<u16>,
    is_rpc: bool,
    rpc_status: Option<u32>,
}

impl Outcome {
    /// Whether the peer, or its death, cut it short.
    fn aborted(&self) -> bool {
        matches!(self.end_reason, EndReason::Closed | EndReason::Reset)
    }

    fn has_failed_status(&self) -> bool {
        let from = match self.kind {
            Kind::Server => 500,
            Kind::Client => 400,
        };
        self.status.map_or(self.aborted(), |status| status >= from)
    }

    /// By the rules of RED reports: every gRPC status but 0 is an error.
    fn is_error(&self) -> bool {
        match self.rpc_status {
            Some(status) => status != 0,
            None => self.has_failed_status() || self.is_rpc && self.aborted(),
        }
    }

    /// By the conventions of OpenTelemetry: a gRPC server has not failed when its client was wrong.
    fn span_status(&self) -> SpanStatus {
        let failed = match (self.rpc_status, self.kind) {
            (Some(status), Kind::Server) => grpc::is_server_fault(status),
            _ => self.is_error(),
        };
        if failed { SpanStatus::Error } else { SpanStatus::Unset }
    }
}
