//! The Huffman code of strings (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: of one length, codes ascend with their symbols. So the lengths are all that has to be
//! written down; codes, and the tables that decode them, are made of them when this is compiled. [`decode`] reads whole
//! strings, up to two symbols a step; [`State`] reads strings that come in pieces, four bits a step.

/// Length of every symbol's code, in bits; the last is EOS, which no string may have.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

/// The code of every symbol, in its lowest bits.
const CODES: [u32; 257] = codes();

/// What four bits do in every node of the code tree. The root is node 0.
static STEPS: [[Transition; 16]; 256] = transitions();

/// Whether a string may end in a node: what led there is at most seven bits, all of them ones.
static PADDING: [bool; 256] = padding();

/// What four bits do: no code is shorter than five, so they complete one symbol at most.
#[derive(Clone, Copy)]
struct Transition {
    node: u8,
    symbol: u8,
    emits: bool,
    invalid: bool,
}

/// The code of a symbol, in the lowest bits, and its length in bits, 5 to 30.
pub fn code(symbol: u8) -> (u32, u8) {
    (CODES[symbol as usize], LENGTHS[symbol as usize])
}

/// Not a Huffman string: it has EOS in it, or ends with other than a few ones (RFC 7541 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Where in the code tree the decoding of a string is. A new one stands at its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct State(u8);

impl State {
    /// Decodes more bytes of the string; hands every symbol to `each`.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(u8)) -> Result<(), Invalid> {
        for byte in bytes {
            for half in [byte >> 4, byte & 0xf] {
                let step = STEPS[self.0 as usize][half as usize];
                if step.invalid {
                    return Err(Invalid);
                }
                if step.emits {
                    each(step.symbol);
                }
                self.0 = step.node;
            }
        }
        Ok(())
    }

    /// The string is over.
    pub fn end(self) -> Result<(), Invalid> {
        if PADDING[self.0 as usize] { Ok(()) } else { Err(Invalid) }
    }
}

/// Bits that [`decode`] looks at in one step.
const PEEK: u8 = 12;

/// The symbols that the next bits begin with.
static PAIRS: [Pair; 1 << PEEK] = pairs();

/// Of every length: the first code, how many there are, and where their symbols begin in [`SORTED`].
const CODES_OF: [(u32, u32, usize); 31] = codes_of();

/// The symbols in the order of their codes.
static SORTED: [u16; 257] = sorted();

/// One or two symbols, or none where the first code is longer than [`PEEK`] bits.
#[derive(Clone, Copy)]
struct Pair {
    symbols: [u8; 2],
    count: u8,
    /// Bits of the first symbol, and of all of them.
    lengths: [u8; 2],
}

/// How many symbols so many bytes can stand for.
pub fn most(bytes: usize) -> usize {
    bytes * 8 / 5
}

/// Decodes a whole string; gives the number of its symbols. `to` has to have room for [`most`] of them, and one more.
pub fn decode(bytes: &[u8], to: &mut [u8]) -> Result<usize, Invalid> {
    let mut input = Bits { bytes, ahead: 0, count: 0 };
    let mut length = 0;
    while let Some(eight) = input.bytes.first_chunk() {
        input.refill(*eight);
        // Enough for four steps. A longer code comes next with all of its bits at hand.
        for step in 0..4 {
            let pair = PAIRS[(input.ahead >> (64 - PEEK)) as usize];
            if pair.count == 0 {
                if step == 0 {
                    to[length] = input.long()?;
                    length += 1;
                }
                break;
            }
            to[length..length + 2].copy_from_slice(&pair.symbols);
            length += usize::from(pair.count);
            input.skip(pair.lengths[1]);
        }
    }
    loop {
        input.fill();
        let pair = PAIRS[(input.ahead >> (64 - PEEK)) as usize];
        if pair.count > 0 && pair.lengths[1] <= input.count {
            to[length..length + 2].copy_from_slice(&pair.symbols);
            length += usize::from(pair.count);
            input.skip(pair.lengths[1]);
        } else if pair.count > 0 && pair.lengths[0] <= input.count {
            to[length] = pair.symbols[0];
            length += 1;
            input.skip(pair.lengths[0]);
        } else if pair.count == 0 && input.count > 7 {
            to[length] = input.long()?;
            length += 1;
        } else {
            return input.end().map(|()| length);
        }
    }
}

/// Bits of a string, the first ones ahead.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bits, highest first.
    ahead: u64,
    /// How many of them are known to be there.
    count: u8,
}

impl Bits<'_> {
    /// Moves as many whole bytes ahead as there is room for: 56 bits at least are there then.
    #[inline]
    fn refill(&mut self, next: [u8; 8]) {
        self.ahead |= u64::from_be_bytes(next) >> self.count;
        let taken = (63 - self.count) / 8;
        self.bytes = &self.bytes[usize::from(taken)..];
        self.count += taken * 8;
    }

    /// Likewise, where fewer than eight bytes are left.
    fn fill(&mut self) {
        while self.count <= 56
            && let [byte, rest @ ..] = self.bytes
        {
            // What lies beyond `count` is either zero or what is put there now.
            self.ahead |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
            self.bytes = rest;
        }
    }

    #[inline]
    fn skip(&mut self, count: u8) {
        self.ahead <<= count;
        self.count -= count;
    }

    /// A symbol whose code is longer than [`PEEK`] bits.
    #[cold]
    fn long(&mut self) -> Result<u8, Invalid> {
        for length in PEEK + 1..=self.count.min(30) {
            let (first, count, at) = CODES_OF[usize::from(length)];
            let place = ((self.ahead >> (64 - length)) as u32).wrapping_sub(first);
            if place < count {
                self.skip(length);
                return SORTED[at + place as usize].try_into().map_err(|_| Invalid);
            }
        }
        Err(Invalid)
    }

    /// Whether what is left is padding.
    fn end(self) -> Result<(), Invalid> {
        let ones = self.ahead.leading_ones() as u8;
        if self.count <= 7 && ones >= self.count { Ok(()) } else { Err(Invalid) }
    }
}

