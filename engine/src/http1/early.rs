//! Responses that are recorded before their request.
//!
//! The thread of a client that reads can be recorded before the one that writes has returned from its call.
//! Such a response is parked until the request comes, and dropped if it was a response to nothing.

use std::mem;
use std::ops::ControlFlow::{self, Break, Continue};

use super::{Leave, PREFACE, Pairing, Phase, begins_settings, head, is_tls, trim_blank};
use crate::exchange::{Context, EARLY_NS, Moment, Side};
use crate::stream::Call;

/// Calls kept of responses that came before their request.
const MAX_PARKED: usize = 8;

/// A call that is kept until its request comes.
#[derive(Debug)]
pub(super) struct Parked {
    now: Moment,
    head: Vec<u8>,
    hidden: u64,
    tail: Vec<u8>,
}

impl Parked {
    pub(super) fn size(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

impl Pairing {
    /// Keeps a call of a response that no request is waiting for: the request may have been recorded late.
    pub(super) fn park(&mut self, call: &Call<'_>, cx: &mut Context<'_>) -> ControlFlow<()> {
        let size = call.head.len() + call.tail.len();
        if self.parked.is_empty() {
            let bytes = trim_blank(call.head);
            if bytes.is_empty() && call.hidden == 0 && call.tail.is_empty() {
                cx.shared.stats.parsed_bytes += size as u64;
                return Continue(());
            }
            if !head::may_be_response(bytes) {
                let fresh = self.begun && self.requests == 0 && PREFACE.starts_with(&self.request.buffer);
                if fresh && begins_settings(call.head) != Some(false) {
                    self.leave = Leave::Http2(self.request.take(cx.shared));
                    return Break(());
                }
                self.refuse(Side::Response, is_tls(bytes), cx)?;
                cx.shared.stats.unparsed_bytes += size as u64;
                return Continue(());
            }
        }
        let kept = self.parked.iter().map(Parked::size).sum::<usize>();
        if self.parked.len() == MAX_PARKED || kept + size > cx.shared.config.max_head {
            cx.shared.stats.unparsed_bytes += size as u64;
            self.lose(Side::Response, cx);
            return Continue(());
        }
        let parked =
            Parked { now: cx.now, head: call.head.to_vec(), hidden: call.hidden, tail: call.tail.to_vec() };
        cx.shared.memory += parked.size();
        cx.shared.stats.unparsed_bytes += parked.size() as u64;
        self.parked.push(parked);
        Continue(())
    }

    /// A request has come: parked calls are its response if they came only a moment before it.
    pub(super) fn unpark(&mut self, cx: &mut Context<'_>) -> ControlFlow<()> {
        let (Some(request), Some(answer)) = (self.pending.front(), self.parked.first()) else {
            return Continue(());
        };
        let moment = request.first.ts_ns <= answer.now.ts_ns.saturating_add(EARLY_NS);
        // A server that tires of waiting for a request says so unasked.
        if !moment || head::status(&answer.head) == Some(408) {
            self.drop_parked(cx);
            return Continue(());
        }
        let now = cx.now;
        let parked = mem::take(&mut self.parked);
        cx.shared.memory -= parked.iter().map(Parked::size).sum::<usize>();
        let mut flow = Continue(());
        for parked in parked {
            if flow.is_break() {
                break;
            }
            cx.shared.stats.unparsed_bytes -= parked.size() as u64;
            cx.now = parked.now;
            let call =
                Call { head: &parked.head, hidden: parked.hidden, tail: &parked.tail, ..Call::default() };
            flow = self.pass(Side::Response, &call, cx);
        }
        cx.now = now;
        flow
    }

    /// Gives up a response that came without a request.
    pub(super) fn drop_parked(&mut self, cx: &mut Context<'_>) {
        if self.parked.is_empty() {
            return;
        }
        cx.shared.stats.unsolicited_responses += 1;
        for parked in self.parked.drain(..) {
            cx.shared.memory -= parked.size();
        }
        self.response.phase = Phase::Seek;
    }
}
