//! The driver: capture files in, through the engine, into a consumer of requests; and what each file turned
//! out to hold.

mod merged;

use std::{
    path::{Path, PathBuf},
    thread::available_parallelism,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use beyla_engine::{
    Config, Engine, Sink, Stats,
    route::{Kept, Rules, Signal},
};
use beyla_schema::{
    arrow::requests::Source,
    event::{Body, Event, loses_records},
    file::{Cost, Error as FileError, EventReader, Layout, Metadata, Projection},
    request::Request,
};

use crate::{
    Error, demo,
    merge::numbers::MOST,
    parts::recordings,
    progress::Progress,
    selection::{Asked, Selected, Selection},
};

/// What an analysis is of: files, how paths become routes, and which requests count.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The files; several are replayed one after the other.
    pub files: Vec<PathBuf>,
    /// How paths become routes.
    pub rules: Rules,
    /// Which requests count.
    pub selection: Selection,
    /// How many threads replay them. No answer depends on it.
    pub threads: Threads,
}

/// Threads of a replay: with one, the thread that pairs decodes too; more decode beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads(pub usize);

impl Threads {
    /// Further ones would wait for the thread that pairs.
    pub const MOST: usize = 4;
}

impl Default for Threads {
    /// As many as the machine has cores, up to [`Self::MOST`].
    fn default() -> Self {
        Self(available_parallelism().map_or(1, usize::from).min(Self::MOST))
    }
}

impl Input {
    /// Opens every file for pairing.
    pub fn captures(&self) -> Result<Vec<Capture>, Error> {
        self.files.iter().map(|file| Ok(Capture::open(file)?.replayed_by(self.threads))).collect()
    }

    /// Replays the files into a consumer of the requests that count, as [`replay_all`] does.
    pub fn replay(&self, consumer: &mut impl Consumer, progress: bool) -> Result<Vec<Summary>, Error> {
        let captures = self.captures()?;
        if self.selection.is_all() {
            return Ok(replay_all(captures, &self.rules, consumer, progress));
        }
        let beginning = captures.iter().map(|capture| capture.metadata().began_ns()).min().unwrap_or(0);
        let signal = consumer.signal();
        let mut selected = Selected::new(&self.selection, beginning, consumer);
        if let Some(predicate) = &self.selection.predicate {
            let asked = Asked::new(predicate, signal)?;
            let mut asked =
                While { consumer: Selected::new(&self.selection, beginning, asked), of: &selected };
            replay_all(self.captures()?, &self.rules, &mut asked, progress);
            let asked = asked.consumer.into_consumer();
            // Nobody waits for the requests any more, and the answers are not those of all.
            if selected.stopped() {
                return Ok(Vec::new());
            }
            selected = selected.with_bits(asked.into_bits()?);
        }
        Ok(replay_all(captures, &self.rules, &mut selected, progress))
    }
}

/// An opened capture file.
pub struct Capture {
    path: PathBuf,
    columns: Projection,
    threads: Threads,
    source: Source,
    reader: EventReader,
}

