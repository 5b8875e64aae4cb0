//! The queue of requests that wait for their responses.

use std::mem;
use std::ops::ControlFlow::{self, Break, Continue};

use beyla_schema::request::EndReason;

use super::body::Body;
use super::head::{Framing, RequestHead, ResponseHead};
use super::{Context, Pairing, Phase, Side};
use crate::exchange::Exchange;

impl Pairing {
    /// Queues a request, whose body has so many bytes if that is known already.
    pub(super) fn ask(&mut self, head: &RequestHead<'_>, body: Option<u64>, cx: &mut Context<'_>) {
        let first = self.request.first;
        // In any of these states the next response may belong to another request than this one.
        let in_doubt = match self.response.phase {
            Phase::Seek => self.pending.front().is_some_and(|front| front.first.call != first.call),
            Phase::Lost => self.interleaved || self.unanswered,
            Phase::Hidden => false,
            _ => self.request.found && !self.pending.is_empty(),
        };
        if self.response.phase == Phase::Hidden {
            // The client asks again, so the response of unknown end is over.
            self.lose(Side::Response, cx);
        }
        let exchange = Exchange::new(self.requests, first, head, body, cx.shared.text());
        self.requests += 1;
        let fits = cx.shared.hold(&exchange) && self.pending.len() < cx.shared.config.max_pending;
        self.pending.push_back(exchange);
        if mem::take(&mut self.request.found) {
            self.drop_parked(cx);
        }
        if !fits {
            cx.shared.stats.limits_reached += 1;
        }
        if in_doubt || !fits {
            self.lose(Side::Response, cx);
            self.unanswered = true;
        } else if self.response.phase == Phase::Lost {
            self.response.phase = Phase::Seek;
        }
    }

    /// Takes the head of a response to the oldest request.
    pub(super) fn answer(&mut self, head: &ResponseHead<'_>, cx: &mut Context<'_>) -> ControlFlow<()> {
        let Some(exchange) = self.pending.front_mut() else {
            return Continue(());
        };
        self.responses += 1;
        self.response.last_ns = cx.now.ts_ns;
        let status = head.status;
        if status == 101 || (exchange.is("CONNECT") && (200..300).contains(&status)) {
            exchange.status = Some(status);
            exchange.response_bytes = Some(0);
            self.settle(EndReason::ProtocolSwitch, Some(cx.now.ts_ns), cx);
            self.end(EndReason::Gap, cx);
            return Break(());
        }
        self.response.phase = Phase::Head;
        if status < 200 {
            return Continue(());
        }
        exchange.status = Some(status);
        let bodiless = exchange.is("HEAD") || matches!(status, 204 | 304);
        match head.fields.framing() {
            _ if bodiless => self.finish(Side::Response, Some(0), cx),
            Framing::Length(0) => self.finish(Side::Response, Some(0), cx),
            Framing::Length(length) => self.response.phase = Phase::Body(Body::length(length)),
            Framing::Chunked => self.response.phase = Phase::Body(Body::chunked()),
            Framing::Silent | Framing::Coded => {
                self.response.phase = Phase::Body(Body::UntilClose { total: 0 });
            }
            Framing::Invalid => self.hide(cx),
        }
        Continue(())
    }

    /// The message of a direction is complete, with a body of so many bytes if that is known.
    pub(super) fn finish(&mut self, side: Side, body: Option<u64>, cx: &mut Context<'_>) {
        self.reader(side).phase = Phase::Head;
        match side {
            Side::Request => {
                if let Some(last) = self.pending.back_mut()
                    && last.ordinal + 1 == self.requests
                {
                    last.request_bytes = body;
                }
            }
            Side::Response => {
                let Some(exchange) = self.pending.front_mut() else { return };
                exchange.response_bytes = body;
                let call = exchange.first.call;
                self.settle(EndReason::Response, Some(cx.now.ts_ns), cx);
                self.interleaved |= self.pending.front().is_some_and(|next| next.first.call != call);
            }
        }
    }

    /// Hands out the oldest request.
    pub(super) fn settle(&mut self, reason: EndReason, end_ns: Option<u64>, cx: &mut Context<'_>) {
        if let Some(exchange) = self.pending.pop_front() {
            cx.shared.settle(exchange, &cx.link, reason, end_ns, cx.sink);
        }
    }

    /// Hands out all requests, without a response.
    pub(super) fn flush(&mut self, reason: EndReason, cx: &mut Context<'_>) {
        while !self.pending.is_empty() {
            self.settle(reason, None, cx);
        }
        self.pending.shrink_to(64);
    }
}
