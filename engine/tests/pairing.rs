//! Pairing of complete recordings: every rule of HTTP/1.x that decides what belongs to what.

mod support;

use beyla_schema::event::{Direction, Origin};
use beyla_schema::request::{EndReason, Kind, Protocol};
use support::{STEP, Tape};

const GET: &str = "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n")
}

fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nok")
}

#[test]
fn a_served_request_has_everything_that_was_observed() {
    let seen = Tape::accept()
        .ready(1_500_000)
        .recv("POST /cart?item=1&n=2 HTTP/1.1\r\nHost: shop:8080\r\nContent-Length: 4\r\n\r\nbody")
        .send(OK)
        .close()
        .only();
    assert_eq!((seen.service.as_str(), seen.pid, seen.tid), ("shop", 42, 43));
    assert_eq!((seen.kind, seen.protocol), (Kind::Server, Protocol::Http11));
    assert_eq!(seen.short(), "POST /cart 200 response");
    assert_eq!(seen.query.as_deref(), Some("item=1&n=2"));
    assert_eq!((seen.scheme.as_deref(), seen.authority.as_deref()), (Some("http"), Some("shop:8080")));
    assert_eq!((seen.request_bytes, seen.response_bytes), (Some(4), Some(2)));
    assert_eq!(
        (seen.client.as_deref(), seen.server.as_deref()),
        (Some(support::REMOTE), Some(support::LOCAL))
    );
    assert_eq!((seen.start_ns, seen.end_ns, seen.ended_ns), (2 * STEP, Some(3 * STEP), 3 * STEP));
    assert_eq!(seen.queue_ns, Some(500_000));
    assert_eq!((seen.service_ns, seen.duration_ns), (Some(STEP), Some(STEP + 500_000)));
    assert_eq!((seen.connection, seen.ordinal, seen.error), (7, 0, false));
}

#[test]
fn a_made_request_is_the_clients_and_has_no_queue() {
    let seen = Tape::connect().ready(1).send(GET).ready(1).recv(status(404)).close().only();
    assert_eq!(seen.kind, Kind::Client);
    assert_eq!(
        (seen.client.as_deref(), seen.server.as_deref()),
        (Some(support::LOCAL), Some(support::REMOTE))
    );
    assert_eq!((seen.queue_ns, seen.duration_ns), (None, Some(STEP)));
    assert!(seen.error);
}

#[test]
fn a_queue_that_would_be_negative_is_not_known() {
    let seen = Tape::accept().ready(99 * STEP).recv(GET).send(OK).only();
    assert_eq!((seen.queue_ns, seen.duration_ns), (None, Some(STEP)));
}

#[test]
fn errors_are_5xx_for_servers_and_4xx_too_for_clients() {
    for (code, server, client) in
        [(200, false, false), (399, false, false), (404, false, true), (500, true, true)]
    {
        assert_eq!(Tape::accept().recv(GET).send(status(code)).only().error, server, "{code}");
        assert_eq!(Tape::connect().send(GET).recv(status(code)).only().error, client, "{code}");
    }
}

#[test]
fn a_request_without_a_response_is_an_error_only_when_the_connection_closed() {
    let closed = Tape::accept().recv(GET).close().only();
    assert_eq!((closed.end_reason, closed.error, closed.status), (EndReason::Closed, true, None));
    assert_eq!((closed.end_ns, closed.duration_ns, closed.service_ns), (None, None, None));
    assert_eq!((closed.ended_ns, closed.request_bytes), (3 * STEP, Some(0)));
    let open = Tape::accept().recv(GET).only();
    assert_eq!((open.end_reason, open.error), (EndReason::CaptureEnd, false));
}

#[test]
fn keep_alive_pairs_in_order() {
    let tape = Tape::accept().recv(get("/1")).send(status(201)).recv(get("/2")).send(status(202)).close();
    assert_eq!(tape.requests(), ["GET /1 201 response", "GET /2 202 response"]);
    assert_eq!(tape.run().0[1].ordinal, 1);
}

