//! Captures that end by themselves, and captures in parts.

use std::{
    collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, thread,
    time::Duration,
};

use beyla_schema::file::{EventReader, Projection};

use crate::{
    Machine,
    capture::{Capture, PROGRAM, Recording, parts},
    client::Client,
    folder,
    server::{Kind, Server},
    turn,
};

#[test]
fn a_capture_ends_after_so_many_events() {
    let Some(_turn) = turn(Machine::Shared, Kind::Python.programs()) else { return };
    let server = Server::start(Kind::Python);
    let capture = Capture::start(&["--port", &server.port.to_string(), "--max-events", "60"]);
    let mut client = Client::new(server.port);
    (0..60).for_each(|number| client.ask("GET", &format!("/{number}")));
    let recording = capture.wait();
    assert_eq!(recording.code, Some(0), "{}", recording.stderr);
    assert_eq!(recording.stats.end.as_deref(), Some("max_events"));
    assert!(recording.rows >= 60);
    recording.assert_complete();
}

#[test]
fn a_capture_ends_at_a_size() {
    let Some(_turn) = turn(Machine::Alone, &["nginx", "wrk"]) else { return };
    let server = Server::start(Kind::Nginx);
    let port = server.port.to_string();
    let capture = Capture::start(&["--port", &port, "--max-size", "400kB"]);
    let url = format!("http://127.0.0.1:{port}/index.html");
    let load = Command::new("timeout").args(["10", "wrk", "-t1", "-c8", "-d3", &url]).output().unwrap();
    assert!(load.status.success());
    let path = capture.path();
    let (code, said, _folder) = capture.ended();
    assert_eq!(code, Some(0), "{said}");
    let recording = Recording::read(&path);
    assert_eq!(recording.stats.end.as_deref(), Some("max_size"));
    let size = fs::metadata(&path).unwrap().len();
    // What is not compressed yet counts as it is.
    assert!((50_000..1_000_000).contains(&size), "{size} bytes");
}

#[test]
fn parts_are_captures_and_together_one() {
    let Some(_turn) = turn(Machine::Shared, Kind::Go.programs()) else { return };
    let server = Server::start(Kind::Go);
    let capture = Capture::start(&["--port", &server.port.to_string(), "--rotate", "1s"]);
    let mut clients: Vec<_> = (0..4).map(|_| Client::new(server.port)).collect();
    for round in 0..35 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.ask("GET", &format!("/{number}/{round}"));
        }
        thread::sleep(Duration::from_millis(100));
    }
    let path = capture.path();
    capture.interrupt();
    let (code, said, folder) = capture.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("run.*.parquet") && said.contains("parts"), "{said}");
    let files = parts(folder.path());
    assert!(files.len() > 2 && !path.exists(), "{files:?}");
    let mut identities = BTreeSet::new();
    let mut complete = 0;
    for (number, file) in (1..).zip(&files) {
        assert_eq!(*file, path.with_file_name(format!("run.{number:04}.parquet")));
        let recording = Recording::read(file);
        let metadata = recording.metadata.as_ref().unwrap();
        assert_eq!(metadata.part, Some(number));
        identities.insert(metadata.capture_id.clone());
        let last = number as usize == files.len();
        assert_eq!(recording.stats.end.as_deref(), Some(if last { "signal" } else { "rotated" }));
        for seen in &recording.requests {
            // Also of connections that were opened parts before.
            assert!(
                seen.client.is_some() && seen.server == Some(([127, 0, 0, 1], server.port).into()),
                "{seen:?}"
            );
            complete += u32::from(seen.status == Some(200) && seen.target.is_some());
        }
    }
    assert_eq!(identities.len(), 1);
    // One at a time is in flight at most where a part ends.
    assert!(complete as usize + files.len() >= 140 && complete <= 140, "{complete}");
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM).current_dir(folder).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_a_killed_capture_left_is_not_lost_by_accident() {
    let Some(_turn) = turn(Machine::Shared, &["python3", "setpriv"]) else { return };
    let server = Server::start(Kind::Python);
    let capture = Capture::of_port(server.port);
    let mut client = Client::new(server.port);
    (0..20).for_each(|number| client.ask("GET", &format!("/{number}")));
    thread::sleep(Duration::from_millis(500));
    let path = capture.path();
    let again = ["--port", "1", "-o", "run.parquet"];
    let place = path.parent().unwrap().to_owned();
    // It is going on: nobody takes its place, and it is read as it is.
    for (arguments, code) in
        [(&["recover", "run.parquet"][..], 2), (&again, 2), (&[&again[..], &["--force"]].concat(), 2)]
    {
        let (exit, said) = run(&place, arguments);
        assert_eq!(exit, Some(code), "{said}");
        assert!(said.contains("is being written"), "{said}");
    }
    let reader = EventReader::open_path(&path, Projection::Pairing).unwrap();
    assert!(reader.unfinished() && reader.rows() > 40);

    let folder = capture.kill();
    let (exit, said) = run(folder.path(), &again);
    assert_eq!(exit, Some(2), "{said}");
    assert!(said.contains("beyla-capture recover run.parquet") && said.contains("--force"), "{said}");
    let (exit, said) = run(folder.path(), &["recover", "run.parquet"]);
    assert_eq!(exit, Some(0), "{said}");
    let recording = Recording::read(&path);
    for number in 0..20 {
        let target = format!("/{number}");
        assert!(
            recording
                .requests
                .iter()
                .any(|seen| seen.target.as_ref() == Some(&target) && seen.status == Some(200))
        );
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (exit, said) = run(folder.path(), &["recover", "run.parquet"]);
    assert_eq!(exit, Some(2), "{said}");
    assert!(said.contains("run.parquet is complete"), "{said}");
}

#[test]
fn there_may_be_nothing_to_recover() {
    let folder = folder();
    let (exit, said) = run(folder.path(), &["recover", "run.parquet"]);
    assert_eq!(exit, Some(2), "{said}");
    assert!(said.contains("there is neither run.parquet nor anything"), "{said}");
    fs::write(folder.path().join("run.parquet.partial"), "PAR1 something else").unwrap();
    fs::write(folder.path().join("run.parquet.journal"), [7; 5000]).unwrap();
    let (exit, said) = run(folder.path(), &["recover", "run.parquet"]);
    assert_eq!(exit, Some(1), "{said}");
    assert!(said.contains("run.parquet.journal: byte 0: "), "{said}");
}
