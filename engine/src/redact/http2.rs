//! Secrets in one direction of an HTTP/2 connection: frames, header blocks, fields.
//!
//! Values are masked where they stand in the header blocks, in their own coding and at their own length, so that
//! frames, blocks and the tables of those who decode them later stay what they were.

use std::ops::Range;

use crate::http2::frame::{self, HEAD, Head, flag, kind};
use crate::http2::hpack::{Decoder, Part, Step};

use super::huffman::{Choice, Masker, Next};
use super::output::Output;
use super::policy::Policy;
use super::query::Query;

/// One direction.
#[derive(Debug)]
pub(super) struct Frames {
    state: State,
    /// The boundaries of frames are known from the first one on.
    sure: bool,
    decoder: Decoder,
    /// The stream whose header block has begun and not ended.
    block: Option<u32>,
    /// The block cannot be read on.
    broken: bool,
    secret: Secret,
    masker: Masker,
    query: Query,
}

#[derive(Debug)]
enum State {
    /// In the head of a frame.
    Head {
        bytes: [u8; HEAD],
        length: usize,
    },
    Payload(Payload),
    /// Unknown, until a call begins with frames.
    Lost,
}

/// What is left of a frame.
#[derive(Clone, Copy, Debug)]
struct Payload {
    head: Head,
    /// Its first byte, the length of the padding, comes next.
    pad_length: bool,
    prefix: u32,
    content: u32,
    padding: u32,
}

/// How much of the value that is read is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secret {
    All,
    Parameters,
}

impl Frames {
    /// For a direction whose first frame comes next.
    pub(super) fn begun() -> Self {
        Self::new(true, Decoder::begun())
    }

    /// For a direction that is first seen in its middle, at the beginning of a frame.
    pub(super) fn found() -> Self {
        Self::new(false, Decoder::found())
    }

    fn new(sure: bool, decoder: Decoder) -> Self {
        Self {
            state: State::Head { bytes: [0; HEAD], length: 0 },
            sure,
            decoder,
            block: None,
            broken: false,
            secret: Secret::All,
            masker: Masker::default(),
            query: Query::default(),
        }
    }

