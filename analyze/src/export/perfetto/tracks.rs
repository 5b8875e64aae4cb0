//! Which track a slice is on: one per connection, below one per process, and siblings where requests of a connection
//! overlap, since slices on one track must not.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use beyla_schema::request::{Kind, Request};

use super::message::{ProcessDescriptor, SiblingMergeBehavior, TrackDescriptor};

/// Processes that are remembered. What is forgotten gets new tracks when it comes again.
const MAX_PROCESSES: usize = 4 * 1024;

/// Tracks that are remembered, those of the connections that were used last.
const MAX_LANES: usize = 64 * 1024;

/// Tracks of one connection. The engine has no more requests of one waiting.
const MAX_SIBLINGS: usize = 1024;

/// The tracks so far.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    last: u64,
    processes: BTreeMap<Process, u64>,
    connections: HashMap<Key, Connection>,
    /// Connections by when they were last used.
    used: BTreeMap<u64, Key>,
    /// Tracks of all connections.
    lanes: usize,
}

/// A connection of a process.
type Key = (u64, u64);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    host: String,
    pid: u32,
    service: String,
}

/// The tracks of a connection.
#[derive(Debug, Default)]
struct Connection {
    used: u64,
    lanes: Vec<Lane>,
}

/// A track.
#[derive(Debug)]
struct Lane {
    uuid: u64,
    /// Until when it has slices.
    end_ns: u64,
}

impl Tracks {
    /// The track for a slice of this request from `start_ns` to `end_ns`. Hands new tracks to `declare` first. Requests come in
    /// the order they ended, so a track has room when its last slice ended before this one begins.
    ///
    /// Processes of the first host are those of the trace; another host can have other processes with the same numbers.
    pub(super) fn of<E>(
        &mut self,
        request: &Request<'_>,
        (host, first_host): (&str, bool),
        (start_ns, end_ns): (u64, u64),
        mut declare: impl FnMut(TrackDescriptor) -> Result<(), E>,
    ) -> Result<u64, E> {
        let process = self.process(request, host, first_host, &mut declare)?;
        let key = (process, request.connection);
        let now = self.used.last_key_value().map_or(1, |(last, _)| last + 1);
        let connection = self.connections.entry(key).or_default();
        self.used.remove(&connection.used);
        connection.used = now;
        self.used.insert(now, key);
        let lanes = &mut connection.lanes;
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.end_ns <= start_ns) {
            lane.end_ns = end_ns;
            return Ok(lane.uuid);
        }
        if lanes.len() >= MAX_SIBLINGS {
            self.lanes -= lanes.len();
            lanes.clear();
        }
        self.last += 1;
        let uuid = self.last;
        lanes.push(Lane { uuid, end_ns });
        self.lanes += 1;
        declare(TrackDescriptor {
            uuid,
            name: name(request, lanes.len()),
            process: None,
            parent_uuid: Some(process),
            sibling_merge_behavior: SiblingMergeBehavior::None.into(),
        })?;
        while self.lanes > MAX_LANES
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.lanes -= self.connections.remove(&oldest).map_or(0, |connection| connection.lanes.len());
        }
        Ok(uuid)
    }

    fn process<E>(
        &mut self,
        request: &Request<'_>,
        host: &str,
        first_host: bool,
        declare: &mut impl FnMut(TrackDescriptor) -> Result<(), E>,
    ) -> Result<u64, E> {
        let service = request.service.to_owned();
        let process = Process { host: host.to_owned(), pid: request.pid, service };
        if let Some(&uuid) = self.processes.get(&process) {
            return Ok(uuid);
        }
        if self.processes.len() >= MAX_PROCESSES {
            self.processes.clear();
        }
        self.last += 1;
        let Process { host, pid, service } = &process;
        let real = first_host.then(|| ProcessDescriptor {
            pid: i32::try_from(*pid).unwrap_or_default(),
            process_name: service.clone(),
            process_labels: vec![host.clone()],
        });
        declare(TrackDescriptor {
            uuid: self.last,
            name: if real.is_some() { String::new() } else { format!("{service} {pid} on {host}") },
            process: real,
            parent_uuid: None,
            sibling_merge_behavior: SiblingMergeBehavior::Unspecified.into(),
        })?;
        self.processes.insert(process, self.last);
        Ok(self.last)
    }
}

/// Who is connected with whom, and the number of the lane from the second on.
fn name(request: &Request<'_>, lane: usize) -> String {
    let verb = match request.kind {
        Kind::Server => "from",
        Kind::Client => "to",
    };
    let peer = match request.kind {
        Kind::Server => request.client,
        Kind::Client => request.server,
    };
    let mut name = match peer {
        Some(peer) => format!("{verb} {peer}"),
        None => format!("connection {}", request.connection),
    };
    if lane > 1 {
        // Writing to a string cannot fail.
        let _ = write!(name, " ({lane})");
    }
    name
}

#[cfg(test)]
mod tests {
    use beyla_schema::request::EndReason;

    use super::*;

    fn request(connection: u64) -> Request<'static> {
        Request {
            service: "shop",
            pid: 7,
            connection,
            ..Request::begun(Kind::Server, 0, EndReason::Response)
        }
    }

    fn track(tracks: &mut Tracks, connection: u64, span: (u64, u64)) -> (u64, Vec<String>) {
        let mut declared = Vec::new();
        let declare = |track: TrackDescriptor| {
            declared.push(track.name);
            Ok::<_, ()>(())
        };
        let uuid = tracks.of(&request(connection), ("vm", true), span, declare).unwrap();
        (uuid, declared)
    }

    #[test]
    fn requests_that_overlap_are_on_siblings() {
        let mut tracks = Tracks::default();
        let (first, declared) = track(&mut tracks, 1, (0, 10));
        assert_eq!(declared, ["", "connection 1"]);
        assert_eq!(track(&mut tracks, 1, (10, 20)), (first, vec![]));
        let (second, declared) = track(&mut tracks, 1, (15, 30));
        assert!(second != first && declared == ["connection 1 (2)"], "{declared:?}");
        assert_eq!(track(&mut tracks, 1, (25, 40)), (first, vec![]));
        assert_eq!(track(&mut tracks, 2, (25, 50)).1, ["connection 2"]);
    }

    #[test]
    fn what_is_forgotten_gets_new_tracks() {
        let mut tracks = Tracks::default();
        let (first, _) = track(&mut tracks, 0, (0, 10));
        for connection in 1..=MAX_LANES as u64 {
            track(&mut tracks, connection, (0, 10));
        }
        let known = (tracks.connections.len(), tracks.used.len(), tracks.lanes);
        assert_eq!(known, (MAX_LANES, MAX_LANES, MAX_LANES));
        let (again, declared) = track(&mut tracks, 0, (5, 20));
        assert!(again > first && declared == ["connection 0"], "{declared:?}");
        for _ in 0..3 * MAX_SIBLINGS {
            track(&mut tracks, 0, (5, 20));
        }
        assert!(tracks.lanes <= MAX_LANES && tracks.connections[&(1, 0)].lanes.len() <= MAX_SIBLINGS);
    }
}