impl Capture {
    /// Opens a file for pairing, and reads what it says about itself. Of a capture that was killed or still goes on, what
    /// there is of it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::with_columns(path, Projection::Pairing)
    }

    /// Opens a file with all its columns.
    pub fn open_whole(path: &Path) -> Result<Self, Error> {
        Self::with_columns(path, Projection::All)
    }

    /// Opens a file with the columns named, and those that tell kinds and order.
    pub(crate) fn open_columns(path: &Path, columns: &'static [&'static str]) -> Result<Self, Error> {
        Self::with_columns(path, Projection::Columns(columns))
    }

    /// Opens a file without the bytes that were moved.
    pub fn open_facts(path: &Path) -> Result<Self, Error> {
        Self::with_columns(path, Projection::Facts)
    }

    fn with_columns(path: &Path, columns: Projection) -> Result<Self, Error> {
        let file = path.display().to_string();
        let opened =
            if demo::is_meant(path) { demo::open(columns) } else { EventReader::open_path(path, columns) };
        match opened {
            Ok(reader) => {
                let metadata = reader.metadata();
                let source = Source { file, host: metadata.host.name.clone(), clock: metadata.clock() };
                Ok(Self { path: path.to_owned(), columns, threads: Threads(1), source, reader })
            }
            Err(error) => Err(Error::File { file, error }),
        }
    }

    /// The same, for so many threads.
    fn replayed_by(mut self, threads: Threads) -> Self {
        self.reader.decode_on(threads.0);
        Self { threads, ..self }
    }

    /// The file, as it was named.
    pub fn name(&self) -> &str {
        &self.source.file
    }

    /// The next rows as they are. None at the end.
    pub fn next_record_batch(&mut self) -> Result<Option<RecordBatch>, FileError> {
        self.reader.next_record_batch()
    }

    /// Hands every event to `each`, until that returns false.
    pub(crate) fn each_event(
        mut self,
        progress: &mut Progress,
        mut each: impl FnMut(&Event<'_>) -> bool,
    ) -> Result<(), Error> {
        let mut wanted = true;
        while wanted {
            match self.reader.next_batch(|event| wanted = wanted && each(event)) {
                Ok(Some(rows)) => progress.advance(rows as u64),
                Ok(None) => break,
                Err(error) => return Err(Error::File { file: self.source.file, error }),
            }
        }
        Ok(())
    }

    /// Host names of the captures in the file.
    pub fn hosts(&self) -> Vec<&str> {
        match &*self.metadata().merged {
            [] => vec![&self.source.host],
            merged => merged.iter().map(|merged| &*merged.capture.host.name).collect(),
        }
    }

    /// Captures in the file.
    pub(crate) fn captures(&self) -> usize {
        self.metadata().merged.len().clamp(1, MOST)
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &Metadata {
        self.reader.metadata()
    }

    /// Whether the capture was killed or still goes on.
    pub fn unfinished(&self) -> bool {
        self.reader.unfinished()
    }

    /// The columns of the rows.
    pub fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }

    /// How much room its columns take.
    pub fn layout(&self) -> &Layout {
        self.reader.layout()
    }

    /// Rows in the file.
    pub fn rows(&self) -> u64 {
        self.reader.rows()
    }
}

/// Takes the requests of one file after the other. A request that crosses parts of a capture comes with the one in
/// which it ended.
pub trait Consumer: Sink {
    /// The next requests come from `source`.
    fn begin(&mut self, source: &Source) {
        let _ = source;
    }

    /// Whether it wants no more requests.
    fn stopped(&self) -> bool {
        false
    }

    /// What it makes of requests: ignored paths can be left out of one or the other.
    fn signal(&self) -> Signal {
        Signal::Traces
    }
}

/// Takes requests and does nothing with them: for a replay that is only about the [`Summary`].
pub struct Nothing;

impl Sink for Nothing {
    fn request(&mut self, _: &Request<'_>) {}
}

impl Consumer for Nothing {}

impl<C: Consumer> Consumer for &mut C {
    fn begin(&mut self, source: &Source) {
        (**self).begin(source);
    }

    fn stopped(&self) -> bool {
        (**self).stopped()
    }

    fn signal(&self) -> Signal {
        (**self).signal()
    }
}

/// Takes requests until another consumer wants no more of what comes of them.
struct While<'w, C, O> {
    consumer: C,
    of: &'w O,
}

impl<C: Sink, O> Sink for While<'_, C, O> {
    fn request(&mut self, request: &Request<'_>) {
        self.consumer.request(request);
    }
}

impl<C: Consumer, O: Consumer> Consumer for While<'_, C, O> {
    fn begin(&mut self, source: &Source) {
        self.consumer.begin(source);
    }

    fn stopped(&self) -> bool {
        self.of.stopped() || self.consumer.stopped()
    }

    fn signal(&self) -> Signal {
        self.consumer.signal()
    }
}

impl<C: Consumer> Consumer for Kept<&mut C> {
    fn begin(&mut self, source: &Source) {
        self.sink.begin(source);
    }

    fn stopped(&self) -> bool {
        self.sink.stopped()
    }
}

