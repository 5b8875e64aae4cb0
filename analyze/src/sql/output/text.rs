//! Results for people: aligned columns, a column a line, Markdown, and plans of queries.
//!
//! Columns are as wide as their widest value, so the rows are kept until the last one is known: so many of them, and how many
//! more there are.

use std::io::Write;

use anstream::{adapter::strip_str, eprintln};
use arrow::{
    array::{Array, RecordBatch},
    datatypes::SchemaRef,
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};

use super::{Encoder, arrow_error};
use crate::{
    Error,
    markdown::escape,
    sql::Show,
    table::{Align, BOLD, Cell, DIM, Table, printable},
};

/// Rows that are shown.
const MAX_ROWS: usize = 100_000;

/// Bytes of the values that are shown.
const MAX_BYTES: usize = 64 << 20;

/// Counts what is shown.
#[derive(Default)]
struct Shown {
    rows: usize,
    bytes: usize,
    left_out: usize,
}

impl Shown {
    /// Hands the values of every row to `each`, null as none, until they are too many.
    fn rows(
        &mut self,
        batch: &RecordBatch,
        mut each: impl FnMut(Vec<Option<String>>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let options = FormatOptions::new();
        let columns = batch.columns().iter();
        let formatters = columns
            .map(|column| Ok((ArrayFormatter::try_new(column, &options)?, column)))
            .collect::<Result<Vec<_>, ArrowError>>()
            .map_err(arrow_error)?;
        for row in 0..batch.num_rows() {
            if self.rows >= MAX_ROWS || self.bytes >= MAX_BYTES {
                self.left_out += batch.num_rows() - row;
                return Ok(());
            }
            let values = formatters.iter().map(|(formatter, column)| {
                if column.is_null(row) { Ok(None) } else { formatter.value(row).try_to_string().map(Some) }
            });
            let values = values.collect::<Result<Vec<_>, ArrowError>>().map_err(arrow_error)?;
            self.rows += 1;
            self.bytes += values.iter().flatten().map(String::len).sum::<usize>();
            each(values)?;
        }
        Ok(())
    }

    /// Says what was left out.
    fn tell(&self) {
        if self.left_out > 0 {
            eprintln!(
                "beyla-analyze: {} more rows: --format csv, ndjson or parquet writes all of them, `limit` asks for fewer",
                self.left_out
            );
        }
    }
}

/// Aligned columns under a header, or a column a line.
pub(super) struct Aligned {
    names: Vec<String>,
    show: Show,
    table: Table,
    shown: Shown,
}

impl Aligned {
    pub(super) fn new(schema: &SchemaRef, show: Show) -> Self {
        let fields = schema.fields();
        let names = fields.iter().map(|field| field.name().clone()).collect();
        let align = |numeric| if numeric { Align::Right } else { Align::Left };
        let table = if show.expanded {
            Table::new([Align::Left, Align::Left])
        } else {
            let mut table = Table::new(fields.iter().map(|field| align(field.data_type().is_numeric())));
            table.push(fields.iter().map(|field| Cell::new(field.name()).styled(BOLD)).collect());
            table
        };
        Self { names, show, table, shown: Shown::default() }
    }
}

impl Encoder for Aligned {
    fn write(&mut self, batch: &RecordBatch, _: &mut dyn Write) -> Result<(), Error> {
        let Self { names, show, table, shown } = self;
        let first = shown.rows;
        let mut number = first;
        shown.rows(batch, |values| {
            let cells = values.iter().map(|value| match value {
                Some(value) => Cell::new(value),
                None => Cell::new("NULL").styled(DIM),
            });
            number += 1;
            if show.expanded {
                table.push(vec![Cell::new(&format!("row {number}")).styled(DIM)]);
                for (name, cell) in names.iter().zip(cells) {
                    table.push(vec![Cell::new(name).styled(BOLD), cell]);
                }
            } else {
                table.push(cells.collect());
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>, out: &mut dyn Write) -> Result<(), Error> {
        let mut text = String::new();
        if self.show.expanded {
            self.table.render(&mut text, 0, usize::MAX);
        } else {
            self.table.render_ruled(&mut text);
        }
        if self.show.colour {
            out.write_all(text.as_bytes())?;
        } else {
            write!(out, "{}", strip_str(&text))?;
        }
        self.shown.tell();
        Ok(())
    }
}

/// A table of Markdown, as GitHub has them.
pub(super) struct Markdown {
    head: Option<String>,
    shown: Shown,
}

impl Markdown {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let fields = schema.fields().iter();
        let names: Vec<_> = fields.clone().map(|field| escape(field.name())).collect();
        let rules: Vec<_> =
            fields.map(|field| if field.data_type().is_numeric() { "---:" } else { "---" }).collect();
        let head = format!("| {} |\n| {} |\n", names.join(" | "), rules.join(" | "));
        Self { head: Some(head), shown: Shown::default() }
    }
}

impl Encoder for Markdown {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        if let Some(head) = self.head.take() {
            out.write_all(head.as_bytes())?;
        }
        self.shown.rows(batch, |values| {
            let cells: Vec<_> =
                values.iter().map(|value| value.as_deref().map_or_else(String::new, escape)).collect();
            Ok(writeln!(out, "| {} |", cells.join(" | "))?)
        })
    }

    fn finish(self: Box<Self>, out: &mut dyn Write) -> Result<(), Error> {
        if let Some(head) = &self.head {
            out.write_all(head.as_bytes())?;
        }
        self.shown.tell();
        Ok(())
    }
}

/// Whether rows of `schema` are what `explain` says.
pub(super) fn is_plan(schema: &SchemaRef) -> bool {
    schema.fields().iter().map(|field| field.name().as_str()).eq(["plan_type", "plan"])
}

/// The lines of plans.
pub(super) struct Plan;

impl Encoder for Plan {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        Shown::default().rows(batch, |values| {
            let mut values = values.into_iter().flatten();
            writeln!(out, "{}", printable(&values.next().unwrap_or_default()))?;
            for line in values.next().unwrap_or_default().lines() {
                writeln!(out, "  {}", printable(line))?;
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>, _: &mut dyn Write) -> Result<(), Error> {
        Ok(())
    }
}
