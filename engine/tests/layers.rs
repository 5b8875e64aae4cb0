//! What ties things together: TLS plaintext and the connection it belongs to, calls and the requests that made them,
//! gRPC-Web in HTTP/1.1.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use beyla_engine::Engine;
use beyla_schema::event::{BY_TLS, Body, Process, Source};
use beyla_schema::request::{Kind, Protocol, TlsMatch};
use support::peer::{Peer, data, hello, message, settings};
use support::{Collect, LOCAL, REMOTE, STEP, Seen, Tape};

const GET: &str = "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const HELLO: &[u8] = b"\x16\x03\x01\x00\x05hello";
const RECORD: &[u8] = b"\x17\x03\x03\x00\x05xxxxx";

#[test]
fn plaintext_has_the_addresses_and_the_queue_of_its_connection() {
    let shake = Tape::accept().recv(HELLO).send(HELLO);
    let tape = shake.ready(2 * STEP).recv(RECORD).plain(Source::OpenSsl).recv(GET).send(OK);
    let tape = tape.plain(Source::Socket).send(RECORD).close();
    let stats = tape.stats();
    let seen = tape.only();
    assert_eq!(seen.short(), "GET /a 200 response");
    assert_eq!((seen.tls, seen.tls_match), (Some(Source::OpenSsl), Some(TlsMatch::Nested)));
    assert_eq!((seen.client.as_deref(), seen.server.as_deref()), (Some(REMOTE), Some(LOCAL)));
    assert_eq!((seen.queue_ns, seen.scheme.as_deref()), (Some(3 * STEP), Some("https")));
    assert_eq!(stats.ciphertext_bytes, (2 * HELLO.len() + 2 * RECORD.len()) as u64);
    assert_eq!((stats.not_http_connections, stats.connections), (0, 1));
}

#[test]
fn a_blank_line_in_ciphertext_is_no_end_of_a_head() {
    let stats = Tape::accept().recv(b"\x16\x03\x01\x00\x05h\n\nlo").stats();
    assert_eq!((stats.ciphertext_bytes, stats.not_http_connections), (10, 0));
}

#[test]
fn http2_over_tls_is_http2() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let tape = Tape::accept().recv(HELLO).send(HELLO).plain(Source::Go);
    let tape = tape.recv([hello(), client.get(1, "/a")].concat());
    let seen = tape.send([settings(), server.status(1, 1, "200")].concat()).only();
    assert_eq!((seen.protocol, seen.tls), (Protocol::Http2, Some(Source::Go)));
    assert_eq!(seen.short(), "GET /a 200 response");
}

/// A client that has all of the body it was told of closes without reading what is on its way: the end of the stream is
/// written after that, or never.
#[test]
fn a_connection_over_tls_may_close_before_the_end_of_a_stream_is_written() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let tape = Tape::accept().recv(HELLO).send(HELLO).plain(Source::Go);
    let tape = tape.recv([hello(), client.get(1, "/big")].concat());
    let head = server.headers(0, 1, &[(":status", "200"), ("content-length", "2")]);
    let tape = tape.send([settings(), head].concat()).send(data(0, 1, "hi"));
    let never = tape.plain(Source::Socket).send(RECORD).close();
    let late = never.clone().plain(Source::Go).send(data(1, 1, ""));
    for tape in [never, late] {
        let seen = tape.only();
        assert_eq!(seen.short(), "GET /big 200 response");
        assert_eq!((seen.response_bytes, seen.service_ns), (Some(2), Some(2 * STEP)));
    }
}

/// A TLS session whose socket was not seen, at work in a thread.
fn session(number: u64, tid: u32) -> Tape {
    Tape::bare().on(BY_TLS | number).plain(Source::OpenSsl).thread(tid)
}

fn socket(connection: u64, tid: u32) -> Tape {
    Tape::accept().on(connection).thread(tid).recv(HELLO).send(HELLO)
}

fn run(tape: &Tape) -> (Vec<Seen>, beyla_engine::Stats) {
    let (seen, stats) = tape.run();
    assert_eq!(stats.requests, seen.len() as u64);
    (seen, stats)
}

