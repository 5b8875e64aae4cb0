//! SQL over captures: `requests`, which replays the files as it is read, and `events`, which is the files.
//!
//! A query is planned for one partition, so that the same query on the same files gives the same bytes.

mod events_stream;
mod events_table;
mod output;
mod prompt;
mod requests_table;
pub(crate) mod rows;

use std::{
    any::Any,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use beyla_schema::arrow::{events, requests};
use datafusion::{
    catalog::TableProvider,
    execution::context::{SessionConfig, SessionContext},
    sql::parser::{DFParser, Statement},
};
use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};

pub use output::Format;

use self::{
    events_stream::EventsStream, events_table::EventsTable, output::Output, requests_table::RequestsTable,
};
use crate::{
    Error,
    parts::recordings,
    replay::{Input, Nothing, Summary, replay_all},
};

/// What the longest scan so far found the files to hold.
type Findings = Arc<Mutex<Vec<Summary>>>;

/// How results are shown.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// The format of results.
    pub format: Format,
    /// Whether tables are coloured.
    pub colour: bool,
    /// Whether a progress bar may be shown: not when rows go to the same terminal.
    pub progress: bool,
}

/// The tables of some captures, ready for queries.
pub struct Session {
    context: SessionContext,
    runtime: Runtime,
    input: Arc<Input>,
    findings: Findings,
    show: Show,
}

impl Session {
    /// Opens every file once, so that what cannot be read is known before the first query.
    pub fn new(input: Input, show: Show) -> Result<Self, Error> {
        let captures: Vec<_> = input.files.iter().cloned().zip(input.captures()?).collect();
        let unfinished = captures.iter().any(|(_, capture)| capture.unfinished());
        let recordings = recordings(captures, |(_, capture)| capture.metadata());
        let files = recordings.into_iter().flatten().map(|(path, _)| path).collect();
        let (input, findings) = (Arc::new(Input { files, ..input }), Findings::default());
        let config = SessionConfig::new().with_target_partitions(1).with_information_schema(true);
        let context = SessionContext::new_with_config(config);
        let requests = RequestsTable::new(Arc::clone(&input), Arc::clone(&findings), show.progress);
        context.register_table("requests", Arc::new(requests))?;
        let events: Arc<dyn TableProvider> = if unfinished {
            Arc::new(EventsStream::new(Arc::clone(&input)))
        } else {
            Arc::new(EventsTable::new(&input.files)?)
        };
        context.register_table("events", events)?;
        // Plans run on the calling thread and replays on one of the blocking pool; the worker is there to see
        // Ctrl-C while both are busy.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { context, runtime, input, findings, show })
    }

    /// Runs the statements of `sql`, separated by semicolons, and writes their results.
    pub fn run(&self, sql: &str, out: &mut impl Write) -> Result<(), Error> {
        let statements = DFParser::parse_sql(sql)?;
        guard(|| self.runtime.block_on(self.run_all(statements, out))).map(|_| ())
    }

    /// Reads statements from a prompt until the user leaves.
    pub fn prompt(&self, out: &mut impl Write) -> Result<(), Error> {
        prompt::run(self, out)
    }

    /// What full scans of `requests` have found so far, in the order of the replay.
    pub fn findings(&self) -> Vec<Summary> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What every file holds: found by the queries, or by one more replay.
    pub fn summaries(&self) -> Result<Vec<Summary>, Error> {
        let found = self.findings();
        if found.len() == self.input.files.len() {
            return Ok(found);
        }
        Ok(replay_all(self.input.captures()?, &self.input.rules, &mut Nothing, true))
    }

    /// Runs statements one after the other, and counts the rows of their results.
    async fn run_all(
        &self,
        statements: impl IntoIterator<Item = Statement>,
        out: &mut impl Write,
    ) -> Result<usize, Error> {
        let mut rows = 0;
        for statement in statements {
            let plan = self.context.state().statement_to_plan(statement).await?;
            let frame = self.context.execute_logical_plan(plan).await?;
            let schema = Arc::clone(frame.schema().inner());
            // Statements such as SET and CREATE VIEW have no result to show.
            let has_result = !schema.fields().is_empty();
            let mut output = Output::new(schema, self.show);
            let mut batches = frame.execute_stream().await?;
            while let Some(batch) = batches.next().await {
                let batch = batch?;
                rows += batch.num_rows();
                output.write(&batch, out)?;
            }
            if has_result {
                output.finish(out)?;
            }
        }
        Ok(rows)
    }
}

/// Runs a query in which the decoders of the Parquet library may panic: they index out of bounds on some
/// damaged pages.
fn guard<T>(query: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // A panicked plan is dropped whole, and the session holds nothing that a plan changes halfway.
    catch_unwind(AssertUnwindSafe(query))
        .unwrap_or_else(|panic| Err(Error::Undecodable(panic_message(&*panic).to_owned())))
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// The tables with their columns and types.
fn tables() -> [(&'static str, Vec<(String, String)>); 2] {
    [("requests", requests::schema()), ("events", events::schema())].map(|(name, schema)| {
        let columns = schema.fields().iter();
        (name, columns.map(|field| (field.name().clone(), output::type_name(field.data_type()))).collect())
    })
}