#[allow(clippy::large_stack_arrays, reason = "made when this is compiled")]
const fn pairs() -> [Pair; 1 << PEEK] {
    let mut pairs = [Pair { symbols: [0; 2], count: 0, lengths: [0; 2] }; 1 << PEEK];
    let mut first = 0;
    while first < 256 {
        let one = LENGTHS[first];
        if one <= PEEK {
            let start = (CODES[first] as usize) << (PEEK - one);
            let single = Pair { symbols: [first as u8, 0], count: 1, lengths: [one; 2] };
            let mut at = start;
            while at < start + (1 << (PEEK - one)) {
                pairs[at] = single;
                at += 1;
            }
            let mut second = 0;
            while second < 256 {
                let both = one + LENGTHS[second];
                if both <= PEEK {
                    let start = start + ((CODES[second] as usize) << (PEEK - both));
                    let mut at = start;
                    while at < start + (1 << (PEEK - both)) {
                        pairs[at] =
                            Pair { symbols: [first as u8, second as u8], count: 2, lengths: [one, both] };
                        at += 1;
                    }
                }
                second += 1;
            }
        }
        first += 1;
    }
    pairs
}

const fn codes_of() -> [(u32, u32, usize); 31] {
    let mut of = [(0, 0, 0); 31];
    let (mut length, mut at) = (0, 0);
    while length <= 30 {
        let mut symbol = 0;
        of[length].2 = at;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                if of[length].1 == 0 {
                    of[length].0 = CODES[symbol];
                }
                of[length].1 += 1;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    of
}

const fn sorted() -> [u16; 257] {
    let mut sorted = [0; 257];
    let (mut length, mut at) = (0, 0);
    while length <= 30 {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] == length {
                sorted[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    sorted
}

const fn codes() -> [u32; 257] {
    let mut codes = [0; 257];
    let (mut next, mut length) = (0, 0);
    while length <= 30 {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] == length {
                codes[symbol] = next;
                next += 1;
            }
            symbol += 1;
        }
        next <<= 1;
        length += 1;
    }
    codes
}

/// The first leaf among the children in [`tree`]; smaller numbers are nodes.
const LEAF: u16 = 256;

/// The children of every node.
const fn tree() -> [[u16; 2]; 256] {
    let mut tree = [[0; 2]; 256];
    let (mut nodes, mut symbol) = (1, 0);
    while symbol < 257 {
        let (mut node, mut bit) = (0, LENGTHS[symbol]);
        while bit > 0 {
            bit -= 1;
            let way = (CODES[symbol] >> bit & 1) as usize;
            if bit == 0 {
                tree[node][way] = LEAF + symbol as u16;
            } else if tree[node][way] == 0 {
                tree[node][way] = nodes;
                nodes += 1;
            }
            node = tree[node][way] as usize & 0xff;
        }
        symbol += 1;
    }
    tree
}

const fn transitions() -> [[Transition; 16]; 256] {
    let tree = tree();
    let mut steps = [[Transition { node: 0, symbol: 0, emits: false, invalid: false }; 16]; 256];
    let mut start = 0;
    while start < 256 {
        let mut bits = 0;
        while bits < 16 {
            let step = &mut steps[start][bits];
            let (mut node, mut bit) = (start as u16, 4);
            while bit > 0 {
                bit -= 1;
                node = tree[node as usize][bits >> bit & 1];
                if node >= LEAF {
                    step.invalid |= node == LEAF + 256;
                    step.emits = true;
                    step.symbol = (node - LEAF) as u8;
                    node = 0;
                }
            }
            step.node = node as u8;
            bits += 1;
        }
        start += 1;
    }
    steps
}

const fn padding() -> [bool; 256] {
    let tree = tree();
    let mut good = [false; 256];
    let (mut node, mut bits) = (0, 0);
    while bits <= 7 {
        good[node] = true;
        node = tree[node][1] as usize;
        bits += 1;
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, Invalid> {
        let (mut state, mut text) = (State::default(), Vec::new());
        state.feed(bytes, |symbol| text.push(symbol))?;
        state.end()?;
        Ok(text)
    }

    #[test]
    fn codes_are_those_of_appendix_b() {
        assert_eq!(code(0), (0x1ff8, 13));
        assert_eq!(code(b'0'), (0x0, 5));
        assert_eq!(code(b' '), (0x14, 6));
        assert_eq!(code(b'&'), (0xf8, 8));
        assert_eq!(code(b'\\'), (0x7fff0, 19));
        assert_eq!(code(b'~'), (0x1ffd, 13));
        assert_eq!(code(255), (0x3ff_ffee, 26));
        assert_eq!((CODES[256], LENGTHS[256]), (0x3fff_ffff, 30));
    }

    #[test]
    fn strings_of_appendix_c() {
        let url = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decode(&url).unwrap(), b"www.example.com");
        assert_eq!(decode(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
        assert_eq!(decode(&[]).unwrap(), b"");
    }

    #[test]
    fn bad_endings_are_told() {
        assert_eq!(decode(&[0xff]), Err(Invalid), "eight bits of padding");
        assert_eq!(decode(&[0b0000_0000]), Err(Invalid), "padding that is not ones");
        assert_eq!(decode(&[0b0000_0111]).unwrap(), b"0");
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), Err(Invalid), "EOS");
    }
}