/// Why a capture without a finished file has no end, and what to do about it.
const UNFINISHED: &str = "the capture is still running, or it was killed: then `beyla-capture recover` makes a complete \
                          file of what it left";

/// What a file turned out to hold.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The file, as it was named.
    pub file: String,
    /// What the file says about itself.
    pub metadata: Metadata,
    /// Wall time of the first and the last event, nanoseconds; none without events.
    pub range: Option<(i64, i64)>,
    /// What the engine saw and what it gave up while it read this file.
    pub stats: Stats,
    /// The next part of the capture was replayed after it: that it has no end says nothing.
    pub continued: bool,
    /// The capture was killed or still goes on: there is no finished file yet.
    pub unfinished: bool,
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
            lost => lost as f64 / (lost + self.stats.events + self.left_out()) as f64,
        }
    }

    /// Events that are not in the file because it was filtered.
    pub fn left_out(&self) -> u64 {
        self.metadata.filtered.as_ref().map_or(0, |filtered| filtered.left_out)
    }

    /// Events that the kernel programs saw, recorded or lost. None when the file does not tell.
    pub fn seen(&self) -> Option<u64> {
        Some(self.stats.seen).filter(|seen| *seen > 0)
    }

    /// The same of a whole capture that ended, where it is the sum of what was recorded and lost. At a cut it is what was
    /// read a moment before.
    pub fn seen_in_all(&self) -> Option<u64> {
        self.seen().filter(|_| self.metadata.part.is_none() && self.stats.end.is_some())
    }

    /// What the capture took from the machine. None when the file does not tell: one that was not finished by the
    /// recorder has what was known at its beginning.
    pub fn cost(&self) -> Option<&Cost> {
        let Metadata { cost, recovered, .. } = &self.metadata;
        (*cost != Cost::default() && !recovered && !self.unfinished).then_some(cost)
    }

    /// CPU time that the recorder took for each event it recorded, nanoseconds. None when not known, and for parts:
    /// their costs are those of the capture from its beginning.
    pub fn cpu_ns_per_event(&self) -> Option<f64> {
        let cpu_ns = self.cost()?.cpu_ns;
        if cpu_ns == 0 || self.metadata.part.is_some() {
            return None;
        }
        let losses = self.stats.losses.iter().filter(|(cause, _)| loses_records(cause));
        let lost: u64 = losses.map(|(_, count)| count).sum();
        let recorded = self.seen_in_all().map_or(self.stats.events, |seen| seen.saturating_sub(lost));
        Some(cpu_ns as f64 / recorded.max(1) as f64)
    }

    /// Why a file has no end.
    pub fn cut_off(&self) -> &'static str {
        match (self.unfinished, self.metadata.recovered) {
            (true, _) => UNFINISHED,
            (false, true) => "the capture was killed and its file recovered, its last moments may be missing",
            (false, false) => "the capture was cut off, its last moments may be missing",
        }
    }

    /// Whether the file holds everything there was: nothing lost, read to its end, and ended cleanly.
    pub fn complete(&self) -> bool {
        self.lost() == 0 && (self.stats.end.is_some() || self.continued) && self.damage.is_none()
    }

    /// What stands between the file and completeness, for a warning; none when it is complete.
    pub fn warning(&self) -> Option<String> {
        let mut reasons = Vec::new();
        if let Some(damage) = &self.damage {
            reasons.push(format!("{damage}; only the rows before it were used"));
        } else if self.stats.end.is_none() && !self.continued {
            reasons.push(format!("did not end cleanly: {}", self.cut_off()));
        }
        if self.lost() > 0 {
            let causes = self.stats.losses.iter().filter(|(_, count)| **count > 0);
            let causes: Vec<_> = causes.map(|(cause, count)| format!("{cause} {count}")).collect();
            reasons.push(format!("{} events were lost ({})", self.lost(), causes.join(", ")));
        }
        (!reasons.is_empty()).then(|| format!("{}: {}", self.file, reasons.join("; ")))
    }
}

