//! The columns of an event file: the builder that fills them, and the view that reads events back without
//! copying their bytes. `docs/format.md` tells the meaning of every column.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, PrimitiveArray, PrimitiveBuilder, RecordBatch,
        StringArray, StringBuilder, TimestampNanosecondBuilder,
    },
    compute::cast,
    datatypes::{
        ArrowPrimitiveType, DataType, Field, Schema, SchemaRef, TimeUnit, UInt16Type, UInt32Type, UInt64Type,
    },
    error::ArrowError,
};

use super::words::{self, Words, WordsBuilder};
use crate::event::{
    Body, Call, Change, Clock, Close, Data, Direction, Event, Loss, Open, Origin, Process, Source, names,
};

/// The kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Open,
    Data,
    Close,
    Listen,
    Process,
    Loss,
    End,
}

names!(Kind {
    Open = "open",
    Data = "data",
    Close = "close",
    Listen = "listen",
    Process = "process",
    Loss = "loss",
    End = "end",
});

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let required = |name: &str, data_type: DataType| Field::new(name, data_type, false);
    let optional = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        required("kind", words::data_type()),
        required("time", time),
        required("ts_ns", DataType::UInt64),
        required("cpu", DataType::UInt16),
        required("seq", DataType::UInt64),
        optional("pid", DataType::UInt32),
        optional("tid", DataType::UInt32),
        optional("connection", DataType::UInt64),
        optional("action", DataType::Utf8),
        optional("direction", words::data_type()),
        optional("source", words::data_type()),
        optional("call", words::data_type()),
        optional("position", DataType::UInt64),
        optional("ready_ns", DataType::UInt64),
        optional("length", DataType::UInt32),
        optional("captured", DataType::UInt32),
        optional("payload", DataType::Binary),
        optional("tail", DataType::Binary),
        optional("local_address", DataType::Utf8),
        optional("local_port", DataType::UInt16),
        optional("remote_address", DataType::Utf8),
        optional("remote_port", DataType::UInt16),
        optional("received", DataType::UInt64),
        optional("sent", DataType::UInt64),
        optional("parent", DataType::UInt32),
        optional("executable", DataType::Utf8),
        optional("service", DataType::Utf8),
        optional("cause", DataType::Utf8),
        optional("count", DataType::UInt64),
    ]))
});

/// The columns that pairing does not need; a replay leaves them undecoded.
pub const NOT_FOR_PAIRING: &[&str] = &["time", "captured", "parent", "executable"];

/// The schema of an event file.
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Collects events into record batches with the columns of [`schema`].
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
    length: PrimitiveBuilder<UInt32Type>,
    captured: PrimitiveBuilder<UInt32Type>,
    payload: BinaryBuilder,
    tail: BinaryBuilder,
    local: AddressBuilder,
    remote: AddressBuilder,
    received: PrimitiveBuilder<UInt64Type>,
    sent: PrimitiveBuilder<UInt64Type>,
    parent: PrimitiveBuilder<UInt32Type>,
    executable: StringBuilder,
    service: StringBuilder,
    cause: StringBuilder,
    count: PrimitiveBuilder<UInt64Type>,
}

#[derive(Default)]
struct AddressBuilder {
    address: StringBuilder,
    port: PrimitiveBuilder<UInt16Type>,
}

