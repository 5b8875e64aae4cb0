//! HTTP/2 on one connection: requests and responses are paired by the streams they are sent on (RFC 9113 section 5).
//!
//! Both directions are walked frame by frame. Where bytes are missing that are needed, a direction waits for a call that
//! plainly begins with frames; what depends on header blocks that were missed is unknown from there on, and streams whose
//! end was missed end as `gap`. `docs/pairing.md` has the rules in prose.

use std::mem;
use std::ops::ControlFlow::{self, Break, Continue};

use beyla_schema::request::{EndReason, Protocol};
use rustc_hash::FxHashMap;

use super::frame::{Head, flag, kind};
use super::hpack::Decoder;
use super::stream::Stream;
use super::walk::{Payload, Piece, Walk};
use crate::exchange::{Context, Exchange, Moment, Shared, Side};
use crate::stream::Call;

/// How far ahead of those that were seen the next requests may be.
const MAX_AHEAD: u32 = 4096;

/// Buffers above this size are not kept for the next header block.
const SPARE_CAPACITY: usize = 4096;

/// State of a connection that speaks HTTP/2.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) sides: [Half; 2],
    pub(super) streams: FxHashMap<u32, Stream>,
    /// The highest stream that a request came on.
    pub(super) last: u32,
    /// Requests seen.
    pub(super) requests: u64,
    /// Seen from its first byte, and no frame yet that makes no sense.
    begun: bool,
    /// How often each direction has lost its way.
    pub(super) losses: [u32; 2],
    /// Streams whose response came before their request.
    pub(super) unasked: usize,
    /// Streams whose response ended before their request.
    pub(super) answered: usize,
    /// What the running call settles.
    pub(super) settled: Vec<(Exchange, EndReason, Option<u64>)>,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Half {
    walk: Walk,
    pub(super) decoder: Decoder,
    /// What was seen of a header block that comes in pieces, and where in it the running frame begins.
    block: Vec<u8>,
    frame: usize,
    /// The frame that began it.
    opening: Option<Opening>,
    /// Bytes have passed while it was not known where frames begin.
    missed: bool,
    /// When frames were last missed.
    pub(super) lost_ns: u64,
    /// Bytes of padding that the running DATA frame ends with; None when that was not seen.
    padding: Option<u8>,
}

/// The frame that begins a header block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) stream: u32,
    /// It has a request that the server makes, which is this stream's.
    pub(super) promised: bool,
    pub(super) ends_stream: bool,
    pub(super) first: Moment,
    /// Some of the block is missing.
    broken: bool,
}

impl Half {
    fn new(walk: Walk, decoder: Decoder) -> Self {
        Self {
            walk,
            decoder,
            block: Vec::new(),
            frame: 0,
            opening: None,
            missed: false,
            lost_ns: 0,
            padding: None,
        }
    }

    /// Keeps part of a header block. Of one that is too long, nothing is kept.
    fn keep(&mut self, bytes: &[u8], shared: &mut Shared) {
        let Some(opening) = self.opening.as_mut().filter(|opening| !opening.broken) else { return };
        let fits = self.block.len() + bytes.len() <= shared.config.max_head
            && shared.memory + bytes.len() <= shared.config.max_memory;
        if fits {
            shared.memory += bytes.len();
            self.block.extend_from_slice(bytes);
        } else {
            opening.broken = true;
            shared.stats.limits_reached += 1;
            self.clear(shared);
        }
    }

    /// Empties the buffer, with its memory if that is much.
    fn clear(&mut self, shared: &mut Shared) {
        self.frame = 0;
        shared.memory -= self.block.len();
        if self.block.capacity() > SPARE_CAPACITY {
            self.block = Vec::new();
        }
        self.block.clear();
    }
}

impl Session {
    /// A connection that is seen from its first byte.
    pub(crate) fn begun() -> Self {
        let half = |client| Half::new(Walk::begun(client), Decoder::begun());
        Self::new([half(true), half(false)], true)
    }

    /// A connection that is first seen in its middle.
    pub(crate) fn found() -> Self {
        let half = || Half::new(Walk::found(), Decoder::found());
        Self::new([half(), half()], false)
    }

    /// A connection of which one direction alone was missed: a client's preface is there.
    pub(crate) fn prefaced() -> Self {
        let requests = Half::new(Walk::begun(true), Decoder::begun());
        Self::new([requests, Half::new(Walk::found(), Decoder::begun())], true)
    }

    fn new(sides: [Half; 2], begun: bool) -> Self {
        Self {
            sides,
            streams: FxHashMap::default(),
            last: 0,
            requests: 0,
            begun,
            losses: [0; 2],
            unasked: 0,
            answered: 0,
            settled: Vec::new(),
        }
    }

    /// The request that asked for HTTP/2 is answered on stream 1 (RFC 7540 section 3.2).
    pub(crate) fn upgraded(&mut self, mut exchange: Exchange) {
        exchange.stream = Some(1);
        exchange.protocol = Protocol::Http2;
        self.requests = exchange.ordinal + 1;
        self.last = 1;
        let mut stream = Stream::new(exchange, self.losses);
        stream.sides[Side::Request as usize].head = true;
        stream.sides[Side::Request as usize].ended = true;
        self.streams.insert(1, stream);
    }

