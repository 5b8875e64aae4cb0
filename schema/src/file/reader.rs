//! Reads the events of a capture, a batch at a time: of a finished file, or of what there is of one.

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    errors::ParquetError,
    file::{
        metadata::FileMetaData,
        reader::{ChunkReader as _, Length as _},
    },
};

use super::{
    Error, Layout, METADATA_KEY, Metadata, Names, ReadAt,
    decoder::{BATCH_ROWS, Decoder, Source},
    footer::{self, MAGIC},
    input::Input,
    journal::{self, Place, Tail},
    record,
};
use crate::{
    arrow::events::{Builder, EventBatch, NOT_FOR_FACTS, NOT_FOR_PAIRING, schema},
    event::Event,
};

/// Which columns are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// Every column.
    All,
    /// What the engine needs to pair requests.
    Pairing,
    /// What can be told without the bytes that were moved.
    Facts,
    /// The columns named, and those that tell kinds and order.
    Columns(&'static [&'static str]),
}

impl Projection {
    fn has(self, column: &str) -> bool {
        match self {
            Self::All => true,
            Self::Pairing => !NOT_FOR_PAIRING.contains(&column),
            Self::Facts => !NOT_FOR_FACTS.contains(&column),
            Self::Columns(columns) => {
                ["kind", "ts_ns", "cpu", "seq"].contains(&column) || columns.contains(&column)
            }
        }
    }
}

/// Reads events from the first to the last.
pub struct EventReader {
    metadata: Metadata,
    rows: u64,
    next_row: u64,
    groups: Option<Decoder>,
    journal: Option<JournalReader>,
    unfinished: bool,
    layout: Layout,
}

/// Payload bytes of a batch made of journalled events.
const BATCH_BYTES: usize = 8 << 20;

/// How often opening starts over because the capture finishes meanwhile.
const ATTEMPTS: usize = 10;

impl EventReader {
    /// Opens a finished file: reads its metadata and prepares to decode the columns of `projection`.
    pub fn open(input: impl ReadAt, projection: Projection) -> Result<Self, Error> {
        Self::open_from(Input::new(input), projection, 0)
    }

    fn open_from(input: Input, projection: Projection, first: u64) -> Result<Self, Error> {
        let length = input.len();
        let begins = length >= 4 && input.get_bytes(0, 4)? == MAGIC;
        let ends = length >= 12 && input.get_bytes(length - 4, 4)? == MAGIC;
        match (begins, ends) {
            (false, _) => return Err(Error::NotParquet),
            (true, false) => return Err(Error::Truncated),
            (true, true) => {}
        }
        let load = || ArrowReaderMetadata::load(&input, ArrowReaderOptions::new());
        let found = catch_unwind(AssertUnwindSafe(load)).map_err(|_| Error::Damaged { row: 0 })??;
        let file = found.metadata().file_metadata();
        let (metadata, rows) = (metadata_of(file)?, rows_of(file));
        let layout = Layout::of(found.metadata());
        let groups = Some(groups(input, found, projection, first)?);
        Ok(Self { metadata, rows, next_row: first, groups, journal: None, unfinished: false, layout })
    }

    /// Opens the capture that is, or will be, at `path`: the finished file; or, while the capture goes on or
    /// when it was killed, the events so far. `path` may also name one of the files that stand for it until
    /// then ([`Names`]).
    pub fn open_path(path: &Path, projection: Projection) -> Result<Self, Error> {
        Self::open_path_from(path, projection, 0)
    }

    /// The same without the rows before `first`.
    pub(super) fn open_path_from(path: &Path, projection: Projection, first: u64) -> Result<Self, Error> {
        let names = Names::of(path);
        for _ in 0..ATTEMPTS {
            if !names.unfinished() {
                return Self::open_from(Input::new(File::open(&names.path)?), projection, first);
            }
            if let Some(reader) = Self::open_unfinished(&names, projection, first)? {
                return Ok(reader);
            }
        }
        Err(io::Error::from(io::ErrorKind::ResourceBusy).into())
    }

