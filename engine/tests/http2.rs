//! HTTP/2: requests and responses are paired by stream, whatever the frames look like.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use beyla_schema::event::{Direction, Origin};
use beyla_schema::request::{EndReason, Kind, Protocol, SpanStatus};
use support::peer::{END_STREAM, PREFACE, Peer, data, frame, hello, message, reset, settings};
use support::{LOCAL, REMOTE, STEP, Tape};

/// A connection on which both sides have said hello.
fn begun() -> (Tape, Peer<'static>, Peer<'static>) {
    (Tape::accept().recv(hello()).send(settings()), Peer::default(), Peer::default())
}

#[test]
fn a_request_and_its_response_are_one_row() {
    let (tape, mut client, mut server) = begun();
    let tape = tape
        .recv(client.get(1, "/a?b=c#d"))
        .send(server.status(0, 1, "200"))
        .send(data(1, 1, "hello"))
        .close();
    let seen = tape.only();
    assert_eq!(seen.short(), "GET /a 200 response");
    assert_eq!((seen.protocol, seen.stream, seen.ordinal), (Protocol::Http2, Some(1), 0));
    assert_eq!((seen.query.as_deref(), seen.scheme.as_deref()), (Some("b=c"), Some("http")));
    assert_eq!((seen.authority.as_deref(), seen.user_agent.as_deref()), (Some("shop:80"), Some("x")));
    assert_eq!((seen.request_bytes, seen.response_bytes), (Some(0), Some(5)));
    assert_eq!(seen.response_type.as_deref(), Some("text/plain"));
    assert_eq!((seen.duration_ns, seen.kind), (Some(2 * STEP), Kind::Server));
    assert!(seen.header_bytes.0.unwrap() > 10 && seen.header_bytes.1.unwrap() > 3);
    assert_eq!((seen.client.as_deref(), seen.server.as_deref()), (Some(REMOTE), Some(LOCAL)));
}

#[test]
fn streams_are_answered_in_any_order_and_frames_are_cut_anywhere() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let mut requests = hello();
    for n in 0..5 {
        requests.extend(client.get(2 * n + 1, &format!("/{n}")));
    }
    let mut responses = settings();
    for n in [3, 0, 4, 2, 1] {
        responses.extend(server.status(0, 2 * n + 1, &format!("20{n}")));
    }
    for n in [1, 2, 0, 4, 3] {
        responses.extend(data(1, 2 * n + 1, vec![b'x'; n as usize]));
    }
    let expected = [
        "GET /1 201 response",
        "GET /2 202 response",
        "GET /0 200 response",
        "GET /4 204 response",
        "GET /3 203 response",
    ];
    for cut in [1, 2, 3, 7, 9, 10, 24, 33, 1000] {
        let tape = requests.chunks(cut).fold(Tape::accept(), Tape::recv);
        let tape = responses.chunks(cut).fold(tape, Tape::send).close();
        let mut seen = tape.requests();
        if cut == 1000 {
            // Those that one call settles come in the order they were asked in.
            seen.rotate_left(1);
            assert_eq!(seen.len(), 5);
            continue;
        }
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, expected, "{cut}");
    }
    let tape = Tape::accept().bytewise(Direction::Receive, "").recv(&requests);
    let tape = responses.chunks(1).fold(tape, Tape::send).close();
    assert_eq!(tape.requests(), expected);
}

#[test]
fn a_client_may_be_answered_before_its_request_is_recorded() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let tape = Tape::connect().send(hello()).recv(settings());
    let answer = [server.answer(1), data(0, 1, message("b")), server.trailers(1, "0", "")].concat();
    let call = [client.call(1, "/s.S/M"), data(1, 1, message("a"))].concat();
    let seen = tape.clone().recv(&answer).send(&call).close().only();
    assert_eq!(
        (seen.rpc_status, seen.end_reason, seen.messages),
        (Some(0), EndReason::Response, (Some(1), Some(1)))
    );
    assert_eq!((seen.duration_ns, seen.kind), (Some(0), Kind::Client));
    let late = tape.recv(&answer).wait(20 * STEP).send(&call).close().only();
    assert_eq!((late.status, late.end_reason), (None, EndReason::Closed));
}

