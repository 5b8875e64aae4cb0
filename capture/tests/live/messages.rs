//! Messages of unusual shape: in single bytes, with large heads, with large bodies, and none at all.

use std::io::{Read as _, Write as _};

use crate::{
    Machine, Noise,
    capture::Capture,
    client::{Client, Message, connect},
    server::{Kind, Server},
    turn,
};

/// Sends messages to a server on one connection; they come back exactly.
fn come_back(kind: Kind, messages: &[Message<'_>]) {
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let mut client = Client::new(server.port);
    client.ask("GET", "/first");
    for &message in messages {
        client.send(message);
    }
    client.ask("GET", "/last");
    capture.stop().assert_served(&client.take_sent());
}

const GET: Message<'_> =
    Message { method: "GET", target: "/", body: b"", chunks: None, headers: "", byte_by_byte: false };
const POST: Message<'_> = Message { method: "POST", ..GET };

const BYTE_BY_BYTE: &[Message<'_>] = &[
    Message { target: "/slowly?a=1", byte_by_byte: true, ..GET },
    Message { target: "/slowly", body: b"a few bytes of a body", byte_by_byte: true, ..POST },
];

#[test]
fn single_bytes_to_go() {
    come_back(Kind::Go, BYTE_BY_BYTE);
    come_back(Kind::Go, &[Message { body: b"some chunks", chunks: Some(4), byte_by_byte: true, ..POST }]);
}

#[test]
fn single_bytes_to_node() {
    come_back(Kind::Node, BYTE_BY_BYTE);
}

#[test]
fn single_bytes_to_python() {
    come_back(Kind::Python, BYTE_BY_BYTE);
}

fn large_heads_come_back(kind: Kind) {
    let headers = format!("X-Header: {}\r\n", "v".repeat(88)).repeat(122);
    assert!(headers.len() > 12_000);
    let path = format!("/{}", "p".repeat(4000));
    come_back(
        kind,
        &[
            Message { headers: &headers, target: "/?status=404", ..GET },
            Message { target: &path, ..GET },
            Message { headers: &headers, body: b"with a body", ..POST },
        ],
    );
}

#[test]
fn large_heads_to_go() {
    large_heads_come_back(Kind::Go);
}

#[test]
fn large_heads_to_node() {
    large_heads_come_back(Kind::Node);
}

/// A megabyte each way, sent with its length and in chunks.
fn large_bodies_come_back(kind: Kind, accepts_chunks: bool) {
    let body = Noise(7).bytes(1 << 20);
    let mut messages = vec![
        Message { target: "/echo", body: &body, ..POST },
        GET,
        Message { target: "/big?size=1048576", ..GET },
        GET,
    ];
    if accepts_chunks {
        for size in [1000, 100_000, 1 << 20] {
            messages.extend([Message { target: "/echo", body: &body, chunks: Some(size), ..POST }, GET]);
        }
    }
    come_back(kind, &messages);
}

#[test]
fn large_bodies_with_go() {
    large_bodies_come_back(Kind::Go, true);
}

#[test]
fn large_bodies_with_node() {
    large_bodies_come_back(Kind::Node, true);
}

#[test]
fn large_bodies_with_python() {
    large_bodies_come_back(Kind::Python, false);
}

#[test]
fn another_protocol_gives_no_requests() {
    let Some(_turn) = turn(Machine::Shared, Kind::Echo.programs()) else { return };
    let server = Server::start(Kind::Echo);
    let capture = Capture::of_port(server.port);
    let talks: [&[&[u8]]; 5] = [
        &[b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$3\r\nGET\r\n$5\r\n/cart\r\n", b"+OK\r\n"],
        &[b"GET\r\n", b"GET /products\r\n", b"get / http/1.1\r\n\r\n"],
        &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
        &[b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
        &[&Noise(3).bytes(5000), &Noise(4).bytes(60_000), b"\0"],
    ];
    let mut moved = 0;
    for talk in talks {
        let mut stream = connect(([127, 0, 0, 1], server.port).into());
        for said in talk {
            stream.get_mut().write_all(said).unwrap();
            let mut answer = vec![0; said.len()];
            stream.read_exact(&mut answer).unwrap();
            moved += 2 * said.len() as u64;
        }
    }
    let recording = capture.stop();
    recording.assert_complete();
    assert_eq!(recording.requests.len(), 0, "{:#?}", recording.requests);
    assert!(recording.rows > 20, "{moved} bytes in {} rows", recording.rows);
}