    /// Takes the bytes of one call. Breaks when the connection is not HTTP/2.
    pub(crate) fn call(&mut self, side: Side, call: &Call<'_>, cx: &mut Context<'_>) -> ControlFlow<()> {
        if call.is_old() {
            return Continue(());
        }
        if self.answered > 0 {
            self.let_go(cx);
        }
        if call.lost > 0 {
            self.missing(side, call.lost, false, cx);
        }
        let highest = self.highest(side);
        let half = &mut self.sides[side as usize];
        half.missed |= call.adrift;
        if call.seen == 0 && half.walk.recognise(call.head, highest) && mem::take(&mut half.missed) {
            half.lost_ns = cx.now.ts_ns;
            self.losses[side as usize] += 1;
        }
        let mut flow = self.feed(side, call.head, cx);
        if call.hidden > 0 && flow.is_continue() {
            self.missing(side, call.hidden, true, cx);
        }
        if flow.is_continue() {
            flow = self.feed(side, call.tail, cx);
        }
        self.hand_out(cx);
        flow
    }

    /// The highest stream that is believed where frames are looked for. Bytes of a body can look like the head of a frame,
    /// but seldom of one on a stream that there may be.
    fn highest(&self, side: Side) -> u32 {
        match side {
            _ if self.last == 0 => u32::MAX,
            Side::Request => self.last.saturating_add(MAX_AHEAD),
            Side::Response => self.last,
        }
    }

    /// Settles what is unfinished, and gives back all memory.
    pub(crate) fn end(&mut self, reason: EndReason, cx: &mut Context<'_>) {
        self.give_up(reason, cx);
        self.hand_out(cx);
        self.sides.iter_mut().for_each(|half| half.clear(cx.shared));
    }

    /// Forgets everything.
    pub(crate) fn abandon(&mut self, shared: &mut Shared) {
        for stream in mem::take(&mut self.streams).into_values() {
            shared.discard(stream.exchange);
        }
        self.sides.iter_mut().for_each(|half| half.clear(shared));
    }

    /// Hands out what the running call has settled, in the order of ordinals.
    fn hand_out(&mut self, cx: &mut Context<'_>) {
        if self.settled.len() > 1 {
            self.settled.sort_unstable_by_key(|(exchange, ..)| exchange.ordinal);
        }
        for (exchange, reason, end_ns) in self.settled.drain(..) {
            cx.shared.settle(exchange, &cx.link, reason, end_ns, cx.sink);
        }
    }

    /// Reads captured bytes.
    fn feed(&mut self, side: Side, mut bytes: &[u8], cx: &mut Context<'_>) -> ControlFlow<()> {
        let before = bytes.len();
        while let Some(piece) = self.sides[side as usize].walk.next(&mut bytes, &cx.now) {
            match piece {
                Piece::Payload(payload) => self.payload(side, payload, cx),
                Piece::Broken => {
                    if self.begun && self.requests == 0 {
                        cx.shared.stats.parsed_bytes += (before - bytes.len()) as u64;
                        cx.shared.stats.not_http_connections += 1;
                        self.end(EndReason::Gap, cx);
                        return Break(());
                    }
                    self.lose(side, cx);
                }
            }
        }
        cx.shared.stats.parsed_bytes += (before - bytes.len()) as u64;
        cx.shared.stats.unparsed_bytes += bytes.len() as u64;
        self.sides[side as usize].missed |= !bytes.is_empty();
        Continue(())
    }

    /// Passes over bytes that are missing: within a call, whose time is theirs too, or before one.
    fn missing(&mut self, side: Side, count: u64, within_call: bool, cx: &mut Context<'_>) {
        let half = &mut self.sides[side as usize];
        half.missed |= half.walk.is_lost();
        let skipped = half.walk.skip(count);
        if let Some((head, count)) = skipped.payload {
            let half = &mut self.sides[side as usize];
            if head.is_block() {
                if let Some(opening) = &mut half.opening {
                    opening.broken = true;
                }
            } else if head.kind == kind::DATA
                && let Some(stream) = self.streams.get_mut(&head.stream)
            {
                stream.missing(side, count);
            }
            if skipped.last {
                self.frame_ends(side, head, &[], within_call, cx);
            }
        }
        if skipped.lost {
            self.lose(side, cx);
        }
    }

    /// Where frames begin is not known in this direction, and some may have been missed.
    fn lose(&mut self, side: Side, cx: &mut Context<'_>) {
        cx.shared.stats.desynchronisations += 1;
        let half = &mut self.sides[side as usize];
        half.walk.lose();
        half.decoder.lose();
        half.opening = None;
        half.lost_ns = cx.now.ts_ns;
        half.clear(cx.shared);
        self.losses[side as usize] += 1;
    }

