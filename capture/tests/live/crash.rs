//! Captures that are killed at any moment, under load: what could be read stays readable, nothing is twice,
//! and no request is missing that was answered well before.
//!
//! `BEYLA_CRASHES` says how many captures are killed, `BEYLA_CRASH_SEED` which one is the first: what fails is
//! repeated with the seed it names.

use std::{
    collections::{BTreeSet, HashMap},
    env,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use beyla_schema::{
    event::{Body, Event, Loss},
    file::{EventReader, Names, Projection},
};

use beyla_capture::order::RECORDER;

use crate::{
    Machine, Noise,
    capture::{Capture, PROGRAM, Recording, parts},
    client::{Client, Sent},
    now_ns,
    server::{Kind, Server},
    turn,
};

/// What happened no longer than this before the end may not be written down yet. A machine that has more to do
/// than it can leaves the recorder behind, so this holds for most crashes; that nothing is missing of what
/// happened before the last row holds for all.
const IN_FLIGHT: Duration = Duration::from_millis(500);

type Key = (u64, u16, u64);

/// What a file has, and how much of it is in the journal.
#[derive(Default)]
struct Rows {
    /// In their order, so that none is twice.
    keys: Vec<Key>,
    closed: u64,
    journalled: u64,
    /// Records that the kernel made and could not hand over: numbers that are missing on a CPU.
    lost: u64,
}

impl Rows {
    /// Reads what is there. No row is twice, and what a connection moved has no hole.
    fn read(path: &Path) -> Self {
        Self::of(EventReader::open_path(path, Projection::Pairing).unwrap())
    }

    fn of(reader: EventReader) -> Self {
        Self::of_all([reader])
    }

    /// Reads files one after the other.
    fn of_all(readers: impl IntoIterator<Item = EventReader>) -> Self {
        let mut rows = Self::default();
        let (mut positions, mut numbers) = (HashMap::new(), HashMap::new());
        let mut each = |event: &Event<'_>| {
            let key = (event.ts_ns, event.cpu, event.seq);
            assert!(
                rows.keys.last().is_none_or(|last| *last < key),
                "{key:?} is there twice, or out of order"
            );
            rows.keys.push(key);
            if event.cpu != RECORDER {
                let before = numbers.insert(event.cpu, event.seq);
                rows.lost += before.map_or(0, |before| event.seq - before - 1);
            }
            // A loss that was counted by then is the kernel's, not ours.
            if let (Body::Loss(Loss { cause: "ring_full", count }), false) = (event.body, event.carried) {
                assert!(rows.lost <= count, "{} records are missing, {count} were lost", rows.lost);
            }
            if let Body::Data(data) = event.body {
                let end = data.position + u64::from(data.length);
                let before = positions.insert((event.connection, data.direction), end);
                let follows = before.is_none_or(|before| before == data.position);
                assert!(follows || rows.lost > 0, "{before:?}, then {event:?}");
            }
        };
        let (mut closed, mut journalled) = (0, 0);
        for mut reader in readers {
            journalled += reader.rows_in_journal();
            closed += reader.rows() - reader.rows_in_journal();
            while reader.next_batch(&mut each).unwrap().is_some() {}
        }
        assert_eq!(rows.keys.len() as u64, closed + journalled);
        Self { closed, journalled, ..rows }
    }
}

/// A process that is ended with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a crash left.
struct Crash {
    left: Rows,
    /// Time between the last row and the end.
    lag: Duration,
}

/// Records `server` under load, kills the capture, and recovers what it left.
fn crash(server: &Server, seed: u64) -> Crash {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        noise.next();
    }
    let wait = Duration::from_millis(100 + noise.next() % 1400);
    // From many closed row groups to none.
    let group_rows = 200 << (noise.next() % 10);
    eprintln!("crash {seed}: after {wait:?}, row groups of {group_rows}");
    let url = format!("http://127.0.0.1:{}/index.html", server.port);
    // Load that leaves the machine to whoever else needs it.
    let mut wrk = Command::new("nice");
    let wrk =
        wrk.args(["-n", "19", "wrk", "-t1", "-c2", "-d10", &url]).stdout(Stdio::null()).spawn().unwrap();
    let _wrk = Running(wrk);
    let environment = [("BEYLA_TEST_GROUP_ROWS", group_rows.to_string())];
    let port = server.port.to_string();
    let capture = Capture::start_with(&environment, &["--port", &port, "--ring-size", "64MiB"]);
    let path = capture.path();
    let done = AtomicBool::new(false);
    let (killed_ns, before, folder, sent) = thread::scope(|scope| {
        let client = scope.spawn(|| ask(server.port, seed, &done));
        thread::sleep(wait);
        // It has what there is now, and takes its time to decode it later.
        let before = EventReader::open_path(&path, Projection::Pairing).unwrap();
        let killed_ns = now_ns();
        let folder = capture.kill();
        done.store(true, Ordering::Relaxed);
        (killed_ns, before, folder, client.join().unwrap())
    });

    let names = Names::of(&path);
    assert!(names.partial.exists() && names.journal.exists() && !path.exists());
    let (before, left) = (Rows::of(before), Rows::read(&path));
    assert!(left.keys.starts_with(&before.keys), "what could be read cannot be any more");
    let recovered = Command::new(PROGRAM).arg("recover").arg(&path).output().unwrap();
    let said = String::from_utf8(recovered.stderr).unwrap();
    assert!(recovered.status.success(), "{said}");
    let nothing = left.keys.is_empty() && said.contains("had recorded nothing yet");
    assert!(nothing || said.contains("did not end properly: events after 20"), "{said}");
    assert!(path.exists() && !names.partial.exists() && !names.journal.exists());
    assert!(!EventReader::open_path(&path, Projection::All).unwrap().unfinished());
    assert_eq!(Rows::read(&path).keys, left.keys);

    let recording = Recording::read(&path);
    let metadata = recording.metadata.as_ref().unwrap();
    assert!(metadata.recovered && metadata.late_rows == 0 && recording.stats.end.is_none());
    let requests: BTreeSet<_> =
        recording.requests.iter().map(|seen| (&seen.target, seen.client, seen.status)).collect();
    let last_ns = left.keys.last().map_or(0, |key| key.0);
    let lag = Duration::from_nanos(killed_ns.saturating_sub(last_ns));
    for sent in sent.iter().filter(|sent| left.lost == 0 && sent.time.1 < last_ns) {
        let wanted = (&Some(sent.target.clone()), sent.client, Some(sent.status));
        assert!(requests.contains(&wanted), "{sent:?} is missing");
    }
    validate(&path);
    drop(folder);
    let Rows { closed, journalled, lost, .. } = left;
    eprintln!("  {closed} events of row groups, {journalled} of the journal, {lost} lost, lag {lag:?}");
    Crash { left, lag }
}

