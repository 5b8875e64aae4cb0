//! The queue of requests that wait for their responses.

use std::mem;
use std::ops::ControlFlow::{self, Break, Continue};

use beyla_schema::request::{EndReason, Protocol};

use super::body::Body;
use super::head::{self, Framing, RequestHead, ResponseHead};
use super::{Leave, Pairing, Phase, Upgrade};
use crate::exchange::{Context, Exchange, Side, Text};
use crate::{grpc, trace};

impl Pairing {
    /// Queues a request, whose head and body have so many bytes if that is known already.
    pub(super) fn ask(
        &mut self,
        head: &RequestHead<'_>,
        header: Option<u64>,
        body: Option<u64>,
        cx: &mut Context<'_>,
    ) {
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
        let mut exchange = Exchange::new(first, self.requests, head.protocol, cx.shared);
        exchange.request_bytes = body;
        exchange.request_header_bytes = header;
        self.request.messages = describe(&mut exchange, head);
        self.requests += 1;
        let fits =
            cx.shared.hold(&mut exchange, &cx.link) && self.pending.len() < cx.shared.config.max_pending;
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
    pub(super) fn answer(
        &mut self,
        head: &ResponseHead<'_>,
        header: Option<u64>,
        cx: &mut Context<'_>,
    ) -> ControlFlow<()> {
        let Some(exchange) = self.pending.front_mut() else {
            return Continue(());
        };
        self.responses += 1;
        self.response.last_ns = cx.now.ts_ns;
        let status = head.status;
        if status == 101 && head.fields.upgrade.is_some_and(|to| to.eq_ignore_ascii_case(b"h2c")) {
            if let Some(exchange) = self.pending.pop_front() {
                let (rest, tail) = (Vec::new(), Vec::new());
                self.leave = Leave::Upgrade(Box::new(Upgrade { exchange, rest, hidden: 0, tail }));
            }
            self.end(EndReason::Gap, cx);
            return Break(());
        }
        if status == 101 || (exchange.is("CONNECT") && (200..300).contains(&status)) {
            exchange.status = Some(status);
            exchange.response_bytes = Some(0);
            exchange.response_header_bytes = header;
            self.settle(EndReason::ProtocolSwitch, Some(cx.now.ts_ns), cx);
            self.end(EndReason::Gap, cx);
            return Break(());
        }
        self.response.phase = Phase::Head;
        if status < 200 {
            return Continue(());
        }
        exchange.status = Some(status);
        exchange.response_header_bytes = header;
        exchange.texts.set_some(Text::ResponseType, head.fields.content_type);
        if let Some(status) = head.fields.grpc_status.filter(|_| exchange.protocol == Protocol::GrpcWeb) {
            exchange.rpc.set_status(status);
            exchange.texts.set_some(Text::RpcMessage, head.fields.grpc_message.map(grpc::message).as_deref());
        }
        let web = exchange.protocol == Protocol::GrpcWeb;
        self.response.messages =
            web && head.fields.content_type.and_then(grpc::kind) == Some(grpc::Kind::Web);
        cx.shared.count(exchange);
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
                self.request.messages = false;
            }
            Side::Response => {
                let Some(exchange) = self.pending.front_mut() else { return };
                exchange.response_bytes = body;
                if mem::take(&mut self.response.messages) {
                    exchange.read_trailers();
                }
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

/// Takes from a head what the row of its request says. True when the body consists of gRPC messages.
fn describe(exchange: &mut Exchange, head: &RequestHead<'_>) -> bool {
    let (target, fields) = (head::target(head.method, head.target), &head.fields);
    let texts = &mut exchange.texts;
    texts.set(Text::Method, head.method);
    texts.set_some(Text::Scheme, target.scheme);
    texts.set_some(Text::Authority, target.authority.or(fields.host));
    texts.set_some(Text::Path, target.path);
    texts.set_some(Text::Query, target.query);
    texts.set_some(Text::UserAgent, fields.user_agent);
    texts.set_some(Text::RequestType, fields.content_type);
    fields.tracestates.iter().flatten().for_each(|state| texts.append(Text::TraceState, state));
    exchange.trace(fields.traceparent.and_then(trace::context));
    let kind = fields.content_type.and_then(grpc::kind);
    if matches!(kind, Some(grpc::Kind::Web | grpc::Kind::WebText)) {
        exchange.protocol = Protocol::GrpcWeb;
    }
    kind == Some(grpc::Kind::Web)
}