    /// Takes part of the payload of a frame.
    fn payload(&mut self, side: Side, payload: Payload<'_>, cx: &mut Context<'_>) {
        let Payload { head, begins, at, bytes, last } = payload;
        if begins {
            self.frame_begins(side, head, cx);
        }
        let half = &mut self.sides[side as usize];
        if head.is_block() {
            // The whole of a block lies there, as it nearly always does: nothing is copied.
            let whole = begins && last && head.has(flag::END_HEADERS) && half.block.is_empty();
            if !whole {
                half.keep(bytes, cx.shared);
            }
        } else if head.kind == kind::DATA {
            if head.is_padded() && at == 0 {
                half.padding = half.padding.or(bytes.first().copied());
            }
            if let Some(stream) = self.streams.get_mut(&head.stream) {
                let padding = u32::from(half.padding.unwrap_or(0));
                let start = u32::from(head.is_padded()).max(at);
                let end = (at + bytes.len() as u32).min(head.length.saturating_sub(padding));
                if start < end {
                    stream.body(side, &bytes[(start - at) as usize..(end - at) as usize]);
                }
            }
        }
        if last {
            self.frame_ends(side, head, bytes, true, cx);
        }
    }

    /// The head of a frame was seen.
    fn frame_begins(&mut self, side: Side, head: Head, cx: &mut Context<'_>) {
        let half = &mut self.sides[side as usize];
        half.padding = if head.is_padded() { None } else { Some(0) };
        let continues = head.kind == kind::CONTINUATION;
        if half.opening.is_some() && !continues {
            // Nothing may come between the frames of a header block (RFC 9113 section 6.10).
            half.opening = None;
            half.decoder.lose();
            half.clear(cx.shared);
        }
        if head.is_block() && !continues {
            half.opening = Some(Opening {
                stream: head.stream,
                promised: head.kind == kind::PUSH_PROMISE,
                ends_stream: head.kind == kind::HEADERS && head.has(flag::END_STREAM),
                first: half.walk.first,
                broken: false,
            });
        }
        half.frame = half.block.len();
    }

    /// The last byte of a frame has passed. `bytes` are the last of its payload: all of it, when they are as many. When
    /// it passed is known but where calls were lost.
    fn frame_ends(&mut self, side: Side, head: Head, bytes: &[u8], timed: bool, cx: &mut Context<'_>) {
        match head.kind {
            kind::DATA => {
                let padding = self.sides[side as usize].padding.map(u32::from);
                let Some(stream) = self.streams.get_mut(&head.stream) else { return };
                let padded = u32::from(head.is_padded());
                stream.count(side, padding.map(|padding| head.length.saturating_sub(padding + padded)));
                if side == Side::Response {
                    stream.answered_until(timed.then_some(cx.now.ts_ns));
                }
                if head.has(flag::END_STREAM) {
                    self.stream_ends(side, head.stream, timed, cx);
                }
            }
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => {
                self.block_frame_ends(side, head, bytes, timed, cx);
            }
            kind::RST_STREAM => self.reset(head.stream, cx),
            kind::GOAWAY if side == Side::Response && bytes.len() as u32 == head.length => {
                if let Some(last) = bytes.first_chunk() {
                    self.refuse_above(u32::from_be_bytes(*last) & 0x7fff_ffff, cx);
                }
            }
            _ => {}
        }
    }

    /// A frame with a header block, or a part of one, has ended.
    fn block_frame_ends(&mut self, side: Side, head: Head, bytes: &[u8], timed: bool, cx: &mut Context<'_>) {
        let half = &mut self.sides[side as usize];
        let Some(opening) = &mut half.opening else {
            // The rest of a block whose beginning was missed.
            half.decoder.lose();
            half.clear(cx.shared);
            return;
        };
        let copied = half.block.len() > half.frame;
        let payload = if copied { &half.block[half.frame..] } else { bytes };
        let fragment = if payload.len() == head.length as usize { head.fragment(payload) } else { None };
        let Some(fragment) = fragment.filter(|_| !opening.broken) else {
            opening.broken = true;
            if head.has(flag::END_HEADERS) {
                let opening = *opening;
                half.opening = None;
                half.decoder.lose();
                half.clear(cx.shared);
                self.block(side, opening, None, timed, cx);
            }
            return;
        };
        if let Some(promised) = head.promised(payload) {
            opening.stream = promised;
        }
        let opening = *opening;
        if copied {
            let before = half.block.len();
            half.block.truncate(half.frame + fragment.end);
            half.block.drain(half.frame..half.frame + fragment.start);
            cx.shared.memory -= before - half.block.len();
        }
        if !head.has(flag::END_HEADERS) {
            return;
        }
        half.opening = None;
        if !copied && half.block.is_empty() {
            self.block(side, opening, Some(&bytes[fragment]), timed, cx);
            return;
        }
        let block = mem::take(&mut half.block);
        self.block(side, opening, Some(&block), timed, cx);
        let half = &mut self.sides[side as usize];
        half.block = block;
        half.clear(cx.shared);
    }
}
