//! Requests: what the engine makes of events, and the rows of the `requests` table.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

use crate::event::{Source, names};

/// One request, with its response where there was one.
///
/// Texts are borrowed from the engine for the duration of the call that hands the request out. `None` means
/// not observed; nothing is invented.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request<'a> {
    /// Service name of the captured process; empty when not known.
    pub service: &'a str,
    /// Process that served or called.
    pub pid: u32,
    /// Thread that read (server) or wrote (client) the first byte.
    pub tid: u32,
    /// Goroutine that did so; 0 where there is none, or none is known.
    pub goroutine: u64,
    /// Whether the captured process served or called.
    pub kind: Kind,
    /// Protocol and version.
    pub protocol: Protocol,
    /// Library the plaintext came from, for TLS connections.
    pub tls: Option<Source>,
    /// How that plaintext was tied to the connection; None where it was not, or there is none.
    pub tls_match: Option<TlsMatch>,
    /// Version of TLS, from the handshake of the connection.
    pub tls_version: Option<TlsVersion>,
    /// Host that the client named in it.
    pub tls_server_name: Option<&'a str>,
    /// Protocol that the server chose in it, up to TLS 1.2.
    pub tls_alpn: Option<&'a str>,
    /// Method as sent.
    pub method: Option<&'a str>,
    /// `http` or `https`.
    pub scheme: Option<&'a str>,
    /// `Host` header or authority of the target, as sent.
    pub authority: Option<&'a str>,
    /// Path without the query.
    pub path: Option<&'a str>,
    /// Query without the question mark.
    pub query: Option<&'a str>,
    /// Path after the route rules.
    pub route: Option<&'a str>,
    /// What the client calls itself.
    pub user_agent: Option<&'a str>,
    /// Content type of the request, as sent.
    pub request_type: Option<&'a str>,
    /// Content type of the response, as sent.
    pub response_type: Option<&'a str>,
    /// HTTP status.
    pub status: Option<u16>,
    /// gRPC service.
    pub rpc_service: Option<&'a str>,
    /// gRPC method.
    pub rpc_method: Option<&'a str>,
    /// gRPC status.
    pub rpc_status: Option<u32>,
    /// What came with it, percent-encoding taken off.
    pub rpc_message: Option<&'a str>,
    /// Failed by the rules of `docs/metrics.md`.
    pub error: bool,
    /// The status of the span by the OpenTelemetry conventions, which differ for gRPC servers.
    pub span_status: SpanStatus,
    /// First byte read (server) or written (client); monotonic nanoseconds.
    pub start_ns: u64,
    /// Last byte of the response; monotonic nanoseconds.
    pub end_ns: Option<u64>,
    /// From the moment the request could have been read to the end; nanoseconds.
    pub duration_ns: Option<u64>,
    /// From start to end; nanoseconds.
    pub service_ns: Option<u64>,
    /// From the moment the request could have been read to its start; nanoseconds.
    pub queue_ns: Option<u64>,
    /// From the beginning to the end of the TLS handshake of the connection; nanoseconds.
    pub handshake_ns: Option<u64>,
    /// Body bytes of the request: chunk framing taken off, content encoding left on.
    pub request_bytes: Option<u64>,
    /// Body bytes of the response, likewise.
    pub response_bytes: Option<u64>,
    /// Bytes of the request's head as sent, trailers not counted. Of HTTP/2, of its header block.
    pub request_header_bytes: Option<u64>,
    /// Bytes of the head of the final response, likewise.
    pub response_header_bytes: Option<u64>,
    /// gRPC messages of the client.
    pub request_messages: Option<u64>,
    /// gRPC messages of the server.
    pub response_messages: Option<u64>,
    /// Address of the side that sent the request.
    pub client: Option<SocketAddr>,
    /// Address of the side that answered.
    pub server: Option<SocketAddr>,
    /// Connection id.
    pub connection: u64,
    /// HTTP/2 stream.
    pub stream: Option<u32>,
    /// Position of the request on its connection, from 0.
    pub ordinal: u64,
    /// W3C trace id: that of `traceparent`, of the request that made this one, or made up from the capture.
    pub trace_id: Option<TraceId>,
    /// Span id of this request, made up from the capture.
    pub span_id: Option<SpanId>,
    /// Span id of the caller, where it is known.
    pub parent_id: Option<SpanId>,
    /// `tracestate`, as sent.
    pub trace_state: Option<&'a str>,
    /// Why there is no more to this request.
    pub end_reason: EndReason,
    /// When that was known; monotonic nanoseconds. Requests are ordered by `(ended_ns, connection, ordinal)`.
    pub ended_ns: u64,
}