impl AddressBuilder {
    fn append(&mut self, value: Option<SocketAddr>) {
        match value {
            // Writing to a StringBuilder cannot fail; `append_value` ends the value.
            Some(value) => {
                let _ = write!(self.address, "{}", value.ip());
                self.address.append_value("");
            }
            None => self.address.append_null(),
        }
        self.port.append_option(value.map(|value| value.port()));
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
            length: PrimitiveBuilder::new(),
            captured: PrimitiveBuilder::new(),
            payload: BinaryBuilder::new(),
            tail: BinaryBuilder::new(),
            local: AddressBuilder::default(),
            remote: AddressBuilder::default(),
            received: PrimitiveBuilder::new(),
            sent: PrimitiveBuilder::new(),
            parent: PrimitiveBuilder::new(),
            executable: StringBuilder::new(),
            service: StringBuilder::new(),
            cause: StringBuilder::new(),
            count: PrimitiveBuilder::new(),
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
        let Event { ts_ns, cpu, seq, pid, tid, connection, body } = *event;
        let kind = match body {
            Body::Open(_) => Kind::Open,
            Body::Data(_) => Kind::Data,
            Body::Close(_) => Kind::Close,
            Body::Listen(_) => Kind::Listen,
            Body::Process(_) => Kind::Process,
            Body::Loss(_) => Kind::Loss,
            Body::End(_) => Kind::End,
        };
        self.rows += 1;
        self.kind.append(Some(kind as u8));
        self.time.append_value(self.clock.wall_ns(ts_ns));
        self.ts_ns.append_value(ts_ns);
        self.cpu.append_value(cpu);
        self.seq.append_value(seq);
        self.pid.append_option((pid != 0).then_some(pid));
        self.tid.append_option((tid != 0).then_some(tid));
        self.connection.append_option((connection != 0).then_some(connection));

        let data = if let Body::Data(data) = body { Some(data) } else { None };
        self.source.append(data.map(|data| data.source as u8));
        self.call.append(data.map(|data| data.call as u8));
        self.position.append_option(data.map(|data| data.position));
        self.ready_ns.append_option(data.and_then(|data| data.ready_ns));
        self.length.append_option(data.map(|data| data.length));
        self.captured.append_option(data.map(|data| (data.payload.len() + data.tail.len()) as u32));
        self.payload.append_option(data.map(|data| data.payload));
        self.tail.append_option(data.map(|data| data.tail).filter(|tail| !tail.is_empty()));
        self.bytes += data.map_or(0, |data| data.payload.len() + data.tail.len());

        let close = if let Body::Close(close) = body { Some(close) } else { None };
        self.received.append_option(close.map(|close| close.received));
        self.sent.append_option(close.map(|close| close.sent));
        let direction = data.map(|data| data.direction).or(close.and_then(|close| close.direction));
        self.direction.append(direction.map(|direction| direction as u8));

        let (local, remote) = match body {
            Body::Open(open) => (Some(open.local), Some(open.remote)),
            Body::Listen(local) => (Some(local), None),
            _ => (None, None),
        };
        self.local.append(local);
        self.remote.append(remote);

        let process = if let Body::Process(process) = body { Some(process) } else { None };
        self.parent.append_option(process.map(|process| process.parent).filter(|&parent| parent != 0));
        self.executable
            .append_option(process.map(|process| process.executable).filter(|text| !text.is_empty()));
        self.service.append_option(process.map(|process| process.service).filter(|text| !text.is_empty()));

        self.action.append_option(match body {
            Body::Open(open) => Some(open.origin.name()),
            Body::Process(process) => Some(process.change.map_or("found", Change::name)),
            Body::End(reason) => Some(reason),
            _ => None,
        });

        let loss = if let Body::Loss(loss) = body { Some(loss) } else { None };
        self.cause.append_option(loss.map(|loss| loss.cause));
        self.count.append_option(loss.map(|loss| loss.count));
    }

    /// Hands out what was collected and begins anew.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        self.bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            self.kind.finish()?,
            Arc::new(self.time.finish()),
            Arc::new(self.ts_ns.finish()),
            Arc::new(self.cpu.finish()),
            Arc::new(self.seq.finish()),
            Arc::new(self.pid.finish()),
            Arc::new(self.tid.finish()),
            Arc::new(self.connection.finish()),
            Arc::new(self.action.finish()),
            self.direction.finish()?,
            self.source.finish()?,
            self.call.finish()?,
            Arc::new(self.position.finish()),
            Arc::new(self.ready_ns.finish()),
            Arc::new(self.length.finish()),
            Arc::new(self.captured.finish()),
            Arc::new(self.payload.finish()),
            Arc::new(self.tail.finish()),
            Arc::new(self.local.address.finish()),
            Arc::new(self.local.port.finish()),
            Arc::new(self.remote.address.finish()),
            Arc::new(self.remote.port.finish()),
            Arc::new(self.received.finish()),
            Arc::new(self.sent.finish()),
            Arc::new(self.parent.finish()),
            Arc::new(self.executable.finish()),
            Arc::new(self.service.finish()),
            Arc::new(self.cause.finish()),
            Arc::new(self.count.finish()),
        ];
        RecordBatch::try_new(schema(), columns)
    }
}

