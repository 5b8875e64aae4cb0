//! A row of the `connections` table in the making: what the events of one connection add up to.

use std::{fmt::Display, sync::Arc};

use beyla_schema::event::{Close, Data, Direction, Endpoint, Event, Open, Origin, Source, Transport};

use super::columns::{Columns, Get};

/// The file that a row stands in.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    pub(super) host: Arc<str>,
}

/// One end of a connection as text.
#[derive(Debug, Default)]
struct End {
    address: Option<Box<str>>,
    port: Option<u16>,
}

/// What moved in one direction.
#[derive(Debug, Default)]
struct Flow {
    /// Position behind the last call; none when it is not known where the next one should begin.
    end: Option<u64>,
    bytes: Option<u64>,
    calls: u64,
    missing: u64,
    plaintext: Option<u64>,
}

/// A connection so far. Times are wall time, nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Connection {
    place: Option<Place>,
    number: u64,
    pid: u32,
    service: Option<Arc<str>>,
    shared: bool,
    transport: Option<Transport>,
    origin: Option<Origin>,
    local: End,
    remote: End,
    opened: Option<i64>,
    closed: Option<i64>,
    first: i64,
    last: i64,
    received: Flow,
    sent: Flow,
    captured: Option<u64>,
    tls: Option<Source>,
    /// The direction that ended first.
    finished: Option<Direction>,
    /// The call of the last row: HTTP/2 makes several rows of one.
    call: Option<(u64, u32, Direction)>,
}

pub(super) const COLUMNS: &Columns<Connection> = &[
    ("file", Get::Text(|row| row.place.as_ref().map(|place| (&*place.file).into()))),
    ("host", Get::Text(|row| row.place.as_ref().map(|place| (&*place.host).into()))),
    ("service", Get::Text(|row| row.service.as_deref().map(Into::into))),
    ("pid", Get::Int(|row| Some(row.pid.into()).filter(|pid| *pid != 0))),
    ("shared", Get::Bool(|row| Some(row.shared))),
    ("connection", Get::Int(|row| Some(row.number))),
    ("transport", Get::Text(|row| row.transport.map(|transport| transport.name().into()))),
    ("origin", Get::Text(|row| row.origin.map(|origin| origin.name().into()))),
    ("local_address", Get::Text(|row| row.local.address.as_deref().map(Into::into))),
    ("local_port", Get::Int(|row| row.local.port.map(u64::from))),
    ("remote_address", Get::Text(|row| row.remote.address.as_deref().map(Into::into))),
    ("remote_port", Get::Int(|row| row.remote.port.map(u64::from))),
    ("opened", Get::Time(|row| row.opened)),
    ("closed", Get::Time(|row| row.closed)),
    ("duration_ms", Get::Millis(Connection::duration)),
    ("first_event", Get::Time(|row| Some(row.first))),
    ("last_event", Get::Time(|row| Some(row.last))),
    ("finished_by", Get::Text(|row| row.finished.map(|direction| finisher(direction).into()))),
    ("received_bytes", Get::Int(|row| row.received.bytes)),
    ("sent_bytes", Get::Int(|row| row.sent.bytes)),
    ("receive_calls", Get::Int(|row| Some(row.received.calls))),
    ("send_calls", Get::Int(|row| Some(row.sent.calls))),
    ("captured_bytes", Get::Int(|row| row.captured)),
    ("missing_bytes", Get::Int(|row| Some(row.received.missing.saturating_add(row.sent.missing)))),
    ("tls", Get::Text(|row| row.tls.map(|tls| tls.name().into()))),
    ("plaintext_received_bytes", Get::Int(|row| row.received.plaintext)),
    ("plaintext_sent_bytes", Get::Int(|row| row.sent.plaintext)),
];

/// Who finished a connection when this direction of it ended.
fn finisher(direction: Direction) -> &'static str {
    match direction {
        Direction::Send => "local",
        Direction::Receive => "remote",
    }
}

impl Connection {
    /// A connection of which an event at `time` is the first.
    pub(super) fn new(number: u64, time: i64) -> Self {
        let known = || Flow { end: Some(0), ..Flow::default() };
        Self { number, first: time, received: known(), sent: known(), ..Self::default() }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn first(&self) -> i64 {
        self.first
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// The process that moved its first bytes or connected it; 0 while it is not known.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn has_service(&self) -> bool {
        self.service.is_some()
    }

    pub(super) fn serve(&mut self, service: Option<&Arc<str>>) {
        self.service = service.map(Arc::clone);
    }

    /// The row is complete, and stands in a file.
    pub(super) fn place(&mut self, place: &Place) {
        self.place = Some(place.clone());
    }

    fn duration(&self) -> Option<u64> {
        u64::try_from(self.closed?.checked_sub(self.opened?)?).ok()
    }

    pub(super) fn open(&mut self, event: &Event<'_>, open: &Open<'_>, time: i64) {
        self.last = time;
        // A later row of a connection that is known repeats it in another part.
        if self.origin.is_some() {
            return;
        }
        (self.origin, self.transport) = (Some(open.origin), Some(open.transport));
        (self.local, self.remote) = (End::of(open.local), End::of(open.remote));
        if event.carried {
            // How far it had come by then is not known, nor when it was opened.
            (self.received.end, self.sent.end) = (None, None);
        } else if open.origin != Origin::Found {
            self.opened = Some(time);
        }
        if open.origin == Origin::Connect {
            self.pid = event.pid;
        }
    }

    /// Bytes moved; `captured` of them are in the file.
    pub(super) fn data(&mut self, event: &Event<'_>, data: &Data<'_>, captured: Option<u32>, time: i64) {
        self.last = time;
        if event.pid != 0 {
            self.shared |= self.pid != 0 && self.pid != event.pid;
            self.pid = if self.pid == 0 { event.pid } else { self.pid };
        }
        if let Some(captured) = captured {
            self.captured = Some(self.captured.unwrap_or(0).saturating_add(captured.into()));
        }
        let flow = match data.direction {
            Direction::Receive => &mut self.received,
            Direction::Send => &mut self.sent,
        };
        if data.source != Source::Socket {
            self.tls = Some(data.source);
            flow.plaintext = Some(flow.plaintext.unwrap_or(0).saturating_add(data.length.into()));
            return;
        }
        let call = (event.ts_ns, event.tid, data.direction);
        if self.call != Some(call) || flow.end != Some(data.position) {
            flow.calls += 1;
        }
        self.call = Some(call);
        let end = data.position.saturating_add(data.length.into());
        flow.missing =
            flow.missing.saturating_add(flow.end.map_or(0, |before| data.position.saturating_sub(before)));
        flow.end = Some(flow.end.map_or(end, |before| before.max(end)));
        flow.bytes = flow.bytes.max(flow.end);
    }

    pub(super) fn close(&mut self, close: &Close, time: i64) {
        self.last = time;
        match close.direction {
            Some(direction) => self.finished = self.finished.or(Some(direction)),
            None => self.closed = Some(time),
        }
        self.received.bytes = self.received.bytes.max(Some(close.received));
        self.sent.bytes = self.sent.bytes.max(Some(close.sent));
    }
}

impl End {
    fn of(endpoint: Endpoint<'_>) -> Self {
        let text = |value: &dyn Display| Some(value.to_string().into());
        match endpoint {
            Endpoint::Inet(address) => Self { address: text(&address.ip()), port: Some(address.port()) },
            Endpoint::Unix("") => Self::default(),
            Endpoint::Unix(path) => Self { address: text(&path), port: None },
        }
    }
}
