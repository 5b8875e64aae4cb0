//! gRPC and gRPC-Web: methods, statuses and messages are what the client counted.

use beyla_schema::request::{EndReason, Kind as Side, Protocol};

use crate::{
    Machine,
    capture::{Capture, Recording, Seen},
    server::{Kind, Server},
    stacks::{self, Line, lines, program, report, seen_as_lines},
    turn,
};

const SERVICE: &str = "fixture.Echo";

/// The method and the status of gRPC.
fn grpc(seen: &Seen) -> Option<(String, u32)> {
    Some((seen.rpc_method.clone()?, seen.rpc_status?))
}

/// Has the server's calls recorded while `client` makes some; None when that cannot be done here.
fn recorded(kind: Kind, client: &str, arguments: &[&str], kinds: &[&str]) -> Option<(Recording, Vec<Line>)> {
    let _turn = turn(Machine::Alone, kind.programs())?;
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let trust = server.trust();
    let trust: Vec<_> = trust.iter().map(String::as_str).collect();
    let report = report(client, &[arguments, &trust, &[&server.port.to_string()], kinds].concat());
    let recording = capture.stop();
    recording.assert_complete();
    recording.assert_source(kind.source());
    Some((recording, report))
}

/// Every call ended with a response, and all of it is what the client counted.
pub(crate) fn assert_calls(recording: &Recording, report: &[Line], protocol: Protocol) {
    for seen in &recording.requests {
        assert_eq!((seen.protocol, seen.end_reason), (protocol, EndReason::Response), "{seen:?}");
        assert_eq!((seen.method.as_deref(), seen.status), (Some("POST"), Some(200)), "{seen:?}");
        assert_eq!(seen.rpc_service.as_deref(), Some(SERVICE), "{seen:?}");
        assert!(seen.end_ns.is_some_and(|end| end >= seen.start_ns), "{seen:?}");
    }
    assert_eq!(seen_as_lines(&recording.requests, grpc), report, "{:?}", recording.stats);
}

fn calls(options: &[&str], kinds: &[&str], count: usize) {
    calls_of(Kind::Grpc, options, kinds, count);
}

pub(crate) fn calls_of(kind: Kind, options: &[&str], kinds: &[&str], count: usize) {
    let Some((recording, report)) = recorded(kind, "grpc-client", options, kinds) else { return };
    assert_eq!(recording.requests.len(), count * kinds.len(), "{:?}", recording.stats);
    assert_calls(&recording, &report, Protocol::Grpc);
}

#[test]
fn one_unary_call_at_a_time() {
    calls(&["-count", "500"], &["unary"], 500);
}

#[test]
fn ten_unary_calls_at_a_time() {
    calls(&["-count", "2000", "-concurrency", "10"], &["unary"], 2000);
}

#[test]
fn a_hundred_unary_calls_at_a_time() {
    calls(&["-count", "5000", "-concurrency", "100"], &["unary"], 5000);
}

#[test]
fn large_messages() {
    calls(&["-count", "50", "-concurrency", "5", "-size", "100000"], &["unary", "bidi"], 50);
}

#[test]
fn compressed_messages() {
    let options = ["-count", "50", "-concurrency", "5", "-size", "10000", "-compress"];
    calls(&options, &["unary", "client-stream", "bidi"], 50);
}

#[test]
fn streams_of_the_server() {
    calls(&["-count", "100", "-concurrency", "20", "-messages", "50"], &["server-stream"], 100);
}

#[test]
fn streams_of_the_client() {
    calls(&["-count", "100", "-concurrency", "20", "-messages", "50"], &["client-stream"], 100);
}

#[test]
fn streams_both_ways() {
    calls(&["-count", "100", "-concurrency", "20", "-messages", "50"], &["bidi"], 100);
}

#[test]
fn streams_of_all_kinds_without_messages() {
    calls(&["-count", "20", "-messages", "0"], &["server-stream", "client-stream", "bidi"], 20);
}

#[test]
fn failing_calls_say_how() {
    const MESSAGE: &str = "no such product: 50% off, löst\n";
    let Some(_turn) = turn(Machine::Alone, stacks::PROGRAMS) else { return };
    let server = Server::start(Kind::Grpc);
    let port = server.port.to_string();
    for code in 1..=16_u32 {
        let capture = Capture::of_port(server.port);
        let options = ["-count", "5", "-code", &code.to_string(), "-message", MESSAGE, &port];
        let report = report("grpc-client", &[&options[..], &["fail", "fail-late"]].concat());
        let recording = capture.stop();
        recording.assert_complete();
        assert_calls(&recording, &report, Protocol::Grpc);
        assert_eq!(recording.requests.len(), 10);
        for seen in &recording.requests {
            assert_eq!(
                (seen.rpc_status, seen.rpc_message.as_deref()),
                (Some(code), Some(MESSAGE)),
                "{seen:?}"
            );
        }
    }
}

#[test]
fn a_method_that_does_not_exist_is_unimplemented() {
    let options = ["-count", "10"];
    let Some((recording, report)) = recorded(Kind::Grpc, "grpc-client", &options, &["unknown"]) else {
        return;
    };
    assert_eq!(recording.requests.len(), 10);
    for seen in &recording.requests {
        assert_eq!(grpc(seen), Some(("Unknown".to_owned(), 12)), "{seen:?}");
    }
    // The server may end the call before it has read the message.
    assert_eq!((report.len(), report[0].requests, report[0].status), (1, 10, 12));
}

