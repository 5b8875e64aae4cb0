//! What `validate` says of captures that are right, and of captures that are wrong in one way each.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array, new_null_array},
    compute::concat_batches,
    datatypes::DataType,
};
use beyla_schema::{
    event::{Body, Call, Close, Data, Direction, Loss, Origin, Process, Source},
    file::METADATA_KEY,
};
use common::{Capture, MS, Ran, run, shop};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::metadata::KeyValue,
};
use serde_json::Value;

/// A capture with everything that is checked.
fn good(capture: &mut Capture) {
    capture.process("shop");
    capture.serve(MS, 1, "/cart", 200, MS);
    capture.open(10 * MS, 2, Origin::Accept);
    // Two threads at once: the bytes that were written second have the earlier time.
    capture.data(11 * MS, 2, Direction::Send, 5, b"world");
    capture.data(11 * MS, 2, Direction::Send, 0, b"hello");
    let read = Data { ready_ns: Some(11 * MS), ..data(Direction::Receive, 0, 300, &[7; 192], &[8; 64]) };
    capture.event(12 * MS, 2, Body::Data(read));
    capture.event(13 * MS, 2, Body::Close(Close { direction: None, received: 300, sent: 10 }));
    capture.loss("ring_full", 0);
}

fn data<'a>(direction: Direction, position: u64, length: u32, payload: &'a [u8], tail: &'a [u8]) -> Data<'a> {
    let (source, call) = (Source::Socket, Call::Read);
    Data { direction, source, call, position, ready_ns: None, goroutine: 0, length, payload, tail }
}

fn document(ran: &Ran) -> Value {
    assert_eq!(ran.stderr, "");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The document, and the names of the checks that failed.
fn validate(folder: &Path, files: &[&str]) -> (Value, Vec<String>) {
    let ran = run(folder, &[&["validate", "--format", "json"], files].concat());
    let document = document(&ran);
    let failed: Vec<String> = document["captures"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|capture| capture["checks"].as_array().unwrap())
        .filter(|check| check["status"] == "failed")
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ran.code, i32::from(!failed.is_empty()));
    assert_eq!(document["verdict"] == "invalid", !failed.is_empty());
    (document, failed)
}

fn check<'v>(document: &'v Value, name: &str) -> &'v Value {
    let checks = document["captures"][0]["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap()
}

#[test]
fn every_fixture_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let files = ["go", "nginx", "node", "proxy", "python"].map(|name| format!("{name}/{name}.parquet"));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let (document, failed) = validate(&root, &files);
    assert_eq!((&document["verdict"], failed), (&"valid".into(), vec![]), "{document:#}");
    // The last of them is of format 1.0, which does not say what was seen.
    let captures = document["captures"].as_array().unwrap();
    let identities: Vec<_> = captures
        .iter()
        .map(|capture| {
            let mut checks = capture["checks"].as_array().unwrap().iter();
            checks.find(|check| check["name"] == "identity").unwrap()["status"].as_str().unwrap()
        })
        .collect();
    assert_eq!(identities, ["ok", "ok", "ok", "ok", "not_checked"]);
}

#[test]
fn a_good_capture_is_valid_and_the_text_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut capture = Capture::new(path, "good.parquet");
    good(&mut capture);
    capture.seen(0);
    capture.end();
    let (document, failed) = validate(path, &["good.parquet"]);
    assert_eq!((&document["verdict"], failed), (&"valid".into(), vec![]), "{document:#}");
    assert_eq!(document["schema"], "beyla-analyze/validate/1");
    assert_eq!(check(&document, "identity")["note"], "10 seen, 10 recorded + 0 lost");
    let text = common::stdout(path, &["validate", "good.parquet"]);
    assert!(text.starts_with("good.parquet: valid, 13 rows of format 1.3\n  ok           rows "), "{text}");
    assert_eq!(text.lines().count(), 14, "{text}");
    shop(path, "shop.parquet");
    let (document, failed) = validate(path, &["good.parquet", "shop.parquet"]);
    assert_eq!((&document["verdict"], failed), (&"valid".into(), vec![]), "{document:#}");
}

/// A capture, and the one invariant that it breaks.
type Wrong = (&'static str, &'static str, fn(&mut Capture));

