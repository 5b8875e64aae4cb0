//! Requests and responses of a session, stream by stream.

use std::mem;

use beyla_schema::request::{EndReason, Kind, Protocol};

use super::fields;
use super::session::{Opening, Session};
use super::stream::Stream;
use crate::exchange::{Context, EARLY_NS, Exchange, Side, Text};

/// Responses that are kept until their request comes.
const MAX_UNASKED: usize = 64;

impl Session {
    /// A header block is complete. None: some of it is missing, and its fields are unknown.
    pub(super) fn block(
        &mut self,
        side: Side,
        opening: Opening,
        block: Option<&[u8]>,
        timed: bool,
        cx: &mut Context<'_>,
    ) {
        match (side, opening.promised) {
            (Side::Request, false) => self.request(opening, block, cx),
            (Side::Response, false) => self.response(opening, block, timed, cx),
            (Side::Response, true) => self.promise(opening, block, cx),
            // A client promises nothing.
            (Side::Request, true) => self.pass(side, block),
        }
        if opening.ends_stream {
            self.stream_ends(side, opening.stream, timed, cx);
        }
    }

    /// Reads a block for what later ones may need of it.
    fn pass(&mut self, side: Side, block: Option<&[u8]>) {
        if let Some(block) = block {
            fields::pass(&mut self.sides[side as usize].decoder, block);
        }
    }

    /// The head of a request, or its trailers.
    fn request(&mut self, opening: Opening, block: Option<&[u8]>, cx: &mut Context<'_>) {
        let id = opening.stream;
        let early = self.streams.get(&id).and_then(|stream| stream.unasked);
        let new = id > self.last && !id.is_multiple_of(2);
        if !new && early.is_none() {
            self.pass(Side::Request, block);
            return;
        }
        self.last = self.last.max(id);
        if self.unasked > 0 {
            self.forget_unasked(id, opening.first.ts_ns, cx);
        }
        let mut stream = match self.take(id) {
            Some(stream) => stream,
            None => self.begin(opening, cx),
        };
        // What came of the response before all of the request was known may have been missed.
        if self.sides[Side::Response as usize].lost_ns >= opening.first.ts_ns {
            stream.miss(Side::Response);
        }
        let read = self.describe(Side::Request, block, &mut stream.exchange);
        if !read.method && !read.unknown {
            // Trailers of a request that was missed.
            cx.shared.discard(stream.exchange);
            return;
        }
        stream.unasked = None;
        stream.exchange.first = opening.first;
        stream.sides[Side::Request as usize].head = true;
        stream.speak(Side::Request, read.grpc);
        self.ask(id, stream, cx);
    }

    /// A request that the server makes in its client's place (RFC 9113 section 8.4).
    fn promise(&mut self, opening: Opening, block: Option<&[u8]>, cx: &mut Context<'_>) {
        let id = opening.stream;
        if !id.is_multiple_of(2) || self.streams.contains_key(&id) {
            self.pass(Side::Response, block);
            return;
        }
        let mut stream = self.begin(opening, cx);
        self.describe(Side::Response, block, &mut stream.exchange);
        let request = &mut stream.sides[Side::Request as usize];
        (request.head, request.ended) = (true, true);
        stream.exchange.request_bytes = Some(0);
        self.ask(id, stream, cx);
    }

    fn begin(&mut self, opening: Opening, cx: &mut Context<'_>) -> Stream {
        let mut exchange = Exchange::new(opening.first, u64::MAX, Protocol::Http2, cx.shared);
        exchange.stream = Some(opening.stream);
        Stream::new(exchange, self.losses)
    }

    /// Reads the head of a request.
    fn describe(&mut self, side: Side, block: Option<&[u8]>, exchange: &mut Exchange) -> fields::Request {
        let Some(block) = block else {
            return fields::Request { unknown: true, ..fields::Request::default() };
        };
        exchange.request_header_bytes = Some(block.len() as u64);
        fields::request(&mut self.sides[side as usize].decoder, block, exchange)
    }

    /// A request waits for its response from here on.
    fn ask(&mut self, id: u32, mut stream: Stream, cx: &mut Context<'_>) {
        stream.exchange.ordinal = self.requests;
        self.requests += 1;
        self.answered += usize::from(stream.answered.is_some());
        let fits = cx.shared.hold(&mut stream.exchange, &cx.link);
        self.streams.insert(id, stream);
        if !fits || self.streams.len() > cx.shared.config.max_pending {
            cx.shared.stats.limits_reached += 1;
            self.give_up(EndReason::Gap, cx);
        }
    }

