//! Results in the format that was asked for. Batches are encoded in memory and then written, so that a closed pipe is seen
//! as what it is. All formats but those for people are written as rows come.

mod columnar;
mod delimited;
mod json;
mod target;
mod text;

use std::io::Write;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
};
use datafusion::error::DataFusionError;

pub(crate) use json::lines;
pub use target::Target;

use super::Show;
use crate::Error;

/// The format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// Comma-separated values under a header; null is empty.
    Csv,
    /// The same with tabs.
    Tsv,
    /// An array of objects.
    Json,
    /// One object a line.
    Ndjson,
    /// A table of Markdown.
    Markdown,
    /// A Parquet file.
    Parquet,
    /// A stream of Arrow IPC.
    Arrow,
}

impl Format {
    /// Whether it is not text, and one result is all that a file of it holds.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// Writes the result of one statement.
pub(super) trait Encoder {
    /// Takes a batch.
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error>;

    /// The result is complete.
    fn finish(self: Box<Self>, out: &mut dyn Write) -> Result<(), Error>;
}

/// An encoder of rows of `schema`.
pub(super) fn encoder(schema: SchemaRef, show: Show) -> Result<Box<dyn Encoder>, Error> {
    Ok(match show.format {
        Format::Table if text::is_plan(&schema) => Box::new(text::Plan),
        Format::Table => Box::new(text::Aligned::new(&schema, show)),
        Format::Markdown => Box::new(text::Markdown::new(&schema)),
        Format::Csv => Box::new(delimited::Delimited::new(schema, b',')),
        Format::Tsv => Box::new(delimited::Delimited::new(schema, b'\t')),
        Format::Json => Box::new(json::Array::default()),
        Format::Ndjson => Box::new(json::Lines),
        Format::Parquet => Box::new(columnar::Parquet::new(schema)?),
        Format::Arrow => Box::new(columnar::ArrowStream::new(&schema)?),
    })
}

fn arrow_error(error: ArrowError) -> Error {
    Error::Sql(DataFusionError::from(error))
}

/// A type as SQL would call it.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Dictionary(_, values) => type_name(values),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::UInt64 => "bigint unsigned".to_owned(),
        DataType::UInt32 => "int unsigned".to_owned(),
        DataType::UInt16 => "smallint unsigned".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
