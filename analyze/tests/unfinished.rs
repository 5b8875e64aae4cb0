//! A capture that was killed, or goes on: what there is of it is read like any other, and said to be unfinished.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{
    fs::{self, File},
    path::Path,
};

use beyla_schema::file::{EventReader, JournaledWriter, Names, Projection};
use common::{Capture, MS, run, shop, stdout};

/// `run.parquet.partial` and `run.parquet.journal`: what is left of `whole.parquet` without its end, with closed row
/// groups of so many rows.
fn unfinished(folder: &Path, group_rows: usize) {
    let mut capture = Capture::new(folder, "whole.parquet");
    capture.process("shop");
    for number in 0..300 {
        capture.serve(number * MS, number + 1, "/cart?token=hunter2", 200, MS / 2);
    }
    capture.seen(0);
    let whole = capture.cut();
    let mut reader = EventReader::open(File::open(whole).unwrap(), Projection::All).unwrap();
    let names = Names::of(&folder.join("run.parquet"));
    let mut writer = JournaledWriter::create(
        File::create(&names.partial).unwrap(),
        File::create(&names.journal).unwrap(),
        reader.metadata().clone(),
    )
    .unwrap();
    writer.set_group_rows(group_rows);
    let mut rows = 0;
    while let Some(count) = reader
        .next_batch(|event| {
            writer.push(event).unwrap();
            rows += 1;
            if rows % 100 == 0 {
                writer.commit().unwrap();
            }
        })
        .unwrap()
    {
        assert!(count > 0);
    }
    writer.commit().unwrap();
}

const WARNING: &str = "beyla-analyze: run.parquet: did not end cleanly: the capture is still running, or it was killed: \
                       then `beyla-capture recover` makes a complete file of what it left\n";

#[test]
fn an_unfinished_capture_gives_what_a_file_would_give() {
    for group_rows in [500, 1_000_000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        unfinished(path, group_rows);
        let report = stdout(path, &["run.parquet"]);
        let reason = "not cleanly: the capture is still running, or it was killed";
        assert!(report.contains(&format!("\n  ended       {reason}")), "{report}");
        assert!(report.contains("\n  requests    300 ("), "{report}");

        let requests = "select * exclude (file) from requests";
        for mode in [&["--prometheus"][..], &["--traces"], &["--sql", requests, "--format", "ndjson"]] {
            let ran = run(path, &[&["run.parquet"], mode].concat());
            assert_eq!((ran.code, &*ran.stderr), (0, WARNING), "{mode:?}");
            assert_eq!(ran.stdout, run(path, &[&["whole.parquet"], mode].concat()).stdout, "{mode:?}");
        }
        for query in [
            "select * exclude (file) from events",
            "select count(*) as n from events",
            "select kind, sum(length) as moved, max(ts_ns) as last from events group by kind order by kind",
            "select seq, time from events where kind = 'close' limit 3",
        ] {
            let ask = |file| stdout(path, &[file, "--sql", query, "--format", "ndjson"]);
            assert_eq!(ask("run.parquet"), ask("whole.parquet"), "{query}");
        }
        let ran = run(path, &["run.parquet.partial", "--strict", "--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, &report["files"][0]["unfinished"]), (3, &true.into()), "{ran:?}");
    }
}

#[test]
fn finished_and_unfinished_files_are_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    unfinished(path, 500);
    shop(path, "shop.parquet");
    // Of format 1.0.
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/python/python.parquet");
    fs::copy(fixture, path.join("old.parquet")).unwrap();
    let query = "select count(*) as n, count(transport) as transports from events";
    let arguments = ["shop.parquet", "run.parquet", "old.parquet", "--sql", query, "--format", "csv"];
    assert_eq!(stdout(path, &arguments), "n,transports\n1319,312\n");
}

#[test]
fn an_unfinished_capture_is_validated_and_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    unfinished(path, 500);
    let text = stdout(path, &["validate", "run.parquet"]);
    let expected =
        "run.parquet: incomplete, 1202 rows of format 1.3; the capture is still running, or it was killed\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(!text.contains("FAILED"), "{text}");

    assert_eq!(stdout(path, &["filter", "run.parquet", "-o", "safe.parquet", "--redact"]), "");
    let text = stdout(path, &["validate", "safe.parquet"]);
    let expected =
        "safe.parquet: incomplete, 1202 rows of format 1.3; recovered from a capture that was killed\n";
    assert!(text.starts_with(expected), "{text}");
    let query = "select distinct path, query from requests";
    let ran = run(path, &["safe.parquet", "--sql", query, "--format", "csv"]);
    assert_eq!(ran.stdout, "path,query\n/cart,token=*******\n");
    assert!(ran.stderr.contains("was killed and its file recovered"), "{ran:?}");
}

#[test]
fn what_is_damaged_of_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    unfinished(path, 500);
    let journal = path.join("run.parquet.journal");
    let good = fs::read(&journal).unwrap();
    for position in (0..good.len()).step_by(good.len() / 40 + 1) {
        let mut bytes = good.clone();
        bytes[position] ^= 0xff;
        fs::write(&journal, bytes).unwrap();
        for mode in
            [&["run.parquet"][..], &["run.parquet", "--sql", "select * from events", "--format", "csv"]]
        {
            let ran = run(path, mode);
            assert!(
                [0, 2].contains(&ran.code) && !ran.stderr.contains("panicked"),
                "byte {position}: {ran:?}"
            );
            assert!(ran.stderr.lines().count() <= 1, "byte {position}: {ran:?}");
        }
    }
    // A capture that was killed at once.
    fs::write(&journal, "").unwrap();
    fs::write(path.join("run.parquet.partial"), "").unwrap();
    let ran = run(path, &["run.parquet"]);
    assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
}
