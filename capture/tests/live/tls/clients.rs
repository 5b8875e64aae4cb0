//! Clients that speak TLS, recorded themselves.
//!
//! A library is found a moment after its program has loaded it: each of these waits before it connects for the first time,
//! and everything after that is recorded.

use std::{fs, path::Path};

use beyla_schema::{
    event::Source,
    request::{self, Protocol},
};

use super::{
    Service,
    ask::{Ask, answered},
};
use crate::{
    Machine,
    capture::{Capture, Recording, Seen},
    client::{Sent, Size},
    folder, grpc, now_ns,
    server::{Kind, Server},
    sources,
    stacks::{self, Line, assert_mix, lines},
    turn,
};

/// How long they wait.
const WAIT_MS: u64 = 3000;

/// Records a command that reads `input`. Returns the recording, and what it printed.
fn recorded(program: &Path, arguments: &[&str], input: &str) -> (Recording, String) {
    let folder = folder();
    let [stdin, stdout] = ["input", "output"].map(|name| folder.path().join(name));
    fs::write(&stdin, input).unwrap();
    let redirect = format!("exec \"$0\" \"$@\" < {} > {}", stdin.display(), stdout.display());
    let command = ["--", "timeout", "60", "sh", "-c", &redirect, program.to_str().unwrap()];
    let recording = Capture::start(&[&command[..], arguments].concat()).wait();
    assert_eq!(recording.code, Some(0), "{}", recording.stderr);
    (recording, fs::read_to_string(stdout).unwrap())
}

/// Requests on three connections, the first of each after a while.
fn three_connections() -> Vec<Ask> {
    let mut asked = Vec::new();
    for connection in 0..3 {
        asked.push(Ask { pause: WAIT_MS, ..Ask::get(connection, format!("/{connection}?a=1")) });
        asked.push(Ask::get(connection, format!("/{connection}/gone?status=404")));
        asked.push(Ask { method: "HEAD", ..Ask::get(connection, "/products") });
        for body in [3, 3000, 40_000] {
            asked.push(Ask { method: "POST", body, ..Ask::get(connection, "/cart") });
        }
        asked.push(Ask::get(connection, format!("/{connection}?delay=30ms")));
        asked.push(Ask::get(connection, "/big?size=300000"));
        asked.push(Ask { last: true, ..Ask::get(connection, "/last") });
    }
    asked
}

fn a_client_comes_back(interpreter: &str, script: &str) {
    let kind = Kind::Tls(Service::Go);
    let Some(_turn) = turn(Machine::Shared, &[kind.programs(), &[interpreter]].concat()) else { return };
    let server = Server::start(kind);
    let asked = three_connections();
    let input: String = asked.iter().map(Ask::line).collect();
    let (script, certificate) = (sources().join("tls").join(script), server.certificate().unwrap());
    let arguments = [script.to_str().unwrap(), &server.port.to_string(), certificate.to_str().unwrap()];
    let (recording, printed) = recorded(Path::new(interpreter), &arguments, &input);
    let sent: Vec<_> = printed.lines().map(|line| answered(line, server.port)).collect();
    assert_eq!(sent.len(), asked.len());
    recording.assert_source(Source::OpenSsl);
    recording.assert_is(request::Kind::Client, &sent);
}

#[test]
fn python() {
    a_client_comes_back("python3", "client.py");
}

/// The package is installed for the system's Python.
#[test]
fn python_requests() {
    a_client_comes_back("/usr/bin/python3", "requests_client.py");
}

#[test]
fn ruby() {
    a_client_comes_back("ruby", "client.rb");
}

#[test]
fn node() {
    a_client_comes_back("node", "client.js");
}

