//! CSV, and the same with tabs.

use std::io::Write;

use arrow::{array::RecordBatch, csv::WriterBuilder, datatypes::SchemaRef};

use super::{Encoder, arrow_error};
use crate::Error;

/// Values under a header, with something between them.
pub(super) struct Delimited {
    schema: SchemaRef,
    delimiter: u8,
    begun: bool,
}

impl Delimited {
    pub(super) fn new(schema: SchemaRef, delimiter: u8) -> Self {
        Self { schema, delimiter, begun: false }
    }
}

impl Encoder for Delimited {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        let builder = WriterBuilder::new().with_delimiter(self.delimiter).with_header(!self.begun);
        let mut writer = builder.build(Vec::new());
        writer.write(batch).map_err(arrow_error)?;
        self.begun = true;
        Ok(out.write_all(&writer.into_inner())?)
    }

    fn finish(mut self: Box<Self>, out: &mut dyn Write) -> Result<(), Error> {
        if self.begun { Ok(()) } else { self.write(&RecordBatch::new_empty(self.schema.clone()), out) }
    }
}
