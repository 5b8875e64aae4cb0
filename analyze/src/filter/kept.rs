//! Which connections a filter keeps, so that the requests on those that were asked for stay what they are.
//!
//! What the engine says of a request depends on more than its connection in two places. An outbound request is the child
//! of an inbound one when no other could be meant: so the inbound connections that a process was at work on meanwhile are
//! kept with its outbound ones. A TLS session whose socket the recorder did not see is tied to the only connection that its
//! thread was at work on: so of a process with such sessions everything is kept.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use beyla_engine::{Sink, route::Rules};
use beyla_schema::{
    arrow::events::schema,
    event::{BY_TLS, Body, Event},
    request::{Kind, Request, TlsMatch},
};
use datafusion::{
    arrow::{
        array::{Array, cast::AsArray},
        compute::cast,
        datatypes::{DataType, UInt64Type},
    },
    error::DataFusionError,
};

use crate::{
    Error,
    predicate::Predicate,
    progress::Progress,
    replay::{Capture, Consumer, Input},
    selection::Selection,
};

/// Connections, and the processes at work on them. Memory is a few bytes for each.
#[derive(Debug, Default)]
pub(super) struct Kept {
    connections: HashSet<u64>,
    pids: HashSet<u32>,
}

impl Kept {
    /// The connections of the requests that count which have a row for each of the expressions, and what they need.
    pub(super) fn find(input: &Input, rows: &[String]) -> Result<Self, Error> {
        let Some(path) = input.files.first() else { return Ok(Self::default()) };
        let mut asked_for: Option<HashSet<u64>> = None;
        let mut narrow = |found: HashSet<u64>| match &mut asked_for {
            Some(before) => before.retain(|id| found.contains(id)),
            None => asked_for = Some(found),
        };
        if !input.selection.is_all() {
            let mut of_requests = OfRequests::default();
            input.replay(&mut of_requests, true)?;
            narrow(of_requests.0);
        }
        for expression in rows {
            narrow(of_rows(path, &Predicate::new(expression, &schema())?)?);
        }
        let connections = asked_for.unwrap_or_default();

        // Paths that route rules ignore are requests all the same.
        let everything = Input { rules: Rules::default(), selection: Selection::default(), ..input.clone() };
        let mut calls = Calls { connections, ..Calls::default() };
        everything.replay(&mut calls, true)?;
        let Calls { connections, times, mut whole } = calls;
        let mut kept = Self { connections, pids: HashSet::new() };
        if !times.is_empty() {
            let mut callers = Callers { times, connections: &mut kept.connections, whole: &mut whole };
            everything.replay(&mut callers, true)?;
        }
        if !whole.is_empty() {
            each_fact(path, |event| {
                if event.connection != 0 && whole.contains(&event.pid) {
                    kept.connections.insert(event.connection);
                }
            })?;
        }
        each_fact(path, |event| {
            if event.pid != 0 && kept.connections.contains(&event.connection) {
                kept.pids.insert(event.pid);
            }
        })?;
        Ok(kept)
    }

    /// Whether this row is kept.
    pub(super) fn has(&self, event: &Event<'_>) -> bool {
        match event.body {
            Body::Loss(_) | Body::Seen(_) | Body::End(_) => true,
            Body::Process(_) => self.pids.contains(&event.pid),
            Body::Listen(_) => event.pid == 0 || self.pids.contains(&event.pid),
            Body::Open(_) | Body::Data(_) | Body::Close(_) => self.connections.contains(&event.connection),
        }
    }
}

/// The connections of requests.
#[derive(Default)]
struct OfRequests(HashSet<u64>);

impl Sink for OfRequests {
    fn request(&mut self, request: &Request<'_>) {
        self.0.insert(request.connection);
    }
}

impl Consumer for OfRequests {}

/// What outbound connections need, and TLS sessions that are tied to a connection by their times only.
#[derive(Default)]
struct Calls {
    connections: HashSet<u64>,
    /// From when to when the outbound connections of a process had requests.
    times: HashMap<u32, (u64, u64)>,
    /// Processes of which everything is needed.
    whole: HashSet<u32>,
}

impl Sink for Calls {
    fn request(&mut self, request: &Request<'_>) {
        if !self.connections.contains(&request.connection) {
            return;
        }
        if request.kind == Kind::Client {
            let (start, end) = (request.start_ns, request.ended_ns);
            let (first, last) = self.times.entry(request.pid).or_insert((start, end));
            (*first, *last) = ((*first).min(start), (*last).max(end));
        }
        if tied_by_time(request) {
            self.whole.insert(request.pid);
        }
    }
}

impl Consumer for Calls {}

/// The inbound connections on which something was going on at these times.
struct Callers<'k> {
    times: HashMap<u32, (u64, u64)>,
    connections: &'k mut HashSet<u64>,
    whole: &'k mut HashSet<u32>,
}

impl Sink for Callers<'_> {
    fn request(&mut self, request: &Request<'_>) {
        let Some((first, last)) = self.times.get(&request.pid) else { return };
        if request.kind == Kind::Server && request.start_ns <= *last && request.ended_ns >= *first {
            self.connections.insert(request.connection);
            if tied_by_time(request) {
                self.whole.insert(request.pid);
            }
        }
    }
}

impl Consumer for Callers<'_> {}

fn tied_by_time(request: &Request<'_>) -> bool {
    request.tls_match == Some(TlsMatch::Time) || request.connection & BY_TLS != 0
}

/// Connections with a row for which the expression is true.
fn of_rows(path: &Path, predicate: &Predicate) -> Result<HashSet<u64>, Error> {
    let mut capture = Capture::open_whole(path)?;
    let file = capture.name().to_owned();
    let mut progress = Progress::new(capture.rows(), true);
    let mut found = HashSet::new();
    loop {
        let batch = capture.next_record_batch();
        let Some(batch) = batch.map_err(|error| Error::File { file: file.clone(), error })? else {
            return Ok(found);
        };
        let Some(ids) = batch.column_by_name("connection") else { return Ok(found) };
        let ids = cast(ids, &DataType::UInt64).map_err(DataFusionError::from)?;
        let ids = ids.as_primitive::<UInt64Type>();
        let mut row = 0;
        predicate.ask_of_any(&batch, |holds| {
            if holds && ids.is_valid(row) {
                found.insert(ids.value(row));
            }
            row += 1;
        })?;
        progress.advance(batch.num_rows() as u64);
    }
}

/// Hands every event to `each`, without the bytes it moved.
fn each_fact(path: &Path, mut each: impl FnMut(&Event<'_>)) -> Result<(), Error> {
    let capture = Capture::open_facts(path)?;
    let mut progress = Progress::new(capture.rows(), true);
    capture.each_event(&mut progress, |event| {
        each(event);
        true
    })
}
