//! A capture by the real program, and what the engine makes of its file.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use beyla_engine::{Config, Engine, Sink, Stats};
use beyla_schema::{
    event::{Body, Event, Source},
    file::{EventReader, Metadata, Projection},
    request::{EndReason, Kind, Protocol, Request, TlsMatch},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{PATIENCE, client::Sent, folder, shown::Shown, wait_for};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_beyla-capture");

/// Where to see bytes, when `BEYLA_PROBE` says so: every test can be run either way.
pub(crate) fn probe() -> Option<String> {
    env::var("BEYLA_PROBE").ok()
}

/// A capture that runs.
pub(crate) struct Capture {
    child: Child,
    folder: TempDir,
    stderr: JoinHandle<String>,
    /// What it said when it was ready.
    pub(crate) announcement: String,
    /// What it shows while it runs.
    shown: Option<Shown>,
}

impl Capture {
    /// Captures the servers of a port.
    pub(crate) fn of_port(port: u16) -> Self {
        Self::start(&["--port", &port.to_string()])
    }

    /// Starts a capture and waits until it says that it records.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(&[], arguments)
    }

    /// The same, with more in its environment.
    pub(crate) fn start_with(environment: &[(&str, String)], arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Self::run_in(folder(), command, arguments)
    }

    /// The same, by a command that runs the program, writing to `folder`.
    pub(crate) fn run_in(folder: TempDir, mut command: Command, arguments: &[&str]) -> Self {
        // A capture that is never stopped ends nevertheless.
        if !arguments.contains(&"--duration") {
            command.args(["--duration", "100s"]);
        }
        if let Some(probe) = probe()
            && !arguments.contains(&"--probe")
        {
            command.args(["--probe", &probe]);
        }
        command.arg("-o").arg(folder.path().join("run.parquet"));
        // What a command says would be among it.
        let shown = (!arguments.contains(&"--")).then(|| Shown::into(&mut command, folder.path()));
        if shown.is_none() {
            command.stdout(Stdio::null());
        }
        command.args(arguments);
        let (child, lines, stderr) = spawn(command);
        let mut announcement = String::new();
        let records = |said: &str| said.lines().any(|line| line.starts_with("recording"));
        // Before it there may be what is not recorded.
        while !records(&announcement)
            && let Ok(said) = lines.recv_timeout(PATIENCE)
        {
            announcement = said;
        }
        let mut capture = Self { child, folder, stderr, announcement, shown };
        if !records(&capture.announcement) {
            let _ = capture.child.wait();
            panic!("{arguments:?} does not record: {}", capture.announcement);
        }
        capture
    }

    /// Sends Ctrl-C.
    pub(crate) fn interrupt(&self) {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the capture. What it had written stays as long as the folder.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.folder
    }

    /// Ends the capture, once servers have closed what their clients have, and reads what it wrote.
    pub(crate) fn stop(self) -> Recording {
        self.stop_and(|_| {})
    }

    /// The same, and shows every event to `each`.
    pub(crate) fn stop_and(self, each: impl FnMut(&Event<'_>)) -> Recording {
        thread::sleep(Duration::from_millis(300));
        self.interrupt();
        let recording = self.wait_and(each);
        assert_eq!(recording.code, Some(0), "{}", recording.stderr);
        assert_eq!(recording.stats.end.as_deref(), Some("signal"));
        recording
    }

    /// Ends the capture, and keeps what it wrote.
    pub(crate) fn stop_and_keep(self) -> TempDir {
        self.stop().folder.unwrap()
    }

    /// Waits for the capture to end by itself, and reads what it wrote.
    pub(crate) fn wait(self) -> Recording {
        self.wait_and(|_| {})
    }

    fn wait_and(self, each: impl FnMut(&Event<'_>)) -> Recording {
        let Self { mut child, folder, stderr, shown, .. } = self;
        let status = wait_for("the end of the capture", || child.try_wait().unwrap());
        let stderr = stderr.join().unwrap();
        let path = folder.path().join("run.parquet");
        let recording = Recording::read_and(&path, each);
        if let Some(shown) = shown {
            shown.assert_is_what_a_replay_shows(&path);
        }
        Recording { code: status.code(), stderr, folder: Some(folder), ..recording }
    }

    /// Where the file will be.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("run.parquet")
    }

    /// Waits for the capture to end. Returns its exit code and what it said; the folder stays as long as it.
    pub(crate) fn ended(mut self) -> (Option<i32>, String, TempDir) {
        let status = wait_for("the end of the capture", || self.child.try_wait().unwrap());
        (status.code(), self.stderr.join().unwrap(), self.folder)
    }
}

/// What a rotated capture left in `folder`, in order.
pub(crate) fn parts(folder: &Path) -> Vec<PathBuf> {
    let is_part = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("run.");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(is_part).collect();
    files.sort();
    files
}

/// Starts a capture. Its first line comes through the channel, all of them at the end of the thread.
fn spawn(mut command: Command) -> (Child, Receiver<String>, JoinHandle<String>) {
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (sender, lines) = channel();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let thread = thread::spawn(move || {
        let mut text = String::new();
        while stderr.read_line(&mut text).unwrap() > 0 {
            // Nobody waits for the lines after the first.
            let _ = sender.send(text.clone());
        }
        text
    });
    (child, lines, thread)
}

/// A finished capture.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) requests: Vec<Seen>,
    pub(crate) stats: Stats,
    pub(crate) metadata: Option<Metadata>,
    /// Rows of each kind of loss with more than nothing in them.
    pub(crate) loss_rows: BTreeMap<String, u64>,
    pub(crate) rows: u64,
    /// Where the file is, for as long as this is.
    pub(crate) folder: Option<TempDir>,
}

