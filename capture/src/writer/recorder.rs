//! Takes the events of a capture in their order: journals them, has them written, ends the capture at its limits
//! and goes on in another part when it is time.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::PathBuf,
    thread::{self, JoinHandle},
};

use beyla_schema::{
    event::{Body, Event},
    file::{self, Cost, JournaledWriter, Metadata, Names},
};

use super::{
    Error, Limits, Place, Written,
    carried::Carried,
    output::{self, Claim, Output},
};
use crate::order::RECORDER;

/// Rows that are added where one part ends and the next begins are numbered from here: the recorder's other
/// rows do not get that far.
const FIRST_ADDED: u64 = 1 << 32;

/// What the metadata of a file tell of its making.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that came too late to be put in order.
    pub late_rows: u64,
    /// Bytes written so far, journals included.
    pub written_bytes: u64,
}

/// Writes a capture. `M` makes the metadata of a file, as of now; `S` is told the reason when the capture is to
/// stop.
pub(super) struct Recorder<M, S> {
    path: PathBuf,
    limits: Limits,
    metadata: M,
    stop: Option<S>,
    part: Part,
    /// Of a rotated capture.
    carried: Option<Carried>,
    next_added: u64,
    finished: VecDeque<PathBuf>,
    /// Another part that is being finished.
    closing: Option<Closing>,
    done: Done,
}

type Closing = JoinHandle<Result<(Names, u64), Error>>;

/// What is in the parts before this one.
#[derive(Default)]
struct Done {
    parts: u32,
    events: u64,
    /// Size of their files, and how much was written to make them.
    bytes: u64,
    written: u64,
    late: u64,
    cost: Cost,
}

/// The file that is being written.
struct Part {
    number: Option<u32>,
    names: Names,
    file: File,
    writer: JournaledWriter,
    /// Events in it that are not carried, and when the first of them came.
    events: u64,
    began_ns: Option<u64>,
}

impl Part {
    fn begin(
        claim: Claim,
        number: Option<u32>,
        metadata: Metadata,
        group_rows: Option<usize>,
    ) -> Result<Self, Error> {
        let Claim { names, partial, journal } = claim;
        let file = partial.try_clone().map_err(file::Error::from);
        let writer = file.and_then(|file| {
            let writer = JournaledWriter::create(partial, journal, Metadata { part: number, ..metadata })?;
            Ok((file, writer))
        });
        match writer {
            Ok((file, mut writer)) => {
                if let Some(rows) = group_rows {
                    writer.set_group_rows(rows);
                }
                Ok(Self { number, names, file, writer, events: 0, began_ns: None })
            }
            Err(source) => {
                let path = names.path.clone();
                discard(&names);
                Err(Error::Write { path, source })
            }
        }
    }

    /// What became of this part when it cannot be written any more.
    fn failed(&self, source: file::Error) -> Error {
        let (path, events) = (self.names.path.clone(), self.writer.kept());
        if events > 0 {
            return Error::Stopped { path, source, events };
        }
        // There is nothing in it, and the disk may need the room.
        discard(&self.names);
        Error::Write { path, source }
    }
}

fn discard(names: &Names) {
    let _ = fs::remove_file(&names.partial);
    let _ = fs::remove_file(&names.journal);
}

