//! How much room the columns of a file take, as its footers say.

use parquet::file::metadata::ParquetMetaData;

/// Row groups, and the size of each column over all of them. Of an unfinished file, those that are closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Row groups.
    pub row_groups: u64,
    /// Rows in them.
    pub rows: u64,
    /// Each column, in the order of the file.
    pub columns: Vec<ColumnSize>,
}

/// What one column takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSize {
    /// Its name.
    pub name: String,
    /// Bytes in the file.
    pub compressed: u64,
    /// Bytes of its pages before they were compressed.
    pub uncompressed: u64,
}

impl Layout {
    pub(super) fn of(metadata: &ParquetMetaData) -> Self {
        let descriptors = metadata.file_metadata().schema_descr().columns().iter();
        let column = |name: &str| ColumnSize { name: name.to_owned(), compressed: 0, uncompressed: 0 };
        let mut columns: Vec<_> = descriptors.map(|descriptor| column(descriptor.name())).collect();
        // Sizes are what the footer says, which may be damaged.
        let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        for group in metadata.row_groups() {
            for (column, chunk) in columns.iter_mut().zip(group.columns()) {
                column.compressed = column.compressed.saturating_add(size(chunk.compressed_size()));
                column.uncompressed = column.uncompressed.saturating_add(size(chunk.uncompressed_size()));
            }
        }
        Self {
            row_groups: metadata.row_groups().len() as u64,
            rows: size(metadata.file_metadata().num_rows()),
            columns,
        }
    }
}
