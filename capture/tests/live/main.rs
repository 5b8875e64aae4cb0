//! Live tests: real servers and clients, recorded with the real probes, must come back request by request.
//!
//! They need root, a kernel with the probes' hooks, and the server programs they record. Where something is
//! missing a test says what and is skipped; with `BEYLA_LIVE=required` it fails instead. Every process is
//! bounded in time and ends with its test; nothing is captured but what a test has started itself.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "that is how a test fails")]

mod bad_input;
mod calls;
mod capture;
mod client;
mod crash;
mod frames;
mod grpc;
mod http2;
mod life_cycle;
mod limits;
mod load;
mod losses;
mod messages;
mod pipelining;
mod privilege;
mod probes;
mod prometheus;
mod queue;
mod secrets;
mod server;
mod servers;
mod shown;
mod shows;
mod stacks;
mod targets;
mod tls;
mod transports;
mod upgrade;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use beyla_capture::host;

/// How long anything may take that takes a moment on an idle machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `ready` has something.
fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < until, "gave up waiting for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A port that nobody uses, outside of the range from which the kernel takes those of clients.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16;
    wait_for("a free port", || {
        let number = first.wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + number % 10_000;
        std::net::TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
    })
}

/// A folder that servers may read whatever user they run as.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::Builder::new().prefix("beyla-live-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// `fixtures/servers`.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/servers").canonicalize().unwrap()
}

/// Whether the machine is shared with other tests while one runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Machine {
    Shared,
    /// For tests of load: theirs alone.
    Alone,
}

/// A test's turn on the machine: over when it is dropped.
struct Turn(#[expect(dead_code, reason = "holds the lock")] File);

/// Waits for the test's turn. None, and the reason on standard error, when it cannot run here.
fn turn(machine: Machine, programs: &[&str]) -> Option<Turn> {
    let missing = programs.iter().find(|program| !is_installed(program));
    let obstacle = missing
        .map(|program| format!("{program} is not installed"))
        .or_else(|| obstacle().map(str::to_owned));
    if let Some(obstacle) = obstacle {
        assert!(env::var_os("BEYLA_LIVE").is_none_or(|value| value != "required"), "{obstacle}");
        eprintln!("skipped: {obstacle}");
        return None;
    }
    // Processes of a runner that starts each test on its own take turns too.
    let lock = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("live.lock")).unwrap();
    match machine {
        Machine::Shared => lock.lock_shared(),
        Machine::Alone => lock.lock(),
    }
    .unwrap();
    Some(Turn(lock))
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What keeps a capture from running here: tried with one that has nothing to record.
fn obstacle() -> Option<&'static str> {
    static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
    let obstacle = OBSTACLE.get_or_init(|| {
        let folder = folder();
        let mut command = Command::new(capture::PROGRAM);
        let tried = command.arg("-o").arg(folder.path().join("x.parquet")).args(["--", "true"]).output();
        let tried = tried.unwrap();
        let text = String::from_utf8_lossy(&tried.stderr).into_owned();
        match tried.status.code() {
            Some(0) => None,
            Some(2) => Some(text),
            _ => panic!("the simplest capture failed: {text}"),
        }
    });
    obstacle.as_deref()
}

/// Numbers that look random and are the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// The clock of events.
fn now_ns() -> u64 {
    host::monotonic_ns()
}
