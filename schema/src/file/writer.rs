//! Writes events to Parquet in closed row groups.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write},
    sync::Arc,
};

use parquet::{
    arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter, ArrowWriter, encode_arrow_schema},
    basic::{Compression, Encoding, ZstdLevel},
    file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData},
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
        // Nobody looks for a payload between two others.
        for column in ["payload", "tail"] {
            properties = properties
                .set_column_dictionary_enabled(ColumnPath::from(column), false)
                .set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::None);
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
        }
        // The group was closed: here, or by the writer at its limit of rows.
        if self.writer.in_progress_rows() == 0 {
            self.group_bytes = 0;
        }
        Ok(())
    }

    /// Writes what is left and the footer. Nothing can be added afterwards.
    pub fn finish(&mut self, metadata: &Metadata) -> Result<(), Error> {
        self.write_batch()?;
        self.writer.append_key_value_metadata(key_value(metadata)?);
        self.writer.finish()?;
        Ok(())
    }
}

fn key_value(metadata: &Metadata) -> Result<KeyValue, Error> {
    let json = serde_json::to_string(metadata).map_err(Error::Metadata)?;
    Ok(KeyValue::new(METADATA_KEY.to_owned(), json))
}

impl EventWriter<File> {
    /// Makes a readable file of what was written before the output failed, and returns its number of rows.
    ///
    /// `file` is the output once more. It is cut after the last closed row group that leaves room for a
    /// footer; a full disk has room again for what is cut off.
    pub fn salvage(self, mut file: &File, metadata: &Metadata) -> Result<u64, Error> {
        let mut groups = self.writer.flushed_row_groups().to_vec();
        // What the writer still buffers must reach the file before it is cut, not after.
        drop(self.writer);
        loop {
            match write_footer(&mut file, groups.clone(), metadata) {
                Err(error) if groups.pop().is_none() => return Err(error),
                Err(_) => {}
                Ok(()) => return Ok(groups.iter().map(|group| group.num_rows().unsigned_abs()).sum()),
            }
        }
    }
}

fn write_footer(file: &mut &File, groups: Vec<RowGroupMetaData>, metadata: &Metadata) -> Result<(), Error> {
    let columns = ArrowSchemaConverter::new().convert(&schema())?;
    let mut end = 0;
    let mut rows = 0;
    for group in &groups {
        rows += group.num_rows();
        for column in group.columns() {
            let (start, length) = column.byte_range();
            end = end.max(start + length);
        }
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    if groups.is_empty() {
        file.write_all(b"PAR1")?;
    }
    let arrow_schema = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&schema()));
    let pairs = Some(vec![arrow_schema, key_value(metadata)?]);
    let created_by = Some("beyla-schema (salvaged)".to_owned());
    let file_metadata = FileMetaData::new(2, rows, created_by, pairs, Arc::new(columns), None);
    ParquetMetaDataWriter::new(file, &ParquetMetaData::new(file_metadata, groups)).finish()?;
    Ok(())
}
