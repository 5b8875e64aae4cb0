//! Fills the columns of an event file.

use std::{net::SocketAddr, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, PrimitiveBuilder, RecordBatch, StringBuilder, TimestampNanosecondBuilder,
    },
    datatypes::{UInt16Type, UInt32Type, UInt64Type},
    error::ArrowError,
};

use super::{Kind, schema};
use crate::{
    arrow::{append_ip, words::WordsBuilder},
    event::{Body, Call, Change, Clock, Direction, Event, Source},
};

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
        append_ip(&mut self.address, value.map(|value| value.ip()));
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
