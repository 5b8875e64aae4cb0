//! The footers inside an unfinished file, by which its row groups are found.
//!
//! Each closed row group is followed by an ordinary Parquet footer that describes it alone. The footer before
//! ends where the row group begins, so the groups are found by going backwards from the last footer. The
//! footer of the finished file describes all groups and does not refer to those in between.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parquet::{
    arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter, encode_arrow_schema},
    file::{
        metadata::{
            ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataReader,
            ParquetMetaDataWriter, RowGroupMetaData,
        },
        reader::ChunkReader,
    },
};

use super::{Error, METADATA_KEY, Metadata};
use crate::arrow::events::schema;

/// The four bytes a Parquet file begins and ends with.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// Length of the description, then [`MAGIC`].
const END: u64 = 8;

/// A footer of ours takes about ten kilobytes, more only with a long command line.
const MAX_FOOTER: u64 = 16 << 20;

/// A capture's metadata as Parquet keeps it.
pub(super) fn key_value(metadata: &Metadata) -> Result<KeyValue, Error> {
    let json = serde_json::to_string(metadata).map_err(Error::Metadata)?;
    Ok(KeyValue::new(METADATA_KEY.to_owned(), json))
}

/// The bytes of a footer for one row group.
pub(super) fn of_group(group: &RowGroupMetaData, metadata: &Metadata) -> Result<Vec<u8>, Error> {
    let columns = ArrowSchemaConverter::new().convert(&schema())?;
    let arrow_schema = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&schema()));
    let pairs = Some(vec![arrow_schema, key_value(metadata)?]);
    let file = FileMetaData::new(2, group.num_rows(), None, pairs, Arc::new(columns), None);
    let mut bytes = Vec::new();
    ParquetMetaDataWriter::new(&mut bytes, &ParquetMetaData::new(file, vec![group.clone()])).finish()?;
    Ok(bytes)
}

/// What is wrong with an unfinished file, and at which of its bytes.
pub(super) type Flaw = (u64, &'static str);

/// Describes the row groups in the first `length` bytes of `input`, which end with a footer. None without any.
pub(super) fn collect(input: &impl ChunkReader, length: u64) -> Result<Option<ParquetMetaData>, Flaw> {
    let mut groups = Vec::new();
    let mut last: Option<FileMetaData> = None;
    let mut end = length;
    while end > MAGIC.len() as u64 {
        let (footer, start) = before(input, end)?;
        let file = footer.file_metadata().clone();
        if last.as_ref().is_some_and(|last| last.schema() != file.schema()) {
            return Err((end, "the footer has other columns than the next one"));
        }
        last.get_or_insert(file);
        groups.extend(footer.row_groups().iter().cloned());
        end = start;
    }
    groups.reverse();
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    Ok(last.map(|last| {
        let (version, columns) = (last.version(), last.schema_descr_ptr());
        let pairs = last.key_value_metadata().cloned();
        ParquetMetaData::new(FileMetaData::new(version, rows, None, pairs, columns, None), groups)
    }))
}

/// The footer that ends at `end`, and where its row group begins.
fn before(input: &impl ChunkReader, end: u64) -> Result<(ParquetMetaData, u64), Flaw> {
    let read = |start, length: u64| {
        let bytes = input.get_bytes(start, length as usize);
        bytes.map_err(|_| (start, "the file is shorter than its journal says"))
    };
    let room = end.checked_sub(END + MAGIC.len() as u64).ok_or((end, "there is no room for a footer"))?;
    let tail = read(end - END, END)?;
    let (&[a, b, c, d, ..], true) = (&tail[..], tail.ends_with(MAGIC)) else {
        return Err((end, "no footer ends here"));
    };
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if length > room.min(MAX_FOOTER) {
        return Err((end, "the footer that ends here is too long"));
    }
    let start = end - END - length;
    let flaw = (start, "the footer cannot be read");
    let bytes = read(start, length)?;
    // The decoder of the Parquet library asserts what a damaged footer may not hold.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let footer = ParquetMetaDataReader::decode_metadata(&bytes).ok()?;
        let [group] = footer.row_groups() else { return None };
        if group.num_rows() < 0 {
            return None;
        }
        let ranges = || group.columns().iter().map(ColumnChunkMetaData::byte_range);
        let first = ranges().map(|(first, _)| first).min()?;
        let last =
            ranges().try_fold(0, |last, (first, length)| Some(first.checked_add(length)?.max(last)))?;
        (first >= MAGIC.len() as u64 && first < last && last <= start).then_some((footer, first))
    }));
    decoded.ok().flatten().ok_or(flaw)
}
