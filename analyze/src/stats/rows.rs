//! What the rows of a capture tell when they are counted.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, RecordBatch, UInt32Array},
    compute::cast,
    datatypes::{DataType, UInt32Type},
};
use beyla_schema::{
    arrow::events::EventBatch,
    event::{self, Body, Change, Clock, Data, Event, loses_records},
    file::Error as FileError,
};
use serde::Serialize;

use crate::units::rfc3339;

/// Processes that are listed.
const PROCESSES: usize = 1000;

/// Causes of losses that are listed: there are fewer.
const CAUSES: usize = 100;

/// Moments of a cause at which its count had grown that are listed.
const MOMENTS: usize = 100;

/// Connections that the rows tell of.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Connections {
    /// That began, or were there when the capture found them.
    pub known: u64,
    /// By how they came to be known: `accept`, `connect`, `found`.
    pub by_action: BTreeMap<&'static str, u64>,
    /// By what carries their bytes.
    pub by_transport: BTreeMap<&'static str, u64>,
    /// That go on from an earlier part.
    pub carried: u64,
    /// That ended.
    pub closed: u64,
}

/// What calls moved.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// Where it was seen: `socket`, or as plaintext in a TLS library.
    pub source: &'static str,
    /// `receive` or `send`.
    pub direction: &'static str,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Bytes of them that are in the file.
    pub captured: u64,
}

/// A process.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Texts are None when not known; the last that was told counts.
    pub service: Option<String>,
    /// Path of its program.
    pub executable: Option<String>,
    /// What runs it.
    pub runtime: Option<String>,
    /// Id of the container it runs in.
    pub container: Option<String>,
    /// When it started.
    pub started: Option<String>,
    /// When it ended; None when it did not, or nothing tells.
    pub exited: Option<String>,
    /// Calls that moved bytes.
    pub rows: u64,
    /// Bytes that they moved on sockets.
    pub bytes: u64,
    #[serde(skip)]
    exited_ns: Option<u64>,
}

/// What was lost to one cause.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Loss {
    /// Its name.
    pub cause: String,
    /// How often, in this file.
    pub count: u64,
    /// Whether whole events are missing.
    pub loses_records: bool,
    /// When the count had grown, and by how much.
    pub increases: Vec<Increase>,
    /// Increases that are not listed.
    pub increases_left_out: u64,
    #[serde(skip)]
    total: u64,
}

/// A count had grown.
#[derive(Clone, Debug, Serialize)]
pub struct Increase {
    /// When this was found.
    pub time: Option<String>,
    /// By how much.
    pub count: u64,
    #[serde(skip)]
    ts_ns: u64,
}

/// Counts in the making.
#[derive(Default)]
pub(super) struct Rows {
    /// First and last event time.
    pub(super) range: Option<(u64, u64)>,
    pub(super) kinds: BTreeMap<&'static str, u64>,
    pub(super) connections: Connections,
    pub(super) moved: BTreeMap<(u8, u8), Moved>,
    pub(super) calls: BTreeMap<&'static str, u64>,
    pub(super) processes: BTreeMap<u32, Process>,
    pub(super) processes_left_out: u64,
    pub(super) losses: BTreeMap<String, Loss>,
    pub(super) seen: Option<u64>,
    pub(super) end: Option<String>,
}

