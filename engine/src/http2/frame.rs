//! Frames (RFC 9113 sections 4 and 6): heads, and where header blocks lie in payloads.

use std::ops::Range;

use crate::exchange::Side;

/// What a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame head.
pub const HEAD: usize = 9;

/// Types of frames (RFC 9113 section 6).
pub mod kind {
    /// Body bytes.
    pub const DATA: u8 = 0;
    /// Begins a header block.
    pub const HEADERS: u8 = 1;
    /// Advice that is obsolete.
    pub const PRIORITY: u8 = 2;
    /// Ends a stream at once.
    pub const RST_STREAM: u8 = 3;
    /// What the sender is able to do.
    pub const SETTINGS: u8 = 4;
    /// Begins a header block: that of a request the client did not make.
    pub const PUSH_PROMISE: u8 = 5;
    /// Asks for, or is, a sign of life.
    pub const PING: u8 = 6;
    /// Ends a connection.
    pub const GOAWAY: u8 = 7;
    /// Lets the peer send more.
    pub const WINDOW_UPDATE: u8 = 8;
    /// Continues a header block.
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames (RFC 9113 section 6).
pub mod flag {
    /// The sender is done with the stream.
    pub const END_STREAM: u8 = 0x1;
    /// The header block ends with this frame.
    pub const END_HEADERS: u8 = 0x4;
    /// The payload begins with the length of the padding it ends with.
    pub const PADDED: u8 = 0x8;
    /// Five bytes of priority come before the header block.
    pub const PRIORITY: u8 = 0x20;
}

/// Longer frames, and higher streams, are not believed where frames are looked for.
const MAX_BELIEVED: (u32, u32) = (1 << 16, 1 << 24);

/// Shorter header blocks tell nothing of who sends them: that of a response has a byte for its status, at least, and
/// those of requests have four fields.
const MIN_BLOCK: u32 = 3;

/// Frames that are looked at to tell frames from other bytes.
const MAX_WALK: usize = 8;

/// The head of a frame (RFC 9113 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of payload.
    pub length: u32,
    /// Its type, of [`kind`] or unknown.
    pub kind: u8,
    /// Flags, whose meaning depends on the type.
    pub flags: u8,
    /// The stream it belongs to; 0 for the connection.
    pub stream: u32,
    /// The bit before the stream, which is never set.
    pub reserved: bool,
}

impl Head {
    /// Reads a head.
    pub fn parse(bytes: &[u8; HEAD]) -> Self {
        let [length @ .., kind, flags, _, _, _, _] = *bytes;
        let [.., first, second, third, last] = *bytes;
        let stream = u32::from_be_bytes([first, second, third, last]);
        Self {
            length: length.iter().fold(0, |length, &byte| length << 8 | u32::from(byte)),
            kind,
            flags,
            stream: stream & 0x7fff_ffff,
            reserved: stream >> 31 == 1,
        }
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the frame carries a header block, or a part of one.
    pub fn is_block(&self) -> bool {
        matches!(self.kind, kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION)
    }

    /// Bytes of payload between the length of the padding and the header block: priority, or the promised stream.
    pub fn block_prefix(&self) -> u32 {
        match self.kind {
            kind::HEADERS if self.has(flag::PRIORITY) => 5,
            kind::PUSH_PROMISE => 4,
            _ => 0,
        }
    }

    /// Whether the payload begins with the length of its padding.
    pub fn is_padded(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS | kind::PUSH_PROMISE) && self.has(flag::PADDED)
    }

    /// Where in `payload`, which is whole, the header block or its part lies. None when padding leaves no room for it.
    pub fn fragment(&self, payload: &[u8]) -> Option<Range<usize>> {
        let padding = match payload.first() {
            Some(&padding) if self.is_padded() => usize::from(padding),
            _ => 0,
        };
        let start = self.block_prefix() as usize + usize::from(self.is_padded());
        let end = payload.len().checked_sub(padding)?;
        (start <= end).then_some(start..end)
    }

    /// The stream that `payload`, which is whole, promises (RFC 9113 section 6.6).
    pub fn promised(&self, payload: &[u8]) -> Option<u32> {
        let at = usize::from(self.is_padded());
        let stream = payload.get(at..at + 4).filter(|_| self.kind == kind::PUSH_PROMISE)?;
        Some(stream.iter().fold(0, |stream, &byte| stream << 8 | u32::from(byte)) & 0x7fff_ffff)
    }

    /// Whether an endpoint may send this: lengths and streams are what the type asks for (RFC 9113 section 6).
    /// Types that are not known are passed over (section 5.5).
    pub fn is_legal(&self) -> bool {
        let on_stream = self.stream != 0;
        match self.kind {
            kind::DATA => on_stream && self.length >= u32::from(self.is_padded()),
            kind::CONTINUATION => on_stream,
            kind::HEADERS => on_stream && self.length >= self.block_prefix() + u32::from(self.is_padded()),
            kind::PRIORITY => on_stream && self.length == 5,
            kind::RST_STREAM => on_stream && self.length == 4,
            kind::SETTINGS => {
                !on_stream && self.length.is_multiple_of(6) && (self.flags & 1 == 0 || self.length == 0)
            }
            kind::PUSH_PROMISE => on_stream && self.length >= 4 + u32::from(self.is_padded()),
            kind::PING => !on_stream && self.length == 8,
            kind::GOAWAY => !on_stream && self.length >= 8,
            kind::WINDOW_UPDATE => self.length == 4,
            _ => true,
        }
    }

