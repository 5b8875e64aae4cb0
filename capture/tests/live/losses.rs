//! Losses: whatever makes the recorder lose events, what it has and what it says it lost add up exactly to what the
//! server did.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use beyla_schema::event::{Body, Change, Event, loses_records};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Machine,
    capture::{Capture, PROGRAM, Recording},
    client::connect,
    folder,
    server::{Kind, Server},
    turn,
};

/// Connections to the server, and messages that each sends and gets back.
const CONNECTIONS: usize = 4;
const MESSAGES: usize = 5_000;
const MESSAGE: usize = 1000;

/// What the server does for them: it accepts each connection, reads and writes each message with one call, and is told
/// of the end of each direction and of the whole.
const EVENTS: u64 = CONNECTIONS as u64 * (1 + 2 * MESSAGES as u64 + 3);

/// Sends every message when the one before it has come back, and after a pause.
fn talk(port: u16, pause: Duration) {
    let talkers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            thread::spawn(move || {
                let mut stream = connect(([127, 0, 0, 1], port).into());
                let mut message = [b'x'; MESSAGE];
                for _ in 0..MESSAGES {
                    stream.get_mut().write_all(&message).unwrap();
                    stream.read_exact(&mut message).unwrap();
                    thread::sleep(pause);
                }
            })
        })
        .collect();
    for talker in talkers {
        talker.join().unwrap();
    }
}

/// Captures a conversation with a pause after each message; `disturb` may do to the recorder what it likes meanwhile.
fn record(
    pause: Duration,
    command: Command,
    options: &[&str],
    disturb: impl FnOnce(&Capture),
) -> (Recording, Counts) {
    let server = Server::start(Kind::Echo);
    // The connection that tried the server is over before the capture begins.
    thread::sleep(Duration::from_millis(200));
    let port = server.port.to_string();
    let capture = Capture::run_in(folder(), command, &[&["--port", &port], options].concat());
    let talk = thread::spawn(move || talk(server.port, pause));
    disturb(&capture);
    talk.join().unwrap();
    let mut counts = Counts::default();
    let recording = capture.stop_and(|event| counts.add(event));
    eprintln!("{counts:?} {:?}", recording.stats.losses);
    (recording, counts)
}

#[derive(Debug, Default)]
struct Counts {
    /// Rows that the kernel made.
    recorded: u64,
    /// Those of calls that moved bytes.
    calls: u64,
    /// What the kernel says it saw, in the end.
    seen: u64,
}

impl Counts {
    fn add(&mut self, event: &Event<'_>) {
        self.recorded += u64::from(event.cpu != beyla_capture::order::RECORDER);
        match event.body {
            Body::Seen(count) => self.seen = count,
            Body::Data(_) => self.calls += 1,
            _ => {}
        }
    }
}

/// Nothing is missing but what is counted, and that is due to `cause`.
fn assert_adds_up(recording: &Recording, counts: &Counts, cause: &str) {
    let lost: u64 =
        recording.stats.losses.iter().filter(|(cause, _)| loses_records(cause)).map(|(_, count)| count).sum();
    assert!(recording.stats.losses[cause] > 0, "nothing was lost to {cause}: {:?}", recording.stats.losses);
    assert_eq!(counts.seen, EVENTS);
    assert_eq!(counts.recorded + lost, EVENTS);
}

#[test]
fn nothing_is_lost_without_a_reason() {
    let Some(_turn) = turn(Machine::Alone, Kind::Echo.programs()) else { return };
    let (recording, counts) = record(Duration::ZERO, Command::new(PROGRAM), &[], |_| {});
    recording.assert_complete();
    assert_eq!((counts.seen, counts.recorded), (EVENTS, EVENTS));
}