impl Rows {
    /// Counts the rows of a batch, of which the first is row `first` of the file.
    pub(super) fn batch(&mut self, batch: &RecordBatch, first: u64) -> Result<(), FileError> {
        let captured = batch.column_by_name("captured").map(|column| cast(column, &DataType::UInt32));
        let captured = captured.transpose()?.map(|column| column.as_primitive::<UInt32Type>().clone());
        let captured = |row| {
            let column = captured.as_ref().filter(|column: &&UInt32Array| column.is_valid(row));
            column.map_or(0, |column| u64::from(column.value(row)))
        };
        let events = EventBatch::new(batch)?;
        for row in 0..events.rows() {
            match events.event(row) {
                Ok(Some(event)) => self.event(&event, captured(row)),
                Ok(None) => *self.kinds.entry("unknown").or_default() += 1,
                Err(reason) => return Err(FileError::Row { row: first + row as u64, reason }),
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &Event<'_>, captured: u64) {
        let (first, last) = self.range.unwrap_or((event.ts_ns, event.ts_ns));
        self.range = Some((first.min(event.ts_ns), last.max(event.ts_ns)));
        let kind = match &event.body {
            Body::Open(_) if event.carried => {
                self.connections.carried += 1;
                "open"
            }
            Body::Open(open) => {
                self.connections.known += 1;
                *self.connections.by_action.entry(open.origin.name()).or_default() += 1;
                *self.connections.by_transport.entry(open.transport.name()).or_default() += 1;
                "open"
            }
            Body::Data(data) => {
                self.data(event, data, captured);
                "data"
            }
            Body::Close(close) => {
                self.connections.closed += u64::from(close.direction.is_none());
                "close"
            }
            Body::Listen(_) => "listen",
            Body::Process(process) => {
                self.process(event, process);
                "process"
            }
            Body::Loss(loss) => {
                self.loss(event, loss);
                "loss"
            }
            Body::Seen(count) => {
                self.seen = Some(*count);
                "seen"
            }
            Body::End(reason) => {
                self.end = Some((*reason).to_owned());
                "end"
            }
        };
        *self.kinds.entry(kind).or_default() += 1;
    }

    fn data(&mut self, event: &Event<'_>, data: &Data<'_>, captured: u64) {
        let (source, direction) = (data.source.name(), data.direction.name());
        let moved = self.moved.entry((data.source as u8, data.direction as u8));
        let moved = moved.or_insert(Moved { source, direction, rows: 0, bytes: 0, captured: 0 });
        moved.rows += 1;
        moved.bytes += u64::from(data.length);
        moved.captured += captured;
        *self.calls.entry(data.call.name()).or_default() += 1;
        if let Some(process) = self.of_pid(event.pid) {
            process.rows += 1;
            if data.source == event::Source::Socket {
                process.bytes += u64::from(data.length);
            }
        }
    }

    /// A process that is listed.
    fn of_pid(&mut self, pid: u32) -> Option<&mut Process> {
        if pid == 0 || (self.processes.len() >= PROCESSES && !self.processes.contains_key(&pid)) {
            return None;
        }
        Some(self.processes.entry(pid).or_insert_with(|| Process { pid, ..Process::default() }))
    }

    fn process(&mut self, event: &Event<'_>, facts: &event::Process<'_>) {
        let exits = facts.change == Some(Change::Exit);
        let Some(process) = self.of_pid(event.pid) else {
            // Rows are counted, since who of them was there before is not remembered.
            self.processes_left_out += u64::from(!exits);
            return;
        };
        let told = |text: &str, known: &mut Option<String>| {
            if !text.is_empty() {
                *known = Some(text.to_owned());
            }
        };
        told(facts.service, &mut process.service);
        told(facts.executable, &mut process.executable);
        told(facts.runtime, &mut process.runtime);
        told(facts.container, &mut process.container);
        process.started = facts.started_ns.and_then(rfc3339).or(process.started.take());
        process.exited_ns = exits.then_some(event.ts_ns);
    }

    fn loss(&mut self, event: &Event<'_>, told: &event::Loss<'_>) {
        if self.losses.len() >= CAUSES && !self.losses.contains_key(told.cause) {
            return;
        }
        let new = || Loss {
            cause: told.cause.to_owned(),
            loses_records: loses_records(told.cause),
            ..Loss::default()
        };
        let loss = self.losses.entry(told.cause.to_owned()).or_insert_with(new);
        let count = told.count.saturating_sub(loss.total);
        loss.total = told.count;
        // What an earlier part lost is repeated by this one.
        if count == 0 || event.carried {
            return;
        }
        loss.count += count;
        if loss.increases.len() < MOMENTS {
            loss.increases.push(Increase { time: None, count, ts_ns: event.ts_ns });
        } else {
            loss.increases_left_out += 1;
        }
    }
}

impl Process {
    pub(super) fn timed(self, clock: Clock) -> Self {
        Self { exited: self.exited_ns.and_then(|ts_ns| rfc3339(clock.wall_ns(ts_ns))), ..self }
    }
}

impl Loss {
    pub(super) fn timed(mut self, clock: Clock) -> Self {
        for increase in &mut self.increases {
            increase.time = rfc3339(clock.wall_ns(increase.ts_ns));
        }
        self
    }
}
