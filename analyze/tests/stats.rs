//! What `stats` and `schema` say of files.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{fs, path::Path};

use beyla_schema::{
    event::{Body, Change, Process},
    file::{ClockSample, Probe},
};
use common::{Capture, MS, run, stdout};
use serde_json::Value;

fn recorded(folder: &Path) {
    let mut capture = Capture::new(folder, "run.parquet").describe(|metadata| {
        let first = metadata.clocks[0];
        metadata.clocks.push(ClockSample {
            monotonic_ns: first.monotonic_ns + 10_000 * MS,
            realtime_ns: first.realtime_ns + 10_002 * MS as i64,
            boottime_ns: first.boottime_ns + 70_000 * MS,
        });
        metadata.probes = ["one", "other"].map(|name| Probe { name: name.into(), failure: None }).to_vec();
        metadata.probes[1].failure = Some("no\u{1b}BTF".into());
    });
    capture.process("shop");
    for number in 0..10 {
        capture.serve(number * 100 * MS, number + 1, "/cart", 200, MS);
        capture.loss("ring_full", number / 4 * 3);
    }
    capture.call(2_000 * MS, 11, "/charge", 200, MS);
    let exit = Process { change: Some(Change::Exit), ..Process::default() };
    capture.event(3_000 * MS, 0, Body::Process(exit));
    capture.end();
}

#[test]
fn stats_tell_what_a_capture_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    recorded(path);
    let text = stdout(path, &["stats", "run.parquet"]);
    for line in [
        "host        shop-1 (6.12.0, x86_64)",
        "clocks      wall clock 2.00 ms more in 10.0 s; asleep for 60.0 s",
        "selected    port 8080",
        "probes      1 attached, 1 not",
        r"no probe    other: no\u{1b}BTF",
        "ended       cleanly (signal)",
        "rows        57 (close 11, data 22, end 1, loss 10, open 11, process 2)",
        "connections 11 (accept 10, connect 1, tcp 11), 11 closed",
        "lost        6",
        "ring_full     3  2026-01-05T10:00:00.401000000Z",
    ] {
        assert!(text.contains(&format!("\n  {line}")), "{line}\n{text}");
    }
    let json: Value =
        serde_json::from_str(&stdout(path, &["stats", "run.parquet", "--format", "json"])).unwrap();
    let file = &json["files"][0];
    assert_eq!(file["size"]["bytes"], fs::metadata(path.join("run.parquet")).unwrap().len());
    assert_eq!(file["losses"][0]["increases"].as_array().unwrap().len(), 2);
    assert_eq!(file["moved"][0]["captured"], file["moved"][0]["bytes"]);
    let process = &file["processes"][0];
    assert_eq!((&process["service"], &process["rows"]), (&"shop".into(), &22.into()));
    assert_eq!(process["exited"], "2026-01-05T10:00:03.000000000Z");
}

#[test]
fn a_damaged_file_is_told_up_to_its_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    recorded(path);
    let mut bytes = fs::read(path.join("run.parquet")).unwrap();
    bytes[4..200].fill(0x5a);
    fs::write(path.join("run.parquet"), bytes).unwrap();
    let ran = run(path, &["stats", "run.parquet", "--format", "json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(ran.code == 2 && json["files"][0]["damage"].is_string(), "{ran:?}");
}

#[test]
fn a_file_is_compared_with_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    recorded(path);
    let same = "run.parquet, format 1.3\n  the columns are those of the format\n";
    assert_eq!(stdout(path, &["schema", "run.parquet"]), same);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/python/python.parquet");
    fs::copy(fixture, path.join("old.parquet")).unwrap();
    let old = stdout(path, &["schema", "old.parquet"]);
    assert!(old.starts_with("old.parquet, format 1.0\n  missing     ") && old.contains("transport"), "{old}");
    let tables = stdout(path, &["schema"]);
    assert!(tables.starts_with("requests\n") && tables.contains("\nevents, format 1.3\n"), "{tables}");
    let json: Value =
        serde_json::from_str(&stdout(path, &["schema", "--table", "events", "--format", "json"])).unwrap();
    let kind = &json["tables"][0]["columns"][0];
    assert_eq!(
        (&kind["name"], &kind["type"], &kind["nullable"]),
        (&"kind".into(), &"text".into(), &false.into())
    );
}