    /// A call begins with `bytes`.
    pub(super) fn call(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Lost) && frame::begins_frames(bytes) {
            self.next_frame();
        }
    }

    /// So many bytes were missed.
    pub(super) fn gap(&mut self, count: u64) {
        let State::Payload(payload) = &mut self.state else {
            return self.lose();
        };
        let left = u64::from(payload.prefix) + u64::from(payload.content) + u64::from(payload.padding);
        // Behind a padding of unknown length lies nothing that is needed, if all of it is content.
        let left = left + u64::from(payload.pad_length);
        if count > left {
            return self.lose();
        }
        if payload.head.is_block() {
            self.decoder.lose();
            self.broken = true;
        }
        let mut count = count as u32;
        if payload.pad_length && count > 0 {
            payload.pad_length = false;
            count -= 1;
        }
        for part in [&mut payload.prefix, &mut payload.content, &mut payload.padding] {
            let missed = count.min(*part);
            *part -= missed;
            count -= missed;
        }
        self.end_frame();
    }

    /// Masks the secrets in `range`.
    pub(super) fn mask(&mut self, policy: &Policy, out: &mut Output<'_>, range: Range<usize>) {
        let bytes = out.source();
        let mut at = range.start;
        while at < range.end {
            match &mut self.state {
                State::Lost => {
                    out.fill(at..range.end);
                    return;
                }
                State::Head { bytes: head, length } => {
                    let taken = (HEAD - *length).min(range.end - at);
                    head[*length..*length + taken].copy_from_slice(&bytes[at..at + taken]);
                    *length += taken;
                    at += taken;
                    if *length == HEAD {
                        let head = Head::parse(head);
                        self.begin_frame(head);
                    }
                }
                State::Payload(payload) if payload.pad_length => {
                    payload.pad_length = false;
                    payload.padding = bytes[at].into();
                    match payload.content.checked_sub(payload.padding) {
                        Some(content) => payload.content = content,
                        None => self.lose(),
                    }
                    at += 1;
                    self.end_frame();
                }
                State::Payload(payload) => {
                    let part = if payload.prefix > 0 {
                        &mut payload.prefix
                    } else if payload.content > 0 {
                        &mut payload.content
                    } else {
                        &mut payload.padding
                    };
                    let taken = (*part as usize).min(range.end - at);
                    let part = at..at + taken;
                    if payload.prefix > 0 {
                        payload.prefix -= taken as u32;
                    } else if payload.content > 0 {
                        payload.content -= taken as u32;
                        let head = payload.head;
                        self.content(policy, out, head, part);
                    } else {
                        payload.padding -= taken as u32;
                        out.fill(part);
                    }
                    at += taken;
                    self.end_frame();
                }
            }
        }
    }

    /// The head of a frame comes next.
    fn next_frame(&mut self) {
        self.state = State::Head { bytes: [0; HEAD], length: 0 };
    }

    /// The boundaries of frames are not known from here on; header blocks may have passed.
    fn lose(&mut self) {
        self.state = State::Lost;
        self.sure = false;
        self.decoder.lose();
        self.block = None;
        self.broken = false;
    }

    /// The payload of a frame comes next.
    pub(super) fn begin_frame(&mut self, head: Head) {
        // Types that are not known are let pass where they are frames for certain.
        let good = if self.sure { head.is_legal() && !head.reserved } else { head.is_plausible() };
        if !good {
            return self.lose();
        }
        match (self.block, head.kind) {
            (Some(stream), kind::CONTINUATION) if stream == head.stream => {}
            // The beginning of this block was not seen.
            (None, kind::CONTINUATION) => {
                self.decoder.lose();
                self.broken = true;
            }
            // Nothing may come between the frames of a block (RFC 9113 section 6.10).
            (Some(_), _) => {
                self.decoder.lose();
                self.block = None;
                self.broken = head.kind == kind::CONTINUATION;
            }
            (None, _) => {}
        }
        if head.is_block() {
            self.block = Some(head.stream);
        }
        let pad_length = head.is_padded();
        let prefix = head.block_prefix();
        let content = head.length - prefix - u32::from(pad_length);
        self.state = State::Payload(Payload { head, pad_length, prefix, content, padding: 0 });
        self.end_frame();
    }

    /// Begins the next frame, if this one is over.
    fn end_frame(&mut self) {
        let State::Payload(payload) = &self.state else { return };
        if payload.pad_length || payload.prefix > 0 || payload.content > 0 || payload.padding > 0 {
            return;
        }
        if payload.head.is_block() && payload.head.has(flag::END_HEADERS) {
            // A block that ends within a field leaves the decoder as one that missed something.
            let _ = self.decoder.end_block();
            self.block = None;
            self.broken = false;
        }
        self.next_frame();
    }

    fn content(&mut self, policy: &Policy, out: &mut Output<'_>, head: Head, range: Range<usize>) {
        match head.kind {
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => self.fragment(policy, out, range),
            kind::PRIORITY | kind::RST_STREAM | kind::SETTINGS | kind::WINDOW_UPDATE => {}
            // Where frames were looked for, they may be none.
            _ if policy.masks_bodies() || !self.sure => out.fill(range),
            _ => {}
        }
    }

    /// Masks the secrets in a piece of a header block.
    fn fragment(&mut self, policy: &Policy, out: &mut Output<'_>, range: Range<usize>) {
        let piece = &out.source()[..range.end];
        let mut at = range.start;
        while !self.broken {
            let before = at;
            match self.decoder.step(piece, &mut at) {
                Ok(None) => return,
                Ok(Some(Step::Value(part))) => self.value(policy, out, &part),
                Ok(Some(Step::Name(_) | Step::Field)) => {}
                Err(_) => {
                    self.broken = true;
                    out.fill(before..range.end);
                    return;
                }
            }
        }
        out.fill(at..range.end);
    }

    /// Masks what is secret of a piece of a value.
    fn value(&mut self, policy: &Policy, out: &mut Output<'_>, part: &Part) {
        if part.first {
            let secret = self.decoder.field().name.is_none_or(|name| policy.is_header(name));
            self.secret = if secret { Secret::All } else { Secret::Parameters };
            self.masker.begin();
            self.query.begin();
        }
        let range = part.range.clone();
        if part.huffman {
            let mut choice = Symbols { secret: self.secret, policy, query: &mut self.query };
            // The decoder has read these bytes before, and found them good.
            let _ = self.masker.mask(out, range, part.last, &mut choice);
        } else if self.secret == Secret::All {
            out.fill(range);
        } else {
            for at in range {
                if self.query.push(policy, out.source()[at]) {
                    out.fill(at..at + 1);
                }
            }
        }
    }
}

/// The symbols of a value that are masked.
struct Symbols<'a> {
    secret: Secret,
    policy: &'a Policy,
    query: &'a mut Query,
}

impl Choice for Symbols<'_> {
    fn masks(&mut self, symbol: u8) -> bool {
        self.secret == Secret::All || self.query.push(self.policy, symbol)
    }

    fn next(&self) -> Next {
        match self.secret {
            Secret::All => Next::Masked,
            Secret::Parameters if self.query.in_value() => Next::MaskedUnlessEnd,
            Secret::Parameters => Next::Kept,
        }
    }
}