#[test]
fn the_end_of_a_request_may_be_recorded_after_its_response() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let tape = Tape::connect().send(hello()).recv(settings()).send(client.call(1, "/s.S/M"));
    let tape = tape.recv([server.answer(1), data(0, 1, message("b")), server.trailers(1, "0", "")].concat());
    let seen = tape.clone().send(data(1, 1, message("a"))).close().only();
    assert_eq!((seen.messages, seen.duration_ns), ((Some(1), Some(1)), Some(STEP)));
    let early = tape.wait(20 * STEP).send(frame(6, 0, 0, [0; 8])).only();
    assert_eq!((early.messages, early.duration_ns), ((None, Some(1)), Some(STEP)));
}

#[test]
fn header_blocks_in_many_frames_padded_and_with_priority() {
    let (tape, mut client, mut server) = begun();
    let block = client.block(&[(":method", "PUT"), (":path", "/long"), ("x", &"y".repeat(50))]);
    let (first, rest) = block.split_at(5);
    let (second, third) = rest.split_at(9);
    let padded = [&[3, 0, 0, 0, 0, 7], first, &[0; 3]].concat();
    let request = [
        frame(1, 0x8 | 0x20, 1, padded),
        frame(9, 0, 1, second),
        frame(9, 4, 1, third),
        data(0x8, 1, [&[4][..], b"abc", &[0; 4]].concat()),
        data(0x8 | END_STREAM, 1, [&[0][..], b"de"].concat()),
    ];
    let request = request.concat();
    for cut in [1, 4, 13, 1000] {
        let tape = request.chunks(cut).fold(tape.clone(), Tape::recv);
        let seen = tape.send(server.status(END_STREAM, 1, "204")).close().only();
        assert_eq!((seen.short().as_str(), seen.request_bytes), ("PUT /long 204 response", Some(5)), "{cut}");
        server = Peer::default();
    }
}

#[test]
fn interim_responses_are_not_the_answer() {
    let (tape, mut client, mut server) = begun();
    let tape =
        tape.recv(client.get(1, "/a")).send(server.status(0, 1, "103")).send(server.status(0, 1, "100"));
    let seen = tape.send(server.status(END_STREAM, 1, "404")).close().only();
    assert_eq!((seen.short().as_str(), seen.response_bytes), ("GET /a 404 response", Some(0)));
}

#[test]
fn a_reset_keeps_the_status_that_was_seen() {
    let (tape, mut client, mut server) = begun();
    let tape = tape.recv([client.get(1, "/a"), client.get(3, "/b"), client.get(5, "/c")].concat());
    let tape = tape.send(server.status(0, 1, "200")).recv(reset(1)).send(reset(3)).close();
    assert_eq!(tape.requests(), ["GET /a 200 reset", "GET /b - reset", "GET /c - closed"]);
    let seen = tape.run().0;
    assert!(seen.iter().all(|seen| seen.end_ns.is_none()));
    assert_eq!((seen[0].error, seen[1].error), (false, true));
}