impl<M: Fn(Tally) -> Metadata, S: FnOnce(&'static str)> Recorder<M, S> {
    pub(super) fn new(mut output: Output, limits: Limits, metadata: M, stop: S) -> Result<Self, Error> {
        output.replace();
        let (path, number) = (output.path().to_owned(), output.part());
        let part = Part::begin(output.first, number, metadata(Tally::default()), limits.group_rows)?;
        Ok(Self {
            path,
            limits,
            metadata,
            stop: Some(stop),
            part,
            carried: number.map(|_| Carried::default()),
            next_added: FIRST_ADDED,
            finished: VecDeque::new(),
            closing: None,
            done: Done::default(),
        })
    }

    /// Takes an event.
    pub(super) fn push(&mut self, event: &Event<'_>) -> Result<(), Error> {
        if let Some(carried) = &mut self.carried {
            carried.learn(event);
        }
        if matches!(event.body, Body::End(_)) {
            // It has stopped.
            self.stop = None;
        }
        self.part.events += 1;
        self.part.began_ns.get_or_insert(event.ts_ns);
        self.part.writer.push(event).map_err(|source| self.part.failed(source))
    }

    /// Everything up to `until_ns` was pushed, `late` of it out of order, and nothing earlier will come: writes it
    /// down, and sees whether a limit is reached.
    pub(super) fn commit(&mut self, until_ns: u64, late: u64) -> Result<(), Error> {
        self.part.writer.commit().map_err(|source| self.part.failed(source))?;
        let age_ns = self.part.began_ns.map_or(0, |began_ns| until_ns.saturating_sub(began_ns));
        let size = self.part.writer.size();
        let reached = |limit: Option<u64>, so_far: u64| limit.is_some_and(|limit| so_far >= limit);
        if reached(self.limits.max_events, self.done.events + self.part.events) {
            self.stop("max_events");
        } else if reached(self.limits.max_size, self.bytes()) {
            self.stop("max_size");
        }
        // What is in flight when the capture stops belongs to the part that it stopped in.
        let due = self.limits.rotate.is_some_and(|rotate| rotate.is_due(size, age_ns));
        if due && self.part.events > 0 && self.stop.is_some() {
            self.rotate(until_ns, late)?;
        }
        Ok(())
    }

    /// How large the file is now, all parts together, roughly.
    pub(super) fn bytes(&self) -> u64 {
        self.done.bytes + self.part.writer.size()
    }

    fn stop(&mut self, reason: &'static str) {
        if let Some(stop) = self.stop.take() {
            stop(reason);
        }
    }

    /// Ends the part with everything up to `cut_ns`, and begins the next one.
    fn rotate(&mut self, cut_ns: u64, late: u64) -> Result<(), Error> {
        let Some(number) = self.part.number else { return Ok(()) };
        let end = self.added(cut_ns, Body::End("rotated"));
        self.part.writer.push(&end).map_err(|source| self.part.failed(source))?;
        self.close(late)?;
        let claim = Claim::new(Names::of(&output::part(&self.path, number + 1)))?;
        let metadata = (self.metadata)(Tally::default());
        self.part = Part::begin(claim, Some(number + 1), metadata, self.limits.group_rows)?;
        if let Some(carried) = self.carried.take() {
            let pushed = carried.rows(|event| {
                let added = self.added(cut_ns, event.body);
                let Event { pid, tid, connection, carried, .. } = event;
                self.part.writer.push(&Event { pid, tid, connection, carried, ..added })
            });
            self.carried = Some(carried);
            pushed.and_then(|()| self.part.writer.commit()).map_err(|source| self.part.failed(source))?;
        }
        Ok(())
    }

    fn added<'a>(&mut self, ts_ns: u64, body: Body<'a>) -> Event<'a> {
        let seq = self.next_added;
        self.next_added += 1;
        Event { ts_ns, cpu: RECORDER, seq, pid: 0, tid: 0, connection: 0, carried: false, body }
    }

    /// Completes the part. Its last way, to the disk and to its place, may take a while and is gone on a thread.
    fn close(&mut self, late: u64) -> Result<(), Error> {
        let part = &mut self.part;
        let tally = Tally {
            late_rows: late - self.done.late,
            written_bytes: self.done.written + part.writer.written(),
        };
        let metadata = Metadata { part: part.number, ..(self.metadata)(tally) };
        part.writer.finish(&metadata).map_err(|source| part.failed(source))?;
        self.done.cost = metadata.cost;
        self.done.late = late;
        self.done.parts += 1;
        self.done.events += part.events;
        self.done.written += part.writer.written();
        self.done.bytes += part.writer.size();
        let failed = |source: std::io::Error| part.failed(source.into());
        let (names, file) = (part.names.clone(), part.file.try_clone().map_err(failed)?);
        let kept = part.writer.kept();
        let closing =
            thread::Builder::new().name("finisher".to_owned()).spawn(move || {
                match output::publish(&file, &names) {
                    Ok(bytes) => Ok((names, bytes)),
                    Err(source) => {
                        Err(Error::Stopped { path: names.path, source: source.into(), events: kept })
                    }
                }
            });
        let closing = closing.map_err(failed)?;
        self.await_closing()?;
        self.closing = Some(closing);
        Ok(())
    }

    /// Waits for the part before, and deletes the oldest ones.
    fn await_closing(&mut self) -> Result<u64, Error> {
        let Some(closing) = self.closing.take() else { return Ok(0) };
        let (names, bytes) = match closing.join() {
            Ok(closed) => closed?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        self.finished.push_back(names.path);
        while self.limits.keep.is_some_and(|keep| self.finished.len() > keep as usize) {
            if let Some(oldest) = self.finished.pop_front() {
                // Whoever moved it away wanted to keep it.
                let _ = fs::remove_file(oldest);
            }
        }
        Ok(bytes)
    }

    /// Completes the last part.
    pub(super) fn finish(mut self, late: u64) -> Result<Written, Error> {
        self.close(late)?;
        let last = self.await_closing()?;
        let parts = self.part.number.is_some().then_some(self.done.parts);
        let path = if parts.is_some() { output::all_parts(&self.path) } else { self.path.clone() };
        let bytes = if parts.is_some() { self.done.bytes } else { last };
        Ok(Written { file: Some(Place { path, bytes, parts }), cost: std::mem::take(&mut self.done.cost) })
    }
}

impl<M, S> Drop for Recorder<M, S> {
    /// A part that is complete gets to its place, also when the next one cannot be written.
    fn drop(&mut self) {
        if let Some(closing) = self.closing.take() {
            let _ = closing.join();
        }
    }
}
