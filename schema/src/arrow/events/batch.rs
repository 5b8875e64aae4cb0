//! Reads events from the columns of an event file.

use std::net::{IpAddr, SocketAddr};

use arrow::{
    array::{Array, AsArray, BinaryArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray},
    compute::cast,
    datatypes::{ArrowPrimitiveType, DataType, TimestampNanosecondType, UInt16Type, UInt32Type, UInt64Type},
    error::ArrowError,
};

use super::Kind;
use crate::{
    arrow::words::Words,
    event::{
        Body, Call, Change, Close, Data, Direction, Endpoint, Event, Listen, Loss, Open, Origin, Process,
        Source, Transport,
    },
};

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
    goroutine: Column<UInt64Type>,
    length: Column<UInt32Type>,
    payload: Option<BinaryArray>,
    tail: Option<BinaryArray>,
    transport: Words<Transport>,
    local_address: Option<StringArray>,
    local_port: Column<UInt16Type>,
    remote_address: Option<StringArray>,
    remote_port: Column<UInt16Type>,
    received: Column<UInt64Type>,
    sent: Column<UInt64Type>,
    parent: Column<UInt32Type>,
    executable: Option<StringArray>,
    service: Option<StringArray>,
    started: Column<TimestampNanosecondType>,
    command_line: Option<StringArray>,
    cgroup: Option<StringArray>,
    container: Option<StringArray>,
    runtime: Option<StringArray>,
    cause: Option<StringArray>,
    count: Column<UInt64Type>,
    carried: Option<BooleanArray>,
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

fn flags(batch: &RecordBatch, name: &str) -> Result<Option<BooleanArray>, ArrowError> {
    let column = batch.column_by_name(name).map(|column| cast(column, &DataType::Boolean)).transpose()?;
    Ok(column.map(|column| column.as_boolean().clone()))
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
            goroutine: Column::read(batch, "goroutine")?,
            length: Column::read(batch, "length")?,
            payload: binaries(batch, "payload")?,
            tail: binaries(batch, "tail")?,
            transport: Words::read(batch, "transport", Transport::from_name)?,
            local_address: texts(batch, "local_address")?,
            local_port: Column::read(batch, "local_port")?,
            remote_address: texts(batch, "remote_address")?,
            remote_port: Column::read(batch, "remote_port")?,
            received: Column::read(batch, "received")?,
            sent: Column::read(batch, "sent")?,
            parent: Column::read(batch, "parent")?,
            executable: texts(batch, "executable")?,
            service: texts(batch, "service")?,
            started: Column::read(batch, "started")?,
            command_line: texts(batch, "command_line")?,
            cgroup: texts(batch, "cgroup")?,
            container: texts(batch, "container")?,
            runtime: texts(batch, "runtime")?,
            cause: texts(batch, "cause")?,
            count: Column::read(batch, "count")?,
            carried: flags(batch, "carried")?,
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
                transport: self.transport(row),
                local: self.endpoint(self.local_address.as_ref(), &self.local_port, row)?,
                remote: self.endpoint(self.remote_address.as_ref(), &self.remote_port, row)?,
            }),
            Kind::Listen => Body::Listen(Listen {
                transport: self.transport(row),
                address: self.endpoint(self.local_address.as_ref(), &self.local_port, row)?,
            }),
            Kind::Close => Body::Close(Close {
                direction: self.direction.get(row),
                received: self.received.get(row).unwrap_or(0),
                sent: self.sent.get(row).unwrap_or(0),
            }),
            Kind::Process => Body::Process(Process {
                change: self.action(row).and_then(Change::from_name),
                parent: self.parent.get(row).unwrap_or(0),
                started_ns: self.started.get(row),
                executable: text(self.executable.as_ref(), row).unwrap_or(""),
                command_line: text(self.command_line.as_ref(), row).unwrap_or(""),
                cgroup: text(self.cgroup.as_ref(), row).unwrap_or(""),
                container: text(self.container.as_ref(), row).unwrap_or(""),
                runtime: text(self.runtime.as_ref(), row).unwrap_or(""),
                service: text(self.service.as_ref(), row).unwrap_or(""),
            }),
            Kind::Loss => Body::Loss(Loss {
                cause: text(self.cause.as_ref(), row).ok_or("loss row without cause")?,
                count: self.count.get(row).ok_or("loss row without count")?,
            }),
            Kind::Seen => Body::Seen(self.count.get(row).ok_or("seen row without count")?),
            Kind::End => Body::End(self.action(row).ok_or("end row without reason")?),
        };
        Ok(Some(Event {
            ts_ns: self.ts_ns.get(row).ok_or("row without ts_ns")?,
            cpu: self.cpu.get(row).unwrap_or(0),
            seq: self.seq.get(row).unwrap_or(0),
            pid: self.pid.get(row).unwrap_or(0),
            tid: self.tid.get(row).unwrap_or(0),
            connection: self.connection.get(row).unwrap_or(0),
            carried: self.carried.as_ref().is_some_and(|carried| carried.is_valid(row) && carried.value(row)),
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
            goroutine: self.goroutine.get(row).unwrap_or(0),
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

    /// Files from before there was anything else lack the column.
    fn transport(&self, row: usize) -> Transport {
        self.transport.get(row).unwrap_or(Transport::Tcp)
    }

    fn endpoint<'a>(
        &self,
        addresses: Option<&'a StringArray>,
        ports: &Column<UInt16Type>,
        row: usize,
    ) -> Result<Endpoint<'a>, &'static str> {
        let text = text(addresses, row);
        if self.transport(row) == Transport::Unix {
            return Ok(Endpoint::Unix(text.unwrap_or("")));
        }
        let ip: IpAddr = text.and_then(|text| text.parse().ok()).ok_or("row without a valid address")?;
        Ok(Endpoint::Inet(SocketAddr::new(ip, ports.get(row).ok_or("row without a port")?)))
    }
}