/// A response whose client closes before the frame that ends it, as curl does: it has what was announced.
#[test]
fn a_response_that_has_its_whole_length_when_the_connection_closes_has_ended() {
    let answered = |fields: &[(&str, &str)], bodies: &[&str]| {
        let (tape, mut client, mut server) = begun();
        let tape = tape.recv(client.get(1, "/a")).send(server.headers(0, 1, fields));
        bodies.iter().fold(tape, |tape, body| tape.send(data(0, 1, body)))
    };
    let length = |length| [(":status", "200"), ("content-length", length)];
    let whole = answered(&length("5"), &["hel", "lo"]).wait(STEP);
    for tape in [whole.clone().close(), whole.clone().send(data(0, 1, "")).close()] {
        let seen = tape.only();
        assert_eq!(seen.short(), "GET /a 200 response");
        assert_eq!((seen.response_bytes, seen.duration_ns), (Some(5), Some(3 * STEP)), "up to the last byte");
    }
    // Its last frame, were it still written, begins nothing.
    let late = whole.clone().close().send(data(END_STREAM, 1, ""));
    assert_eq!(late.only(), whole.clone().close().only());
    let empty = answered(&length("0"), &[]).close().only();
    assert_eq!((empty.response_bytes, empty.duration_ns), (Some(0), Some(STEP)));

    let grpc = [(":status", "200"), ("content-type", "application/grpc"), ("content-length", "5")];
    for tape in [
        answered(&length("6"), &["hello"]).close(),
        answered(&length("4"), &["hello"]).close(),
        answered(&length("5, 5"), &["hello"]).close(),
        answered(&length("99999999999999999999"), &["hello"]).close(),
        answered(&[(":status", "200")], &["hello"]).close(),
        answered(&grpc, &["hello"]).close(),
    ] {
        let seen = tape.only();
        assert_eq!(seen.short(), "GET /a 200 closed");
        assert_eq!((seen.response_bytes, seen.duration_ns), (None, None));
    }
    assert_eq!(whole.clone().recv(reset(1)).requests(), ["GET /a 200 reset"]);
    assert_eq!(whole.requests(), ["GET /a 200 capture_end"]);
}

#[test]
fn a_goaway_refuses_the_streams_above_it() {
    let (tape, mut client, mut server) = begun();
    let tape = tape.recv([client.get(1, "/a"), client.get(3, "/b")].concat());
    let tape = tape.send(frame(7, 0, 0, [0, 0, 0, 1, 0, 0, 0, 0])).send(server.status(END_STREAM, 1, "200"));
    assert_eq!(tape.requests(), ["GET /b - reset", "GET /a 200 response"]);
}

#[test]
fn a_pushed_response_is_a_request_of_its_own() {
    let (tape, mut client, mut server) = begun();
    let promise = server.block(&[(":method", "GET"), (":path", "/style.css"), (":authority", "shop")]);
    let promise = frame(5, 4, 1, [&[0, 0, 0, 2][..], &promise].concat());
    let tape = tape.recv(client.get(1, "/")).send([promise, server.status(END_STREAM, 1, "200")].concat());
    let tape = tape.send(server.status(END_STREAM, 2, "200")).close();
    assert_eq!(tape.requests(), ["GET / 200 response", "GET /style.css 200 response"]);
    assert_eq!(tape.run().0[1].stream, Some(2));
}

