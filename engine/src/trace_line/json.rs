//! One JSON object per request, with the keys of Beyla's spans.

use std::fmt::Display;
use std::io::{self, Write};

use beyla_schema::event::Clock;
use beyla_schema::request::{Kind, Request};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::PrettyFormatter;

use super::FLAGS;
use super::shown::{GoDuration, deceives, host, span_type, status};

/// Writes the object of `request`, on one line or with an indent of one blank, and a line feed.
pub(super) fn write(
    out: &mut impl Write,
    request: &Request<'_>,
    clock: Clock,
    indent: bool,
) -> io::Result<()> {
    let mut text = Vec::new();
    let span = Span { request, clock };
    if indent {
        let formatter = PrettyFormatter::with_indent(b" ");
        span.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    } else {
        serde_json::to_writer(&mut text, &span)?;
    }
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    let mut rest = &*text;
    // JSON lets characters through that a terminal obeys. They are all within texts, where they may be escaped.
    while let Some((at, char)) = rest.char_indices().find(|&(_, char)| char > '~' && deceives(char)) {
        write!(out, "{}\\u{:04x}", &rest[..at], u32::from(char))?;
        rest = &rest[at + char.len_utf8()..];
    }
    writeln!(out, "{rest}")
}

/// A request in JSON. As in Beyla, every value is a text; what was not observed is absent.
struct Span<'a> {
    request: &'a Request<'a>,
    clock: Clock,
}

impl Serialize for Span<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.fields() {
            if let Some(value) = value {
                map.serialize_entry(key, &value)?;
            }
        }
        map.serialize_entry("attributes", &Attributes(self.request))?;
        map.end()
    }
}

impl Span<'_> {
    fn fields(&self) -> [(&'static str, Option<String>); 20] {
        let &Request { client, server, duration_ns, service_ns, .. } = self.request;
        let micros = |ns: u64| self.clock.wall_ns(ns).div_euclid(1000);
        let arrived_ns = self.request.start_ns.saturating_sub(self.request.queue_ns.unwrap_or(0));
        let kind = match self.request.kind {
            Kind::Server => "SPAN_KIND_SERVER",
            Kind::Client => "SPAN_KIND_CLIENT",
        };
        [
            ("type", text(Some(span_type(self.request)))),
            ("kind", text(Some(kind))),
            ("service", text(Some(self.request.service))),
            ("peer", text(client.map(|address| address.ip()))),
            ("peerPort", text(client.map(|address| address.port()))),
            ("host", text(server.map(|address| address.ip()))),
            ("hostPort", text(server.map(|address| address.port()))),
            ("hostName", text(self.request.authority.map(host))),
            ("traceID", text(self.request.trace_id)),
            ("spanID", text(self.request.span_id)),
            ("parentSpanID", text(self.request.parent_id)),
            ("traceFlags", text(self.request.trace_id.map(|_| FLAGS))),
            ("start", text(Some(micros(arrived_ns)))),
            ("handlerStart", text(Some(micros(self.request.start_ns)))),
            ("end", text(self.request.end_ns.map(micros))),
            ("duration", text(duration_ns.map(GoDuration))),
            ("durationUSec", text(duration_ns.map(|ns| ns / 1000))),
            ("handlerDuration", text(service_ns.map(GoDuration))),
            ("handlerDurationUSec", text(service_ns.map(|ns| ns / 1000))),
            ("endReason", text(Some(self.request.end_reason.name()))),
        ]
    }
}

/// What depends on the protocol.
struct Attributes<'a>(&'a Request<'a>);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.0;
        let grpc = request.protocol.is_grpc();
        // The method of a gRPC call is its path.
        let (method, url) = if grpc { (request.path, None) } else { (request.method, request.path) };
        let http = |value: Option<u64>| text(value.filter(|_| !grpc));
        let fields = [
            ("method", text(method)),
            ("status", text(status(request))),
            ("url", text(url)),
            ("contentLen", http(request.request_bytes)),
            ("responseLen", http(request.response_bytes)),
            ("route", text(request.route.filter(|_| !grpc))),
            ("clientAddr", text(request.client.map(|address| address.ip()))),
            ("serverAddr", text(request.server.map(|address| address.ip()))),
            ("serverPort", text(request.server.map(|address| address.port()))),
        ];
        serializer.collect_map(fields.into_iter().filter_map(|(key, value)| Some((key, value?))))
    }
}

fn text(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}
