//! Queue times: what a request waits before its server reads it, on the first and on later requests.

use std::{thread, time::Duration};

use crate::{
    Machine,
    capture::Capture,
    client::Client,
    server::{Kind, Server},
    turn,
};

const ACCEPT_MS: u64 = 300;
const READ_MS: u64 = 150;

/// Sleeps end late, and a busy machine makes them end later.
fn assert_about(what: &str, ns: Option<u64>, ms: u64) {
    let queued_ms = ns.unwrap_or_else(|| panic!("{what} is not known")) as f64 / 1e6;
    let late_ms = 100.0;
    assert!((ms as f64 - 1.0..ms as f64 + late_ms).contains(&queued_ms), "{what}: {queued_ms} ms, not {ms}");
}

#[test]
fn sleeps_before_accept_and_before_read_are_queue_time() {
    let kind = Kind::Slow { accept_ms: ACCEPT_MS, read_ms: READ_MS };
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let server = Server::start(kind);
    // It serves one connection after the other, and had one when it was tried: wait until it waits.
    let until_idle = || thread::sleep(Duration::from_millis(2 * (ACCEPT_MS + READ_MS)));
    until_idle();
    let capture = Capture::of_port(server.port);
    let mut client = Client::new(server.port);
    for _ in 0..2 {
        for request in 0..3 {
            client.ask("GET", &format!("/{request}"));
        }
        client.hang_up();
        until_idle();
    }
    let recording = capture.stop();
    recording.assert_served(&client.take_sent());
    for (number, seen) in recording.requests.iter().enumerate() {
        // The data of the first request arrives while its connection waits to be accepted.
        let waited = if number % 3 == 0 { ACCEPT_MS + READ_MS } else { READ_MS };
        assert_about(&format!("the queue time of request {number}"), seen.queue_ns, waited);
        let service_ns = seen.end_ns.unwrap() - seen.start_ns;
        assert!(service_ns < READ_MS * 1_000_000, "request {number} was served in {service_ns} ns");
    }
}
