//! Two runs compared: what is told of them, what makes the comparison fail, and in which form it is told.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use common::{Capture, MS, analyze, run, stdout};

/// A run of a minute: a request to each of three routes every 100 ms. Durations go up and down, the same way in every run.
fn record(folder: &Path, name: &str, change: impl Fn(&mut Capture, u64)) -> PathBuf {
    let mut capture = Capture::new(folder, name);
    capture.process("shop");
    for number in 0..600 {
        change(&mut capture, number);
    }
    capture.end()
}

/// A duration between 8 and 14 ms.
fn wavering(number: u64, salt: u64) -> u64 {
    8 * MS + (number * 7_919 + salt * 104_729) % 997 * 6 * MS / 997
}

fn usual(capture: &mut Capture, number: u64, salt: u64) {
    let at = number * 100 * MS;
    capture.serve(at, 10 * number + 1, "/cart", 200, wavering(number, salt));
    capture.serve(at + 30 * MS, 10 * number + 2, "/pay", 200, wavering(number, salt + 1));
    capture.serve(at + 60 * MS, 10 * number + 3, "/search", 200, wavering(number, salt + 2));
}

/// Every tenth payment of the last half minute fails, and payments take half as long again.
fn worse(capture: &mut Capture, number: u64) {
    let at = number * 100 * MS;
    capture.serve(at, 10 * number + 1, "/cart", 200, wavering(number, 5));
    let status = if number % 10 == 3 { 503 } else { 200 };
    capture.serve(at + 30 * MS, 10 * number + 2, "/pay", status, wavering(number, 6) * 3 / 2);
    capture.serve(at + 60 * MS, 10 * number + 3, "/search", 200, wavering(number, 7));
}

fn runs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), "base.parquet", |capture, number| usual(capture, number, 0));
    record(folder.path(), "same.parquet", |capture, number| usual(capture, number, 40));
    record(folder.path(), "worse.parquet", worse);
    folder
}

/// The lines of a comparison that say what came of conditions.
fn verdicts(folder: &Path, new: &str, conditions: &[&str]) -> (i32, String) {
    let mut arguments = vec!["diff", "base.parquet", new];
    for condition in conditions {
        arguments.extend(["--fail-on", condition]);
    }
    let ran = run(folder, &arguments);
    let told = ran.stdout.split_once("Conditions\n\n").map_or("", |(_, told)| told);
    (ran.code, told.to_owned())
}

#[test]
fn the_route_that_became_slower_is_named_and_no_other() {
    let folder = runs();
    let (code, told) =
        verdicts(folder.path(), "worse.parquet", &["p95>+10%", "error_rate>+0.5pp", "new_errors"]);
    assert_eq!(code, 1, "{told}");
    let failed: Vec<_> =
        told.lines().filter(|line| line.trim_start().starts_with("failed     inbound")).collect();
    assert_eq!(failed.len(), 3, "{told}");
    assert!(failed.iter().all(|line| line.contains("GET /pay: ")), "{told}");
    assert!(failed[0].contains("p95 13.7 ms -> 20.5 ms (+6.85 ms, +50.1%), p 0.0015"), "{told}");
    assert!(failed[1].contains("error_rate 0 -> 10.00% (+10.00pp), p 0.0015"), "{told}");
    assert!(failed[2].contains("new errors: 503"), "{told}");
    assert!(told.ends_with("failed: 3 of 3 conditions\n"), "{told}");
}

#[test]
fn another_run_of_the_same_service_passes() {
    let folder = runs();
    let conditions =
        ["p50>+5%", "p95>+5%", "p99>+5%", "error_rate>+0.1pp", "rate<-5%", "new_errors", "vanished_routes"];
    let (code, told) = verdicts(folder.path(), "same.parquet", &conditions);
    assert_eq!((code, told.lines().last()), (0, Some("passed: 7 conditions")), "{told}");
}

#[test]
fn scopes_limit_what_a_condition_looks_at() {
    let folder = runs();
    for (condition, code) in [
        ("route=/pay: p95>+10%", 1),
        ("route=/cart: p95>+10%", 0),
        ("service=shop: p95>+10%", 1),
        ("service=bank: p95>+10%", 0),
        ("total: error_rate>+1pp", 1),
        ("total: error_rate>+5pp", 0),
        ("p95<-10%", 0),
        ("max>+5ms", 1),
    ] {
        let (actual, told) = verdicts(folder.path(), "worse.parquet", &[condition]);
        assert_eq!(actual, code, "{condition}: {told}");
    }
}

#[test]
fn few_requests_are_too_few_to_tell_unless_that_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    for (name, took) in [("base.parquet", 10 * MS), ("new.parquet", 30 * MS)] {
        let mut capture = Capture::new(folder.path(), name);
        capture.process("shop");
        (0..20).for_each(|number| capture.serve(number * 100 * MS, number + 1, "/pay", 200, took));
        capture.end();
    }
    let (code, told) = verdicts(folder.path(), "new.parquet", &["p50>+10%"]);
    assert!(code == 0 && told.contains("undecided  inbound GET /pay: p50 10.0 ms -> 30.0 ms"), "{told}");
    assert!(told.contains("too few to tell"), "{told}");
    let (code, told) = verdicts(folder.path(), "new.parquet", &["p50>+10%!"]);
    assert!(code == 1 && told.contains("failed     inbound GET /pay"), "{told}");
    let raw = ["diff", "base.parquet", "new.parquet", "--fail-on", "p50>+10%", "--no-significance"];
    assert_eq!(run(folder.path(), &raw).code, 1);
}

