//! Comma-separated values under a header, as `--sql 'select * from requests' --format csv` writes them.

use std::io::Write;

use arrow::{array::RecordBatch, csv};
use beyla_schema::arrow::requests::schema;

use super::table::{self, failed};
use crate::Error;

/// A table that may have its header.
#[derive(Default)]
pub(super) struct Sheet {
    begun: bool,
}

impl table::Sheet for Sheet {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        let mut writer = csv::WriterBuilder::new().with_header(!self.begun).build(Vec::new());
        writer.write(batch).map_err(failed)?;
        self.begun = true;
        Ok(out.write_all(&writer.into_inner())?)
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        if self.begun { Ok(()) } else { self.write(&RecordBatch::new_empty(schema()), out) }
    }
}