/// Replays files one after the other into the same consumer; consecutive parts of one capture through one engine,
/// in their order, whatever the order of `captures`. Any other file has an engine of its own. Routes are found by `rules`;
/// the consumer gets no requests that they ignore.
///
/// A file that breaks in the middle is used up to there; its summary says so. There are summaries of the files that
/// were read before the consumer wanted no more.
pub fn replay_all(
    captures: Vec<Capture>,
    rules: &Rules,
    consumer: &mut impl Consumer,
    progress: bool,
) -> Vec<Summary> {
    let consumer = &mut Kept::new(rules, consumer.signal(), consumer);
    let passes = |capture: &Capture| capture.rows() * capture.captures() as u64;
    let mut progress = Progress::new(captures.iter().map(passes).sum(), progress);
    let mut summaries = Vec::new();
    for mut recording in recordings(captures, |capture| capture.reader.metadata()) {
        if let [merged] = recording.as_mut_slice()
            && !merged.metadata().merged.is_empty()
        {
            summaries.extend(merged::replay(merged, rules, consumer, &mut progress));
            if consumer.stopped() {
                return summaries;
            }
            continue;
        }
        let mut parts = recording.into_iter().peekable();
        let capture_id = parts.peek().map_or(0, |capture| capture.metadata().number());
        let config = Config { capture_id, routes: rules.clone(), ..Config::default() };
        let mut engine = Engine::new(config);
        let mut before = Stats::default();
        while let Some(Capture { source, mut reader, .. }) = parts.next() {
            consumer.begin(&source);
            let all = |event: &Event<'_>, engine: &mut Engine, consumer: &mut _| {
                engine.push(event, consumer);
                true
            };
            let Pumped { range, ended, damage } =
                pump(&mut reader, &mut engine, consumer, &mut progress, all);
            let continued = parts.peek().is_some();
            if !continued {
                engine.finish(consumer);
            }
            if consumer.stopped() {
                return summaries;
            }
            let mut stats = engine.stats().since(&before);
            stats.end = stats.end.filter(|_| ended);
            before = engine.stats().clone();
            summaries.push(Summary {
                range: range.map(|(first, last)| (source.clock.wall_ns(first), source.clock.wall_ns(last))),
                file: source.file,
                metadata: reader.metadata().clone(),
                stats,
                continued,
                unfinished: reader.unfinished(),
                damage,
            });
        }
    }
    summaries
}

/// What one file added to an engine.
struct Pumped {
    /// First and last event time.
    range: Option<(u64, u64)>,
    /// It has an end row.
    ended: bool,
    /// Why it could not be read to its end.
    damage: Option<String>,
}

/// Moves the events of one file into the engine with `push`, which says whether an event counts, until its end or until the
/// consumer wants no more.
fn pump<C: Consumer>(
    reader: &mut EventReader,
    engine: &mut Engine,
    consumer: &mut C,
    progress: &mut Progress,
    push: impl Fn(&Event<'_>, &mut Engine, &mut C) -> bool,
) -> Pumped {
    let mut pumped = Pumped { range: None, ended: false, damage: None };
    let mut rows = 0;
    loop {
        let batch = reader.next_batch(|event| {
            if push(event, engine, consumer) {
                let (first, last) = pumped.range.unwrap_or((event.ts_ns, event.ts_ns));
                pumped.range = Some((first.min(event.ts_ns), last.max(event.ts_ns)));
                pumped.ended |= matches!(event.body, Body::End(_));
            }
        });
        match batch {
            Ok(Some(count)) if !consumer.stopped() => {
                rows += count as u64;
                progress.advance(count as u64);
            }
            Ok(_) => return pumped,
            Err(error) => {
                pumped.damage = Some(damage(&error, rows));
                return pumped;
            }
        }
    }
}

/// What an error in the middle of a file says, after so many good rows.
pub(crate) fn damage(error: &FileError, rows: u64) -> String {
    match error {
        FileError::Row { .. } | FileError::Damaged { .. } => error.to_string(),
        _ => format!("damaged: the rows from {rows} on cannot be read: {error}"),
    }
}
