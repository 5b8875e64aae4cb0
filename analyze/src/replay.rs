//! The driver: capture files in, through the engine, into a consumer of requests; and what each file turned
//! out to hold.

use std::{fs::File, path::Path};

use beyla_engine::{Config, Engine, Sink, Stats};
use beyla_schema::{
    arrow::requests::Source,
    file::{Error as FileError, EventReader, Metadata, Projection},
};

use crate::{Error, progress::Progress};

/// An opened capture file.
pub struct Capture {
    source: Source,
    reader: EventReader,
}

impl Capture {
    /// Opens a file and reads what it says about itself.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = path.display().to_string();
        let open = || EventReader::open(File::open(path)?, Projection::Pairing);
        match open() {
            Ok(reader) => {
                let metadata = reader.metadata();
                let source = Source { file, host: metadata.host.name.clone(), clock: metadata.clock() };
                Ok(Self { source, reader })
            }
            Err(error) => Err(Error::File { file, error }),
        }
    }

    /// Host name of the capture.
    pub fn host(&self) -> &str {
        &self.source.host
    }

    /// Rows in the file.
    pub fn rows(&self) -> u64 {
        self.reader.rows()
    }
}

/// Takes the requests of one file after the other.
pub trait Consumer: Sink {
    /// The next requests come from `source`.
    fn begin(&mut self, source: &Source) {
        let _ = source;
    }

    /// Whether it wants no more requests.
    fn stopped(&self) -> bool {
        false
    }
}

/// Takes requests and does nothing with them: for a replay that is only about the [`Summary`].
pub struct Nothing;

impl Sink for Nothing {
    fn request(&mut self, _: &beyla_schema::request::Request<'_>) {}
}

impl Consumer for Nothing {}

/// What a file turned out to hold.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The file, as it was named.
    pub file: String,
    /// What the file says about itself.
    pub metadata: Metadata,
    /// Wall time of the first and the last event, nanoseconds; none without events.
    pub range: Option<(i64, i64)>,
    /// What the engine saw and what it gave up.
    pub stats: Stats,
    /// Why the file could not be read to its end; none when it could.
    pub damage: Option<String>,
}

impl Summary {
    /// Events that were lost, of all causes.
    pub fn lost(&self) -> u64 {
        self.stats.losses.values().sum()
    }

    /// Lost events as a share of all there were, 0 to 1.
    pub fn lost_ratio(&self) -> f64 {
        match self.lost() {
            0 => 0.0,
            lost => lost as f64 / (lost + self.stats.events) as f64,
        }
    }

    /// Whether the file holds everything there was: nothing lost, read to its end, and ended cleanly.
    pub fn complete(&self) -> bool {
        self.lost() == 0 && self.stats.end.is_some() && self.damage.is_none()
    }

    /// What stands between the file and completeness, for a warning; none when it is complete.
    pub fn warning(&self) -> Option<String> {
        let mut reasons = Vec::new();
        if let Some(damage) = &self.damage {
            reasons.push(format!("{damage}; only the rows before it were used"));
        } else if self.stats.end.is_none() {
            reasons.push("the capture did not end cleanly, its last moments may be missing".to_owned());
        }
        if self.lost() > 0 {
            let causes = self.stats.losses.iter().filter(|(_, count)| **count > 0);
            let causes: Vec<_> = causes.map(|(cause, count)| format!("{cause} {count}")).collect();
            reasons.push(format!("{} events were lost ({})", self.lost(), causes.join(", ")));
        }
        (!reasons.is_empty()).then(|| format!("{}: {}", self.file, reasons.join("; ")))
    }
}

/// Replays one file through an engine of its own.
///
/// A file that breaks in the middle is used up to there; the summary says so.
pub fn replay(capture: Capture, consumer: &mut impl Consumer, progress: &mut Progress) -> Summary {
    let Capture { source, mut reader } = capture;
    consumer.begin(&source);
    let mut engine = Engine::new(Config::default());
    let mut range: Option<(u64, u64)> = None;
    let mut rows = 0;
    let damage = loop {
        let batch = reader.next_batch(|event| {
            let (first, last) = range.unwrap_or((event.ts_ns, event.ts_ns));
            range = Some((first.min(event.ts_ns), last.max(event.ts_ns)));
            engine.push(event, consumer);
        });
        let count = match batch {
            Ok(None) => break None,
            Ok(Some(count)) => count as u64,
            Err(error @ (FileError::Row { .. } | FileError::Damaged { .. })) => {
                break Some(error.to_string());
            }
            Err(error) => break Some(format!("damaged: the rows from {rows} on cannot be read: {error}")),
        };
        if consumer.stopped() {
            break None;
        }
        rows += count;
        progress.advance(count);
    };
    engine.finish(consumer);
    Summary {
        file: source.file,
        metadata: reader.metadata().clone(),
        range: range.map(|(first, last)| (source.clock.wall_ns(first), source.clock.wall_ns(last))),
        stats: engine.stats().clone(),
        damage,
    }
}

/// Replays files one after the other into the same consumer.
pub fn replay_all(captures: Vec<Capture>, consumer: &mut impl Consumer, progress: bool) -> Vec<Summary> {
    let mut progress = Progress::new(captures.iter().map(Capture::rows).sum(), progress);
    let mut summaries = Vec::new();
    for capture in captures {
        if !consumer.stopped() {
            summaries.push(replay(capture, consumer, &mut progress));
        }
    }
    summaries
}