#[test]
fn every_wrong_row_is_named_by_the_one_invariant_it_breaks() {
    let wrong: &[Wrong] = &[
        ("sequence", "number 0 of CPU 0 a second time", |capture| {
            capture.restart_numbers();
            capture.open(20 * MS, 3, Origin::Accept);
        }),
        ("sequence", "CPU 0 lacks 10 to 12", |capture| {
            capture.lose(3);
            capture.open(20 * MS, 3, Origin::Accept);
        }),
        ("order", "not after the row before it", |capture| {
            capture.back_to(12 * MS);
            capture.open(12 * MS, 3, Origin::Accept);
        }),
        ("captured", "a tail of 3 bytes", |capture| {
            capture.event(20 * MS, 3, Body::Data(data(Direction::Send, 0, 100, b"abc", b"xyz")));
        }),
        ("rows", "data row with more bytes than its length", |capture| {
            capture.event(20 * MS, 3, Body::Data(data(Direction::Send, 0, 1, b"abc", b"")));
        }),
        ("ready", "ready 5 ns after it was read", |capture| {
            let read = data(Direction::Receive, 0, 3, b"abc", b"");
            capture.event(20 * MS, 3, Body::Data(Data { ready_ns: Some(20 * MS + 5), ..read }));
        }),
        ("positions", "2 bytes of `send` of connection 3 are missing before it", |capture| {
            capture.data(20 * MS, 3, Direction::Send, 0, b"abc");
            capture.data(20 * MS, 3, Direction::Send, 5, b"fgh");
        }),
        ("positions", "7 bytes of `receive` of connection 3 are missing before it", |capture| {
            capture.data(20 * MS, 3, Direction::Receive, 7, b"abc");
        }),
        ("positions", "1 bytes of `send` of connection 3 a second time", |capture| {
            capture.data(20 * MS, 3, Direction::Send, 0, b"abc");
            capture.data(20 * MS, 3, Direction::Send, 2, b"cde");
        }),
        ("totals", "4 bytes of `receive` of connection 3, whose calls moved 3", |capture| {
            capture.data(20 * MS, 3, Direction::Receive, 0, b"abc");
            capture.event(21 * MS, 3, Body::Close(Close { direction: None, received: 4, sent: 0 }));
        }),
        ("totals", "2 bytes of `receive` of connection 3, whose calls moved 3", |capture| {
            capture.data(20 * MS, 3, Direction::Receive, 0, b"abc");
            let direction = Some(Direction::Receive);
            capture.event(21 * MS, 3, Body::Close(Close { direction, received: 2, sent: 0 }));
        }),
        ("losses", "`targets_full` falls from 7 to 6", |capture| {
            capture.loss("targets_full", 7);
            capture.loss("targets_full", 6);
        }),
        ("identity", "11 seen, 10 recorded + 0 lost: -1", |capture| capture.seen(1)),
        ("identity", "10 seen, 10 recorded + 2 lost: +2", |capture| {
            capture.loss("ring_full", 2);
            capture.seen(0);
        }),
        ("end", "rows come after it", |capture| capture.add(0, false, Body::End("signal"))),
    ];
    for (invariant, reason, change) in wrong {
        let folder = tempfile::tempdir().unwrap();
        let mut capture = Capture::new(folder.path(), "wrong.parquet");
        good(&mut capture);
        change(&mut capture);
        capture.end();
        let (document, failed) = validate(folder.path(), &["wrong.parquet"]);
        assert_eq!(failed, [*invariant], "{document:#}");
        let finding = &check(&document, invariant)["findings"][0];
        assert_eq!((&finding["file"], &finding["reason"]), (&"wrong.parquet".into(), &(*reason).into()));
        let text = run(folder.path(), &["validate", "wrong.parquet"]);
        assert!(text.code == 1 && text.stdout.contains(reason) && text.stdout.contains("FAILED"), "{text:?}");
    }
}

/// Writes a file anew with other values in one column.
fn with_column(path: &Path, name: &str, column: impl FnOnce(&RecordBatch) -> ArrayRef) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let pairs = builder.metadata().file_metadata().key_value_metadata().unwrap();
    let metadata = pairs.iter().find(|pair| pair.key == METADATA_KEY).unwrap().value.clone().unwrap();
    let schema = Arc::clone(builder.schema());
    let batches: Vec<_> = builder.build().unwrap().collect::<Result<_, _>>().unwrap();
    let batch = concat_batches(&schema, &batches).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[schema.index_of(name).unwrap()] = column(&batch);
    let fields: Vec<_> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.append_key_value_metadata(KeyValue::new(METADATA_KEY.to_owned(), metadata));
    writer.close().unwrap();
}

