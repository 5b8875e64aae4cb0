//! Every fixture gives the report, the requests, the metrics and the traces that are kept beside it.
//!
//! `BLESS=1` writes them anew; the difference is then for people to read before it is committed.

mod common;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// What is kept beside a fixture, and the arguments that make it.
const GOLDENS: &[(&str, &[&str])] = &[
    ("report.txt", &["--color", "never"]),
    ("requests.ndjson", &["--sql", "select * from requests", "--format", "ndjson"]),
    ("metrics.prom", &["--prometheus"]),
    ("traces.txt", &["--traces=text"]),
    ("traces.ndjson", &["--traces=json"]),
    ("backfill.om", &["--prometheus", "--metric-names", "beyla-2023", "--step", "10s"]),
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

#[test]
fn fixtures_give_their_goldens() {
    let bless = env::var_os("BLESS").is_some();
    let fixtures = fixtures();
    assert!(!fixtures.is_empty(), "there is no fixtures/*/*.parquet");
    let mut failures = Vec::new();
    for fixture in fixtures {
        let (folder, name) = (fixture.parent().unwrap(), fixture.file_name().unwrap().to_str().unwrap());
        for (golden, arguments) in GOLDENS {
            let ran = common::run(folder, &[&[name], *arguments].concat());
            let path = folder.join(golden);
            let shown = path.display();
            if ran.code != 0 {
                failures.push(format!("{shown}: exit status {}: {}", ran.code, ran.stderr));
                continue;
            }
            if bless {
                fs::write(&path, &ran.stdout).unwrap();
            }
            match fs::read_to_string(&path) {
                Err(error) => failures.push(format!("{shown}: {error} (BLESS=1 writes it)")),
                Ok(expected) if expected != ran.stdout => {
                    failures.push(format!("{shown} (- golden, + now):"));
                    failures.extend(difference(&expected, &ran.stdout));
                }
                Ok(_) => {}
            }
        }
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}