    /// None when the capture has finished meanwhile.
    fn open_unfinished(names: &Names, projection: Projection, first: u64) -> Result<Option<Self>, Error> {
        let partial = found(File::open(&names.partial))?;
        let journal = found(File::open(&names.journal))?;
        if journal.is_none() && !names.partial.exists() {
            return Ok(None);
        }
        let in_journal = |error| Error::In { file: names.journal.clone(), error: Box::new(error) };
        let in_partial = |error| Error::In { file: names.partial.clone(), error: Box::new(error) };
        let tail = journal.map(|journal| journal::read(&journal)).transpose().map_err(in_journal)?;
        let length = match (&tail, &partial) {
            (Some(tail), _) => tail.partial_length,
            // Without a journal the rows count that a footer at the end describes.
            (None, Some(partial)) => partial.metadata()?.len(),
            (None, None) => 0,
        };
        let mut reader = Self {
            metadata: Metadata::default(),
            rows: 0,
            next_row: first,
            groups: None,
            journal: None,
            unfinished: true,
            layout: Layout::default(),
        };
        if length > 0 {
            let missing = || io::Error::from(io::ErrorKind::NotFound).into();
            let partial = partial.ok_or_else(missing).map_err(in_partial)?;
            reader.open_groups(partial, length, projection, first).map_err(in_partial)?;
        }
        if let Some(tail) = tail {
            if reader.groups.is_some() && tail.metadata.capture_id != reader.metadata.capture_id {
                return Err(in_journal(Error::Unfinished {
                    offset: 0,
                    reason: "it is of another capture than the partial file",
                }));
            }
            reader.metadata = tail.metadata.clone();
            let in_groups = reader.rows;
            reader.rows += tail.events;
            let mut journal = JournalReader::new(tail, projection, names)?;
            journal.skip(first.saturating_sub(in_groups));
            reader.journal = Some(journal);
        } else if reader.groups.is_none() {
            let reason = "there is no journal, and no row group was closed";
            return Err(in_partial(Error::Unfinished { offset: length, reason }));
        }
        Ok(Some(reader))
    }

    fn open_groups(
        &mut self,
        partial: File,
        length: u64,
        projection: Projection,
        first: u64,
    ) -> Result<(), Error> {
        let found = footer::collect(&partial, length);
        let found = found.map_err(|(offset, reason)| Error::Unfinished { offset, reason })?;
        let Some(found) = found else { return Ok(()) };
        self.metadata = metadata_of(found.file_metadata())?;
        self.rows = rows_of(found.file_metadata());
        self.layout = Layout::of(&found);
        let load = || ArrowReaderMetadata::try_new(Arc::new(found), ArrowReaderOptions::new());
        let found = catch_unwind(AssertUnwindSafe(load)).map_err(|_| Error::Damaged { row: 0 })??;
        self.groups = Some(groups(Input::new(partial), found, projection, first)?);
        Ok(())
    }

    /// Decodes on so many threads beside the one that takes the batches, if that is more than one. To be said before the first
    /// batch. Batches are the same, whatever the number.
    pub fn decode_on(&mut self, threads: usize) {
        if let Some(groups) = &mut self.groups {
            groups.share(threads);
        }
    }

    /// What the file says about itself; of an unfinished one, what was known when it was begun.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Rows in the file.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows of them that are in the journal of an unfinished file.
    pub fn rows_in_journal(&self) -> u64 {
        self.journal.as_ref().map_or(0, |journal| journal.events)
    }

    /// Up to where the journal of an unfinished file was read.
    pub(super) fn place(&self) -> Option<Place> {
        self.journal.as_ref().map(|journal| journal.tail.place)
    }

    /// How much room the columns take.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the capture has not finished: it goes on, was killed, or could not write on.
    pub fn unfinished(&self) -> bool {
        self.unfinished
    }

    /// The columns of the batches.
    pub fn schema(&self) -> SchemaRef {
        match (&self.groups, &self.journal) {
            (Some(groups), _) => groups.schema(),
            (None, Some(journal)) => Arc::clone(&journal.schema),
            (None, None) => schema(),
        }
    }

    /// The next batch of rows. None at the end. After an error there is nothing more to read.
    pub fn next_record_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        // The decoders of the Parquet library index out of bounds on some damaged pages. The reader is not
        // used again after an error, so its state does not matter.
        let batch = catch_unwind(AssertUnwindSafe(|| self.groups.as_mut().and_then(Decoder::next)))
            .map_err(|_| Error::Damaged { row: self.next_row })?;
        let batch = match (batch, &mut self.journal) {
            (Some(batch), _) => Some(batch.map_err(ParquetError::from)?),
            (None, Some(journal)) => journal.next()?,
            (None, None) => None,
        };
        self.next_row += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        Ok(batch)
    }

    /// Hands every event of the next batch to `each`, and returns how many rows it had. None at the end.
    pub fn next_batch(&mut self, mut each: impl FnMut(&Event<'_>)) -> Result<Option<usize>, Error> {
        let first = self.next_row;
        let Some(batch) = self.next_record_batch()? else { return Ok(None) };
        events(&batch, first, &mut each).map(Some)
    }
}