#[test]
fn a_session_belongs_to_the_connection_its_thread_read_from() {
    let socket = socket(7, 5).recv(RECORD).wait(3 * STEP).send(RECORD).close();
    let (seen, stats) = run(&socket.and(session(1, 5).wait(4 * STEP).recv(GET).send(OK)));
    assert_eq!((seen.len(), stats.connections), (1, 1));
    assert_eq!((seen[0].connection, seen[0].tls_match), (7, Some(TlsMatch::Time)));
    assert_eq!(seen[0].client.as_deref(), Some(REMOTE));
}

#[test]
fn a_session_belongs_to_the_connection_its_thread_writes_to() {
    // The read comes too long after its ciphertext, and the first answer is settled before it is written.
    let socket = socket(7, 5).recv(RECORD).wait(20 * STEP).send(RECORD).wait(10 * STEP).send(RECORD).close();
    let session = session(1, 5).wait(22 * STEP).recv(GET).send(OK).wait(STEP).recv(GET).send(OK);
    let (seen, _) = run(&socket.and(session));
    assert_eq!((seen[0].connection, seen[0].tls_match, &seen[0].client), (BY_TLS | 1, None, &None));
    assert_eq!((seen[1].connection, seen[1].tls_match), (7, Some(TlsMatch::Time)));
    assert_eq!(seen[1].client.as_deref(), Some(REMOTE));
}

#[test]
fn of_several_connections_none_is_taken() {
    let sockets = socket(7, 5).recv(RECORD).and(socket(8, 5).recv(RECORD)).and(socket(9, 6).recv(RECORD));
    let busy = session(1, 5).wait(4 * STEP).recv(GET).send(OK);
    let sessions = busy.and(session(2, 6).wait(4 * STEP).recv(GET).send(OK));
    let (seen, stats) = run(&sockets.and(sessions));
    assert_eq!(stats.requests, 2);
    let of = |session: u64| seen.iter().find(|seen| seen.connection == session).map(|seen| seen.tls_match);
    assert_eq!(of(BY_TLS | 1), Some(None));
    assert_eq!(of(9), Some(Some(TlsMatch::Time)));
}

#[test]
fn a_call_belongs_to_the_request_its_thread_is_at_work_on() {
    let served = Tape::accept().recv(GET).wait(10 * STEP).send(OK);
    let client = || Tape::connect().on(8);
    let call = client().wait(3 * STEP).send(GET).recv(OK);
    let (seen, _) = run(&served.clone().and(call.clone()));
    let (inbound, outbound) = (&seen[1], &seen[0]);
    assert_eq!((inbound.kind, outbound.kind), (Kind::Server, Kind::Client));
    assert_eq!((&outbound.trace_id, &outbound.parent_id), (&inbound.trace_id, &inbound.span_id));
    assert_ne!(outbound.span_id, inbound.span_id);
    assert_eq!(inbound.parent_id, None);

    let parent = |tape: &Tape| {
        let (seen, _) = run(tape);
        seen.into_iter().find(|seen| seen.kind == Kind::Client).unwrap().parent_id
    };
    let other = Tape::accept().on(9);
    assert_eq!(parent(&served.clone().and(call).and(other.recv(GET))), None, "two could have made it");
    let outlives = client().wait(3 * STEP).send(GET).wait(20 * STEP).recv(OK);
    assert_eq!(parent(&served.clone().and(outlives)), None, "it ends after the request");
    let elsewhere = client().thread(99).wait(3 * STEP).send(GET).recv(OK);
    assert_eq!(parent(&served.and(elsewhere)), None, "another thread");
}

#[test]
fn a_call_that_passes_on_a_traceparent_belongs_to_the_request_it_came_with() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let get = format!("GET /a HTTP/1.1\r\ntraceparent: {parent}\r\n\r\n");
    let served = Tape::accept().recv(&get).wait(10 * STEP).send(OK);
    let call = Tape::connect().on(8).thread(99);
    let (seen, _) = run(&served.and(call.wait(3 * STEP).send(&get).recv(OK)));
    assert_eq!(seen[0].parent_id, seen[1].span_id);
    assert_eq!(seen[1].parent_id.as_deref(), Some("b7ad6b7169203331"));
}