/// A request that came back.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) protocol: Protocol,
    pub(crate) tls: Option<Source>,
    pub(crate) tls_match: Option<TlsMatch>,
    pub(crate) scheme: Option<String>,
    pub(crate) authority: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) rpc_service: Option<String>,
    pub(crate) rpc_method: Option<String>,
    pub(crate) rpc_status: Option<u32>,
    pub(crate) rpc_message: Option<String>,
    pub(crate) request_bytes: Option<u64>,
    pub(crate) response_bytes: Option<u64>,
    pub(crate) request_messages: Option<u64>,
    pub(crate) response_messages: Option<u64>,
    pub(crate) connection: u64,
    pub(crate) stream: Option<u32>,
    pub(crate) ordinal: u64,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) server: Option<SocketAddr>,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: Option<u64>,
    pub(crate) duration_ns: Option<u64>,
    pub(crate) queue_ns: Option<u64>,
    pub(crate) end_reason: EndReason,
    pub(crate) ended_ns: u64,
}

impl Seen {
    /// It was seen there.
    pub(crate) fn assert_source(&self, source: Source) {
        let (tls, scheme) = match source {
            Source::Socket => (None, "http"),
            library => (Some(library), "https"),
        };
        assert_eq!((self.tls, self.scheme.as_deref()), (tls, Some(scheme)), "{self:?}");
        assert_eq!(self.tls_match.is_some(), tls.is_some(), "{self:?}");
    }
}

/// Keeps what the engine hands out.
struct Keep(Vec<Seen>);

impl Sink for Keep {
    fn request(&mut self, request: &Request<'_>) {
        let target = request.path.map(|path| match request.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        });
        self.0.push(Seen {
            kind: request.kind,
            protocol: request.protocol,
            tls: request.tls,
            tls_match: request.tls_match,
            scheme: request.scheme.map(str::to_owned),
            authority: request.authority.map(str::to_owned),
            method: request.method.map(str::to_owned),
            target,
            status: request.status,
            rpc_service: request.rpc_service.map(str::to_owned),
            rpc_method: request.rpc_method.map(str::to_owned),
            rpc_status: request.rpc_status,
            rpc_message: request.rpc_message.map(str::to_owned),
            request_bytes: request.request_bytes,
            response_bytes: request.response_bytes,
            request_messages: request.request_messages,
            response_messages: request.response_messages,
            connection: request.connection,
            stream: request.stream,
            ordinal: request.ordinal,
            client: request.client,
            server: request.server,
            start_ns: request.start_ns,
            end_ns: request.end_ns,
            duration_ns: request.duration_ns,
            queue_ns: request.queue_ns,
            end_reason: request.end_reason,
            ended_ns: request.ended_ns,
        });
    }
}

impl Recording {
    /// Reads a file and pairs its events.
    pub(crate) fn read(path: &Path) -> Self {
        Self::read_and(path, |_| {})
    }

    /// The same, and shows every event to `show`.
    pub(crate) fn read_and(path: &Path, mut show: impl FnMut(&Event<'_>)) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut reader = EventReader::open(file, Projection::All).unwrap();
        let mut recording =
            Self { metadata: Some(reader.metadata().clone()), rows: reader.rows(), ..Self::default() };
        let mut engine = Engine::new(Config::default());
        let mut kept = Keep(Vec::new());
        let mut last = (0, 0, 0);
        let mut each = |event: &Event<'_>| {
            let key = (event.ts_ns, event.cpu, event.seq);
            assert!(last < key, "out of order: {last:?} before {key:?}");
            last = key;
            if let Body::Loss(loss) = event.body
                && loss.count > 0
            {
                *recording.loss_rows.entry(loss.cause.to_owned()).or_default() += 1;
            }
            show(event);
            engine.push(event, &mut kept);
        };
        while reader.next_batch(&mut each).unwrap().is_some() {}
        engine.finish(&mut kept);
        recording.requests = kept.0;
        recording.stats = engine.stats().clone();
        recording
    }

