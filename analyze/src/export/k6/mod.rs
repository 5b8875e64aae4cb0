//! A script for k6 that sends the requests when they were recorded: an open model, in which a slow answer delays no later
//! request.
//!
//! The requests are a table of JSON in the order they ended; what needs all of them, the order of their beginnings and how many
//! there were at the same time, the script finds out itself. `head.js` and `tail.js` are around the table.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
};

use beyla_schema::{arrow::requests::Source, event::Clock, request::Request};
use serde::Serialize;

use super::{
    Again, Encoder, Exported, TOOL, VERSION,
    target::{LeftOut, Sendable},
};
use crate::{Error, table::printable};

const HEAD: &str = include_str!("head.js");
const TAIL: &str = include_str!("tail.js");

/// A script in the making.
pub(super) struct Script {
    again: Again,
    clock: Clock,
    /// When the first capture began, wall nanoseconds: times are small numbers of milliseconds.
    began_ns: i64,
    left_out: BTreeMap<LeftOut, u64>,
}

impl Script {
    pub(super) fn new(again: Again) -> Self {
        Self { again, clock: Clock::default(), began_ns: 0, left_out: BTreeMap::new() }
    }
}

/// A request as the script has it.
#[derive(Serialize)]
struct Recorded<'a> {
    /// When it began, milliseconds since the capture did.
    at: f64,
    /// What the caller waited, milliseconds.
    took: Option<f64>,
    method: &'a str,
    origin: &'a str,
    target: &'a str,
    headers: BTreeMap<&'static str, &'a str>,
    status: Option<u16>,
    /// What k6 counts it under: the route, so that paths with ids are one.
    name: &'a str,
}

impl Encoder for Script {
    fn head(&mut self, files: &[Exported], out: &mut dyn Write) -> Result<(), Error> {
        self.began_ns = files.iter().map(|file| file.metadata.began_ns()).min().unwrap_or(0);
        let kind = self.again.kind.name();
        writeln!(out, "// Recorded {kind} requests, to be sent again with k6: written by {TOOL} {VERSION}.")?;
        for Exported { name, .. } in files {
            writeln!(out, "// From {}", printable(name).replace(['\u{2028}', '\u{2029}'], " "))?;
        }
        out.write_all(HEAD.as_bytes())?;
        let base = self.again.base_url.as_ref().map(ToString::to_string);
        writeln!(out, "const BASE_URL = {};", literal(&base)?)?;
        writeln!(out, "const SPEED = {};", self.again.speed)?;
        writeln!(out, "\n// Times are milliseconds since the capture began.")?;
        writeln!(out, "const recorded = new SharedArray('recorded', () => [")?;
        Ok(())
    }

    fn begin(&mut self, source: &Source, _: &mut dyn Write) -> Result<(), Error> {
        self.clock = source.clock;
        Ok(())
    }

    fn request(&mut self, request: &Request<'_>, out: &mut dyn Write) -> Result<(), Error> {
        if request.kind != self.again.kind {
            return Ok(());
        }
        let sendable = match Sendable::of(request) {
            // `OPTIONS *` has no URL.
            Ok(sendable) if sendable.target.starts_with('/') => sendable,
            other => {
                *self.left_out.entry(other.err().unwrap_or(LeftOut::Unknown)).or_default() += 1;
                return Ok(());
            }
        };
        let ready_ns = request.start_ns.saturating_sub(request.queue_ns.unwrap_or(0));
        let headers = [("User-Agent", sendable.user_agent), ("Content-Type", sendable.content_type)];
        let recorded = Recorded {
            at: self.clock.wall_ns(ready_ns).saturating_sub(self.began_ns) as f64 / 1e6,
            took: request.duration_ns.map(|ns| ns as f64 / 1e6),
            method: sendable.method,
            origin: &sendable.origin,
            target: &sendable.target,
            headers: headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            status: request.status,
            name: request.route.unwrap_or(sendable.method),
        };
        writeln!(out, "  {},", literal(&recorded)?)?;
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        out.write_all(TAIL.as_bytes())?;
        for reason in LeftOut::ALL {
            if let Some(&count) = self.left_out.get(&reason) {
                writeln!(out, "\n// Left out: {count} {}.", reason.name())?;
            }
        }
        Ok(())
    }
}

/// A value as a literal of JavaScript: visible ASCII, harmless also within HTML.
fn literal(value: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_string(value).map_err(io::Error::from)?;
    let mut literal = String::with_capacity(json.len());
    for char in json.chars() {
        // These can stand in strings only, where an escape means the same.
        if char == '<' || !(char.is_ascii_graphic() || char == ' ') {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(literal, "\\u{unit:04x}");
            }
        } else {
            literal.push(char);
        }
    }
    Ok(literal)
}
