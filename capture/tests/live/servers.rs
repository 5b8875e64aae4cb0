//! A known sequence of requests to an unmodified server of each kind comes back exactly.

use beyla_schema::request::{self, EndReason};

use crate::{
    Machine,
    capture::{Capture, Seen},
    client::{Client, Message},
    server::{Kind, Server},
    turn,
};

/// One connection with everything, as far as the server keeps it, then one for each request.
fn a_known_sequence_comes_back(kind: Kind) {
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let mut client = Client::new(server.port);
    for target in ["/", "/products/7?currency=eur", "/gone?status=404", "/?delay=40ms", "/?status=500"] {
        client.ask("GET", target);
    }
    client.ask("HEAD", "/products");
    for size in [3, 3000, 40_000] {
        let body = vec![b'b'; size];
        client.send(Message { method: "POST", target: "/cart", body: &body, ..Message::default() });
    }
    client.ask("GET", "/big?size=5000");
    client.ask("GET", "/big?size=300000");
    client.ask("GET", "/last");
    client.ask_one_by_one(&["/", "/a", "/gone?status=404", "/big?size=100000", "/?delay=25ms"]);
    let sent = client.take_sent();
    assert_eq!(sent.len(), 17);
    capture.stop().assert_served(&sent);
}

#[test]
fn go() {
    a_known_sequence_comes_back(Kind::Go);
}

#[test]
fn gunicorn_with_two_workers() {
    a_known_sequence_comes_back(Kind::Gunicorn);
}

#[test]
fn java() {
    a_known_sequence_comes_back(Kind::Java);
}

#[test]
fn node() {
    a_known_sequence_comes_back(Kind::Node);
}

#[test]
fn python() {
    a_known_sequence_comes_back(Kind::Python);
}

#[test]
fn ruby() {
    a_known_sequence_comes_back(Kind::Ruby);
}

#[test]
fn hyper() {
    a_known_sequence_comes_back(Kind::Hyper);
}

#[test]
fn uvicorn() {
    a_known_sequence_comes_back(Kind::Uvicorn);
}

#[test]
fn nginx() {
    let Some(_turn) = turn(Machine::Shared, Kind::Nginx.programs()) else { return };
    let server = Server::start(Kind::Nginx);
    let capture = Capture::of_port(server.port);
    let mut client = Client::new(server.port);
    for target in ["/", "/index.html?v=1", "/gone", "/nowhere", "/broken", "/big.bin", "/status"] {
        client.ask("GET", target);
    }
    client.ask("HEAD", "/big.bin");
    client.send(Message { method: "POST", target: "/broken", body: b"three", ..Message::default() });
    client.send(Message {
        method: "GET",
        target: "/",
        headers: "Connection: close\r\n",
        ..Message::default()
    });
    client.ask_one_by_one(&["/", "/big.bin", "/gone"]);
    capture.stop().assert_served(&client.take_sent());
}

#[test]
fn nginx_as_a_proxy_is_a_server_and_a_client() {
    let Some(_turn) = turn(Machine::Shared, &["nginx", "go"]) else { return };
    let backend = Server::start(Kind::Go);
    let server = Server::start(Kind::NginxProxy { backend: backend.port });
    let capture = Capture::of_port(server.port);
    let mut client = Client::new(server.port);
    for target in ["/", "/products/7?currency=eur", "/gone?status=404", "/?delay=40ms", "/?status=503"] {
        client.ask("GET", target);
    }
    client.ask("HEAD", "/products");
    for size in [3, 3000] {
        let body = vec![b'b'; size];
        client.send(Message { method: "POST", target: "/cart", body: &body, ..Message::default() });
    }
    client.ask("GET", "/big?size=300000");
    client.ask_one_by_one(&["/", "/a", "/gone?status=404"]);
    let sent = client.take_sent();
    let mut recording = capture.stop();
    let (made, answered): (Vec<_>, Vec<_>) =
        recording.requests.into_iter().partition(|seen| seen.kind == request::Kind::Client);
    recording.requests = answered;
    recording.assert_served(&sent);
    // It asks its backend the same, one after the other.
    let backend = Some(([127, 0, 0, 1], backend.port).into());
    assert!(made.iter().all(|seen| seen.server == backend && seen.end_reason == EndReason::Response));
    let told = |seen: &Seen| (seen.method.clone(), seen.target.clone(), seen.status, seen.response_bytes);
    let made: Vec<_> = made.iter().map(told).collect();
    let answered: Vec<_> = recording.requests.iter().map(told).collect();
    assert_eq!(made, answered);
}
