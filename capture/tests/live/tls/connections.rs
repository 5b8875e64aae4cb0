//! Many connections at a time: each request has the client that sent it. And connections that are older than the capture.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Service,
    ask::{Ask, Client},
};
use crate::{
    Machine, Noise,
    capture::{Capture, Recording},
    client::Sent,
    server::{Kind, Server},
    turn,
};

/// Each path was sent once: by the client that the recording says.
fn assert_clients(recording: &Recording, sent: &[Sent]) {
    let clients: BTreeMap<_, _> = sent.iter().map(|sent| (&*sent.target, sent.client)).collect();
    assert_eq!(clients.len(), sent.len());
    let mut ties = BTreeMap::<_, u64>::new();
    let mut mistaken = Vec::new();
    for seen in &recording.requests {
        *ties.entry(seen.tls_match).or_default() += 1;
        let client = seen.target.as_deref().and_then(|target| clients.get(target));
        if client.is_none_or(|&client| client != seen.client) {
            mistaken.push((client, seen));
        }
    }
    eprintln!("{} requests, tied by {ties:?}", recording.requests.len());
    assert!(
        mistaken.is_empty(),
        "{} requests have the client of another, or none; the first: {:?}",
        mistaken.len(),
        mistaken[0]
    );
}

/// Two hundred connections, thirty-two at a time, each with its own paths and waits.
fn no_connection_gets_what_belongs_to_another(service: Service) {
    let kind = Kind::Tls(service);
    let Some(_turn) = turn(Machine::Alone, kind.programs()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let mut asked = Vec::new();
    for connection in 0..200 {
        let mut noise = Noise(connection + 1);
        for request in 0..5 {
            let delay = noise.next() % 20;
            let status = [200, 201, 404, 500][(noise.next() % 4) as usize];
            let target = format!("/{connection}/{request}?status={status}&delay={delay}ms");
            let pause = noise.next() % 30;
            asked.push(Ask { pause, last: request == 4, ..Ask::get(connection, target) });
        }
    }
    let mut client = Client::with(&server, 32);
    let sent = client.send(&asked);
    client.hang_up();
    let recording = capture.stop();
    assert_clients(&recording, &sent);
    recording.assert_source(service.source());
    recording.assert_served(&sent);
}

#[test]
fn two_hundred_connections_to_go() {
    no_connection_gets_what_belongs_to_another(Service::Go);
}

#[test]
fn two_hundred_connections_to_gunicorn() {
    no_connection_gets_what_belongs_to_another(Service::Gunicorn);
}

#[test]
fn two_hundred_connections_to_hyper() {
    no_connection_gets_what_belongs_to_another(Service::Hyper);
}

#[test]
fn two_hundred_connections_to_node() {
    no_connection_gets_what_belongs_to_another(Service::Node);
}

#[test]
fn two_hundred_connections_to_python() {
    no_connection_gets_what_belongs_to_another(Service::Python);
}

#[test]
fn two_hundred_connections_to_ruby() {
    no_connection_gets_what_belongs_to_another(Service::Ruby);
}

#[test]
fn two_hundred_connections_to_uvicorn_on_asyncio() {
    no_connection_gets_what_belongs_to_another(Service::UvicornAsyncio);
}

#[test]
fn two_hundred_connections_to_uvicorn_on_uvloop() {
    no_connection_gets_what_belongs_to_another(Service::UvicornUvloop);
}

/// Where the server is when it waits for a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Outside,
    /// In a call of the library. One that began before the capture is not seen: what it reads is missing.
    Inside,
}

/// A capture that starts in the middle of connections has what they carry from then on.
fn connections_are_joined_in_their_middle(service: Service, waits: Waits) {
    let kind = Kind::Tls(service);
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let server = Server::start(kind);
    let mut client = Client::of(&server);
    let round = |name: &str, rounds: u64| {
        let targets = (0..rounds).flat_map(|round| (0..4).map(move |connection| (connection, round)));
        let ask = |(connection, round)| {
            let status = 200 + 102 * (round % 3);
            Ask::get(connection, format!("/{name}/{connection}/{round}?status={status}"))
        };
        targets.map(ask).collect::<Vec<_>>()
    };
    let before = client.send(&round("before", 3));
    let capture = Capture::of_port(server.port);
    let mut sent = client.send(&round("after", 5));
    let ports = |sent: &[Sent]| sent.iter().map(|sent| sent.client).collect::<BTreeSet<_>>();
    assert_eq!(ports(&before), ports(&sent), "the server did not keep its connections");
    let mut recording = capture.stop();
    client.hang_up();
    if waits == Waits::Inside {
        let (first, later): (Vec<_>, Vec<_>) =
            sent.into_iter().partition(|sent| sent.target.contains("/0?status"));
        assert_eq!((first.len(), later.len()), (4, 16));
        // Those after the first one of their connection.
        recording.requests.retain(|seen| {
            first.iter().all(|sent| sent.client != seen.client || sent.time.1 < seen.start_ns)
        });
        sent = later;
    }
    assert_clients(&recording, &sent);
    recording.assert_source(service.source());
    recording.assert_served(&sent);
}

#[test]
fn connections_to_go_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Service::Go, Waits::Inside);
}

#[test]
fn connections_to_hyper_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Service::Hyper, Waits::Outside);
}

#[test]
fn connections_to_node_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Service::Node, Waits::Outside);
}

#[test]
fn connections_to_python_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Service::Python, Waits::Inside);
}

#[test]
fn connections_to_ruby_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Service::Ruby, Waits::Outside);
}

#[test]
fn connections_to_uvicorn_on_asyncio_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Service::UvicornAsyncio, Waits::Outside);
}

#[test]
fn connections_to_uvicorn_on_uvloop_are_joined_in_their_middle() {
    connections_are_joined_in_their_middle(Service::UvicornUvloop, Waits::Outside);
}
