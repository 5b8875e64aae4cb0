//! Secrets in text: `name: value` at the beginning of a line, and `name=value` after `?`, `&`, `;` or a line feed.
//!
//! The scanner does not depend on where messages begin or end, so that nothing can make it lose its way: it looks
//! for `:` and `=`, and back from there at what precedes them. Values, and names that are cut by the end of a
//! read, are followed from one read to the next.

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::output::Output;
use super::policy::Policy;
use super::query::{MAX_SENT, ends_value};
use crate::http1::head::is_token;

/// Bytes before a read that are kept to find the name of a value in it.
const LOOK_BACK: usize = MAX_SENT + 1;

/// What becomes of the next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    /// It is kept.
    Off,
    /// It is in the value of a header field, after which a line follows that may continue it.
    Line {
        /// Before the value: blanks are kept.
        leading: bool,
    },
    /// It is the first of the line after such a value.
    LineEnd,
    /// It is in the value of a parameter.
    Query,
    /// It comes after bytes that were missed, and may belong to a secret until the line ends.
    Unknown,
    /// Likewise, among bytes that are not text: until a message begins.
    Binary,
    /// It comes after chunks that were missed: it may belong to a secret only if the rest of a head follows.
    Chunks,
}

/// One direction of a connection, or one text.
#[derive(Debug)]
pub(super) struct Scanner {
    pub(super) mask: Mask,
    /// The last bytes before those that are scanned.
    carry: Vec<u8>,
}

impl Scanner {
    /// For a stream whose first byte comes next.
    pub(super) fn begun() -> Self {
        Self { mask: Mask::Off, carry: Vec::new() }
    }

    /// For a stream that begins somewhere.
    pub(super) fn found() -> Self {
        Self { mask: Mask::Unknown, carry: Vec::new() }
    }

    /// Bytes were missed.
    pub(super) fn gap(&mut self, mask: Mask) {
        self.mask = mask;
        self.carry.clear();
    }

    /// The bytes of `piece` have passed: those that come next continue them.
    pub(super) fn passed(&mut self, piece: &[u8]) {
        if piece.len() >= LOOK_BACK {
            self.carry.clear();
        } else {
            let excess = (self.carry.len() + piece.len()).saturating_sub(LOOK_BACK);
            self.carry.drain(..excess.min(self.carry.len()));
        }
        self.carry.extend_from_slice(&piece[piece.len().saturating_sub(LOOK_BACK)..]);
    }

    /// Masks the secrets in `range`, which is part of a piece that begins at `floor`.
    #[inline]
    pub(super) fn scan(&mut self, policy: &Policy, out: &mut Output<'_>, floor: usize, range: Range<usize>) {
        if !range.is_empty() {
            self.scan_some(policy, out, floor, range);
        }
    }

    fn scan_some(&mut self, policy: &Policy, out: &mut Output<'_>, floor: usize, range: Range<usize>) {
        let bytes = out.source();
        let mut at = range.start;
        while at < range.end {
            let rest = &bytes[at..range.end];
            at += match self.mask {
                Mask::Off => match memchr2(b':', b'=', rest) {
                    Some(mark) => {
                        self.mask = self.introduced(policy, &bytes[floor..=at + mark]);
                        mark + 1
                    }
                    None => rest.len(),
                },
                Mask::Line { leading: true } => {
                    let blank = rest.iter().take_while(|byte| is_blank(**byte)).count();
                    if blank < rest.len() {
                        self.mask = Mask::Line { leading: false };
                    }
                    blank
                }
                Mask::Line { leading: false } | Mask::Unknown => self.line(out, at, rest),
                Mask::LineEnd => {
                    self.mask = if is_blank(rest[0]) { Mask::Line { leading: true } } else { Mask::Off };
                    0
                }
                Mask::Query => {
                    let end = rest.iter().position(|byte| ends_value(*byte));
                    let length = end.unwrap_or(rest.len());
                    out.fill(at..at + length);
                    if end.is_some() {
                        self.mask = Mask::Off;
                    }
                    length
                }
                Mask::Chunks => self.after_chunks(out, at, rest),
                Mask::Binary => {
                    out.fill(at..range.end);
                    rest.len()
                }
            };
        }
    }

    /// Masks the rest of a line; gives its length.
    fn line(&mut self, out: &mut Output<'_>, at: usize, rest: &[u8]) -> usize {
        let end = memchr(b'\n', rest);
        let length = end.unwrap_or(rest.len());
        out.fill_line(at..at + length);
        let unknown = self.mask == Mask::Unknown;
        if unknown && is_binary(&rest[..length]) {
            self.mask = Mask::Binary;
            return length;
        }
        if end.is_none() {
            return length;
        }
        // A line feed alone may be anything where it is not known that there are lines.
        let before = out.source()[..at + length].last().or(self.carry.last());
        if !unknown || before == Some(&b'\r') {
            self.mask = Mask::LineEnd;
        }
        length + 1
    }

