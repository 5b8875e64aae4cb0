//! Replays a file that several captures were merged into: one pass for each of them, through an engine of its own.
//!
//! The engine is given the connections as they were, so that ids of spans and traces are those of the capture by itself;
//! requests come out with the ids of the file, as its events have them.

use beyla_engine::{
    Config, Engine, Sink, Stats,
    route::{Rules, Signal},
};
use beyla_schema::{
    arrow::requests::Source,
    event::Event,
    file::{EventReader, Merged, Metadata},
    request::Request,
};

use super::{Capture, Consumer, Pumped, Summary, damage, pump};
use crate::{
    merge::numbers::{Numbers, capture_of},
    progress::Progress,
};

/// What the file turned out to hold of each capture, as if that were a file. Fewer when the consumer wants no more.
pub(super) fn replay(
    file: &mut Capture,
    rules: &Rules,
    consumer: &mut impl Consumer,
    progress: &mut Progress,
) -> Vec<Summary> {
    let merged = file.metadata().merged.clone();
    let mut summaries = Vec::new();
    for (index, about) in merged.iter().take(file.captures()).enumerate() {
        let source = Source { host: about.capture.host.name.clone(), ..file.source.clone() };
        let mut reopened = None;
        let reader = match (index, EventReader::open_path(&file.path, file.columns)) {
            (0, _) => &mut file.reader,
            (_, Ok(mut reader)) => {
                reader.decode_on(file.threads.0);
                reopened.insert(reader)
            }
            (_, Err(error)) => {
                let pumped = Pumped { range: None, ended: false, damage: Some(damage(&error, 0)) };
                summaries.push(summary(file, about, &Stats::default(), pumped));
                continue;
            }
        };
        let capture_id = about.capture.number();
        let mut engine = Engine::new(Config { capture_id, routes: rules.clone(), ..Config::default() });
        consumer.begin(&source);
        let numbers = Numbers::from(about);
        let mut consumer = Renumbered { consumer: &mut *consumer, numbers };
        let push = |event: &Event<'_>, engine: &mut Engine, consumer: &mut _| {
            let counts = capture_of(&merged, event) == Some(index);
            if counts {
                engine.push(&numbers.undo(event), consumer);
            }
            counts
        };
        let pumped = pump(reader, &mut engine, &mut consumer, progress, push);
        engine.finish(&mut consumer);
        if consumer.stopped() {
            break;
        }
        summaries.push(summary(file, about, engine.stats(), pumped));
    }
    summaries
}

/// What was lost and seen, and the end, are in the file for all captures together, and of each in its metadata.
fn summary(file: &Capture, about: &Merged, stats: &Stats, pumped: Pumped) -> Summary {
    let (Pumped { range, damage, .. }, source) = (pumped, &file.source);
    // Since it was merged, it may have been filtered with the others.
    let filtered = file.metadata().filtered.clone();
    Summary {
        file: source.file.clone(),
        metadata: Metadata { filtered, ..about.capture.clone() },
        range: range.map(|(first, last)| (source.clock.wall_ns(first), source.clock.wall_ns(last))),
        stats: Stats {
            losses: about.losses.clone(),
            seen: about.seen,
            end: about.end.clone(),
            ..stats.clone()
        },
        continued: false,
        unfinished: false,
        damage,
    }
}

/// Passes on requests with the ids that their connections have in the file.
struct Renumbered<'c, C> {
    consumer: &'c mut C,
    numbers: Numbers,
}

impl<C: Consumer> Sink for Renumbered<'_, C> {
    fn request(&mut self, request: &Request<'_>) {
        let connection = self.numbers.renumbered(request.connection);
        self.consumer.request(&Request { connection, ..*request });
    }
}

impl<C: Consumer> Consumer for Renumbered<'_, C> {
    fn begin(&mut self, source: &Source) {
        self.consumer.begin(source);
    }

    fn stopped(&self) -> bool {
        self.consumer.stopped()
    }

    fn signal(&self) -> Signal {
        self.consumer.signal()
    }
}
