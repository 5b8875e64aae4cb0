//! Every fixture gives the outputs that are kept beside it: those that people can read whole, of others their size and
//! checksum in `digests.txt`. Every output is made twice.
//!
//! `BLESS=1` writes them anew; the difference is then for people to read before it is committed.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    thread,
};

/// What is kept beside a fixture, and the arguments that make it.
const GOLDENS: &[(&str, &[&str])] = &[
    ("report.txt", &["--color", "never"]),
    ("report.md", &["--format", "markdown"]),
    ("report.json", &["--format", "json"]),
    ("requests.ndjson", &["--sql", "select * from requests", "--format", "ndjson"]),
    ("connections.ndjson", &["--sql", "select * from connections", "--format", "ndjson"]),
    ("processes.ndjson", &["--sql", "select * from processes", "--format", "ndjson"]),
    ("losses.ndjson", &["--sql", "select * from losses", "--format", "ndjson"]),
    ("metrics.prom", &["--prometheus"]),
    ("traces.txt", &["--traces=text"]),
    ("traces.ndjson", &["--traces=json"]),
    ("backfill.om", &["--prometheus", "--metric-names", "beyla-2023", "--step", "10s"]),
    ("stats.txt", &["stats"]),
    ("diff.txt", &["diff", "--fail-on", "p99>+1%", "--fail-on", "total: rate<-1%"]),
];

/// The same for outputs of which the size and the checksum are kept.
const DIGESTS: &[(&str, &[&str])] = &[
    ("metrics.om", &["--openmetrics"]),
    ("report.html", &["--format", "html"]),
    ("requests.parquet", &["export", "--to", "parquet"]),
    ("requests.arrow", &["export", "--to", "arrow"]),
    ("requests.csv", &["export", "--to", "csv"]),
    ("spans.otlp", &["export", "--to", "otlp"]),
    ("spans.jsonl", &["export", "--to", "otlp-json"]),
    ("requests.har", &["export", "--to", "har"]),
    ("timeline.perfetto-trace", &["export", "--to", "perfetto"]),
    ("again.sh", &["export", "--to", "curl"]),
    ("again.js", &["export", "--to", "k6"]),
    ("validate.txt", &["validate"]),
    ("validate.json", &["validate", "--format", "json"]),
    ("routes.txt", &["routes"]),
    ("routes.json", &["routes", "--format", "json"]),
    ("by.txt", &["--by", "status,client_address"]),
    ("traces.line", &["--traces"]),
    ("export.om", &["export", "--to", "openmetrics"]),
    ("export.ndjson", &["export", "--to", "ndjson"]),
    ("masked.parquet", &["filter", "--redact", "headers-only"]),
    ("some.parquet", &["filter", "--where", "status >= 400"]),
    ("merged.parquet", &["merge", "../java/java.parquet", "../proxy/proxy.parquet"]),
    ("stats.json", &["stats", "--format", "json"]),
    ("schema.txt", &["schema"]),
    ("schema.json", &["schema", "--table", "events", "--format", "json"]),
    ("cat.txt", &["cat"]),
    ("cat.ndjson", &["cat", "--format", "ndjson"]),
    ("sql.json", &["--sql", "select * from otel_requests", "--format", "json"]),
    ("sql.tsv", &["--sql", "select * from concurrency", "--format", "tsv"]),
    ("sql.csv", &["--sql", "select * from requests", "--format", "csv"]),
    ("sql.md", &["--sql", "select * from requests", "--format", "markdown"]),
    ("sql.txt", &["--sql", "select * from requests", "--format", "table"]),
    ("sql.parquet", &["--sql", "select * from requests", "--format", "parquet"]),
    ("sql.arrow", &["--sql", "select * from events", "--format", "arrow"]),
    ("diff.md", &["diff", "--fail-on", "p99>+1%", "--format", "markdown"]),
    ("diff.json", &["diff", "--fail-on", "p99>+1%", "--format", "json"]),
    ("diff.xml", &["diff", "--fail-on", "p99>+1%", "--format", "junit"]),
    ("diff.github", &["diff", "--fail-on", "p99>+1%", "--format", "github"]),
    ("check.txt", &["check", "--complete", "--assert", "select count(*) > 0 from requests"]),
    ("check.md", &["check", "--assert", "select count(*) > 0 from requests", "--format", "markdown"]),
    ("check.json", &["check", "--assert", "select count(*) > 0 from requests", "--format", "json"]),
    ("check.xml", &["check", "--assert", "select count(*) > 0 from requests", "--format", "junit"]),
    ("check.github", &["check", "--assert", "select count(*) > 0 from requests", "--format", "github"]),
];

