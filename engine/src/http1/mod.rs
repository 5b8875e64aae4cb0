//! HTTP/1.x on one connection: responses are paired with requests in order (RFC 9112 section 9.3).
//!
//! Each direction is read as a series of messages; requests wait in a queue for the responses of the other
//! direction. Where bytes are missing that are needed, pairing stops and begins again at a point where it
//! is certain: nothing is paired across an unknown gap. `docs/pairing.md` has the rules in prose.

mod body;
mod early;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod gap;
pub(crate) mod head;
mod queue;

use std::collections::VecDeque;
use std::mem;
use std::ops::ControlFlow::{self, Break, Continue};

use beyla_schema::request::EndReason;

use crate::exchange::{Context, Exchange, Moment, Shared, Side};
use crate::grpc::Messages;
use crate::http2::frame::{PREFACE, begins_settings};
use crate::stream::Call;
use body::{Body, Progress};
use early::Parked;
use head::{Framing, RequestHead, ResponseHead};

/// Buffers above this size are not kept for the next message.
const SPARE_CAPACITY: usize = 4096;

/// What a connection goes on with after it was HTTP/1.x, or was taken for it.
#[derive(Debug, Default)]
pub(crate) enum Leave {
    /// Something that is not decoded.
    #[default]
    Opaque,
    /// TLS: the call and all that follow are ciphertext.
    Tls,
    /// HTTP/2 from the first byte: these of requests were taken already, of the running call none.
    Http2(Vec<u8>),
    /// HTTP/2 after an upgrade (RFC 7540 section 3.2).
    Upgrade(Box<Upgrade>),
}

/// An upgrade to HTTP/2.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// The request that is answered in HTTP/2.
    pub(crate) exchange: Exchange,
    /// What the call with the end of the 101 has behind it.
    pub(crate) rest: Vec<u8>,
    pub(crate) hidden: u64,
    pub(crate) tail: Vec<u8>,
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
    /// Final and interim responses seen.
    responses: u64,
    /// The client sends requests without waiting for the responses to those it sent in earlier calls.
    interleaved: bool,
    /// Requests were given up since the last call of a response, which may still answer them.
    unanswered: bool,
    leave: Leave,
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
    /// The body of the message is one of gRPC messages.
    messages: bool,
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

impl Reader {
    fn new(phase: Phase) -> Self {
        Self {
            phase,
            buffer: Vec::new(),
            first: Moment::default(),
            last_ns: 0,
            found: false,
            messages: false,
        }
    }

    /// A call that begins like a message is taken for one.
    fn begin(&mut self) {
        self.phase = Phase::Head;
        self.found = true;
    }