/// A request without TLS, which is answered after a while, then some over TLS on one connection.
fn curl_comes_back(options: &[&str], protocol: Protocol) {
    let kind = Kind::Tls(Service::Go);
    let Some(_turn) = turn(Machine::Shared, &[kind.programs(), &["curl"]].concat()) else { return };
    let slow = Server::start(Kind::Go);
    let server = Server::start(kind);
    let targets = ["/first", "/second?status=404", "/big?size=50000", "/third?delay=30ms", "/last"];
    let mut urls = vec![slow.url(&format!("/slow?delay={WAIT_MS}ms"))];
    urls.extend(targets.map(|target| server.url(target)));
    let certificate = server.certificate().unwrap();
    let mut arguments = vec!["--silent", "--cacert", certificate.to_str().unwrap()];
    arguments.extend(options);
    arguments.extend(["--write-out", "%{http_code} %{local_port} %{size_download}\\n"]);
    for url in &urls {
        arguments.extend(["--output", "/dev/null", url]);
    }
    let began = now_ns();
    let (recording, printed) = recorded(Path::new("curl"), &arguments, "");
    let sent: Vec<_> = urls
        .iter()
        .zip(printed.lines())
        .map(|(url, line)| {
            let (_, rest) = url.split_once("://").unwrap();
            let (address, path) = rest.split_once('/').unwrap();
            let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            Sent {
                client: Some(([127, 0, 0, 1], numbers[1] as u16).into()),
                server: address.parse().unwrap(),
                method: "GET".to_owned(),
                target: format!("/{path}"),
                status: numbers[0] as u16,
                request_bytes: Size::Told(0),
                response_bytes: Size::Told(numbers[2]),
                time: (began, now_ns()),
            }
        })
        .collect();
    assert_eq!(sent.len(), urls.len());
    recording.assert_is(request::Kind::Client, &sent);
    for seen in &recording.requests {
        let is_slow = seen.server == Some(([127, 0, 0, 1], slow.port).into());
        seen.assert_source(if is_slow { Source::Socket } else { Source::OpenSsl });
        assert!(is_slow || seen.protocol == protocol, "{seen:?}");
    }
}

#[test]
fn curl_over_http1() {
    curl_comes_back(&["--http1.1"], Protocol::Http11);
}

#[test]
fn curl_over_http2() {
    // Which it offers in the handshake when it is told nothing; told to use it, it would also ask for an upgrade.
    curl_comes_back(&[], Protocol::Http2);
}

/// Records a client of Go. Returns the recording, and its report.
fn go_client(
    service: Service,
    name: &str,
    options: &[&str],
    more: &[&str],
) -> Option<(Recording, Vec<Line>)> {
    let kind = Kind::Tls(service);
    let _turn = turn(Machine::Alone, kind.programs())?;
    let server = Server::start(kind);
    let (trust, port) = (server.trust(), server.port.to_string());
    let wait = format!("{WAIT_MS}ms");
    let mut arguments = vec!["-wait", &wait];
    arguments.extend(trust.iter().map(String::as_str));
    arguments.extend(options);
    arguments.push(&port);
    arguments.extend(more);
    let (recording, printed) = recorded(&stacks::program(name), &arguments, "");
    recording.assert_source(Source::Go);
    let server = Some(([127, 0, 0, 1], server.port).into());
    let right = |seen: &Seen| seen.kind == request::Kind::Client && seen.server == server;
    assert!(recording.requests.iter().all(right));
    Some((recording, lines(&printed)))
}

#[test]
fn go_over_http2() {
    let options = ["-connections", "2", "-count", "500", "-concurrency", "50"];
    let Some((recording, report)) = go_client(Service::GoHttp2, "h2-client", &options, &[]) else { return };
    assert_mix(&recording, &report, 2, 500);
    assert!(recording.requests.iter().all(|seen| seen.protocol == Protocol::Http2));
}

#[test]
fn grpc_of_go() {
    let options = ["-count", "100", "-concurrency", "20"];
    let kinds = ["unary", "server-stream", "client-stream", "bidi", "fail", "fail-late"];
    let Some((recording, report)) = go_client(Service::Grpc, "grpc-client", &options, &kinds) else { return };
    recording.assert_complete();
    grpc::assert_calls(&recording, &report, Protocol::Grpc);
    assert_eq!(recording.requests.len(), 600);
}
