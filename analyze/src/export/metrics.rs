//! The metrics of Prometheus, of whole runs or as they were over time. The engine knows the format; here it meets files
//! and outputs.

use std::{io::Write, time::Duration};

use beyla_engine::{
    Sink,
    prometheus::{Backfill, BackfillError, Exposition, Format, Names},
    route::Signal,
};
use beyla_schema::{arrow::requests::Source, event::Clock, request::Request};
use humantime::format_duration;

use crate::{
    Error,
    replay::{Capture, Consumer, Input, Summary},
};

/// Gives a sink of metrics the ends of requests in wall time, so that files with different clocks have one time.
struct WallTime<S> {
    sink: S,
    clock: Clock,
}

impl<S: Sink> Sink for WallTime<S> {
    fn request(&mut self, request: &Request<'_>) {
        let ended_ns = self.clock.wall_ns(request.ended_ns).max(0) as u64;
        self.sink.request(&Request { ended_ns, ..*request });
    }
}

impl<S: Sink> Consumer for WallTime<S> {
    fn begin(&mut self, source: &Source) {
        self.clock = source.clock;
    }

    fn signal(&self) -> Signal {
        Signal::Metrics
    }
}

/// What is exposed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// What metrics and labels are called.
    pub names: Names,
    /// Whether series have the route as a label.
    pub routes: bool,
    /// The most series that a metric may have.
    pub max_series: usize,
    /// How it is written.
    pub output: Output,
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Those of the whole run as the text of Prometheus.
    Text,
    /// Those of the whole run as OpenMetrics, with exemplars.
    OpenMetrics,
    /// As they were at every multiple of this, as OpenMetrics with their times.
    Backfill(Duration),
}

/// Writes the Prometheus metrics of runs, and says what the files held.
///
/// The `instance` of every series is the captured host; of several hosts, their names joined by commas.
pub fn prometheus(input: &Input, metrics: Metrics, out: &mut impl Write) -> Result<Vec<Summary>, Error> {
    let captures = input.captures()?;
    let mut hosts: Vec<&str> = captures.iter().flat_map(Capture::hosts).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let instance = hosts.join(",");
    let Metrics { names, routes, max_series, output } = metrics;
    let clock = Clock::default();
    if let Output::Backfill(step) = output {
        let sink = Backfill::new(names, instance, step).with_routes(routes).with_max_series(max_series);
        let mut metrics = WallTime { sink, clock };
        let summaries = input.replay(&mut metrics, true)?;
        metrics.sink.write(out).map_err(|error| match error {
            BackfillError::TooManySamples { step: longer, .. } => {
                let instead = match longer {
                    Some(longer) => format!("--step {} would do", format_duration(longer)),
                    None => "no step would do, --max-series can be lower".to_owned(),
                };
                Error::TooMuch(format!("--step {}: {error}; {instead}", format_duration(step)))
            }
            BackfillError::Write(error) => error.into(),
        })?;
        return Ok(summaries);
    }
    let format = if output == Output::Text { Format::Text } else { Format::OpenMetrics };
    let sink = Exposition::new(names, instance).with_routes(routes).with_max_series(max_series);
    let sink = sink.with_exemplars(format == Format::OpenMetrics);
    let mut metrics = WallTime { sink, clock };
    let summaries = input.replay(&mut metrics, true)?;
    out.write_all(&metrics.sink.render_as(format, clock))?;
    Ok(summaries)
}
