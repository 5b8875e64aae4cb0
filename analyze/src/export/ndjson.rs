//! One JSON object a line, as `--sql 'select * from requests' --format ndjson` writes them.

use std::io::Write;

use arrow::{
    array::RecordBatch,
    json::{WriterBuilder, writer::LineDelimited},
};

use super::table::{self, failed};
use crate::Error;

pub(super) struct Sheet;

impl table::Sheet for Sheet {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        let builder = WriterBuilder::new().with_explicit_nulls(true);
        let mut writer = builder.build::<_, LineDelimited>(Vec::new());
        writer.write(batch).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(out.write_all(&writer.into_inner())?)
    }

    fn finish(&mut self, _: &mut dyn Write) -> Result<(), Error> {
        Ok(())
    }
}