#[test]
fn columns_that_contradict_each_other_are_found() {
    type Column = fn(&RecordBatch) -> ArrayRef;
    let wrong: &[(&str, &str, &str, Column)] = &[
        ("pid", "nulls", "a `process` row without `pid`", |batch| {
            new_null_array(&DataType::UInt32, batch.num_rows())
        }),
        ("ready_ns", "nulls", "a `process` row with a value in `ready_ns`", |batch| {
            Arc::new(UInt64Array::from(vec![1; batch.num_rows()]))
        }),
        ("captured", "captured", "captured is 4, and 34 bytes are there", |batch| {
            let captured = batch["captured"].as_any().downcast_ref::<UInt32Array>().unwrap();
            Arc::new(captured.iter().map(|captured| captured.map(|_| 4)).collect::<UInt32Array>())
        }),
        ("time", "time", "time is -3000000000 ns off", |batch| {
            use arrow::array::TimestampNanosecondArray;
            let time = batch["time"].as_any().downcast_ref::<TimestampNanosecondArray>().unwrap();
            Arc::new(
                time.unary::<_, arrow::datatypes::TimestampNanosecondType>(|ns| ns - 3_000_000_000)
                    .with_timezone("UTC"),
            )
        }),
    ];
    for (column, invariant, reason, change) in wrong {
        let folder = tempfile::tempdir().unwrap();
        let mut capture = Capture::new(folder.path(), "wrong.parquet");
        good(&mut capture);
        let path = capture.end();
        with_column(&path, column, change);
        let (document, failed) = validate(folder.path(), &["wrong.parquet"]);
        assert_eq!(failed.first().map(String::as_str), Some(*invariant), "{column}: {document:#}");
        let findings = check(&document, invariant)["findings"].as_array().unwrap();
        assert!(findings.iter().any(|finding| finding["reason"] == *reason), "{findings:#?}");
    }
}

#[test]
fn a_capture_with_losses_is_valid_when_they_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut capture = Capture::new(path, "lossy.parquet");
    capture.lose(2);
    good(&mut capture);
    capture.lose(3);
    capture.data(20 * MS, 3, Direction::Send, 50, b"abc");
    capture.event(21 * MS, 3, Body::Close(Close { direction: None, received: 9, sent: 60 }));
    // Five have numbers, one is lost at the end, one never got a number; payloads are no events.
    for (cause, count) in [("ring_full", 6), ("storage_full", 1), ("payload_fault", 40), ("skipped_run", 2)] {
        capture.loss(cause, count);
    }
    capture.seen(7);
    capture.end();
    let (document, failed) = validate(path, &["lossy.parquet"]);
    assert_eq!((&document["verdict"], failed), (&"valid".into(), vec![]), "{document:#}");
    assert_eq!(check(&document, "identity")["note"], "19 seen, 12 recorded + 7 lost");
    assert_eq!(check(&document, "sequence")["note"], "5 missing (CPU 0 5), 7 lost");
    let note = check(&document, "positions")["note"].as_str().unwrap();
    assert_eq!(note, "66 bytes are missing: records were lost");
}

#[test]
fn a_capture_that_was_cut_off_is_incomplete_and_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut capture = Capture::new(path, "killed.parquet");
    good(&mut capture);
    capture.seen(3);
    capture.cut();
    let (document, _) = validate(path, &["killed.parquet"]);
    assert_eq!(document["verdict"], "incomplete", "{document:#}");
    assert_eq!(document["captures"][0]["incomplete"], "there is no `end` row");
    assert_eq!(check(&document, "end")["status"], "not_checked");
    assert_eq!(check(&document, "identity")["status"], "not_checked");
    let text = common::stdout(path, &["validate", "killed.parquet"]);
    assert!(text.starts_with("killed.parquet: incomplete, "), "{text}");
}