#[test]
fn threads_of_go_tell_nothing() {
    let served = Tape::accept().recv(GET).wait(10 * STEP).send(OK);
    let call = Tape::connect().on(8).wait(3 * STEP).send(GET).recv(OK);
    let tape = served.and(call);
    let (mut engine, mut seen) = (Engine::new(tape.config.clone()), Collect::default());
    let go = Process { runtime: "go", ..Process::default() };
    engine.push(&support::event(0, 0, Body::Process(go)), &mut seen);
    tape.events.iter().for_each(|event| event.push(&mut engine, &mut seen));
    assert_eq!(seen.0[0].parent_id, None);
}

#[test]
fn ids_are_those_of_the_capture() {
    let ids = |capture_id: u64| {
        let mut tape = Tape::accept().recv(GET).send(OK).recv(GET).send(OK);
        tape.config.capture_id = capture_id;
        tape.run().0.into_iter().flat_map(|seen| [seen.trace_id, seen.span_id]).collect::<Vec<_>>()
    };
    let mut all = [ids(1), ids(2)].concat();
    assert_eq!(ids(1), ids(1));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8);
}

#[test]
fn grpc_web_has_its_status_in_the_body() {
    let trailers = b"grpc-status:7\r\ngrpc-message: no%21\r\n";
    let trailers = [&[0x80], &(trailers.len() as u32).to_be_bytes()[..], trailers].concat();
    let body = [message("answer"), trailers].concat();
    let kind = "Content-Type: application/grpc-web+proto";
    let ask = message("q");
    let with = |first: &str, length: usize, body: &[u8]| {
        [format!("{first}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n").as_bytes(), body].concat()
    };
    let request = with("POST /s.T/M HTTP/1.1", ask.len(), &ask);
    let length = with("HTTP/1.1 200 OK", body.len(), &body);
    let mut chunked = format!("HTTP/1.1 200 OK\r\n{kind}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(7) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend([chunk, b"\r\n"].concat());
    }
    chunked.extend(b"0\r\n\r\n");
    for (response, cut) in [(&length, 1000), (&chunked, 1000), (&length, 1), (&chunked, 3)] {
        let seen = response.chunks(cut).fold(Tape::accept().recv(&request), Tape::send).only();
        assert_eq!((seen.protocol, seen.rpc_status), (Protocol::GrpcWeb, Some(7)));
        assert_eq!((seen.rpc_message.as_deref(), seen.messages), (Some("no!"), (Some(1), Some(1))));
        assert_eq!(seen.rpc, Some(("s.T".to_owned(), "M".to_owned())));
    }
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let web = ("content-type", "application/grpc-web");
    let call = client.headers(0, 1, &[(":method", "POST"), (":path", "/s.T/M"), web]);
    let tape = Tape::accept().recv([hello(), call, data(1, 1, &ask)].concat());
    let answer = [settings(), server.headers(0, 1, &[(":status", "200"), web]), data(1, 1, &body)].concat();
    let seen = tape.send(answer).only();
    assert_eq!((seen.protocol, seen.rpc_status), (Protocol::GrpcWeb, Some(7)));
    assert_eq!(seen.messages, (Some(1), Some(1)));
}

#[test]
fn heads_tell_who_asks_for_what() {
    let request =
        "POST /a HTTP/1.1\r\nUser-Agent: curl/8\r\nContent-Type: text/x\r\nContent-Length: 0\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\nContent-Type: text/y\r\nContent-Length: 0\r\n\r\n";
    let seen = Tape::accept().recv(request).send(response).only();
    assert_eq!((seen.user_agent.as_deref(), seen.request_type.as_deref()), (Some("curl/8"), Some("text/x")));
    assert_eq!(seen.response_type.as_deref(), Some("text/y"));
    assert_eq!(seen.header_bytes, (Some(request.len() as u64), Some(response.len() as u64)));
}
