//! The engine: finds the connection an event belongs to and lets it work.
//!
//! Events come from the recorder's ring buffer or from a file, in the order of `(ts_ns, cpu, seq)`; small
//! disorder is tolerated. Requests go to the [`Sink`] of the call that settles them.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use beyla_schema::event::{BY_TLS, Body, Data, Event, Process, Source};
use beyla_schema::request::{EndReason, Request};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::Stats;
use crate::connection::Connection;
use crate::exchange::Shared;
use crate::route;
use crate::tls::Association;

/// Receives requests as they are settled.
///
/// They come in the order of `ended_ns`; those settled by one event, and by the end of the capture, in that of
/// connection and ordinal.
pub trait Sink {
    /// Takes one request. Its texts are valid during the call.
    fn request(&mut self, request: &Request<'_>);
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn request(&mut self, request: &Request<'_>) {
        (**self).request(request);
    }
}

impl<A: Sink, B: Sink> Sink for (A, B) {
    fn request(&mut self, request: &Request<'_>) {
        self.0.request(request);
        self.1.request(request);
    }
}

/// What the engine is told. What exceeds a limit is given up and counted: in [`Stats::ignored_bytes`] for connections,
/// else in [`Stats::limits_reached`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Tells this capture's spans from those of others: the ids of traces and spans are made of it.
    pub capture_id: u64,
    /// How paths become routes.
    pub routes: route::Rules,
    /// Bytes kept of one message head that comes in pieces.
    pub max_head: usize,
    /// Requests of one connection that wait for their response.
    pub max_pending: usize,
    /// Connections known at a time; each takes a few hundred bytes while idle.
    pub max_connections: usize,
    /// Bytes of unfinished heads and unanswered requests, over all connections.
    pub max_memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            capture_id: 0,
            routes: route::Rules::default(),
            max_head: 256 << 10,
            max_pending: 1024,
            max_connections: 1 << 18,
            max_memory: 256 << 20,
        }
    }
}

/// Closed connections that are remembered, so that events that come late begin nothing.
const REMEMBERED: usize = 4096;

/// Pairs events into requests.
#[derive(Debug)]
pub struct Engine {
    connections: FxHashMap<u64, Connection>,
    tls: Association,
    closed: FxHashSet<u64>,
    closed_order: VecDeque<u64>,
    /// What was lost and seen in parts of the capture that come before the first one given.
    lost_before: FxHashMap<Box<str>, u64>,
    seen_before: u64,
    shared: Shared,
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(config: Config) -> Self {
        Self {
            connections: FxHashMap::default(),
            tls: Association::default(),
            closed: FxHashSet::default(),
            closed_order: VecDeque::new(),
            lost_before: FxHashMap::default(),
            seen_before: 0,
            shared: Shared::new(config),
        }
    }

    /// What was seen and given up so far.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Takes one event; hands the requests it settles to `sink`.
    pub fn push(&mut self, event: &Event<'_>, sink: &mut impl Sink) {
        self.take(event, sink);
    }

    /// The work is done for any sink alike: it is compiled once, and here.
    fn take(&mut self, event: &Event<'_>, sink: &mut dyn Sink) {
        self.shared.stats.events += 1;
        self.shared.now_ns = self.shared.now_ns.max(event.ts_ns);
        match event.body {
            Body::Open(open) => {
                if let Some((connection, shared)) = self.connection(event.connection) {
                    connection.open(&open, event.carried, shared);
                }
            }
            Body::Data(data) => self.data(event, &data, sink),
            Body::Close(close) => match self.tls.connection(event.connection) {
                Some(of) => {
                    if let Some(connection) = self.connections.get_mut(&of) {
                        connection.close_session(&mut self.shared, sink);
                    }
                }
                None => {
                    if let Some((connection, shared)) = self.connection(event.connection) {
                        connection.close(&close, shared, sink);
                        if close.direction.is_none() {
                            self.forget(event.connection);
                        }
                    }
                }
            },
            Body::Process(process) => self.process(event.pid, &process),
            Body::Loss(loss) => self.loss(loss.cause, loss.count, event.carried),
            Body::Seen(count) => {
                if event.carried && self.shared.stats.seen == 0 {
                    self.seen_before = count;
                }
                self.shared.stats.seen = count.saturating_sub(self.seen_before);
            }
            Body::End(reason) => self.shared.stats.end = Some(reason.to_owned()),
            Body::Listen(_) => {}
        }
    }

