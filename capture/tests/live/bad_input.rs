//! Captures that cannot be: each says why and what to do, with the right exit code, and harms nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use beyla_schema::file::{EventReader, Projection};

use crate::{
    Machine,
    capture::{Capture, PROGRAM, Recording},
    folder,
    server::{Kind, Server},
    turn,
};

/// Runs a command to its end. Returns its exit code and what it said on standard error.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output.status.code(), stderr)
}

/// Runs a capture that is refused: exit code 2, and the reason.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let (code, stderr) = run(Command::new(PROGRAM).current_dir(folder).args(arguments));
    assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
    stderr
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_capture_of_everything_is_refused() {
    let folder = folder();
    let said = refused(folder.path(), &["-o", "run.parquet"]);
    assert!(said.contains("choose what to record: --port N"), "{said}");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let folder = folder();
    let said = refused(folder.path(), &["--port", "1", "-o", "x", "--ring-size", "12MiB"]);
    assert!(said.contains("not a power of two; the next is 16.0 MiB"), "{said}");
    let said = refused(folder.path(), &["--port", "70000", "-o", "x"]);
    assert!(said.contains("ports are 1 to 65535"), "{said}");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_file_that_exists_stays_as_it_is() {
    let Some(_turn) = turn(Machine::Shared, &[]) else { return };
    let folder = folder();
    let path = folder.path().join("run.parquet");
    fs::write(&path, "precious").unwrap();
    let said = refused(folder.path(), &["--port", "1", "-o", "run.parquet"]);
    assert!(said.contains("run.parquet exists already") && said.contains("--force"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    // A capture that fails with --force leaves it alone too.
    let said = refused(folder.path(), &["--pid", "4194305", "-o", "run.parquet", "--force"]);
    assert!(said.contains("no process has the id 4194305"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    assert_eq!(names(folder.path()), ["run.parquet"]);

    let (code, said) = run(Command::new(PROGRAM).current_dir(folder.path()).args([
        "-o",
        "run.parquet",
        "--force",
        "--",
        "true",
    ]));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(Recording::read(&path).stats.end.as_deref(), Some("command_exit"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(folder.path()), ["run.parquet"]);
}

#[test]
fn a_place_that_cannot_be_written_is_refused() {
    let folder = folder();
    fs::create_dir(folder.path().join("taken")).unwrap();
    for place in ["nowhere/run.parquet", "/proc/run.parquet", "taken"] {
        let said = refused(folder.path(), &["--port", "1", "-o", place, "--force"]);
        assert!(said.contains(&format!("cannot write {place}")), "{said}");
    }
    assert_eq!(names(folder.path()), ["taken"]);
}

#[test]
fn a_command_that_cannot_be_started_is_refused() {
    let Some(_turn) = turn(Machine::Shared, &[]) else { return };
    let folder = folder();
    let said = refused(folder.path(), &["-o", "run.parquet", "--", "no-such-program-anywhere"]);
    assert!(said.contains("cannot start no-such-program-anywhere"), "{said}");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn without_privileges_sudo_is_named() {
    let Some(_turn) = turn(Machine::Shared, &["setpriv"]) else { return };
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // Nobody may enter the folder that the program was built in.
    let program = folder.path().join("program");
    fs::copy(PROGRAM, &program).unwrap();
    let (code, said) = run(Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .current_dir(folder.path())
        .args(["--port", "1", "-o", "run.parquet"]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("run it with sudo"), "{said}");
    assert_eq!(names(folder.path()), ["program"]);
}

/// Captures nginx under load to a disk of `size`, for `duration`. Returns the exit code, what was said, and
/// a folder with what was on the disk in the end.
fn capture_to_a_small_disk(size: &str, duration: &str) -> (Option<i32>, String, tempfile::TempDir) {
    let server = Server::start(Kind::Nginx);
    let folder = folder();
    fs::create_dir(folder.path().join("disk")).unwrap();
    // The disk is in a mount namespace of its own, and gone with it: this machine's mounts stay as they are.
    let script = "mount -t tmpfs -o size=$1 beyla-live disk || exit 99
        $2 --port $3 --duration $4 -o disk/run.parquet
        code=$?
        cp disk/* .
        exit $code";
    let mut load = Command::new("timeout")
        .args(["10", "wrk", "-t1", "-c16", "-d8", &format!("http://127.0.0.1:{}/", server.port)])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let ended = run(Command::new("timeout")
        .args(["60", "unshare", "--mount", "sh", "-c", script, "sh", size, PROGRAM])
        .args([&server.port.to_string(), duration])
        .current_dir(folder.path()));
    let _ = load.kill();
    let _ = load.wait();
    (ended.0, ended.1, folder)
}

#[test]
fn a_full_disk_keeps_what_was_written() {
    let Some(_turn) = turn(Machine::Alone, &["nginx", "wrk", "unshare"]) else { return };
    let (code, said, folder) = capture_to_a_small_disk("1m", "20s");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot go on writing disk/run.parquet"), "{said}");
    let events = said.split_once("; ").and_then(|(_, rest)| rest.split_once(" events are kept"));
    let events: u64 =
        events.unwrap_or_else(|| panic!("{said}")).0.rsplit(' ').next().unwrap().parse().unwrap();
    // What it says it kept can be read where it is, and made a file of where there is room.
    let path = folder.path().join("run.parquet");
    assert!(!path.exists());
    let left = EventReader::open_path(&path, Projection::All).unwrap();
    assert!(left.unfinished() && left.rows() == events && events > 0, "{} rows: {said}", left.rows());
    let (code, said) = run(Command::new(PROGRAM).arg("recover").arg(&path));
    assert_eq!(code, Some(0), "{said}");
    let recording = Recording::read(&path);
    assert_eq!(recording.rows, events);
    assert!(recording.requests.iter().any(|seen| seen.status == Some(200)));
    assert_eq!(recording.stats.gap_bytes, 0);
    // It says itself that it is not complete.
    assert_eq!(recording.stats.end, None);
}

#[test]
fn a_disk_that_is_full_at_the_end_is_said_to_be() {
    let Some(_turn) = turn(Machine::Alone, &["nginx", "wrk", "unshare"]) else { return };
    let (code, said, folder) = capture_to_a_small_disk("8k", "500ms");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("disk/run.parquet") && said.contains("No space left"), "{said}");
    assert!(!said.contains("wrote    "), "{said}");
    // Whatever has the name of a capture is one; what it says is kept can be read.
    if said.contains("events are kept") {
        let left = EventReader::open_path(&folder.path().join("run.parquet"), Projection::All).unwrap();
        assert!(said.contains(&format!("{} events are kept", left.rows())), "{said}");
    }
    let path = folder.path().join("run.parquet");
    if path.exists() {
        Recording::read(&path);
    }
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let Some(_turn) = turn(Machine::Shared, Kind::Python.programs()) else { return };
    let server = Server::start(Kind::Python);
    let capture = Capture::of_port(server.port);
    let path = capture.path();
    let began = Instant::now();
    capture.interrupt();
    thread::sleep(Duration::from_millis(5));
    capture.interrupt();
    let (code, said, _folder) = capture.ended();
    assert!(began.elapsed() < Duration::from_secs(10));
    match code {
        // Too late: it had finished.
        Some(0) => assert_eq!(Recording::read(&path).stats.end.as_deref(), Some("signal")),
        Some(130) => {
            assert!(said.contains("interrupted while finishing"), "{said}");
            assert!(!path.exists());
        }
        code => panic!("exit code {code:?}: {said}"),
    }
}
