//! The `events` table while a capture is unfinished: closed row groups without a footer and a journal are no file for
//! the Parquet scan of [`events`](super::events). Every scan reads all files from beginning to end.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatchOptions, StringArray, new_null_array},
    compute::cast,
};
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    error::{DataFusionError, Result},
};

use super::events::schema;
use crate::{
    Error,
    replay::{Capture, Input},
    sql::scan::{Asked, Make, Rows},
};

/// The files to read.
#[derive(Debug)]
pub(in crate::sql) struct UnfinishedEvents(pub(in crate::sql) Arc<Input>);

impl Make for UnfinishedEvents {
    fn scan_name(&self) -> &'static str {
        "EventsScan"
    }

    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn files(&self) -> usize {
        self.0.files.len()
    }

    fn make(&self, asked: &Asked, mut rows: Rows) -> Result<()> {
        let external = |error: Error| DataFusionError::External(error.into());
        for path in &self.0.files {
            let mut capture = Capture::open_whole(path).map_err(external)?;
            let damaged = |error| external(Error::File { file: path.display().to_string(), error });
            while let Some(batch) = capture.next_record_batch().map_err(damaged)? {
                rows.send(conform(&batch, &capture, &asked.schema)?);
                if rows.stopped() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The columns asked for, as the table has them: files of an older version lack some.
fn conform(batch: &RecordBatch, capture: &Capture, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let constant =
        |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) };
    let columns = schema.fields().iter().map(|field| {
        match (batch.column_by_name(field.name()), field.name().as_str()) {
            (Some(column), _) => cast(column, field.data_type()),
            (None, "file") => Ok(constant(capture.name())),
            (None, "host") => Ok(constant(&capture.hosts().join(","))),
            (None, _) => Ok(new_null_array(field.data_type(), rows)),
        }
    });
    let columns = columns.collect::<std::result::Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