/// Hands out the events of a batch whose first row is number `first`, and returns how many rows it has. It is compiled once,
/// whoever takes them.
fn events(batch: &RecordBatch, first: u64, each: &mut dyn FnMut(&Event<'_>)) -> Result<usize, Error> {
    let batch = EventBatch::new(batch)?;
    for row in 0..batch.rows() {
        match batch.event(row) {
            Ok(Some(event)) => each(&event),
            Ok(None) => {}
            Err(reason) => return Err(Error::Row { row: first + row as u64, reason }),
        }
    }
    Ok(batch.rows())
}

/// Makes batches of journalled events.
struct JournalReader {
    tail: Tail,
    events: u64,
    /// Bytes of the records that were read.
    read: usize,
    builder: Builder,
    columns: Vec<usize>,
    schema: SchemaRef,
    names: Names,
}

impl JournalReader {
    fn new(tail: Tail, projection: Projection, names: &Names) -> Result<Self, Error> {
        let all = schema();
        let columns: Vec<_> =
            (0..all.fields().len()).filter(|&index| projection.has(all.field(index).name())).collect();
        let schema = Arc::new(all.project(&columns)?);
        let builder = Builder::new(tail.metadata.clock());
        Ok(Self { events: tail.events, tail, read: 0, builder, columns, schema, names: names.clone() })
    }

    /// Leaves out the next `count` events.
    fn skip(&mut self, count: u64) {
        let mut records = self.tail.records.get(self.read..).unwrap_or_default();
        for _ in 0..count {
            if record::decode(&mut records).is_none() {
                break;
            }
        }
        self.read = self.tail.records.len() - records.len();
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let mut records = &self.tail.records[self.read..];
        let mut flaw = None;
        while !records.is_empty() && self.builder.rows() < BATCH_ROWS && self.builder.bytes() < BATCH_BYTES {
            if let Some(event) = record::decode(&mut records) {
                self.builder.append(&event);
            } else {
                flaw = Some((0, "an event cannot be read, though its frame is whole"));
                records = &[];
            }
        }
        self.read = self.tail.records.len() - records.len();
        self.tail.damage = flaw.or(self.tail.damage);
        if self.builder.rows() > 0 {
            return Ok(Some(self.builder.finish()?.project(&self.columns)?));
        }
        match self.tail.damage.take() {
            None => Ok(None),
            Some((offset, reason)) => {
                let error = Box::new(Error::Unfinished { offset, reason });
                Err(Error::In { file: self.names.journal.clone(), error })
            }
        }
    }
}

/// A file, if it is there.
fn found(file: io::Result<File>) -> io::Result<Option<File>> {
    match file {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn metadata_of(file: &FileMetaData) -> Result<Metadata, Error> {
    let metadata = file
        .key_value_metadata()
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == METADATA_KEY))
        .and_then(|pair| pair.value.as_deref())
        .ok_or(Error::NotOurs)?;
    Metadata::parse(metadata)
}

fn rows_of(file: &FileMetaData) -> u64 {
    u64::try_from(file.num_rows()).unwrap_or(0)
}

fn groups(
    input: Input,
    metadata: ArrowReaderMetadata,
    projection: Projection,
    first: u64,
) -> Result<Decoder, Error> {
    let columns = metadata.metadata().file_metadata().schema_descr().columns();
    for field in schema().fields().iter().filter(|field| !field.is_nullable()) {
        if !columns.iter().any(|column| column.name() == field.name()) {
            return Err(Error::MissingColumn(field.name().clone()));
        }
    }
    let wanted = columns.iter().enumerate().filter(|(_, column)| projection.has(column.name()));
    let columns = wanted.map(|(number, _)| number).collect();
    let first = usize::try_from(first).unwrap_or(usize::MAX);
    Ok(Decoder::new(Source { input, metadata, columns, first })?)
}
