//! HTTP/1.x on one connection: responses are paired with requests in order (RFC 9112 section 9.3).
//!
//! Each direction is read as a series of messages; requests wait in a queue for the responses of the other
//! direction. Where bytes are missing that are needed, pairing stops and begins again at a point where it
//! is certain: nothing is paired across an unknown gap. `docs/pairing.md` has the rules in prose.

mod body;
pub(crate) mod head;

use std::collections::VecDeque;
use std::mem;
use std::ops::ControlFlow::{self, Break, Continue};

use beyla_schema::request::EndReason;

use crate::Sink;
use crate::exchange::{Exchange, Link, Moment, Shared};
use crate::stream::Call;
use body::{Body, Progress};
use head::{Framing, RequestHead, ResponseHead};

/// How much later than its response a request may be recorded. A client's reading thread can be ahead of its
/// writing thread by as long as the scheduler holds the latter back.
const EARLY_NS: u64 = 10_000_000;

/// Calls kept of responses that came before their request.
const MAX_PARKED: usize = 8;

/// Buffers above this size are not kept for the next message.
const SPARE_CAPACITY: usize = 4096;

/// The part a direction plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// What a call is worked on with.
pub(crate) struct Context<'a> {
    pub(crate) link: Link,
    /// The call whose bytes are read.
    pub(crate) now: Moment,
    /// Time of the event at work, later than `now` when a parked call is made up for.
    pub(crate) event_ns: u64,
    pub(crate) shared: &'a mut Shared,
    pub(crate) sink: &'a mut dyn Sink,
}

/// The state of a connection that speaks HTTP/1.x.
#[derive(Debug)]
pub(crate) struct Pairing {
    request: Reader,
    response: Reader,
    /// Requests whose response is not complete, oldest first. Only the oldest can have begun to be answered.
    pending: VecDeque<Exchange>,
    /// Calls of a response that came before its request.
    parked: Vec<Parked>,
    /// Requests seen.
    requests: u64,
    /// Seen from its first byte, without a loss of boundaries.
    begun: bool,
    answered: bool,
    /// The client sends requests without waiting for the responses to those it sent in earlier calls.
    interleaved: bool,
    /// Requests were given up since the last call of a response, which may still answer them.
    unanswered: bool,
}

/// One direction.
#[derive(Debug)]
struct Reader {
    phase: Phase,
    /// The beginning of a head that came in pieces.
    buffer: Vec<u8>,
    /// The call with the first byte of the message.
    first: Moment,
    /// Time of the last byte that belonged to a message.
    last_ns: u64,
    /// The message was found by its looks, not by the end of the one before.
    found: bool,
}

/// What the next bytes of a direction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A head, or the rest of one.
    Head,
    Body(Body),
    /// A body whose end cannot be told from its framing; its last call may show it.
    Hidden,
    /// Unknown. The next call that begins like a message does begin one.
    Seek,
    /// Unknown, and no call can be trusted before the next request. Responses only.
    Lost,
}

/// A call that is kept until its request comes.
#[derive(Debug)]
struct Parked {
    now: Moment,
    head: Vec<u8>,
    hidden: u64,
    tail: Vec<u8>,
}

impl Reader {
    fn new(phase: Phase) -> Self {
        Self { phase, buffer: Vec::new(), first: Moment::default(), last_ns: 0, found: false }
    }

    /// A call that begins like a message is taken for one.
    fn begin(&mut self) {
        self.phase = Phase::Head;
        self.found = true;
    }

    /// Empties the buffer, with its memory if that is much.
    fn clear(&mut self, shared: &mut Shared) {
        shared.memory -= self.buffer.len();
        if self.buffer.capacity() > SPARE_CAPACITY {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
    }
}

impl Pairing {
    /// A connection that is seen from its first byte.
    pub(crate) fn begun() -> Self {
        Self::new(true, Phase::Head, Phase::Head)
    }

    /// A connection that is first seen in its middle.
    pub(crate) fn found() -> Self {
        Self::new(false, Phase::Seek, Phase::Lost)
    }

