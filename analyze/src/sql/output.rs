//! Results as tables, CSV and JSON. Batches are encoded in memory and then written, so that a closed pipe is
//! seen as what it is.

use std::io::Write;

use anstream::adapter::strip_str;
use arrow::{
    array::{Array, RecordBatch},
    csv,
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
    json::{WriterBuilder, writer::LineDelimited},
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::error::DataFusionError;

use super::Show;
use crate::{
    Error,
    table::{Align, BOLD, Cell, DIM, Table},
};

/// The format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// Comma-separated values under a header; null is empty.
    Csv,
    /// An array of objects.
    Json,
    /// One object a line.
    Ndjson,
}

/// Writes the result of one statement.
pub(super) struct Output {
    schema: SchemaRef,
    show: Show,
    table: Table,
    /// Whether something was written: the header of CSV, an object of a JSON array.
    begun: bool,
}

impl Output {
    pub(super) fn new(schema: SchemaRef, show: Show) -> Self {
        let fields = schema.fields();
        let mut table = Table::new(
            fields
                .iter()
                .map(|field| if field.data_type().is_numeric() { Align::Right } else { Align::Left }),
        );
        table.push(fields.iter().map(|field| Cell::new(field.name()).styled(BOLD)).collect());
        Self { schema, show, table, begun: false }
    }

    /// Takes a batch. Everything but a table is written at once.
    pub(super) fn write(&mut self, batch: &RecordBatch, out: &mut impl Write) -> Result<(), Error> {
        match self.show.format {
            Format::Table => self.collect(batch).map_err(arrow_error)?,
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().with_header(!self.begun).build(Vec::new());
                writer.write(batch).map_err(arrow_error)?;
                out.write_all(&writer.into_inner())?;
                self.begun = true;
            }
            Format::Ndjson => out.write_all(&lines(batch)?)?,
            Format::Json => {
                // No string holds a raw newline in JSON, so each of them ends an object.
                for object in lines(batch)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    out.write_all(if self.begun { b",\n" } else { b"[\n" })?;
                    out.write_all(object)?;
                    self.begun = true;
                }
            }
        }
        Ok(())
    }

    /// The result is complete.
    pub(super) fn finish(mut self, out: &mut impl Write) -> Result<(), Error> {
        match self.show.format {
            Format::Table => {
                let mut text = String::new();
                self.table.render_ruled(&mut text);
                if self.show.colour {
                    out.write_all(text.as_bytes())?;
                } else {
                    write!(out, "{}", strip_str(&text))?;
                }
            }
            Format::Csv if !self.begun => self.write(&RecordBatch::new_empty(self.schema.clone()), out)?,
            Format::Json => out.write_all(if self.begun { b"\n]\n" } else { b"[]\n" })?,
            Format::Csv | Format::Ndjson => {}
        }
        out.flush()?;
        Ok(())
    }

    fn collect(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let options = FormatOptions::new().with_null("NULL");
        let columns = batch.columns().iter();
        let formatters = columns
            .map(|column| Ok((ArrayFormatter::try_new(column, &options)?, column)))
            .collect::<Result<Vec<_>, ArrowError>>()?;
        for row in 0..batch.num_rows() {
            let cells = formatters.iter().map(|(formatter, column)| {
                let cell = Cell::new(&formatter.value(row).try_to_string()?);
                Ok(if column.is_null(row) { cell.styled(DIM) } else { cell })
            });
            self.table.push(cells.collect::<Result<_, ArrowError>>()?);
        }
        Ok(())
    }
}

/// The rows of a batch as objects, one a line.
pub(crate) fn lines(batch: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch).map_err(arrow_error)?;
    writer.finish().map_err(arrow_error)?;
    Ok(writer.into_inner())
}

fn arrow_error(error: ArrowError) -> Error {
    Error::Sql(DataFusionError::from(error))
}

/// A type as SQL would call it.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".to_owned(),
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
