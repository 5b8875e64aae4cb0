//! What is shown live, when who reads it does not keep up, or goes away.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Machine,
    capture::{PROGRAM, Recording},
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
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
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
