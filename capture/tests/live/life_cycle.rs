//! Captures that begin before, between and with the processes they record.

use std::{net::SocketAddr, thread, time::Duration};

use beyla_schema::{
    event::{Body, Origin},
    request,
};

use crate::{
    Machine,
    capture::Capture,
    client::{Client, Sent, Size},
    free_port, now_ns,
    server::{Kind, Server},
    turn,
};

/// A capture that starts in the middle of connections has what they carry from then on.
fn connections_are_joined_in_their_middle(kind: Kind) {
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let server = Server::start(kind);
    let mut clients: Vec<_> = (0..4).map(|_| Client::new(server.port)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        for request in 0..3 {
            client.ask("GET", &format!("/before/{number}/{request}"));
        }
        client.take_sent();
    }
    let capture = Capture::of_port(server.port);
    for round in 0..5 {
        for (number, client) in clients.iter_mut().enumerate() {
            let status = 200 + 102 * (round % 3);
            client.ask("GET", &format!("/after/{number}/{round}?status={status}"));
        }
    }
    let sent: Vec<_> = clients.iter_mut().flat_map(Client::take_sent).collect();
    assert_eq!(sent.len(), 20);
    capture.stop().assert_served(&sent);
}

#[test]
fn connections_to_go_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Kind::Go);
}

#[test]
fn connections_to_java_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Kind::Java);
}

#[test]
fn connections_to_node_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Kind::Node);
}

#[test]
fn connections_to_python_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Kind::Python);
}

/// A server that starts after the capture is recorded from its first request on.
fn a_server_is_awaited(kind: Kind) {
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let port = free_port();
    let capture = Capture::of_port(port);
    assert!(capture.announcement.contains("nobody there yet, waiting"), "{}", capture.announcement);
    thread::sleep(Duration::from_millis(300));
    let server = Server::start_on(kind, port);
    let mut client = Client::new(server.port);
    for target in ["/first", "/second?status=404", "/third?delay=20ms"] {
        client.ask("GET", target);
    }
    client.ask_one_by_one(&["/fourth", "/fifth"]);
    capture.stop().assert_served(&client.take_sent());
}

#[test]
fn go_is_awaited() {
    a_server_is_awaited(Kind::Go);
}

#[test]
fn gunicorn_is_awaited() {
    a_server_is_awaited(Kind::Gunicorn);
}

#[test]
fn python_is_awaited() {
    a_server_is_awaited(Kind::Python);
}

#[test]
fn a_server_that_is_started_again_is_recorded_again() {
    let Some(_turn) = turn(Machine::Shared, Kind::Python.programs()) else { return };
    let port = free_port();
    let capture = Capture::of_port(port);
    let mut client = Client::new(port);
    for round in 0..2 {
        let _server = Server::start_on(Kind::Python, port);
        client.ask("GET", &format!("/round/{round}"));
        client.hang_up();
    }
    capture.stop().assert_served(&client.take_sent());
}

/// A request that a program other than our own client sends.
fn asked(server: SocketAddr, target: &str, status: u16, bytes: u64, began: u64) -> Sent {
    Sent {
        client: None,
        server,
        method: "GET".to_owned(),
        target: target.to_owned(),
        status,
        request_bytes: Size::Told(0),
        response_bytes: Size::Told(bytes),
        time: (began, u64::MAX / 2),
    }
}

#[test]
fn a_command_is_recorded_with_its_children() {
    let Some(_turn) = turn(Machine::Shared, &["python3", "curl"]) else { return };
    let server = Server::start(Kind::Python);
    let address: SocketAddr = ([127, 0, 0, 1], server.port).into();
    let script = format!(
        "curl -s http://{address}/one http://{address}/two?status=404; \
         sh -c 'curl -s http://{address}/big?size=50000' >/dev/null; exit 7"
    );
    let began = now_ns();
    let capture = Capture::start(&["--", "sh", "-c", &script]);
    let recording = capture.wait();
    assert_eq!(recording.code, Some(7), "{}", recording.stderr);
    assert_eq!(recording.stats.end.as_deref(), Some("command_exit"));
    recording.assert_is(
        request::Kind::Client,
        &[
            asked(address, "/one", 200, 6, began),
            asked(address, "/two?status=404", 404, 6, began),
            asked(address, "/big?size=50000", 200, 50_000, began),
        ],
    );
}

#[test]
fn a_process_is_recorded_by_its_id() {
    let Some(_turn) = turn(Machine::Shared, Kind::Go.programs()) else { return };
    let server = Server::start(Kind::Go);
    let other = Server::start(Kind::Go);
    // The server is a child of the process that bounds its time.
    let capture = Capture::start(&["--pid", &server.pid().to_string()]);
    let mut client = Client::new(server.port);
    client.ask("GET", "/recorded");
    Client::new(other.port).ask("GET", "/not-recorded");
    client.ask("GET", "/recorded-too");
    capture.stop().assert_served(&client.take_sent());
}

#[test]
fn a_program_is_recorded_by_its_path_wherever_it_runs() {
    // No other test may run the same program meanwhile.
    let Some(_turn) = turn(Machine::Alone, Kind::Go.programs()) else { return };
    let before = Server::start(Kind::Go);
    let program = std::fs::read_link(format!("/proc/{}/exe", before.pid())).unwrap();
    let capture = Capture::start(&["--exe", program.to_str().unwrap()]);
    let after = Server::start(Kind::Go);
    // Its path is looked up when its start has been heard of, which a busy machine may delay.
    thread::sleep(Duration::from_millis(200));
    let mut sent = Vec::new();
    for server in [&before, &after] {
        let mut client = Client::new(server.port);
        client.ask("GET", "/first");
        client.ask("GET", "/second?status=404");
        sent.extend(client.take_sent());
    }
    capture.stop().assert_served(&sent);
}

/// Connections that are accepted from a listener of Multipath TCP are told when they are accepted, whether the capture or
/// the listener is older.
#[test]
fn connections_to_a_multipath_listener_are_accepted() {
    for capture_is_first in [false, true] {
        let Some(_turn) = turn(Machine::Shared, Kind::Multipath.programs()) else { return };
        let port = free_port();
        let first = capture_is_first.then(|| Capture::of_port(port));
        let server = Server::start_on(Kind::Multipath, port);
        let capture = first.unwrap_or_else(|| {
            // The connection that tried the server is over by then.
            thread::sleep(Duration::from_millis(200));
            Capture::of_port(port)
        });
        let mut client = Client::new(server.port);
        client.ask_one_by_one(&["/1", "/2", "/3"]);
        let mut origins = Vec::new();
        let recording = capture.stop_and(|event| {
            if let Body::Open(open) = event.body {
                origins.push(open.origin);
            }
        });
        assert!(origins.len() >= 3 && origins.iter().all(|&origin| origin == Origin::Accept), "{origins:?}");
        recording.assert_served(&client.take_sent());
    }
}
