//! Parquet and Arrow IPC, for other tools. What their writers have made is passed on after every batch.

use std::io::Write;

use arrow::{array::RecordBatch, datatypes::SchemaRef, ipc::writer::StreamWriter};
use datafusion::error::DataFusionError;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use super::{Encoder, arrow_error};
use crate::Error;

/// Rows of a row group.
const GROUP_ROWS: usize = 128 * 1024;

/// Bytes of a row group in the making, after which it is written.
const GROUP_BYTES: usize = 32 << 20;

/// A Parquet file.
pub(super) struct Parquet(ArrowWriter<Vec<u8>>);

impl Parquet {
    pub(super) fn new(schema: SchemaRef) -> Result<Self, Error> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map(Self).map_err(parquet_error)
    }
}

impl Encoder for Parquet {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        self.0.write(batch).map_err(parquet_error)?;
        if self.0.in_progress_size() >= GROUP_BYTES {
            self.0.flush().map_err(parquet_error)?;
        }
        Ok(out.write_all(&std::mem::take(self.0.inner_mut()))?)
    }

    fn finish(mut self: Box<Self>, out: &mut dyn Write) -> Result<(), Error> {
        self.0.finish().map_err(parquet_error)?;
        Ok(out.write_all(&std::mem::take(self.0.inner_mut()))?)
    }
}

/// A stream of Arrow IPC.
pub(super) struct ArrowStream(StreamWriter<Vec<u8>>);

impl ArrowStream {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Error> {
        StreamWriter::try_new(Vec::new(), schema).map(Self).map_err(arrow_error)
    }
}

impl Encoder for ArrowStream {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        self.0.write(batch).map_err(arrow_error)?;
        Ok(out.write_all(&std::mem::take(self.0.get_mut()))?)
    }

    fn finish(mut self: Box<Self>, out: &mut dyn Write) -> Result<(), Error> {
        self.0.finish().map_err(arrow_error)?;
        Ok(out.write_all(&std::mem::take(self.0.get_mut()))?)
    }
}

fn parquet_error(error: ParquetError) -> Error {
    Error::Sql(DataFusionError::from(error))
}
