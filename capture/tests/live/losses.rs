//! Losses: whatever makes the recorder lose events, what it has and what it says it lost add up exactly to what the
//! server did.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use beyla_schema::event::{Body, Event, loses_records};
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

/// Sends every message when the one before it has come back.
fn talk(port: u16) {
    let talkers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            thread::spawn(move || {
                let mut stream = connect(([127, 0, 0, 1], port).into());
                let mut message = [b'x'; MESSAGE];
                for _ in 0..MESSAGES {
                    stream.get_mut().write_all(&message).unwrap();
                    stream.read_exact(&mut message).unwrap();
                }
            })
        })
        .collect();
    for talker in talkers {
        talker.join().unwrap();
    }
}

/// Captures the conversation; `disturb` may do to the recorder what it likes meanwhile.
fn record(command: Command, options: &[&str], disturb: impl FnOnce(&Capture)) -> (Recording, Counts) {
    let server = Server::start(Kind::Echo);
    // The connection that tried the server is over before the capture begins.
    thread::sleep(Duration::from_millis(200));
    let port = server.port.to_string();
    let capture = Capture::run_in(folder(), command, &[&["--port", &port], options].concat());
    let talk = thread::spawn(move || talk(server.port));
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
    /// What the kernel says it saw, in the end.
    seen: u64,
}

impl Counts {
    fn add(&mut self, event: &Event<'_>) {
        self.recorded += u64::from(event.cpu != beyla_capture::order::RECORDER);
        if let Body::Seen(count) = event.body {
            self.seen = count;
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
    let (recording, counts) = record(Command::new(PROGRAM), &[], |_| {});
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
    let (recording, counts) = record(Command::new(PROGRAM), &["--ring-size", "4MiB"], stop);
    assert_adds_up(&recording, &counts, "ring_full");
}

#[test]
fn a_tiny_ring_loses_what_it_cannot_hold() {
    let Some(_turn) = turn(Machine::Alone, Kind::Echo.programs()) else { return };
    let (recording, counts) = record(Command::new(PROGRAM), &["--ring-size", "64KiB"], |_| {});
    assert_adds_up(&recording, &counts, "ring_full");
}

#[test]
fn a_slow_disk_loses_what_the_recorder_cannot_hold() {
    let Some(_turn) = turn(Machine::Alone, &["python3", "cc"]) else { return };
    let mut command = Command::new(PROGRAM);
    command.env("LD_PRELOAD", slow_disk()).env("SLOW_DISK_MS", "100");
    let (recording, counts) = record(command, &["--ring-size", "1MiB"], |_| {});
    assert_adds_up(&recording, &counts, "writer_behind");
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
