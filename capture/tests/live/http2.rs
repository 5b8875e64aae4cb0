//! HTTP/2 without TLS: many streams on a connection, each a request of its own.

use std::{collections::BTreeSet, process::Command};

use beyla_schema::request::{EndReason, Kind as Side, Protocol};

use crate::{
    Machine,
    capture::{Capture, Seen},
    server::{Kind, Server},
    stacks::{self, assert_mix, lines, output, program, report},
    turn,
};

/// What `h2load` says after a word of its summary.
fn count_of(summary: &str, line: &str, word: &str) -> Option<u64> {
    let line = summary.lines().find_map(|text| text.strip_prefix(line))?;
    let part = line.split(", ").find_map(|part| part.strip_suffix(word))?;
    part.trim().parse().ok()
}

/// Four connections, a hundred streams at a time on each, 20,000 requests.
pub(crate) fn every_stream_of_h2load_is_recorded(kind: Kind, path: &str) {
    const REQUESTS: u64 = 20_000;
    let Some(_turn) = turn(Machine::Alone, &[&["h2load"], kind.programs()].concat()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let url = server.url(path);
    let options = ["-c", "4", "-m", "100", "-n", &REQUESTS.to_string(), &url];
    let summary = output(Command::new("h2load").args(options));
    assert_eq!(count_of(&summary, "requests:", "succeeded"), Some(REQUESTS), "{summary}");
    assert_eq!(count_of(&summary, "status codes:", "2xx"), Some(REQUESTS), "{summary}");
    let recording = capture.stop();
    recording.assert_complete();
    recording.assert_source(kind.source());
    for seen in &recording.requests {
        assert_eq!((seen.protocol, seen.end_reason), (Protocol::Http2, EndReason::Response), "{seen:?}");
        assert_eq!(seen.method.as_deref(), Some("GET"), "{seen:?}");
        assert_eq!(seen.target.as_deref(), Some(path), "{seen:?}");
        assert_eq!((seen.status, seen.response_bytes), (Some(200), Some(6)), "{seen:?}");
        assert!(seen.end_ns.is_some_and(|end| end >= seen.start_ns), "{seen:?}");
    }
    assert_eq!(recording.requests.len() as u64, REQUESTS, "{:?}", recording.stats);
    let streams: BTreeSet<_> = recording.requests.iter().map(|seen| (seen.connection, seen.stream)).collect();
    assert_eq!(streams.len() as u64, REQUESTS);
    let connections: BTreeSet<_> = recording.requests.iter().map(|seen| seen.client).collect();
    assert_eq!(connections.len(), 4);
}

#[test]
fn h2load_to_go() {
    every_stream_of_h2load_is_recorded(Kind::GoHttp2, "/");
}

#[test]
fn h2load_to_hyper() {
    every_stream_of_h2load_is_recorded(Kind::Hyper, "/");
}

#[test]
fn h2load_to_node() {
    every_stream_of_h2load_is_recorded(Kind::H2c, "/");
}

#[test]
fn h2load_to_nghttpd() {
    every_stream_of_h2load_is_recorded(Kind::Nghttpd, "/index.html");
}

/// Several methods, statuses and kinds of body, fifty streams at a time: each has the answer that belongs to it.
pub(crate) fn no_stream_gets_what_belongs_to_another(kind: Kind) {
    let Some(_turn) = turn(Machine::Alone, &[stacks::PROGRAMS, kind.programs()].concat()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let trust = server.trust();
    let mut options = vec!["-connections", "3", "-count", "1000", "-concurrency", "50"];
    options.extend(trust.iter().map(String::as_str));
    let port = server.port.to_string();
    options.push(&port);
    let report = report("h2-client", &options);
    let recording = capture.stop();
    recording.assert_source(kind.source());
    assert_mix(&recording, &report, 3, 1000);
    assert!(recording.requests.iter().all(|seen| seen.protocol == Protocol::Http2));
}

#[test]
fn many_streams_to_go() {
    no_stream_gets_what_belongs_to_another(Kind::GoHttp2);
}

#[test]
fn many_streams_to_hyper() {
    no_stream_gets_what_belongs_to_another(Kind::Hyper);
}

#[test]
fn many_streams_to_node() {
    no_stream_gets_what_belongs_to_another(Kind::H2c);
}

#[test]
fn a_client_is_recorded_like_a_server() {
    let Some(_turn) = turn(Machine::Alone, stacks::PROGRAMS) else { return };
    let server = Server::start(Kind::GoHttp2);
    let port = server.port.to_string();
    let folder = crate::folder();
    let printed = folder.path().join("report");
    let redirect = format!("exec \"$0\" \"$@\" > {}", printed.display());
    let client = program("h2-client");
    let command = ["--", "timeout", "60", "sh", "-c", &redirect, client.to_str().unwrap()];
    let options = ["-connections", "2", "-count", "500", "-concurrency", "50", &port];
    let recording = Capture::start(&[&command[..], &options].concat()).wait();
    assert_eq!(recording.code, Some(0), "{}", recording.stderr);
    let report = lines(&std::fs::read_to_string(printed).unwrap());
    assert_mix(&recording, &report, 2, 500);
    let server = Some(([127, 0, 0, 1], server.port).into());
    let right =
        |seen: &Seen| seen.kind == Side::Client && seen.protocol == Protocol::Http2 && seen.server == server;
    assert!(recording.requests.iter().all(right));
}

/// What curl is asked for, and the method that makes it.
const CURL: [(&str, &str, &[&str]); 8] = [
    ("GET", "/", &[]),
    ("GET", "/products/7?currency=eur", &["-H", "x-long: 0123456789012345678901234567890123456789"]),
    ("GET", "/gone?status=404", &[]),
    ("HEAD", "/products", &["--head"]),
    ("POST", "/cart", &["--data", "product=7&count=2"]),
    ("GET", "/slow?delay=40ms", &[]),
    ("GET", "/big?size=1048576", &[]),
    ("DELETE", "/products/7?status=204", &["-X", "DELETE"]),
];

/// Over TLS the two agree on HTTP/2 in the handshake.
pub(crate) fn every_request_of_curl_is_recorded(kind: Kind) {
    let Some(_turn) = turn(Machine::Shared, &[&["curl"], kind.programs()].concat()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    // Each on a connection of its own: some versions of curl fail when they use one again that began like this.
    let printed: String = CURL
        .iter()
        .map(|(_, target, options)| {
            // It says what it got, in place of the body.
            let mut curl = Command::new("curl");
            match server.certificate() {
                Some(certificate) => curl.args(["--http2", "--cacert"]).arg(certificate),
                None => curl.arg("--http2-prior-knowledge"),
            };
            output(
                curl.args(["--silent", "--output", "/dev/null"])
                    .args(["--write-out", "%{http_version} %{http_code} %{size_download}\\n"])
                    .args(*options)
                    .arg(server.url(target)),
            )
        })
        .collect();
    let recording = capture.stop();
    recording.assert_complete();
    recording.assert_source(kind.source());
    let told: Vec<_> = recording
        .requests
        .iter()
        .map(|seen| {
            assert_eq!((seen.protocol, seen.end_reason), (Protocol::Http2, EndReason::Response), "{seen:?}");
            (
                seen.method.as_deref().unwrap(),
                seen.target.as_deref().unwrap(),
                seen.status,
                seen.response_bytes,
            )
        })
        .collect();
    let wanted: Vec<_> = CURL
        .iter()
        .zip(printed.lines())
        .map(|(&(method, target, _), line)| {
            let mut parts = line.split(' ');
            assert_eq!(parts.next(), Some("2"), "{line}");
            let status = parts.next().and_then(|status| status.parse().ok());
            (method, target, status, parts.next().and_then(|size| size.parse().ok()))
        })
        .collect();
    assert_eq!(told, wanted);
    let posted: Vec<_> = recording.requests.iter().map(|seen| seen.request_bytes).collect();
    assert_eq!(posted, [0, 0, 0, 0, 17, 0, 0, 0].map(Some));
    let slow = recording.requests[5].duration_ns;
    assert!(slow.is_some_and(|duration| duration >= 38_000_000), "{slow:?}");
}

#[test]
fn curl_to_go() {
    every_request_of_curl_is_recorded(Kind::GoHttp2);
}

#[test]
fn curl_to_hyper() {
    every_request_of_curl_is_recorded(Kind::Hyper);
}

#[test]
fn curl_to_node() {
    every_request_of_curl_is_recorded(Kind::H2c);
}
