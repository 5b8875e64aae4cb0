//! Fills the columns of an event file.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, PrimitiveBuilder, RecordBatch, StringBuilder,
        TimestampNanosecondBuilder,
    },
    datatypes::{ArrowPrimitiveType, UInt16Type, UInt32Type, UInt64Type},
    error::ArrowError,
};

use super::{Kind, schema};
use crate::{
    arrow::{Sparse as _, append_text, words::WordsBuilder},
    event::{Body, Call, Change, Clock, Close, Data, Direction, Endpoint, Event, Process, Source, Transport},
};

/// Collects events into record batches with the columns of [`schema`].
///
/// Most rows are calls, which have nothing in half of the columns: a column is only touched by rows that have a
/// value for it, and what it lacks is filled with nulls when the next value comes, or the end.
pub struct Builder {
    clock: Clock,
    rows: usize,
    bytes: usize,
    kind: WordsBuilder<Kind>,
    time: TimestampNanosecondBuilder,
    ts_ns: PrimitiveBuilder<UInt64Type>,
    cpu: PrimitiveBuilder<UInt16Type>,
    seq: PrimitiveBuilder<UInt64Type>,
    pid: PrimitiveBuilder<UInt32Type>,
    tid: PrimitiveBuilder<UInt32Type>,
    connection: PrimitiveBuilder<UInt64Type>,
    action: StringBuilder,
    direction: WordsBuilder<Direction>,
    source: WordsBuilder<Source>,
    call: WordsBuilder<Call>,
    position: PrimitiveBuilder<UInt64Type>,
    ready_ns: PrimitiveBuilder<UInt64Type>,
    goroutine: PrimitiveBuilder<UInt64Type>,
    length: PrimitiveBuilder<UInt32Type>,
    captured: PrimitiveBuilder<UInt32Type>,
    payload: BinaryBuilder,
    tail: BinaryBuilder,
    transport: WordsBuilder<Transport>,
    local: EndpointBuilder,
    remote: EndpointBuilder,
    received: PrimitiveBuilder<UInt64Type>,
    sent: PrimitiveBuilder<UInt64Type>,
    parent: PrimitiveBuilder<UInt32Type>,
    executable: StringBuilder,
    service: StringBuilder,
    started: TimestampNanosecondBuilder,
    command_line: StringBuilder,
    cgroup: StringBuilder,
    container: StringBuilder,
    runtime: StringBuilder,
    cause: StringBuilder,
    count: PrimitiveBuilder<UInt64Type>,
    carried: BooleanBuilder,
}

/// Sets a number of a column that not every row has a value for.
fn set<T: ArrowPrimitiveType>(column: &mut PrimitiveBuilder<T>, row: usize, value: T::Native) {
    column.pad(row);
    column.append_value(value);
}

/// Sets a text, unless it is empty: then nothing is known.
fn set_text(column: &mut StringBuilder, row: usize, text: &str) {
    if !text.is_empty() {
        column.pad(row);
        column.append_value(text);
    }
}

#[derive(Default)]
struct EndpointBuilder {
    address: StringBuilder,
    port: PrimitiveBuilder<UInt16Type>,
}

impl EndpointBuilder {
    fn set(&mut self, row: usize, endpoint: Endpoint<'_>) {
        match endpoint {
            Endpoint::Unix(path) => set_text(&mut self.address, row, path),
            Endpoint::Inet(address) => {
                self.address.pad(row);
                append_text(&mut self.address, Some(address.ip()));
                set(&mut self.port, row, address.port());
            }
        }
    }
}

