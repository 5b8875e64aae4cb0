//! Probes that come and go, many times, in a service under load.

use std::{
    env,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use super::Service;
use crate::{
    Machine,
    capture::PROGRAM,
    folder, free_port,
    server::{Kind, Server},
    turn,
};

/// How often, if not so often as this variable says.
const CYCLES: u32 = 8;
const VARIABLE: &str = "BEYLA_TLS_CYCLES";

/// Captures at a time.
const AT_A_TIME: u32 = 4;

/// Captures begin and end, several at a time, while `wrk` goes on, on connections that last and on one for each request, so that stacks of
/// new goroutines grow with probes in them. No request fails, and the server is there afterwards.
fn attaching_and_detaching_harms_nobody(service: Service) {
    let kind = Kind::Tls(service);
    let Some(_turn) = turn(Machine::Alone, &[kind.programs(), &["wrk"]].concat()) else { return };
    let cycles = env::var(VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(CYCLES);
    // Bounded too, but for as long as this takes.
    let mut timeout = Command::new("sh");
    timeout.args(["-c", &format!("shift 3; exec timeout -k 5 {} \"$@\"", cycles * 4 + 60), "sh"]);
    let server = Server::start_with(kind, free_port(), timeout);
    let pid = server.pid();
    let folder = folder();
    let done = Arc::new(AtomicBool::new(false));
    let load = |header: &'static str| {
        let (url, done) = (server.url("/index.html"), Arc::clone(&done));
        thread::spawn(move || {
            let mut requests = 0;
            while !done.load(Ordering::Relaxed) {
                // What the captures leave, for as much as they take.
                let mut wrk = Command::new("nice");
                wrk.args(["wrk", "-t1", "-c4", "-d5s", "-H", header, &url]);
                let output = wrk.stdin(Stdio::null()).output().unwrap();
                let said = String::from_utf8(output.stdout).unwrap();
                assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
                let count = said.lines().find_map(|line| line.trim().split_once(" requests in"));
                requests += count
                    .and_then(|(count, _)| count.parse::<u64>().ok())
                    .unwrap_or_else(|| panic!("{said}"));
            }
            requests
        })
    };
    let loads = [load("Connection: keep-alive"), load("Connection: close")];
    let begun = AtomicU32::new(0);
    thread::scope(|scope| {
        for number in 0..AT_A_TIME {
            let (begun, output) = (&begun, folder.path().join(format!("{number}.parquet")));
            scope.spawn(move || {
                while begun.fetch_add(1, Ordering::Relaxed) < cycles {
                    let mut capture = Command::new(PROGRAM);
                    capture.args(["--quiet", "--force", "--duration", "100ms", "--pid", &pid.to_string()]);
                    let output = capture.arg("-o").arg(&output).output().unwrap();
                    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                }
            });
        }
    });
    done.store(true, Ordering::Relaxed);
    let requests = loads.map(|load| load.join().unwrap());
    eprintln!("{cycles} captures came and went during {requests:?} requests");
    assert!(requests.iter().all(|&requests| requests > 0));
    assert_eq!(server.pid(), pid);
}

#[test]
fn of_go() {
    attaching_and_detaching_harms_nobody(Service::GoStripped);
}

#[test]
fn of_nginx() {
    attaching_and_detaching_harms_nobody(Service::Nginx);
}

#[test]
fn of_node() {
    attaching_and_detaching_harms_nobody(Service::Node);
}
