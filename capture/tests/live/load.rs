//! Load: nothing is lost at full speed, nothing is mixed up between many connections, and what cannot be
//! kept is counted.

use std::{collections::BTreeSet, process::Command, thread};

use beyla_schema::request::EndReason;

use crate::{
    Machine, Noise,
    capture::{Capture, Recording},
    client::Client,
    server::{Kind, Server},
    turn,
};

/// Runs `wrk` or `ab` to its end.
fn run(program: &str, arguments: &[&str], url: &str) -> String {
    let output = Command::new("timeout").args(["30", program]).args(arguments).arg(url).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Requests that nginx says it has had, this one included.
fn counted_by(nginx: &Server) -> u64 {
    let status = run("curl", &["-sk"], &nginx.url("/status"));
    let counts = status.lines().nth(2).unwrap();
    counts.split_whitespace().last().unwrap().parse().unwrap()
}

/// Loads nginx while it is captured. Returns the recording, and how many requests nginx has counted.
fn load_nginx(kind: Kind, options: &[&str], load: impl FnOnce(&str), assert_path: &str) -> (Recording, u64) {
    let server = Server::start(kind);
    let before = counted_by(&server);
    let port = server.port.to_string();
    let capture = Capture::start(&[&["--port", &port], options].concat());
    load(&server.url(assert_path));
    let counted = counted_by(&server) - before;
    let recording = capture.stop();
    recording.assert_source(kind.source());
    for seen in &recording.requests {
        let target = seen.target.as_deref();
        assert!(target == Some(assert_path) || target == Some("/status"), "{seen:?}");
        assert!(seen.status.is_none_or(|status| status == 200), "{seen:?}");
        let complete = seen.end_reason == EndReason::Response;
        assert!(seen.end_ns.is_some() == complete && (seen.status.is_some() || !complete), "{seen:?}");
    }
    (recording, counted)
}

/// Connections that wrk closes in the middle of a request.
const WRK_CONNECTIONS: usize = 16;

pub(crate) fn every_request_of_wrk_is_recorded(kind: Kind) {
    let Some(_turn) = turn(Machine::Alone, &[kind.programs(), &["wrk", "curl"]].concat()) else { return };
    let wrk = |url: &str| drop(run("wrk", &["-t1", "-c16", "-d3"], url));
    let (recording, counted) = load_nginx(kind, &[], wrk, "/index.html");
    recording.assert_complete();
    eprintln!("{counted} requests");
    assert_eq!(recording.requests.len() as u64, counted);
    let answered = recording.requests.iter().filter(|seen| seen.end_reason == EndReason::Response).count();
    assert!(counted as usize - answered <= WRK_CONNECTIONS, "{answered} of {counted} were answered");
}

#[test]
fn every_request_of_wrk_at_full_speed_is_recorded() {
    every_request_of_wrk_is_recorded(Kind::Nginx);
}

#[test]
fn every_connection_of_ab_is_recorded() {
    let Some(_turn) = turn(Machine::Alone, &["nginx", "ab", "curl"]) else { return };
    let ab = |url: &str| drop(run("ab", &["-q", "-c", "8", "-n", "2000"], url));
    let (recording, counted) = load_nginx(Kind::Nginx, &[], ab, "/index.html");
    recording.assert_complete();
    assert_eq!((recording.requests.len(), counted), (2001, 2001));
    assert!(recording.requests.iter().all(|seen| seen.end_reason == EndReason::Response));
    let clients: BTreeSet<_> = recording.requests.iter().map(|seen| seen.client).collect();
    assert!(clients.len() > 1900, "only {} connections are told apart", clients.len());
}

#[test]
fn what_a_tiny_ring_loses_is_counted_and_nothing_is_invented() {
    let Some(_turn) = turn(Machine::Alone, &["nginx", "wrk", "curl"]) else { return };
    let wrk = |url: &str| drop(run("wrk", &["-t1", "-c64", "-d2"], url));
    let (recording, counted) = load_nginx(Kind::Nginx, &["--ring-size", "64KiB"], wrk, "/index.html");
    let lost = recording.stats.losses["ring_full"];
    assert!(lost > 0, "a ring of 64 KiB lost nothing: {}", recording.stderr);
    assert!(recording.stderr.contains("to ring_full: raise --ring-size"), "{}", recording.stderr);
    assert!(recording.loss_rows["ring_full"] > 0);
    assert!(recording.requests.len() as u64 <= counted, "{} of {counted}", recording.requests.len());
    let complete = recording.requests.iter().filter(|seen| seen.end_reason == EndReason::Response);
    let complete: Vec<_> = complete.filter(|seen| seen.target.as_deref() != Some("/status")).collect();
    eprintln!("{counted} requests, {lost} events lost, {} requests complete", complete.len());
    assert!(complete.len() > 100);
    for seen in complete {
        assert_eq!((seen.request_bytes, seen.response_bytes), (Some(0), Some(6)), "{seen:?}");
    }
}

/// Many connections at a time, each with its own paths and waits: none gets what belongs to another.
fn no_connection_gets_what_belongs_to_another(kind: Kind) {
    const CONNECTIONS: u64 = 200;
    let Some(_turn) = turn(Machine::Alone, kind.programs()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let port = server.port;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let client = move || {
                let mut noise = Noise(connection + 1);
                let mut client = Client::new(port);
                for request in 0..10 {
                    let delay = noise.next() % 50;
                    let status = [200, 201, 404, 500][(noise.next() % 4) as usize];
                    client.ask("GET", &format!("/{connection}/{request}?status={status}&delay={delay}ms"));
                }
                client.take_sent()
            };
            thread::Builder::new().stack_size(256 << 10).spawn(client).unwrap()
        })
        .collect();
    let sent: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert_eq!(sent.len(), 2000);
    capture.stop().assert_served(&sent);
}

#[test]
fn two_hundred_connections_to_go() {
    no_connection_gets_what_belongs_to_another(Kind::Go);
}

#[test]
fn two_hundred_connections_to_node() {
    no_connection_gets_what_belongs_to_another(Kind::Node);
}