    fn data(&mut self, event: &Event<'_>, data: &Data<'_>, sink: &mut dyn Sink) {
        let mut id = event.connection;
        if data.source != Source::Socket && id & BY_TLS != 0 {
            if let Some(of) = self.tls.connection(id) {
                id = of;
            } else if let Some(of) = self.tls.plaintext(event, data)
                && self.bind(id, of, sink)
            {
                id = of;
            }
        }
        let Some((connection, shared)) = self.connection(id) else {
            let stats = &mut self.shared.stats;
            stats.moved_bytes = stats.moved_bytes.saturating_add(data.length.into());
            stats.ignored_bytes += u64::from(data.length);
            return;
        };
        connection.data(event, data, shared, sink);
        if data.source == Source::Socket
            && connection.is_sealed()
            && let Some(session) = self.tls.ciphertext(event, data)
        {
            self.bind(session, id, sink);
        }
    }

    /// Ties a TLS session to the connection that carries it. False when that one has another already.
    fn bind(&mut self, session: u64, id: u64, sink: &mut dyn Sink) -> bool {
        if !self.connections.get(&id).is_some_and(Connection::is_sealed) {
            return false;
        }
        self.tls.bind(session, id);
        let plain = self.connections.remove(&session).and_then(|known| {
            self.shared.stats.connections -= 1;
            known.into_plain(&mut self.shared)
        });
        if let (Some(connection), Some(plain)) = (self.connections.get_mut(&id), plain) {
            connection.unwrap(plain, &mut self.shared, sink);
        }
        true
    }

    /// The capture is over: hands out what is still unfinished, by connection.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        let mut connections: Vec<_> = self.connections.drain().collect();
        connections.sort_unstable_by_key(|(id, _)| *id);
        for (_, mut connection) in connections {
            connection.end(EndReason::CaptureEnd, &mut self.shared, sink);
        }
        debug_assert_eq!(self.shared.memory, 0, "what is counted in is counted out");
    }

    /// The connection `id`, made known if it is new. None when it has closed, or when there are too many.
    fn connection(&mut self, id: u64) -> Option<(&mut Connection, &mut Shared)> {
        let (count, shared) = (self.connections.len(), &mut self.shared);
        let connection = match self.connections.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                if self.closed.contains(&id) {
                    return None;
                }
                if count >= shared.config.max_connections {
                    return None;
                }
                shared.stats.connections += 1;
                entry.insert(Connection::new(id))
            }
        };
        Some((connection, shared))
    }

    fn forget(&mut self, id: u64) {
        if let Some(session) = self.connections.remove(&id).and_then(|connection| connection.session()) {
            self.tls.forget(session);
        }
        if self.closed_order.len() == REMEMBERED
            && let Some(oldest) = self.closed_order.pop_front()
        {
            self.closed.remove(&oldest);
        }
        self.closed_order.push_back(id);
        self.closed.insert(id);
    }

    fn loss(&mut self, cause: &str, count: u64, carried: bool) {
        let losses = &mut self.shared.stats.losses;
        if !losses.contains_key(cause) {
            losses.insert(cause.to_owned(), 0);
            if carried {
                self.lost_before.insert(cause.into(), count);
            }
        }
        let before = self.lost_before.get(cause).copied().unwrap_or(0);
        if let Some(lost) = losses.get_mut(cause) {
            *lost = count.saturating_sub(before);
        }
    }

    fn process(&mut self, pid: u32, process: &Process<'_>) {
        if !process.service.is_empty() {
            self.shared.services.insert(pid, process.service.into());
        }
        if !process.runtime.is_empty() {
            // Goroutines move from thread to thread.
            self.shared.parents.wanders(pid, process.runtime == "go");
        }
    }
}
