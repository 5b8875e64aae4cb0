//! A request on its way to the sink: what is known of it so far, and how it is handed out.

use std::net::SocketAddr;

use beyla_schema::request::{EndReason, Kind, Protocol, Request, SpanId, SpanStatus, TraceId};
use rustc_hash::FxHashMap;

use crate::http1::head::{self, RequestHead};
use crate::{Config, Sink, Stats, trace};

/// What all connections share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    /// Time of the latest event.
    pub(crate) now_ns: u64,
    /// Service names by process.
    pub(crate) services: FxHashMap<u32, Box<str>>,
    /// Bytes held by unfinished heads and unanswered requests.
    pub(crate) memory: usize,
    /// Texts of settled requests, for the next ones.
    spare: Vec<Text>,
}

/// Settled texts that are kept for reuse, and the capacity above which one is not.
const SPARE: usize = 256;
const SPARE_CAPACITY: usize = 4096;

/// The connection of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) connection: u64,
    pub(crate) kind: Kind,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) server: Option<SocketAddr>,
}

/// The call that moved a byte.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    pub(crate) ts_ns: u64,
    pub(crate) ready_ns: Option<u64>,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
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
    text: Text,
    trace_id: Option<TraceId>,
    parent_id: Option<SpanId>,
    pub(crate) status: Option<u16>,
    pub(crate) request_bytes: Option<u64>,
    pub(crate) response_bytes: Option<u64>,
}

/// The texts of a request, in one allocation.
#[derive(Debug, Default)]
pub(crate) struct Text {
    bytes: String,
    method: Span,
    scheme: Span,
    authority: Span,
    path: Span,
    query: Span,
}

impl Exchange {
    /// A request whose head was read; `body` is the size of its body if that is known already.
    pub(crate) fn new(
        ordinal: u64,
        first: Moment,
        head: &RequestHead<'_>,
        body: Option<u64>,
        mut text: Text,
    ) -> Self {
        let target = head::target(head.method, head.target);
        let trace = head.fields.traceparent.and_then(trace::context);
        text.method = text.keep(Some(head.method));
        text.scheme = text.keep(target.scheme);
        text.authority = text.keep(target.authority.or(head.fields.host));
        text.path = text.keep(target.path);
        text.query = text.keep(target.query);
        Self {
            first,
            ordinal,
            protocol: head.protocol,
            text,
            trace_id: trace.map(|(trace, _)| trace),
            parent_id: trace.map(|(_, parent)| parent),
            status: None,
            request_bytes: body,
            response_bytes: None,
        }
    }

    /// Whether the method is `method`.
    pub(crate) fn is(&self, method: &str) -> bool {
        self.text.get(self.text.method) == Some(method)
    }
}

/// Where a text lies; none when it was not observed.
type Span = Option<(u32, u32)>;

impl Text {
    /// Keeps `text`; bytes that are no UTF-8 become replacement characters.
    fn keep(&mut self, text: Option<&[u8]>) -> Span {
        let text = text?;
        let start = self.bytes.len() as u32;
        self.bytes.push_str(&String::from_utf8_lossy(text));
        Some((start, self.bytes.len() as u32))
    }

    fn get(&self, span: Span) -> Option<&str> {
        span.map(|(start, end)| &self.bytes[start as usize..end as usize])
    }
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// An empty text, reused where possible.
    pub(crate) fn text(&mut self) -> Text {
        self.spare.pop().unwrap_or_default()
    }

    /// Counts what `exchange` holds until it is settled. False when that is too much in all.
    pub(crate) fn hold(&mut self, exchange: &Exchange) -> bool {
        self.memory += exchange.text.bytes.len();
        self.memory <= self.config.max_memory
    }

    /// Hands `exchange` to the sink. `end_ns` is the time of the last response byte, if it was seen.
    pub(crate) fn settle(
        &mut self,
        exchange: Exchange,
        link: &Link,
        end_reason: EndReason,
        end_ns: Option<u64>,
        sink: &mut dyn Sink,
    ) {
        let Exchange { first, text, status, .. } = &exchange;
        let start_ns = first.ts_ns;
        let ready_ns = first.ready_ns.filter(|&ready| link.kind == Kind::Server && ready <= start_ns);
        let failed_from = match link.kind {
            Kind::Server => 500,
            Kind::Client => 400,
        };
        let aborted = matches!(end_reason, EndReason::Closed | EndReason::Reset);
        let path = text.get(text.path);
        self.stats.requests += 1;
        sink.request(&Request {
            service: self.services.get(&first.pid).map_or("", |name| name),
            pid: first.pid,
            tid: first.tid,
            kind: link.kind,
            protocol: exchange.protocol,
            tls: None,
            tls_match: None,
            method: text.get(text.method),
            scheme: Some(text.get(text.scheme).unwrap_or("http")),
            authority: text.get(text.authority),
            path,
            query: text.get(text.query),
            route: path,
            user_agent: None,
            request_type: None,
            response_type: None,
            status: *status,
            rpc_service: None,
            rpc_method: None,
            rpc_status: None,
            rpc_message: None,
            error: status.map_or(aborted, |status| status >= failed_from),
            span_status: SpanStatus::Unset,
            start_ns,
            end_ns,
            // A response can be recorded a moment before its request, by another CPU: no time is negative.
            duration_ns: end_ns.map(|end| end.saturating_sub(ready_ns.unwrap_or(start_ns))),
            service_ns: end_ns.map(|end| end.saturating_sub(start_ns)),
            queue_ns: ready_ns.map(|ready| start_ns - ready),
            request_bytes: exchange.request_bytes,
            response_bytes: exchange.response_bytes,
            request_header_bytes: None,
            response_header_bytes: None,
            request_messages: None,
            response_messages: None,
            client: link.client,
            server: link.server,
            connection: link.connection,
            stream: None,
            ordinal: exchange.ordinal,
            trace_id: exchange.trace_id,
            span_id: None,
            parent_id: exchange.parent_id,
            trace_state: None,
            end_reason,
            ended_ns: self.now_ns,
        });
        self.release(exchange);
    }

    /// Takes back what an exchange holds.
    pub(crate) fn release(&mut self, exchange: Exchange) {
        let mut text = exchange.text;
        self.memory -= text.bytes.len();
        if self.spare.len() < SPARE && text.bytes.capacity() <= SPARE_CAPACITY {
            text.bytes.clear();
            self.spare.push(Text { bytes: text.bytes, ..Text::default() });
        }
    }
}