    fn new(begun: bool, request: Phase, response: Phase) -> Self {
        Self {
            request: Reader::new(request),
            response: Reader::new(response),
            pending: VecDeque::new(),
            parked: Vec::new(),
            requests: 0,
            begun,
            answered: false,
            interleaved: false,
            unanswered: false,
        }
    }

    /// Whether a response was seen.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Takes the bytes of one call. Breaks when the connection is not, or no longer, HTTP/1.x.
    pub(crate) fn call(&mut self, side: Side, call: &Call<'_>, cx: &mut Context<'_>) -> ControlFlow<()> {
        if call.late && side == Side::Request {
            // Its response is still to come, and would be taken for that of a request seen before it.
            self.lose(Side::Response, cx);
            self.unanswered = true;
        }
        if call.is_old() {
            return Continue(());
        }
        if call.lost > 0 {
            self.missing(side, call.lost, false, cx);
        }
        self.unanswered &= side == Side::Request;
        let early = side == Side::Response
            && self.response.phase == Phase::Head
            && self.request.phase != Phase::Seek
            && self.pending.is_empty();
        if early {
            return self.park(call, cx);
        }
        self.pass(side, call, cx)?;
        if self.parked.is_empty() || self.pending.is_empty() {
            return Continue(());
        }
        self.unpark(cx)
    }

    /// The side that answers has sent its last byte: so ends a response of unknown length.
    pub(crate) fn response_ended(&mut self, cx: &mut Context<'_>) {
        if let Phase::Body(body @ Body::UntilClose { .. }) = self.response.phase {
            cx.now.ts_ns = self.response.last_ns;
            self.finish(Side::Response, Some(body.bytes()), cx);
        }
    }

    /// Settles what is unfinished, and gives back all memory.
    pub(crate) fn end(&mut self, reason: EndReason, cx: &mut Context<'_>) {
        self.flush(reason, cx);
        self.drop_parked(cx);
        self.request.clear(cx.shared);
        self.response.clear(cx.shared);
    }

    /// Forgets everything: what was taken for requests was none.
    pub(crate) fn abandon(&mut self, shared: &mut Shared) {
        self.pending.drain(..).for_each(|exchange| shared.release(exchange));
        self.request.clear(shared);
        self.response.clear(shared);
        *self = Self { requests: self.requests, ..Self::found() };
    }

    /// Reads the bytes of one call.
    fn pass(&mut self, side: Side, call: &Call<'_>, cx: &mut Context<'_>) -> ControlFlow<()> {
        if call.seen == 0 {
            self.recognise(side, call.head, cx);
        }
        self.feed(side, call.head, cx)?;
        let mut end = call.head;
        if call.hidden > 0 {
            self.missing(side, call.hidden, true, cx);
            end = call.tail;
        }
        if !call.tail.is_empty() {
            self.feed(side, call.tail, cx)?;
            end = call.tail;
        }
        if self.reader(side).phase == Phase::Hidden && body::ends_chunks(end) {
            self.finish(side, None, cx);
        }
        Continue(())
    }

    /// Looks whether a call begins a message, where that is not known from the bytes before it.
    fn recognise(&mut self, side: Side, call: &[u8], cx: &mut Context<'_>) {
        let answered = self.pending.is_empty();
        match (side, self.request.phase, self.response.phase) {
            (Side::Request, Phase::Seek, _) if head::begins_request(call) => self.request.begin(),
            (Side::Request, Phase::Hidden, _) if answered && head::begins_request_line(call) => {
                self.request.begin();
            }
            // A client that was refused before it sent the body (RFC 9110 section 10.1.1) may omit it.
            (Side::Request, Phase::Body(body), _)
                if answered && body.is_untouched() && head::begins_request_line(call) =>
            {
                self.request.phase = Phase::Head;
            }
            (Side::Response, _, Phase::Seek) if head::begins_response(call) => self.response.begin(),
            (Side::Response, _, Phase::Lost) if head::begins_response(call) => {
                cx.shared.stats.unsolicited_responses += 1;
            }
            _ => {}
        }
    }

