//! Pairing where bytes are missing: truncated calls, lost events, connections met in their middle.

mod support;

use beyla_schema::event::Direction;
use beyla_schema::request::{EndReason, Kind};
use support::{STEP, Tape};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n")
}

fn status(status: u16) -> String {
    sized(status, 2)
}

fn sized(status: u16, length: usize) -> String {
    format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
}

fn chunk(length: usize) -> String {
    format!("{length:x}\r\n{}\r\n", "y".repeat(length))
}

#[test]
fn a_body_of_known_length_is_passed_over_unseen() {
    let post = format!("POST /1 HTTP/1.1\r\nContent-Length: 5000\r\n\r\n{}", "b".repeat(5000));
    let tape =
        Tape::accept().snaplen(100).recv(post).send(sized(201, 7000)).recv(get("/2")).send(status(202));
    let (seen, stats) = tape.run();
    assert_eq!(tape.requests(), ["POST /1 201 response", "GET /2 202 response"]);
    assert_eq!((seen[0].request_bytes, seen[0].response_bytes), (Some(5000), Some(7000)));
    assert_eq!((stats.desynchronisations, stats.gap_bytes), (0, 0));
    assert!(stats.truncated_bytes > 11_000);
}

#[test]
fn a_body_sent_without_a_buffer_counts() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n";
    let tape = Tape::accept()
        .recv(get("/1"))
        .send(head)
        .blind(Direction::Send, 9000)
        .recv(get("/2"))
        .send(status(202));
    assert_eq!(tape.requests(), ["GET /1 200 response", "GET /2 202 response"]);
    assert_eq!(tape.run().0[0].end_ns, Some(4 * STEP));
}

#[test]
fn a_chunk_that_spans_the_gap_is_passed_over() {
    let response = format!("{CHUNKED}{}{}0\r\n\r\n", chunk(5), chunk(5000));
    let tape = Tape::accept().snaplen(100).recv(get("/1")).send(response).recv(get("/2")).send(status(202));
    assert_eq!(tape.requests(), ["GET /1 200 response", "GET /2 202 response"]);
    assert_eq!(tape.run().0[0].response_bytes, Some(5005));
}

#[test]
fn hidden_chunks_end_where_the_tail_shows_the_last_one() {
    for end in ["0\r\n\r\n", "0\r\nX-Sum: abc\r\nY: z\r\n\r\n"] {
        let response = format!("{CHUNKED}{}{end}", chunk(50).repeat(40));
        let tape =
            Tape::accept().snaplen(100).recv(get("/1")).send(response).recv(get("/2")).send(status(202));
        assert_eq!(tape.requests(), ["GET /1 200 response", "GET /2 202 response"]);
        let seen = &tape.run().0[0];
        assert_eq!((seen.response_bytes, seen.end_ns), (None, Some(3 * STEP)));
    }
}

#[test]
fn hidden_chunks_end_with_a_later_call_that_shows_the_last_one() {
    let tape = Tape::accept().snaplen(100).recv(get("/1")).send(format!("{CHUNKED}{}", chunk(50).repeat(40)));
    let tape = tape.send(chunk(50)).send("0\r\n\r\n").recv(get("/2")).send(status(202));
    assert_eq!(tape.requests(), ["GET /1 200 response", "GET /2 202 response"]);
    assert_eq!(tape.run().0[0].end_ns, Some(5 * STEP));
}

#[test]
fn hidden_chunks_without_an_end_are_given_up_at_the_next_request() {
    let tape = Tape::accept().snaplen(100).recv(get("/1")).send(format!("{CHUNKED}{}", chunk(50).repeat(40)));
    let tape = tape.recv(get("/2")).send(status(202)).recv(get("/3")).send(status(203));
    assert_eq!(tape.requests(), ["GET /1 200 gap", "GET /2 202 response", "GET /3 203 response"]);
    assert_eq!(tape.run().0[0].end_ns, None);
}

#[test]
fn hidden_chunks_of_a_pipelined_response_give_up_those_behind_it() {
    let response = format!("{CHUNKED}{}0\r\n\r\n{}", chunk(50).repeat(40), sized(202, 200));
    let tape = Tape::accept().recv(get("/1") + &get("/2")).snaplen(100).send(response);
    let tape = tape.recv(get("/3")).send(status(203));
    assert_eq!(tape.requests(), ["GET /1 200 gap", "GET /2 - gap", "GET /3 203 response"]);
}

#[test]
fn hidden_chunks_of_a_request_do_not_stop_its_response() {
    let post = |end: &str| {
        let head = "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{}{end}", chunk(50).repeat(40))
    };
    for end in ["0\r\n\r\n", ""] {
        let tape =
            Tape::accept().snaplen(100).recv(post(end)).send(status(201)).recv(get("/2")).send(status(202));
        assert_eq!(tape.requests(), ["POST /1 201 response", "GET /2 202 response"]);
        assert_eq!(tape.run().0[0].request_bytes, None);
    }
}

