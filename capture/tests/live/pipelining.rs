//! Pipelining: requests that are sent before the answers to those before them.

use beyla_schema::request::Protocol;

use crate::{
    Machine,
    capture::Capture,
    server::{Kind, Server},
    stacks::{self, assert_mix, report},
    turn,
};

/// Four connections of 2,000 requests, sixteen without an answer at any time, of several methods and kinds of body.
fn every_pipelined_request_is_recorded(kind: Kind) {
    let Some(_turn) = turn(Machine::Alone, &[stacks::PROGRAMS, kind.programs()].concat()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let options = ["-connections", "4", "-count", "2000", "-depth", "16", &server.port.to_string()];
    let report = report("pipeline", &options);
    let recording = capture.stop();
    assert_mix(&recording, &report, 4, 2000);
    assert!(recording.requests.iter().all(|seen| seen.protocol == Protocol::Http11));
    // They were sent in the order of their numbers, and so they are told.
    for (before, after) in recording.requests.iter().zip(recording.requests.iter().skip(1)) {
        if before.connection == after.connection {
            assert!(before.ordinal < after.ordinal && before.end_ns <= after.end_ns, "{before:?}\n{after:?}");
        }
    }
}

#[test]
fn to_go() {
    every_pipelined_request_is_recorded(Kind::GoHttp2);
}

#[test]
fn to_hyper() {
    every_pipelined_request_is_recorded(Kind::Hyper);
}

#[test]
fn to_node() {
    every_pipelined_request_is_recorded(Kind::Node);
}

#[test]
fn to_uvicorn() {
    every_pipelined_request_is_recorded(Kind::Uvicorn);
}
