//! Targets over time: processes that are forked, restarted, started late, put into a control group; and what is
//! told of each.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use beyla_schema::event::{Body, Change};

use crate::{
    Machine,
    capture::{Capture, Recording},
    client::Client,
    free_port,
    server::{Kind, Server},
    sources, turn, wait_for,
};

/// Has `ab` send `count` requests, each on its own connection, and checks that all were answered.
fn ab(port: u16, count: usize) {
    let url = format!("http://127.0.0.1:{port}/");
    let ended = Command::new("timeout")
        .args(["60", "ab", "-q", "-r", "-c", "8", "-n", &count.to_string(), &url])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    let number = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().parse::<usize>().ok())
    };
    assert_eq!((number("Complete requests:"), number("Failed requests:")), (Some(count), Some(0)), "{said}");
}

fn assert_answered(recording: &Recording, count: usize) {
    recording.assert_complete();
    assert_eq!(recording.requests.len(), count);
    assert!(recording.requests.iter().all(|seen| seen.status == Some(200)));
}

#[test]
fn a_process_for_every_connection_is_followed() {
    let Some(_turn) = turn(Machine::Alone, &["python3", "ab"]) else { return };
    let server = Server::start(Kind::Forking);
    // The process that served the connection which tried the server is gone before the capture begins.
    thread::sleep(Duration::from_millis(300));
    let capture = Capture::of_port(server.port);
    ab(server.port, 1000);
    let (mut started, mut accepted) = (0, 0);
    let recording = capture.stop_and(|event| match event.body {
        Body::Process(process) => started += usize::from(process.change == Some(Change::Start)),
        Body::Open(_) => accepted += 1,
        _ => {}
    });
    assert_answered(&recording, 1000);
    // A busy ab makes some connections that it has no request for any more.
    assert!((1000..1010).contains(&accepted), "{accepted} connections");
    assert_eq!(started, accepted);
}

#[test]
fn a_service_that_is_restarted_ten_times_under_load_is_recorded_throughout() {
    let Some(_turn) = turn(Machine::Alone, &["nginx", "ab"]) else { return };
    let port = free_port();
    let capture = Capture::of_port(port);
    for _ in 0..10 {
        let server = Server::start_on(Kind::Nginx, port);
        ab(port, 300);
        drop(server);
    }
    assert_answered(&capture.stop(), 3000);
}

