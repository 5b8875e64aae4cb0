//! Events as bincode: how the journal keeps them, and the only place that knows bincode.
//!
//! Both ways borrow: what is encoded is written straight from where the event's bytes lie, and what is decoded
//! points into the journal's bytes. The form is the journal's own, for as long as a capture lasts; it is no
//! exchange format.

use std::net::SocketAddr;

use bincode::{BorrowDecode, Encode, config};

use crate::event::{
    self, Call, Change, Close, Data, Direction, Event, Listen, Loss, Open, Origin, Process, Source, Transport,
};

#[derive(Encode, BorrowDecode)]
struct Record<'a> {
    ts_ns: u64,
    cpu: u16,
    seq: u64,
    pid: u32,
    tid: u32,
    connection: u64,
    carried: bool,
    body: Body<'a>,
}

/// [`event::Body`] with the words of enumerations as numbers.
#[derive(Encode, BorrowDecode)]
enum Body<'a> {
    Open {
        origin: u8,
        transport: u8,
        local: Endpoint<'a>,
        remote: Endpoint<'a>,
    },
    Data {
        direction: u8,
        source: u8,
        call: u8,
        position: u64,
        ready_ns: Option<u64>,
        goroutine: u64,
        length: u32,
        payload: &'a [u8],
        tail: &'a [u8],
    },
    Close {
        direction: Option<u8>,
        received: u64,
        sent: u64,
    },
    Listen {
        transport: u8,
        address: Endpoint<'a>,
    },
    Process {
        change: Option<u8>,
        parent: u32,
        started_ns: Option<i64>,
        executable: &'a str,
        command_line: &'a str,
        cgroup: &'a str,
        container: &'a str,
        runtime: &'a str,
        service: &'a str,
    },
    Loss {
        cause: &'a str,
        count: u64,
    },
    Seen(u64),
    End(&'a str),
}

#[derive(Encode, BorrowDecode)]
enum Endpoint<'a> {
    Inet(SocketAddr),
    Unix(&'a str),
}

/// Numbers of fixed width: they are written for every event, and read hardly ever.
const CONFIG: config::Configuration<config::LittleEndian, config::Fixint> =
    config::standard().with_fixed_int_encoding();

/// Appends an event to `output`.
pub fn encode(event: &Event<'_>, output: &mut Vec<u8>) {
    let Event { ts_ns, cpu, seq, pid, tid, connection, carried, body } = *event;
    let record = Record { ts_ns, cpu, seq, pid, tid, connection, carried, body: body.into() };
    // Writing to memory does not fail, and no type here refuses a value.
    let _ = bincode::encode_into_std_write(record, output, CONFIG);
}

/// Takes an event off the front of `input`. None when these bytes are none.
pub fn decode<'a>(input: &mut &'a [u8]) -> Option<Event<'a>> {
    let (record, length) = bincode::borrow_decode_from_slice(input, CONFIG).ok()?;
    *input = input.get(length..)?;
    let Record { ts_ns, cpu, seq, pid, tid, connection, carried, body } = record;
    Some(Event { ts_ns, cpu, seq, pid, tid, connection, carried, body: body.event()? })
}

impl<'a> From<event::Body<'a>> for Body<'a> {
    fn from(body: event::Body<'a>) -> Self {
        match body {
            event::Body::Open(Open { origin, transport, local, remote }) => Self::Open {
                origin: origin as u8,
                transport: transport as u8,
                local: local.into(),
                remote: remote.into(),
            },
            event::Body::Data(data) => Self::Data {
                direction: data.direction as u8,
                source: data.source as u8,
                call: data.call as u8,
                position: data.position,
                ready_ns: data.ready_ns,
                goroutine: data.goroutine,
                length: data.length,
                payload: data.payload,
                tail: data.tail,
            },
            event::Body::Close(Close { direction, received, sent }) => {
                Self::Close { direction: direction.map(|direction| direction as u8), received, sent }
            }
            event::Body::Listen(Listen { transport, address }) => {
                Self::Listen { transport: transport as u8, address: address.into() }
            }
            event::Body::Process(process) => Self::Process {
                change: process.change.map(|change| change as u8),
                parent: process.parent,
                started_ns: process.started_ns,
                executable: process.executable,
                command_line: process.command_line,
                cgroup: process.cgroup,
                container: process.container,
                runtime: process.runtime,
                service: process.service,
            },
            event::Body::Loss(Loss { cause, count }) => Self::Loss { cause, count },
            event::Body::Seen(count) => Self::Seen(count),
            event::Body::End(reason) => Self::End(reason),
        }
    }
}

impl<'a> Body<'a> {
    /// None when a number stands for nothing.
    fn event(self) -> Option<event::Body<'a>> {
        Some(match self {
            Self::Open { origin, transport, local, remote } => event::Body::Open(Open {
                origin: word(Origin::ALL, |word| word as u8, origin)?,
                transport: word(Transport::ALL, |word| word as u8, transport)?,
                local: local.into(),
                remote: remote.into(),
            }),
            Self::Data { direction, source, call, position, ready_ns, goroutine, length, payload, tail } => {
                event::Body::Data(Data {
                    direction: word(Direction::ALL, |word| word as u8, direction)?,
                    source: word(Source::ALL, |word| word as u8, source)?,
                    call: word(Call::ALL, |word| word as u8, call)?,
                    position,
                    ready_ns,
                    goroutine,
                    length,
                    payload,
                    tail,
                })
            }
            Self::Close { direction, received, sent } => {
                let direction = match direction {
                    None => None,
                    Some(direction) => Some(word(Direction::ALL, |word| word as u8, direction)?),
                };
                event::Body::Close(Close { direction, received, sent })
            }
            Self::Listen { transport, address } => event::Body::Listen(Listen {
                transport: word(Transport::ALL, |word| word as u8, transport)?,
                address: address.into(),
            }),
            Self::Process {
                change,
                parent,
                started_ns,
                executable,
                command_line,
                cgroup,
                container,
                runtime,
                service,
            } => {
                let change = match change {
                    None => None,
                    Some(change) => Some(word(Change::ALL, |word| word as u8, change)?),
                };
                event::Body::Process(Process {
                    change,
                    parent,
                    started_ns,
                    executable,
                    command_line,
                    cgroup,
                    container,
                    runtime,
                    service,
                })
            }
            Self::Loss { cause, count } => event::Body::Loss(Loss { cause, count }),
            Self::Seen(count) => event::Body::Seen(count),
            Self::End(reason) => event::Body::End(reason),
        })
    }
}

fn word<T: Copy>(all: &[T], number_of: impl Fn(T) -> u8, number: u8) -> Option<T> {
    all.iter().copied().find(|&word| number_of(word) == number)
}

impl<'a> From<event::Endpoint<'a>> for Endpoint<'a> {
    fn from(endpoint: event::Endpoint<'a>) -> Self {
        match endpoint {
            event::Endpoint::Inet(address) => Self::Inet(address),
            event::Endpoint::Unix(path) => Self::Unix(path),
        }
    }
}

impl<'a> From<Endpoint<'a>> for event::Endpoint<'a> {
    fn from(endpoint: Endpoint<'a>) -> Self {
        match endpoint {
            Endpoint::Inet(address) => Self::Inet(address),
            Endpoint::Unix(path) => Self::Unix(path),
        }
    }
}
