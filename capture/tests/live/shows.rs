//! What is shown live, when who reads it does not keep up, or goes away.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Machine,
    capture::{Capture, PROGRAM, Recording},
    client::Client,
    folder,
    server::{Kind, Server},
    turn, wait_for,
};

/// Starts a capture whose standard output nobody reads yet, and waits until it records.
fn start(arguments: &[&str]) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "-k", "5", "90", PROGRAM, "--print-traces"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("recording ") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it does not record");
    }
    (child, said)
}

#[test]
fn a_reader_that_is_slow_costs_the_file_nothing() {
    let Some(_turn) = turn(Machine::Alone, &["go"]) else { return };
    let server = Server::start(Kind::Go);
    let folder = folder();
    let file = folder.path().join("run.parquet");
    let (mut capture, mut said) = start(&["--port", &server.port.to_string(), "-o", file.to_str().unwrap()]);
    let mut client = Client::new(server.port);
    // More lines than a pipe holds, and then more bytes than may wait.
    (0..2000).for_each(|_| client.ask("GET", "/hello"));
    (0..4000).for_each(|_| client.ask("GET", "/big?size=16000"));
    kill_process(Pid::from_child(&capture), Signal::INT).unwrap();
    let status = wait_for("the end of the capture", || capture.try_wait().unwrap());
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    assert!(status.success(), "{text}");
    assert!(text.contains("incomplete"), "{text}");
    let recording = Recording::read(&file);
    assert!(recording.stats.losses.values().all(|&lost| lost == 0), "{:?}", recording.stats);
    assert_eq!(recording.requests.len(), 6000);
}

#[test]
fn a_reader_that_goes_away_ends_a_capture_that_nobody_else_sees() {
    let Some(_turn) = turn(Machine::Shared, &["go"]) else { return };
    let server = Server::start(Kind::Go);
    let (mut capture, _said) = start(&["--port", &server.port.to_string()]);
    let mut client = Client::new(server.port);
    client.ask("GET", "/first");
    let mut traces = BufReader::new(capture.stdout.take().unwrap());
    let mut line = String::new();
    traces.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 GET /first "), "{line}");
    drop(traces);
    let status = wait_for("the end of the capture", || {
        client.ask("GET", "/again");
        thread::sleep(Duration::from_millis(50));
        capture.try_wait().unwrap()
    });
    assert!(status.success(), "{status}");
}

#[test]
fn a_place_for_metrics_that_is_taken_is_said() {
    let Some(_turn) = turn(Machine::Shared, &[]) else { return };
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = folder();
    let mut command = Command::new(PROGRAM);
    command.args(["--pid", &std::process::id().to_string(), "--prometheus-port", &port]);
    let output = command.arg("-o").arg(folder.path().join("x.parquet")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains(&port) && text.contains("--prometheus-port"), "{text}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// What a receiver of OTLP was sent: paths and bodies.
type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Takes whatever is posted, for as long as the test lives.
fn receiver() -> (u16, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = Received::default();
    let all = Arc::clone(&received);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, received) = (stream.unwrap(), Arc::clone(&all));
            thread::spawn(move || receive(&stream, &received));
        }
    });
    (port, received)
}

fn receive(stream: &TcpStream, received: &Received) {
    let mut reader = BufReader::new(stream);
    let line = |reader: &mut BufReader<_>| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    loop {
        let request = line(&mut reader);
        let Some(path) = request.split(' ').nth(1) else { return };
        let mut length = 0;
        loop {
            let field = line(&mut reader).to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        received.lock().unwrap().push((path.to_owned(), body));
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

#[test]
fn spans_and_metrics_reach_a_receiver() {
    const REQUESTS: u64 = 3;
    let kind = Kind::Slow { accept_ms: 50, read_ms: 30 };
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let server = Server::start(kind);
    let (port, received) = receiver();
    let endpoint = format!("http://127.0.0.1:{port}");
    let capture = Capture::start(&["--port", &server.port.to_string(), "--otlp-endpoint", &endpoint]);
    let mut client = Client::new(server.port);
    (0..REQUESTS).for_each(|_| client.ask("GET", "/hello"));
    drop(client);
    let recording = capture.stop();
    assert_eq!(recording.requests.len() as u64, REQUESTS);
    let metrics = fs::read_to_string(recording.folder.as_ref().unwrap().path().join("metrics.prom")).unwrap();
    assert!(metrics.contains("beyla_otel_trace_export_errors_total 0\n"), "{metrics}");

    let received = received.lock().unwrap();
    let bodies = |path: &str| -> Vec<u8> {
        received.iter().filter(|(to, _)| to == path).flat_map(|(_, body)| body.clone()).collect()
    };
    let count =
        |body: &[u8], text: &str| body.windows(text.len()).filter(|at| *at == text.as_bytes()).count();
    let (spans, series) = (bodies("/v1/traces"), bodies("/v1/metrics"));
    // Every request waited for the server, and is three spans.
    for name in ["GET /hello", "in queue", "processing"] {
        assert_eq!(count(&spans, name) as u64, REQUESTS, "{name}");
    }
    assert!(count(&series, "http.server.request.duration") > 0 && count(&series, "service.name") > 0);
}

#[test]
fn a_table_is_drawn_on_a_terminal_until_it_is_quit() {
    let Some(_turn) = turn(Machine::Shared, &["go", "script"]) else { return };
    let server = Server::start(Kind::Go);
    let folder = folder();
    // The terminal has no size of its own.
    let command = format!("stty cols 120 rows 30; exec {PROGRAM} --top --port {}", server.port);
    let screen = folder.path().join("screen");
    let mut script = Command::new("timeout");
    script.args(["-k", "5", "60", "script", "--quiet", "--flush", "--return", "--command", &command]);
    script.arg(&screen).env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut script = script.spawn().unwrap();
    let shown = || String::from_utf8_lossy(&fs::read(&screen).unwrap_or_default()).into_owned();
    let mut client = Client::new(server.port);
    wait_for("the table", || {
        client.ask("GET", "/users/17?status=500");
        thread::sleep(Duration::from_millis(20));
        shown().contains("/users/*").then_some(())
    });
    script.stdin.take().unwrap().write_all(b"q").unwrap();
    let status = wait_for("the end of the capture", || script.try_wait().unwrap());
    assert!(status.success(), "{status}: {}", shown());
    // The terminal is given back before the last words.
    let text = shown();
    let (_, after) = text.rsplit_once("\u{1b}[?1049l").unwrap_or_else(|| panic!("{text}"));
    assert!(after.contains("recorded ") && after.contains("lost     0"), "{after}");
}