#[test]
fn a_service_that_starts_under_load_is_recorded_from_its_first_connection() {
    let Some(_turn) = turn(Machine::Alone, Kind::Go.programs()) else { return };
    let port = free_port();
    let capture = Capture::of_port(port);
    // Clients that knock until somebody opens.
    let clients: Vec<_> = (0..8)
        .map(|number| {
            thread::spawn(move || {
                wait_for("the server", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
                let mut client = Client::new(port);
                for request in 0..50 {
                    client.ask("GET", &format!("/{number}/{request}"));
                }
                client.take_sent()
            })
        })
        .collect();
    let _server = Server::start_on(Kind::Go, port);
    let sent: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    capture.stop().assert_served(&sent);
}

#[test]
fn what_was_there_is_told_first() {
    let Some(_turn) = turn(Machine::Shared, Kind::Go.programs()) else { return };
    let mut server = Command::new("timeout");
    server.env("OTEL_RESOURCE_ATTRIBUTES", "service.version=1,service.name=web%20shop");
    let server = Server::start_with(Kind::Go, free_port(), server);
    let mut client = Client::new(server.port);
    client.ask("GET", "/before");
    client.take_sent();
    let capture = Capture::of_port(server.port);
    client.ask("GET", "/after");
    let (mut rows, mut facts) = (Vec::new(), None);
    let recording = capture.stop_and(|event| match event.body {
        Body::Process(process) => {
            rows.push("process");
            let texts = (process.service, process.runtime, process.command_line);
            let (service, runtime, command_line) = texts;
            facts = Some((service.to_owned(), runtime.to_owned(), command_line.to_owned(), event.pid));
            assert!(process.started_ns.is_some() && !process.cgroup.is_empty());
        }
        Body::Listen(listen) => {
            assert_eq!(listen.address.inet().unwrap().port(), server.port);
            rows.push("listen");
        }
        Body::Open(open) => {
            assert_eq!(open.local.inet().unwrap().port(), server.port);
            rows.push("open");
        }
        Body::Data(_) => rows.push("data"),
        _ => {}
    });
    recording.assert_served(&client.take_sent());
    let mut before: Vec<_> = rows.into_iter().take_while(|row| *row != "data").collect();
    assert_eq!(before[0], "process");
    before.sort_unstable();
    before.dedup();
    assert_eq!(before, ["listen", "open", "process"]);
    let (service, runtime, command_line, pid) = facts.unwrap();
    assert_eq!((&*service, &*runtime), ("web shop", "go"));
    assert!(command_line.ends_with(&format!("go-server {}", server.port)), "{command_line}");
    assert_eq!(pid, server.pid());
}

#[test]
fn a_command_ends_with_its_capture() {
    let Some(_turn) = turn(Machine::Shared, &[]) else { return };
    let capture = Capture::start(&["--duration", "300ms", "--", "sleep", "60"]);
    let recording = capture.wait();
    assert_eq!(recording.stats.end.as_deref(), Some("duration"));
    // As a shell says of a command that ended by SIGTERM.
    assert_eq!(recording.code, Some(128 + 15), "{}", recording.stderr);
}

#[test]
fn a_server_in_namespaces_of_its_own_is_recorded_by_its_port() {
    let Some(_turn) = turn(Machine::Shared, &["unshare", "nsenter", "ip", "python3", "ab"]) else { return };
    let port = free_port();
    // Network and process ids of its own, as in a container. It ends by itself.
    let script = "ip link set lo up && exec timeout 60 \"$@\"";
    let mut server = Command::new("unshare")
        .args(["--net", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", "python3"])
        .arg(sources().join("python/server.py"))
        .arg(port.to_string())
        .spawn()
        .unwrap();
    let inside = |program: &str, arguments: &[&str]| {
        let namespace = format!("--net=/proc/{}/ns/net", server.id());
        Command::new("nsenter").arg(namespace).arg(program).args(arguments).output().unwrap()
    };
    let url = format!("http://127.0.0.1:{port}/");
    wait_for("the server", || inside("curl", &["-s", &url]).status.success().then_some(()));
    let capture = Capture::of_port(port);
    assert!(capture.announcement.contains("python"), "{}", capture.announcement);
    let ended = inside("ab", &["-q", "-n", "200", "-c", "4", &url]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_answered(&capture.stop(), 200);
    server.kill().unwrap();
    server.wait().unwrap();
}

/// A control group of our own, below that of nobody else.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = mounts.find(|fields| fields[2] == "cgroup2")?[1].to_owned();
        let path = PathBuf::from(mount).join(format!("beyla-live-{name}-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is busy for a moment after its last process has ended.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_control_group_is_recorded_now_and_later() {
    let Some(_turn) = turn(Machine::Shared, Kind::Go.programs()) else { return };
    let group = Group::new("select").expect("a cgroup2 hierarchy to make a group in");
    let inner = group.0.join("inner");
    fs::create_dir(&inner).unwrap();
    let inner = Group(inner);
    let start = |group: &Group| {
        let mut command = Command::new("sh");
        let script = format!("echo $$ > {}/cgroup.procs; exec timeout \"$@\"", group.0.display());
        command.args(["-c", &script, "sh"]).stdin(Stdio::null());
        Server::start_with(Kind::Go, free_port(), command)
    };
    let before = start(&group);
    let outside = Server::start(Kind::Go);
    let capture = Capture::start(&["--cgroup", group.0.to_str().unwrap()]);
    let after = start(&inner);
    let mut sent = Vec::new();
    for server in [&before, &after] {
        let mut client = Client::new(server.port);
        client.ask("GET", "/first");
        client.ask_one_by_one(&["/second", "/third"]);
        sent.extend(client.take_sent());
    }
    Client::new(outside.port).ask("GET", "/not-recorded");
    capture.stop().assert_served(&sent);
    drop((before, after));
    drop(inner);
}
