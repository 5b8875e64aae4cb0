//! The bytes of connections: calls follow one another, and a connection moved as much as its calls did.
//!
//! Calls on one connection at the same time are recorded in the order of their times, not of their bytes, and bytes
//! that had arrived may be read after the connection was closed by its peer. So a hole counts once nothing can fill it
//! any more: when the connection has been closed for a while, or the capture ends.

use std::collections::{HashMap, VecDeque};

use beyla_schema::{
    event::{Body, Close, Data, Direction, Event, Source},
    wire::TAIL,
};

use super::{
    coverage::Coverage,
    log::{At, Invariant, Log},
};

/// Closed connections whose last calls may still come.
const CLOSED: usize = 1 << 16;

/// Holes that are named.
const NAMED: usize = 3;

/// Every connection that is open, and those closed last.
pub(super) struct Streams {
    /// Where streams begin that were not there before the first file: at 0. Others begin anywhere.
    whole: bool,
    connections: HashMap<u64, Connection>,
    closed: VecDeque<u64>,
    /// Bytes that no call moved.
    pub(super) missing: u64,
    holes: Vec<(Invariant, At, String)>,
}

struct Connection {
    /// Of bytes read, and of bytes written.
    streams: [Stream; 2],
    closed: bool,
}

struct Stream {
    bytes: Coverage,
    /// Bytes that a `close` row says had moved, and that row.
    total: Option<(u64, At)>,
}

impl Connection {
    fn new(from_beginning: bool) -> Self {
        let stream = || Stream { bytes: Coverage::new(from_beginning.then_some(0)), total: None };
        Self { streams: [stream(), stream()], closed: false }
    }
}

impl Streams {
    /// `whole`: the files begin where the capture began.
    pub(super) fn new(whole: bool) -> Self {
        Self { whole, connections: HashMap::new(), closed: VecDeque::new(), missing: 0, holes: Vec::new() }
    }

    pub(super) fn event(&mut self, event: &Event<'_>, at: At, log: &mut Log) {
        match &event.body {
            Body::Open(_) if !self.connections.contains_key(&event.connection) => {
                let connection = Connection::new(self.whole || !event.carried);
                self.connections.insert(event.connection, connection);
            }
            Body::Data(data) => self.data(event, data, at, log),
            Body::Close(close) => self.close(event.connection, close, at, log),
            _ => {}
        }
    }

    fn connection(&mut self, id: u64) -> &mut Connection {
        self.connections.entry(id).or_insert_with(|| Connection::new(self.whole))
    }

    fn data(&mut self, event: &Event<'_>, data: &Data<'_>, at: At, log: &mut Log) {
        log.check(Invariant::Captured, at, kept_wrongly(data));
        if let Some(ready_ns) = data.ready_ns {
            let reason = match data.direction {
                Direction::Send => Some("written bytes that were ready".to_owned()),
                Direction::Receive if ready_ns > event.ts_ns => {
                    Some(format!("ready {} ns after it was read", ready_ns - event.ts_ns))
                }
                Direction::Receive => None,
            };
            log.check(Invariant::Ready, at, reason);
        }
        if data.source == Source::Socket {
            let stream = &mut self.connection(event.connection).streams[data.direction as usize];
            let end = data.position.saturating_add(data.length.into());
            let again = stream.bytes.add(data.position..end, at);
            let reason = || {
                format!("{again} bytes of {} a second time", stream_name(event.connection, data.direction))
            };
            log.check(Invariant::Positions, at, (again > 0).then(reason));
        }
    }

    fn close(&mut self, id: u64, close: &Close, at: At, log: &mut Log) {
        let connection = self.connection(id);
        for (direction, total) in [(Direction::Receive, close.received), (Direction::Send, close.sent)] {
            let stream = &mut connection.streams[direction as usize];
            let moved = stream.bytes.end().unwrap_or(0);
            let reason =
                || format!("{total} bytes of {}, whose calls moved {moved}", stream_name(id, direction));
            log.check(Invariant::Totals, at, (moved > total).then(reason));
            if stream.total.is_none_or(|(before, _)| before < total) {
                stream.total = Some((total, at));
            }
        }
        if close.direction.is_none() && !connection.closed {
            connection.closed = true;
            self.closed.push_back(id);
            if self.closed.len() > CLOSED
                && let Some(oldest) = self.closed.pop_front()
            {
                self.settle(oldest);
            }
        }
    }

    /// Nothing more comes on a connection.
    fn settle(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        for (direction, stream) in [Direction::Receive, Direction::Send].into_iter().zip(connection.streams) {
            let end = stream.bytes.end();
            let (missing, hole) = stream.bytes.finish();
            self.missing += missing;
            if let Some(hole) = hole {
                let bytes = hole.numbers.end - hole.numbers.start;
                let name = stream_name(id, direction);
                self.hole(
                    Invariant::Positions,
                    hole.before,
                    format!("{bytes} bytes of {name} are missing before it"),
                );
            }
            // Where the stream began is not known without a call.
            if let (Some(end), Some((total, at))) = (end, stream.total)
                && total > end
            {
                self.missing += total - end;
                let name = stream_name(id, direction);
                self.hole(Invariant::Totals, at, format!("{total} bytes of {name}, whose calls moved {end}"));
            }
        }
    }

    fn hole(&mut self, invariant: Invariant, at: At, reason: String) {
        if self.holes.iter().filter(|(of, ..)| *of == invariant).count() < NAMED {
            self.holes.push((invariant, at, reason));
        }
    }

    /// Nothing more comes at all. Holes are violations unless they are `explained`; then it is said by what.
    pub(super) fn finish(mut self, explained: Option<&str>, log: &mut Log) {
        let mut open: Vec<u64> = self.connections.keys().copied().collect();
        open.sort_unstable();
        for id in open {
            self.settle(id);
        }
        match explained {
            None => {
                for (invariant, at, reason) in self.holes {
                    log.fail(invariant, at.file, Some(at.row), reason);
                }
            }
            Some(cause) if self.missing > 0 => {
                log.note(Invariant::Positions, format!("{} bytes are missing: {cause}", self.missing));
            }
            Some(_) => {}
        }
    }
}

/// Not more than there was, and a tail only of its size and of what was cut.
fn kept_wrongly(data: &Data<'_>) -> Option<String> {
    let (payload, tail, length) = (data.payload.len(), data.tail.len(), data.length as usize);
    if payload + tail > length {
        Some(format!("{} bytes kept of {length}", payload + tail))
    } else if ![0, TAIL].contains(&tail) {
        Some(format!("a tail of {tail} bytes"))
    } else {
        None
    }
}

fn stream_name(connection: u64, direction: Direction) -> String {
    let name = direction.name();
    format!("`{name}` of connection {connection}")
}
