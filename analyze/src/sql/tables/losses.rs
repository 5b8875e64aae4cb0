//! The `losses` table: what was lost to each cause, as the files tell over time.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch, new_null_array},
    compute::cast,
    datatypes::{DataType, UInt64Type},
};
use beyla_schema::event::loses_records;
use datafusion::{
    arrow::datatypes::SchemaRef,
    error::{DataFusionError, Result},
};

use super::columns::{self, Columns, Get};
use crate::{
    Error,
    parts::recordings,
    replay::{Capture, Input},
    sql::scan::{Asked, Make, Rows},
};

/// The columns of the files that are read.
const READ: &[&str] = &["cause", "count", "carried"];

/// Causes that are told apart; a file that names more is no capture of ours.
const MAX_CAUSES: usize = 1024;

struct Row {
    file: Arc<str>,
    host: Arc<str>,
    time: i64,
    cause: Arc<str>,
    count: u64,
    increase: u64,
}

const COLUMNS: &Columns<Row> = &[
    ("file", Get::Text(|row| Some((&*row.file).into()))),
    ("host", Get::Text(|row| Some((&*row.host).into()))),
    ("time", Get::Time(|row| Some(row.time))),
    ("cause", Get::Text(|row| Some((&*row.cause).into()))),
    ("count", Get::Int(|row| Some(row.count))),
    ("increase", Get::Int(|row| Some(row.increase))),
    ("loses_events", Get::Bool(|row| Some(loses_records(&row.cause)))),
];

/// The files whose losses these are.
#[derive(Debug)]
pub(in crate::sql) struct Losses(pub(in crate::sql) Arc<Input>);

impl Make for Losses {
    fn scan_name(&self) -> &'static str {
        "LossesScan"
    }

    fn schema(&self) -> SchemaRef {
        columns::schema(COLUMNS)
    }

    fn files(&self) -> usize {
        self.0.files.len()
    }

    fn make(&self, asked: &Asked, mut rows: Rows) -> Result<()> {
        let external = |error: Error| DataFusionError::External(error.into());
        let captures = self.0.files.iter().map(|path| Capture::open_columns(path, READ));
        let captures = captures.collect::<Result<Vec<_>, _>>().map_err(external)?;
        for recording in recordings(captures, Capture::metadata) {
            let mut counts = Counts::default();
            for mut capture in recording {
                let damaged = |name: &str, error| external(Error::File { file: name.to_owned(), error });
                while let Some(batch) =
                    capture.next_record_batch().map_err(|error| damaged(capture.name(), error))?
                {
                    let made = counts.rows(&batch, &capture)?;
                    if !made.is_empty() {
                        rows.send(columns::batch(COLUMNS, asked, &made)?);
                    }
                    if rows.stopped() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// What was lost to each cause so far.
#[derive(Default)]
struct Counts(BTreeMap<Arc<str>, u64>);

impl Counts {
    /// The rows that a batch of events adds: of those that have a cause.
    fn rows(&mut self, batch: &RecordBatch, capture: &Capture) -> Result<Vec<Row>> {
        let column = |name: &str, data_type: &DataType| match batch.column_by_name(name) {
            Some(column) => cast(column, data_type),
            None => Ok(new_null_array(data_type, batch.num_rows())),
        };
        let causes = column("cause", &DataType::Utf8)?;
        let (causes, times) = (causes.as_string::<i32>(), column("ts_ns", &DataType::UInt64)?);
        let (times, totals) = (times.as_primitive::<UInt64Type>(), column("count", &DataType::UInt64)?);
        let (totals, carried) = (totals.as_primitive::<UInt64Type>(), column("carried", &DataType::Boolean)?);
        let carried = carried.as_boolean();
        let (file, host) = (Arc::<str>::from(capture.name()), Arc::<str>::from(capture.hosts().join(",")));
        let clock = capture.metadata().clock();
        let mut made = Vec::new();
        for row in (0..batch.num_rows()).filter(|&row| causes.is_valid(row) && totals.is_valid(row)) {
            let (cause, count) = (causes.value(row), totals.value(row));
            let known = self.0.get_key_value(cause).map(|(cause, count)| (Arc::clone(cause), *count));
            let (cause, before) = match known {
                Some(known) => known,
                None if self.0.len() >= MAX_CAUSES => continue,
                None => (Arc::from(cause), 0),
            };
            self.0.insert(Arc::clone(&cause), count);
            // What was lost in an earlier part is that part's.
            if !(carried.is_valid(row) && carried.value(row)) {
                made.push(Row {
                    file: Arc::clone(&file),
                    host: Arc::clone(&host),
                    time: clock.wall_ns(times.value(row)),
                    cause,
                    count,
                    increase: count.saturating_sub(before),
                });
            }
        }
        Ok(made)
    }
}
