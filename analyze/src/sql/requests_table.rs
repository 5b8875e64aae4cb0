//! The `requests` table: every scan replays the files on a thread of its own and hands batches over a bounded
//! channel. Only the columns asked for are built, and only as many rows as are asked for.

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use beyla_engine::Sink;
use beyla_schema::{
    arrow::requests::{Builder, Source, schema},
    request::Request,
};
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

use super::Findings;
use crate::replay::{Consumer, Input};

/// Rows of a batch: enough to amortise the work per batch, few enough to come soon.
const BATCH_ROWS: usize = 8 * 1024;

/// Batches that may wait for the query.
const WAITING: usize = 4;

/// The files to replay.
#[derive(Clone, Debug)]
pub(super) struct RequestsTable {
    input: Arc<Input>,
    findings: Findings,
    progress: bool,
}

impl RequestsTable {
    pub(super) fn new(input: Arc<Input>, findings: Findings, progress: bool) -> Self {
        Self { input, findings, progress }
    }
}

#[async_trait]
impl TableProvider for RequestsTable {
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
        let scan = Scan { table: self.clone(), projection: projection.cloned(), limit, schema };
        let schema = Arc::clone(&scan.schema);
        let plan = StreamingTableExec::try_new(schema, vec![Arc::new(scan)], None, None, false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// One scan of the table.
#[derive(Clone, Debug)]
struct Scan {
    table: RequestsTable,
    projection: Option<Vec<usize>>,
    limit: Option<usize>,
    schema: SchemaRef,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), WAITING);
        let (scan, batches) = (self.clone(), stream.tx());
        stream.spawn_blocking(move || scan.replay(batches));
        stream.build()
    }
}

impl Scan {
    fn replay(self, batches: Sender<Result<RecordBatch>>) -> Result<()> {
        let builder = Builder::new(Source::default(), self.projection.as_deref())?;
        let left = self.limit.unwrap_or(usize::MAX);
        let mut rows = Rows { projection: self.projection, builder, left, batches, result: Ok(true) };
        let summaries = self.table.input.replay(&mut rows, self.table.progress);
        let summaries = summaries.map_err(|error| DataFusionError::External(error.into()))?;
        rows.flush();
        let mut findings = self.table.findings.lock().unwrap_or_else(PoisonError::into_inner);
        // A scan that was stopped knows of the first files only.
        if summaries.len() > findings.len() {
            *findings = summaries;
        }
        rows.result.map(|_| ())
    }
}

/// Makes batches of the requests of a replay.
struct Rows {
    projection: Option<Vec<usize>>,
    builder: Builder,
    left: usize,
    batches: Sender<Result<RecordBatch>>,
    /// Whether the query wants more rows, or why there can be none.
    result: Result<bool>,
}

impl Rows {
    fn flush(&mut self) {
        if self.builder.rows() > 0 && matches!(self.result, Ok(true)) {
            self.result = match self.builder.finish() {
                Ok(batch) => Ok(self.batches.blocking_send(Ok(batch)).is_ok() && self.left > 0),
                Err(error) => Err(error.into()),
            };
        }
    }
}

impl Sink for Rows {
    fn request(&mut self, request: &Request<'_>) {
        if self.left > 0 {
            self.left -= 1;
            self.builder.append(request);
            if self.left == 0 || self.builder.rows() >= BATCH_ROWS {
                self.flush();
            }
        }
    }
}

impl Consumer for Rows {
    fn begin(&mut self, source: &Source) {
        self.flush();
        match Builder::new(source.clone(), self.projection.as_deref()) {
            Ok(builder) => self.builder = builder,
            Err(error) => self.result = Err(error.into()),
        }
    }

    fn stopped(&self) -> bool {
        !matches!(self.result, Ok(true)) || self.batches.is_closed()
    }
}