    /// Whether this looks like a frame where it is not known that there are frames: a known type, the flags it
    /// may have, a length that is common, and no stream of a server that pushes, which nobody has them do anymore.
    pub fn is_plausible(&self) -> bool {
        let flags = match self.kind {
            kind::DATA => 0x09,
            kind::HEADERS => 0x2d,
            kind::SETTINGS | kind::PING => 0x01,
            kind::PUSH_PROMISE => 0x0c,
            kind::CONTINUATION => 0x04,
            _ => 0,
        };
        self.kind <= kind::CONTINUATION
            && self.flags & !flags == 0
            && !self.reserved
            && (self.stream == 0 || !self.stream.is_multiple_of(2))
            && self.length <= MAX_BELIEVED.0
            && self.stream <= MAX_BELIEVED.1
            && (self.kind != kind::DATA || self.length > 0 || self.flags & 1 == 1)
            && self.is_legal()
    }
}

/// Whether `bytes`, those of one call, begin with frames, in a stream whose boundaries are not known: they are the head of
/// a frame, or whole frames, or two and more of which the last may be cut. Every head must be plausible.
pub fn begins_frames(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    for walked in 0..MAX_WALK {
        let Some((head, payload)) = rest.split_first_chunk::<HEAD>() else {
            return walked > 0 && (rest.is_empty() || walked > 1);
        };
        let head = Head::parse(head);
        if !head.is_plausible() {
            return false;
        }
        match payload.get(head.length as usize..) {
            Some(after) => rest = after,
            None => return walked > 0 || payload.is_empty(),
        }
    }
    true
}

/// Which side sends a header block that begins like this: the first field of both is one that the other cannot have,
/// and has a place in the static table (RFC 7541 appendix A). None: it cannot be told.
fn side_of_block(block: &[u8]) -> Option<Side> {
    let first = *block.iter().find(|byte| !matches!(byte, 0x20..0x40))?;
    let index = match first {
        0x80.. => first & 0x7f,
        0x40..0x80 => first & 0x3f,
        _ => first & 0x0f,
    };
    match index {
        1..=7 => Some(Side::Request),
        8..=14 => Some(Side::Response),
        _ => None,
    }
}

/// Which side sends `bytes`, those of one call, that begin with frames in a stream whose boundaries are not known: the
/// first header block among them tells.
pub(crate) fn side(bytes: &[u8]) -> Option<Side> {
    if !begins_frames(bytes) {
        return None;
    }
    let mut rest = bytes;
    for _ in 0..MAX_WALK {
        let (head, payload) = rest.split_first_chunk::<HEAD>()?;
        let head = Head::parse(head);
        if head.kind == kind::HEADERS {
            // Bytes of a body can look like the head of a frame. A whole block of some length is more than that.
            let start = head.block_prefix() + u32::from(head.is_padded());
            let whole = head.has(flag::END_HEADERS) && head.length >= start + MIN_BLOCK;
            return side_of_block(payload.get(start as usize..).filter(|_| whole)?);
        }
        rest = payload.get(head.length as usize..)?;
    }
    None
}

/// Whether `bytes`, the first of a direction, are or may become the SETTINGS frame that a server begins with. None:
/// too few to say.
pub fn begins_settings(bytes: &[u8]) -> Option<bool> {
    let good = bytes.iter().take(HEAD).enumerate().all(|(at, &byte)| match at {
        2 => byte.is_multiple_of(6),
        3 => byte == kind::SETTINGS,
        _ => byte == 0,
    });
    match (good, bytes.len() < HEAD) {
        (false, _) => Some(false),
        (true, true) => None,
        (true, false) => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_nine_bytes() {
        let head = Head::parse(&[0, 1, 2, kind::HEADERS, 0x2c, 0x80, 0, 0, 3]);
        let expected = Head { length: 258, kind: kind::HEADERS, flags: 0x2c, stream: 3, reserved: true };
        assert_eq!(head, expected);
        assert_eq!(head.block_prefix(), 5);
        assert!(head.is_padded() && head.is_block() && !head.is_plausible());
    }

    #[test]
    fn frames_are_told_from_text() {
        let settings = [0, 0, 6, kind::SETTINGS, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        let ack = [0, 0, 0, kind::SETTINGS, 1, 0, 0, 0, 0];
        assert!(begins_frames(&[&settings[..], &ack].concat()));
        assert!(begins_frames(&settings[..9]));
        assert!(!begins_frames(&settings[..8]));
        assert!(!begins_frames(&settings[..12]), "too little to tell");
        assert!(!begins_frames(b"GET / HTTP/1.1\r\n\r\n"));
        assert!(!begins_frames(&[&settings[..], b"GET / HTTP/1.1"].concat()));
        assert_eq!(begins_settings(&settings), Some(true));
        assert_eq!(begins_settings(&settings[..8]), None);
        assert_eq!(begins_settings(b"HTTP"), Some(false));
    }
}
