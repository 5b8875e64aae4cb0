//! Real recordings, written as parts, are what they are as one file.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
};

use beyla_engine::{Config, Engine, Sink, Stats};
use beyla_schema::{
    event::{Body, Event},
    file::{ClockSample, EventReader, Metadata, Projection, VERSION, decode, encode},
    request::{EndReason, Request},
};

use super::{Limits, Output, Rotate, Tally, output::part, recorder::Recorder};

fn metadata(tally: Tally) -> Metadata {
    let clocks = vec![ClockSample { monotonic_ns: 0, realtime_ns: 5, boottime_ns: 0 }];
    let capture_id = "00000000000000ab".to_owned();
    Metadata {
        schema_version: VERSION,
        capture_id,
        clocks,
        late_rows: tally.late_rows,
        ..Metadata::default()
    }
}

/// The events of a recording, each as the journal keeps it.
fn recorded(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/{name}/{name}.parquet"));
    let mut reader = EventReader::open(File::open(path).unwrap(), Projection::All).unwrap();
    let mut events = Vec::new();
    let mut each = |event: &Event<'_>| {
        let mut bytes = Vec::new();
        encode(event, &mut bytes);
        events.push(bytes);
    };
    while reader.next_batch(&mut each).unwrap().is_some() {}
    events
}

fn event(bytes: &[u8]) -> Event<'_> {
    decode(&mut &bytes[..]).unwrap()
}

/// Writes the events, with a commit after at least `every` of them. Returns the reason to stop, if there was one.
fn write(path: &Path, limits: Limits, events: &[Vec<u8>], every: usize) -> Option<&'static str> {
    let output = Output::create(path, limits.rotate.is_some(), true).unwrap();
    let mut stopped = None;
    let mut recorder = Recorder::new(output, limits, metadata, |reason| stopped = Some(reason)).unwrap();
    let mut pending = 0;
    for (index, bytes) in events.iter().enumerate() {
        let ts_ns = event(bytes).ts_ns;
        recorder.push(&event(bytes)).unwrap();
        pending += 1;
        // Nothing that comes later may be as early as what was committed.
        if pending >= every && events.get(index + 1).is_none_or(|next| event(next).ts_ns > ts_ns) {
            recorder.commit(ts_ns, 0).unwrap();
            pending = 0;
        }
    }
    recorder.finish(0).unwrap();
    stopped
}

fn parts(path: &Path) -> Vec<PathBuf> {
    super::parts_of(path).into_iter().map(|names| names.path).collect()
}

/// Every request, in words; and those of them that are complete, by what cannot be made up.
#[derive(Default)]
struct Heard {
    all: Vec<String>,
    complete: BTreeSet<String>,
}

impl Sink for Heard {
    fn request(&mut self, request: &Request<'_>) {
        self.all.push(format!("{request:?}"));
        if request.end_reason == EndReason::Response && request.method.is_some() {
            let Request { client, method, path, query, status, start_ns, .. } = request;
            self.complete.insert(format!("{client:?} {method:?} {path:?} {query:?} {status:?} {start_ns:?}"));
        }
    }
}

/// What one engine makes of files, one after the other.
fn replay(files: &[PathBuf]) -> (Heard, Stats) {
    let (mut engine, mut heard) = (Engine::new(Config::default()), Heard::default());
    for file in files {
        let mut reader = EventReader::open_path(file, Projection::Pairing).unwrap();
        assert!(!reader.unfinished());
        while reader.next_batch(|event| engine.push(event, &mut heard)).unwrap().is_some() {}
    }
    engine.finish(&mut heard);
    (heard, engine.stats().clone())
}