    /// Masks the beginning of `rest`, which follows chunks that were missed, if it may be the end of a field in a head;
    /// gives its length. Chunks give themselves away by control characters and by what their lines look like.
    fn after_chunks(&mut self, out: &mut Output<'_>, at: usize, rest: &[u8]) -> usize {
        let control = rest.iter().position(|&byte| byte.is_ascii_control() && byte != b'\t');
        let length = control.unwrap_or(rest.len());
        let feed = match rest[length..] {
            [] | [b'\r'] => {
                out.fill(at..at + length);
                return rest.len();
            }
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => 0,
        };
        let next = &rest[length + feed..];
        // The carriage return may be missing too.
        let cut = length == 0 && feed == 1 && matches!(self.carry[..], [] | [.., b'\r']);
        let folds = next.first().is_some_and(|byte| is_blank(*byte)) && (feed == 2 || cut);
        let last = &rest[..length] == b"0" && feed == 2;
        if feed == 0 || !(folds || last || begins_field(next)) {
            self.mask = Mask::Off;
            return 0;
        }
        if folds || !last {
            out.fill(at..at + length);
        }
        if folds {
            // The line that continues this one is looked at in the same way.
            return length + feed + next.iter().take_while(|byte| is_blank(**byte)).count();
        }
        self.mask = Mask::LineEnd;
        length + feed
    }

    /// What the last byte of `piece`, a colon or an equals sign, introduces.
    #[inline]
    fn introduced(&self, policy: &Policy, piece: &[u8]) -> Mask {
        let Some((&mark, before)) = piece.split_last() else { return Mask::Off };
        // One look at the end of the name rules out nearly everything.
        let may_be = match (mark, before) {
            (b'=', [.., _, _, _]) => policy.may_end_query_key(&before[before.len() - 3..]),
            (b':', [.., last]) => is_blank(*last) || policy.may_end_header(*last),
            _ => true,
        };
        if !may_be {
            return Mask::Off;
        }
        let near = &before[before.len().saturating_sub(LOOK_BACK)..];
        if let Some(mask) = named(policy, mark, near) {
            return mask;
        }
        if near.len() == LOOK_BACK || self.carry.is_empty() {
            return Mask::Off;
        }
        self.introduced_before(policy, mark, before)
    }

    /// What a name introduces that began before the piece. Apart from its caller because few do.
    #[cold]
    fn introduced_before(&self, policy: &Policy, mark: u8, before: &[u8]) -> Mask {
        let mut window = [0; 2 * LOOK_BACK];
        let length = self.carry.len() + before.len();
        window[..self.carry.len()].copy_from_slice(&self.carry);
        window[self.carry.len()..length].copy_from_slice(before);
        named(policy, mark, &window[..length]).unwrap_or(Mask::Off)
    }
}

/// What a colon or an equals sign after `before` introduces. None when that has no end of what was there before the name.
fn named(policy: &Policy, mark: u8, before: &[u8]) -> Option<Mask> {
    if mark == b'=' {
        let start = before.iter().rposition(|&byte| byte == b'?' || ends_value(byte))?;
        let secret = b"?&;\n".contains(&before[start]) && policy.is_query_key(&before[start + 1..]);
        return Some(if secret { Mask::Query } else { Mask::Off });
    }
    let blank = before.iter().rev().take_while(|byte| is_blank(**byte)).count();
    let before = &before[..before.len() - blank];
    let start = before.iter().rposition(|&byte| !is_token(byte))?;
    let secret = before[start] == b'\n' && policy.is_header(&before[start + 1..]);
    Some(if secret { Mask::Line { leading: true } } else { Mask::Off })
}

/// Whether `line` is empty or may begin a header field; it may end anywhere.
fn begins_field(line: &[u8]) -> bool {
    let name = line.iter().take_while(|byte| is_token(**byte)).count();
    match line.get(name) {
        None => true,
        Some(b':' | b' ' | b'\t') => name > 0,
        Some(b'\r') => name == 0 && line.get(1).is_none_or(|byte| *byte == b'\n'),
        Some(b'\n') => name == 0,
        Some(_) => false,
    }
}

/// Whether these bytes are no text.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().any(|&byte| byte.is_ascii_control() && !b"\r\n\t".contains(&byte))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