fn fixtures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    for folder in fs::read_dir(root).into_iter().flatten().flatten() {
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            if file.path().extension().is_some_and(|extension| extension == "parquet") {
                found.push(file.path());
            }
        }
    }
    found.sort();
    found
}

/// The lines that differ, each with its number; the first few are enough to see what happened.
fn difference(expected: &str, actual: &str) -> Vec<String> {
    let (mut old, mut new) = (expected.lines(), actual.lines());
    let mut lines = Vec::new();
    for number in 1.. {
        let (before, after) = (old.next(), new.next());
        if before.is_none() && after.is_none() || lines.len() > 40 {
            break;
        }
        if before != after {
            lines.extend(before.map(|line| format!("{number:>6} - {line}")));
            lines.extend(after.map(|line| format!("{number:>6} + {line}")));
        }
    }
    lines
}

/// What one command that makes a capture makes of it, twice the same.
fn capture(folder: &Path, fixture: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let folder_of_results = tempfile::tempdir().unwrap();
    // A capture is not merged with itself.
    let others = arguments.iter().filter(|argument| !argument.ends_with(fixture));
    let make = |name: &str| {
        let path = folder_of_results.path().join(name);
        let ran =
            common::analyze(folder).args(others.clone()).arg(fixture).arg("-o").arg(&path).output().unwrap();
        if !ran.status.success() {
            return Err(format!("{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr)));
        }
        Ok(fs::read(path).unwrap())
    };
    let (first, second) = (make("first")?, make("second")?);
    if first == second { Ok(first) } else { Err("two runs differ".to_owned()) }
}

/// What one command writes, twice the same.
fn output(folder: &Path, fixture: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
    if let ["filter" | "merge", ..] = arguments {
        return capture(folder, fixture, arguments);
    }
    let arguments: Vec<_> = match arguments {
        // A run does not differ from itself.
        ["diff", rest @ ..] => [&["diff", fixture, fixture], rest].concat(),
        [verb, rest @ ..] if !verb.starts_with('-') => [&[*verb, fixture], rest].concat(),
        _ => [&[fixture], arguments].concat(),
    };
    let run = || common::analyze(folder).args(&arguments).output().unwrap();
    let (first, second) = (run(), run());
    if !first.status.success() {
        return Err(format!("{}: {}", first.status, String::from_utf8_lossy(&first.stderr)));
    }
    if first.stdout != second.stdout {
        return Err("two runs differ".to_owned());
    }
    Ok(first.stdout)
}

/// What of `now` is not what is kept at `path`; nothing once it is blessed.
fn compare(path: &Path, now: &[u8], failures: &mut Vec<String>) {
    let shown = path.display();
    if env::var_os("BLESS").is_some() {
        fs::write(path, now).unwrap();
    }
    match fs::read(path) {
        Err(error) => failures.push(format!("{shown}: {error} (BLESS=1 writes it)")),
        Ok(kept) if kept != now => {
            failures.push(format!("{shown} (- golden, + now):"));
            let [kept, now] = [&kept, now].map(String::from_utf8_lossy);
            failures.extend(difference(&kept, &now));
        }
        Ok(_) => {}
    }
}

/// What of the outputs of one fixture is not what is kept.
fn failures(fixture: &Path) -> Vec<String> {
    let (folder, name) = (fixture.parent().unwrap(), fixture.file_name().unwrap().to_str().unwrap());
    let (mut failures, mut digests) = (Vec::new(), String::new());
    for (golden, arguments) in GOLDENS.iter().chain(DIGESTS) {
        let whole = GOLDENS.iter().any(|(kept, _)| kept == golden);
        match output(folder, name, arguments) {
            Err(reason) => failures.push(format!("{}: {golden}: {reason}", fixture.display())),
            Ok(now) if whole => compare(&folder.join(golden), &now, &mut failures),
            Ok(now) => {
                let checksum = crc32fast::hash(&now);
                writeln!(digests, "{checksum:08x} {:>8} {golden}", now.len()).unwrap();
            }
        }
    }
    compare(&folder.join("digests.txt"), digests.as_bytes(), &mut failures);
    failures
}

#[test]
fn fixtures_give_their_goldens() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty(), "there is no fixtures/*/*.parquet");
    let failures: Vec<_> = thread::scope(|scope| {
        // Every output is a process of its own.
        let (some, others) = fixtures.split_at(fixtures.len() / 2);
        let workers = [some, others].map(|some| {
            scope.spawn(|| some.iter().flat_map(|fixture| failures(fixture)).collect::<Vec<_>>())
        });
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}
