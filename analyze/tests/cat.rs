//! Events as lines: safe for a terminal, and each of them once while a capture goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
};

use beyla_schema::{
    event::{Body, Call, Data, Direction, Event, Origin, Process, Source},
    file::{EventReader, JournaledWriter, Metadata, Names, Projection},
};
use common::{Capture, MS, analyze, run, stdout};

#[test]
fn events_are_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut capture = Capture::new(path, "run.parquet");
    capture.process("shop");
    capture.serve(MS, 7, "/cart", 200, 2 * MS);
    capture.serve(5 * MS, 8, "/pay", 500, 2 * MS);
    capture.loss("ring_full", 0);
    capture.end();
    let time = |ms: u32| format!("2026-01-05T10:00:00.{ms:03}000000Z");
    let expected = [
        format!("{}  shop(17)  process found /usr/bin/shop of 1", time(0)),
        format!("{}  shop(17)  7  accept tcp 10.0.0.1:8080 10.0.0.2:5000", time(1)),
        format!(r"{}  shop(17)  7  <- read 34 GET /cart HTTP/1.1\r\nHost: shop\r\n\r\n", time(1)),
        format!(r"{}  shop(17)  7  -> write 39 HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok", time(3)),
        format!("{}  -  7  close received 34 sent 39", time(3)),
    ];
    let text = stdout(path, &["cat", "run.parquet"]);
    assert_eq!(text.lines().take(5).collect::<Vec<_>>(), expected);
    assert!(
        text.ends_with("  -  loss ring_full 0\n2026-01-05T10:00:00.007000000Z  -  end signal\n"),
        "{text}"
    );

    let text = stdout(path, &["cat", "run.parquet", "--connection", "8", "--kind", "data", "--bytes", "5"]);
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains("<- read 33 GET /…\n"), "{text}");
    assert_eq!(stdout(path, &["cat", "run.parquet", "--pid", "18"]), "");

    let mut bytes = fs::read(path.join("run.parquet")).unwrap();
    bytes[4..100].fill(0x5a);
    fs::write(path.join("damaged.parquet"), bytes).unwrap();
    let ran = run(path, &["cat", "damaged.parquet"]);
    assert!(ran.code == 2 && ran.stderr.starts_with("beyla-analyze: damaged.parquet: "), "{ran:?}");

    let objects = stdout(path, &["cat", "run.parquet", "--format", "ndjson"]);
    let events = ["run.parquet", "--sql", "select * exclude (file, host) from events", "--format", "ndjson"];
    assert_eq!(objects, stdout(path, &events));
}

#[test]
fn nothing_that_was_captured_reaches_the_terminal_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut capture = Capture::new(path, "run.parquet");
    let process =
        Process { service: "a\u{1b}[2J\u{9b}b", command_line: "x\ny\u{202e}z", ..Process::default() };
    capture.event(0, 0, Body::Process(process));
    capture.open(0, 1, Origin::Accept);
    let all: Vec<u8> = (0..=255).collect();
    capture.data(0, 1, Direction::Receive, 0, &all);
    capture.end();
    for colour in ["always", "never"] {
        let ran = run(path, &["cat", "run.parquet", "--bytes", "256", "--color", colour]);
        assert_eq!((ran.code, ran.stdout.lines().count()), (0, 4), "{ran:?}");
        let mut text = ran.stdout;
        for style in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[36m"] {
            text = text.replace(style, "");
        }
        let printable = |char: char| char == '\n' || (' '..='~').contains(&char);
        assert!(text.chars().all(printable), "{colour}: {text:?}");
        assert!(text.contains(r"\x00\x01") && text.contains(r"\xfe\xff"), "{text}");
    }
}

/// A capture that goes on: what the recorder has open.
struct Recorder {
    names: Names,
    metadata: Metadata,
    writer: JournaledWriter,
    /// Holds the lock that says that it is written.
    lock: File,
    rows: u64,
}

