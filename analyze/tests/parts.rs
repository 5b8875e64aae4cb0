//! Parts of a rotated capture are one capture: whatever their order on the command line, and with a part missing.

mod common;

use beyla_schema::event::{Body, Close, Direction, Loss, Origin, Process};
use common::{Capture, MS, run, stdout};

const REQUEST: &[u8] = b"GET /across HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\ndone";

/// Some requests, and the head of one.
fn first(capture: &mut Capture) {
    capture.process("shop");
    capture.serve(10 * MS, 1, "/before", 200, MS);
    capture.open(20 * MS, 2, Origin::Accept);
    capture.data(20 * MS, 2, Direction::Receive, 0, REQUEST);
}

/// What a part that begins after [`first`] repeats.
fn carried(capture: &mut Capture) {
    capture.add(0, true, Body::Process(Process { service: "shop", ..Process::default() }));
    capture.add(0, true, Body::Loss(Loss { cause: "ring_full", count: 0 }));
    capture.carry_open(2, Origin::Accept);
}

/// The rest of the request, and some more.
fn second(capture: &mut Capture) {
    let at = REQUEST.len() as u64;
    capture.data(40 * MS, 2, Direction::Receive, at, b"body");
    capture.data(50 * MS, 2, Direction::Send, 0, &RESPONSE[..20]);
}

fn third(capture: &mut Capture) {
    capture.data(60 * MS, 2, Direction::Send, 20, &RESPONSE[20..]);
    let (received, sent) = (REQUEST.len() as u64 + 4, RESPONSE.len() as u64);
    capture.event(70 * MS, 2, Body::Close(Close { direction: None, received, sent }));
    capture.serve(80 * MS, 3, "/after", 500, 2 * MS);
    capture.loss("ring_full", 0);
    capture.seen(0);
}

/// `whole.parquet`, and the same in `1.parquet`, `2.parquet`, `3.parquet`.
fn recorded(folder: &std::path::Path) {
    let mut whole = Capture::new(folder, "whole.parquet");
    first(&mut whole);
    second(&mut whole);
    third(&mut whole);
    whole.end();
    let mut part = Capture::new(folder, "1.parquet");
    first(&mut part);
    let mut part = part.rotate("2.parquet");
    carried(&mut part);
    second(&mut part);
    let mut part = part.rotate("3.parquet");
    carried(&mut part);
    third(&mut part);
    part.end();
}

#[test]
fn parts_in_any_order_give_what_one_file_gives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    recorded(path);
    let tables = |files: &[&str]| {
        let report = stdout(path, files);
        report[report.find("\nInbound").unwrap()..].to_owned()
    };
    let expected = tables(&["whole.parquet"]);
    assert!(expected.contains("GET /across"), "{expected}");
    let query = "select kind, service, path, status, start_time, duration_ms, client_address, end_reason, \
                 request_bytes, response_bytes, ordinal from requests";
    for files in [
        ["1.parquet", "2.parquet", "3.parquet"],
        ["3.parquet", "1.parquet", "2.parquet"],
        ["2.parquet", "3.parquet", "1.parquet"],
    ] {
        assert_eq!(tables(&files), expected);
        for mode in [&["--prometheus"][..], &["--traces"], &["--sql", query, "--format", "csv"]] {
            let parts = stdout(path, &[&files[..], mode].concat());
            assert_eq!(parts, stdout(path, &[&["whole.parquet"], mode].concat()), "{mode:?}");
        }
    }
}

#[test]
fn every_part_has_its_own_summary_and_a_request_belongs_to_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    recorded(path);
    let files = ["3.parquet", "2.parquet", "1.parquet"];
    let query = "select file, path from requests";
    assert_eq!(
        stdout(path, &[&files[..], &["--sql", query, "--format", "csv"]].concat()),
        "file,path\n1.parquet,/before\n3.parquet,/across\n3.parquet,/after\n"
    );
    let query = "select kind, carried, count(*) as n from events where kind = 'open' group by all order by n";
    assert_eq!(
        stdout(path, &[&files[..], &["--sql", query, "--format", "csv"]].concat()),
        "kind,carried,n\nopen,true,2\nopen,,3\n"
    );
    let json = stdout(path, &[&files[..], &["--format", "json", "--strict"]].concat());
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let column = |name: &str| -> Vec<_> {
        report["files"].as_array().unwrap().iter().map(|file| file[name].clone()).collect()
    };
    assert_eq!(column("file"), ["1.parquet", "2.parquet", "3.parquet"]);
    assert_eq!(column("part"), [1, 2, 3]);
    assert_eq!(column("requests"), [1, 0, 2]);
    assert_eq!(column("continued"), [true, true, false]);
    assert_eq!(column("complete"), [true, true, true]);
    assert_eq!(column("connections"), [2, 0, 1]);
    let report = stdout(path, &files);
    assert!(report.contains("\n  part        2 of capture 00000000000000ff\n"), "{report}");
    assert!(report.contains("\n  ended       with the next part\n"), "{report}");
}

#[test]
fn a_missing_part_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    recorded(path);
    let query = "select path, end_reason from requests";
    assert_eq!(
        stdout(path, &["3.parquet", "--sql", query, "--format", "csv"]),
        "path,end_reason\n/after,response\n"
    );
    let ran = run(path, &["3.parquet", "1.parquet", "--sql", query, "--format", "csv"]);
    assert_eq!(ran.stdout, "path,end_reason\n/before,response\n/across,capture_end\n/after,response\n");
    assert!(ran.stderr.starts_with("beyla-analyze: 1.parquet: did not end cleanly"), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}

#[test]
fn losses_are_told_by_the_part_in_which_they_happened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let ring_full = |count| Body::Loss(Loss { cause: "ring_full", count });
    let mut part = Capture::new(path, "1.parquet");
    part.serve(0, 1, "/", 200, MS);
    part.loss("ring_full", 3);
    part.seen(3);
    let mut part = part.rotate("2.parquet");
    part.add(0, true, ring_full(3));
    part.add(0, true, Body::Seen(7));
    part.serve(10 * MS, 2, "/", 200, MS);
    part.loss("ring_full", 5);
    part.seen(5);
    part.end();
    for files in [&["2.parquet"][..], &["1.parquet", "2.parquet"]] {
        let json = run(path, &[files, &["--format", "json"]].concat()).stdout;
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        let last = report["files"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["lost"], &last["seen"]), (&2.into(), &6.into()), "{json}");
    }
}
