//! What `filter --redact` takes out of a capture, and what it leaves as it is.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{fs, fs::File, os::unix::fs::PermissionsExt as _, path::Path};

use arrow::array::{Array, AsArray};
use beyla_schema::{
    event::{Body, Close, Direction, Origin, Process},
    file::{EventReader, EventWriter, Metadata, Projection, VERSION},
};
use common::{Capture, MS, run, stdout};

/// Planted; none of them may be in an output.
const SECRETS: [&str; 4] = ["hunter2-header", "hunter2-cookie", "hunter2-query", "hunter2-command"];

fn planted(folder: &Path) {
    let mut capture = Capture::new(folder, "in.parquet").describe(|metadata| {
        metadata.argv.push(format!("--token={}", SECRETS[3]));
    });
    let command_line = format!("shop --password={} --port=80", SECRETS[3]);
    let process = Process { service: "shop", command_line: &command_line, ..Process::default() };
    capture.event(0, 0, Body::Process(process));
    for connection in 1..50 {
        let at = connection * MS;
        let request = format!(
            "GET /cart?id=1&token={} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\nX-Session: mine\r\n\r\n",
            SECRETS[2], SECRETS[0]
        );
        let response = format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: session={}\r\nContent-Length: 11\r\n\r\nbody-secret",
            SECRETS[1]
        );
        capture.open(at, connection, Origin::Accept);
        // The secrets are cut by the ends of reads, everywhere in turn.
        let cut = connection as usize * 2;
        let (first, second) = request.as_bytes().split_at(cut);
        capture.data(at, connection, Direction::Receive, 0, first);
        capture.data(at, connection, Direction::Receive, cut as u64, second);
        capture.data(at, connection, Direction::Send, 0, response.as_bytes());
        let (received, sent) = (request.len() as u64, response.len() as u64);
        capture.event(at, connection, Body::Close(Close { direction: None, received, sent }));
    }
    capture.loss("ring_full", 0);
    capture.seen(0);
    capture.end();
}

/// Everything in a file: its bytes, and what they are when they are decoded.
fn everything(path: &Path) -> (Metadata, Vec<u8>) {
    let mut bytes = fs::read(path).unwrap();
    let mut reader = EventReader::open(File::open(path).unwrap(), Projection::All).unwrap();
    while let Some(batch) = reader.next_record_batch().unwrap() {
        for column in batch.columns() {
            if let Some(column) = column.as_binary_opt::<i32>() {
                // The pieces of a stream stand one after the other: what was cut is whole here.
                column.iter().flatten().for_each(|value| bytes.extend(value));
            } else if let Some(column) = column.as_string_opt::<i32>() {
                column.iter().flatten().for_each(|value| bytes.extend(value.as_bytes()));
            } else {
                assert!(column.len() == batch.num_rows());
            }
        }
    }
    bytes.extend(serde_json::to_vec(reader.metadata()).unwrap());
    (reader.metadata().clone(), bytes)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn planted_secrets_are_gone_and_the_answers_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    planted(path);
    let (before, bytes) = everything(&path.join("in.parquet"));
    for secret in SECRETS {
        assert!(contains(&bytes, secret), "{secret}");
    }
    assert_eq!(stdout(path, &["filter", "in.parquet", "-o", "out.parquet", "--redact"]), "");
    let (after, bytes) = everything(&path.join("out.parquet"));
    for secret in SECRETS {
        assert!(!contains(&bytes, secret), "{secret}");
    }
    assert!(contains(&bytes, "body-secret") && contains(&bytes, "mine") && contains(&bytes, "--port=80"));
    let mode = fs::metadata(path.join("out.parquet")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    assert_ne!(after.redaction, "none");
    assert!(after.redacted_headers.contains(&"authorization".to_owned()), "{after:?}");
    assert!(after.redacted_parameters.contains(&"token".to_owned()), "{after:?}");
    assert_eq!(after.argv.last().unwrap(), &format!("--token={}", "*".repeat(SECRETS[3].len())));
    assert_eq!(
        (&after.capture_id, &after.clocks, &after.host),
        (&before.capture_id, &before.clocks, &before.host)
    );

    let renamed = |text: String| text.replace("in.parquet", "out.parquet");
    for mode in [&[][..], &["--prometheus"], &["--strict"]] {
        let expected = renamed(stdout(path, &[&["in.parquet"], mode].concat()));
        assert_eq!(stdout(path, &[&["out.parquet"], mode].concat()), expected, "{mode:?}");
    }
    let queries = [
        "select * exclude (file, query) from requests",
        "select * exclude (file, payload, tail, command_line) from events",
        "select length(cast(payload as varchar)), octet_length(command_line) from events",
    ];
    for query in queries {
        let ask = |file| stdout(path, &[file, "--sql", query, "--format", "ndjson"]);
        assert_eq!(ask("out.parquet"), ask("in.parquet"), "{query}");
    }
    let query = "select distinct query from requests";
    let masked = format!("query\nid=1&token={}\n", "*".repeat(SECRETS[2].len()));
    assert_eq!(stdout(path, &["out.parquet", "--sql", query, "--format", "csv"]), masked);
    assert!(stdout(path, &["validate", "out.parquet"]).starts_with("out.parquet: valid, "));
}

#[test]
fn policies_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    planted(path);
    let filter = |arguments: &[&str]| stdout(path, &[&["filter"], arguments].concat());
    filter(&["in.parquet", "-o", "a.parquet", "--redact", "none", "--redact-header", "X-Session"]);
    let (_, bytes) = everything(&path.join("a.parquet"));
    assert!(!contains(&bytes, "mine") && contains(&bytes, SECRETS[0]));
    filter(&["a.parquet", "-o", "b.parquet", "--redact", "headers-only", "--redact-param", "id"]);
    let (metadata, bytes) = everything(&path.join("b.parquet"));
    for gone in [SECRETS[0], "mine", "body-secret", "id=1"] {
        assert!(!contains(&bytes, gone), "{gone}");
    }
    filter(&["b.parquet", "-o", "c.parquet", "--redact", "none"]);
    let (same, _) = everything(&path.join("c.parquet"));
    assert_eq!((&*same.redaction, &same), ("headers-only", &metadata));
    assert!(same.redacted_headers.contains(&"x-session".to_owned()));
    assert!(same.redacted_parameters.contains(&"id".to_owned()));
}

