//! JSON: an array of objects, or an object a line.

use std::io::Write;

use arrow::{
    array::RecordBatch,
    json::{WriterBuilder, writer::LineDelimited},
};

use super::{Encoder, arrow_error};
use crate::Error;

/// One object a line.
pub(super) struct Lines;

impl Encoder for Lines {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        Ok(out.write_all(&lines(batch)?)?)
    }

    fn finish(self: Box<Self>, _: &mut dyn Write) -> Result<(), Error> {
        Ok(())
    }
}

/// An array of objects.
#[derive(Default)]
pub(super) struct Array {
    begun: bool,
}

impl Encoder for Array {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        // No string holds a raw newline in JSON, so each of them ends an object.
        for object in lines(batch)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            out.write_all(if self.begun { b",\n" } else { b"[\n" })?;
            out.write_all(object)?;
            self.begun = true;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, out: &mut dyn Write) -> Result<(), Error> {
        Ok(out.write_all(if self.begun { b"\n]\n" } else { b"[]\n" })?)
    }
}

/// The rows of a batch as objects, one a line.
pub(crate) fn lines(batch: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch).map_err(arrow_error)?;
    writer.finish().map_err(arrow_error)?;
    Ok(writer.into_inner())
}
