//! Every fixture gives the report, the requests and the metrics that are kept beside it.
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
fn difference(expected: &str, actual: &str) -> String {
    let mut text = String::new();
    let (mut old, mut new) = (expected.lines(), actual.lines());
    let (mut number, mut shown) = (0, 0);
    loop {
        let (before, after) = (old.next(), new.next());
        number += 1;
        if before.is_none() && after.is_none() {
            break;
        }
        if before != after {
            for (sign, line) in [('-', before), ('+', after)] {
                if let Some(line) = line {
                    text += &format!("{number:>6} {sign} {line}\n");
                }
            }
            shown += 1;
            if shown == 20 {
                text += "       … and more\n";
                break;
            }
        }
    }
    text
}

#[test]
fn fixtures_give_their_goldens() {
    let bless = env::var_os("BLESS").is_some();
    let fixtures = fixtures();
    assert!(!fixtures.is_empty(), "there is no fixtures/*/*.parquet");
    let mut failures = String::new();
    for fixture in fixtures {
        let (folder, name) = (fixture.parent().unwrap(), fixture.file_name().unwrap().to_str().unwrap());
        for (golden, arguments) in GOLDENS {
            let ran = common::run(folder, &[&[name], *arguments].concat());
            let path = folder.join(golden);
            if ran.code != 0 {
                failures += &format!("{}: exit status {}: {}\n", path.display(), ran.code, ran.stderr);
            } else if bless {
                fs::write(&path, ran.stdout).unwrap();
            } else {
                match fs::read_to_string(&path) {
                    Err(error) => failures += &format!("{}: {error} (BLESS=1 writes it)\n", path.display()),
                    Ok(expected) if expected != ran.stdout => {
                        let difference = difference(&expected, &ran.stdout);
                        failures += &format!("{} (- golden, + now):\n{difference}", path.display());
                    }
                    Ok(_) => {}
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}
