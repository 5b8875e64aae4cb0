//! Captures built by hand, and the binary run on them.

#![allow(dead_code, unreachable_pub, reason = "every test file has a copy and uses a part of it")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use beyla_schema::{
    event::{
        Body, Call, Close, Data, Direction, Endpoint, Event, Loss, Open, Origin, Process, Source, Transport,
    },
    file::{ClockSample, EventWriter, Host, Metadata, VERSION, Version},
};

pub const MS: u64 = 1_000_000;

/// 2026-01-05 10:00:00 UTC: the wall time of the monotonic zero of every capture here.
const EPOCH_NS: i64 = 1_767_607_200_000_000_000;

/// Events in the making.
pub struct Capture {
    writer: EventWriter<File>,
    path: PathBuf,
    metadata: Metadata,
    /// Rows of CPU 0, and rows that the recorder adds.
    seq: [u64; 2],
    /// Rows of CPU 0, of all parts.
    recorded: u64,
    now: u64,
}

/// The CPU of rows that the recorder adds.
const RECORDER: u16 = u16::MAX;

impl Capture {
    /// An empty capture of host `shop-1`.
    pub fn new(folder: &Path, name: &str) -> Self {
        Self::at(folder, name, ClockSample { monotonic_ns: 0, realtime_ns: EPOCH_NS, boottime_ns: 0 })
    }

    /// The same with another clock.
    pub fn at(folder: &Path, name: &str, clock: ClockSample) -> Self {
        let metadata = Metadata {
            schema_version: VERSION,
            tool_version: "0.1.0".into(),
            capture_id: "00000000000000ff".into(),
            argv: vec!["beyla-capture".into(), "--port".into(), "8080".into()],
            host: Host {
                name: "shop-1".into(),
                kernel: "6.12.0".into(),
                machine: "x86_64".into(),
                ..Host::default()
            },
            clocks: vec![clock],
            selectors: vec!["port 8080".into()],
            snaplen: 4096,
            ring_bytes: 1 << 24,
            redaction: "none".into(),
            ..Metadata::default()
        };
        let path = folder.join(name);
        let writer = EventWriter::new(File::create(&path).unwrap(), clock.clock()).unwrap();
        Self { writer, path, metadata, seq: [0; 2], recorded: 0, now: 0 }
    }

    /// Ends the file and goes on in another one, as the next part of the capture.
    pub fn rotate(mut self, name: &str) -> Self {
        self.metadata.part.get_or_insert(1);
        let mut next = Self::new(self.path.parent().unwrap(), name);
        (next.seq, next.recorded, next.now) = (self.seq, self.recorded, self.now + 1);
        next.metadata.part = self.metadata.part.map(|part| part + 1);
        self.cut();
        next
    }

    /// Changes what the file says about itself.
    pub fn describe(mut self, change: impl FnOnce(&mut Metadata)) -> Self {
        change(&mut self.metadata);
        self
    }

    pub fn host(mut self, name: &str) -> Self {
        self.metadata.host.name = name.into();
        self
    }

    pub fn version(mut self, version: Version) -> Self {
        self.metadata.schema_version = version;
        self
    }

    pub fn event(&mut self, at: u64, connection: u64, body: Body<'_>) {
        self.row(at, 0, connection, false, body);
    }

    /// A row repeated from an earlier part, or added by the recorder.
    pub fn add(&mut self, connection: u64, carried: bool, body: Body<'_>) {
        self.row(self.now, RECORDER, connection, carried, body);
    }

    fn row(&mut self, at: u64, cpu: u16, connection: u64, carried: bool, body: Body<'_>) {
        assert!(at >= self.now, "events must be in order");
        self.now = at;
        let seq = &mut self.seq[usize::from(cpu == RECORDER)];
        let pid = match body {
            Body::Loss(_) | Body::Seen(_) | Body::End(_) | Body::Close(_) => 0,
            _ => 17,
        };
        let event = Event { ts_ns: at, cpu, seq: *seq, pid, tid: pid, connection, carried, body };
        *seq += 1;
        self.recorded += u64::from(cpu != RECORDER);
        self.writer.push(&event).unwrap();
    }

    /// So many records of CPU 0 are lost.
    pub fn lose(&mut self, records: u64) {
        self.seq[0] += records;
    }

    /// CPU 0 numbers its records from 0 again.
    pub fn restart_numbers(&mut self) {
        self.seq[0] = 0;
    }

    /// The next rows may have earlier times.
    pub fn back_to(&mut self, at: u64) {
        self.now = at;
    }

    /// A process called `service`.
    pub fn process(&mut self, service: &str) {
        let process = Process { parent: 1, executable: "/usr/bin/shop", service, ..Process::default() };
        self.event(self.now, 0, Body::Process(process));
    }

