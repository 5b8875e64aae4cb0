//! Who made an outbound request: the inbound one that its thread was at work on.
//!
//! A call belongs to a request when the same thread read the first byte of the request and wrote that of the call, no
//! other request of that thread was open then, and the call was over before the request was. Or when the call passes on
//! the `traceparent` that the request came with. Where more than one request could be meant, none is.

use beyla_schema::request::{Kind, SpanId, TraceId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::exchange::{Link, Moment};
use crate::trace;

/// Threads without an open request that are remembered.
const MAX_IDLE: usize = 4096;

/// Calls of one thread that are watched for whether their request outlives them.
const MAX_WATCHED: usize = 1024;

/// Inbound requests that are not settled yet.
#[derive(Debug, Default)]
pub(crate) struct Parents {
    threads: FxHashMap<Thread, Work>,
    /// By what they came with.
    contexts: FxHashMap<(u32, Context), Open>,
    idle: usize,
    /// Processes whose threads take turns on a request: what a thread does there tells nothing.
    wandering: FxHashSet<u32>,
}

/// A process and a thread of it.
type Thread = (u32, u32);

/// What `traceparent` says: the trace, and the span that the sender is in.
pub(crate) type Context = (TraceId, SpanId);

/// What a thread is at work on.
#[derive(Debug, Default)]
struct Work {
    open: Open,
    /// Requests that are still open, once for each call that may belong to them.
    watched: Vec<Inbound>,
}

/// A number of open requests. Which one it is can be told as soon as it is one: everything is combined by exclusive or, so
/// that a request leaves as fast as it came.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    count: u32,
    connection: u64,
    ordinal: u64,
    trace: u128,
}

/// An inbound request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inbound {
    connection: u64,
    ordinal: u64,
    trace: TraceId,
}

impl Open {
    fn toggle(&mut self, inbound: Inbound) {
        self.connection ^= inbound.connection;
        self.ordinal ^= inbound.ordinal;
        self.trace ^= u128::from_be_bytes(inbound.trace.0);
    }

    fn begin(&mut self, inbound: Inbound) {
        self.toggle(inbound);
        self.count += 1;
    }

    fn end(&mut self, inbound: Inbound) {
        self.toggle(inbound);
        self.count -= 1;
    }

    fn only(&self) -> Option<Inbound> {
        let Self { count, connection, ordinal, trace } = *self;
        (count == 1).then_some(Inbound { connection, ordinal, trace: TraceId(trace.to_be_bytes()) })
    }
}

/// What is remembered of a request until it is settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent(Role);

#[derive(Clone, Copy, Debug)]
enum Role {
    /// It is inbound itself.
    Inbound(Inbound, Option<Context>),
    /// It may have been made by this one: by whose thread, unless its context is certain.
    Outbound(Inbound, Option<Thread>),
}

impl Parents {
    /// Whether the threads of a process are not bound to its requests.
    pub(crate) fn wanders(&mut self, pid: u32, wanders: bool) {
        if wanders {
            self.wandering.insert(pid);
        } else {
            self.wandering.remove(&pid);
        }
    }

    /// A request begins, with the context it came with or passes on.
    pub(crate) fn begin(
        &mut self,
        link: &Link<'_>,
        first: Moment,
        ordinal: u64,
        context: Option<Context>,
        capture: u64,
    ) -> Option<Parent> {
        if link.kind == Kind::Client {
            return self.candidate(first, context).map(Parent);
        }
        let connection = link.connection;
        let trace = context.map_or_else(|| trace::trace_id(capture, connection, ordinal), |(trace, _)| trace);
        let inbound = Inbound { connection, ordinal, trace };
        let work = self.threads.entry((first.pid, first.tid)).or_insert_with(|| {
            self.idle += 1;
            Work::default()
        });
        if work.open.count == 0 {
            self.idle -= 1;
        }
        work.open.begin(inbound);
        if let Some(context) = context {
            self.contexts.entry((first.pid, context)).or_default().begin(inbound);
        }
        Some(Parent(Role::Inbound(inbound, context)))
    }

    /// Who may have made a request that begins now.
    fn candidate(&mut self, first: Moment, context: Option<Context>) -> Option<Role> {
        if let Some(context) = context {
            let inbound = self.contexts.get(&(first.pid, context))?.only()?;
            return Some(Role::Outbound(inbound, None));
        }
        if self.wandering.contains(&first.pid) {
            return None;
        }
        let thread = (first.pid, first.tid);
        let work = self.threads.get_mut(&thread)?;
        let inbound = work.open.only().filter(|_| work.watched.len() < MAX_WATCHED)?;
        work.watched.push(inbound);
        Some(Role::Outbound(inbound, Some(thread)))
    }

    /// A request is settled. Gives the context that it was made in.
    pub(crate) fn end(&mut self, first: Moment, parent: Option<Parent>, capture: u64) -> Option<Context> {
        match parent?.0 {
            Role::Outbound(of, thread) => {
                let made = match thread {
                    None => true,
                    Some(thread) => {
                        let watched = &mut self.threads.get_mut(&thread)?.watched;
                        let at = watched.iter().position(|open| *open == of);
                        at.map(|at| watched.swap_remove(at)).is_some()
                    }
                };
                made.then(|| (of.trace, trace::span_id(capture, of.connection, of.ordinal)))
            }
            Role::Inbound(inbound, context) => {
                if let Some(work) = self.threads.get_mut(&(first.pid, first.tid)) {
                    work.open.end(inbound);
                    work.watched.retain(|open| *open != inbound);
                    self.idle += usize::from(work.open.count == 0);
                }
                if let Some(key) = context.map(|context| (first.pid, context))
                    && let Some(open) = self.contexts.get_mut(&key)
                {
                    open.end(inbound);
                    if open.count == 0 {
                        self.contexts.remove(&key);
                    }
                }
                if self.idle > MAX_IDLE {
                    self.threads.retain(|_, work| work.open.count > 0);
                    self.idle = 0;
                }
                None
            }
        }
    }
}
