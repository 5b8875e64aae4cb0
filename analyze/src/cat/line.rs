//! An event as one line for people, safe against whatever was captured.

use std::{collections::HashMap, fmt::Write as _};

use anstyle::{AnsiColor, Style};
use beyla_schema::event::{
    Body, Change, Clock, Data, Direction, Endpoint, Event, Listen, Open, Process, Source,
};

use crate::{
    table::{BOLD, DIM, paint, printable},
    units::rfc3339,
};

/// Names of processes that are remembered.
const NAMES: usize = 1 << 16;

const RECEIVE: Style = AnsiColor::Cyan.on_default();
const SEND: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// Makes lines, and remembers what processes are called.
pub(super) struct Lines {
    clock: Clock,
    names: HashMap<u32, String>,
}

impl Lines {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, names: HashMap::new() }
    }

    /// Every event in turn, shown or not.
    pub(super) fn learn(&mut self, event: &Event<'_>) {
        if let Body::Process(process) = event.body
            && !process.service.is_empty()
            && (self.names.len() < NAMES || self.names.contains_key(&event.pid))
        {
            self.names.insert(event.pid, printable(process.service));
        }
    }

    /// The event with ANSI styles, and at most so many bytes of its payload.
    pub(super) fn line(&self, event: &Event<'_>, bytes: usize) -> String {
        let mut line = String::new();
        let wall = self.clock.wall_ns(event.ts_ns);
        paint(&mut line, DIM, &rfc3339(wall).unwrap_or_else(|| wall.to_string()));
        line.push_str("  ");
        match (event.pid, self.names.get(&event.pid)) {
            (0, _) => line.push('-'),
            (pid, Some(name)) => {
                let _ = write!(line, "{name}({pid})");
            }
            (pid, None) => {
                let _ = write!(line, "({pid})");
            }
        }
        if event.connection != 0 {
            line.push_str("  ");
            paint(&mut line, DIM, &event.connection.to_string());
        }
        line.push_str("  ");
        body(&mut line, &event.body, bytes);
        if event.carried {
            line.push_str("  ");
            paint(&mut line, DIM, "carried");
        }
        line.push('\n');
        line
    }
}

// Writing to a string cannot fail.
fn body(line: &mut String, body: &Body<'_>, bytes: usize) {
    match body {
        Body::Data(of) => data(line, of, bytes),
        Body::Open(Open { origin, transport, local, remote }) => {
            paint(line, BOLD, origin.name());
            let (transport, local, remote) = (transport.name(), endpoint(*local), endpoint(*remote));
            let _ = write!(line, " {transport} {local} {remote}");
        }
        Body::Close(close) => {
            paint(line, BOLD, "close");
            if let Some(direction) = close.direction {
                let _ = write!(line, " {}", direction.name());
            }
            let _ = write!(line, " received {} sent {}", close.received, close.sent);
        }
        Body::Listen(Listen { transport, address }) => {
            paint(line, BOLD, "listen");
            let _ = write!(line, " {} {}", transport.name(), endpoint(*address));
        }
        Body::Process(of) => process(line, of),
        Body::Loss(loss) => {
            let style = if loss.count > 0 { BAD } else { Style::new() };
            paint(line, style, &format!("loss {} {}", printable(loss.cause), loss.count));
        }
        Body::Seen(count) => {
            let _ = write!(line, "seen {count}");
        }
        Body::End(reason) => paint(line, BOLD, &format!("end {}", printable(reason))),
    }
}

/// An arrow to the process or from it, how much was moved by what, and the beginning of it.
fn data(line: &mut String, data: &Data<'_>, bytes: usize) {
    let (arrow, style) = match data.direction {
        Direction::Receive => ("<-", RECEIVE),
        Direction::Send => ("->", SEND),
    };
    paint(line, style, arrow);
    let _ = write!(line, " {} {}", data.call.name(), data.length);
    if data.source != Source::Socket {
        let _ = write!(line, " {}", data.source.name());
    }
    let shown = data.payload.get(..bytes).unwrap_or(data.payload);
    if !shown.is_empty() {
        line.push(' ');
        escape(line, shown);
    }
    if shown.len() < data.length as usize && bytes > 0 {
        line.push('…');
    }
}

/// Bytes that are no printable ASCII are escaped: nothing that was captured reaches the terminal as it is.
fn escape(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'\r' => line.push_str("\\r"),
            b'\n' => line.push_str("\\n"),
            b'\t' => line.push_str("\\t"),
            b'\\' => line.push_str("\\\\"),
            b' '..=b'~' => line.push(char::from(*byte)),
            _ => {
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
}

fn process(line: &mut String, process: &Process<'_>) {
    paint(line, BOLD, "process");
    let _ = write!(line, " {}", process.change.map_or("found", Change::name));
    for text in [process.runtime, process.executable, process.command_line] {
        if !text.is_empty() {
            let _ = write!(line, " {}", printable(text));
        }
    }
    if process.parent != 0 {
        let _ = write!(line, " of {}", process.parent);
    }
}

fn endpoint(endpoint: Endpoint<'_>) -> String {
    match endpoint {
        Endpoint::Inet(address) => address.to_string(),
        Endpoint::Unix("") => "-".to_owned(),
        Endpoint::Unix(path) => printable(path),
    }
}