#[test]
fn pipelined_requests_pair_in_order_at_any_depth() {
    let paths: Vec<_> = (0..100).map(|path| format!("/{path}")).collect();
    let requests: String = paths.iter().map(|path| get(path)).collect();
    let responses: String = (400..500).map(status).collect();
    let expected: Vec<_> = (400..500).map(|code| format!("GET /{} {code} response", code - 400)).collect();
    assert_eq!(Tape::accept().recv(&requests).send(&responses).requests(), expected);
    let halves = Tape::accept().recv(&requests[..1234]).recv(&requests[1234..]);
    assert_eq!(halves.send(&responses[..999]).send(&responses[999..]).requests(), expected);
}

#[test]
fn responses_may_begin_before_the_last_pipelined_request() {
    let tape = Tape::accept().recv(get("/1")).recv(get("/2")).send(status(201)).recv(get("/3"));
    assert_eq!(
        tape.send(status(202)).send(status(203)).requests(),
        ["GET /1 201 response", "GET /2 202 response", "GET /3 203 response"]
    );
}

#[test]
fn one_byte_per_call_is_the_same_as_one_call() {
    let request = "POST /a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n4;x=\"y\"\r\nbody\r\n0\r\nT: 1\r\n\r\n";
    let whole = Tape::accept().recv(request).send(OK).only();
    let bytes = Tape::accept().bytewise(Direction::Receive, request).bytewise(Direction::Send, OK).only();
    assert_eq!(whole.request_bytes, Some(4));
    assert_eq!(whole.timeless(), bytes.timeless());
}

#[test]
fn the_first_and_last_bytes_make_the_times() {
    let seen = Tape::accept()
        .recv("G")
        .recv(&GET[1..])
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        .send("o")
        .send("k")
        .only();
    assert_eq!((seen.start_ns, seen.end_ns), (2 * STEP, Some(6 * STEP)));
}

#[test]
fn chunks_count_without_their_framing() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
        "5\nhello\n6 ; x\n world\n00\n\n",
    ] {
        let tape = Tape::accept().recv(GET).send(head).send(body).recv(GET).send(OK);
        let (seen, _) = tape.run();
        assert_eq!((seen[0].response_bytes, seen[0].end_reason), (Some(11), EndReason::Response));
        assert_eq!(seen[1].short(), "GET /a 200 response");
    }
}

#[test]
fn chunks_win_over_a_length() {
    let request = "POST /a HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let seen = Tape::accept().recv(request).send(OK).recv(GET).send(OK).run().0;
    assert_eq!((seen.len(), seen[0].request_bytes), (2, Some(1)));
}