/// Three parts; of their 9 records two are lost in the second, one of them without a number.
fn parts(folder: &Path, third_is_right: bool) {
    let carried = |capture: &mut Capture, recorded, lost| {
        capture.add(0, true, Body::Process(Process { service: "shop", ..Process::default() }));
        capture.add(0, true, Body::Loss(Loss { cause: "ring_full", count: lost }));
        capture.add(0, true, Body::Seen(recorded + lost));
        capture.carry_open(1, Origin::Accept);
    };
    let mut part = Capture::new(folder, "1.parquet");
    part.process("shop");
    part.open(MS, 1, Origin::Accept);
    part.data(2 * MS, 1, Direction::Receive, 0, b"abc");
    part.loss("ring_full", 0);
    part.seen(0);
    let mut part = part.rotate("2.parquet");
    carried(&mut part, 3, 0);
    part.data(10 * MS, 1, Direction::Receive, 3, b"def");
    part.lose(1);
    part.data(11 * MS, 1, Direction::Receive, 9, b"jkl");
    part.loss("ring_full", 2);
    part.seen(2);
    let mut part = part.rotate("3.parquet");
    carried(&mut part, 5, 2);
    part.data(20 * MS, 1, Direction::Receive, if third_is_right { 12 } else { 11 }, b"mno");
    part.event(21 * MS, 1, Body::Close(Close { direction: None, received: 15, sent: 0 }));
    part.loss("ring_full", 2);
    part.seen(2);
    part.end();
}

#[test]
fn parts_are_validated_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    parts(path, true);
    let (document, failed) = validate(path, &["3.parquet", "1.parquet", "2.parquet"]);
    assert_eq!((&document["verdict"], failed), (&"valid".into(), vec![]), "{document:#}");
    let files = &document["captures"][0]["files"];
    assert_eq!(files, &serde_json::json!(["1.parquet", "2.parquet", "3.parquet"]));
    assert_eq!(check(&document, "identity")["note"], "9 seen, 7 recorded + 2 lost");

    // Alone they say so where the cut makes it impossible to be exact.
    for (file, verdict) in [("1.parquet", "incomplete"), ("2.parquet", "incomplete"), ("3.parquet", "valid")]
    {
        let (document, failed) = validate(path, &[file]);
        assert_eq!((&document["verdict"], failed), (&verdict.into(), vec![]), "{document:#}");
        assert_eq!(check(&document, "identity")["status"], "not_checked");
    }
    let mut alone = Capture::new(path, "alone.parquet").describe(|metadata| metadata.part = Some(1));
    alone.seen(5);
    alone.add(0, false, Body::End("rotated"));
    alone.cut();
    let (document, failed) = validate(path, &["alone.parquet"]);
    assert_eq!((&document["verdict"], failed), (&"valid".into(), vec![]), "{document:#}");
    let (document, _) = validate(path, &["3.parquet"]);
    let note = check(&document, "identity")["note"].as_str().unwrap();
    assert!(note.ends_with("not exact, part 3 without those before it"), "{note}");

    parts(path, false);
    let (document, failed) = validate(path, &["1.parquet", "2.parquet", "3.parquet"]);
    assert_eq!(failed, ["positions"], "{document:#}");
    assert_eq!(check(&document, "positions")["findings"][0]["file"], "3.parquet");
}

#[test]
fn what_cannot_be_opened_is_status_2_and_damage_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    shop(path, "good.parquet");
    std::fs::write(path.join("text.parquet"), "hello").unwrap();
    let ran = run(path, &["validate", "good.parquet", "text.parquet"]);
    assert_eq!((ran.code, &*ran.stdout), (2, ""), "{ran:?}");
    assert!(ran.stderr.starts_with("beyla-analyze: text.parquet: not a Parquet file"), "{ran:?}");
    for arguments in
        [&["validate"][..], &["validate", "good.parquet", "--sql"], &["--strict", "validate", "x"]]
    {
        let ran = run(path, arguments);
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{arguments:?} {ran:?}");
    }
    // A file with the name of a command.
    shop(path, "validate");
    assert!(common::stdout(path, &["./validate"]).starts_with("./validate\n"));
    assert!(common::stdout(path, &["validate", "validate"]).starts_with("validate: valid"));

    let file = path.join("good.parquet");
    let good = std::fs::read(&file).unwrap();
    let mut found = 0;
    for position in (4..good.len() - 4).step_by(good.len() / 40) {
        let mut bytes = good.clone();
        bytes[position] ^= 0xff;
        std::fs::write(&file, bytes).unwrap();
        let ran = run(path, &["validate", "good.parquet"]);
        assert!((0..=2).contains(&ran.code) && !ran.stderr.contains("panicked"), "byte {position}: {ran:?}");
        found += i32::from(ran.code > 0);
    }
    assert!(found > 20, "{found}");
}