#[test]
fn a_body_that_looks_like_a_request_is_none() {
    let post = |body: &str| format!("POST /1 HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let body = get("/phantom");
    let tape =
        Tape::accept().recv(post(&body)).recv(&body).send(status(201)).recv(get("/2")).send(status(202));
    assert_eq!(tape.requests(), ["POST /1 201 response", "GET /2 202 response"]);
    let head = "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let tape = Tape::accept().snaplen(100).recv(format!("{head}{}", chunk(50).repeat(40))).recv(&body);
    assert_eq!(tape.recv("0\r\n\r\n").send(status(201)).requests(), ["POST /1 201 response"]);
}

#[test]
fn a_cut_request_head_still_pairs() {
    let long = format!("GET /1 HTTP/1.1\r\nHost: shop\r\nCookie: {}\r\n\r\n", "c".repeat(20_000));
    let tape = Tape::accept().snaplen(4096).recv(long).send(status(201)).recv(get("/2")).send(status(202));
    assert_eq!(tape.requests(), ["GET /1 201 response", "GET /2 202 response"]);
    let seen = &tape.run().0[0];
    assert_eq!((seen.authority.as_deref(), seen.request_bytes), (Some("shop"), None));
}

#[test]
fn a_cut_response_head_keeps_its_status() {
    let long =
        format!("HTTP/1.1 201 Created\r\nSet-Cookie: {}\r\nContent-Length: 0\r\n\r\n", "c".repeat(20_000));
    let tape = Tape::accept().snaplen(4096).recv(get("/1")).send(long).recv(get("/2")).send(status(202));
    assert_eq!(tape.requests(), ["GET /1 201 gap", "GET /2 202 response"]);
}

#[test]
fn a_cut_first_line_is_nothing() {
    let tape = Tape::accept().snaplen(100).recv(get(&format!("/{}", "x".repeat(500)))).send(status(201));
    assert_eq!(tape.recv(get("/2")).send(status(202)).requests(), ["GET /2 202 response"]);
}

#[test]
fn a_lost_request_takes_its_response_with_it() {
    let tape = Tape::accept().recv(get("/1")).send(status(201)).recv(get("/2")).lost().send(status(202));
    let tape = tape.recv(get("/3")).send(status(203)).recv(get("/4")).send(status(204));
    let tape = tape.recv(get("/5")).send(status(205));
    assert_eq!(
        tape.requests(),
        ["GET /1 201 response", "GET /3 203 response", "GET /4 204 response", "GET /5 205 response"]
    );
    assert_eq!(tape.stats().gap_bytes, get("/2").len() as u64);
}

#[test]
fn a_lost_response_is_never_replaced_by_another() {
    let tape = Tape::accept().recv(get("/1")).send(status(201)).lost().recv(get("/2")).send(status(202));
    let tape = tape.recv(get("/3")).send(status(203)).recv(get("/4")).send(status(203));
    assert_eq!(
        tape.requests(),
        ["GET /1 - gap", "GET /2 - gap", "GET /3 203 response", "GET /4 203 response"]
    );
}

#[test]
fn nothing_is_paired_across_a_gap_in_a_pipeline() {
    let tape = Tape::accept().recv(get("/1") + &get("/2") + &get("/3"));
    let tape = tape.send(status(201)).lost().send(status(202)).send(status(203));
    let tape = tape.recv(get("/4")).send(status(204));
    assert_eq!(tape.requests(), ["GET /1 - gap", "GET /2 - gap", "GET /3 - gap", "GET /4 204 response"]);
}

#[test]
fn requests_that_do_not_wait_for_responses_are_not_paired_after_a_gap() {
    let tape = Tape::accept()
        .recv(get("/1"))
        .recv(get("/2"))
        .send(status(201))
        .recv(get("/3"))
        .send(status(202))
        .lost();
    let tape = tape.recv(get("/4")).send(status(203)).recv(get("/5")).send(status(204));
    assert_eq!(
        tape.requests(),
        ["GET /1 201 response", "GET /2 - gap", "GET /3 - gap", "GET /4 - gap", "GET /5 - gap"]
    );
}

#[test]
fn a_loss_within_a_body_of_known_length_is_no_loss_of_requests() {
    let body = "z".repeat(300);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n";
    let start = Tape::accept().recv(get("/1")).send(head);
    let middle = start.clone().send(&body).send(&body).lost().send(&body).recv(get("/2")).send(status(202));
    assert_eq!(middle.requests(), ["GET /1 200 response", "GET /2 202 response"]);
    let end = start.send(&body).send(&body).send(&body).lost().recv(get("/2")).send(status(202));
    let requests = end.requests();
    assert_eq!(requests, ["GET /1 200 gap", "GET /2 202 response"]);
    assert_eq!(end.run().0[0].end_ns, None);
}

#[test]
fn a_repeated_event_is_seen_once() {
    let tape = Tape::accept()
        .recv(get("/1"))
        .twice()
        .send(status(201))
        .twice()
        .recv(get("/2"))
        .twice()
        .send(status(202));
    assert_eq!(tape.requests(), ["GET /1 201 response", "GET /2 202 response"]);
    assert_eq!(tape.stats().duplicate_bytes, (2 * get("/1").len() + status(201).len()) as u64);
}

#[test]
fn bytes_lost_before_the_close_are_not_a_refusal() {
    let tape = Tape::accept().recv(get("/1")).send(status(201)).lost().close();
    let seen = tape.only();
    assert_eq!((seen.end_reason, seen.error, seen.status), (EndReason::Gap, false, None));
    assert_eq!(tape.stats().incomplete_connections, 1);
    let until_close =
        Tape::accept().recv(get("/1")).send("HTTP/1.1 200 OK\r\n\r\nsome").send("more").lost().close();
    assert_eq!(until_close.requests(), ["GET /1 200 gap"]);
}

#[test]
fn a_connection_met_in_its_middle_reports_every_later_request() {
    for tape in [Tape::found(), Tape::unopened()] {
        let served = tape
            .clone()
            .recv("the end of a body")
            .send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
            .recv(get("/1"))
            .send(status(201))
            .recv(get("/2"))
            .send(status(202));
        assert_eq!(served.requests(), ["GET /1 201 response", "GET /2 202 response"]);
        assert_eq!(served.run().0[0].kind, Kind::Server);
        let made = tape.recv("yes").send(get("/1")).recv(status(201)).send(get("/2")).recv(status(202));
        assert_eq!(made.requests(), ["GET /1 201 response", "GET /2 202 response"]);
        assert_eq!(made.run().0[0].kind, Kind::Client);
    }
}

#[test]
fn a_response_in_flight_when_the_connection_was_met_belongs_to_nobody() {
    let tape = Tape::found().send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").send("body");
    let tape = tape.recv(get("/1")).send(status(201));
    assert_eq!(tape.requests(), ["GET /1 201 response"]);
    assert_eq!(tape.run().0[0].status, Some(201));
}

#[test]
fn a_body_that_looks_like_a_request_does_not_fix_the_roles() {
    let log = "GET /logged HTTP/1.1\r\nX: y\r\n\r\n";
    let tape = Tape::found().send(log).recv(get("/1")).send(status(201)).recv(get("/2")).send(status(202));
    assert_eq!(tape.requests(), ["GET /1 201 response", "GET /2 202 response"]);
    assert_eq!(tape.run().0[0].kind, Kind::Server);
}

#[test]
fn an_unknown_protocol_met_in_its_middle_stays_silent() {
    let tape =
        Tape::found().recv(b"\x17\x03\x03\x00\x20").send(b"\x17\x03\x03\x01\x00").recv("* OK\r\n").close();
    assert!(tape.requests().is_empty());
    assert_eq!(tape.stats().not_http_connections, 0);
}

#[test]
fn a_request_found_by_its_first_byte_must_have_a_registered_method() {
    let lost = Tape::accept().recv(get("/0")).lost();
    let tape = lost.clone().recv("P").recv("OST /1 HTTP/1.1\r\n\r\n").send(status(201));
    assert_eq!(tape.requests(), ["POST /1 201 response"]);
    let tape = lost.recv("P").recv(get("/1")).recv(get("/2")).send(status(202));
    assert_eq!(tape.requests(), ["GET /2 202 response"]);
}

#[test]
fn a_request_that_comes_too_late_makes_no_response_go_astray() {
    let tape = Tape::accept().recv(get("/1")).recv(get("/2")).swapped().send(status(201)).send(status(202));
    let tape = tape.recv(get("/3")).send(status(203));
    assert_eq!(tape.requests(), ["GET /2 - gap", "GET /3 203 response"]);
}

#[test]
fn a_request_whose_end_was_lost_is_not_given_the_next_response() {
    let tape = Tape::accept().recv("GET /1 HTTP/1.1\r\nHost: sh").recv("op\r\n\r\n").lost().send(status(201));
    let tape = tape.recv(get("/2")).send(status(202)).recv(get("/3")).send(status(203));
    assert_eq!(tape.requests(), ["GET /1 - gap", "GET /2 202 response", "GET /3 203 response"]);
}
