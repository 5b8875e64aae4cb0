//! Several captures in one file: requests are those that the files give together, and the file is valid.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{
    fs::{self, File},
    path::Path,
};

use beyla_schema::{
    event::{Body, Loss, Origin, Process},
    file::{ClockSample, EventReader, Metadata, Projection},
};
use common::{Capture, MS, run, stdout};

const SECOND: i64 = 1_000_000_000;

/// 2026-01-05 10:00:00 UTC.
const EPOCH_NS: i64 = 1_767_607_200 * SECOND;

fn metadata(path: &Path) -> Metadata {
    EventReader::open(File::open(path).unwrap(), Projection::All).unwrap().metadata().clone()
}

/// A capture of its own id and host, whose clock read 0 so long after the others'.
fn begin(folder: &Path, name: &str, id: &str, host: &str, booted_ns: i64) -> Capture {
    let clock = ClockSample { monotonic_ns: 0, realtime_ns: EPOCH_NS + booted_ns, boottime_ns: 0 };
    Capture::at(folder, name, clock).host(host).describe(|metadata| metadata.capture_id = id.into())
}

/// Three hosts that serve at the same times, with the same connections and processes, and booted one after the other.
fn three(folder: &Path) {
    for (index, host) in ["web-1", "web-2", "web-3"].into_iter().enumerate() {
        let name = format!("{host}.parquet");
        let booted_ns = [40, 0, 20][index] * SECOND;
        let mut capture = begin(folder, &name, &format!("{:016x}", index + 1), host, booted_ns);
        capture.process(["shop", "bank", "shop"][index]);
        for number in 0..20 {
            let at = 60_000 * MS + number * 100 * MS - booted_ns as u64;
            capture.serve(at, number + 1, &format!("/{host}/{number}"), 200, 30 * MS);
        }
        capture.lose(index as u64);
        capture.loss("ring_full", index as u64);
        capture.seen(index as u64);
        capture.end();
    }
}

const FILES: [&str; 3] = ["web-1.parquet", "web-2.parquet", "web-3.parquet"];

#[test]
fn captures_of_several_hosts_are_one_file_and_their_requests_stay_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    three(path);
    assert_eq!(stdout(path, &[&["merge"], &FILES[..], &["-o", "all.parquet"]].concat()), "");
    let valid = stdout(path, &["validate", "all.parquet"]);
    assert!(valid.starts_with("all.parquet: valid, ") && valid.contains("recorded + 3 lost"), "{valid}");

    // In the order of the file: by when the captures began, and by their ids.
    let order = ["web-2.parquet", "web-3.parquet", "web-1.parquet"];
    let query = "select * exclude (file, connection, pid, tid) from requests";
    let arguments = |files: &[&'static str], query| [files, &["--sql", query, "--format", "ndjson"]].concat();
    let before = run(path, &arguments(&order, query)).stdout;
    assert_eq!(before.lines().count(), 60);
    assert_eq!(run(path, &arguments(&["all.parquet"], query)).stdout, before);

    for mode in [&["--prometheus"][..], &["--traces"]] {
        let expected = run(path, &[&order, mode].concat()).stdout;
        assert_eq!(run(path, &[&["all.parquet"], mode].concat()).stdout, expected, "{mode:?}");
    }

    // Rows are in the order of the wall times; processes and connections do not meet.
    let ask = |query| run(path, &["all.parquet", "--sql", query, "--format", "csv"]).stdout;
    let query = "select count(*) as n, count(distinct connection) as connections from requests";
    assert_eq!(ask(query), "n,connections\n60,60\n");
    let query = "select count(distinct pid) as pids, max(cpu) as recorder from events";
    assert_eq!(ask(query), "pids,recorder\n3,65535\n");
    let query =
        "select count(*) as n from requests join events using (connection) where events.kind = 'open'";
    assert_eq!(ask(query), "n\n60\n");
    let query = "select cause, max(count) as count from events where cause is not null group by cause";
    assert_eq!(ask(query), "cause,count\nring_full,3\n");

    let about = metadata(&path.join("all.parquet"));
    let hosts: Vec<_> = about.merged.iter().map(|merged| &*merged.capture.host.name).collect();
    assert_eq!((hosts, &*about.host.name), (vec!["web-2", "web-3", "web-1"], "web-2, web-3, web-1"));
    let lost: Vec<_> = about.merged.iter().map(|merged| merged.losses["ring_full"]).collect();
    assert_eq!(lost, [1, 2, 0]);
    let report = stdout(path, &["all.parquet"]);
    for line in ["host        web-1", "host        web-2", "lost        2 ("] {
        assert!(report.contains(&format!("\n  {line}")), "{report}");
    }
}

#[test]
fn merging_is_the_same_whatever_the_order_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    three(path);
    stdout(path, &[&["merge"], &FILES[..], &["-o", "one.parquet"]].concat());
    stdout(path, &["merge", FILES[2], FILES[0], FILES[1], "-o", "other.parquet"]);
    assert_eq!(fs::read(path.join("one.parquet")).unwrap(), fs::read(path.join("other.parquet")).unwrap());
}

#[test]
fn a_filter_of_merged_captures_leaves_their_requests_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    three(path);
    stdout(path, &[&["merge"], &FILES[..], &["-o", "all.parquet"]].concat());
    stdout(
        path,
        &["filter", "all.parquet", "-o", "some.parquet", "--where", "host = 'web-3' or path like '%/7'"],
    );
    assert!(stdout(path, &["validate", "some.parquet"]).starts_with("some.parquet: valid, "));
    let query = "select * exclude (file) from requests where host = 'web-3' or path like '%/7'";
    let ask = |file| run(path, &[file, "--sql", query, "--format", "ndjson"]).stdout;
    assert_eq!(ask("some.parquet"), ask("all.parquet"));
    assert_eq!(ask("some.parquet").lines().count(), 22);
}

