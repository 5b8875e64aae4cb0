//! The `events` table while a capture is unfinished: closed row groups without a footer and a journal are no file for
//! the Parquet scan of [`events_table`](super::events_table). Every scan reads all files from beginning to end on a
//! thread of its own, and hands batches over a bounded channel.

use std::sync::Arc;

use arrow::{
    array::{RecordBatchOptions, new_null_array},
    compute::cast,
};
use async_trait::async_trait;
use beyla_schema::arrow::events::schema;
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::{Session, TableProvider},
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableType},
    physical_plan::{
        ExecutionPlan,
        stream::RecordBatchReceiverStreamBuilder,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use tokio::sync::mpsc::Sender;

use crate::{
    Error,
    replay::{Capture, Input},
};

/// Batches that may wait for the query.
const WAITING: usize = 4;

/// The files to read.
#[derive(Clone, Debug)]
pub(super) struct EventsStream {
    input: Arc<Input>,
}

impl EventsStream {
    pub(super) fn new(input: Arc<Input>) -> Self {
        Self { input }
    }
}

#[async_trait]
impl TableProvider for EventsStream {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => Arc::new(schema().project(projection)?),
            None => schema(),
        };
        let scan = Arc::new(Scan { input: Arc::clone(&self.input), schema: Arc::clone(&schema) });
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![scan], None, None, false, limit)?))
    }
}

/// One scan of the table.
#[derive(Clone, Debug)]
struct Scan {
    input: Arc<Input>,
    /// The columns asked for.
    schema: SchemaRef,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), WAITING);
        let (scan, batches) = (self.clone(), stream.tx());
        stream.spawn_blocking(move || scan.read(&batches));
        stream.build()
    }
}

impl Scan {
    fn read(&self, batches: &Sender<Result<RecordBatch>>) -> Result<()> {
        let external = |error: Error| DataFusionError::External(error.into());
        for path in &self.input.files {
            let mut capture = Capture::open_whole(path).map_err(external)?;
            let damaged = |error| external(Error::File { file: path.display().to_string(), error });
            while let Some(batch) = capture.next_record_batch().map_err(damaged)? {
                if batches.blocking_send(self.conform(&batch)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The columns asked for, as the table has them: files of an older version lack some.
    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        });
        let columns = columns.collect::<std::result::Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}
