//! Writes a file that can be read at any moment: row groups in one file, what is in none yet in a journal.
//!
//! Events come one by one and count as kept once [`commit`](JournaledWriter::commit) returns. What happens at
//! which moment, and why nothing is missing or twice wherever the process ends, is told in `journal`.

use std::fs::File;

use super::{Error, EventWriter, Metadata, journal::Journal};
use crate::event::Event;

/// Writes an event file and its journal.
pub struct JournaledWriter {
    writer: EventWriter<File>,
    journal: Journal,
    metadata: Metadata,
    kept: u64,
}

impl JournaledWriter {
    /// Begins a file. Both files are new and empty; `metadata` is what is known at the beginning.
    pub fn create(partial: File, journal: File, metadata: Metadata) -> Result<Self, Error> {
        let journal = Journal::create(journal, &metadata)?;
        Ok(Self { writer: EventWriter::recording(partial, metadata.clock())?, journal, metadata, kept: 0 })
    }

    /// Closes row groups at `rows` already, so that a test sees many of them.
    pub fn set_group_rows(&mut self, rows: usize) {
        self.writer.set_group_rows(rows);
    }

    /// Adds an event. Events must come in the order of `(ts_ns, cpu, seq)`.
    pub fn push(&mut self, event: &Event<'_>) -> Result<(), Error> {
        self.journal.push(event);
        self.writer.append(event)?;
        if self.journal.frame_full() { self.commit() } else { Ok(()) }
    }

    /// Writes down what was pushed.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.kept += u64::from(self.journal.commit()?);
        if self.writer.group_full() || self.journal.full() {
            let length = self.writer.close_group_with_footer(&self.metadata)?;
            self.journal.rewind(length)?;
        }
        Ok(())
    }

    /// Events that were written down: they can be read, come what may.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Bytes written so far, to both files.
    pub fn written(&self) -> u64 {
        self.writer.written() + self.journal.written()
    }

    /// How large the file would be if it ended now, roughly.
    pub fn size(&self) -> u64 {
        self.writer.size()
    }

    /// Makes a complete file of the partial one: it can be moved to its place, and then the journal be removed.
    pub fn finish(&mut self, metadata: &Metadata) -> Result<(), Error> {
        self.commit()?;
        self.writer.finish(metadata)
    }
}
