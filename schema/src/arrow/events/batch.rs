//! Reads events from the columns of an event file.

use std::net::{IpAddr, SocketAddr};

use arrow::{
    array::RecordBatch,
    datatypes::{TimestampNanosecondType, UInt16Type, UInt32Type, UInt64Type},
    error::ArrowError,
};

use super::Kind;
use crate::{
    arrow::{
        read::{Bytes, Flags, Numbers, Texts},
        words::Words,
    },
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
    ts_ns: Numbers<UInt64Type>,
    cpu: Numbers<UInt16Type>,
    seq: Numbers<UInt64Type>,
    pid: Numbers<UInt32Type>,
    tid: Numbers<UInt32Type>,
    connection: Numbers<UInt64Type>,
    action: Texts,
    direction: Words<Direction>,
    source: Words<Source>,
    call: Words<Call>,
    position: Numbers<UInt64Type>,
    ready_ns: Numbers<UInt64Type>,
    goroutine: Numbers<UInt64Type>,
    length: Numbers<UInt32Type>,
    payload: Bytes,
    tail: Bytes,
    transport: Words<Transport>,
    local_address: Texts,
    local_port: Numbers<UInt16Type>,
    remote_address: Texts,
    remote_port: Numbers<UInt16Type>,
    received: Numbers<UInt64Type>,
    sent: Numbers<UInt64Type>,
    parent: Numbers<UInt32Type>,
    executable: Texts,
    service: Texts,
    started: Numbers<TimestampNanosecondType>,
    command_line: Texts,
    cgroup: Texts,
    container: Texts,
    runtime: Texts,
    cause: Texts,
    count: Numbers<UInt64Type>,
    carried: Flags,
}

impl EventBatch {
    /// Looks at a batch. Columns of another width or encoding than ours are converted; a column that cannot
    /// be is an error.
    pub fn new(batch: &RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            rows: batch.num_rows(),
            kind: Words::read(batch, "kind", Kind::from_name)?,
            ts_ns: Numbers::read(batch, "ts_ns")?,
            cpu: Numbers::read(batch, "cpu")?,
            seq: Numbers::read(batch, "seq")?,
            pid: Numbers::read(batch, "pid")?,
            tid: Numbers::read(batch, "tid")?,
            connection: Numbers::read(batch, "connection")?,
            action: Texts::read(batch, "action")?,
            direction: Words::read(batch, "direction", Direction::from_name)?,
            source: Words::read(batch, "source", Source::from_name)?,
            call: Words::read(batch, "call", Call::from_name)?,
            position: Numbers::read(batch, "position")?,
            ready_ns: Numbers::read(batch, "ready_ns")?,
            goroutine: Numbers::read(batch, "goroutine")?,
            length: Numbers::read(batch, "length")?,
            payload: Bytes::read(batch, "payload")?,
            tail: Bytes::read(batch, "tail")?,
            transport: Words::read(batch, "transport", Transport::from_name)?,
            local_address: Texts::read(batch, "local_address")?,
            local_port: Numbers::read(batch, "local_port")?,
            remote_address: Texts::read(batch, "remote_address")?,
            remote_port: Numbers::read(batch, "remote_port")?,
            received: Numbers::read(batch, "received")?,
            sent: Numbers::read(batch, "sent")?,
            parent: Numbers::read(batch, "parent")?,
            executable: Texts::read(batch, "executable")?,
            service: Texts::read(batch, "service")?,
            started: Numbers::read(batch, "started")?,
            command_line: Texts::read(batch, "command_line")?,
            cgroup: Texts::read(batch, "cgroup")?,
            container: Texts::read(batch, "container")?,
            runtime: Texts::read(batch, "runtime")?,
            cause: Texts::read(batch, "cause")?,
            count: Numbers::read(batch, "count")?,
            carried: Flags::read(batch, "carried")?,
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
                origin: self.action.get(row).and_then(Origin::from_name).ok_or("open row without origin")?,
                transport: self.transport(row),
                local: self.endpoint(&self.local_address, &self.local_port, row)?,
                remote: self.endpoint(&self.remote_address, &self.remote_port, row)?,
            }),
            Kind::Listen => Body::Listen(Listen {
                transport: self.transport(row),
                address: self.endpoint(&self.local_address, &self.local_port, row)?,
            }),
            Kind::Close => Body::Close(Close {
                direction: self.direction.get(row),
                received: self.received.get(row).unwrap_or(0),
                sent: self.sent.get(row).unwrap_or(0),
            }),
            Kind::Process => Body::Process(Process {
                change: self.action.get(row).and_then(Change::from_name),
                parent: self.parent.get(row).unwrap_or(0),
                started_ns: self.started.get(row),
                executable: self.executable.get(row).unwrap_or(""),
                command_line: self.command_line.get(row).unwrap_or(""),
                cgroup: self.cgroup.get(row).unwrap_or(""),
                container: self.container.get(row).unwrap_or(""),
                runtime: self.runtime.get(row).unwrap_or(""),
                service: self.service.get(row).unwrap_or(""),
            }),
            Kind::Loss => Body::Loss(Loss {
                cause: self.cause.get(row).ok_or("loss row without cause")?,
                count: self.count.get(row).ok_or("loss row without count")?,
            }),
            Kind::Seen => Body::Seen(self.count.get(row).ok_or("seen row without count")?),
            Kind::End => Body::End(self.action.get(row).ok_or("end row without reason")?),
        };
        Ok(Some(Event {
            ts_ns: self.ts_ns.get(row).ok_or("row without ts_ns")?,
            cpu: self.cpu.get(row).unwrap_or(0),
            seq: self.seq.get(row).unwrap_or(0),
            pid: self.pid.get(row).unwrap_or(0),
            tid: self.tid.get(row).unwrap_or(0),
            connection: self.connection.get(row).unwrap_or(0),
            carried: self.carried.get(row),
            body,
        }))
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
            payload: self.payload.get(row),
            tail: self.tail.get(row),
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
        addresses: &'a Texts,
        ports: &Numbers<UInt16Type>,
        row: usize,
    ) -> Result<Endpoint<'a>, &'static str> {
        let text = addresses.get(row);
        if self.transport(row) == Transport::Unix {
            return Ok(Endpoint::Unix(text.unwrap_or("")));
        }
        let ip: IpAddr = text.and_then(|text| text.parse().ok()).ok_or("row without a valid address")?;
        Ok(Endpoint::Inet(SocketAddr::new(ip, ports.get(row).ok_or("row without a port")?)))
    }
}
