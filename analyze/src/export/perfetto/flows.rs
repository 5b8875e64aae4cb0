//! What a slice is tied to by arrows: the calls that a request made, and the other side of a call.
//!
//! A request has its own number, and those that are to be tied to it and came before it. Requests come in the order they
//! ended, so of two that are tied the later one has the number of both.

use std::collections::{HashMap, VecDeque};

use beyla_schema::{
    event::Clock,
    request::{Kind, Request, SpanId},
};

use crate::export::sides::Sides;

/// Requests whose calls are remembered until they end themselves, and calls of each.
const MAX_CALLERS: usize = 64 * 1024;
const MAX_CALLS: usize = 64;

/// Ties that wait for their other end.
#[derive(Debug, Default)]
pub(super) struct Flows {
    sides: Sides<u64>,
    calls: HashMap<SpanId, Vec<u64>>,
    callers: VecDeque<SpanId>,
}

impl Flows {
    /// The numbers of a request.
    pub(super) fn of(&mut self, request: &Request<'_>, clock: Clock) -> Vec<u64> {
        let Some(span) = request.span_id else { return Vec::new() };
        let own = u64::from_be_bytes(span.0);
        let mut numbers = vec![own];
        numbers.extend(self.sides.other(request, clock, own));
        match request.kind {
            Kind::Server => numbers.extend(self.calls.remove(&span).into_iter().flatten()),
            Kind::Client => {
                if let Some(caller) = request.parent_id {
                    self.called(caller, own);
                }
            }
        }
        numbers
    }

    fn called(&mut self, caller: SpanId, call: u64) {
        let calls = self.calls.entry(caller).or_default();
        if calls.is_empty() {
            self.callers.push_back(caller);
        }
        if calls.len() < MAX_CALLS {
            calls.push(call);
        }
        if self.callers.len() > MAX_CALLERS
            && let Some(oldest) = self.callers.pop_front()
        {
            self.calls.remove(&oldest);
        }
    }
}