impl Request<'_> {
    /// A request over HTTP/1.1 of which no more was observed than that it began, to be filled in; it is known at once that
    /// there is no more to it, for this reason.
    pub const fn begun(kind: Kind, start_ns: u64, end_reason: EndReason) -> Self {
        Self {
            service: "",
            pid: 0,
            tid: 0,
            goroutine: 0,
            kind,
            protocol: Protocol::Http11,
            tls: None,
            tls_match: None,
            tls_version: None,
            tls_server_name: None,
            tls_alpn: None,
            method: None,
            scheme: None,
            authority: None,
            path: None,
            query: None,
            route: None,
            user_agent: None,
            request_type: None,
            response_type: None,
            status: None,
            rpc_service: None,
            rpc_method: None,
            rpc_status: None,
            rpc_message: None,
            error: false,
            span_status: SpanStatus::Unset,
            start_ns,
            end_ns: None,
            duration_ns: None,
            service_ns: None,
            queue_ns: None,
            handshake_ns: None,
            request_bytes: None,
            response_bytes: None,
            request_header_bytes: None,
            response_header_bytes: None,
            request_messages: None,
            response_messages: None,
            client: None,
            server: None,
            connection: 0,
            stream: None,
            ordinal: 0,
            trace_id: None,
            span_id: None,
            parent_id: None,
            trace_state: None,
            end_reason,
            ended_ns: start_ns,
        }
    }
}

/// The role of the captured process in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// It answered: inbound.
    Server,
    /// It asked: outbound.
    Client,
}

/// Protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web, over any HTTP.
    GrpcWeb,
}

impl Protocol {
    /// Whether its requests are calls of gRPC.
    pub const fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb)
    }
}

/// How the plaintext of a TLS library was tied to the connection that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsMatch {
    /// The kernel saw the calls of the socket within those of the library.
    Nested,
    /// One connection alone moved ciphertext when the library moved plaintext.
    Time,
}

/// Version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0.
    V10,
    /// TLS 1.1.
    V11,
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// The status of a span (OpenTelemetry, HTTP and gRPC conventions): `Ok` is for people to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpanStatus {
    /// Nothing is wrong.
    Unset,
    /// It failed, and not by a fault of its client.
    Error,
}

/// A trace id: 16 bytes, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// A span id: 8 bytes, shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

impl Display for TraceId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Display for SpanId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Why a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndReason {
    /// Its response was seen to the end.
    Response,
    /// The stream was reset.
    Reset,
    /// The connection closed first.
    Closed,
    /// The capture ended first.
    CaptureEnd,
    /// Bytes are missing that were needed.
    Gap,
    /// The connection went on with another protocol (101, or CONNECT with 2xx).
    ProtocolSwitch,
}

names!(pub Kind { Server = "server", Client = "client" });
names!(pub Protocol {
    Http10 = "http/1.0",
    Http11 = "http/1.1",
    Http2 = "http/2",
    Grpc = "grpc",
    GrpcWeb = "grpc-web",
});
names!(pub TlsMatch { Nested = "nested", Time = "time" });
names!(pub TlsVersion { V10 = "1.0", V11 = "1.1", V12 = "1.2", V13 = "1.3" });
names!(pub SpanStatus { Unset = "unset", Error = "error" });
names!(pub EndReason {
    Response = "response",
    Reset = "reset",
    Closed = "closed",
    CaptureEnd = "capture_end",
    Gap = "gap",
    ProtocolSwitch = "protocol_switch",
});
