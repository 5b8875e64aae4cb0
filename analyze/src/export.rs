//! Requests in the formats of other tools: trace lines and Prometheus text. The engine knows the formats; here
//! they meet files and outputs.

use std::io::{self, Write};

use beyla_engine::{
    Sink,
    prometheus::{Exposition, Names},
    route::{Rules, Signal},
    trace_line::{Form, Printer},
};
use beyla_schema::{arrow::requests::Source, event::Clock, request::Request};

use crate::{
    Error,
    replay::{Capture, Consumer, Summary, replay_all},
};

struct TraceLines<W> {
    out: W,
    printer: Printer,
    result: io::Result<()>,
}

impl<W: Write> Sink for TraceLines<W> {
    fn request(&mut self, request: &Request<'_>) {
        if self.result.is_ok() {
            self.result = self.printer.write(&mut self.out, request);
        }
    }
}

impl<W: Write> Consumer for TraceLines<W> {
    fn begin(&mut self, source: &Source) {
        self.printer.set_clock(source.clock);
    }

    fn stopped(&self) -> bool {
        self.result.is_err()
    }
}

/// Writes every request in this form, in the order the requests ended.
pub fn traces(
    captures: Vec<Capture>,
    rules: &Rules,
    form: Form,
    out: &mut impl Write,
    progress: bool,
) -> Result<Vec<Summary>, Error> {
    let mut lines = TraceLines { out, printer: Printer::new(form, Clock::default()), result: Ok(()) };
    let summaries = replay_all(captures, rules, &mut lines, progress);
    lines.result?;
    lines.printer.finish(lines.out)?;
    Ok(summaries)
}

impl Consumer for Exposition {
    fn signal(&self) -> Signal {
        Signal::Metrics
    }
}

/// What is exposed.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// What metrics and labels are called.
    pub names: Names,
    /// Whether series have the route as a label.
    pub routes: bool,
    /// The most series that a metric may have.
    pub max_series: usize,
}

/// The Prometheus exposition of whole runs, and what the files held.
///
/// The `instance` of every series is the captured host; of several hosts, their names joined by commas.
pub fn prometheus(captures: Vec<Capture>, rules: &Rules, metrics: Metrics) -> (String, Vec<Summary>) {
    let mut hosts: Vec<&str> = captures.iter().map(Capture::host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let Metrics { names, routes, max_series } = metrics;
    let exposition = Exposition::new(names, hosts.join(","));
    let mut exposition = exposition.with_routes(routes).with_max_series(max_series);
    let summaries = replay_all(captures, rules, &mut exposition, true);
    (exposition.render(), summaries)
}
