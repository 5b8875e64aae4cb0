//! An Arrow IPC file, also known as Feather version 2: readers map it into memory and find every batch at once. It is written
//! from beginning to end, so that it goes through a pipe as well as into a file.

use std::{collections::HashMap, io::Write, mem};

use arrow::{array::RecordBatch, ipc::writer::FileWriter};
use beyla_schema::arrow::requests::schema;

use super::{
    Exported,
    table::{self, description, failed},
};
use crate::Error;

/// Encodes into a buffer, which is emptied after every batch.
pub(super) struct Sheet {
    writer: FileWriter<Vec<u8>>,
}

impl Sheet {
    pub(super) fn new(files: &[Exported]) -> Result<Self, Error> {
        let metadata: HashMap<String, String> = description(files)?.into();
        let schema = schema().as_ref().clone().with_metadata(metadata);
        Ok(Self { writer: FileWriter::try_new(Vec::new(), &schema).map_err(failed)? })
    }

    fn drain(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        Ok(out.write_all(&mem::take(self.writer.get_mut()))?)
    }
}

impl table::Sheet for Sheet {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error> {
        self.writer.write(batch).map_err(failed)?;
        self.drain(out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        self.writer.finish().map_err(failed)?;
        self.drain(out)
    }
}
