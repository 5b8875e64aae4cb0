//! The `losses` table: what was lost to each cause, as the files tell over time.

use std::{collections::BTreeMap, sync::Arc};

use beyla_schema::event::{Body, loses_records};
use datafusion::{
    arrow::datatypes::SchemaRef,
    error::{DataFusionError, Result},
};

use super::columns::{self, Columns, Get};
use crate::{
    parts::recordings,
    progress::Progress,
    replay::{Capture, Input},
    sql::scan::{Asked, Make, Rows},
};

/// The columns of the files that are read.
const READ: &[&str] = &["cause", "count", "carried"];

/// Rows of a batch.
const BATCH_ROWS: usize = 1024;

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
        let external = |error: crate::Error| DataFusionError::External(error.into());
        let captures = self.0.files.iter().map(|path| Capture::open_columns(path, READ));
        let captures = captures.collect::<Result<Vec<_>, _>>().map_err(external)?;
        for recording in recordings(captures, Capture::metadata) {
            let mut counts = BTreeMap::<Arc<str>, u64>::new();
            for capture in recording {
                let (file, host) = (Arc::from(capture.name()), Arc::from(capture.host()));
                let clock = capture.metadata().clock();
                let (mut made, mut failed) = (Vec::new(), Ok(()));
                let mut flush = |made: &mut Vec<Row>, rows: &mut Rows| {
                    if failed.is_ok() && !made.is_empty() {
                        match columns::batch(COLUMNS, asked, made) {
                            Ok(batch) => rows.send(batch),
                            Err(error) => failed = Err(error),
                        }
                    }
                    made.clear();
                };
                let each = capture.each_event(&mut Progress::new(0, false), |event| {
                    let Body::Loss(loss) = event.body else { return !rows.stopped() };
                    let known =
                        counts.get_key_value(loss.cause).map(|(cause, count)| (Arc::clone(cause), *count));
                    let (cause, before) = match known {
                        Some(known) => known,
                        None if counts.len() >= MAX_CAUSES => return true,
                        None => (Arc::from(loss.cause), 0),
                    };
                    counts.insert(Arc::clone(&cause), loss.count);
                    // What was lost in an earlier part is that part's.
                    if !event.carried {
                        made.push(Row {
                            file: Arc::clone(&file),
                            host: Arc::clone(&host),
                            time: clock.wall_ns(event.ts_ns),
                            cause,
                            count: loss.count,
                            increase: loss.count.saturating_sub(before),
                        });
                    }
                    if made.len() >= BATCH_ROWS {
                        flush(&mut made, &mut rows);
                    }
                    !rows.stopped()
                });
                flush(&mut made, &mut rows);
                failed?;
                each.map_err(external)?;
                if rows.stopped() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
