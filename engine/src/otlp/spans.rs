//! Requests as spans.

use beyla_schema::event::Clock;
use beyla_schema::request::{EndReason, Kind, Request, SpanId, SpanStatus, TraceId};
use prost::Message;

use super::attributes::{self, Attributes, bounded};
use super::message::{
    ExportTraceServiceRequest, Link, ResourceSpans, ScopeSpans, Span, SpanKind, Status, StatusCode,
};
use super::resource::{resource, scope};
use super::{Payload, Signal};
use crate::{Sink, method, trace};

/// Spans of one payload.
const MAX_SPANS: usize = 512;

/// Bytes of one payload: texts come from the network.
const MAX_BYTES: usize = 1 << 20;

/// Most spans that a request becomes.
const PER_REQUEST: usize = 3;

/// Bytes that the `tracestate` of a span may have (W3C Trace Context section 3.3.1.5). It has no meaning when cut.
const MAX_TRACE_STATE: usize = 512;

/// Collects requests for one payload, in their order, grouped by process.
#[derive(Debug)]
pub struct Spans {
    host: String,
    clock: Clock,
    processes: Vec<Process>,
    len: usize,
    bytes: usize,
}

/// The spans of one process.
#[derive(Debug)]
struct Process {
    service: Box<str>,
    pid: u32,
    spans: Vec<Span>,
}

impl Spans {
    /// Collects requests of services on `host`, whose times are those of `clock`.
    pub fn new(host: String, clock: Clock) -> Self {
        Self { host, clock, processes: Vec::new(), len: 0, bytes: 0 }
    }

    /// How many spans there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it is time to [`take`](Self::take) them: one more request could exceed 512 spans, or they exceed 1 MiB.
    pub fn is_full(&self) -> bool {
        self.len + PER_REQUEST > MAX_SPANS || self.bytes >= MAX_BYTES
    }

    /// Takes the spans out. None when there are none.
    pub fn take(&mut self) -> Option<Payload> {
        let (items, request) = self.message()?;
        Some(Payload { signal: Signal::Traces, items, bytes: request.encode_to_vec() })
    }

    /// Takes the spans out as JSON on one line without its end. None when there are none.
    pub fn take_json(&mut self) -> Option<Result<Vec<u8>, serde_json::Error>> {
        self.message().map(|(_, request)| serde_json::to_vec(&request))
    }

    fn message(&mut self) -> Option<(u64, ExportTraceServiceRequest)> {
        let items = std::mem::take(&mut self.len) as u64;
        self.bytes = 0;
        let resource_spans = self.processes.drain(..).map(|process| ResourceSpans {
            resource: Some(resource(&process.service, &self.host, Some(process.pid))),
            scope_spans: vec![ScopeSpans { scope: Some(scope()), spans: process.spans }],
        });
        let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
        (items > 0).then_some((items, request))
    }

    /// Adds a request. Where the other side of the same exchange was captured too, `other` is the span of that, to which
    /// this one is linked: neither is the parent of the other.
    pub fn add(&mut self, request: &Request<'_>, other: Option<(TraceId, SpanId)>) {
        let (trace_id, span_id) = ids(request);
        let links = other.map(link).into_iter().collect();
        let whole = Span { links, ..self.whole(request, trace_id, span_id) };
        let spans = match request.queue_ns {
            Some(1..) => waited(whole, self.wall_ns(request.start_ns), |which| {
                trace::derived_id(trace_id, span_id, which).0.to_vec()
            }),
            _ => vec![whole],
        };
        self.len += spans.len();
        self.bytes += spans.iter().map(Message::encoded_len).sum::<usize>();
        let (service, pid) = (request.service, request.pid);
        match self.processes.iter_mut().find(|known| known.pid == pid && *known.service == *service) {
            Some(process) => process.spans.extend(spans),
            None => self.processes.push(Process { service: service.into(), pid, spans }),
        }
    }

    fn wall_ns(&self, ts_ns: u64) -> u64 {
        self.clock.wall_ns(ts_ns).try_into().unwrap_or(0)
    }

