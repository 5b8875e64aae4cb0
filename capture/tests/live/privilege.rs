//! What the recorder may still do while it looks at data: nothing.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    process::Command,
};

use crate::{
    Machine,
    capture::{Capture, PROGRAM},
    client::Client,
    folder,
    server::{Kind, Server},
    turn,
};

/// An unprivileged user that every system has.
const NOBODY: u32 = 65534;

/// One line of `/proc/PID/status`.
fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{pid} has no {name}")).trim().to_owned()
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, bits 19 and 2: what it takes to look at processes.
const LOADER: &str = "0000000000080004";
/// These and CAP_SYS_ADMIN, bit 21: what it takes to attach programs to them.
const ATTACHER: &str = "0000000000280004";

/// No thread of the recorder has a capability, nor can any program get one from it. Its helpers have these.
fn assert_unprivileged(capture: &Capture, helpers: &[&str]) {
    let pid = capture.pid();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let thread = thread.unwrap().file_name().to_str().unwrap().parse().unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(thread, set), "0000000000000000", "{set}");
        }
        assert_eq!(status(thread, "NoNewPrivs"), "1");
    }
    let children = children(pid);
    let capabilities = |set: &str| children.iter().map(|&child| status(child, set)).collect::<Vec<_>>();
    assert_eq!(capabilities("CapEff"), helpers);
    assert_eq!(capabilities("CapPrm"), helpers);
    assert!(children.iter().all(|&child| status(child, "NoNewPrivs") == "1"));
}

#[test]
fn no_capability_is_left_while_root_records() {
    let Some(_turn) = turn(Machine::Shared, Kind::Go.programs()) else { return };
    let server = Server::start(Kind::Go);
    let capture = Capture::of_port(server.port);
    assert_unprivileged(&capture, &[LOADER, ATTACHER]);
    let mut client = Client::new(server.port);
    client.ask("GET", "/");
    capture.stop().assert_served(&client.take_sent());
}

#[test]
fn sudo_records_as_the_user_who_called_it() {
    let Some(_turn) = turn(Machine::Shared, Kind::Go.programs()) else { return };
    let server = Server::start(Kind::Go);
    let folder = folder();
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new(PROGRAM);
    command.env("SUDO_UID", NOBODY.to_string()).env("SUDO_GID", NOBODY.to_string());
    let capture = Capture::run_in(folder, command, &["--port", &server.port.to_string()]);
    assert_unprivileged(&capture, &[LOADER, ATTACHER]);
    assert_eq!(status(capture.pid(), "Uid"), format!("{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}"));
    let mut client = Client::new(server.port);
    client.ask("GET", "/");
    let path = capture.path();
    capture
        .stop_and(|_| {
            let file = fs::metadata(&path).unwrap();
            assert_eq!((file.uid(), file.mode() & 0o777), (NOBODY, 0o600));
        })
        .assert_served(&client.take_sent());
}

#[test]
fn an_ordinary_user_records_with_file_capabilities() {
    let Some(_turn) = turn(Machine::Shared, &["setcap", "setpriv", "python3"]) else { return };
    // Somebody else's.
    let server = Server::start(Kind::Python);
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = folder.path().join("beyla-capture");
    fs::copy(PROGRAM, &program).unwrap();
    let capabilities = "cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep";
    assert!(Command::new("setcap").arg(capabilities).arg(&program).status().unwrap().success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]).arg(&program);
    let capture = Capture::run_in(folder, command, &["--port", &server.port.to_string()]);
    assert_unprivileged(&capture, &[LOADER]);
    let mut client = Client::new(server.port);
    for target in ["/one", "/two?status=404", "/three"] {
        client.ask("GET", target);
    }
    let path = capture.path();
    capture
        .stop_and(|_| assert_eq!(fs::metadata(&path).unwrap().uid(), NOBODY))
        .assert_served(&client.take_sent());
}

#[test]
fn a_folder_of_somebody_else_is_refused_before_anything_is_recorded() {
    let Some(_turn) = turn(Machine::Shared, &[]) else { return };
    let folder = folder();
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let path = folder.path().join("run.parquet");
    let ended = Command::new(PROGRAM).args(["--port", "1", "-o"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot write") && said.contains("choose a folder"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
