//! Writes the file: takes batches from the channel, puts them into order, masks their secrets, journals them and
//! hands them to Parquet.
//!
//! Until a file is complete it is two: `NAME.partial` has its closed row groups, `NAME.journal` what is in none
//! yet. Whatever happens, [`recover`](crate::recover) makes one of them.

mod carried;
mod limits;
mod output;
mod recorder;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::mpsc::Receiver};

use beyla_engine::redact::{Policy, Redactor};
use beyla_schema::{
    event::Event,
    file::{self, Cost, Metadata},
};

pub use limits::{Limits, Rotate};
pub use output::Output;
pub(crate) use output::{is_being_written, parts_of, remove};
use recorder::Recorder;
pub use recorder::Tally;

use crate::order::{Batch, Order};

/// Why there is no file, or only a part of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is one already.
    #[error("{0} exists already: choose another name, or overwrite it with --force")]
    Exists(PathBuf),
    /// There is what a capture left that did not finish.
    #[error(
        "{0} was begun by a capture that did not finish: make a complete file of it with \
         `beyla-capture recover {0}`, or overwrite it with --force"
    )]
    Left(PathBuf),
    /// Somebody writes there now.
    #[error("{0} is being written by another capture: choose another name")]
    Busy(PathBuf),
    /// It cannot be made.
    #[error("cannot write {path}: {source}")]
    Create {
        /// Its name.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It could not be written to the end, but what was written down is readable.
    #[error(
        "cannot go on writing {path}: {source}; {events} events are kept: `beyla-analyze {path}` reads them, and \
         `beyla-capture recover {path}` makes a complete file of them once there is room"
    )]
    Stopped {
        /// Its name.
        path: PathBuf,
        /// The system's reason.
        source: file::Error,
        /// Events that can be read.
        events: u64,
    },
    /// It could not be written, and nothing of it could be kept.
    #[error("cannot write {path}: {source}; nothing of the capture could be kept")]
    Write {
        /// Its name.
        path: PathBuf,
        /// The system's reason.
        source: file::Error,
    },
}

/// A finished capture.
#[derive(Debug)]
pub struct Written {
    /// Name of its file, or of all its parts as a shell matches them.
    pub path: PathBuf,
    /// Its size, that of parts which were deleted included.
    pub bytes: u64,
    /// How many parts there were; None when it is one file.
    pub parts: Option<u32>,
    /// What the capture cost.
    pub cost: Cost,
}

/// Writes batches until their sender is gone, with what `policy` wants masked. `metadata` tells of the capture as of now; `stop` is told the
/// reason when a limit is reached, and what is in flight then is still written.
pub fn run(
    output: Output,
    limits: Limits,
    policy: &Policy,
    batches: &Receiver<Batch>,
    metadata: impl Fn(Tally) -> Metadata,
    stop: impl FnOnce(&'static str),
) -> Result<Written, Error> {
    let mut recorder = Recorder::new(output, limits, metadata, stop)?;
    let mut order = Order::default();
    let mut redactor = Redactor::new(policy);
    // Every event passes here in its order, before anything of it is written down.
    let mut pass = |recorder: &mut Recorder<_, _>, event: &Event<'_>| recorder.push(&redactor.redact(event));
    let mut until_ns = 0;
    for batch in batches {
        let drained_ns = batch.drained_ns;
        order.push(batch);
        order.release(drained_ns, |event| pass(&mut recorder, event))?;
        until_ns = until_ns.max(Order::released_until(drained_ns));
        recorder.commit(until_ns, order.late())?;
    }
    order.finish(|event| pass(&mut recorder, event))?;
    recorder.finish(order.late())
}