impl Recorder {
    fn begin(folder: &Path) -> Self {
        let path = folder.join("begun.parquet");
        Capture::new(folder, "begun.parquet").end();
        let reader = EventReader::open(File::open(&path).unwrap(), Projection::All).unwrap();
        let metadata = reader.metadata().clone();
        let names = Names::of(&folder.join("run.parquet"));
        let partial = File::create(&names.partial).unwrap();
        partial.try_lock().unwrap();
        let lock = partial.try_clone().unwrap();
        let journal = File::create(&names.journal).unwrap();
        let mut writer = JournaledWriter::create(partial, journal, metadata.clone()).unwrap();
        writer.set_group_rows(100);
        Self { names, metadata, writer, lock, rows: 0 }
    }

    fn push(&mut self, body: Body<'_>) {
        let (ts_ns, seq) = (self.rows * MS, self.rows);
        let event = Event { ts_ns, cpu: 0, seq, pid: 17, tid: 17, connection: 1, carried: false, body };
        self.writer.push(&event).unwrap();
        self.rows += 1;
    }

    fn record(&mut self, rows: u64) {
        for _ in 0..rows {
            let data = Data {
                direction: Direction::Receive,
                source: Source::Socket,
                call: Call::Read,
                position: self.rows * 4,
                ready_ns: None,
                goroutine: 0,
                length: 4,
                payload: b"ping",
                tail: b"",
            };
            self.push(Body::Data(data));
        }
        self.writer.commit().unwrap();
    }

    /// Ends the capture and moves its file to its place, as the recorder does.
    fn end(mut self) {
        self.push(Body::End("signal"));
        self.writer.finish(&self.metadata).unwrap();
        fs::rename(&self.names.partial, &self.names.path).unwrap();
        fs::remove_file(&self.names.journal).unwrap();
        drop(self.lock);
    }
}

/// `cat --follow`, and the lines it has written.
struct Followed {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    read: u64,
}

impl Followed {
    fn begin(folder: &Path) -> Self {
        let mut command = analyze(folder);
        command.args(["cat", "run.parquet", "--follow", "--format", "ndjson"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, read: 0 }
    }

    /// The next lines are the events from the last one read to `rows`.
    fn expect(&mut self, rows: u64) {
        while self.read < rows {
            let line = self.lines.next().unwrap().unwrap();
            let row: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(row["seq"], self.read, "{line}");
            self.read += 1;
        }
    }

    /// There are no more lines. What was said on stderr.
    fn ended(mut self) -> String {
        assert!(self.lines.next().is_none());
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{said}");
        said
    }
}

#[test]
fn a_capture_is_followed_until_it_ends_and_every_event_is_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::begin(folder.path());
    recorder.record(30);
    let mut followed = Followed::begin(folder.path());
    followed.expect(30);
    // Within a journal, over the ends of row groups, and several of them at once.
    for rows in [1, 20, 60, 5, 100, 350, 3] {
        recorder.record(rows);
        followed.expect(recorder.rows);
    }
    recorder.record(7);
    let rows = recorder.rows;
    recorder.end();
    followed.expect(rows + 1);
    assert_eq!(followed.ended(), "");

    // A finished file is shown and not waited for.
    let mut followed = Followed::begin(folder.path());
    followed.expect(rows + 1);
    assert_eq!(followed.ended(), "");
}

#[test]
fn a_capture_that_was_killed_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::begin(folder.path());
    recorder.record(150);
    let mut followed = Followed::begin(folder.path());
    followed.expect(150);
    recorder.record(2);
    drop(recorder);
    followed.expect(152);
    let said = followed.ended();
    assert!(said.contains("run.parquet: the capture was killed: `beyla-capture recover`"), "{said}");
}

#[test]
fn an_interrupt_ends_it_after_a_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::begin(folder.path());
    recorder.record(50);
    let mut followed = Followed::begin(folder.path());
    followed.expect(50);
    let killed = Command::new("kill").args(["-INT", &followed.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(followed.ended(), "");
}