#[test]
fn routes_and_statuses_that_come_and_go_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    for (name, route, status) in [("base.parquet", "/old", 200), ("new.parquet", "/new", 404)] {
        record(folder.path(), name, |capture, number| {
            capture.serve(number * 100 * MS, 10 * number + 1, "/pay", status, MS);
            capture.serve(number * 100 * MS + 50 * MS, 10 * number + 2, route, 200, MS);
        });
    }
    let text = stdout(folder.path(), &["diff", "base.parquet", "new.parquet"]);
    for expected in ["only in the base", "only in the new run", "new: status 404", "no longer: status 200"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let (code, told) =
        verdicts(folder.path(), "new.parquet", &["new_errors", "vanished_routes", "new_routes", "rate<-5%"]);
    assert_eq!(code, 1);
    assert!(told.contains("passed     new_errors"), "404 is no error of a server: {told}");
    assert!(told.contains("inbound GET /old: vanished, 600 requests before"), "{told}");
    assert!(told.contains("inbound GET /new: new, 600 requests"), "{told}");
    assert!(told.contains("inbound GET /old: rate 10.0 -> 0 (-10.0, -100.0%), p "), "{told}");
}

#[test]
fn incomplete_captures_are_said_loudly_and_fail_when_strict() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), "base.parquet", |capture, number| usual(capture, number, 0));
    let mut capture = Capture::new(folder.path(), "lossy.parquet");
    capture.process("shop");
    (0..600).for_each(|number| usual(&mut capture, number, 0));
    capture.loss("ring_full", 12);
    capture.end();
    let ran = run(folder.path(), &["diff", "base.parquet", "lossy.parquet"]);
    assert_eq!(ran.code, 0);
    assert!(
        ran.stdout.contains("INCOMPLETE  new: lossy.parquet: 12 events were lost (ring_full 12)"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("lower bounds"), "{}", ran.stdout);
    assert!(ran.stderr.contains("lossy.parquet: 12 events were lost"), "{}", ran.stderr);
    assert_eq!(run(folder.path(), &["diff", "base.parquet", "lossy.parquet", "--strict"]).code, 3);
}

#[test]
fn sides_can_have_several_files() {
    let folder = runs();
    let several =
        ["diff", "--base", "base.parquet", "same.parquet", "--new", "worse.parquet", "same.parquet"];
    let text = stdout(folder.path(), &several);
    assert!(text.contains("3,600 requests in 120 s"), "{text}");
    let one_and_many =
        run(folder.path(), &["diff", "base.parquet", "same.parquet", "--new", "worse.parquet"]);
    assert_eq!(one_and_many.code, 2);
}

#[test]
fn wrong_conditions_are_refused_with_the_grammar() {
    let folder = runs();
    let ran = run(folder.path(), &["diff", "base.parquet", "same.parquet", "--fail-on", "p95>10%"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("it goes >+ or <-") && ran.stderr.contains("SCOPE is route=/pay"),
        "{}",
        ran.stderr
    );
    let ran = run(folder.path(), &["diff", "base.parquet", "same.parquet", "--format", "junit"]);
    assert!(ran.code == 2 && ran.stderr.contains("--fail-on"), "{}", ran.stderr);
}

#[test]
fn more_routes_than_are_kept_apart_are_counted_together() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["base.parquet", "new.parquet"] {
        let mut capture = Capture::new(folder.path(), name);
        capture.process("shop");
        (0..400)
            .for_each(|number| capture.serve(number * 10 * MS, number + 1, &format!("/r{number}"), 200, MS));
        capture.end();
    }
    let arguments = ["diff", "base.parquet", "new.parquet", "--unmatched", "path", "--format", "json"];
    let json = stdout(folder.path(), &[&arguments[..], &["--fail-on", "vanished_routes!"]].concat());
    assert!(json.contains("\"scope\": \"others\"") && json.contains("\"failed\": false"), "{json}");
    assert_eq!(json.matches("\"scope\": \"route\"").count(), 2 * 256, "rows and findings");
}

/// The recordings of docs/ci.md, and what is said of them in each form.
#[test]
fn every_form_tells_of_a_slower_route_what_is_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/ci/runs");
    let mut failures = Vec::new();
    let forms = ["text", "markdown", "json", "junit", "github"];
    let diff = ["diff", "base.parquet", "slower.parquet", "--fail-on", "p95>+10%", "--fail-on", "new_errors"];
    let check = ["check", "slower.parquet", "--checks", "../checks.yml"];
    for (command, arguments) in [("diff", &diff[..]), ("check", &check[..])] {
        for form in forms {
            let output = || analyze(&folder).args(arguments).args(["--format", form]).output().unwrap();
            let (first, second) = (output(), output());
            assert_eq!(first.stdout, second.stdout, "two runs differ");
            assert_eq!(
                first.status.code(),
                Some(1),
                "{command} {form}: {}",
                String::from_utf8_lossy(&first.stderr)
            );
            let kept = folder.join(format!("{command}.{form}"));
            if env::var_os("BLESS").is_some() {
                fs::write(&kept, &first.stdout).unwrap();
            }
            if fs::read(&kept).unwrap_or_default() != first.stdout {
                let now = String::from_utf8_lossy(&first.stdout).into_owned();
                failures.push(format!("{} (BLESS=1 writes it):\n{now}", kept.display()));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
