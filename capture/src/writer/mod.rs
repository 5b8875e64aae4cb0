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

use crate::{
    live::Feed,
    order::{Batch, Order},
};

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
    /// Where it is; None when it was not to be kept.
    pub file: Option<Place>,
    /// What the capture cost.
    pub cost: Cost,
}

/// Where a finished capture is.
#[derive(Debug)]
pub struct Place {
    /// Name of its file, or of all its parts as a shell matches them.
    pub path: PathBuf,
    /// Its size, that of parts which were deleted included.
    pub bytes: u64,
    /// How many parts there were; None when it is one file.
    pub parts: Option<u32>,
}

/// Takes batches until their sender is gone, and writes them to `output` with what `policy` wants masked; `feed` gets the
/// same. `metadata` tells of the capture as of now; `stop` is told the reason when a limit is reached, and what is in flight
/// then is still written.
pub fn run(
    output: Option<Output>,
    limits: Limits,
    policy: &Policy,
    batches: &Receiver<Batch>,
    mut feed: Option<Feed>,
    metadata: impl Fn(Tally) -> Metadata,
    stop: impl FnOnce(&'static str),
) -> Result<Written, Error> {
    let mut to = match output {
        Some(output) => To::File(Box::new(Recorder::new(output, limits, metadata, stop)?)),
        None => To::Nowhere { events: 0, limits, metadata, stop: Some(stop) },
    };
    let mut order = Order::default();
    let mut redactor = Redactor::new(policy);
    // Every event passes here in its order, before anything of it is written down or shown.
    let mut pass = |to: &mut To<_, _>, feed: &mut Option<Feed>, event: &Event<'_>| {
        let event = redactor.redact(event);
        if let Some(feed) = feed {
            feed.push(&event);
        }
        to.push(&event)
    };
    let mut until_ns = 0;
    for batch in batches {
        let drained_ns = batch.drained_ns;
        order.push(batch);
        order.release(drained_ns, |event| pass(&mut to, &mut feed, event))?;
        until_ns = until_ns.max(Order::released_until(drained_ns));
        to.commit(until_ns, order.late())?;
        if let Some(feed) = &mut feed {
            feed.hand_over();
            feed.set_file_bytes(to.bytes());
        }
    }
    order.finish(|event| pass(&mut to, &mut feed, event))?;
    drop(feed);
    to.finish(order.late())
}

/// Where events go.
enum To<M, S> {
    File(Box<Recorder<M, S>>),
    /// They are only shown.
    Nowhere {
        events: u64,
        limits: Limits,
        metadata: M,
        stop: Option<S>,
    },
}

impl<M: Fn(Tally) -> Metadata, S: FnOnce(&'static str)> To<M, S> {
    fn push(&mut self, event: &Event<'_>) -> Result<(), Error> {
        match self {
            Self::File(recorder) => recorder.push(event)?,
            Self::Nowhere { events, .. } => *events += 1,
        }
        Ok(())
    }

    fn commit(&mut self, until_ns: u64, late: u64) -> Result<(), Error> {
        match self {
            Self::File(recorder) => recorder.commit(until_ns, late)?,
            Self::Nowhere { events, limits, stop, .. } => {
                if limits.max_events.is_some_and(|limit| *events >= limit)
                    && let Some(stop) = stop.take()
                {
                    stop("max_events");
                }
            }
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::File(recorder) => recorder.bytes(),
            Self::Nowhere { .. } => 0,
        }
    }

    fn finish(self, late: u64) -> Result<Written, Error> {
        match self {
            Self::File(recorder) => recorder.finish(late),
            Self::Nowhere { metadata, .. } => {
                Ok(Written { file: None, cost: metadata(Tally::default()).cost })
            }
        }
    }
}