/// A batch of rows, seen as events that borrow from it.
///
/// Columns that the batch lacks read as null, so a projection decides what is decoded.
pub struct EventBatch {
    rows: usize,
    kind: Words<Kind>,
    ts_ns: Column<UInt64Type>,
    cpu: Column<UInt16Type>,
    seq: Column<UInt64Type>,
    pid: Column<UInt32Type>,
    tid: Column<UInt32Type>,
    connection: Column<UInt64Type>,
    action: Option<StringArray>,
    direction: Words<Direction>,
    source: Words<Source>,
    call: Words<Call>,
    position: Column<UInt64Type>,
    ready_ns: Column<UInt64Type>,
    length: Column<UInt32Type>,
    payload: Option<BinaryArray>,
    tail: Option<BinaryArray>,
    local_address: Option<StringArray>,
    local_port: Column<UInt16Type>,
    remote_address: Option<StringArray>,
    remote_port: Column<UInt16Type>,
    received: Column<UInt64Type>,
    sent: Column<UInt64Type>,
    parent: Column<UInt32Type>,
    executable: Option<StringArray>,
    service: Option<StringArray>,
    cause: Option<StringArray>,
    count: Column<UInt64Type>,
}

/// A numeric column that may be absent.
struct Column<T: ArrowPrimitiveType>(Option<PrimitiveArray<T>>);

impl<T: ArrowPrimitiveType> Column<T> {
    fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        let column = batch.column_by_name(name).map(|column| cast(column, &T::DATA_TYPE)).transpose()?;
        Ok(Self(column.map(|column| column.as_primitive::<T>().clone())))
    }

    #[inline]
    fn get(&self, row: usize) -> Option<T::Native> {
        self.0.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row))
    }
}

fn texts(batch: &RecordBatch, name: &str) -> Result<Option<StringArray>, ArrowError> {
    let column = batch.column_by_name(name).map(|column| cast(column, &DataType::Utf8)).transpose()?;
    Ok(column.map(|column| column.as_string::<i32>().clone()))
}

fn binaries(batch: &RecordBatch, name: &str) -> Result<Option<BinaryArray>, ArrowError> {
    let column = batch.column_by_name(name).map(|column| cast(column, &DataType::Binary)).transpose()?;
    Ok(column.map(|column| column.as_binary::<i32>().clone()))
}

