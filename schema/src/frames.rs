//! Which bytes of an HTTP/2 connection are kept, wherever they lie and however calls cut them: the head of every
//! frame, every header block, and the beginning of all other payloads.
//!
//! Shared by `ebpf`, which leaves out the rest, and by whoever wants to know what must be there. A [`Frames`] is fed
//! with the heads of the frames of one direction and with numbers of payload bytes, and never sees these bytes.

/// What a client sends before its first frame (RFC 9113, section 3.4).
pub const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head.
pub const HEAD: usize = 9;

/// A payload of up to so many bytes is kept whole: leaving out so few would cost more than it saves.
pub const SMALL: u32 = 256;

/// Bytes that are kept of a longer payload, unless it is part of a header block.
pub const BEGINNING: u32 = 64;

/// No header block has a longer part: what says so is no frame.
const MAX_BLOCK: u32 = 1 << 20;

/// The smallest limit of a frame's length that an endpoint can set; frames of unknown types are not longer.
const MAX_UNKNOWN: u32 = 1 << 14;

// RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Where one direction of a connection is in its frames. All zero is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Frames {
    /// The first bytes of a head whose last ones have not come yet.
    pub head: [u8; HEAD - 1],
    /// How many they are. While the connection is not known as HTTP/2: how many bytes of the preface have come.
    pub known: u32,
    /// Bytes of the payload that are to come.
    pub left: u32,
    /// How many of them are kept: the first ones.
    pub kept: u32,
    /// The constants below.
    pub flags: u32,
}

/// The next bytes of a direction: at least one, and at most as many as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// What is missing of a frame's head. Kept.
    Head(u32),
    /// A payload's bytes that are kept.
    Kept(u32),
    /// A payload's bytes that are left out.
    LeftOut(u32),
}

impl Frames {
    /// The beginning.
    pub const NEW: Self = Self { head: [0; HEAD - 1], known: 0, left: 0, kept: 0, flags: 0 };
    /// There was a frame.
    pub const BEGUN: u32 = 1;
    /// What came was no frame, or not all of it was seen: where frames begin is not known any more.
    pub const ENDED: u32 = 2;

    /// What comes next.
    #[inline]
    pub const fn next(&self) -> Next {
        if self.kept > 0 {
            Next::Kept(self.kept)
        } else if self.left > 0 {
            Next::LeftOut(self.left)
        } else {
            Next::Head(HEAD as u32 - self.known)
        }
    }

    /// `count` bytes of the payload have come.
    #[inline]
    pub const fn passed(&mut self, count: u32) {
        self.left = self.left.saturating_sub(count);
        self.kept = self.kept.saturating_sub(count);
    }

    /// The head of a frame is complete. False when no frame has such a head; then nothing is known of what follows.
    #[inline]
    pub const fn begin(&mut self, head: [u8; HEAD]) -> bool {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let kind = head[3];
        let of_stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) << 1 != 0;
        if !is_frame(kind, length, of_stream) {
            self.flags |= Self::ENDED;
            return false;
        }
        self.flags |= Self::BEGUN;
        self.known = 0;
        self.left = length;
        self.kept = match kind {
            HEADERS | PUSH_PROMISE | CONTINUATION => length,
            _ if length <= SMALL => length,
            _ => BEGINNING,
        };
        true
    }
}

