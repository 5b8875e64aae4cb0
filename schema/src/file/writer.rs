//! Writes events to Parquet in closed row groups.

use std::io::Write;

use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    file::metadata::KeyValue,
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};

use super::{Error, METADATA_KEY, Metadata};
use crate::{
    arrow::events::{Builder, schema},
    event::{Clock, Event},
};

/// A row group is closed at this many rows: small enough to hold in memory several times over.
pub const ROW_GROUP_ROWS: usize = 128 * 1024;

/// A row group is closed at this many payload bytes.
pub const ROW_GROUP_BYTES: usize = 64 << 20;

/// Rows are handed to the encoder in batches of this size, so that they are still in the cache.
const BATCH_ROWS: usize = 8 * 1024;

/// Writes an event file.
pub struct EventWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    builder: Builder,
    group_bytes: usize,
}

impl<W: Write + Send> EventWriter<W> {
    /// Begins a file. `clock` fills the `time` column.
    pub fn new(output: W, clock: Clock) -> Result<Self, Error> {
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
        // Times, positions and numbers grow: their differences are small and their values never repeat.
        for column in ["time", "ts_ns", "seq", "position", "ready_ns"] {
            properties = properties
                .set_column_dictionary_enabled(ColumnPath::from(column), false)
                .set_column_encoding(ColumnPath::from(column), Encoding::DELTA_BINARY_PACKED);
        }
        for column in ["payload", "tail"] {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
        }
        Ok(Self {
            writer: ArrowWriter::try_new(output, schema(), Some(properties.build()))?,
            builder: Builder::new(clock),
            group_bytes: 0,
        })
    }

    /// Adds an event. Events must come in the order of `(ts_ns, cpu, seq)`.
    pub fn push(&mut self, event: &Event<'_>) -> Result<(), Error> {
        self.builder.append(event);
        if self.builder.rows() >= BATCH_ROWS || self.builder.bytes() >= ROW_GROUP_BYTES / 8 {
            self.write_batch()?;
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), Error> {
        self.group_bytes += self.builder.bytes();
        self.writer.write(&self.builder.finish()?)?;
        if self.group_bytes >= ROW_GROUP_BYTES {
            self.writer.flush()?;
            self.group_bytes = 0;
        }
        Ok(())
    }

    /// Bytes given to the output so far.
    pub fn bytes_written(&self) -> usize {
        self.writer.bytes_written()
    }

    /// Writes what is left and the footer, and hands the output back.
    pub fn finish(mut self, metadata: &Metadata) -> Result<W, Error> {
        self.write_batch()?;
        let json = serde_json::to_string(metadata).map_err(Error::Metadata)?;
        self.writer.append_key_value_metadata(KeyValue::new(METADATA_KEY.to_owned(), json));
        Ok(self.writer.into_inner()?)
    }
}
