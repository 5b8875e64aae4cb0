//! The `connections` table: one row for each connection, made of its events in one pass over the files. What is kept is of
//! the connections that are open at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray},
    compute::cast,
    datatypes::UInt32Type,
};
use beyla_schema::{
    arrow::events::EventBatch,
    event::{BY_TLS, Body, Clock, Event},
    file::Error as FileError,
};
use datafusion::{
    arrow::datatypes::{DataType, SchemaRef},
    error::{DataFusionError, Result},
};

use super::{
    columns,
    connections_row::{COLUMNS, Connection, Place},
};
use crate::{
    Error,
    parts::recordings,
    replay::{Capture, Input},
    sql::scan::{Asked, Make, Rows},
};

/// The columns of the files that are read: no bytes of payloads.
const READ: &[&str] = &[
    "pid",
    "tid",
    "connection",
    "action",
    "direction",
    "source",
    "position",
    "length",
    "captured",
    "transport",
    "local_address",
    "local_port",
    "remote_address",
    "remote_port",
    "received",
    "sent",
    "service",
    "carried",
    "cause",
    "count",
];

/// Rows of a batch.
const BATCH_ROWS: usize = 4096;

/// How long a connection that was closed waits for what was read of it before and is told after, nanoseconds.
const LINGER_NS: u64 = 1_000_000_000;

/// Connections that may be open at a time.
const MAX_OPEN: usize = 1 << 20;

/// Processes whose services are remembered.
const MAX_PROCESSES: usize = 1 << 16;

/// The files whose connections these are.
#[derive(Debug)]
pub(in crate::sql) struct Connections(pub(in crate::sql) Arc<Input>);

impl Make for Connections {
    fn scan_name(&self) -> &'static str {
        "ConnectionsScan"
    }

    fn schema(&self) -> SchemaRef {
        columns::schema(COLUMNS)
    }

    fn files(&self) -> usize {
        self.0.files.len()
    }

    fn make(&self, asked: &Asked, mut rows: Rows) -> Result<()> {
        let captures = self.0.files.iter().map(|path| Capture::open_columns(path, READ));
        let captures = captures.collect::<Result<Vec<_>, _>>();
        let captures = captures.map_err(|error| DataFusionError::External(error.into()))?;
        for recording in recordings(captures, Capture::metadata) {
            let mut open = Open::new(asked, &mut rows);
            for capture in recording {
                open.read(capture)?;
                if open.rows.stopped() {
                    return Ok(());
                }
            }
            open.finish()?;
        }
        Ok(())
    }
}

/// The connections that are open, and those that were closed a moment ago.
struct Open<'o> {
    asked: &'o Asked,
    rows: &'o mut Rows,
    place: Option<Place>,
    clock: Clock,
    services: BTreeMap<u32, Arc<str>>,
    connections: BTreeMap<u64, Connection>,
    /// When those that wait were closed, in that order.
    closed: VecDeque<(u64, u64)>,
    made: Vec<Connection>,
}

impl<'o> Open<'o> {
    fn new(asked: &'o Asked, rows: &'o mut Rows) -> Self {
        Self {
            asked,
            rows,
            place: None,
            clock: Clock::default(),
            services: BTreeMap::new(),
            connections: BTreeMap::new(),
            closed: VecDeque::new(),
            made: Vec::new(),
        }
    }

    /// Takes the events of a file.
    fn read(&mut self, mut capture: Capture) -> Result<()> {
        let place = Place { file: capture.name().into(), host: capture.hosts().join(",").into() };
        (self.place, self.clock) = (Some(place), capture.metadata().clock());
        let failed = |name: &str, error| {
            DataFusionError::External(Error::File { file: name.to_owned(), error }.into())
        };
        let mut read = 0;
        while let Some(batch) = capture.next_record_batch().map_err(|error| failed(capture.name(), error))? {
            let captured = batch.column_by_name("captured");
            let captured = captured.map(|column| cast(column, &DataType::UInt32)).transpose()?;
            let captured = captured.as_ref().map(AsArray::as_primitive::<UInt32Type>);
            let events = EventBatch::new(&batch)?;
            for row in 0..events.rows() {
                let event = events.event(row).map_err(|reason| {
                    failed(capture.name(), FileError::Row { row: read + row as u64, reason })
                })?;
                let captured = captured.filter(|column| column.is_valid(row)).map(|column| column.value(row));
                if let Some(event) = event {
                    self.event(&event, captured)?;
                }
            }
            read += events.rows() as u64;
            if self.rows.stopped() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &Event<'_>, captured: Option<u32>) -> Result<()> {
        while let Some((_, number)) =
            self.closed.pop_front_if(|(at, _)| event.ts_ns.saturating_sub(*at) > LINGER_NS)
        {
            self.complete(number)?;
        }
        let time = self.clock.wall_ns(event.ts_ns);
        match &event.body {
            Body::Process(process)
                if !process.service.is_empty()
                    && (self.services.len() < MAX_PROCESSES || self.services.contains_key(&event.pid)) =>
            {
                self.services.insert(event.pid, process.service.into());
            }
            // Plaintext whose socket is not known is of no connection.
            Body::Open(_) | Body::Data(_) | Body::Close(_) if event.connection & BY_TLS != 0 => {}
            Body::Open(open) => self.of(event, time)?.open(event, open, time),
            Body::Data(data) => self.of(event, time)?.data(event, data, captured, time),
            Body::Close(close) => {
                let connection = self.of(event, time)?;
                let again = connection.is_closed();
                connection.close(close, time);
                if close.direction.is_none() && !again {
                    self.closed.push_back((event.ts_ns, event.connection));
                }
            }
            _ => {}
        }
        if let Some(connection) = self.connections.get_mut(&event.connection)
            && !connection.has_service()
        {
            connection.serve(self.services.get(&connection.pid()));
        }
        Ok(())
    }

    /// The connection of an event.
    fn of(&mut self, event: &Event<'_>, time: i64) -> Result<&mut Connection> {
        if self.connections.len() >= MAX_OPEN && !self.connections.contains_key(&event.connection) {
            let reason =
                format!("more than {MAX_OPEN} connections are open at a time: ask `events` about them");
            return Err(DataFusionError::ResourcesExhausted(reason));
        }
        let new = || Connection::new(event.connection, time);
        Ok(self.connections.entry(event.connection).or_insert_with(new))
    }

    /// There is no more to a connection.
    fn complete(&mut self, number: u64) -> Result<()> {
        if let Some(connection) = self.connections.remove(&number) {
            self.hand_out(connection)?;
        }
        Ok(())
    }

    fn hand_out(&mut self, mut connection: Connection) -> Result<()> {
        if let Some(place) = &self.place {
            connection.place(place);
        }
        self.made.push(connection);
        if self.made.len() >= BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if !self.made.is_empty() {
            self.rows.send(columns::batch(COLUMNS, self.asked, &self.made)?);
            self.made.clear();
        }
        Ok(())
    }

    /// There are no more events: those that are left come in the order of their first event.
    fn finish(mut self) -> Result<()> {
        while let Some((_, number)) = self.closed.pop_front() {
            self.complete(number)?;
        }
        let mut left: Vec<_> = std::mem::take(&mut self.connections).into_values().collect();
        left.sort_by_key(|connection| (connection.first(), connection.number()));
        for connection in left {
            self.hand_out(connection)?;
        }
        self.flush()
    }
}
