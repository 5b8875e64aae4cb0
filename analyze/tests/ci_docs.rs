//! What docs/ci.md shows is what happens: its job, and its commands with what they say.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The blocks of code of the document in a language.
fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/ci.md")).unwrap();
    let mut blocks = Vec::new();
    for part in text.split(&format!("\n```{language}\n")).skip(1) {
        blocks.push(part.split("\n```\n").next().unwrap().to_owned());
    }
    blocks
}

/// A folder with the files of the document, of which `new.parquet` is a copy of this recording.
fn folder(new: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ci = root().join("fixtures/ci");
    for (from, to) in
        [("runs/base.parquet", "base.parquet"), (new, "new.parquet"), ("checks.yml", "checks.yml")]
    {
        fs::copy(ci.join(from), folder.path().join(to)).unwrap();
    }
    folder
}

/// Runs a command line in a folder as a job would; what it says and its exit status.
fn shell(folder: &Path, line: &str) -> (String, i32) {
    let bin = Path::new(env!("CARGO_BIN_EXE_beyla-analyze")).parent().unwrap();
    let path = env::join_paths(
        [bin.to_owned()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    );
    let output = Command::new("bash")
        .args(["-eo", "pipefail", "-c", &format!("exec 2>&1\n{line}")])
        .current_dir(folder)
        .env("PATH", path.unwrap())
        .env("GITHUB_STEP_SUMMARY", folder.join("summary.md"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

/// The commands of the job's steps, but for what gets the program.
fn steps() -> Vec<String> {
    let job = blocks("yaml").into_iter().find(|block| block.contains("runs-on:")).unwrap();
    let runs = job.split("        run: ").skip(1).map(|step| {
        let step = step.split("\n      - ").next().unwrap();
        step.strip_prefix("|\n").unwrap_or(step).lines().map(str::trim_start).collect::<Vec<_>>().join("\n")
    });
    runs.filter(|step| !step.starts_with("cargo ")).collect()
}

#[test]
fn the_job_passes_for_the_same_service_and_fails_for_a_slower_one() {
    let steps = steps();
    assert_eq!(steps.len(), 3, "{steps:?}");
    for (new, expected) in [("runs/same.parquet", [0, 0, 0]), ("runs/slower.parquet", [0, 1, 1])] {
        let folder = folder(new);
        for (step, expected) in steps.iter().zip(expected) {
            let (said, status) = shell(folder.path(), step);
            assert_eq!(status, expected, "{new}: {step}\n{said}");
        }
        let summary = fs::read_to_string(folder.path().join("summary.md")).unwrap();
        assert!(summary.contains("| p50&gt;+10% |"), "{summary}");
        let junit = fs::read_to_string(folder.path().join("check.xml")).unwrap();
        assert!(junit.contains("<testsuite name=\"beyla-analyze check\""), "{junit}");
    }
}

#[test]
fn the_checks_of_the_document_are_those_of_the_fixture() {
    let kept = fs::read_to_string(root().join("fixtures/ci/checks.yml")).unwrap();
    assert!(blocks("yaml").iter().any(|block| block.trim_end() == kept.trim_end()));
}

/// With `BLESS=1`, writes what the commands say now into the document.
#[test]
fn commands_say_what_the_document_shows() {
    let folder = folder("runs/slower.parquet");
    let path = root().join("docs/ci.md");
    let mut document = fs::read_to_string(&path).unwrap();
    let sessions = blocks("console");
    assert!(sessions.len() > 2, "{sessions:?}");
    for session in sessions {
        let mut now = String::new();
        let mut status = 0;
        for line in session.lines() {
            let Some(command) = line.strip_prefix("$ ") else { continue };
            now.extend([line, "\n"]);
            if command == "echo $?" {
                now.extend([status.to_string(), "\n".to_owned()]);
                continue;
            }
            let (said, code) = shell(folder.path(), command);
            (status, now) = (code, now + &said);
        }
        let now = now.trim_end();
        if env::var_os("BLESS").is_some() {
            document = document.replace(&session, now);
        } else {
            assert_eq!(session, now, "docs/ci.md; BLESS=1 writes it");
        }
    }
    if env::var_os("BLESS").is_some() {
        fs::write(path, document).unwrap();
    }
}
