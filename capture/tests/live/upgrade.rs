//! Connections that go on with another protocol: one request, one row.

use std::process::Command;

use beyla_schema::request::{EndReason, Protocol};

use crate::{
    Machine,
    capture::{Capture, Seen},
    server::{Kind, Server},
    sources, stacks,
    stacks::output,
    turn,
};

#[test]
fn a_websocket_is_one_request() {
    let Some(_turn) = turn(Machine::Shared, &["python3", "curl"]) else { return };
    let server = Server::start(Kind::Websocket);
    let port = server.port.to_string();
    let capture = Capture::of_port(server.port);
    let client = sources().join("websocket/client.py");
    let talked = output(Command::new("/usr/bin/python3").arg(client).args([&port, "3", "20"]));
    assert_eq!(talked.trim(), "60");
    let url = format!("http://127.0.0.1:{port}/chat");
    let refused =
        output(Command::new("curl").args(["-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", &url]));
    let recording = capture.stop();
    recording.assert_complete();
    let told = |seen: &Seen| (seen.target.clone().unwrap(), seen.status.unwrap(), seen.end_reason);
    let told: Vec<_> = recording.requests.iter().map(told).collect();
    let switched = |number| (format!("/chat/{number}?room=1"), 101, EndReason::ProtocolSwitch);
    let refused = ("/chat".to_owned(), refused.parse().unwrap(), EndReason::Response);
    assert_eq!(told, [switched(0), switched(1), switched(2), refused]);
}

/// The first request of a connection upgrades it, and is answered over HTTP/2: with its final status, not with 101.
#[test]
fn a_request_that_upgrades_to_http2_is_one_row_with_the_final_status() {
    let Some(_turn) = turn(Machine::Shared, &[&["curl"], stacks::PROGRAMS].concat()) else { return };
    let server = Server::start(Kind::GoHttp2);
    let capture = Capture::of_port(server.port);
    let url = |target: &str| format!("http://127.0.0.1:{}{target}", server.port);
    let curl = |options: &[&str], targets: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-m", "10", "--http2", "-w", "%{stderr}%{http_version} "]).args(options);
        for target in targets {
            curl.args(["-o", "/dev/null"]).arg(url(target));
        }
        let said = curl.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stderr), "2 ".repeat(targets.len()));
    };
    curl(&[], &["/a?status=404", "/b", "/c?status=500"]);
    curl(&["--data", "product=7"], &["/cart"]);
    curl(&["--head"], &["/d"]);
    let recording = capture.stop();
    recording.assert_complete();
    let told: Vec<_> = recording
        .requests
        .iter()
        .map(|seen| {
            assert_eq!(seen.end_reason, EndReason::Response, "{seen:?}");
            let text = format!("{} {}", seen.method.as_ref().unwrap(), seen.target.as_ref().unwrap());
            (
                text,
                seen.status.unwrap(),
                seen.request_bytes.unwrap(),
                seen.response_bytes.unwrap(),
                seen.ordinal,
            )
        })
        .collect();
    let row =
        |text: &str, status, sent, received, ordinal| (text.to_owned(), status, sent, received, ordinal);
    assert_eq!(
        told,
        [
            row("GET /a?status=404", 404, 0, 6, 0),
            row("GET /b", 200, 0, 6, 1),
            row("GET /c?status=500", 500, 0, 6, 2),
            row("POST /cart", 200, 9, 9, 0),
            row("HEAD /d", 200, 0, 0, 0),
        ]
    );
    let later: Vec<_> = recording.requests[1..3].iter().map(|seen| (seen.protocol, seen.stream)).collect();
    assert_eq!(later, [(Protocol::Http2, Some(3)), (Protocol::Http2, Some(5))]);
}
