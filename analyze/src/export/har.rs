//! An HTTP archive (HAR 1.2): one log of entries, in the order the requests ended. What was not captured, such as the other
//! header fields, cookies and bodies, is empty; what HAR has no place for is in fields that begin with `_`.

use std::io::{self, Write};

use beyla_engine::otlp::end_ns;
use beyla_schema::{
    arrow::requests::Source,
    request::{EndReason, Request},
};
use serde::Serialize;

use super::{
    Encoder, Exported, TOOL, VERSION,
    target::{self, Encode},
};
use crate::{Error, units::rfc3339};

/// An archive that may have entries.
#[derive(Default)]
pub(super) struct Archive {
    source: Source,
    entries: bool,
    /// One entry, so that the output is written to in large pieces.
    buffer: Vec<u8>,
}

impl Encoder for Archive {
    fn head(&mut self, _: &[Exported], out: &mut dyn Write) -> Result<(), Error> {
        let creator = format!(r#""creator":{{"name":"{TOOL}","version":"{VERSION}"}}"#);
        Ok(write!(out, r#"{{"log":{{"version":"1.2",{creator},"entries":["#)?)
    }

    fn begin(&mut self, source: &Source, _: &mut dyn Write) -> Result<(), Error> {
        self.source = source.clone();
        Ok(())
    }

    fn request(&mut self, request: &Request<'_>, out: &mut dyn Write) -> Result<(), Error> {
        self.buffer.clear();
        self.buffer.extend_from_slice(if self.entries { b",\n" } else { b"\n" });
        self.entries = true;
        serde_json::to_writer(&mut self.buffer, &Entry::of(request, &self.source))
            .map_err(io::Error::from)?;
        Ok(out.write_all(&self.buffer)?)
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        Ok(out.write_all(b"\n]}}\n")?)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    started_date_time: String,
    time: f64,
    request: Asked<'a>,
    response: Answered<'a>,
    cache: Empty,
    timings: Timings,
    #[serde(rename = "serverIPAddress", skip_serializing_if = "Option::is_none")]
    server_address: Option<String>,
    connection: String,
    #[serde(flatten)]
    own: Own<'a>,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    method: &'a str,
    url: String,
    http_version: &'static str,
    cookies: [Empty; 0],
    headers: Vec<Pair>,
    query_string: Vec<Pair>,
    headers_size: i64,
    body_size: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    /// 0 where there is none, as browsers write it.
    status: u16,
    status_text: &'static str,
    http_version: &'static str,
    cookies: [Empty; 0],
    headers: Vec<Pair>,
    content: Content<'a>,
    #[serde(rename = "redirectURL")]
    redirect_url: &'static str,
    headers_size: i64,
    body_size: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    size: i64,
    mime_type: &'a str,
}

#[derive(Serialize)]
struct Pair {
    name: String,
    value: String,
}

/// Milliseconds; -1 where something is not known. What has to be known is 0 where it is a part of `wait`.
#[derive(Serialize)]
struct Timings {
    blocked: f64,
    dns: i8,
    connect: i8,
    ssl: i8,
    send: i8,
    wait: f64,
    receive: i8,
    comment: &'static str,
}

/// What HAR has no place for.
#[derive(Serialize)]
struct Own<'a> {
    _file: &'a str,
    _host: &'a str,
    _service: &'a str,
    _pid: u32,
    _kind: &'static str,
    _protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    _path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    _route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    _rpc_status: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    _handshake_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    _client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    _stream: Option<u32>,
    _ordinal: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    _trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    _span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    _parent_id: Option<String>,
    _error: bool,
    _end_reason: &'static str,
}

impl<'a> Entry<'a> {
    fn of(request: &Request<'a>, source: &'a Source) -> Self {
        let ready_ns = request.start_ns.saturating_sub(request.queue_ns.unwrap_or(0));
        let version = target::http_version(request).unwrap_or_default();
        let ms = |ns: u64| ns as f64 / 1e6;
        let wait_ns = end_ns(request) - request.start_ns;
        Self {
            started_date_time: rfc3339(source.clock.wall_ns(ready_ns)).unwrap_or_default(),
            // The sum of the parts, added up before it is rounded.
            time: ms(request.queue_ns.unwrap_or(0) + wait_ns),
            request: Asked {
                method: request.method.unwrap_or_default(),
                url: url(request),
                http_version: version,
                cookies: [],
                headers: headers([
                    ("Host", request.authority),
                    ("User-Agent", request.user_agent),
                    ("Content-Type", request.request_type),
                ]),
                query_string: target::parameters(request.query.unwrap_or_default())
                    .map(|(name, value)| Pair { name, value })
                    .collect(),
                headers_size: size(request.request_header_bytes),
                body_size: size(request.request_bytes),
            },
            response: Answered {
                status: request.status.unwrap_or(0),
                status_text: "",
                http_version: if request.status.is_some() { version } else { "" },
                cookies: [],
                headers: headers([("Content-Type", request.response_type)]),
                content: Content {
                    size: size(request.response_bytes),
                    mime_type: request.response_type.unwrap_or_default(),
                },
                redirect_url: "",
                headers_size: size(request.response_header_bytes),
                body_size: size(request.response_bytes),
            },
            cache: Empty {},
            timings: Timings {
                blocked: request.queue_ns.map_or(-1.0, ms),
                dns: -1,
                connect: -1,
                ssl: -1,
                send: 0,
                wait: ms(wait_ns),
                receive: 0,
                comment: match request.end_reason {
                    EndReason::Response | EndReason::ProtocolSwitch => "wait includes send and receive",
                    EndReason::Gap => "when it ended is not known",
                    _ => "wait ends when nobody waited any more",
                },
            },
            server_address: request.server.map(|server| server.ip().to_string()),
            connection: request.connection.to_string(),
            own: Own {
                _file: &source.file,
                _host: &source.host,
                _service: request.service,
                _pid: request.pid,
                _kind: request.kind.name(),
                _protocol: request.protocol.name(),
                _path: request.path,
                _route: request.route,
                _rpc_status: request.rpc_status,
                _handshake_ms: request.handshake_ns.map(ms),
                _client: request.client.map(|client| client.to_string()),
                _stream: request.stream,
                _ordinal: request.ordinal,
                _trace_id: request.trace_id.map(|id| id.to_string()),
                _span_id: request.span_id.map(|id| id.to_string()),
                _parent_id: request.parent_id.map(|id| id.to_string()),
                _error: request.error,
                _end_reason: request.end_reason.name(),
            },
        }
    }
}

/// The whole URL. A target that is no path, such as that of `OPTIONS *`, stands behind a slash.
fn url(request: &Request<'_>) -> String {
    let origin = target::origin(request).unwrap_or_default();
    let target = target::target(request, Encode::Strict).unwrap_or_default();
    let slash = if target.starts_with('/') { "" } else { "/" };
    format!("{origin}{slash}{target}")
}

fn headers<const N: usize>(known: [(&str, Option<&str>); N]) -> Vec<Pair> {
    let pair = |(name, value): (&str, Option<&str>)| {
        value.map(|value| Pair { name: name.to_owned(), value: value.to_owned() })
    };
    known.into_iter().filter_map(pair).collect()
}

fn size(bytes: Option<u64>) -> i64 {
    bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1)
}