#[test]
fn all_fixtures_are_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let mut files = Vec::new();
    for fixture in fs::read_dir(root).unwrap().flatten() {
        let name = format!("{}.parquet", fixture.file_name().into_string().unwrap());
        if fs::copy(fixture.path().join(&name), path.join(&name)).is_ok() {
            files.push(name);
        }
    }
    files.sort();
    assert!(files.len() > 10);
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    run(path, &[&["merge", "-o", "all.parquet"], &files[..]].concat());
    let valid = run(path, &["validate", "all.parquet"]);
    assert_eq!(valid.code, 0, "{valid:?}");
    let query = "select * exclude (file, connection, pid, tid) from requests";
    let lines = |files: &[&str]| {
        let text = run(path, &[files, &["--sql", query, "--format", "ndjson"]].concat()).stdout;
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&["all.parquet"]), lines(&files));
}

/// `whole.parquet`, and the same in three parts.
fn rotated(folder: &Path) {
    let serve = |capture: &mut Capture, number: u64| {
        for step in 0..10 {
            let at = (number * 10 + step) * 20 * MS;
            capture.serve(at, number * 10 + step + 1, &format!("/{number}/{step}"), 200, 5 * MS);
        }
    };
    let losses = |capture: &mut Capture, count: u64| {
        capture.lose(1);
        capture.loss("ring_full", count);
        capture.seen(count);
    };
    let carry = |capture: &mut Capture, count: u64| {
        capture.add(0, true, Body::Process(Process { service: "shop", ..Process::default() }));
        capture.carry_open(1, Origin::Accept);
        capture.add(0, true, Body::Loss(Loss { cause: "ring_full", count }));
    };
    let mut whole = Capture::new(folder, "whole.parquet");
    let mut part = Capture::new(folder, "1.parquet");
    for capture in [&mut whole, &mut part] {
        capture.process("shop");
        serve(capture, 0);
        losses(capture, 1);
    }
    for (number, name) in [(1, "2.parquet"), (2, "3.parquet")] {
        part.add(0, false, Body::End("rotated"));
        part = part.rotate(name);
        carry(&mut part, number);
        for capture in [&mut whole, &mut part] {
            serve(capture, number);
            losses(capture, number + 1);
        }
    }
    whole.end();
    part.end();
}

#[test]
fn parts_become_what_the_capture_would_have_been_without_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    rotated(path);
    stdout(path, &["merge", "3.parquet", "1.parquet", "2.parquet", "-o", "all.parquet"]);
    let valid = stdout(path, &["validate", "all.parquet"]);
    assert!(valid.starts_with("all.parquet: valid, ") && valid.contains("ok           identity"), "{valid}");
    assert_eq!(metadata(&path.join("all.parquet")).part, None);
    for query in ["select * exclude (file) from requests", "select * exclude (file, seq) from events"] {
        let ask = |file| run(path, &[file, "--sql", query, "--format", "ndjson"]).stdout;
        assert_eq!(ask("all.parquet"), ask("whole.parquet"), "{query}");
    }
}

#[test]
fn some_parts_are_still_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    rotated(path);
    let all = ["--sql", "select * exclude (file) from requests", "--format", "ndjson"];
    let expected = run(path, &[&["whole.parquet"], &all[..]].concat()).stdout;
    for (merged, rest) in
        [(["1.parquet", "2.parquet"], "3.parquet"), (["2.parquet", "3.parquet"], "1.parquet")]
    {
        stdout(path, &["merge", merged[0], merged[1], "-o", "two.parquet", "--force"]);
        let valid = stdout(path, &["validate", "two.parquet", rest]);
        assert!(valid.contains(": valid, ") && !valid.contains("\n\n"), "{valid}");
        assert_eq!(run(path, &[&["two.parquet", rest], &all[..]].concat()).stdout, expected);
    }
}

#[test]
fn what_cannot_be_merged_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    rotated(path);
    three(path);
    stdout(path, &["merge", "web-1.parquet", "web-2.parquet", "-o", "all.parquet"]);
    fs::write(path.join("none.parquet"), "no capture").unwrap();
    let wrong = [
        (&["1.parquet", "3.parquet", "-o", "new.parquet"][..], "a part is missing"),
        (&["web-1.parquet", "web-1.parquet", "-o", "new.parquet"], "given twice"),
        (&["web-1.parquet", "2.parquet", "-o", "new.parquet"], "2.parquet is not the first part"),
        (&["all.parquet", "web-3.parquet", "-o", "new.parquet"], "was merged of several captures"),
        (&["web-1.parquet", "web-2.parquet", "-o", "all.parquet"], "all.parquet: exists already"),
        (&["web-1.parquet", "none.parquet", "-o", "new.parquet"], "none.parquet: not a Parquet file"),
    ];
    let listed = || fs::read_dir(path).unwrap().count();
    let before = listed();
    for (arguments, reason) in wrong {
        let ran = run(path, &[&["merge"], arguments].concat());
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{arguments:?} {ran:?}");
        assert!(ran.stderr.contains(reason), "{arguments:?} {ran:?}");
    }
    assert_eq!(listed(), before);
}