#[test]
fn interim_responses_are_not_the_answer() {
    let tape = Tape::accept()
        .recv("PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .send("HTTP/1.1 100 Continue\r\n\r\n")
        .recv("hi")
        .send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 199 What\r\n\r\n")
        .send(status(201));
    let seen = tape.only();
    assert_eq!((seen.short().as_str(), seen.request_bytes), ("PUT /a 201 response", Some(2)));
}

#[test]
fn some_responses_have_no_body_whatever_they_say() {
    let long = |code: u16| format!("HTTP/1.1 {code} X\r\nContent-Length: 99\r\n\r\n");
    let head = GET.replace("GET", "HEAD");
    let tape = Tape::accept()
        .recv(head)
        .send(long(200))
        .recv(GET)
        .send(long(204))
        .recv(GET)
        .send(long(304))
        .recv(GET)
        .send(OK);
    assert_eq!(
        tape.requests(),
        ["HEAD /a 200 response", "GET /a 204 response", "GET /a 304 response", "GET /a 200 response"]
    );
    assert_eq!(tape.run().0[1].response_bytes, Some(0));
}

#[test]
fn a_response_without_a_length_ends_with_the_servers_side() {
    let response = "HTTP/1.0 200 OK\r\nServer: old\r\n\r\nsome ";
    let request = "GET /a HTTP/1.0\r\n\r\n";
    let served = Tape::accept().recv(request).send(response).send("bytes");
    for tape in [
        served.clone().half_close(Direction::Send),
        served.clone().close(),
        served.half_close(Direction::Receive).half_close(Direction::Send).close(),
    ] {
        let seen = tape.only();
        assert_eq!((seen.end_reason, seen.protocol), (EndReason::Response, Protocol::Http10));
        assert_eq!((seen.response_bytes, seen.end_ns), (Some(10), Some(4 * STEP)));
    }
    let made = Tape::connect().send(request).recv(response).half_close(Direction::Receive).recv("bytes");
    for tape in [made.clone().close(), made.half_close(Direction::Send)] {
        let seen = tape.only();
        assert_eq!((seen.end_reason, seen.response_bytes), (EndReason::Response, Some(10)));
    }
}

#[test]
fn a_response_without_a_length_is_unfinished_when_the_capture_ends() {
    let seen = Tape::accept().recv(GET).send("HTTP/1.1 200 OK\r\n\r\nsome").only();
    assert_eq!((seen.status, seen.end_reason, seen.end_ns), (Some(200), EndReason::CaptureEnd, None));
    assert_eq!(seen.response_bytes, None);
}

#[test]
fn a_body_cut_off_by_the_close_keeps_its_status() {
    let seen =
        Tape::accept().recv(GET).send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome").close().only();
    assert_eq!((seen.status, seen.end_reason, seen.end_ns), (Some(200), EndReason::Closed, None));
    assert_eq!((seen.response_bytes, seen.error), (None, false));
}

#[test]
fn an_upgrade_ends_with_its_head_and_the_rest_is_opaque() {
    let tape = Tape::accept()
        .recv("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
        .send("HTTP/1.1 101 Switching Protocols\r\n\r\n")
        .recv(GET)
        .send(OK)
        .close();
    let seen = tape.only();
    assert_eq!((seen.short().as_str(), seen.duration_ns), ("GET /ws 101 protocol_switch", Some(STEP)));
    assert_eq!(tape.stats().opaque_bytes, (GET.len() + OK.len()) as u64);
}

#[test]
fn a_tunnel_is_a_switch_and_a_refused_one_is_not() {
    let connect = "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n";
    let tunnel =
        Tape::accept().recv(connect).send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").recv(GET).only();
    assert_eq!(tunnel.short(), "CONNECT - 200 protocol_switch");
    assert_eq!(tunnel.authority.as_deref(), Some("db:5432"));
    let refused = Tape::accept().recv(connect).send(status(407)).recv(GET).send(OK);
    assert_eq!(refused.requests(), ["CONNECT - 407 response", "GET /a 200 response"]);
}

#[test]
fn a_response_may_come_before_the_request_is_complete() {
    let tape = Tape::accept()
        .recv("POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345")
        .send(status(413))
        .recv("67890");
    let tape = tape.recv(get("/b")).send(OK);
    assert_eq!(tape.requests(), ["POST /a 413 response", "GET /b 200 response"]);
    assert_eq!(tape.run().0[0].request_bytes, None);
}

#[test]
fn a_body_that_was_refused_beforehand_may_be_left_out() {
    let tape = Tape::accept().recv("POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 999\r\n\r\n");
    let tape = tape.send(status(417)).recv(get("/b")).send(OK);
    assert_eq!(tape.requests(), ["POST /a 417 response", "GET /b 200 response"]);
}

#[test]
fn a_response_that_nobody_asked_for_is_counted() {
    let tape = Tape::accept().recv(GET).send(OK).send(status(408)).close();
    assert_eq!(tape.requests(), ["GET /a 200 response"]);
    assert_eq!(tape.stats().unsolicited_responses, 1);
    let later = Tape::accept().send(status(408)).recv(GET).send(OK);
    assert_eq!(later.requests(), ["GET /a 200 response"]);
    let much_later = Tape::accept().send(status(400)).wait(1_000_000_000).recv(GET).send(OK);
    assert_eq!(much_later.requests(), ["GET /a 200 response"]);
}

#[test]
fn a_response_recorded_a_moment_before_its_request_belongs_to_it() {
    let tape = Tape::connect()
        .send(get("/1"))
        .recv(status(201))
        .recv(status(202))
        .send(get("/2"))
        .send(get("/3"))
        .recv(status(203));
    assert_eq!(tape.requests(), ["GET /1 201 response", "GET /2 202 response", "GET /3 203 response"]);
    let head = GET.replace("GET", "HEAD");
    let tape = Tape::connect()
        .recv("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        .send(head)
        .send(get("/2"))
        .recv(OK);
    assert_eq!(tape.requests(), ["HEAD /a 200 response", "GET /2 200 response"]);
    assert_eq!(tape.run().0[0].duration_ns, Some(0));
}

#[test]
fn swapped_events_of_the_two_directions_still_pair() {
    let tape = Tape::accept()
        .recv(get("/1"))
        .send(status(201))
        .swapped()
        .recv(get("/2"))
        .send(status(202))
        .swapped();
    assert_eq!(tape.requests(), ["GET /1 201 response", "GET /2 202 response"]);
    let tape = Tape::accept().recv(get("/1")).send(status(201)).recv(get("/2")).swapped().send(status(202));
    assert_eq!(tape.requests(), ["GET /1 201 response", "GET /2 202 response"]);
}

#[test]
fn large_heads_come_in_many_reads() {
    let head = format!("GET /a HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(100_000));
    let tape = head.as_bytes().chunks(1000).fold(Tape::accept(), Tape::recv);
    assert_eq!(tape.send(OK).requests(), ["GET /a 200 response"]);
}

#[test]
fn heads_may_be_sloppy_where_servers_accept_it() {
    for (head, expected) in [
        ("\r\n\r\nGET /a HTTP/1.1\r\n\r\n", "GET /a"),
        ("GET /a HTTP/1.1\nHost: x\n\n", "GET /a"),
        ("FROBNICATE /a HTTP/1.1\r\n\r\n", "FROBNICATE /a"),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS *"),
        ("GET /a b HTTP/1.1\r\n\r\n", "GET /a b"),
        ("GET /a#fragment HTTP/1.1\r\n\r\n", "GET /a"),
        ("GET /a HTTP/1.1\r\nX: 1\r\n\tContent-Length: 99\r\n Host: no\r\n\r\n", "GET /a"),
    ] {
        let tape = Tape::accept().recv(head).send(OK).recv(GET).send(OK);
        assert_eq!(tape.requests(), [format!("{expected} 200 response"), "GET /a 200 response".to_owned()]);
        assert_ne!(tape.run().0[0].authority.as_deref(), Some("no"));
    }
}

#[test]
fn an_absolute_target_is_taken_apart() {
    let seen = Tape::accept().recv("GET http://shop:80?x HTTP/1.1\r\nHost: proxy\r\n\r\n").send(OK).only();
    assert_eq!((seen.scheme.as_deref(), seen.authority.as_deref()), (Some("http"), Some("shop:80")));
    assert_eq!((seen.path.as_deref(), seen.query.as_deref()), (Some("/"), Some("x")));
    let plain = Tape::accept().recv("GET /to?u=http://x/y HTTP/1.1\r\n\r\n").send(OK).only();
    assert_eq!((plain.path.as_deref(), plain.query.as_deref()), (Some("/to"), Some("u=http://x/y")));
}

#[test]
fn bytes_that_are_no_utf8_are_replaced() {
    let seen = Tape::accept().recv(b"GET /\xff\xc3\xa9 HTTP/1.1\r\n\r\n").send(OK).only();
    assert_eq!(seen.path.as_deref(), Some("/\u{fffd}é"));
}

#[test]
fn hostile_sizes_are_unknown_sizes() {
    for length in ["99999999999999999999999", "-1", "", "5, 6", "5\r\nContent-Length: 6"] {
        let post = format!("POST /a HTTP/1.1\r\nContent-Length: {length}\r\n\r\nbody");
        let tape = Tape::accept().recv(post).send(OK).recv(get("/b")).send(status(202));
        assert_eq!(tape.requests(), ["POST /a 200 response", "GET /b 202 response"], "{length}");
        assert_eq!(tape.run().0[0].request_bytes, None);
    }
    let chunk = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n";
    let tape = Tape::accept().recv(chunk).send(OK).recv(get("/b")).send(status(202));
    assert_eq!(tape.requests(), ["POST /a 200 response", "GET /b 202 response"]);
}

#[test]
fn equal_lengths_are_one_length() {
    let post = "POST /a HTTP/1.1\r\nContent-Length: 2\r\ncontent-length: 2, 2\r\n\r\nhi";
    assert_eq!(Tape::accept().recv(post).send(OK).only().request_bytes, Some(2));
}

#[test]
fn other_protocols_make_no_requests() {
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"get key\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET /a HTTP/2\r\n\r\n",
        b"GET /a HTTP/1.1\r\nno field\r\n\r\n",
    ] {
        let tape = Tape::accept().recv(bytes).send("+PONG\r\n").recv(GET).send(OK).close();
        assert!(tape.requests().is_empty(), "{bytes:?}");
        let stats = tape.stats();
        assert_eq!((stats.not_http_connections, stats.requests), (1, 0), "{bytes:?}");
    }
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let stats = Tape::accept().recv(hello).send(hello).recv(GET).close().stats();
    assert_eq!((stats.ciphertext_bytes, stats.not_http_connections), ((22 + GET.len()) as u64, 0));
    let greeting = Tape::accept().send("220 mail ready\r\n").recv("EHLO x\r\n").close();
    assert_eq!(greeting.stats().not_http_connections, 1);
}

#[test]
fn mapped_addresses_are_the_addresses_they_stand_for() {
    let tape = Tape::open(Origin::Accept, "[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.2]:9").recv(GET).send(OK);
    let seen = tape.only();
    assert_eq!((seen.server.as_deref(), seen.client.as_deref()), (Some("127.0.0.1:80"), Some("127.0.0.2:9")));
}

#[test]
fn a_valid_traceparent_gives_trace_and_parent() {
    let with = |value: &str| {
        let seen =
            Tape::accept().recv(format!("GET /a HTTP/1.1\r\nTraceParent: {value}\r\n\r\n")).send(OK).only();
        (seen.trace_id, seen.parent_id)
    };
    let made_up = with("").0;
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    assert_eq!(with(&format!("00-{trace}-{parent}-01")), (Some(trace.to_owned()), Some(parent.to_owned())));
    let zero = "0".repeat(32);
    for bad in [
        format!("ff-{trace}-{parent}-01"),
        format!("00-{}-{parent}-01", trace.to_uppercase()),
        format!("00-{zero}-{parent}-01"),
        format!("00-{trace}-{}-01", &zero[..16]),
        format!("00-{trace}-{parent}"),
        format!("00-{trace}-{parent}-01-02"),
    ] {
        assert_eq!(with(&bad), (made_up.clone(), None), "{bad}");
    }
}

#[test]
fn a_closed_connection_stays_closed() {
    let tape = Tape::accept().recv(GET).close().send(OK).recv(GET);
    assert_eq!(tape.requests(), ["GET /a - closed"]);
    assert_eq!(tape.stats().ignored_bytes, (OK.len() + GET.len()) as u64);
}

#[test]
fn limits_give_up_the_message_and_say_so() {
    let mut tape = Tape::accept();
    tape.config.max_head = 100;
    let tape = tape.recv(format!("GET /{}", "x".repeat(50))).recv("y".repeat(100)).recv(GET).send(OK);
    assert_eq!(tape.requests(), ["GET /a 200 response"]);
    assert_eq!(tape.stats().limits_reached, 1);

    let mut tape = Tape::accept();
    tape.config.max_pending = 2;
    let tape = tape.recv(GET.repeat(3)).send(EMPTY.repeat(3)).recv(get("/b")).send(OK);
    assert_eq!(tape.requests(), ["GET /a - gap", "GET /a - gap", "GET /a - gap", "GET /b 200 response"]);

    let mut tape = Tape::accept();
    tape.config.max_memory = 100;
    let tape = tape.recv(get(&"x".repeat(101).replacen('x', "/", 1))).send(OK).recv(GET).send(OK);
    assert_eq!(tape.requests()[1], "GET /a 200 response");
    assert_eq!(tape.run().0[0].end_reason, EndReason::Gap);

    let mut tape = Tape::accept();
    tape.config.max_connections = 0;
    let tape = tape.recv(GET).send(OK);
    assert!(tape.requests().is_empty());
    assert_eq!(tape.stats().ignored_bytes, (GET.len() + OK.len()) as u64);
}

#[test]
fn what_is_unfinished_at_the_end_comes_by_connection() {
    let mut tape = Tape::accept();
    for connection in [9, 3, 5] {
        let mut other = Tape::accept().recv(get(&format!("/{connection}"))).recv(get("/next"));
        other.events.iter_mut().for_each(|event| event.connection = connection);
        tape.events.extend(other.events);
    }
    let order: Vec<_> = tape.run().0.iter().map(|seen| (seen.connection, seen.ordinal)).collect();
    assert_eq!(order, [(3, 0), (3, 1), (5, 0), (5, 1), (9, 0), (9, 1)]);
}