#[test]
fn cancelled_calls_have_no_status() {
    let options = ["-count", "20", "-concurrency", "5"];
    let Some((recording, report)) = recorded(Kind::Grpc, "grpc-client", &options, &["cancel"]) else {
        return;
    };
    assert_eq!((report.len(), report[0].status, report[0].requests), (1, 1, 20));
    assert_eq!(recording.requests.len(), 20);
    for seen in &recording.requests {
        assert_eq!(seen.rpc_method.as_deref(), Some("Sleep"), "{seen:?}");
        assert_eq!(
            (seen.end_reason, seen.status, seen.rpc_status),
            (EndReason::Reset, None, None),
            "{seen:?}"
        );
        assert_eq!((seen.request_messages, seen.response_messages), (Some(1), Some(0)), "{seen:?}");
    }
}

#[test]
fn cancelled_streams_keep_what_was_seen() {
    let options = ["-count", "20", "-concurrency", "5", "-messages", "7"];
    let Some((recording, report)) = recorded(Kind::Grpc, "grpc-client", &options, &["cancel-late"]) else {
        return;
    };
    assert_eq!((report.len(), report[0].status, report[0].received), (1, 1, 140));
    assert_eq!(recording.requests.len(), 20);
    for seen in &recording.requests {
        assert_eq!(seen.rpc_method.as_deref(), Some("Wait"), "{seen:?}");
        assert_eq!((seen.end_reason, seen.status), (EndReason::Reset, Some(200)), "{seen:?}");
        assert_eq!((seen.rpc_status, seen.response_messages), (None, Some(7)), "{seen:?}");
    }
}

#[test]
fn calls_past_their_deadline_end() {
    let options = ["-count", "20", "-concurrency", "5"];
    let Some((recording, report)) = recorded(Kind::Grpc, "grpc-client", &options, &["deadline"]) else {
        return;
    };
    assert_eq!((report.len(), report[0].status, report[0].requests), (1, 4, 20));
    assert_eq!(recording.requests.len(), 20);
    for seen in &recording.requests {
        assert_eq!(seen.rpc_method.as_deref(), Some("Sleep"), "{seen:?}");
        // Both sides have a clock: the server answers, or the client resets the stream before. The
        // client ends with its last call, so that its connection may close before the reset is read.
        match seen.end_reason {
            EndReason::Response => assert_eq!(seen.rpc_status, Some(4), "{seen:?}"),
            EndReason::Reset => assert!(matches!(seen.rpc_status, None | Some(4)), "{seen:?}"),
            EndReason::Closed => assert_eq!(seen.rpc_status, None, "{seen:?}"),
            _ => panic!("{seen:?}"),
        }
        let lasted = seen.ended_ns - seen.start_ns;
        assert!((30_000_000..2_000_000_000).contains(&lasted), "{seen:?}");
    }
}

#[test]
fn a_client_s_calls_are_what_it_counted() {
    let Some(_turn) = turn(Machine::Alone, stacks::PROGRAMS) else { return };
    let server = Server::start(Kind::Grpc);
    let folder = crate::folder();
    let printed = folder.path().join("report");
    let redirect = format!("exec \"$0\" \"$@\" > {}", printed.display());
    let client = program("grpc-client");
    let command = ["--", "timeout", "60", "sh", "-c", &redirect, client.to_str().unwrap()];
    let options = ["-count", "100", "-concurrency", "20", &server.port.to_string()];
    let kinds = ["unary", "server-stream", "client-stream", "bidi", "fail", "fail-late"];
    let recording = Capture::start(&[&command[..], &options, &kinds].concat()).wait();
    assert_eq!(recording.code, Some(0), "{}", recording.stderr);
    recording.assert_complete();
    let report = lines(&std::fs::read_to_string(printed).unwrap());
    assert_calls(&recording, &report, Protocol::Grpc);
    assert_eq!(recording.requests.len(), 600);
    assert!(recording.requests.iter().all(|seen| seen.kind == Side::Client));
}

/// By connect-go, on both sides.
fn calls_by_connect(options: &[&str], protocol: Protocol) {
    let options = [&["-count", "50", "-concurrency", "5"], options].concat();
    let kinds = ["unary", "server-stream", "fail", "fail-late"];
    let Some((recording, report)) = recorded(Kind::Connect, "connect-client", &options, &kinds) else {
        return;
    };
    assert_eq!(recording.requests.len(), 200, "{:?}", recording.stats);
    assert_calls(&recording, &report, protocol);
    let failed = recording.requests.iter().filter(|seen| seen.rpc_status == Some(5));
    let said: Vec<_> = failed.map(|seen| seen.rpc_message.as_deref()).collect();
    assert_eq!(said, [Some("no such product: 50% off, löst"); 100]);
}

#[test]
fn grpc_web_over_http1() {
    calls_by_connect(&["-protocol", "grpc-web"], Protocol::GrpcWeb);
}

#[test]
fn grpc_web_over_http2() {
    calls_by_connect(&["-protocol", "grpc-web", "-http2"], Protocol::GrpcWeb);
}

#[test]
fn grpc_by_another_stack() {
    calls_by_connect(&["-protocol", "grpc", "-http2"], Protocol::Grpc);
}