    fn reader(&mut self, side: Side) -> &mut Reader {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// Reads captured bytes.
    fn feed(&mut self, side: Side, mut bytes: &[u8], cx: &mut Context<'_>) -> ControlFlow<()> {
        while !bytes.is_empty() {
            let reader = self.reader(side);
            match &mut reader.phase {
                Phase::Head => bytes = self.head(side, bytes, cx)?,
                Phase::Body(body) => {
                    reader.last_ns = cx.now.ts_ns;
                    match body.feed(bytes) {
                        Progress::More => return Continue(()),
                        Progress::Done(used) => {
                            let total = body.bytes();
                            bytes = &bytes[used as usize..];
                            self.finish(side, Some(total), cx);
                        }
                        Progress::Lost => self.lose(side, cx),
                    }
                }
                Phase::Hidden => return Continue(()),
                Phase::Seek | Phase::Lost => {
                    cx.shared.stats.unparsed_bytes += bytes.len() as u64;
                    return Continue(());
                }
            }
        }
        Continue(())
    }

    /// Reads bytes of a head; gives back those after it.
    fn head<'b>(&mut self, side: Side, bytes: &'b [u8], cx: &mut Context<'_>) -> ControlFlow<(), &'b [u8]> {
        let unasked = side == Side::Response && self.pending.is_empty();
        let reader = self.reader(side);
        if !reader.buffer.is_empty() {
            return self.rest_of_head(side, bytes, cx);
        }
        // Blank lines before a message are ignored (RFC 9112 section 2.2).
        let bytes = trim_blank(bytes);
        if bytes.is_empty() {
            return Continue(bytes);
        }
        reader.first = cx.now;
        if unasked {
            cx.shared.stats.unsolicited_responses += 1;
            reader.phase = Phase::Lost;
            return Continue(bytes);
        }
        match head::end(bytes, 0) {
            Some(end) => {
                self.message(side, &bytes[..end], cx)?;
                Continue(&bytes[end..])
            }
            None => self.rest_of_head(side, bytes, cx),
        }
    }

    /// Keeps bytes of a head that comes in pieces, and reads it when it is complete.
    fn rest_of_head<'b>(
        &mut self,
        side: Side,
        bytes: &'b [u8],
        cx: &mut Context<'_>,
    ) -> ControlFlow<(), &'b [u8]> {
        let reader = self.reader(side);
        let known = reader.buffer.len();
        let room = cx.shared.config.max_head.saturating_sub(known).min(bytes.len());
        reader.buffer.extend_from_slice(&bytes[..room]);
        cx.shared.memory += room;
        if let Some(end) = head::end(&reader.buffer, known.saturating_sub(2)) {
            let buffer = mem::take(&mut reader.buffer);
            let flow = self.message(side, &buffer[..end], cx);
            let reader = self.reader(side);
            reader.buffer = buffer;
            reader.clear(cx.shared);
            flow?;
            return Continue(&bytes[end - known..]);
        }
        // Looked at again only where the answer can change: in the method, and at the end of the line.
        let telling = known < SPARE_CAPACITY && (known < 64 || bytes.contains(&b'\n'));
        if telling && !side.may_begin(&reader.buffer) {
            self.refuse(side, cx)?;
            return Continue(bytes);
        }
        if room < bytes.len() || cx.shared.memory > cx.shared.config.max_memory {
            cx.shared.stats.limits_reached += 1;
            self.lose(side, cx);
        }
        Continue(&[])
    }

    /// Takes a complete head.
    fn message(&mut self, side: Side, head: &[u8], cx: &mut Context<'_>) -> ControlFlow<()> {
        match side {
            Side::Request => match head::request(head) {
                Some(head) if !self.request.found || head::is_registered(head.method) => {
                    let (phase, body) = match head.fields.framing() {
                        Framing::Silent | Framing::Length(0) => (Phase::Head, Some(0)),
                        Framing::Length(length) => (Phase::Body(Body::length(length)), None),
                        Framing::Chunked => (Phase::Body(Body::chunked()), None),
                        Framing::Coded | Framing::Invalid => (Phase::Seek, None),
                    };
                    self.ask(&head, body, cx);
                    self.request.phase = phase;
                    Continue(())
                }
                _ => self.refuse(side, cx),
            },
            Side::Response => match head::response(head) {
                Some(head) => self.answer(&head, cx),
                None => self.refuse(side, cx),
            },
        }
    }
}

