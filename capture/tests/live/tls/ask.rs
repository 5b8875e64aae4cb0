//! Clients that are told what to send, line by line, and say what was answered: those of `fixtures/servers/tls`.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::{
    client::{Sent, Size},
    server::Server,
    sources,
};

/// A request to send.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Ask {
    /// The number of its connection. Requests of a connection are sent one after the other.
    pub(crate) connection: u64,
    pub(crate) method: &'static str,
    pub(crate) target: String,
    /// So many bytes.
    pub(crate) body: usize,
    pub(crate) headers: BTreeMap<String, String>,
    /// Milliseconds to wait before it is sent.
    pub(crate) pause: u64,
    /// Close the connection when it has been answered.
    pub(crate) last: bool,
}

impl Ask {
    pub(crate) fn get(connection: u64, target: impl Into<String>) -> Self {
        Self { connection, method: "GET", target: target.into(), ..Self::default() }
    }

    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).unwrap() + "\n"
    }
}

/// What a client says of a request that was answered.
#[derive(Deserialize)]
struct Answered {
    /// The client's.
    port: u16,
    method: String,
    target: String,
    status: u16,
    sent: u64,
    received: u64,
    /// Whether the answer came in chunks.
    chunked: bool,
    began: u64,
    ended: u64,
}

/// A line of a client of the server on `port`.
pub(crate) fn answered(line: &str, port: u16) -> Sent {
    let answered: Answered = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    Sent {
        client: Some(([127, 0, 0, 1], answered.port).into()),
        server: ([127, 0, 0, 1], port).into(),
        method: answered.method,
        target: answered.target,
        status: answered.status,
        request_bytes: Size::Told(answered.sent),
        response_bytes: Size::new(answered.received, answered.chunked),
        time: (answered.began, answered.ended),
    }
}

/// The client of http.client, running.
pub(crate) struct Client {
    child: Child,
    /// Closed when it has nothing more to send.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    port: u16,
}

impl Client {
    pub(crate) fn of(server: &Server) -> Self {
        Self::with(server, 1000)
    }

    /// One that has at most so many connections at the same time.
    pub(crate) fn with(server: &Server, at_once: usize) -> Self {
        let mut child = Command::new("timeout")
            .args(["90", "python3"])
            .arg(sources().join("tls/client.py"))
            .arg(server.port.to_string())
            .arg(server.certificate().unwrap())
            .arg(at_once.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout, port: server.port }
    }

    /// Sends requests, and waits until all are answered.
    pub(crate) fn send(&mut self, requests: &[Ask]) -> Vec<Sent> {
        let lines: String = requests.iter().map(Ask::line).collect();
        self.stdin.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
        let answer = |_| {
            let mut line = String::new();
            self.stdout.read_line(&mut line).unwrap();
            answered(&line, self.port)
        };
        (0..requests.len()).map(answer).collect()
    }

    /// Closes all connections.
    pub(crate) fn hang_up(mut self) {
        self.stdin = None;
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the client ended ({status})");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // When the test fails. A process that was waited for has no id any more.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}
