//! Hands out the events of a capture while it is being written, each of them once and in their order.
//!
//! As long as the journal only grows, what was added to it is read. When a row group was closed, the journal begins anew and
//! what it had is in the partial file; when the capture ends, everything is in the finished one. In both cases a
//! [`EventReader`] goes on behind the rows that were handed out, since rows keep their places.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use super::{
    Error, EventReader, Metadata, Names, Projection,
    journal::{self, Place},
    record,
};
use crate::event::{Body, Event};

/// What came of looking for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many events.
    Events(u64),
    /// None so far, but the capture goes on.
    Nothing,
    /// There is no more: the capture ended.
    Ended,
    /// There is no more: whoever wrote it is gone, and did not end it.
    Abandoned,
}

/// Reads a capture as it grows.
pub struct Follower {
    names: Names,
    metadata: Metadata,
    /// Events that were handed out.
    rows: u64,
    /// The journal, and up to where it was read. None: a reader has to find out.
    journal: Option<(File, Place)>,
    /// An `end` row was handed out.
    ended: bool,
}

impl Follower {
    /// Begins with the first event of the capture that is, or will be, at `path` ([`EventReader::open_path`]).
    pub fn open(path: &Path) -> Result<Self, Error> {
        let metadata = EventReader::open_path(path, Projection::All)?.metadata().clone();
        Ok(Self { names: Names::of(path), metadata, rows: 0, journal: None, ended: false })
    }

    /// What the capture says about itself; while it goes on, what was known when it was begun.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Hands the events that were written down since the last time to `each`.
    pub fn poll(&mut self, mut each: impl FnMut(&Event<'_>)) -> Result<Progress, Error> {
        // Asked before the events are looked for: whoever is gone by now has written all there is.
        let written = is_being_written(&self.names);
        if self.ended {
            return Ok(Progress::Ended);
        }
        let count = match self.read_journal(&mut each)? {
            Some(count) => count,
            None => match self.read_anew(&mut each)? {
                Some(count) => count,
                None => return Ok(Progress::Ended),
            },
        };
        Ok(match count {
            0 if written => Progress::Nothing,
            0 => Progress::Abandoned,
            count => Progress::Events(count),
        })
    }

    /// What was added to the journal. None when a reader has to look.
    fn read_journal(&mut self, each: &mut impl FnMut(&Event<'_>)) -> Result<Option<u64>, Error> {
        let Some((file, place)) = &mut self.journal else { return Ok(None) };
        // The finished file has what is in no journal: the rows of its last moment.
        let records = if self.names.unfinished() { journal::read_on(file, place)? } else { None };
        let Some(records) = records else {
            self.journal = None;
            return Ok(None);
        };
        let (mut left, mut count) = (records.as_slice(), 0);
        while !left.is_empty() {
            let Some(event) = record::decode(&mut left) else {
                let reason = "an event of the journal cannot be read, though its frame is whole";
                return Err(Error::Unfinished { offset: 0, reason });
            };
            self.ended |= matches!(event.body, Body::End(_));
            each(&event);
            count += 1;
        }
        self.rows += count;
        Ok(Some(count))
    }

    /// Everything behind what was handed out. None when that is nothing, and nothing more will come.
    fn read_anew(&mut self, each: &mut impl FnMut(&Event<'_>)) -> Result<Option<u64>, Error> {
        let journal = File::open(&self.names.journal);
        let mut reader = EventReader::open_path_from(&self.names.path, Projection::All, self.rows)?;
        if reader.metadata().capture_id != self.metadata.capture_id {
            // Another capture has taken its place.
            return Ok(None);
        }
        let (finished, place) = (!reader.unfinished(), reader.place());
        self.metadata = reader.metadata().clone();
        let mut count = 0;
        let ended = &mut self.ended;
        while reader
            .next_batch(|event| {
                *ended |= matches!(event.body, Body::End(_));
                each(event);
                count += 1;
            })?
            .is_some()
        {}
        self.rows += count;
        if finished {
            self.ended = true;
            return Ok(Some(count).filter(|count| *count > 0));
        }
        // A journal is never replaced by another one while its capture goes on.
        self.journal = journal.ok().zip(place);
        Ok(Some(count))
    }
}

/// Whether a capture that runs holds the place: the lock on the partial file ends with its process.
fn is_being_written(names: &Names) -> bool {
    let locked = |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    File::open(&names.partial).is_ok_and(locked)
}