#[test]
fn parts_one_after_the_other_are_the_capture() {
    for name in ["go", "nginx", "node", "proxy", "python"] {
        let folder = tempfile::tempdir().unwrap();
        let events = recorded(name);
        let whole = folder.path().join("whole.parquet");
        assert_eq!(write(&whole, Limits::default(), &events, 10), None);
        let (expected, expected_stats) = replay(std::slice::from_ref(&whole));
        assert!(expected.complete.len() > 10);
        for every in [4, 9, 25] {
            let path = folder.path().join(format!("run-{every}.parquet"));
            let limits = Limits { rotate: Some(Rotate::Size(0)), ..Limits::default() };
            assert_eq!(write(&path, limits, &events, every), None);
            let files = parts(&path);
            assert!(files.len() > 2, "{name} {every}: {} parts", files.len());
            let (heard, stats) = replay(&files);
            assert_eq!(heard.all, expected.all, "{name} {every}");
            assert_eq!(stats.end, expected_stats.end);
            assert_eq!(stats.losses, expected_stats.losses);
            assert_eq!(stats.gap_bytes, expected_stats.gap_bytes);
            assert_eq!(stats.connections, expected_stats.connections);
            for file in &files {
                // Alone it says less, and nothing else.
                let (heard, _) = replay(std::slice::from_ref(file));
                let made_up: Vec<_> = heard.complete.difference(&expected.complete).collect();
                assert!(made_up.is_empty(), "{name} {every}: {made_up:#?}");
            }
        }
    }
}

#[test]
fn every_part_is_a_capture_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.parquet");
    let events = recorded("go");
    let limits = Limits { rotate: Some(Rotate::Size(0)), ..Limits::default() };
    write(&path, limits, &events, 15);
    let files = parts(&path);
    let (mut keys, mut own) = (BTreeSet::new(), Vec::new());
    for (number, file) in (1..).zip(&files) {
        let mut reader = EventReader::open_path(file, Projection::All).unwrap();
        assert_eq!(reader.metadata().part, Some(number));
        let (mut last, mut carried, mut ended) = ((0, 0, 0), 0, None);
        let mut each = |event: &Event<'_>| {
            let key = (event.ts_ns, event.cpu, event.seq);
            assert!(last < key && keys.insert(key) && ended.is_none(), "{event:?}");
            last = key;
            match event.body {
                Body::End("rotated") => ended = Some("rotated"),
                _ if event.carried => carried += 1,
                body => {
                    ended = matches!(body, Body::End(_)).then_some("the end");
                    let mut bytes = Vec::new();
                    encode(event, &mut bytes);
                    own.push(bytes);
                }
            }
        };
        while reader.next_batch(&mut each).unwrap().is_some() {}
        let is_last = number as usize == files.len();
        assert_eq!(ended, Some(if is_last { "the end" } else { "rotated" }));
        assert_eq!(carried > 0, number > 1);
    }
    assert_eq!(own, events);
}

#[test]
fn only_the_newest_parts_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.parquet");
    let foreign = folder.path().join("run.txt");
    fs::write(&foreign, "not a part").unwrap();
    let limits = Limits { rotate: Some(Rotate::Size(0)), keep: Some(2), ..Limits::default() };
    write(&path, limits, &recorded("node"), 10);
    let files = parts(&path);
    assert_eq!(files.len(), 2);
    assert!(!part(&path, 1).exists() && foreign.exists());
    let last = EventReader::open_path(&files[1], Projection::All).unwrap();
    assert_eq!(part(&path, last.metadata().part.unwrap()), files[1]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn limits_stop_once() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = (folder.path().join("run.parquet"), recorded("node"));
    let limits = Limits { max_events: Some(40), ..Limits::default() };
    assert_eq!(write(&path, limits, &events, 10), Some("max_events"));
    let limits = Limits { max_size: Some(3), ..Limits::default() };
    assert_eq!(write(&path, limits, &events, 10), Some("max_size"));
    let limits = Limits { max_size: Some(1 << 30), max_events: Some(1 << 30), ..Limits::default() };
    assert_eq!(write(&path, limits, &events, 10), None);
}
