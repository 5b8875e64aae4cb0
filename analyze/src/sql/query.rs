//! Runs statements. Their plans run on a worker of the runtime, and whoever waits for the rows here can stop at any moment:
//! what is under way is dropped, and with it the threads that make rows.

use std::io::Write;

use datafusion::{
    common::runtime::SpawnedTask,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, context::SessionContext},
    physical_plan::stream::RecordBatchReceiverStreamBuilder,
    sql::parser::Statement,
};
use futures::StreamExt;

use super::{Show, output};
use crate::Error;

/// Batches that may wait to be written.
const WAITING: usize = 2;

/// Runs statements one after the other, writes their results, and counts the rows of those.
pub(super) async fn run_all(
    context: &SessionContext,
    statements: impl IntoIterator<Item = Statement>,
    show: Show,
    out: &mut impl Write,
) -> Result<usize, Error> {
    let (mut rows, mut results) = (0, 0);
    for statement in statements {
        let started = SpawnedTask::spawn(start(context.clone(), statement));
        let stream = started.join_unwind().await.map_err(|error| Error::Undecodable(error.to_string()))??;
        let schema = stream.schema();
        // Statements such as SET and CREATE VIEW have no result to show.
        let has_result = !schema.fields().is_empty();
        results += usize::from(has_result);
        if results > 1 && show.format.is_binary() {
            let reason = "a file of Parquet or Arrow holds one result: give each statement its own";
            return Err(Error::TooMuch(reason.to_owned()));
        }
        let mut encoder = has_result.then(|| output::encoder(schema, show)).transpose()?;
        let mut batches = elsewhere(stream);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(explained)?;
            rows += batch.num_rows();
            if let Some(encoder) = &mut encoder {
                encoder.write(&batch, out)?;
            }
        }
        if let Some(encoder) = encoder {
            encoder.finish(out)?;
            out.flush()?;
        }
    }
    Ok(rows)
}

/// Plans a statement and begins to run it.
async fn start(context: SessionContext, statement: Statement) -> Result<SendableRecordBatchStream, Error> {
    let plan = context.state().statement_to_plan(statement).await?;
    let frame = context.execute_logical_plan(plan).await.map_err(explained)?;
    Ok(frame.execute_stream().await?)
}

/// The rows of `stream`, which runs on a worker.
fn elsewhere(mut stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStreamBuilder::new(stream.schema(), WAITING);
    let batches = builder.tx();
    builder.spawn(async move {
        while let Some(batch) = stream.next().await {
            let failed = batch.is_err();
            if batches.send(batch).await.is_err() || failed {
                break;
            }
        }
        Ok(())
    });
    builder.build()
}

/// An error, and what can be done about it.
fn explained(error: DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(reason) => {
            let reason = reason.lines().next().unwrap_or_default();
            let hint = "`set datafusion.runtime.memory_limit = '2G';` before the query allows more";
            Error::TooMuch(format!("the query needs more memory than it may have ({reason}): {hint}"))
        }
        _ => Error::Sql(error),
    }
}