#[test]
fn a_fixture_of_an_older_version_stays_valid_and_gives_the_same_requests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["go", "node", "proxy"] {
        let fixture =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/{name}/{name}.parquet"));
        fs::copy(fixture, path.join("in.parquet")).unwrap();
        assert_eq!(stdout(path, &["filter", "in.parquet", "-o", "out.parquet", "--redact", "--force"]), "");
        assert!(stdout(path, &["validate", "out.parquet"]).starts_with("out.parquet: valid, "));
        assert_eq!(everything(&path.join("out.parquet")).0.schema_version, VERSION);
        let query = "select * exclude (file) from requests";
        let ask = |file| stdout(path, &[file, "--sql", query, "--format", "ndjson"]);
        assert_eq!(ask("out.parquet"), ask("in.parquet"), "{name}");
    }
}

/// The rows of `requests` of `from` on connections that `file` has, and the rows of `file`.
fn of_kept(path: &Path, from: &str, file: &str) -> (Vec<String>, Vec<String>) {
    let query = "select * exclude (file) from requests";
    let ask = |file: &str| run(path, &[file, "--sql", query, "--format", "ndjson"]).stdout;
    let connection = |line: &&str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["connection"].as_u64().unwrap()
    };
    let after = ask(file);
    let kept: std::collections::BTreeSet<_> = after.lines().map(|line| connection(&line)).collect();
    let all = ask(from);
    let expected = all.lines().filter(|line| kept.contains(&connection(line)));
    (expected.map(str::to_owned).collect(), after.lines().map(str::to_owned).collect())
}

#[test]
fn connections_of_selected_requests_are_kept_whole_and_every_fixture_replays_identically() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let mut fixtures = 0;
    for fixture in fs::read_dir(root).unwrap().flatten() {
        let name = fixture.file_name().into_string().unwrap();
        let file = fixture.path().join(format!("{name}.parquet"));
        if !file.exists() {
            continue;
        }
        fixtures += 1;
        fs::copy(file, path.join("in.parquet")).unwrap();
        for (number, condition) in
            ["connection % 3 = 0", "kind = 'client' and connection % 2 = 1"].iter().enumerate()
        {
            let filter = ["filter", "in.parquet", "-o", "out.parquet", "--force", "--where", condition];
            assert_eq!(stdout(path, &filter), "", "{name}");
            let valid = run(path, &["validate", "out.parquet"]);
            assert_eq!(valid.code, 0, "{name} {condition}: {valid:?}");
            let (expected, after) = of_kept(path, "in.parquet", "out.parquet");
            assert_eq!(after, expected, "{name} {condition}");
            let wanted = format!("select count(*) as n from requests where {condition}");
            let count = |file| run(path, &[file, "--sql", &wanted, "--format", "csv"]).stdout;
            assert_eq!(count("out.parquet"), count("in.parquet"), "{name} {number}");
        }
    }
    assert!(fixtures > 10);
}

