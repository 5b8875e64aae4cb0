//! Assertions, limits and completeness: what holds, what does not, and what is no check at all.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::fs;

use common::{Capture, MS, Ran, run, shop};

fn check(arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    run(folder.path(), &[&["check", "run.parquet"], arguments].concat())
}

#[test]
fn an_assertion_holds_when_every_value_of_every_row_is_true() {
    for (query, code) in [
        ("select count(*) = 12 from requests", 0),
        ("select true, 1 < 2", 0),
        ("select duration_ms < 60 from requests", 0),
        ("select count(*) = 13 from requests", 1),
        ("select true, 1 > 2", 1),
        ("select duration_ms < 50 from requests", 1),
        ("select status < 600 from requests where false", 1),
        ("select null", 1),
        ("select cast(null as boolean)", 1),
        ("select max(ready_ns) > 0 from events", 1),
        ("select count(*) from requests", 2),
        ("select * from nothing", 2),
        ("selec true", 2),
        ("drop table requests", 2),
        ("select true; select true", 2),
    ] {
        let ran = check(&["--assert", query]);
        assert_eq!(ran.code, code, "{query}: {ran:?}");
        assert_eq!(code == 2, ran.stdout.is_empty(), "{query}: {ran:?}");
        // What is wrong is said with the check.
        assert_eq!(code == 2, ran.stderr.contains("check \""), "{query}: {ran:?}");
    }
}

#[test]
fn a_failure_shows_what_was_compared() {
    let ran = check(&[
        "--assert",
        "select max(duration_ms) < 30 from requests where kind = 'server' group by route",
    ]);
    assert_eq!(
        ran.stdout,
        "failed     select max(duration_ms) < 30 from requests where kind = 'server' group by route: \
         1 of 3 rows not true; the first: max(duration_ms) < 30 is false\n\
         \x20            route  max(duration_ms)  holds\n\
         \x20            ─────  ────────────────  ─────\n\
         \x20            /pay               50.0  false\n\
         failed: 1 of 1 check\n"
    );
}

#[test]
fn a_file_has_names_messages_and_what_to_show() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let checks = "
complete: true
checks:
  - name: payments work
    assert: select count(*) = 0 from requests where path = '/pay' and error
    message: somebody could not pay
    show: select path, status from requests where path = '/pay' and error
limits:
  - route: /cart
    p99: 20ms
    error_rate: 0%
    min_requests: 8
  - route: /pay
    max: 10ms
  - route: /none
    p50: 1s
";
    fs::write(folder.path().join("checks.yml"), checks).unwrap();
    let ran = run(folder.path(), &["check", "run.parquet", "--checks", "checks.yml"]);
    assert_eq!(
        (ran.code, &*ran.stdout),
        (
            1,
            "passed     complete run.parquet: nothing was lost, ended cleanly\n\
             failed     payments work: somebody could not pay (it is false)\n\
             \x20            path  status\n\
             \x20            ────  ──────\n\
             \x20            /pay     500\n\
             passed     /cart: requests >= 8: 8 requests\n\
             passed     inbound shop GET /cart: p99 <= 20.0 ms: 8.00 ms\n\
             passed     inbound shop GET /cart: error_rate <= 0: 0\n\
             failed     inbound shop GET /pay: max <= 10.0 ms: 50.0 ms\n\
             failed     /none: requests >= 1: 0 requests\n\
             failed: 3 of 7 checks\n"
        ),
        "{}",
        ran.stderr
    );
}

#[test]
fn every_query_of_a_file_of_sql_is_an_assertion() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let sql = "-- how many\nselect count(*) = 12 from requests;\nselect max(status) < 500 from requests;\n";
    fs::write(folder.path().join("checks.sql"), sql).unwrap();
    let ran = run(folder.path(), &["check", "run.parquet", "--checks", "checks.sql"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.starts_with("passed     SELECT count(*) = 12 FROM requests\n"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("failed     SELECT max(status) < 500 FROM requests: it is false\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn an_incomplete_capture_is_a_failure_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "run.parquet");
    capture.process("shop");
    capture.serve(0, 1, "/cart", 200, MS);
    capture.loss("ring_full", 3);
    capture.cut();
    let assert = ["check", "run.parquet", "--assert", "select count(*) = 1 from requests"];
    let ran = run(folder.path(), &assert);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("INCOMPLETE  run.parquet: did not end cleanly"), "{}", ran.stdout);
    assert_eq!(run(folder.path(), &[&assert[..], &["--strict"]].concat()).code, 3);
    let ran = run(folder.path(), &["check", "run.parquet", "--complete"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("failed     complete run.parquet: did not end cleanly"), "{}", ran.stdout);
}

#[test]
fn what_cannot_be_checked_is_an_error() {
    let ran = check(&[]);
    assert!(ran.code == 2 && ran.stderr.contains("nothing to check"), "{ran:?}");
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    fs::write(folder.path().join("checks.yml"), "checks:\n  - asert: select true\n").unwrap();
    let ran = run(folder.path(), &["check", "run.parquet", "--checks", "checks.yml"]);
    assert!(ran.code == 2 && ran.stderr.contains("checks.yml:2: "), "{ran:?}");
}