    /// Hands out what the buffer has.
    fn take(&mut self, shared: &mut Shared) -> Vec<u8> {
        shared.memory -= self.buffer.len();
        mem::take(&mut self.buffer)
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
            responses: 0,
            interleaved: false,
            unanswered: false,
            leave: Leave::Opaque,
        }
    }

    /// What the connection goes on with, after a call broke.
    pub(crate) fn leave(&mut self) -> Leave {
        mem::take(&mut self.leave)
    }

    /// Whether another protocol may be found here: nothing says yet that this is HTTP/1.x.
    pub(crate) fn is_doubtful(&self) -> bool {
        !self.begun && self.responses == 0
    }

    /// Whether a response was seen.
    pub(crate) fn has_answered(&self) -> bool {
        self.responses > 0
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
        self.pending.drain(..).for_each(|exchange| shared.discard(exchange));
        self.request.clear(shared);
        self.response.clear(shared);
        shared.memory -= self.parked.iter().map(Parked::size).sum::<usize>();
        *self = Self { requests: self.requests, ..Self::found() };
    }

    /// Reads the bytes of one call.
    fn pass(&mut self, side: Side, call: &Call<'_>, cx: &mut Context<'_>) -> ControlFlow<()> {
        if call.seen == 0 {
            self.recognise(side, call.head, cx);
        }
        if let Break(()) = self.feed(side, call.head, cx) {
            if let Leave::Upgrade(upgrade) = &mut self.leave {
                upgrade.hidden = call.hidden;
                upgrade.tail = call.tail.to_vec();
            }
            return Break(());
        }
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
            // More requests may be hidden where this one ended; responses cannot outnumber requests.
            if side == Side::Request {
                self.request.phase = Phase::Seek;
            }
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
            (Side::Response, _, Phase::Seek) if !call.is_empty() && head::may_be_response(call) => {
                self.response.begin();
            }
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
            let before = bytes.len();
            match &mut reader.phase {
                Phase::Head => bytes = self.head(side, bytes, cx)?,
                Phase::Body(_) => bytes = self.body(side, bytes, cx),
                // The first call after a request in doubt was to begin its response.
                Phase::Seek if side == Side::Response => self.lose(side, cx),
                Phase::Hidden | Phase::Seek | Phase::Lost => {
                    cx.shared.stats.unparsed_bytes += bytes.len() as u64;
                    return Continue(());
                }
            }
            cx.shared.stats.parsed_bytes += (before - bytes.len()) as u64;
        }
        Continue(())
    }

    /// Reads bytes of a body; gives back those after it.
    fn body<'b>(&mut self, side: Side, bytes: &'b [u8], cx: &mut Context<'_>) -> &'b [u8] {
        let mut messages = self.messages(side).map(mem::take);
        let reader = self.reader(side);
        let Phase::Body(body) = &mut reader.phase else { return bytes };
        reader.last_ns = cx.now.ts_ns;
        let progress = body.feed(bytes, |content| {
            if let Some(messages) = &mut messages {
                messages.feed(content);
            }
        });
        let total = body.bytes();
        if let (Some(messages), Some(place)) = (messages, self.messages(side)) {
            *place = messages;
        }
        match progress {
            Progress::More => &[],
            Progress::Done(used) => {
                self.finish(side, Some(total), cx);
                &bytes[used as usize..]
            }
            Progress::Lost => {
                self.lose(side, cx);
                bytes
            }
        }
    }

    /// Where the gRPC messages of the body that is read are counted, if it has any.
    fn messages(&mut self, side: Side) -> Option<&mut Messages> {
        if !self.reader(side).messages {
            return None;
        }
        match side {
            Side::Request => {
                let last = self.pending.back_mut().filter(|last| last.ordinal + 1 == self.requests);
                last.map(|exchange| &mut exchange.rpc.request)
            }
            Side::Response => self.pending.front_mut().map(|exchange| &mut exchange.rpc.response),
        }
    }

    /// Reads bytes of a head; gives back those after it.
    fn head<'b>(&mut self, side: Side, bytes: &'b [u8], cx: &mut Context<'_>) -> ControlFlow<(), &'b [u8]> {
        let unasked = side == Side::Response && self.pending.is_empty();
        let fresh = self.begun && self.requests == 0 && side == Side::Request;
        let reader = self.reader(side);
        if fresh && is_preface(&reader.buffer, bytes) {
            self.leave = Leave::Http2(reader.take(cx.shared));
            self.drop_parked(cx);
            return Break(());
        }
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
        match Head::read(side, bytes) {
            Some((head, end)) => {
                let flow = self.message(side, &head, &bytes[..end], cx);
                self.switch(flow, end, &bytes[end..], cx)?;
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
            let flow = match Head::read(side, &buffer[..end]) {
                Some((head, end)) => self.message(side, &head, &buffer[..end], cx),
                None => self.message(side, &Head::Other, &buffer[..end], cx),
            };
            let reader = self.reader(side);
            reader.buffer = buffer;
            reader.clear(cx.shared);
            let rest = &bytes[end - known..];
            self.switch(flow, end - known, rest, cx)?;
            return Continue(rest);
        }
        // Looked at again only where the answer can change: in the method, and at the end of the line.
        let telling = known < SPARE_CAPACITY && (known < 64 || bytes.contains(&b'\n'));
        if telling && !may_begin(side, &reader.buffer) {
            let tls = is_tls(&reader.buffer);
            self.refuse(side, tls, cx)?;
            return Continue(bytes);
        }
        if room < bytes.len() || cx.shared.memory > cx.shared.config.max_memory {
            cx.shared.stats.limits_reached += 1;
            self.lose(side, cx);
        }
        Continue(&[])
    }

    /// Where a head has ended the time of HTTP/1.x, its last bytes are part of it, and `rest` is the beginning of what
    /// follows.
    fn switch(
        &mut self,
        flow: ControlFlow<()>,
        last: usize,
        rest: &[u8],
        cx: &mut Context<'_>,
    ) -> ControlFlow<()> {
        if flow.is_break() && self.responses > 0 {
            cx.shared.stats.parsed_bytes += last as u64;
            if let Leave::Upgrade(upgrade) = &mut self.leave {
                upgrade.rest = rest.to_vec();
            }
        }
        flow
    }

    /// Takes a complete head, which consists of these bytes.
    fn message(
        &mut self,
        side: Side,
        head: &Head<'_>,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> ControlFlow<()> {
        let header = Some(bytes.len() as u64);
        match head {
            Head::Request(head) if !self.request.found || head::is_registered(head.method) => {
                let (phase, body) = match head.fields.framing() {
                    Framing::Silent | Framing::Length(0) => (Phase::Head, Some(0)),
                    Framing::Length(length) => (Phase::Body(Body::length(length)), None),
                    Framing::Chunked => (Phase::Body(Body::chunked()), None),
                    Framing::Coded | Framing::Invalid => (Phase::Seek, None),
                };
                self.ask(head, header, body, cx);
                self.request.phase = phase;
                Continue(())
            }
            Head::Response(head) => self.answer(head, header, cx),
            // Ciphertext may have a blank line like any other bytes.
            Head::Request(_) | Head::Other => self.refuse(side, side == Side::Request && is_tls(bytes), cx),
        }
    }
}

/// The head of a message, as it was read.
enum Head<'a> {
    Request(RequestHead<'a>),
    Response(ResponseHead<'a>),
    /// It is none.
    Other,
}

impl<'a> Head<'a> {
    /// Reads the head that `bytes` begin with, and says where it ends. None when it goes on behind them.
    fn read(side: Side, bytes: &'a [u8]) -> Option<(Self, usize)> {
        let read = match side {
            Side::Request => head::request(bytes).map(|head| (head.end, Self::Request(head))),
            Side::Response => head::response(bytes).map(|head| (head.end, Self::Response(head))),
        };
        let (end, head) = read.unwrap_or_else(|| (head::end(bytes, 0), Self::Other));
        Some((head, end?))
    }
}

/// Whether a message of this side may begin like this.
fn may_begin(side: Side, bytes: &[u8]) -> bool {
    match side {
        Side::Request => head::may_be_request(bytes),
        Side::Response => head::may_be_response(bytes),
    }
}

/// Whether a client begins with the preface of HTTP/2: its first line is enough.
fn is_preface(before: &[u8], bytes: &[u8]) -> bool {
    const LINE: usize = b"PRI * HTTP/2.0\r\n".len();
    let (first, second) = PREFACE[..LINE].split_at(before.len().min(LINE));
    before.starts_with(first) && bytes.starts_with(second)
}

/// Whether a connection begins with a TLS handshake (RFC 8446 section 5.1).
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [22] | [22, 3, ..])
}

fn trim_blank(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    &bytes[blank..]
}