    /// The whole of a request, from the moment it could have been read to its end.
    fn whole(&self, request: &Request<'_>, trace_id: TraceId, span_id: SpanId) -> Span {
        let started_ns = request.start_ns.saturating_sub(request.queue_ns.unwrap_or(0));
        Span {
            trace_id: trace_id.0.to_vec(),
            span_id: span_id.0.to_vec(),
            trace_state: request
                .trace_state
                .filter(|state| state.len() <= MAX_TRACE_STATE)
                .unwrap_or_default()
                .to_owned(),
            parent_span_id: request.parent_id.map(|parent| parent.0.to_vec()).unwrap_or_default(),
            name: name(request),
            kind: match request.kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
            }
            .into(),
            start_time_unix_nano: self.wall_ns(started_ns),
            end_time_unix_nano: self.wall_ns(end_ns(request)),
            attributes: attributes::of(request),
            links: Vec::new(),
            status: status(request),
        }
    }
}

impl Sink for Spans {
    fn request(&mut self, request: &Request<'_>) {
        self.add(request, None);
    }
}

/// To the span of the other side of the same exchange.
fn link((trace_id, span_id): (TraceId, SpanId)) -> Link {
    let mut attributes = Attributes::default();
    attributes.text("beyla.link", "other_side");
    Link { trace_id: trace_id.0.to_vec(), span_id: span_id.0.to_vec(), attributes: attributes.into() }
}

/// The spans of a request that waited until `started_ns`: the whole, the wait and the work. The work has the id of the
/// request, which is that of the caller in the requests that were made meanwhile.
fn waited(whole: Span, started_ns: u64, derived: impl Fn(u64) -> Vec<u8>) -> Vec<Span> {
    let whole_id = derived(0);
    let part = |name: &str, span_id| Span {
        trace_id: whole.trace_id.clone(),
        span_id,
        trace_state: whole.trace_state.clone(),
        parent_span_id: whole_id.clone(),
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        ..Span::default()
    };
    let wait = Span {
        start_time_unix_nano: whole.start_time_unix_nano,
        end_time_unix_nano: started_ns,
        ..part("in queue", derived(1))
    };
    let work = Span {
        start_time_unix_nano: started_ns,
        end_time_unix_nano: whole.end_time_unix_nano,
        ..part("processing", whole.span_id.clone())
    };
    vec![Span { span_id: whole_id, ..whole }, wait, work]
}

/// Those of the request, which the engine always gives; else such as it would give.
fn ids(request: &Request<'_>) -> (TraceId, SpanId) {
    let (connection, ordinal) = (request.connection, request.ordinal);
    (
        request.trace_id.unwrap_or_else(|| trace::trace_id(0, connection, ordinal)),
        request.span_id.unwrap_or_else(|| trace::span_id(0, connection, ordinal)),
    )
}

/// The name of a span: the method and the route; of gRPC, the full method.
pub fn name(request: &Request<'_>) -> String {
    if request.protocol.is_grpc() {
        return bounded(request.path.unwrap_or("gRPC")).to_owned();
    }
    let method = request.method.and_then(method::known).unwrap_or("HTTP");
    match request.route {
        Some(route) => format!("{method} {}", bounded(route)),
        None => method.to_owned(),
    }
}

/// The end of a span, monotonic nanoseconds: the last byte of the response; without one, until when it was waited for. Nothing
/// is known of the time after a gap.
pub fn end_ns(request: &Request<'_>) -> u64 {
    request.end_ns.unwrap_or(match request.end_reason {
        EndReason::Gap => request.start_ns,
        _ => request.ended_ns.max(request.start_ns),
    })
}

fn status(request: &Request<'_>) -> Option<Status> {
    (request.span_status == SpanStatus::Error).then(|| Status {
        message: bounded(request.rpc_message.unwrap_or_default()).to_owned(),
        code: StatusCode::Error.into(),
    })
}

#[cfg(test)]
mod tests;