#[test]
fn a_tunnel_is_a_switch() {
    let (tape, mut client, mut server) = begun();
    let connect =
        client.headers(0, 1, &[(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/chat")]);
    let tape = tape.recv(connect).send(server.status(0, 1, "200")).recv(data(0, 1, "x")).close();
    assert_eq!(tape.requests(), ["CONNECT /chat 200 protocol_switch"]);
}

#[test]
fn calls_of_grpc_count_their_messages() {
    let answered = |trailers: Option<(&str, &str)>| {
        let (tape, mut client, mut server) = begun();
        let call =
            [client.call(1, "/shop.Cart/Add"), data(0, 1, message("a")), data(END_STREAM, 1, message("b"))];
        let two = [message("xyz"), message("")].concat();
        let answer = [server.answer(1), data(0, 1, two), data(0, 1, message("q"))];
        let tape = tape.recv(call.concat()).send(answer.concat());
        let end = trailers.map(|(status, message)| server.trailers(1, status, message));
        end.into_iter().fold(tape, Tape::send).close().only()
    };
    let seen = answered(Some(("5", "not%20there")));
    assert_eq!(seen.protocol, Protocol::Grpc);
    assert_eq!(seen.rpc, Some(("shop.Cart".to_owned(), "Add".to_owned())));
    assert_eq!((seen.status, seen.rpc_status), (Some(200), Some(5)));
    assert_eq!((seen.rpc_message.as_deref(), seen.messages), (Some("not there"), (Some(2), Some(3))));
    assert_eq!((seen.error, seen.span_status), (true, SpanStatus::Unset), "the client's fault");
    let seen = answered(Some(("13", "")));
    assert_eq!((seen.error, seen.span_status), (true, SpanStatus::Error));
    let seen = answered(None);
    assert_eq!((seen.error, seen.rpc_status, seen.end_reason), (true, None, EndReason::Closed));
}

#[test]
fn trailers_alone_are_the_whole_response() {
    let (tape, mut client, mut server) = begun();
    let fields = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")];
    let tape = tape.recv([client.call(1, "/a.B/C"), data(1, 1, message(""))].concat());
    let seen = tape.send(server.headers(END_STREAM, 1, &fields)).only();
    assert_eq!((seen.status, seen.rpc_status, seen.messages), (Some(200), Some(12), (Some(1), Some(0))));
}

#[test]
fn a_traceparent_is_read_and_a_state_without_one_is_not() {
    let (tape, mut client, mut server) = begun();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fields = [
        (":method", "GET"),
        (":path", "/"),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
        ("traceparent", parent),
    ];
    let tape = tape.recv([client.headers(1, 1, &fields), client.headers(1, 3, &fields[..4])].concat());
    let tape = tape.send([server.status(1, 1, "200"), server.status(1, 3, "200")].concat());
    let seen = tape.run().0;
    assert_eq!(seen[0].trace_id.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
    assert_eq!(seen[0].trace_state.as_deref(), Some("a=1,b=2"));
    assert_eq!((seen[1].trace_state.as_deref(), seen[1].parent_id.as_deref()), (None, None));
}

#[test]
fn an_upgrade_is_one_request_with_the_final_status() {
    let mut server = Peer::default();
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let head = "GET /a HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let answer = [server.status(0, 1, "203"), data(1, 1, "hello")].concat();
    let whole = Tape::accept().recv(head).send([&switch[..], &settings(), &answer].concat()).recv(hello());
    let apart = Tape::accept().recv(head).send(switch).recv(hello()).send(settings()).send(&answer);
    for tape in [whole, apart] {
        let mut client = Peer::default();
        let tape = tape.recv(client.get(3, "/b")).send(server.status(1, 3, "200")).close();
        assert_eq!(tape.requests(), ["GET /a 203 response", "GET /b 200 response"]);
        let seen = &tape.run().0[0];
        assert_eq!((seen.protocol, seen.stream, seen.response_bytes), (Protocol::Http2, Some(1), Some(5)));
        server = Peer::default();
        server.status(0, 1, "203");
    }
}

#[test]
fn what_depends_on_a_table_that_was_missed_is_unknown() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    client.get(1, "/first");
    server.headers(0, 1, &[(":status", "299"), ("server", "x")]);
    // Both use entries made before the capture began.
    let request = [client.get(3, "/first"), client.get(5, "/second")].concat();
    let response = server.headers(1, 3, &[(":status", "299"), ("server", "x")]);
    let second = server.headers(1, 5, &[(":status", "298")]);
    let tape = Tape::found().recv(&request).send(&response).send(second);
    let seen = tape.run().0;
    assert_eq!(seen[0].short(), "GET - - response");
    assert_eq!(seen[1].short(), "GET /second 298 response");
    assert_eq!((seen[0].authority.as_deref(), seen[0].kind), (None, Kind::Server));
    assert!(!seen[0].error, "unknown is no error");
}

#[test]
fn a_gap_in_a_body_is_passed_over() {
    let (tape, mut client, mut server) = begun();
    let head = server.status(0, 1, "200");
    let mut body = data(0, 1, vec![0; 5000]);
    body.extend(data(1, 1, vec![0; 10]));
    let tape = tape.recv(client.get(1, "/a")).recv(client.get(3, "/b")).send(head);
    let cut = tape.clone().snaplen(100).send(&body[..4000]).snaplen(9000).send(&body[4000..]);
    let seen = cut.close().run().0;
    assert_eq!((seen[0].short().as_str(), seen[0].response_bytes), ("GET /a 200 response", Some(5010)));
    let lost = tape.send(&body[..100]).send(&body[100..4000]).lost().send(&body[4000..]);
    let seen = lost.send(server.status(1, 3, "201")).close().run().0;
    assert_eq!((seen[0].short().as_str(), seen[0].response_bytes), ("GET /a 200 response", Some(5010)));
    assert_eq!(seen[1].short(), "GET /b 201 response");
}

#[test]
fn after_a_gap_frames_are_found_again_and_nothing_is_made_up() {
    let (tape, mut client, mut server) = begun();
    let tape = tape.recv([client.get(1, "/a"), client.get(3, "/b"), client.get(5, "/c")].concat());
    let tape = tape
        .send(server.status(0, 1, "200"))
        .send(server.headers(0, 3, &[(":status", "277"), ("a", "b")]))
        .lost();
    let tape =
        tape.send(server.headers(1, 5, &[(":status", "277"), ("a", "b")])).send(data(1, 1, "x")).close();
    assert_eq!(tape.requests(), ["GET /c - response", "GET /a 200 response", "GET /b - gap"]);
    let seen = tape.run().0;
    assert_eq!(seen[1].response_bytes, None, "some of it may have been lost");
}

#[test]
fn lost_requests_are_not_answered_by_others() {
    let (tape, mut client, mut server) = begun();
    let tape = tape.recv(client.get(1, "/a")).lost().recv(client.get(3, "/a"));
    let tape = tape.send(server.status(1, 1, "200")).send(server.status(1, 3, "201")).close();
    let seen = tape.run().0;
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].status, seen[0].stream, seen[0].path.as_deref()), (Some(201), Some(3), None));
}