#[inline]
fn text(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

#[inline]
fn bytes(column: Option<&BinaryArray>, row: usize) -> &[u8] {
    column.filter(|column| column.is_valid(row)).map_or(&[], |column| column.value(row))
}

impl EventBatch {
    /// Looks at a batch. Columns of another width or encoding than ours are converted; a column that cannot
    /// be is an error.
    pub fn new(batch: &RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            rows: batch.num_rows(),
            kind: Words::read(batch, "kind", Kind::from_name)?,
            ts_ns: Column::read(batch, "ts_ns")?,
            cpu: Column::read(batch, "cpu")?,
            seq: Column::read(batch, "seq")?,
            pid: Column::read(batch, "pid")?,
            tid: Column::read(batch, "tid")?,
            connection: Column::read(batch, "connection")?,
            action: texts(batch, "action")?,
            direction: Words::read(batch, "direction", Direction::from_name)?,
            source: Words::read(batch, "source", Source::from_name)?,
            call: Words::read(batch, "call", Call::from_name)?,
            position: Column::read(batch, "position")?,
            ready_ns: Column::read(batch, "ready_ns")?,
            length: Column::read(batch, "length")?,
            payload: binaries(batch, "payload")?,
            tail: binaries(batch, "tail")?,
            local_address: texts(batch, "local_address")?,
            local_port: Column::read(batch, "local_port")?,
            remote_address: texts(batch, "remote_address")?,
            remote_port: Column::read(batch, "remote_port")?,
            received: Column::read(batch, "received")?,
            sent: Column::read(batch, "sent")?,
            parent: Column::read(batch, "parent")?,
            executable: texts(batch, "executable")?,
            service: texts(batch, "service")?,
            cause: texts(batch, "cause")?,
            count: Column::read(batch, "count")?,
        })
    }

    /// Rows in the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The event in `row`. None for a kind of row this version does not know.
    ///
    /// The error says what is wrong with the row.
    pub fn event(&self, row: usize) -> Result<Option<Event<'_>>, &'static str> {
        let Some(kind) = self.kind.get(row) else { return Ok(None) };
        let body = match kind {
            Kind::Data => Body::Data(self.data(row)?),
            Kind::Open => Body::Open(Open {
                origin: self.action(row).and_then(Origin::from_name).ok_or("open row without origin")?,
                local: address(self.local_address.as_ref(), &self.local_port, row)?,
                remote: address(self.remote_address.as_ref(), &self.remote_port, row)?,
            }),
            Kind::Listen => Body::Listen(address(self.local_address.as_ref(), &self.local_port, row)?),
            Kind::Close => Body::Close(Close {
                direction: self.direction.get(row),
                received: self.received.get(row).unwrap_or(0),
                sent: self.sent.get(row).unwrap_or(0),
            }),
            Kind::Process => Body::Process(Process {
                change: self.action(row).and_then(Change::from_name),
                parent: self.parent.get(row).unwrap_or(0),
                executable: text(self.executable.as_ref(), row).unwrap_or(""),
                service: text(self.service.as_ref(), row).unwrap_or(""),
            }),
            Kind::Loss => Body::Loss(Loss {
                cause: text(self.cause.as_ref(), row).ok_or("loss row without cause")?,
                count: self.count.get(row).ok_or("loss row without count")?,
            }),
            Kind::End => Body::End(self.action(row).ok_or("end row without reason")?),
        };
        Ok(Some(Event {
            ts_ns: self.ts_ns.get(row).ok_or("row without ts_ns")?,
            cpu: self.cpu.get(row).unwrap_or(0),
            seq: self.seq.get(row).unwrap_or(0),
            pid: self.pid.get(row).unwrap_or(0),
            tid: self.tid.get(row).unwrap_or(0),
            connection: self.connection.get(row).unwrap_or(0),
            body,
        }))
    }

    fn action(&self, row: usize) -> Option<&str> {
        text(self.action.as_ref(), row)
    }

    fn data(&self, row: usize) -> Result<Data<'_>, &'static str> {
        let data = Data {
            direction: self.direction.get(row).ok_or("data row without direction")?,
            source: self.source.get(row).ok_or("data row without source")?,
            call: self.call.get(row).unwrap_or(Call::Other),
            position: self.position.get(row).ok_or("data row without position")?,
            ready_ns: self.ready_ns.get(row),
            length: self.length.get(row).ok_or("data row without length")?,
            payload: bytes(self.payload.as_ref(), row),
            tail: bytes(self.tail.as_ref(), row),
        };
        if data.payload.len() + data.tail.len() > data.length as usize {
            return Err("data row with more bytes than its length");
        }
        if data.position.checked_add(data.length.into()).is_none() {
            return Err("data row whose position overflows");
        }
        Ok(data)
    }
}

fn address(
    addresses: Option<&StringArray>,
    ports: &Column<UInt16Type>,
    row: usize,
) -> Result<SocketAddr, &'static str> {
    let ip: IpAddr =
        text(addresses, row).and_then(|text| text.parse().ok()).ok_or("row without a valid address")?;
    Ok(SocketAddr::new(ip, ports.get(row).ok_or("row without a port")?))
}