#[test]
fn a_reader_that_is_stopped_for_a_while_loses_what_the_ring_cannot_hold() {
    let Some(_turn) = turn(Machine::Alone, Kind::Echo.programs()) else { return };
    let stop = |capture: &Capture| {
        let pid = Pid::from_raw(capture.pid().cast_signed()).unwrap();
        thread::sleep(Duration::from_millis(50));
        kill_process(pid, Signal::STOP).unwrap();
        thread::sleep(Duration::from_millis(700));
        kill_process(pid, Signal::CONT).unwrap();
    };
    let (recording, counts) = record(Duration::ZERO, Command::new(PROGRAM), &["--ring-size", "4MiB"], stop);
    assert_adds_up(&recording, &counts, "ring_full");
}

#[test]
fn a_tiny_ring_loses_what_it_cannot_hold() {
    let Some(_turn) = turn(Machine::Alone, Kind::Echo.programs()) else { return };
    let (recording, counts) =
        record(Duration::ZERO, Command::new(PROGRAM), &["--ring-size", "64KiB"], |_| {});
    assert_adds_up(&recording, &counts, "ring_full");
}

#[test]
fn a_slow_disk_loses_what_the_recorder_cannot_hold() {
    let Some(_turn) = turn(Machine::Alone, &["python3", "cc"]) else { return };
    let mut command = Command::new(PROGRAM);
    command.env("LD_PRELOAD", slow_disk()).env("SLOW_DISK_MS", "100");
    // So slow a conversation that the ring is full for no other reason.
    let pause = Duration::from_micros(400);
    let (recording, counts) = record(pause, command, &["--ring-size", "4MiB"], |_| {});
    assert_adds_up(&recording, &counts, "writer_behind");
}

#[test]
fn processes_that_a_tiny_table_has_no_room_for_are_counted() {
    let Some(_turn) = turn(Machine::Alone, &["python3", "ab"]) else { return };
    let server = Server::start(Kind::Forking);
    thread::sleep(Duration::from_millis(300));
    let pid = server.pid().to_string();
    let capture = Capture::start(&["--pid", &pid, "--max-targets", "3"]);
    let url = format!("http://127.0.0.1:{}/", server.port);
    let load = Command::new("timeout").args(["60", "ab", "-q", "-r", "-c", "16", "-n", "500", &url]).output();
    assert!(load.unwrap().status.success());
    let (mut accepted, mut started) = (0, 0);
    let recording = capture.stop_and(|event| match event.body {
        Body::Process(process) => started += u64::from(process.change == Some(Change::Start)),
        Body::Open(_) => accepted += 1,
        _ => {}
    });
    // Each connection has a process of its own, with one request: recorded, or the process is counted.
    let lost = recording.stats.losses["targets_full"];
    assert!(lost > 0);
    assert_eq!((started, recording.requests.len() as u64 + lost), (accepted, accepted));
}

#[test]
fn calls_on_connections_that_a_tiny_table_has_no_room_for_are_counted() {
    let Some(_turn) = turn(Machine::Alone, Kind::Echo.programs()) else { return };
    let options = ["--probe", "sys-exit", "--max-connections", "2"];
    let (recording, counts) = record(Duration::ZERO, Command::new(PROGRAM), &options, |_| {});
    let lost: u64 = recording.stats.losses.values().sum();
    assert!(recording.stats.losses["storage_full"] > 0, "{:?}", recording.stats.losses);
    assert_eq!(counts.recorded + lost, counts.seen);
    // Two connections are recorded as if there were no others, until one ends and another takes its place; every call
    // on the others is counted, and so is what else happens to them.
    let calls = CONNECTIONS as u64 * 2 * MESSAGES as u64;
    assert!(counts.calls >= calls / 2);
    let of_others = calls - counts.calls;
    assert!((of_others..of_others + 20).contains(&recording.stats.losses["storage_full"]), "{counts:?}");
}

/// The library that makes a disk slow.
fn slow_disk() -> PathBuf {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("slow_disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/slow_disk.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).status();
    assert!(compiled.unwrap().success());
    library
}
