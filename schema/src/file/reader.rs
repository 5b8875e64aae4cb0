//! Reads the events of a capture file, a batch at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    errors::ParquetError,
    file::reader::ChunkReader,
};

use super::{Error, METADATA_KEY, Metadata, VERSION};
use crate::{
    arrow::events::{EventBatch, NOT_FOR_PAIRING, schema},
    event::Event,
};

/// Which columns are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// Every column.
    All,
    /// What the engine needs to pair requests.
    Pairing,
}

/// Reads an event file from beginning to end.
pub struct EventReader {
    metadata: Metadata,
    rows: u64,
    next_row: u64,
    batches: ParquetRecordBatchReader,
}

/// Rows decoded at a time: enough to amortise the work per batch, few enough to stay in the cache.
const BATCH_ROWS: usize = 8 * 1024;

/// The four bytes a Parquet file begins and ends with.
const MAGIC: &[u8] = b"PAR1";

impl EventReader {
    /// Opens a file: reads its metadata and prepares to decode the columns of `projection`.
    pub fn open<R: ChunkReader + 'static>(input: R, projection: Projection) -> Result<Self, Error> {
        let length = input.len();
        let begins = length >= 4 && input.get_bytes(0, 4)? == MAGIC;
        let ends = length >= 12 && input.get_bytes(length - 4, 4)? == MAGIC;
        match (begins, ends) {
            (false, _) => return Err(Error::NotParquet),
            (true, false) => return Err(Error::Truncated),
            (true, true) => {}
        }
        let builder = catch_unwind(AssertUnwindSafe(|| ParquetRecordBatchReaderBuilder::try_new(input)))
            .map_err(|_| Error::Damaged { row: 0 })??;
        let file = builder.metadata().file_metadata();
        let metadata = file
            .key_value_metadata()
            .and_then(|pairs| pairs.iter().find(|pair| pair.key == METADATA_KEY))
            .and_then(|pair| pair.value.as_deref())
            .ok_or(Error::NotOurs)?;
        let metadata = parse(metadata)?;
        let rows = u64::try_from(file.num_rows()).unwrap_or(0);

        let columns = file.schema_descr();
        for field in schema().fields().iter().filter(|field| !field.is_nullable()) {
            if !columns.columns().iter().any(|column| column.name() == field.name()) {
                return Err(Error::MissingColumn(field.name().clone()));
            }
        }
        let wanted = |name: &str| match projection {
            Projection::All => true,
            Projection::Pairing => !NOT_FOR_PAIRING.contains(&name),
        };
        let indices = columns.columns().iter().enumerate().filter(|(_, column)| wanted(column.name()));
        let mask = ProjectionMask::leaves(columns, indices.map(|(index, _)| index));
        let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
        Ok(Self { metadata, rows, next_row: 0, batches })
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Rows in the file.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next rows as they are. None at the end.
    pub fn next_record_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        // The decoders of the Parquet library index out of bounds on some damaged pages. The reader is not
        // used again after an error, so its state does not matter.
        let batch = catch_unwind(AssertUnwindSafe(|| self.batches.next()))
            .map_err(|_| Error::Damaged { row: self.next_row })?;
        Ok(batch.transpose().map_err(ParquetError::from)?)
    }

    /// Hands every event of the next batch to `each`, and returns how many rows it had. None at the end.
    pub fn next_batch(&mut self, mut each: impl FnMut(&Event<'_>)) -> Result<Option<usize>, Error> {
        let Some(batch) = self.next_record_batch()? else { return Ok(None) };
        let batch = EventBatch::new(&batch)?;
        for row in 0..batch.rows() {
            match batch.event(row) {
                Ok(Some(event)) => each(&event),
                Ok(None) => {}
                Err(reason) => return Err(Error::Row { row: self.next_row + row as u64, reason }),
            }
        }
        self.next_row += batch.rows() as u64;
        Ok(Some(batch.rows()))
    }
}

/// Reads the version before the rest, which a newer major may have changed.
fn parse(json: &str) -> Result<Metadata, Error> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        schema_version: super::Version,
    }
    let Versioned { schema_version } = serde_json::from_str(json).map_err(Error::Metadata)?;
    if schema_version.major > VERSION.major {
        return Err(Error::NewerVersion { theirs: schema_version });
    }
    serde_json::from_str(json).map_err(Error::Metadata)
}