/// What to do with requests and responses once they are recognised, and when they cannot be.
impl Pairing {
    /// Queues a request, whose body has so many bytes if that is known already.
    fn ask(&mut self, head: &RequestHead<'_>, body: Option<u64>, cx: &mut Context<'_>) {
        let first = self.request.first;
        // In any of these states the next response may belong to another request than this one.
        let in_doubt = match self.response.phase {
            Phase::Seek => self.pending.front().is_some_and(|front| front.first.call != first.call),
            Phase::Lost => self.interleaved || self.unanswered,
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
    fn answer(&mut self, head: &ResponseHead<'_>, cx: &mut Context<'_>) -> ControlFlow<()> {
        let Some(exchange) = self.pending.front_mut() else {
            return Continue(());
        };
        self.answered = true;
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
                self.response.phase = Phase::Body(Body::UntilClose { total: 0 })
            }
            Framing::Invalid => self.hide(cx),
        }
        Continue(())
    }

    /// The message of a direction is complete, with a body of so many bytes if that is known.
    fn finish(&mut self, side: Side, body: Option<u64>, cx: &mut Context<'_>) {
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
    fn settle(&mut self, reason: EndReason, end_ns: Option<u64>, cx: &mut Context<'_>) {
        if let Some(exchange) = self.pending.pop_front() {
            cx.shared.settle(exchange, &cx.link, reason, end_ns, cx.event_ns, cx.sink);
        }
    }

    /// Hands out all requests, without a response.
    fn flush(&mut self, reason: EndReason, cx: &mut Context<'_>) {
        while !self.pending.is_empty() {
            self.settle(reason, None, cx);
        }
        self.pending.shrink_to(64);
    }

    /// The boundaries of messages are not known from here on.
    fn lose(&mut self, side: Side, cx: &mut Context<'_>) {
        self.begun = false;
        cx.shared.stats.desynchronisations += 1;
        self.reader(side).clear(cx.shared);
        match side {
            Side::Request => self.request.phase = Phase::Seek,
            Side::Response => {
                self.flush(EndReason::Gap, cx);
                self.drop_parked(cx);
                self.response.phase = Phase::Lost;
            }
        }
    }

    /// The end of the response is not known. If more requests wait, their responses may be hidden too.
    fn hide(&mut self, cx: &mut Context<'_>) {
        if self.pending.len() > 1 {
            self.lose(Side::Response, cx);
        } else {
            self.response.phase = Phase::Hidden;
        }
    }

    /// Bytes in the place of a head are none.
    fn refuse(&mut self, side: Side, cx: &mut Context<'_>) -> ControlFlow<()> {
        if self.begun && self.requests == 0 {
            cx.shared.stats.not_http_connections += 1;
            self.end(EndReason::Gap, cx);
            return Break(());
        }
        self.lose(side, cx);
        Continue(())
    }

    /// Passes over `count` bytes that are missing: within a call, whose time is that of the missing bytes
    /// too, or not.
    fn missing(&mut self, side: Side, count: u64, within_call: bool, cx: &mut Context<'_>) {
        let reader = self.reader(side);
        match &mut reader.phase {
            Phase::Body(body) => {
                let progress = body.skip(count);
                let total = body.bytes();
                match progress {
                    Progress::More => {
                        if within_call {
                            reader.last_ns = cx.now.ts_ns;
                        }
                    }
                    Progress::Done(used) => {
                        if side == Side::Request || within_call {
                            self.finish(side, Some(total), cx);
                        } else {
                            // When the last byte moved is not known.
                            self.response.phase = Phase::Head;
                            self.settle(EndReason::Gap, None, cx);
                        }
                        if used < count {
                            self.lose(side, cx);
                        }
                    }
                    Progress::Lost if !within_call => self.lose(side, cx),
                    Progress::Lost if side == Side::Request => reader.phase = Phase::Hidden,
                    Progress::Lost => self.hide(cx),
                }
            }
            Phase::Head if !reader.buffer.is_empty() => self.cut_head(side, within_call, cx),
            Phase::Head => self.lose(side, cx),
            Phase::Hidden if !within_call => self.lose(side, cx),
            Phase::Seek if side == Side::Response => self.lose(side, cx),
            Phase::Hidden | Phase::Seek | Phase::Lost => {}
        }
    }

    /// The rest of a head is missing. Its first line still tells whose turn it is.
    fn cut_head(&mut self, side: Side, within_call: bool, cx: &mut Context<'_>) {
        let buffer = mem::take(&mut self.reader(side).buffer);
        let lines = &buffer[..memchr::memrchr(b'\n', &buffer).map_or(0, |end| end + 1)];
        let mut open_end = false;
        match side {
            Side::Request => {
                if let Some(head) = head::request(lines) {
                    self.ask(&head, None, cx);
                }
            }
            Side::Response => {
                if let (Some(head), Some(exchange)) = (head::response(lines), self.pending.front_mut())
                    && head.status >= 200
                {
                    exchange.status = Some(head.status);
                    open_end = within_call;
                }
            }
        }
        self.reader(side).buffer = buffer;
        if open_end {
            self.response.clear(cx.shared);
            self.hide(cx);
        } else {
            self.lose(side, cx);
        }
    }

    /// Keeps a call of a response that no request is waiting for: the request may have been recorded late.
    fn park(&mut self, call: &Call<'_>, cx: &mut Context<'_>) -> ControlFlow<()> {
        if self.parked.is_empty() {
            let bytes = trim_blank(call.head);
            if bytes.is_empty() && call.hidden == 0 && call.tail.is_empty() {
                return Continue(());
            }
            if !head::may_be_response(bytes) {
                return self.refuse(Side::Response, cx);
            }
        }
        let size = self.parked.iter().map(Parked::size).sum::<usize>() + call.head.len() + call.tail.len();
        if self.parked.len() == MAX_PARKED || size > cx.shared.config.max_head {
            self.lose(Side::Response, cx);
            return Continue(());
        }
        let parked =
            Parked { now: cx.now, head: call.head.to_vec(), hidden: call.hidden, tail: call.tail.to_vec() };
        cx.shared.memory += parked.size();
        self.parked.push(parked);
        Continue(())
    }

    /// A request has come: parked calls are its response if they came only a moment before it.
    fn unpark(&mut self, cx: &mut Context<'_>) -> ControlFlow<()> {
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
        for parked in mem::take(&mut self.parked) {
            cx.shared.memory -= parked.size();
            cx.now = parked.now;
            let call =
                Call { head: &parked.head, hidden: parked.hidden, tail: &parked.tail, ..Call::default() };
            self.pass(Side::Response, &call, cx)?;
        }
        cx.now = now;
        Continue(())
    }

    /// Gives up a response that came without a request.
    fn drop_parked(&mut self, cx: &mut Context<'_>) {
        if self.parked.is_empty() {
            return;
        }
        cx.shared.stats.unsolicited_responses += 1;
        for parked in self.parked.drain(..) {
            cx.shared.memory -= parked.size();
            cx.shared.stats.unparsed_bytes += (parked.head.len() + parked.tail.len()) as u64;
        }
        self.response.phase = Phase::Seek;
    }
}

impl Side {
    /// Whether a message of this side may begin like this.
    fn may_begin(self, bytes: &[u8]) -> bool {
        match self {
            Self::Request => head::may_be_request(bytes),
            Self::Response => head::may_be_response(bytes),
        }
    }
}

impl Parked {
    fn size(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

fn trim_blank(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    &bytes[blank..]
}
