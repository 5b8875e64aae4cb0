//! Bodies of HTTP/1.x messages: where they end, and how long they are (RFC 9112 sections 6 and 7).
//!
//! A [`Body`] is fed with captured bytes and with counts of bytes that are missing, and says when it is over.
//! It keeps numbers only: what a body contains is never looked at, nor a claimed size trusted with memory.

use memchr::{memchr, memrchr};

/// How a body ends, and how much of it has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// After so many more bytes, of so many.
    Length { left: u64, total: u64 },
    /// With the last chunk.
    Chunked { state: Chunk, total: u64 },
    /// With the connection.
    UntilClose { total: u64 },
}

/// Where in the chunks a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// In the digits of a size.
    Size { size: u64, begun: bool },
    /// After the digits, up to the line feed: extensions.
    Extension { size: u64 },
    /// In the data.
    Data { left: u64 },
    /// Between the data and the line feed after it.
    DataEnd,
    /// In the trailer section, in a line that is empty so far or not.
    Trailer { empty: bool },
}

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on; everything was taken.
    More,
    /// It is over after so many of the bytes.
    Done(u64),
    /// Its framing makes no sense, or lies in missing bytes.
    Lost,
}

impl Body {
    /// A body of `length` bytes.
    pub(crate) fn length(length: u64) -> Self {
        Self::Length { left: length, total: length }
    }

    /// A body in chunks.
    pub(crate) fn chunked() -> Self {
        Self::Chunked { state: Chunk::Size { size: 0, begun: false }, total: 0 }
    }

    /// Its bytes so far, framing taken off. The size of a body of known length is that length.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Length { total, .. } | Self::Chunked { total, .. } | Self::UntilClose { total } => total,
        }
    }

    /// Whether nothing of it has passed yet.
    pub(crate) fn is_untouched(self) -> bool {
        match self {
            Self::Length { left, total } => left == total,
            Self::Chunked { state, total } => total == 0 && state == Chunk::Size { size: 0, begun: false },
            Self::UntilClose { total } => total == 0,
        }
    }

    /// Passes over captured bytes. Hands out what they have of the body itself.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Progress {
        if let Self::Chunked { state, total } = self {
            return chunks(state, total, bytes, each);
        }
        let progress = self.skip(bytes.len() as u64);
        each(match progress {
            Progress::Done(used) => &bytes[..used as usize],
            _ => bytes,
        });
        progress
    }

    /// Passes over bytes whose content is unknown.
    pub(crate) fn skip(&mut self, count: u64) -> Progress {
        match self {
            Self::Length { left, .. } if count < *left => {
                *left -= count;
                Progress::More
            }
            Self::Length { left, .. } => Progress::Done(std::mem::take(left)),
            Self::Chunked { state: Chunk::Data { left }, total } if count <= *left => {
                *left -= count;
                *total = total.saturating_add(count);
                Progress::More
            }
            Self::Chunked { .. } => Progress::Lost,
            Self::UntilClose { total } => {
                *total = total.saturating_add(count);
                Progress::More
            }
        }
    }
}

/// Walks over chunks (RFC 9112 section 7.1); a bare line feed ends a line too.
fn chunks(state: &mut Chunk, total: &mut u64, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Progress {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        *state = match *state {
            Chunk::Size { size, begun } => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) => match size.checked_mul(16) {
                    Some(size) => Chunk::Size { size: size + u64::from(digit), begun: true },
                    None => return Progress::Lost,
                },
                (None, b'\n') if begun => Chunk::after_size(size),
                (None, b'\r' | b';' | b' ' | b'\t') if begun => Chunk::Extension { size },
                _ => return Progress::Lost,
            },
            Chunk::Extension { size } => match memchr(b'\n', &bytes[at - 1..]) {
                Some(end) => {
                    at += end;
                    Chunk::after_size(size)
                }
                None => return Progress::More,
            },
            Chunk::Data { left: 0 } | Chunk::DataEnd => match (*state, byte) {
                (_, b'\n') => Chunk::Size { size: 0, begun: false },
                (Chunk::Data { .. }, b'\r') => Chunk::DataEnd,
                _ => return Progress::Lost,
            },
            Chunk::Data { left } => {
                let take = left.min((bytes.len() - at + 1) as u64);
                each(&bytes[at - 1..at - 1 + take as usize]);
                at += take as usize - 1;
                *total = total.saturating_add(take);
                Chunk::Data { left: left - take }
            }
            Chunk::Trailer { empty: true } if byte == b'\n' => return Progress::Done(at as u64),
            Chunk::Trailer { empty } => Chunk::Trailer { empty: byte == b'\n' || (empty && byte == b'\r') },
        };
    }
    Progress::More
}

impl Chunk {
    fn after_size(size: u64) -> Self {
        match size {
            0 => Self::Trailer { empty: true },
            left => Self::Data { left },
        }
    }
}

/// Whether `end`, the last bytes of a call, end a body in chunks: `0` on a line of its own, perhaps trailer
/// fields, and a blank line.
pub(crate) fn ends_chunks(end: &[u8]) -> bool {
    let Some(mut lines) = end.strip_suffix(b"\r\n\r\n") else {
        return false;
    };
    loop {
        let (before, line) = match memrchr(b'\n', lines) {
            Some(at) => (&lines[..at], &lines[at + 1..]),
            None => (&b"\r"[..], lines),
        };
        match line.strip_suffix(b"\r").unwrap_or(line) {
            b"0" => return before.ends_with(b"\r"),
            trailer if before.len() > 1 && memchr(b':', trailer).is_some_and(|colon| colon > 0) => {
                lines = before;
            }
            _ => return false,
        }
    }
}
