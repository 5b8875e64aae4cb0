//! Masks for strings in the Huffman code of HPACK: as many symbols, as many bits, nothing else of the secret.
//!
//! The dynamic table of whoever decodes the masked block must count what the original counted, so the decoded
//! length may not change, and the block may not change its length either. A secret of `n` symbols and `b` bits gets
//! `n` symbols of about `b / n` bits each. That holds for what one read has of it; a symbol that is cut by the end of a
//! read gets another one of the same length.

use std::ops::Range;

use crate::http2::hpack::huffman::{Invalid, State, code};

use super::output::Output;
use super::query::ends_value;

/// The symbols with codes of 5 to 8 bits that secrets are replaced with.
const COMMON: [u8; 4] = *b"o-x*";

/// Which symbols of a string are masked.
pub(super) trait Choice {
    /// Takes the next symbol; says whether it is masked.
    fn masks(&mut self, symbol: u8) -> bool;

    /// Whether the symbol after those taken so far is masked: always, unless it ends a value, or never.
    fn next(&self) -> Next;
}

/// What happens to a symbol that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Masked,
    MaskedUnlessEnd,
    Kept,
}

/// One string in the course of being masked.
#[derive(Debug, Default)]
pub(super) struct Masker {
    state: State,
    /// The last bits that were read.
    window: u64,
    /// Bits of the window that begin a symbol.
    open: u32,
    /// What stands for them in the output.
    shown: u32,
}

impl Masker {
    /// A new string begins.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }

    /// Masks what `choice` wants of `range`, part of the string.
    pub(super) fn mask(
        &mut self,
        out: &mut Output<'_>,
        range: Range<usize>,
        last: bool,
        choice: &mut impl Choice,
    ) -> Result<(), Invalid> {
        let bytes = &out.source()[range.clone()];
        let base = range.start * 8;
        let (open, shown) = (self.open as usize, self.shown);
        // Bits from here on count from the beginning of the symbol that is open.
        let mut at = 0;
        let mut run = Run::default();
        self.state.feed(bytes, |symbol| {
            let (bits, length) = code(symbol);
            let start = at;
            at += usize::from(length);
            if start < open {
                if choice.masks(symbol) {
                    let stand_in = stand_in(length, shown, open as u8).unwrap_or(bits);
                    put(out.edit(), base, stand_in, usize::from(length) - open);
                }
            } else if choice.masks(symbol) {
                run.add(base + start - open, length);
            } else {
                run.flush(out);
            }
        })?;
        run.flush(out);
        for byte in bytes {
            self.window = self.window << 8 | u64::from(*byte);
        }
        let total = open + bytes.len() * 8;
        self.open = (total - at) as u32;
        let carried = if at < open { (shown, open - at) } else { (0, 0) };
        let real = (self.window & ((1 << self.open) - 1)) as u32;
        self.shown = real;
        let next = choice.next();
        if !last && next != Next::Kept && self.open > 0 {
            self.shown = disguise(real, self.open as u8, carried.0, carried.1 as u8, next);
            let fresh = self.open as usize - carried.1;
            put(out.edit(), base + bytes.len() * 8 - fresh, self.shown, fresh);
        }
        Ok(())
    }
}

/// Symbols in a row that are masked, all of them within one piece.
#[derive(Default)]
struct Run {
    start: usize,
    bits: usize,
    symbols: usize,
    lengths: [u32; 31],
}

impl Run {
    fn add(&mut self, start: usize, length: u8) {
        if self.symbols == 0 {
            self.start = start;
        }
        self.symbols += 1;
        self.bits += usize::from(length);
        self.lengths[usize::from(length)] += 1;
    }

    fn flush(&mut self, out: &mut Output<'_>) {
        if self.symbols == 0 {
            return;
        }
        let (mut at, bytes) = (self.start, out.edit());
        let mut write = |count: usize, length: usize| {
            let symbol = match length {
                5..=8 => code(COMMON[length - 5]).0,
                _ => stand_in(length as u8, 0, 0).unwrap_or_default(),
            };
            for _ in 0..count {
                put(bytes, at, symbol, length);
                at += length;
            }
        };
        let short = self.bits / self.symbols;
        if self.bits <= 8 * self.symbols {
            let long = self.bits % self.symbols;
            write(long, short + 1);
            write(self.symbols - long, short);
        } else {
            // Bytes that are no letters or digits: their lengths cannot be evened out, but their order can.
            self.lengths.iter().enumerate().for_each(|(length, &count)| write(count as usize, length));
        }
        *self = Self::default();
    }
}

