//! The programs that `fixtures/build-servers.sh` builds: servers of stacks that need more than their language brings
//! along, and clients that say what they saw.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde::Deserialize;

use crate::{
    capture::{Recording, Seen},
    sources,
};

/// What building them takes.
pub(crate) const PROGRAMS: &[&str] = &["go", "cargo"];

/// One of them, built once.
pub(crate) fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
        let build = sources().join("../build-servers.sh");
        assert!(Command::new(build).arg(&folder).status().unwrap().success(), "the servers do not build");
        folder
    });
    folder.join(name)
}

/// Runs a command for a minute at most, and returns what it printed.
pub(crate) fn output(command: &mut Command) -> String {
    let mut bounded = Command::new("timeout");
    bounded.arg("60").arg(command.get_program()).args(command.get_args());
    let output = bounded.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Requests that ended alike, as their client counts them.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) method: String,
    /// HTTP status, or gRPC code.
    pub(crate) status: u32,
    pub(crate) requests: u64,
    /// gRPC messages.
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// Runs a client of ours. Returns its report.
pub(crate) fn report(name: &str, arguments: &[&str]) -> Vec<Line> {
    lines(&output(Command::new(program(name)).args(arguments)))
}

/// A report as it was printed.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The same report, made of what a recording says.
pub(crate) fn seen_as_lines<'a>(
    requests: impl IntoIterator<Item = &'a Seen>,
    key: impl Fn(&Seen) -> Option<(String, u32)>,
) -> Vec<Line> {
    let mut lines = BTreeMap::new();
    for seen in requests {
        let (method, status) = key(seen).unwrap_or_else(|| panic!("not told: {seen:?}"));
        let line = lines.entry((method.clone(), status)).or_insert(Line {
            method,
            status,
            requests: 0,
            sent: 0,
            received: 0,
        });
        line.requests += 1;
        line.sent += seen.request_messages.unwrap_or(0);
        line.received += seen.response_messages.unwrap_or(0);
    }
    lines.into_values().collect()
}

/// The method and the status of HTTP.
pub(crate) fn http(seen: &Seen) -> Option<(String, u32)> {
    Some((seen.method.clone()?, seen.status?.into()))
}

/// Checks the requests of `pipeline` and `h2-client`, `count` on each of their connections: all are there, and
/// each has the answer that belongs to it. Their targets say which one that is: `/CONNECTION/NUMBER?status=STATUS`.
pub(crate) fn assert_mix(recording: &Recording, report: &[Line], connections: u64, count: u64) {
    recording.assert_complete();
    assert_eq!(seen_as_lines(&recording.requests, http), report, "{:?}", recording.stats);
    assert_eq!(recording.requests.len() as u64, connections * count);
    let mut numbers = BTreeMap::<_, Vec<_>>::new();
    for seen in &recording.requests {
        let (path, status) = seen.target.as_ref().unwrap().split_once("?status=").unwrap();
        let (client, number) = path[1..].split_once('/').unwrap();
        let (client, number): (u64, u64) = (client.parse().unwrap(), number.parse().unwrap());
        // What the nth request is: `common/mix.go` says the same.
        let posted = match number % 8 {
            3 => format!("product={number}&client={client}").len() as u64,
            5 => format!("{number} chunks of {client}").len() as u64,
            _ => 0,
        };
        let (method, answer) = match number % 8 {
            1 => ("HEAD", 0),
            3 | 5 => ("POST", posted),
            4 | 7 => ("GET", 0),
            _ => ("GET", 6),
        };
        assert_eq!(seen.method.as_deref(), Some(method), "{seen:?}");
        assert_eq!(seen.status.map(|status| status.to_string()).as_deref(), Some(status), "{seen:?}");
        assert_eq!((seen.request_bytes, seen.response_bytes), (Some(posted), Some(answer)), "{seen:?}");
        assert_eq!(seen.end_reason, beyla_schema::request::EndReason::Response, "{seen:?}");
        assert!(seen.end_ns.is_some_and(|end| end >= seen.start_ns), "{seen:?}");
        numbers.entry((seen.connection, client)).or_default().push((seen.ordinal, number));
    }
    assert_eq!(numbers.len() as u64, connections, "{:?}", numbers.keys());
    for ((connection, _), mut numbers) in numbers {
        numbers.sort_unstable();
        let ordinals: Vec<_> = numbers.iter().map(|&(ordinal, _)| ordinal).collect();
        assert_eq!(ordinals, (0..count).collect::<Vec<_>>(), "connection {connection}");
        numbers.sort_unstable_by_key(|&(_, number)| number);
        let numbers: Vec<_> = numbers.iter().map(|&(_, number)| number).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "connection {connection}");
    }
}
