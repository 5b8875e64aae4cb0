//! The rows of a recording, one after the other as if its parts were one file.

use std::vec;

use beyla_schema::{
    arrow::events::EventBatch,
    event::{Body, Event},
    file::Error as FileError,
};

use crate::{Error, progress::Progress, replay::Capture};

/// `(ts_ns, cpu, seq)`.
pub(super) type Key = (u64, u16, u64);

/// A place among the rows. Memory is a batch of them.
pub(super) struct Rows {
    parts: vec::IntoIter<Capture>,
    part: Option<Capture>,
    batch: Option<EventBatch>,
    row: usize,
    /// Rows before the batch.
    before: u64,
    /// No row was given yet of a part after the first.
    first: bool,
}

impl Rows {
    /// The rows of these parts, in their order.
    pub(super) fn new(parts: Vec<Capture>) -> Self {
        let mut parts = parts.into_iter();
        Self { part: parts.next(), parts, batch: None, row: 0, before: 0, first: true }
    }

    /// Moves on to a row that counts and gives its key. None at the end.
    ///
    /// What a part repeats of those before it does not count, nor that the capture went on in the next one.
    pub(super) fn settle(&mut self, progress: &mut Progress) -> Result<Option<Key>, Error> {
        loop {
            let last = self.parts.len() == 0;
            while let Some(event) = self.event()? {
                let repeated = event.carried && !self.first;
                let goes_on = matches!(event.body, Body::End(_)) && !last;
                if !repeated && !goes_on {
                    return Ok(Some((event.ts_ns, event.cpu, event.seq)));
                }
                self.row += 1;
            }
            if !self.next_batch(progress)? {
                return Ok(None);
            }
        }
    }

    /// The row it stands on; None between two batches.
    pub(super) fn event(&self) -> Result<Option<Event<'_>>, Error> {
        let Some(batch) = self.batch.as_ref().filter(|batch| self.row < batch.rows()) else {
            return Ok(None);
        };
        match batch.event(self.row) {
            Ok(Some(event)) => Ok(Some(event)),
            Ok(None) => Err(self.wrong("a row of a kind that is not known")),
            Err(reason) => Err(self.wrong(reason)),
        }
    }

    /// Leaves the row it stands on.
    pub(super) fn advance(&mut self) {
        self.row += 1;
    }

    /// What is wrong with the row it stands on.
    pub(super) fn wrong(&self, reason: &'static str) -> Error {
        self.failed(FileError::Row { row: self.before + self.row as u64, reason })
    }

    fn failed(&self, error: FileError) -> Error {
        let file = self.part.as_ref().map_or_else(String::new, |part| part.name().to_owned());
        Error::File { file, error }
    }

    fn next_batch(&mut self, progress: &mut Progress) -> Result<bool, Error> {
        self.before += self.batch.take().map_or(0, |batch| batch.rows() as u64);
        self.row = 0;
        while let Some(part) = &mut self.part {
            let batch = part.next_record_batch();
            if let Some(batch) = batch.map_err(|error| self.failed(error))? {
                progress.advance(batch.num_rows() as u64);
                self.batch = Some(EventBatch::new(&batch).map_err(|error| self.failed(error.into()))?);
                return Ok(true);
            }
            (self.part, self.before, self.first) = (self.parts.next(), 0, false);
        }
        Ok(false)
    }
}
