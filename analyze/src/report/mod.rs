//! The RED report: rate, errors and durations of every request in the files, under a head that says how
//! complete the files are. [`text`] and [`html`] show it to people, [`markdown`] to people who review a change, [`json`] to programs.

pub mod head;
pub mod html;
pub mod json;
pub mod markdown;
mod sparkline;
pub mod text;

use beyla_engine::{
    Sink,
    graph::{Call, Graph},
    red::{self, Aggregator, Dimension},
    route::Signal,
};
use beyla_schema::{arrow::requests::Source, event::Clock, request::Request};

use crate::{
    Error,
    replay::{Consumer, Input, Summary},
};

/// What a report shows.
#[derive(Clone, Debug)]
pub struct Report {
    /// The files, in the order they were named.
    pub files: Vec<Summary>,
    /// The numbers of all files together. Its times are wall time.
    pub red: red::Report,
    /// Who calls whom.
    pub calls: Vec<Call>,
}

/// Replays captures into a report that lists the `top` slowest routes, with a table `by` these if there are any.
pub fn build(input: &Input, by: Vec<Dimension>, top: usize) -> Result<Report, Error> {
    let mut wall = WallTime { aggregator: Aggregator::default().by(by), ..WallTime::default() };
    let files = input.replay(&mut wall, true)?;
    Ok(wall.report(files, top))
}

/// An aggregator that is told wall time: the monotonic clocks of two hosts, or of two boots, have nothing to do
/// with each other.
#[derive(Default)]
struct WallTime {
    aggregator: Aggregator,
    graph: Graph,
    clock: Clock,
}

impl WallTime {
    /// What has come of these files, with the `top` slowest routes.
    fn report(&self, files: Vec<Summary>, top: usize) -> Report {
        Report { files, red: self.aggregator.report(top), calls: self.graph.calls() }
    }
}

impl Sink for WallTime {
    fn request(&mut self, request: &Request<'_>) {
        self.graph.request(request);
        let wall = |ns| u64::try_from(self.clock.wall_ns(ns)).unwrap_or(0);
        self.aggregator.request(&Request {
            start_ns: wall(request.start_ns),
            end_ns: request.end_ns.map(wall),
            ended_ns: wall(request.ended_ns),
            ..*request
        });
    }
}

impl Consumer for WallTime {
    fn begin(&mut self, source: &Source) {
        self.clock = source.clock;
    }

    fn signal(&self) -> Signal {
        Signal::Metrics
    }
}
