//! The Huffman code of strings (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: of one length, codes ascend with their symbols. So the lengths are all that has to be
//! written down; codes, and the table that decodes four bits a step, are made of them when this is compiled.

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