    pub fn open(&mut self, at: u64, connection: u64, origin: Origin) {
        let open = Self::endpoints(origin);
        self.event(at, connection, Body::Open(open));
    }

    /// An `open` row, repeated from an earlier part.
    pub fn carry_open(&mut self, connection: u64, origin: Origin) {
        self.add(connection, true, Body::Open(Self::endpoints(origin)));
    }

    fn endpoints(origin: Origin) -> Open<'static> {
        let (here, there) = ("10.0.0.1", "10.0.0.2");
        let (local, remote) = match origin {
            Origin::Connect => (format!("{here}:40000"), format!("{there}:9000")),
            _ => (format!("{here}:8080"), format!("{there}:5000")),
        };
        let end = |address: String| Endpoint::Inet(address.parse().unwrap());
        Open { origin, transport: Transport::Tcp, local: end(local), remote: end(remote) }
    }

    pub fn data(&mut self, at: u64, connection: u64, direction: Direction, position: u64, payload: &[u8]) {
        let call = if direction == Direction::Receive { Call::Read } else { Call::Write };
        let data = Data {
            direction,
            source: Source::Socket,
            call,
            position,
            ready_ns: None,
            goroutine: 0,
            length: payload.len() as u32,
            payload,
            tail: b"",
        };
        self.event(at, connection, Body::Data(data));
    }

    /// A connection that serves one request, and closes.
    pub fn serve(&mut self, at: u64, connection: u64, path: &str, status: u16, took: u64) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n");
        let response = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
        self.open(at, connection, Origin::Accept);
        self.data(at, connection, Direction::Receive, 0, request.as_bytes());
        self.data(at + took, connection, Direction::Send, 0, response.as_bytes());
        let (received, sent) = (request.len() as u64, response.len() as u64);
        self.event(at + took, connection, Body::Close(Close { direction: None, received, sent }));
    }

    /// A connection that makes one request, and closes.
    pub fn call(&mut self, at: u64, connection: u64, path: &str, status: u16, took: u64) {
        let request = format!("POST {path} HTTP/1.1\r\nHost: bank\r\nContent-Length: 3\r\n\r\nabc");
        let response = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        self.open(at, connection, Origin::Connect);
        self.data(at, connection, Direction::Send, 0, request.as_bytes());
        self.data(at + took, connection, Direction::Receive, 0, response.as_bytes());
        let (received, sent) = (response.len() as u64, request.len() as u64);
        self.event(at + took, connection, Body::Close(Close { direction: None, received, sent }));
    }

    pub fn loss(&mut self, cause: &str, count: u64) {
        self.add(0, false, Body::Loss(Loss { cause, count }));
    }

    /// The kernel programs saw what was recorded so far, and so many events that were lost.
    pub fn seen(&mut self, lost: u64) {
        self.add(0, false, Body::Seen(self.recorded + lost));
    }

    /// Ends the capture cleanly.
    pub fn end(mut self) -> PathBuf {
        self.add(0, false, Body::End("signal"));
        self.cut()
    }

    /// Ends the file without the row that says the capture ended.
    pub fn cut(mut self) -> PathBuf {
        self.writer.finish(&self.metadata).unwrap();
        self.path
    }
}

/// Ten requests to three routes, one of them failed, and two calls of another service.
pub fn shop(folder: &Path, name: &str) -> PathBuf {
    let mut capture = Capture::new(folder, name);
    capture.process("shop");
    for number in 0..8 {
        capture.serve(number * 100 * MS, number + 1, "/cart?id=1", 200, (number + 1) * MS);
    }
    capture.serve(800 * MS, 9, "/pay", 500, 50 * MS);
    capture.serve(900 * MS, 10, "/gone", 404, 456_000);
    capture.call(950 * MS, 11, "/charge", 200, 20 * MS);
    capture.call(980 * MS, 12, "/charge", 402, 20 * MS);
    capture.loss("ring_full", 0);
    capture.end()
}

/// The binary, in `folder`.
pub fn analyze(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_beyla-analyze"));
    command.current_dir(folder).stdin(Stdio::null()).env("NO_COLOR", "1");
    command
}

/// What a run of the binary did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by a signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs the binary in `folder` with `arguments`.
pub fn run(folder: &Path, arguments: &[&str]) -> Ran {
    analyze(folder).args(arguments).output().unwrap().into()
}

/// The same, and it must succeed with nothing to complain about.
pub fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let ran = run(folder, arguments);
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{arguments:?}\n{}", ran.stdout);
    ran.stdout
}

/// The same, with `input` on stdin.
pub fn run_with(folder: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut child = analyze(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}
