//! Masks secrets in events before they are stored or shown, without changing the length of anything.
//!
//! Events go in as they were captured, in the order of `(ts_ns, cpu, seq)`; the same events come out with
//! the values of a [`Policy`]'s header fields and query parameters masked, byte for byte. Positions, lengths and framing
//! stay true, so that the engine makes the same requests of what comes out. A secret may be cut by the ends of reads
//! anywhere. Where bytes are missing, what may be the rest of a secret is masked as well.
//!
//! [`Redactor`] finds the connection, `connection` orders its bytes, `framing`, `asked` and `scan` do HTTP/1.x and any
//! text, `http2` and `huffman` do HTTP/2. What is promised is in `docs/redaction.md`.

mod asked;
mod connection;
mod framing;
mod http2;
mod huffman;
mod output;
mod policy;
mod query;
mod scan;
mod text;

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use beyla_schema::event::{Body, Data, Event, Origin, Process};
use rustc_hash::{FxHashMap, FxHashSet};

use connection::Connection;
use output::Output;
pub use policy::{Description, Policy, PolicyError};
pub use text::redact_text;

/// Connections known at a time. The bytes of further ones are masked altogether.
const MAX_CONNECTIONS: usize = 1 << 18;

/// Closed connections that are remembered, so that events that come late begin nothing.
const REMEMBERED: usize = 4096;

/// Masks the secrets of a capture.
#[derive(Debug)]
pub struct Redactor {
    policy: Policy,
    max_connections: usize,
    connections: FxHashMap<u64, Known>,
    closed: FxHashSet<u64>,
    closed_order: VecDeque<u64>,
    payload: Vec<u8>,
    tail: Vec<u8>,
    text: String,
}

/// A connection, by the source of its bytes: what a TLS library sees and what the socket sees are different streams.
#[derive(Debug, Default)]
struct Known {
    /// It was seen from its first byte.
    begun: bool,
    sources: [Option<Box<Connection>>; 3],
}

impl Redactor {
    /// A redactor that has seen nothing.
    pub fn new(policy: &Policy) -> Self {
        Self {
            policy: policy.clone(),
            max_connections: MAX_CONNECTIONS,
            connections: FxHashMap::default(),
            closed: FxHashSet::default(),
            closed_order: VecDeque::new(),
            payload: Vec::new(),
            tail: Vec::new(),
            text: String::new(),
        }
    }

    /// Limits how many connections are known at a time: 262,144 if nothing else is said.
    #[must_use]
    pub fn with_max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// Takes the next event. Gives it back as it is, or with its bytes in buffers of the redactor where some of them had
    /// to be masked.
    pub fn redact<'a>(&'a mut self, event: &Event<'a>) -> Event<'a> {
        if self.policy.is_none() {
            return *event;
        }
        match event.body {
            Body::Data(data) => Event { body: Body::Data(self.data(event.connection, &data)), ..*event },
            Body::Open(open) => {
                if open.origin != Origin::Found
                    && let Some(known) = self.connection(event.connection)
                {
                    known.begun = true;
                }
                *event
            }
            Body::Close(close) => {
                if close.direction.is_none() {
                    self.forget(event.connection);
                }
                *event
            }
            Body::Process(process) => {
                self.text = redact_text(&self.policy, process.command_line).into_owned();
                Event { body: Body::Process(Process { command_line: &self.text, ..process }), ..*event }
            }
            _ => *event,
        }
    }

    fn data<'a>(&'a mut self, id: u64, data: &Data<'a>) -> Data<'a> {
        // Taken out for as long as the connection is borrowed.
        let (mut payload_scratch, mut tail_scratch) =
            (std::mem::take(&mut self.payload), std::mem::take(&mut self.tail));
        let mut payload = Output::new(data.payload, &mut payload_scratch);
        let mut tail = Output::new(data.tail, &mut tail_scratch);
        let known = Self::lookup(&mut self.connections, &self.closed, self.max_connections, id);
        if let Some(known) = known {
            let begun = known.begun;
            let connection = known.sources[data.source as usize].get_or_insert_with(|| {
                Box::new(if begun { Connection::begun() } else { Connection::found() })
            });
            connection.data(&self.policy, data, &mut payload, &mut tail);
        } else {
            payload.fill(0..data.payload.len());
            tail.fill(0..data.tail.len());
        }
        let changed = (payload.is_changed(), tail.is_changed());
        self.payload = payload_scratch;
        self.tail = tail_scratch;
        Data {
            payload: if changed.0 { &self.payload } else { data.payload },
            tail: if changed.1 { &self.tail } else { data.tail },
            ..*data
        }
    }

    fn connection(&mut self, id: u64) -> Option<&mut Known> {
        Self::lookup(&mut self.connections, &self.closed, self.max_connections, id)
    }

    /// The connection `id`, made known if it is new. None when it has closed, or when there are too many.
    fn lookup<'a>(
        connections: &'a mut FxHashMap<u64, Known>,
        closed: &FxHashSet<u64>,
        max: usize,
        id: u64,
    ) -> Option<&'a mut Known> {
        let count = connections.len();
        match connections.entry(id) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(_) if count >= max || closed.contains(&id) => None,
            Entry::Vacant(entry) => Some(entry.insert(Known::default())),
        }
    }

    fn forget(&mut self, id: u64) {
        self.connections.remove(&id);
        if !self.closed.insert(id) {
            return;
        }
        if self.closed_order.len() == REMEMBERED
            && let Some(oldest) = self.closed_order.pop_front()
        {
            self.closed.remove(&oldest);
        }
        self.closed_order.push_back(id);
    }
}