#[test]
fn a_preface_in_the_middle_begins_a_session() {
    let mut client = Peer::default();
    let mut server = Peer::default();
    for tape in [Tape::found(), Tape::bare(), Tape::unopened()] {
        let tape = tape
            .recv([hello(), client.get(1, "/a")].concat())
            .send([settings(), server.status(1, 1, "200")].concat());
        assert_eq!(tape.requests(), ["GET /a 200 response"]);
        (client, server) = (Peer::default(), Peer::default());
    }
}

#[test]
fn a_server_may_speak_first() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let tape = Tape::accept().send(settings()).recv(PREFACE).recv(settings()).recv(client.get(1, "/a"));
    assert_eq!(tape.send(server.status(1, 1, "200")).requests(), ["GET /a 200 response"]);
}

#[test]
fn memory_is_bounded_and_given_back() {
    let (mut tape, mut client, _) = begun();
    tape.config.max_pending = 10;
    for n in 0..25 {
        tape = tape.recv(client.get(2 * n + 1, "/a"));
    }
    let (seen, stats) = tape.run();
    assert_eq!((seen.len(), stats.limits_reached), (25, 2));
    assert_eq!(seen.iter().filter(|seen| seen.end_reason == EndReason::Gap).count(), 22);
    let (mut tape, mut client, _) = begun();
    tape.config.max_head = 100;
    let block = client.block(&[(":method", "GET"), (":path", "/a"), ("x", &"~".repeat(90))]);
    let (first, second) = block.split_at(60);
    let tape = tape.recv(frame(1, END_STREAM, 1, first)).recv(frame(9, 4, 1, second));
    assert_eq!(tape.requests(), ["- - - capture_end"]);
}

#[test]
fn what_is_no_http2_is_left_alone() {
    for bytes in [&b"PRI * HTTP/2.0\r\n\r\nSX"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n"]
    {
        for cut in [1, 5, 100] {
            let tape = bytes.chunks(cut).fold(Tape::accept(), Tape::recv).close();
            let (seen, stats) = tape.run();
            assert_eq!((seen.len(), stats.not_http_connections), (0, 1));
        }
    }
    let tape = Tape::open(Origin::Connect, LOCAL, REMOTE).recv([0; 20]).send("x").close();
    assert_eq!(tape.stats().not_http_connections, 1);
}
