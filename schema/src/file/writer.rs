//! Writes events to Parquet in closed row groups.

use std::io::Write;

use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder},
    schema::types::ColumnPath,
};

use super::{Error, Metadata, footer};
use crate::{
    arrow::events::{Builder, schema},
    event::{Clock, Event},
};

/// A row group is closed at this many rows: small enough to hold in memory several times over.
pub const ROW_GROUP_ROWS: usize = 128 * 1024;

/// A row group is closed at this many payload bytes.
pub const ROW_GROUP_BYTES: usize = 64 << 20;

/// What a service says repeats after hundreds of other messages. This level of zstd looks twice as far back as the lowest, and
/// takes no longer ...
const PAYLOAD_LEVEL: i32 = 2;

/// ... but no further than the beginning of the page. Of larger pages the allocator gives the memory back each time, and to
/// have it mapped and cleared again takes the recorder a third of its time.
const PAYLOAD_PAGE_BYTES: usize = 2 << 20;

/// Rows are handed to the encoder in batches of this size, so that they are still in the cache.
const BATCH_ROWS: usize = 2 * 1024;

/// Writes an event file.
pub struct EventWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    builder: Builder,
    group_rows: usize,
    group_bytes: usize,
    max_group_rows: usize,
}

impl<W: Write + Send> EventWriter<W> {
    /// Begins a file. `clock` fills the `time` column.
    pub fn new(output: W, clock: Clock) -> Result<Self, Error> {
        Self::begin(output, clock, properties()?)
    }

    /// Begins a file that is written beside the service it tells of, which needs the processor more: what takes a dictionary to
    /// be small is a little larger.
    pub fn recording(output: W, clock: Clock) -> Result<Self, Error> {
        let mut properties = properties()?;
        // Mostly what they were in the row before, or near it.
        for column in ["cpu", "pid", "tid", "connection", "goroutine", "length", "captured"] {
            properties = by_difference(properties, column);
        }
        // Each row group has all of their few values.
        for column in ["cpu", "direction", "source", "call", "length", "captured"] {
            properties = without_statistics(properties, column);
        }
        let payload = ColumnPath::from("payload");
        properties = properties
            .set_column_compression(payload.clone(), Compression::ZSTD(ZstdLevel::try_new(PAYLOAD_LEVEL)?))
            .set_column_data_page_size_limit(payload, PAYLOAD_PAGE_BYTES);
        Self::begin(output, clock, properties)
    }

    fn begin(output: W, clock: Clock, properties: WriterPropertiesBuilder) -> Result<Self, Error> {
        Ok(Self {
            writer: ArrowWriter::try_new(output, schema(), Some(properties.build()))?,
            builder: Builder::new(clock),
            group_rows: 0,
            group_bytes: 0,
            max_group_rows: ROW_GROUP_ROWS,
        })
    }

    /// Closes row groups at `rows` already.
    pub(super) fn set_group_rows(&mut self, rows: usize) {
        self.max_group_rows = rows.clamp(1, ROW_GROUP_ROWS);
    }

    /// Adds an event. Events must come in the order of `(ts_ns, cpu, seq)`.
    pub fn push(&mut self, event: &Event<'_>) -> Result<(), Error> {
        self.append(event)?;
        if self.group_full() { self.close_group() } else { Ok(()) }
    }

    /// Adds an event without closing the row group.
    pub(super) fn append(&mut self, event: &Event<'_>) -> Result<(), Error> {
        self.builder.append(event);
        self.group_rows += 1;
        if self.builder.rows() >= BATCH_ROWS || self.builder.bytes() >= ROW_GROUP_BYTES / 8 {
            self.encode()?;
        }
        Ok(())
    }

    fn encode(&mut self) -> Result<(), Error> {
        self.group_bytes += self.builder.bytes();
        self.writer.write(&self.builder.finish()?)?;
        Ok(())
    }

    /// Whether the row group should be closed.
    pub(super) fn group_full(&self) -> bool {
        self.group_rows >= self.max_group_rows || self.group_bytes + self.builder.bytes() >= ROW_GROUP_BYTES
    }

    pub(super) fn close_group(&mut self) -> Result<(), Error> {
        self.encode()?;
        self.writer.flush()?;
        (self.group_rows, self.group_bytes) = (0, 0);
        Ok(())
    }

    /// Closes the row group and writes a footer for it alone. Returns the length of the output, all of which
    /// has been handed to the operating system.
    pub(super) fn close_group_with_footer(&mut self, metadata: &Metadata) -> Result<u64, Error> {
        self.close_group()?;
        if let Some(group) = self.writer.flushed_row_groups().last() {
            let footer = footer::of_group(group, metadata)?;
            self.writer.write_all(&footer)?;
        }
        self.writer.sync()?;
        Ok(self.writer.bytes_written() as u64)
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// How large the file would be if it ended now, roughly.
    pub(super) fn size(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Writes what is left and the footer. Nothing can be added afterwards.
    pub fn finish(&mut self, metadata: &Metadata) -> Result<(), Error> {
        self.close_group()?;
        self.writer.append_key_value_metadata(footer::key_value(metadata)?);
        self.writer.finish()?;
        Ok(())
    }
}

/// How the columns of every file are written.
fn properties() -> Result<WriterPropertiesBuilder, Error> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        // Row groups are closed here and nowhere else.
        .set_max_row_group_row_count(None);
    // Times, positions and numbers grow: their differences are small and their values never repeat.
    for column in ["time", "ts_ns", "seq", "position", "ready_ns"] {
        properties = by_difference(properties, column);
    }
    // Nobody looks for a payload between two others.
    for column in ["payload", "tail"] {
        properties = without_statistics(properties, column)
            .set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    Ok(properties)
}

fn by_difference(properties: WriterPropertiesBuilder, column: &str) -> WriterPropertiesBuilder {
    properties
        .set_column_dictionary_enabled(ColumnPath::from(column), false)
        .set_column_encoding(ColumnPath::from(column), Encoding::DELTA_BINARY_PACKED)
}

fn without_statistics(properties: WriterPropertiesBuilder, column: &str) -> WriterPropertiesBuilder {
    properties.set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::None)
}