    /// Nothing was lost, and nothing came in the wrong order.
    pub(crate) fn assert_complete(&self) {
        let lost: u64 = self.stats.losses.values().sum();
        assert_eq!((lost, self.stats.gap_bytes), (0, 0), "{}\n{:?}", self.stderr, self.stats);
        assert!(self.stderr.contains("lost     0"), "{}", self.stderr);
        assert_eq!(self.metadata.as_ref().map(|metadata| metadata.late_rows), Some(0));
    }

    /// Nothing was lost. What the recorder leaves out on purpose is nothing lost.
    pub(crate) fn assert_lost_nothing(&self) {
        let lost: u64 = self.stats.losses.values().sum();
        assert_eq!(lost, 0, "{}\n{:?}", self.stderr, self.stats);
        assert_eq!(self.metadata.as_ref().map(|metadata| metadata.late_rows), Some(0));
    }

    /// All requests were seen there.
    pub(crate) fn assert_source(&self, source: Source) {
        self.requests.iter().for_each(|seen| seen.assert_source(source));
    }

    /// What the captured processes served is exactly what was sent, and nothing was lost.
    pub(crate) fn assert_served(&self, sent: &[Sent]) {
        self.assert_is(Kind::Server, sent);
    }

    /// What the captured processes served, or asked, is exactly what was sent, and nothing was lost.
    pub(crate) fn assert_is(&self, kind: Kind, sent: &[Sent]) {
        self.assert_complete();
        let mut sent: Vec<&Sent> = sent.iter().collect();
        let mut seen: Vec<&Seen> = self.requests.iter().collect();
        sent.sort_by_key(|sent| (sent.client, sent.time));
        if sent.iter().all(|sent| sent.client.is_some()) {
            seen.sort_by_key(|seen| (seen.client, seen.start_ns));
        } else {
            seen.sort_by_key(|seen| seen.start_ns);
        }
        for (sent, seen) in sent.iter().zip(&seen) {
            if let Some(difference) = difference(kind, sent, seen) {
                panic!("{difference}\nsent {sent:?}\nseen {seen:?}\n{:?}", self.stats);
            }
        }
        let (more, fewer) = (seen.get(sent.len()), sent.get(seen.len()));
        assert!(
            more.is_none() && fewer.is_none(),
            "{} requests were sent, {} seen; not sent: {more:?}, not seen: {fewer:?}\n{:?}",
            sent.len(),
            seen.len(),
            self.stats
        );
    }
}

/// What is wrong with a request that came back; None when nothing is.
fn difference(kind: Kind, sent: &Sent, seen: &Seen) -> Option<&'static str> {
    /// Timers fire a little early, and a call is recorded at its end, which the other side need not await.
    const EARLY_NS: u64 = 2_000_000;
    const LATE_NS: u64 = 500_000_000;
    let (began, ended) = sent.time;
    let delay = sent.target.split_once("delay=").map_or("0", |(_, delay)| delay).trim_end_matches("ms");
    let delay_ns = delay.parse::<u64>().unwrap() * 1_000_000;
    let duration = seen.duration_ns.unwrap_or(0);
    let authority = sent.server.to_string();
    let checks = [
        (seen.kind == kind, "the kind"),
        (sent.client.is_none_or(|client| seen.client == Some(client)), "the client's address"),
        (seen.server == Some(sent.server), "the server's address"),
        (seen.authority.as_deref() == Some(&authority), "the authority"),
        (seen.method.as_deref() == Some(&sent.method), "the method"),
        (seen.target.as_deref() == Some(&sent.target), "the target"),
        (seen.status == Some(sent.status), "the status"),
        (sent.request_bytes.allows(seen.request_bytes), "the size of the request"),
        (sent.response_bytes.allows(seen.response_bytes), "the size of the response"),
        (seen.end_reason == EndReason::Response, "how it ended"),
        (seen.start_ns >= began && seen.start_ns <= ended, "the start"),
        (seen.end_ns.is_some_and(|end| end >= seen.start_ns && end <= ended + LATE_NS), "the end"),
        (duration + EARLY_NS >= delay_ns, "too short a duration"),
        (duration > 0 && duration <= ended - began + LATE_NS, "the duration"),
    ];
    checks.into_iter().find_map(|(right, what)| (!right).then_some(what))
}