/// What to show for the first `open` bits of a symbol, when `carried` of them have been shown already: something that
/// can still become a symbol of every length that `real` can become.
fn disguise(real: u32, open: u8, carried: u32, carried_bits: u8, next: Next) -> u32 {
    let mut lengths = (0..=u8::MAX).filter(|&symbol| begins(symbol, real, open)).map(|symbol| {
        let end = next == Next::MaskedUnlessEnd && ends_value(symbol);
        (code(symbol).1, end)
    });
    let Some((length, false)) = lengths.next() else { return real };
    // Only EOS begins with ones like these; or they are padding.
    let eos = real == (1 << open) - 1;
    if eos || lengths.any(|other| other != (length, false)) {
        return real;
    }
    stand_in(length, carried, carried_bits).map_or(real, |symbol| symbol >> (length - open))
}

/// The code of a symbol that can stand for any of its length, if its first bits are shown already.
fn stand_in(length: u8, shown: u32, shown_bits: u8) -> Option<u32> {
    let fits = |symbol: &u8| code(*symbol).1 == length && begins(*symbol, shown, shown_bits);
    let all = || COMMON.into_iter().chain(b'!'..=b'~').chain(0x80..=0xff);
    let found = all().filter(fits).find(|&symbol| !ends_value(symbol)).or_else(|| all().find(fits));
    found.or_else(|| (0..b'!').find(fits)).map(|symbol| code(symbol).0)
}

/// Whether the code of a symbol begins with these bits and is not over with them.
fn begins(symbol: u8, prefix: u32, bits: u8) -> bool {
    let (code, length) = code(symbol);
    length > bits && code >> (length - bits) == prefix
}

/// Writes the lowest `count` bits of `bits` at a bit of `bytes`.
fn put(bytes: &mut [u8], at: usize, bits: u32, count: usize) {
    for bit in 0..count {
        let (place, mask) = ((at + bit) / 8, 0x80 >> ((at + bit) % 8));
        if bits >> (count - 1 - bit) & 1 == 1 {
            bytes[place] |= mask;
        } else {
            bytes[place] &= !mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct All;

    impl Choice for All {
        fn masks(&mut self, _: u8) -> bool {
            true
        }

        fn next(&self) -> Next {
            Next::Masked
        }
    }

    fn encode(text: &[u8]) -> Vec<u8> {
        let bits: usize = text.iter().map(|&symbol| usize::from(code(symbol).1)).sum();
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        let mut at = 0;
        for &symbol in text {
            let (code, length) = code(symbol);
            put(&mut bytes, at, code, usize::from(length));
            at += usize::from(length);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Vec<u8> {
        let (mut state, mut text) = (State::default(), Vec::new());
        state.feed(bytes, |symbol| text.push(symbol)).unwrap();
        state.end().unwrap();
        text
    }

    fn mask(bytes: &[u8], cut: usize) -> Vec<u8> {
        let (mut masker, mut output, mut scratch) = (Masker::default(), Vec::new(), Vec::new());
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            let mut out = Output::new(piece, &mut scratch);
            masker.mask(&mut out, 0..piece.len(), after.is_empty(), &mut All).unwrap();
            out.edit();
            output.extend_from_slice(&scratch);
            rest = after;
        }
        output
    }

    #[test]
    fn a_mask_depends_on_count_and_bits_only() {
        let texts = [
            &b"Bearer abc.def-0123456789_XYZ"[..],
            b"aaaa",
            b"~~~~{}",
            b"\0\x01\xff\xc3\xa9",
            b"*",
            b"&&&&;;;;",
        ];
        for text in texts {
            let bytes = encode(text);
            for cut in 1..=bytes.len() {
                let masked = mask(&bytes, cut);
                let plain = decode(&masked);
                assert_eq!((masked.len(), plain.len()), (bytes.len(), text.len()), "{text:?} {cut}");
                assert_eq!(encode(&plain), masked);
            }
        }
        assert_eq!(mask(&encode(b"aB3x"), 99), mask(&encode(b"x4aC"), 99));
        assert_eq!(decode(&mask(&encode(b"aaaaZZ"), 99)), b"------");
    }
}
