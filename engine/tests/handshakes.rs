//! What requests tell of the TLS handshake of their connection: from handshakes of OpenSSL, cut and damaged in every way.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use beyla_engine::redact::{Policy, Redactor};
use beyla_schema::event::{BY_TLS, Source};
use beyla_schema::request::TlsMatch;
use beyla_schema::request::TlsVersion::V13;
use support::handshakes::{CASES, Flights, GET, NOTHING, OK, ask, case, facts, record, timeless};
use support::{STEP, Tape};

fn both() -> [Tape; 2] {
    [Tape::accept(), Tape::connect()]
}

#[test]
fn either_side_learns_the_same() {
    for case in &CASES {
        for tape in both() {
            assert_eq!(facts(&record(tape, &case.flights())), case.facts(), "{}", case.name);
        }
    }
}

#[test]
fn requests_before_the_end_tell_what_is_known() {
    for tape in both() {
        let flights = case("tls13").flights();
        let (version, name, alpn, _) = case("tls13").facts();
        assert_eq!(facts(&record(tape.clone(), &flights[..1])), (None, name.clone(), None, None));
        assert_eq!(facts(&record(tape.clone(), &flights[..2])), (version, name, alpn, None));
        let (version, name, alpn, _) = case("tls12").facts();
        assert_eq!(facts(&record(tape, &case("tls12").flights()[..3])), (version, name, alpn, None));
    }
}

#[test]
fn connections_without_a_beginning_tell_nothing() {
    for tape in [Tape::found(), Tape::bare(), Tape::unopened()] {
        assert_eq!(facts(&record(tape, &case("tls13").flights())), NOTHING);
    }
}

#[test]
fn a_response_recorded_before_its_request_is_read() {
    for case in &CASES {
        let mut flights = case.flights();
        flights.swap(0, 1);
        let (version, name, alpn, end) = case.facts();
        let seen = facts(&record(Tape::connect(), &flights));
        assert_eq!(seen, (version, name, alpn, end.map(|end| end - STEP)), "{}", case.name);
    }
}

#[test]
fn an_early_request_leaves_the_end_unknown() {
    // The same hello with an extension that has no content made early_data (42): extended_master_secret (23).
    let mut flights = case("tls13-resumed").flights();
    let at = flights[0].1.windows(4).position(|bytes| bytes == [0, 23, 0, 0]).unwrap();
    flights[0].1[at + 1] = 42;
    flights.insert(1, (true, b"\x17\x03\x03\0\x16early data, as it were".to_vec()));
    let (version, name, alpn, _) = case("tls13-resumed").facts();
    assert_eq!(facts(&record(Tape::accept(), &flights)), (version, name, alpn, None));
}

#[test]
fn a_hello_may_be_long_and_come_in_many_records() {
    let [(_, hello), rest @ ..] = &case("tls13").flights()[..] else { unreachable!() };
    // Padding (21) of its last extension, as if for a large key share; every length grows.
    let mut message = [&hello[5..], &[0, 21, 15, 0], &[0; 15 << 8]].concat();
    let extensions = message.len() - hello.len() + 5;
    let session = 4 + 2 + 32;
    let suites = session + 1 + usize::from(message[session]);
    let compressions = suites + 2 + usize::from(u16::from_be_bytes([message[suites], message[suites + 1]]));
    let vector = compressions + 1 + usize::from(message[compressions]);
    let old = u16::from_be_bytes([message[vector], message[vector + 1]]);
    message[vector..vector + 2].copy_from_slice(&(old + extensions as u16).to_be_bytes());
    let length = (message.len() - 4) as u32;
    message[1..4].copy_from_slice(&length.to_be_bytes()[1..]);
    let records = |message: &[u8], size: usize| {
        let records = message.chunks(size);
        records
            .flat_map(|part| [b"\x16\x03\x01", &(part.len() as u16).to_be_bytes()[..], part].concat())
            .collect()
    };
    for size in [1, 3, 1000, 16 << 10] {
        let flights = [&[(true, records(&message, size))], rest].concat();
        assert_eq!(facts(&record(Tape::accept(), &flights)), case("tls13").facts());
    }
    // What it claims to be is too long; nothing is kept of it.
    message[1] = 1;
    let flights = [&[(true, records(&message, 1000))], rest].concat();
    assert_eq!(facts(&record(Tape::accept(), &flights)), (Some(V13), None, None, None));
}

#[test]
fn a_hello_that_exceeds_all_memory_is_given_up() {
    let flights = case("tls13").flights();
    let (start, end) = flights[0].1.split_at(300);
    let cut = [&[(true, start.to_vec()), (true, end.to_vec())], &flights[1..]].concat();
    let mut tape = ask(record(Tape::accept(), &cut));
    tape.config.max_memory = 200;
    let (seen, stats) = tape.run();
    assert_eq!((seen[0].tls_version, &seen[0].tls_server_name, stats.limits_reached), (Some(V13), &None, 1));
}

#[test]
fn the_end_is_when_its_last_byte_moved() {
    for (name, flight, sender) in [("tls13", 2, true), ("tls12", 3, false)] {
        let mut flights = case(name).flights();
        let bytes = flights.remove(flight).1;
        let bytes: Flights = bytes.chunks(1).map(|byte| (sender, byte.to_vec())).collect();
        let calls = bytes.len() as u64;
        flights.splice(flight..flight, bytes);
        assert_eq!(facts(&record(Tape::accept(), &flights)).3, Some((flight as u64 + calls - 1) * STEP));
    }
}

#[test]
fn sessions_that_are_tied_by_time_have_it_too() {
    let case = case("tls13");
    let socket = record(Tape::accept().thread(5), &case.flights()[..5]);
    let now = socket.events.last().unwrap().ts_ns;
    let session = Tape::bare().on(BY_TLS | 1).plain(Source::OpenSsl).thread(5).wait(now);
    let seen = socket.and(session.recv(GET).send(OK)).only();
    assert_eq!((seen.connection, seen.tls_match), (7, Some(TlsMatch::Time)));
    assert_eq!((seen.tls_version, seen.handshake_ns), (Some(V13), case.facts().3));
}

#[test]
fn the_redactor_leaves_it_alone() {
    for case in &CASES {
        let mut redactor = Redactor::new(&Policy::standard());
        for event in &record(Tape::accept(), &case.flights()).events {
            assert_eq!(redactor.redact(&event.event()), event.event(), "{}", case.name);
        }
    }
}

/// As most libraries read: the head of a record, then its payload.
fn by_record(flights: &Flights) -> Flights {
    let split = |(client, bytes): &(bool, Vec<u8>)| {
        let (mut rest, mut calls) = (&bytes[..], vec![]);
        while let [.., high, low] = rest[..rest.len().min(5)] {
            let length = usize::from(u16::from_be_bytes([high, low]));
            calls.extend([(*client, rest[..5].to_vec()), (*client, rest[5..5 + length].to_vec())]);
            rest = &rest[5 + length..];
        }
        calls
    };
    flights.iter().flat_map(split).collect()
}

#[test]
fn records_read_one_by_one_tell_the_same() {
    for case in &CASES {
        for tape in both() {
            let seen = facts(&record(tape, &by_record(&case.flights())));
            assert_eq!(timeless(seen), timeless(case.facts()), "{}", case.name);
        }
    }
}
