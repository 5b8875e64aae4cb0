//! The `requests` table: every scan replays the files. Only the columns asked for are built, of the requests that pass the
//! filters, and only as many rows as are asked for.

use std::sync::{Arc, PoisonError};

use beyla_engine::Sink;
use beyla_schema::{
    arrow::requests::{Builder, Source, schema},
    request::Request,
};
use datafusion::{
    arrow::datatypes::SchemaRef,
    error::{DataFusionError, Result},
    logical_expr::Expr,
};

use crate::{
    replay::{Consumer, Input},
    sql::{
        Findings,
        predicate::Predicate,
        scan::{Asked, Make, Rows},
    },
};

/// Rows of a batch: enough to amortise the work per batch, few enough to come soon.
const BATCH_ROWS: usize = 8 * 1024;

/// The files to replay.
#[derive(Clone, Debug)]
pub(in crate::sql) struct Requests {
    input: Arc<Input>,
    findings: Findings,
    progress: bool,
}

impl Requests {
    pub(in crate::sql) fn new(input: Arc<Input>, findings: Findings, progress: bool) -> Self {
        Self { input, findings, progress }
    }
}

impl Make for Requests {
    fn scan_name(&self) -> &'static str {
        "RequestsScan"
    }

    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn files(&self) -> usize {
        self.input.files.len()
    }

    fn applies(&self, filter: &Expr) -> bool {
        Predicate::of(filter).is_some()
    }

    fn make(&self, asked: &Asked, rows: Rows) -> Result<()> {
        let projection = asked.projection.clone();
        let source = Source::default();
        let builder = Builder::new(source.clone(), projection.as_deref())?;
        let filters = asked.filters.iter().filter_map(Predicate::of).collect();
        let mut made = Made { projection, filters, source, builder, rows, result: Ok(()) };
        let summaries = self.input.replay(&mut made, self.progress);
        let summaries = summaries.map_err(|error| DataFusionError::External(error.into()))?;
        made.flush();
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        // A scan that was stopped knows of the first files only.
        if summaries.len() > findings.len() {
            *findings = summaries;
        }
        made.result
    }
}

/// Makes batches of the requests of a replay.
struct Made {
    projection: Option<Vec<usize>>,
    filters: Vec<Predicate>,
    source: Source,
    builder: Builder,
    rows: Rows,
    /// Why there can be no more rows.
    result: Result<()>,
}

impl Made {
    fn flush(&mut self) {
        if self.builder.rows() > 0 && self.result.is_ok() {
            match self.builder.finish() {
                Ok(batch) => self.rows.send(batch),
                Err(error) => self.result = Err(error.into()),
            }
        }
    }
}

impl Sink for Made {
    fn request(&mut self, request: &Request<'_>) {
        let wanted = self.rows.left().min(BATCH_ROWS);
        if wanted > 0 && self.filters.iter().all(|filter| filter.holds(request, &self.source)) {
            self.builder.append(request);
            if self.builder.rows() >= wanted {
                self.flush();
            }
        }
    }
}

impl Consumer for Made {
    fn begin(&mut self, source: &Source) {
        self.flush();
        self.source = source.clone();
        match Builder::new(source.clone(), self.projection.as_deref()) {
            Ok(builder) => self.builder = builder,
            Err(error) => self.result = Err(error.into()),
        }
    }

    fn stopped(&self) -> bool {
        self.result.is_err() || self.rows.stopped()
    }
}
