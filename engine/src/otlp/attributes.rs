//! Attributes of spans, by the OpenTelemetry conventions for HTTP (stable) and RPC.

use std::net::SocketAddr;

use beyla_schema::request::{EndReason, Kind, Protocol, Request, SpanStatus};

use super::grpc_status;
use super::message::{AnyValue, KeyValue, Value};
use crate::method;
use crate::trace_line::host;

/// Bytes of one text; what is longer is cut off.
const MAX_TEXT: usize = 1024;

/// A list of attributes. What is not known is left out.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    pub(super) fn text<'a>(&mut self, key: &str, text: impl Into<Option<&'a str>>) {
        if let Some(text) = text.into() {
            self.add(key, Value::Text(bounded(text).to_owned()));
        }
    }

    pub(super) fn int(&mut self, key: &str, number: Option<impl Into<u64>>) {
        if let Some(number) = number {
            self.add(key, Value::Int(number.into() as i64));
        }
    }

    fn add(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) });
    }

    fn address(&mut self, side: &str, address: Option<SocketAddr>) {
        if let Some(address) = address {
            self.text(&format!("{side}.address"), address.ip().to_string().as_str());
            self.int(&format!("{side}.port"), Some(address.port()));
        }
    }
}

impl From<Attributes> for Vec<KeyValue> {
    fn from(attributes: Attributes) -> Self {
        attributes.0
    }
}

/// As much of a text as is sent.
pub(super) fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// What is known of a request.
pub(super) fn of(request: &Request<'_>) -> Vec<KeyValue> {
    let mut attributes = Attributes::default();
    if request.protocol.is_grpc() {
        attributes.text("rpc.system", "grpc");
        attributes.text("rpc.service", request.rpc_service);
        attributes.text("rpc.method", request.rpc_method);
        attributes.int("rpc.grpc.status_code", request.rpc_status);
    } else {
        http(&mut attributes, request);
    }
    attributes.int("http.response.status_code", request.status);
    attributes.int("http.request.body.size", request.request_bytes);
    attributes.int("http.response.body.size", request.response_bytes);
    attributes.text("user_agent.original", request.user_agent);
    attributes.text("network.protocol.version", version(request.protocol));
    // The name that the client asked for, which is not always that of the address.
    match named_host(request) {
        Some(name) => {
            attributes.text("server.address", name);
            attributes.int("server.port", request.server.map(|server| server.port()));
        }
        None => attributes.address("server", request.server),
    }
    attributes.address("client", request.client);
    let peer = match request.kind {
        Kind::Server => request.client,
        Kind::Client => request.server,
    };
    attributes.address("network.peer", peer);
    attributes.int("thread.id", Some(request.tid).filter(|&tid| tid != 0));
    if request.span_status == SpanStatus::Error {
        attributes.text("error.type", error_type(request).as_str());
    }
    if request.end_reason != EndReason::Response {
        attributes.text("beyla.end_reason", request.end_reason.name());
    }
    attributes.into()
}

fn http(attributes: &mut Attributes, request: &Request<'_>) {
    if let Some(method) = request.method {
        let known = method::known(method);
        attributes.text("http.request.method", known.unwrap_or("_OTHER"));
        attributes.text("http.request.method_original", known.is_none().then_some(method));
    }
    attributes.text("http.route", request.route);
    attributes.text("url.scheme", request.scheme);
    attributes.text("url.path", request.path);
    attributes.text("url.query", request.query);
}

/// The host that the client named, without port, brackets and credentials.
fn named_host<'a>(request: &Request<'a>) -> Option<&'a str> {
    let authority = request.authority?;
    let host = host(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some(host)
}

/// Version of HTTP. That of gRPC-Web can be any.
fn version(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::Http10 => Some("1.0"),
        Protocol::Http11 => Some("1.1"),
        Protocol::Http2 | Protocol::Grpc => Some("2"),
        Protocol::GrpcWeb => None,
    }
}

/// The status that tells the failure; without one, why there is none.
fn error_type(request: &Request<'_>) -> String {
    let rpc = request.rpc_status.filter(|&status| status != 0);
    let http = request.status.filter(|&status| status >= 400);
    match (rpc, http) {
        (Some(status), _) => grpc_status::name(status),
        (None, Some(status)) => status.to_string(),
        (None, None) => request.end_reason.name().to_owned(),
    }
}