/// Whether there can be a frame like this. What is read at a wrong place mostly says that there cannot.
#[inline]
const fn is_frame(kind: u8, length: u32, of_stream: bool) -> bool {
    match kind {
        DATA => of_stream,
        HEADERS | PUSH_PROMISE | CONTINUATION => of_stream && length <= MAX_BLOCK,
        PRIORITY => of_stream && length == 5,
        RST_STREAM => of_stream && length == 4,
        SETTINGS => !of_stream && length.is_multiple_of(6),
        PING => !of_stream && length == 8,
        GOAWAY => !of_stream && length >= 8,
        WINDOW_UPDATE => length == 4,
        _ => length <= MAX_UNKNOWN,
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn frame(kind: u8, stream: u32, length: usize) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0]);
        frame.extend(stream.to_be_bytes());
        frame.extend((0..length).map(|at| at as u8));
        frame
    }

    /// Numbers that look random and are the same in every run.
    struct Noise(u64);

    impl Noise {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 16) as usize % limit
        }
    }

    /// Whether each byte is kept, as the kernel does it; what comes after frames have ended is not.
    fn kept(frames: &mut Frames, call: &[u8], kept: &mut Vec<bool>) {
        let mut at = 0;
        while at < call.len() && frames.flags & Frames::ENDED == 0 {
            let rest = call.len() - at;
            let (count, keep) = match frames.next() {
                Next::Head(missing) => {
                    let (known, count) = (frames.known as usize, rest.min(missing as usize));
                    let mut head = [0; HEAD];
                    head[..known].copy_from_slice(&frames.head[..known]);
                    head[known..known + count].copy_from_slice(&call[at..at + count]);
                    if known + count == HEAD {
                        frames.begin(head);
                    } else {
                        frames.head.copy_from_slice(&head[..HEAD - 1]);
                        frames.known += count as u32;
                    }
                    (count, true)
                }
                Next::Kept(most) | Next::LeftOut(most) => {
                    let count = rest.min(most as usize);
                    let keep = matches!(frames.next(), Next::Kept(_));
                    frames.passed(count as u32);
                    (count, keep)
                }
            };
            assert!(count > 0);
            kept.extend(std::iter::repeat_n(keep, count));
            at += count;
        }
        kept.extend(std::iter::repeat_n(false, call.len() - at));
    }

    fn all_kept(bytes: &[u8]) -> (Frames, Vec<bool>) {
        let (mut frames, mut all) = (Frames::default(), Vec::new());
        kept(&mut frames, bytes, &mut all);
        (frames, all)
    }

    #[test]
    fn of_each_frame_is_kept_what_belongs_to_its_type() {
        for (kind, stream, length, wanted) in [
            (DATA, 1, 0, 0),
            (DATA, 1, 256, 256),
            (DATA, 1, 257, 64),
            (DATA, 1, 16_384, 64),
            (DATA, 1, (1 << 24) - 1, 64),
            (HEADERS, 3, 57_000, 57_000),
            (CONTINUATION, 3, 16_384, 16_384),
            (PUSH_PROMISE, 3, 300, 300),
            (SETTINGS, 0, 36, 36),
            (GOAWAY, 0, 3000, 64),
            (WINDOW_UPDATE, 0, 4, 4),
            (16, 0, 20, 20),
        ] {
            let bytes = frame(kind, stream, length);
            let (frames, all) = all_kept(&bytes);
            let last = all.iter().rposition(|&kept| kept).unwrap();
            assert_eq!(last + 1, HEAD + wanted, "{kind}");
            assert!(all[..=last].iter().all(|&kept| kept));
            assert_eq!(frames, Frames { flags: Frames::BEGUN, head: frames.head, ..Frames::default() });
        }
    }

    #[test]
    fn however_the_bytes_are_cut_the_same_are_kept() {
        let mut noise = Noise(1);
        for round in 0..500 {
            let mut bytes = Vec::new();
            for _ in 0..=noise.below(20) {
                let length = noise.below([8, 300, 5000][round % 3]);
                let kind = [DATA, HEADERS, CONTINUATION, PUSH_PROMISE, 11][noise.below(5)];
                bytes.extend(frame(kind, 1 + round as u32, length));
            }
            let (whole, all) = all_kept(&bytes);
            assert_eq!(whole.flags, Frames::BEGUN);
            let (mut frames, mut cut) = (Frames::default(), Vec::new());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let most = [1, 9, 40, 2000][noise.below(4)];
                let (call, others) = rest.split_at(rest.len().min(1 + noise.below(most)));
                kept(&mut frames, call, &mut cut);
                rest = others;
            }
            assert!(cut == all);
            assert_eq!((frames.left, frames.kept, frames.known), (whole.left, whole.kept, whole.known));
        }
    }

    #[test]
    fn what_is_no_frame_is_told() {
        let response = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        assert_eq!(all_kept(response).0.flags, Frames::ENDED);
        let wrong = [
            frame(DATA, 0, 5),
            frame(HEADERS, 0, 5),
            frame(PRIORITY, 1, 4),
            frame(RST_STREAM, 1, 8),
            frame(SETTINGS, 0, 7),
            frame(SETTINGS, 1, 6),
            frame(PING, 0, 4),
            frame(GOAWAY, 0, 4),
            frame(WINDOW_UPDATE, 0, 5),
            frame(HEADERS, 1, (1 << 20) + 1),
            frame(99, 1, 20_000),
        ];
        for wrong in wrong {
            let bytes = [frame(SETTINGS, 0, 6), wrong].concat();
            let (frames, all) = all_kept(&bytes);
            assert_eq!(frames.flags, Frames::BEGUN | Frames::ENDED);
            assert_eq!(all.iter().filter(|&&kept| kept).count(), HEAD + 6 + HEAD);
        }
    }

    #[test]
    fn any_bytes_come_to_an_end() {
        let mut noise = Noise(7);
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..noise.below(600)).map(|_| noise.below(12) as u8).collect();
            assert_eq!(all_kept(&bytes).1.len(), bytes.len());
        }
    }
}