impl Builder {
    /// An empty builder; `clock` fills the `time` column.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            rows: 0,
            bytes: 0,
            kind: WordsBuilder::new(Kind::ALL, Kind::name),
            time: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            ts_ns: PrimitiveBuilder::new(),
            cpu: PrimitiveBuilder::new(),
            seq: PrimitiveBuilder::new(),
            pid: PrimitiveBuilder::new(),
            tid: PrimitiveBuilder::new(),
            connection: PrimitiveBuilder::new(),
            action: StringBuilder::new(),
            direction: WordsBuilder::new(Direction::ALL, Direction::name),
            source: WordsBuilder::new(Source::ALL, Source::name),
            call: WordsBuilder::new(Call::ALL, Call::name),
            position: PrimitiveBuilder::new(),
            ready_ns: PrimitiveBuilder::new(),
            goroutine: PrimitiveBuilder::new(),
            length: PrimitiveBuilder::new(),
            captured: PrimitiveBuilder::new(),
            payload: BinaryBuilder::new(),
            tail: BinaryBuilder::new(),
            transport: WordsBuilder::new(Transport::ALL, Transport::name),
            local: EndpointBuilder::default(),
            remote: EndpointBuilder::default(),
            received: PrimitiveBuilder::new(),
            sent: PrimitiveBuilder::new(),
            parent: PrimitiveBuilder::new(),
            executable: StringBuilder::new(),
            service: StringBuilder::new(),
            started: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            command_line: StringBuilder::new(),
            cgroup: StringBuilder::new(),
            container: StringBuilder::new(),
            runtime: StringBuilder::new(),
            cause: StringBuilder::new(),
            count: PrimitiveBuilder::new(),
            carried: BooleanBuilder::new(),
        }
    }

    /// Events collected since the last [`finish`](Self::finish).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Payload bytes collected since the last [`finish`](Self::finish).
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event.
    pub fn append(&mut self, event: &Event<'_>) {
        let Event { ts_ns, cpu, seq, pid, tid, connection, carried, body } = *event;
        let row = self.rows;
        self.rows += 1;
        self.time.append_value(self.clock.wall_ns(ts_ns));
        self.ts_ns.append_value(ts_ns);
        self.cpu.append_value(cpu);
        self.seq.append_value(seq);
        self.pid.append_option((pid != 0).then_some(pid));
        self.tid.append_option((tid != 0).then_some(tid));
        self.connection.append_option((connection != 0).then_some(connection));
        if carried {
            self.carried.pad(row);
            self.carried.append_value(true);
        }
        let kind = match body {
            Body::Data(data) => {
                self.data(row, &data);
                Kind::Data
            }
            Body::Open(open) => {
                set_text(&mut self.action, row, open.origin.name());
                self.transport.set(row, open.transport as u8);
                self.local.set(row, open.local);
                self.remote.set(row, open.remote);
                Kind::Open
            }
            Body::Listen(listen) => {
                self.transport.set(row, listen.transport as u8);
                self.local.set(row, listen.address);
                Kind::Listen
            }
            Body::Close(Close { direction, received, sent }) => {
                if let Some(direction) = direction {
                    self.direction.set(row, direction as u8);
                }
                set(&mut self.received, row, received);
                set(&mut self.sent, row, sent);
                Kind::Close
            }
            Body::Process(process) => {
                self.process(row, &process);
                Kind::Process
            }
            Body::Loss(loss) => {
                set_text(&mut self.cause, row, loss.cause);
                set(&mut self.count, row, loss.count);
                Kind::Loss
            }
            Body::Seen(count) => {
                set(&mut self.count, row, count);
                Kind::Seen
            }
            Body::End(reason) => {
                set_text(&mut self.action, row, reason);
                Kind::End
            }
        };
        self.kind.append(kind as u8);
    }

    fn data(&mut self, row: usize, data: &Data<'_>) {
        let Data { direction, source, call, position, ready_ns, goroutine, length, payload, tail } = *data;
        self.direction.set(row, direction as u8);
        self.source.set(row, source as u8);
        self.call.set(row, call as u8);
        set(&mut self.position, row, position);
        if let Some(ready_ns) = ready_ns {
            set(&mut self.ready_ns, row, ready_ns);
        }
        if goroutine != 0 {
            set(&mut self.goroutine, row, goroutine);
        }
        set(&mut self.length, row, length);
        set(&mut self.captured, row, (payload.len() + tail.len()) as u32);
        self.payload.pad(row);
        self.payload.append_value(payload);
        if !tail.is_empty() {
            self.tail.pad(row);
            self.tail.append_value(tail);
        }
        self.bytes += payload.len() + tail.len();
    }

    fn process(&mut self, row: usize, process: &Process<'_>) {
        set_text(&mut self.action, row, process.change.map_or("found", Change::name));
        if process.parent != 0 {
            set(&mut self.parent, row, process.parent);
        }
        if let Some(started_ns) = process.started_ns {
            set(&mut self.started, row, started_ns);
        }
        set_text(&mut self.executable, row, process.executable);
        set_text(&mut self.service, row, process.service);
        set_text(&mut self.command_line, row, process.command_line);
        set_text(&mut self.cgroup, row, process.cgroup);
        set_text(&mut self.container, row, process.container);
        set_text(&mut self.runtime, row, process.runtime);
    }

    /// Hands out what was collected and begins anew.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            self.kind.finish(rows)?,
            Arc::new(self.time.finish()),
            Arc::new(self.ts_ns.finish()),
            Arc::new(self.cpu.finish()),
            Arc::new(self.seq.finish()),
            Arc::new(self.pid.finish()),
            Arc::new(self.tid.finish()),
            Arc::new(self.connection.finish()),
            text(&mut self.action, rows),
            self.direction.finish(rows)?,
            self.source.finish(rows)?,
            self.call.finish(rows)?,
            number(&mut self.position, rows),
            number(&mut self.ready_ns, rows),
            number(&mut self.goroutine, rows),
            number(&mut self.length, rows),
            number(&mut self.captured, rows),
            bytes(&mut self.payload, rows),
            bytes(&mut self.tail, rows),
            self.transport.finish(rows)?,
            text(&mut self.local.address, rows),
            number(&mut self.local.port, rows),
            text(&mut self.remote.address, rows),
            number(&mut self.remote.port, rows),
            number(&mut self.received, rows),
            number(&mut self.sent, rows),
            number(&mut self.parent, rows),
            text(&mut self.executable, rows),
            text(&mut self.service, rows),
            number(&mut self.started, rows),
            text(&mut self.command_line, rows),
            text(&mut self.cgroup, rows),
            text(&mut self.container, rows),
            text(&mut self.runtime, rows),
            text(&mut self.cause, rows),
            number(&mut self.count, rows),
            flag(&mut self.carried, rows),
        ];
        RecordBatch::try_new(schema(), columns)
    }
}

fn number<T: ArrowPrimitiveType>(column: &mut PrimitiveBuilder<T>, rows: usize) -> ArrayRef {
    column.pad(rows);
    Arc::new(column.finish())
}

fn text(column: &mut StringBuilder, rows: usize) -> ArrayRef {
    column.pad(rows);
    Arc::new(column.finish())
}

/// Bytes are most of what is collected: there is room for as many in the next batch, which would else be copied as it grows.
fn bytes(column: &mut BinaryBuilder, rows: usize) -> ArrayRef {
    column.pad(rows);
    let next = BinaryBuilder::with_capacity(rows, column.values_slice().len());
    Arc::new(std::mem::replace(column, next).finish())
}

fn flag(column: &mut BooleanBuilder, rows: usize) -> ArrayRef {
    column.pad(rows);
    Arc::new(column.finish())
}
