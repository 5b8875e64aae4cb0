//! One direction of a connection as a series of frames, cut anywhere and with bytes missing anywhere.
//!
//! [`Walk`] finds where frames begin and end. What they mean is the business of [`super::session`].

use super::frame::{self, HEAD, Head, PREFACE};
use crate::exchange::Moment;

/// Where in a direction the next byte is.
#[derive(Debug)]
pub(super) struct Walk {
    place: Place,
    /// What was seen of a frame head.
    head: [u8; HEAD],
    seen: u8,
    /// The call with the first byte of the frame.
    pub(super) first: Moment,
    /// No frame was seen yet: the first one is SETTINGS (RFC 9113 section 3.4).
    fresh: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In what a client begins with, after so many bytes of it.
    Preface(u8),
    Head,
    Payload {
        head: Head,
        at: u32,
    },
    /// Unknown, until a call begins like frames.
    Seek,
}

/// What bytes are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'b> {
    /// Part of a frame's payload.
    Payload(Payload<'b>),
    /// No frame can be where one should begin: whatever this is, it is not understood from here on.
    Broken,
}

/// Part of a frame's payload; empty where only the head is there, or where there is no payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'b> {
    pub(super) head: Head,
    /// The head was completed just before.
    pub(super) begins: bool,
    /// Where in the payload the bytes lie.
    pub(super) at: u32,
    pub(super) bytes: &'b [u8],
    /// The frame ends with them.
    pub(super) last: bool,
}

/// What missing bytes were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skipped {
    /// Part of this frame's payload, so many bytes.
    pub(super) payload: Option<(Head, u32)>,
    /// The frame ended with them.
    pub(super) last: bool,
    /// Where frames begin is not known any more.
    pub(super) lost: bool,
}

impl Walk {
    /// For the first byte of a direction.
    pub(super) fn begun(client: bool) -> Self {
        Self::new(if client { Place::Preface(0) } else { Place::Head }, true)
    }

    /// For a direction that is first seen in its middle.
    pub(super) fn found() -> Self {
        Self::new(Place::Seek, false)
    }

    fn new(place: Place, fresh: bool) -> Self {
        Self { place, head: [0; HEAD], seen: 0, first: Moment::default(), fresh }
    }

    /// Where frames begin is not known any more.
    pub(super) fn lose(&mut self) {
        *self = Self::found();
    }

    /// Whether where frames begin is not known.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.place, Place::Seek)
    }

    /// Where frames begin was not known, and a call that begins with `bytes` begins with them: the first on a stream up to
    /// `highest`.
    pub(super) fn recognise(&mut self, bytes: &[u8], highest: u32) -> bool {
        let near = |head: &[u8; HEAD]| Head::parse(head).stream <= highest;
        let found = self.is_lost() && frame::begins_frames(bytes) && bytes.first_chunk().is_some_and(near);
        if found {
            self.place = Place::Head;
        }
        found
    }

    /// Takes bytes off the front of `bytes`, which `now` moved. None when there are no more, or when it is lost.
    pub(super) fn next<'b>(&mut self, bytes: &mut &'b [u8], now: &Moment) -> Option<Piece<'b>> {
        loop {
            match self.place {
                Place::Seek => return None,
                Place::Preface(seen) => {
                    let expected = &PREFACE[usize::from(seen)..];
                    let taken = expected.len().min(bytes.len());
                    let (part, rest) = bytes.split_at(taken);
                    if part != &expected[..taken] {
                        return Some(Piece::Broken);
                    }
                    *bytes = rest;
                    if taken < expected.len() {
                        self.place = Place::Preface(seen + taken as u8);
                        return None;
                    }
                    self.place = Place::Head;
                }
                Place::Head => {
                    if bytes.is_empty() {
                        return None;
                    }
                    if self.seen == 0 {
                        self.first = *now;
                    }
                    let seen = usize::from(self.seen);
                    let (part, rest) = bytes.split_at(bytes.len().min(HEAD - seen));
                    self.head[seen..seen + part.len()].copy_from_slice(part);
                    *bytes = rest;
                    self.seen += part.len() as u8;
                    if usize::from(self.seen) < HEAD {
                        return None;
                    }
                    self.seen = 0;
                    let head = Head::parse(&self.head);
                    let settings = head.kind == frame::kind::SETTINGS;
                    if !head.is_legal() || self.fresh && !settings {
                        return Some(Piece::Broken);
                    }
                    self.fresh = false;
                    self.place = Place::Payload { head, at: 0 };
                    return Some(self.payload(head, 0, true, bytes));
                }
                Place::Payload { head, at } => {
                    if bytes.is_empty() {
                        return None;
                    }
                    return Some(self.payload(head, at, false, bytes));
                }
            }
        }
    }

    fn payload<'b>(&mut self, head: Head, at: u32, begins: bool, bytes: &mut &'b [u8]) -> Piece<'b> {
        let (part, rest) = bytes.split_at(bytes.len().min((head.length - at) as usize));
        *bytes = rest;
        let last = self.pass(head, at, part.len() as u32);
        Piece::Payload(Payload { head, begins, at, bytes: part, last })
    }

    /// Moves on in a payload; says whether it ends there.
    fn pass(&mut self, head: Head, at: u32, count: u32) -> bool {
        let last = at + count == head.length;
        self.place = if last { Place::Head } else { Place::Payload { head, at: at + count } };
        last
    }

    /// So many bytes are missing.
    pub(super) fn skip(&mut self, count: u64) -> Skipped {
        match self.place {
            Place::Payload { head, at } => {
                let passed = u64::from(head.length - at).min(count);
                let last = self.pass(head, at, passed as u32);
                let beyond = passed < count;
                if beyond {
                    self.lose();
                }
                Skipped { payload: Some((head, passed as u32)), last, lost: beyond }
            }
            Place::Seek => Skipped::default(),
            _ => {
                self.lose();
                Skipped { lost: true, ..Skipped::default() }
            }
        }
    }
}
