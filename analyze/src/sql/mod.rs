//! SQL over captures: `requests`, which replays the files as it is read, `connections`, `losses` and `processes`, which read
//! the few columns they need, and `events`, which is the files; views of these under other names; and functions for what
//! people ask.
//!
//! A query is planned for one partition, so that the same query on the same files gives the same bytes.

mod catalog;
mod functions;
mod output;
mod predicate;
mod prompt;
mod query;
pub(crate) mod rows;
mod scan;
mod tables;
mod views;
mod yielding;

use std::{
    any::Any,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use datafusion::{
    catalog::TableProvider,
    execution::{
        context::{SessionConfig, SessionContext},
        memory_pool::FairSpillPool,
        runtime_env::RuntimeEnvBuilder,
        session_state::SessionStateBuilder,
    },
    sql::parser::DFParser,
};
use tokio::runtime::{Builder, Runtime};

pub(crate) use output::lines;
pub use output::{Format, Target};

use self::{
    scan::MadeTable,
    tables::{Connections, EventsTable, Losses, Requests, UnfinishedEvents},
};
use crate::{
    Error, demo,
    parts::recordings,
    replay::{Input, Nothing, Summary, replay_all},
};

/// What the longest scan so far found the files to hold.
type Findings = Arc<Mutex<Vec<Summary>>>;

/// Bytes that sorts, groups and joins of a query may hold. Sorts and groups beyond it go to temporary files, joins fail.
const MEMORY_LIMIT: usize = 512 << 20;

/// How results are shown.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// The format of results.
    pub format: Format,
    /// Whether tables are coloured.
    pub colour: bool,
    /// Whether a progress bar may be shown: not when rows go to the same terminal.
    pub progress: bool,
    /// Whether tables have a column a line.
    pub expanded: bool,
}

/// The tables of some captures, ready for queries.
pub struct Session {
    context: SessionContext,
    runtime: Runtime,
    input: Arc<Input>,
    findings: Findings,
    /// Summaries of a replay of all files.
    summaries: usize,
    show: Show,
}

impl Session {
    /// Opens every file once, so that what cannot be read is known before the first query.
    pub fn new(input: Input, show: Show) -> Result<Self, Error> {
        let captures: Vec<_> = input.files.iter().cloned().zip(input.captures()?).collect();
        let no_files = captures.iter().any(|(path, capture)| capture.unfinished() || demo::is_meant(path));
        let summaries = captures.iter().map(|(_, capture)| capture.captures()).sum();
        let recordings = recordings(captures, |(_, capture)| capture.metadata());
        let (files, hosts): (Vec<_>, Vec<_>) =
            recordings.into_iter().flatten().map(|(path, capture)| (path, capture.hosts().join(","))).unzip();
        let (input, findings) = (Arc::new(Input { files, ..input }), Findings::default());
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_information_schema(true)
            .set_str("datafusion.explain.format", "indent");
        let memory = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_LIMIT)));
        let state = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_runtime_env(memory.build_arc()?)
            .with_physical_optimizer_rule(Arc::new(yielding::YieldingJoins));
        // Exports, and whatever else is Parquet, can be asked by their names in quotes.
        let context = SessionContext::new_with_state(state.build()).enable_url_table();
        functions::register(&context, &input.rules);
        let events: Arc<dyn TableProvider> = if no_files {
            MadeTable::new(UnfinishedEvents(Arc::clone(&input)))
        } else {
            let files = input.files.iter().zip(&hosts);
            Arc::new(EventsTable::new(files.map(|(path, host)| (path.as_path(), host.as_str())))?)
        };
        let requests = Requests::new(Arc::clone(&input), Arc::clone(&findings), show.progress);
        let tables: [(&str, Arc<dyn TableProvider>); 4] = [
            ("requests", MadeTable::new(requests)),
            ("connections", MadeTable::new(Connections(Arc::clone(&input)))),
            ("losses", MadeTable::new(Losses(Arc::clone(&input)))),
            ("events", events),
        ];
        for (name, table) in tables {
            context.register_table(name, table)?;
        }
        // Plans run on one worker and replays on threads of their own; the other worker is there to see Ctrl-C.
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        for view in views::VIEWS {
            runtime.block_on(context.sql(view))?;
        }
        Ok(Self { context, runtime, input, findings, summaries, show })
    }

    /// Runs the statements of `sql`, separated by semicolons, and writes their results.
    pub fn run(&self, sql: &str, out: &mut impl Write) -> Result<(), Error> {
        let statements = DFParser::parse_sql(sql)?;
        guard(|| self.runtime.block_on(query::run_all(&self.context, statements, self.show, out))).map(|_| ())
    }

    /// Reads statements from a prompt until the user leaves.
    pub fn prompt(&self, out: &mut impl Write) -> Result<(), Error> {
        prompt::run(self, out)
    }

    /// Ends without waiting for queries that were stopped: what is at work on a batch of rows ends with that, which may
    /// take arbitrarily long.
    pub fn leave(self) {
        self.runtime.shutdown_background();
    }

    /// What full scans of `requests` have found so far, in the order of the replay.
    pub fn findings(&self) -> Vec<Summary> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What every file holds: found by the queries, or by one more replay.
    pub fn summaries(&self) -> Result<Vec<Summary>, Error> {
        let found = self.findings();
        if found.len() == self.summaries {
            return Ok(found);
        }
        Ok(replay_all(self.input.captures()?, &self.input.rules, &mut Nothing, true))
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
