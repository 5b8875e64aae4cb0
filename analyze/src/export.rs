//! Requests in the formats of other tools: trace lines and Prometheus text. The engine knows the formats; here
//! they meet files and outputs.

use std::io::{self, Write};

use beyla_engine::{
    Sink,
    prometheus::{Exposition, Names},
    trace_line,
};
use beyla_schema::{arrow::requests::Source, event::Clock, request::Request};

use crate::{
    Error,
    replay::{Capture, Consumer, Summary, replay_all},
};

struct TraceLines<W> {
    out: W,
    clock: Clock,
    result: io::Result<()>,
}

impl<W: Write> Sink for TraceLines<W> {
    fn request(&mut self, request: &Request<'_>) {
        if self.result.is_ok() {
            self.result = trace_line::write(&mut self.out, request, self.clock);
        }
    }
}

impl<W: Write> Consumer for TraceLines<W> {
    fn begin(&mut self, source: &Source) {
        self.clock = source.clock;
    }

    fn stopped(&self) -> bool {
        self.result.is_err()
    }
}

/// Writes one line per request, in the order the requests ended.
pub fn traces(captures: Vec<Capture>, out: &mut impl Write, progress: bool) -> Result<Vec<Summary>, Error> {
    let mut lines = TraceLines { out, clock: Clock::default(), result: Ok(()) };
    let summaries = replay_all(captures, &mut lines, progress);
    lines.result?;
    Ok(summaries)
}

impl Consumer for Exposition {}

/// The Prometheus exposition of whole runs, and what the files held.
///
/// The `instance` of every series is the captured host; of several hosts, their names joined by commas.
pub fn prometheus(captures: Vec<Capture>, names: Names) -> (String, Vec<Summary>) {
    let mut hosts: Vec<&str> = captures.iter().map(Capture::host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let mut exposition = Exposition::new(names, hosts.join(","));
    let summaries = replay_all(captures, &mut exposition, true);
    (exposition.render(), summaries)
}