    /// The head of a response, an interim one, or its trailers.
    fn response(&mut self, opening: Opening, block: Option<&[u8]>, timed: bool, cx: &mut Context<'_>) {
        let id = opening.stream;
        if !self.streams.contains_key(&id) {
            if id <= self.last || id.is_multiple_of(2) {
                self.pass(Side::Response, block);
                return;
            }
            // Its request may have been recorded late.
            if self.unasked == MAX_UNASKED {
                self.forget_unasked(u32::MAX, u64::MAX, cx);
            }
            let mut stream = self.begin(opening, cx);
            stream.unasked = Some(opening.first.ts_ns);
            self.unasked += 1;
            self.streams.insert(id, stream);
        }
        let Self { streams, sides, .. } = self;
        let Some(stream) = streams.get_mut(&id) else { return };
        let read = match block {
            Some(block) => {
                fields::response(&mut sides[Side::Response as usize].decoder, block, &mut stream.exchange)
            }
            None => fields::Response::default(),
        };
        let exchange = &mut stream.exchange;
        cx.shared.count(exchange);
        if read.status.is_some_and(|status| status < 200) {
            return;
        }
        let progress = &mut stream.sides[Side::Response as usize];
        let first = !progress.head;
        progress.head = true;
        if first || exchange.status.is_none() && read.status.is_some() {
            exchange.status = read.status;
            exchange.response_header_bytes = block.map(|block| block.len() as u64);
            if exchange.texts.get(Text::RequestType).is_none() {
                stream.speak(Side::Response, read.grpc);
            }
        }
        if first {
            stream.length = read.length;
            stream.answered_until(timed.then_some(cx.now.ts_ns));
        }
        let exchange = &stream.exchange;
        let tunnel = exchange.is("CONNECT") && exchange.status.is_some_and(|status| status < 300);
        if tunnel && let Some(Stream { mut exchange, .. }) = self.take(id) {
            exchange.response_bytes = Some(0);
            self.settled.push((exchange, EndReason::ProtocolSwitch, timed.then_some(cx.now.ts_ns)));
        }
    }

    /// One side of a stream has sent its last byte: when, is known but where calls were lost.
    pub(super) fn stream_ends(&mut self, side: Side, id: u32, timed: bool, cx: &mut Context<'_>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.end(side, self.losses[side as usize]);
        let answered = match side {
            Side::Request => stream.answered,
            Side::Response => {
                let end = timed.then_some(cx.now.ts_ns);
                // The request of a client may have gone out before, and be recorded after.
                let waits = cx.link.kind == Kind::Client && !stream.sides[Side::Request as usize].ended;
                if stream.unasked.is_some() || waits {
                    stream.answered = Some(end);
                    self.answered += usize::from(stream.unasked.is_none());
                    return;
                }
                Some(end)
            }
        };
        if let Some(end) = answered.filter(|_| stream.unasked.is_none())
            && let Some(stream) = self.take(id)
        {
            self.answer(stream.exchange, end);
        }
    }

    /// A stream was ended at once, by either side.
    pub(super) fn reset(&mut self, id: u32, cx: &mut Context<'_>) {
        if let Some(mut stream) = self.take(id) {
            if stream.is_doubtful(self.losses) {
                stream.exchange.rpc.request.lose();
                stream.exchange.rpc.response.lose();
            }
            self.let_off(stream, EndReason::Reset, cx);
        }
    }

    /// The server works on no stream of its client above `last` (RFC 9113 section 6.8).
    pub(super) fn refuse_above(&mut self, last: u32, cx: &mut Context<'_>) {
        let refused = self.streams.iter().filter(|(id, stream)| {
            **id > last && !id.is_multiple_of(2) && !stream.sides[Side::Response as usize].head
        });
        let refused: Vec<u32> = refused.map(|(id, _)| *id).collect();
        for id in refused {
            self.reset(id, cx);
        }
    }

    /// Settles what is answered, and does not wait any longer for the end of the request.
    pub(super) fn let_go(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.ts_ns;
        let over = |end: Option<u64>| end.is_none_or(|end| end.saturating_add(EARLY_NS) < now);
        let old = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.unasked.is_none() && stream.answered.is_some_and(over));
        let old: Vec<u32> = old.map(|(id, _)| *id).collect();
        for id in old {
            if let Some(stream) = self.take(id) {
                self.let_off(stream, EndReason::Gap, cx);
            }
        }
    }

    /// Settles everything.
    pub(super) fn give_up(&mut self, reason: EndReason, cx: &mut Context<'_>) {
        for (_, mut stream) in mem::take(&mut self.streams) {
            if reason == EndReason::Closed {
                stream.close(self.losses);
            }
            let doubtful = stream.is_doubtful(self.losses);
            self.let_off(stream, if doubtful { EndReason::Gap } else { reason }, cx);
        }
        (self.unasked, self.answered) = (0, 0);
    }

    /// Settles a stream that no frame will come on any more.
    fn let_off(&mut self, stream: Stream, reason: EndReason, cx: &mut Context<'_>) {
        match stream {
            Stream { unasked: Some(_), exchange, .. } => {
                cx.shared.stats.unsolicited_responses += 1;
                cx.shared.discard(exchange);
            }
            Stream { answered: Some(end), exchange, .. } => self.answer(exchange, end),
            Stream { exchange, .. } => self.settled.push((exchange, reason, None)),
        }
    }

    /// A response has ended, at this time if that is known.
    fn answer(&mut self, exchange: Exchange, end: Option<u64>) {
        let reason = if end.is_some() { EndReason::Response } else { EndReason::Gap };
        self.settled.push((exchange, reason, end));
    }

    /// A request begins on stream `id` at `ts_ns`: gives up responses on lower ones, whose requests cannot come any more,
    /// and one on its own that came too long before it.
    fn forget_unasked(&mut self, id: u32, ts_ns: u64, cx: &mut Context<'_>) {
        let late = self.streams.iter().filter(|(of, stream)| {
            stream.unasked.is_some_and(|came| **of < id || came.saturating_add(EARLY_NS) < ts_ns)
        });
        let late: Vec<u32> = late.map(|(id, _)| *id).collect();
        for id in late {
            if let Some(stream) = self.take(id) {
                self.let_off(stream, EndReason::Gap, cx);
            }
        }
    }

    /// Takes a stream out.
    fn take(&mut self, id: u32) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        if stream.unasked.is_some() {
            self.unasked -= 1;
        } else {
            self.answered -= usize::from(stream.answered.is_some());
        }
        Some(stream)
    }
}
