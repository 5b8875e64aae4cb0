//! A Parquet file: zstd, dictionaries, and row groups small enough to be built in memory.

use std::{io::Write, mem};

use ::parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{metadata::KeyValue, properties::WriterProperties},
};
use arrow::array::RecordBatch;
use beyla_schema::arrow::requests::schema;

use super::{
    Exported,
    table::{self, description},
};
use crate::Error;

/// A row group is closed at this many rows: enough for readers to skip and to share the work by, few enough for memory.
const GROUP_ROWS: usize = 128 * 1024;

/// A row group is closed at this many encoded bytes.
const GROUP_BYTES: usize = 64 << 20;

/// Encodes into a buffer, which is emptied after every batch.
pub(super) struct Sheet {
    writer: ArrowWriter<Vec<u8>>,
}

impl Sheet {
    pub(super) fn new(files: &[Exported]) -> Result<Self, Error> {
        let metadata = description(files)?.map(|(key, value)| KeyValue::new(key, value));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(failed)?))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_key_value_metadata(Some(metadata.to_vec()))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties)).map_err(failed)?;
        Ok(Self { writer })
    }

    fn drain(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        Ok(out.write_all(&mem::take(self.writer.inner_mut()))?)
    }
}

impl table::Sheet for Sheet {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        self.writer.write(batch).map_err(failed)?;
        if self.writer.in_progress_size() >= GROUP_BYTES {
            self.writer.flush().map_err(failed)?;
        }
        self.drain(out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        self.writer.finish().map_err(failed)?;
        self.writer.sync()?;
        self.drain(out)
    }
}

/// Encoding goes into memory: that nothing can be written to it is no reason.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn failed(error: ParquetError) -> Error {
    Error::Encode(error.to_string())
}
