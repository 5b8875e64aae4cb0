//! One connection: the bytes of each direction in their order, and which protocol masks them.

use std::ops::Range;

use beyla_schema::event::{Data, Direction};

use crate::http2::frame::Head;
use crate::stream::Stream;

use super::asked::Asked;
use super::framing::{Event, Framer, Gap, Region};
use super::http2::Frames;
use super::output::Output;
use super::policy::Policy;
use super::scan::{Mask, Scanner, is_binary};

/// State of a connection, as one source sees it.
#[derive(Debug)]
pub(super) struct Connection {
    sides: [Side; 2],
    asked: Asked,
    /// The direction that moved bytes last.
    last: Option<Direction>,
}

/// One direction.
#[derive(Debug)]
struct Side {
    stream: Stream,
    protocol: Protocol,
}

#[derive(Debug)]
enum Protocol {
    /// HTTP/1.x, or any text.
    Text {
        framer: Framer,
        scanner: Scanner,
    },
    Http2(Box<Frames>),
}

impl Connection {
    /// A connection whose every byte will be seen.
    pub(super) fn begun() -> Self {
        Self::new(|| Side {
            stream: Stream::BEGUN,
            protocol: Protocol::Text { framer: Framer::begun(), scanner: Scanner::begun() },
        })
    }

    /// A connection that may have moved bytes before.
    pub(super) fn found() -> Self {
        Self::new(|| Side {
            stream: Stream::FOUND,
            protocol: Protocol::Text { framer: Framer::found(), scanner: Scanner::found() },
        })
    }

    fn new(side: impl Fn() -> Side) -> Self {
        Self { sides: [side(), side()], asked: Asked::default(), last: None }
    }

    /// Masks the secrets of one call.
    pub(super) fn data(
        &mut self,
        policy: &Policy,
        data: &Data<'_>,
        payload: &mut Output<'_>,
        tail: &mut Output<'_>,
    ) {
        let turned = self.last.is_some_and(|last| last != data.direction);
        self.last = Some(data.direction);
        let (this, other) = match (&mut self.sides, data.direction) {
            ([receive, send], Direction::Receive) => (receive, send),
            ([receive, send], Direction::Send) => (send, receive),
        };
        let call = this.stream.advance(data);
        // Where the new bytes lie. Others were seen before, came too late, or contradict the length of the call: what
        // they are is not known, and nobody needs them.
        let captured = payload.source().len().min(data.length as usize);
        let mut head = captured - call.head.len()..captured;
        let end = tail.source().len() - call.tail.len()..tail.source().len();
        payload.fill(0..head.start);
        payload.fill(head.end..payload.source().len());
        tail.fill(0..end.start);
        if call.is_old() {
            return;
        }
        let mut work = Work { side: this, other, asked: &mut self.asked, policy };
        if call.lost > 0 {
            work.gap(call.lost);
        }
        if call.seen == 0 && !call.head.is_empty() {
            work.call(call.head, turned);
            if work.is_stranger() && begins_record(call.head) {
                // Without it nobody could tell ciphertext, of which there is nothing to hide.
                head.start += RECORD_HEAD;
            }
        }
        work.piece(payload, head);
        if call.hidden > 0 {
            work.gap(call.hidden);
        }
        work.piece(tail, end);
    }
}

/// Bytes of the head of a TLS record.
const RECORD_HEAD: usize = 5;

/// Whether these bytes may be a TLS record (RFC 8446, section 5.1).
fn begins_record(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=23, 3, 0..=4, _, _, ..])
}

/// What a call is worked on with.
struct Work<'a> {
    side: &'a mut Side,
    other: &'a mut Side,
    asked: &'a mut Asked,
    policy: &'a Policy,
}

impl Work<'_> {
    /// A call begins with `bytes`.
    fn call(&mut self, bytes: &[u8], turned: bool) {
        match &mut self.side.protocol {
            Protocol::Text { framer, .. } => framer.call(bytes, turned),
            Protocol::Http2(frames) => frames.call(bytes),
        }
    }

    /// Whether it is not known what the direction speaks.
    fn is_stranger(&self) -> bool {
        matches!(&self.side.protocol, Protocol::Text { framer, .. } if framer.is_unknown())
    }

    fn gap(&mut self, count: u64) {
        match &mut self.side.protocol {
            Protocol::Text { framer, scanner } => scanner.gap(match framer.gap(count, self.asked) {
                Gap::Body => Mask::Off,
                Gap::Chunks => Mask::Chunks,
                Gap::Unknown => Mask::Unknown,
            }),
            Protocol::Http2(frames) => frames.gap(count),
        }
    }

    /// Masks the secrets in bytes that follow each other.
    fn piece(&mut self, out: &mut Output<'_>, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let bytes = &out.source()[..range.end];
        let strict = self.policy.masks_bodies();
        let mut at = range.start;
        // Up to where the scanner has come: the lines of a head are scanned at once.
        let mut scanned = at;
        while at < range.end {
            let Protocol::Text { framer, scanner } = &mut self.side.protocol else {
                break;
            };
            if !framer.is_in_head() {
                scanner.scan(self.policy, out, range.start, scanned..at);
                scanned = at;
            }
            let sure = scanner.mask == Mask::Off;
            let step = framer.step(&bytes[at..], sure, strict, self.asked);
            let part = at..at + step.length;
            at = part.end;
            if step.region == Region::Head && step.event == Event::None && framer.is_in_head() {
                continue;
            }
            scanner.scan(self.policy, out, range.start, scanned..part.start);
            scanned = at;
            match step.region {
                // What may begin a message does not end a secret until it does, but is no part of it either.
                Region::Start if !sure => {}
                Region::Body | Region::Other if strict => {
                    let kept = framer.last_chunk(&bytes[part.clone()]);
                    out.fill(part.start..part.end - kept);
                    // Whatever goes on after these bytes is a secret until a message plainly begins, but framing.
                    let over = framer.is_between();
                    scanner.mask = if over { Mask::Unknown } else { Mask::Off };
                }
                region => {
                    if region == Region::Other && framer.is_stranger() && is_binary(&bytes[part.clone()]) {
                        scanner.mask = Mask::Binary;
                    }
                    scanner.scan(self.policy, out, range.start, part);
                }
            }
            match step.event {
                Event::None => {}
                Event::Begins => scanner.mask = Mask::Off,
                Event::Switches => {
                    framer.switch();
                    if let Protocol::Text { framer, .. } = &mut self.other.protocol {
                        framer.switch();
                    }
                }
                Event::Preface => self.speak_http2(Frames::begun()),
                Event::Settings(head) => {
                    let mut frames = Frames::begun();
                    frames.begin_frame(Head::parse(&head));
                    self.speak_http2(frames);
                }
                Event::Frames => self.speak_http2(Frames::found()),
            }
        }
        match &mut self.side.protocol {
            Protocol::Text { scanner, .. } => {
                scanner.scan(self.policy, out, range.start, scanned..at);
                scanner.passed(&bytes[range]);
            }
            Protocol::Http2(frames) => frames.mask(self.policy, out, at..range.end),
        }
    }

    fn speak_http2(&mut self, frames: Frames) {
        self.side.protocol = Protocol::Http2(Box::new(frames));
    }
}