/// Asks for one thing after the other, each with a name of its own.
fn ask(port: u16, seed: u64, done: &AtomicBool) -> Vec<Sent> {
    let mut client = Client::new(port);
    let mut number = 0;
    while !done.load(Ordering::Relaxed) {
        client.ask("GET", &format!("/index.html?{seed}-{number}"));
        number += 1;
        if number % 20 == 0 {
            client.hang_up();
        }
        thread::sleep(Duration::from_millis(2));
    }
    client.take_sent()
}

/// Has the analyzer check the file.
fn validate(path: &Path) {
    let analyze = Path::new(PROGRAM).with_file_name("beyla-analyze");
    let checked = Command::new(analyze).arg("validate").arg(path).output();
    let checked = checked.expect("beyla-analyze is built with `cargo build --bins`");
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn a_crash_at_any_moment_loses_nothing_that_was_written_down() {
    let Some(_turn) = turn(Machine::Alone, &["nginx", "wrk"]) else { return };
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let (first, count) = (number("BEYLA_CRASH_SEED").unwrap_or(1), number("BEYLA_CRASHES").unwrap_or(10));
    let (mut with_groups, mut with_tail, mut lossy, mut events, mut lags) = (0, 0, 0, 0, Vec::new());
    let mut server = None;
    for (run, seed) in (0..count).zip(first..) {
        // A server's time is bounded.
        if run % 20 == 0 {
            server = None;
        }
        let Crash { left, lag } = crash(server.get_or_insert_with(|| Server::start(Kind::Nginx)), seed);
        with_groups += u64::from(left.closed > 0);
        with_tail += u64::from(left.journalled > 0);
        lossy += u64::from(left.lost > 0);
        events += left.keys.len();
        lags.push(lag);
    }
    lags.sort();
    let (median, longest) = (lags[lags.len() / 2], lags[lags.len() - 1]);
    eprintln!("{count} crashes: {events} events, row groups in {with_groups}, a journal in {with_tail}");
    eprintln!("lag: median {median:?}, at most {longest:?}; the ring was full in {lossy}");
    // What is checked of the others must not be an exception.
    assert!(lossy * 5 <= count, "the machine is too busy: the ring was full in {lossy} of {count}");
    assert!(median < IN_FLIGHT, "{lags:?}");
    assert!(count < 10 || (with_groups > 0 && with_tail > 0));
}

/// Kills a capture in parts, and recovers the part that was being written.
fn crash_in_parts(server: &Server, wait: Duration) {
    let wrk =
        ["-n", "19", "wrk", "-t1", "-c2", "-d10", &format!("http://127.0.0.1:{}/index.html", server.port)];
    let _wrk = Running(Command::new("nice").args(wrk).stdout(Stdio::null()).spawn().unwrap());
    let environment = [("BEYLA_TEST_GROUP_ROWS", "5000".to_owned())];
    let options = ["--port", &server.port.to_string(), "--ring-size", "64MiB", "--rotate", "1s"];
    let capture = Capture::start_with(&environment, &options);
    let path = capture.path();
    thread::sleep(wait);
    let folder = capture.kill();
    let recovered = Command::new(PROGRAM).arg("recover").arg(&path).output().unwrap();
    let said = String::from_utf8(recovered.stderr).unwrap();
    assert!(recovered.status.success(), "{said}");
    let files = parts(folder.path());
    let readers = files.iter().map(|file| EventReader::open_path(file, Projection::Pairing).unwrap());
    let readers: Vec<_> = readers.collect();
    for (number, reader) in (1..).zip(&readers) {
        assert_eq!((reader.metadata().part, reader.unfinished()), (Some(number), false), "{files:?}");
    }
    assert!(readers.len() > 1 && readers.last().is_some_and(|last| last.metadata().recovered), "{files:?}");
    let (parts, rows) = (readers.len(), Rows::of_all(readers));
    eprintln!("after {wait:?}: {parts} parts, {} events, {} lost", rows.closed, rows.lost);
}

#[test]
fn a_crash_leaves_the_parts_that_were_finished_and_the_one_that_was_not() {
    let Some(_turn) = turn(Machine::Alone, &["nginx", "wrk"]) else { return };
    let server = Server::start(Kind::Nginx);
    for wait in [1_150, 2_220, 3_333] {
        crash_in_parts(&server, Duration::from_millis(wait));
    }
}
