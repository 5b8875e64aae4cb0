//! Decodes the row groups of a file: on the thread that asks, or some of the columns each on threads of their own.
//!
//! Threads share the columns, not the row groups: a batch is there as soon as its slowest part, no more than a few batches
//! are held however large a row group is, and it is the same batch either way.

use std::{
    cmp::Reverse,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use arrow::{
    array::{RecordBatch, RecordBatchReader as _},
    datatypes::SchemaRef,
    error::ArrowError,
};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    errors::ParquetError,
    file::metadata::ParquetMetaData,
};

use super::input::Input;

/// Rows decoded at a time: enough to amortise the work per batch, few enough to stay in the cache.
pub(super) const BATCH_ROWS: usize = 8 * 1024;

/// Files of fewer rows are decoded before threads have begun.
const WORTH_ROWS: i64 = 8 * BATCH_ROWS as i64;

/// Parts of each thread that may wait to be put together.
const WAITING: usize = 3;

/// What is decoded.
pub(super) struct Source {
    pub(super) input: Input,
    pub(super) metadata: ArrowReaderMetadata,
    /// Numbers of the columns.
    pub(super) columns: Vec<usize>,
    /// The first row that is wanted.
    pub(super) first: usize,
}

/// The batches of a file, one after the other.
pub(super) struct Decoder {
    source: Source,
    /// All columns. Nothing is read here while there are parts.
    whole: ParquetRecordBatchReader,
    /// Threads to begin with the first batch.
    threads: usize,
    parts: Vec<Part>,
    /// Batches that were put together of parts.
    handed: usize,
}

/// Some columns of every batch, decoded elsewhere. Nothing comes after the last batch; a failure comes as None.
struct Part {
    /// Where they are among all.
    places: Vec<usize>,
    batches: Receiver<Option<RecordBatch>>,
}

impl Source {
    /// Reads those of the columns that are at `places`.
    fn reader(&self, places: &[usize]) -> Result<ParquetRecordBatchReader, ParquetError> {
        let (input, metadata) = (self.input.clone(), self.metadata.clone());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, metadata);
        let columns = places.iter().filter_map(|&place| self.columns.get(place).copied());
        let mask = ProjectionMask::leaves(builder.parquet_schema(), columns);
        let builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
        if self.first == 0 { builder } else { builder.with_offset(self.first) }.build()
    }

    /// Deals the columns out to threads, so that each gets about as much to do.
    fn shares(&self, threads: usize) -> Vec<Vec<usize>> {
        let metadata = self.metadata.metadata();
        let size = |place: &usize| self.columns.get(*place).map_or(0, |&column| size(metadata, column));
        let mut places: Vec<_> = (0..self.columns.len()).collect();
        places.sort_by_key(|place| Reverse(size(place)));
        let mut shares = vec![(0, Vec::new()); threads.min(places.len())];
        for place in places {
            if let Some((sum, share)) = shares.iter_mut().min_by_key(|(sum, _)| *sum) {
                *sum += size(&place);
                share.push(place);
            }
        }
        // The library gives columns in the order of the file.
        let in_order = |(_, mut share): (u64, Vec<usize>)| {
            share.sort_unstable();
            share
        };
        shares.into_iter().map(in_order).collect()
    }

    /// Whether there is anything to gain from threads, and every column can be decoded by itself.
    fn is_worth_sharing(&self) -> bool {
        let file = self.metadata.metadata().file_metadata();
        let schema = file.schema_descr();
        file.num_rows() >= WORTH_ROWS && schema.num_columns() == schema.root_schema().get_fields().len()
    }
}

/// Bytes of a column before it is decoded, and one for every row, which takes work too where nothing is in it.
fn size(metadata: &ParquetMetaData, column: usize) -> u64 {
    let chunks = metadata.row_groups().iter().filter_map(|group| group.columns().get(column));
    let bytes = chunks.map(|chunk| u64::try_from(chunk.uncompressed_size()).unwrap_or(0));
    bytes.fold(metadata.file_metadata().num_rows().unsigned_abs(), u64::saturating_add)
}

impl Decoder {
    /// Prepares to decode on the thread that asks.
    pub(super) fn new(source: Source) -> Result<Self, ParquetError> {
        let all: Vec<_> = (0..source.columns.len()).collect();
        let whole = source.reader(&all)?;
        Ok(Self { source, whole, threads: 1, parts: Vec::new(), handed: 0 })
    }

    /// Decodes on so many other threads from the first batch on, if that is more than one.
    pub(super) fn share(&mut self, threads: usize) {
        self.threads = threads;
    }

    /// The columns of the batches.
    pub(super) fn schema(&self) -> SchemaRef {
        self.whole.schema()
    }

    /// The next batch. None at the end.
    pub(super) fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        let threads = mem::take(&mut self.threads);
        if threads > 1 && self.source.is_worth_sharing() {
            // Where there can be no threads, it is done without.
            self.parts = self.begin(threads).unwrap_or_default();
        }
        if self.parts.is_empty() {
            return self.whole.next();
        }
        let batches: Vec<_> = self.parts.iter().map(|part| part.batches.recv()).collect();
        if batches.iter().all(Result::is_err) {
            return None;
        }
        let batches: Option<Vec<_>> = batches.into_iter().map(|batch| batch.ok().flatten()).collect();
        match batches.and_then(|batches| self.together(&batches)) {
            Some(batch) => {
                self.handed += 1;
                Some(Ok(batch))
            }
            None => self.alone(),
        }
    }

    fn begin(&self, threads: usize) -> Option<Vec<Part>> {
        let part = |places: Vec<usize>| {
            let reader = self.source.reader(&places).ok()?;
            let (sender, batches) = sync_channel(WAITING);
            let thread = thread::Builder::new().name("decoder".to_owned());
            thread.spawn(move || decode(reader, &sender)).ok()?;
            Some(Part { places, batches })
        };
        self.source.shares(threads).into_iter().map(part).collect()
    }

    fn together(&self, batches: &[RecordBatch]) -> Option<RecordBatch> {
        let parts = self.parts.iter().zip(batches);
        let columns = parts.flat_map(|(part, batch)| part.places.iter().zip(batch.columns()));
        let mut columns: Vec<_> = columns.collect();
        columns.sort_unstable_by_key(|(place, _)| **place);
        let columns = columns.into_iter().map(|(_, column)| Arc::clone(column)).collect();
        RecordBatch::try_new(self.schema(), columns).ok()
    }

    /// Goes on without threads: what is wrong, and in which rows, is to be the same as without them.
    fn alone(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        self.parts.clear();
        for _ in 0..mem::take(&mut self.handed) {
            if let Err(error) = self.whole.next()? {
                return Some(Err(error));
            }
        }
        self.whole.next()
    }
}

/// Decodes until the end, a failure, or until nobody takes the batches any more.
fn decode(mut reader: ParquetRecordBatchReader, batches: &SyncSender<Option<RecordBatch>>) {
    loop {
        // The library panics on some damaged pages. The reader is not used again after a failure.
        let batch = match catch_unwind(AssertUnwindSafe(|| reader.next())) {
            Ok(None) => return,
            Ok(Some(Ok(batch))) => Some(batch),
            Ok(Some(Err(_))) | Err(_) => None,
        };
        let failed = batch.is_none();
        if batches.send(batch).is_err() || failed {
            return;
        }
    }
}