#[test]
fn a_filtered_file_says_what_is_not_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut capture = Capture::new(path, "in.parquet");
    capture.process("shop");
    for number in 0..20 {
        capture.serve(number * 10 * MS, number + 1, "/", if number % 4 == 0 { 500 } else { 200 }, MS);
    }
    capture.lose(2);
    capture.loss("ring_full", 2);
    capture.seen(2);
    capture.end();
    let filter = |input: &str, output: &str, conditions: &[&str]| {
        stdout(path, &[&["filter", input, "-o", output][..], conditions].concat())
    };
    filter("in.parquet", "errors.parquet", &["--where", "status >= 500", "--from", "+30ms"]);
    let (metadata, _) = everything(&path.join("errors.parquet"));
    let filtered = metadata.filtered.unwrap();
    // Of 20 connections 4 have four rows each, and there is the process.
    assert_eq!(filtered.by, ["from +30ms", "where status >= 500"]);
    assert_eq!(filtered.left_out, 16 * 4);
    let valid = stdout(path, &["validate", "errors.parquet"]);
    assert!(valid.starts_with("errors.parquet: valid, 20 rows"), "{valid}");
    assert!(valid.contains("83 seen, 17 recorded + 2 lost + 64 left out"), "{valid}");
    let report = run(path, &["errors.parquet"]).stdout;
    assert!(
        report.contains("\n  filtered    from +30ms; where status >= 500; 64 events left out\n"),
        "{report}"
    );
    assert!(report.contains("\n  lost        2 (2.33%) of 83 seen"), "{report}");

    // What is left out adds up.
    let condition = "kind = 'open' and connection <= 5";
    filter("errors.parquet", "one.parquet", &["--connections-where", condition]);
    let (metadata, _) = everything(&path.join("one.parquet"));
    let filtered = metadata.filtered.unwrap();
    assert_eq!((filtered.by.len(), filtered.left_out), (3, 64 + 3 * 4));
    assert!(stdout(path, &["validate", "one.parquet"]).starts_with("one.parquet: valid, 8 rows"));

    // A file from which rows were taken without a word is not valid.
    let rows = Path::new("lie.parquet");
    let mut reader =
        EventReader::open(File::open(path.join("errors.parquet")).unwrap(), Projection::All).unwrap();
    let metadata = Metadata { filtered: None, ..reader.metadata().clone() };
    let file = File::create(path.join(rows)).unwrap();
    let mut writer = EventWriter::new(file, metadata.clock()).unwrap();
    while reader.next_batch(|event| writer.push(event).unwrap()).unwrap().is_some() {}
    writer.finish(&metadata).unwrap();
    assert_eq!(run(path, &["validate", "lie.parquet"]).code, 1);
}

#[test]
fn the_inbound_requests_that_made_outbound_ones_are_kept_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/proxy/proxy.parquet"),
        path.join("in.parquet"),
    )
    .unwrap();
    stdout(path, &["filter", "in.parquet", "-o", "out.parquet", "--where", "kind = 'client'"]);
    let query = "select count(parent_id) as n from requests where kind = 'client'";
    let count = |file| run(path, &[file, "--sql", query, "--format", "csv"]).stdout;
    assert_ne!(count("in.parquet"), "n\n0\n");
    assert_eq!(count("out.parquet"), count("in.parquet"));
}

#[test]
fn nothing_is_overwritten_or_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    planted(path);
    fs::write(path.join("out.parquet"), "precious").unwrap();
    let wrong = [
        (&["in.parquet", "-o", "out.parquet", "--redact"][..], "out.parquet: exists already"),
        (&["in.parquet", "-o", "nowhere/out.parquet", "--redact"], "nowhere/out.parquet: "),
        (&["missing.parquet", "-o", "new.parquet", "--redact"], "missing.parquet: "),
        (&["out.parquet", "-o", "new.parquet", "--redact"], "out.parquet: not a Parquet file"),
        (&["in.parquet", "-o", "new.parquet"], "--redact"),
        (&["in.parquet", "-o", "new.parquet", "--redact-header", "x"], "--redact"),
        (&["in.parquet", "-o", "new.parquet", "--where", "status"], "neither true nor false"),
        (&["in.parquet", "-o", "new.parquet", "--connections-where", "status = 200"], "status"),
        (&["in.parquet", "-o", "new.parquet", "--redact", "all"], "headers-only"),
        (&["in.parquet", "-o", "new.parquet", "--redact", "--redact-header", "host"], "cannot be redacted"),
    ];
    for (arguments, reason) in wrong {
        let ran = run(path, &[&["filter"], arguments].concat());
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{arguments:?} {ran:?}");
        assert!(ran.stderr.contains(reason), "{arguments:?} {ran:?}");
    }
    let mut bytes = fs::read(path.join("in.parquet")).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle..middle + 200].fill(0x5a);
    fs::write(path.join("damaged.parquet"), bytes).unwrap();
    let ran = run(path, &["filter", "damaged.parquet", "-o", "new.parquet", "--redact"]);
    assert!(ran.code == 2 && ran.stderr.starts_with("beyla-analyze: damaged.parquet: "), "{ran:?}");

    assert_eq!(fs::read(path.join("out.parquet")).unwrap(), b"precious");
    let mut left: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["damaged.parquet", "in.parquet", "out.parquet"]);
    assert_eq!(stdout(path, &["filter", "in.parquet", "-o", "out.parquet", "--redact", "--force"]), "");
    assert!(stdout(path, &["validate", "out.parquet"]).starts_with("out.parquet: valid"));
}
