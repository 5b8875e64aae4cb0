//! Header blocks (RFC 7541 section 6), read in pieces.

use std::ops::Range;

use super::huffman;
use super::integer::{Integer, Overflow, Progress};
use super::table::{Dynamic, Lookup, MAX_TABLE, STATIC};

/// Bytes that are kept of one name or value, decoded. Longer ones are unknown.
pub const MAX_STRING: usize = MAX_TABLE;

/// Buffers above this size are not kept for the next field.
pub(super) const SPARE: usize = 4096;

/// Reads the header blocks of one direction, in order: each at once with [`Decoder::block`], or in pieces.
///
/// ```
/// # use beyla_engine::http2::hpack::{Decoder, Step};
/// let block = [0x82, 0x44, 0x02, b'/', b'a'];
/// let mut at_once = Vec::new();
/// let mut decoder = Decoder::begun();
/// decoder.block(&block, |field| at_once.push((field.name.unwrap().to_vec(), field.value.unwrap().to_vec())))?;
///
/// let (mut fields, mut at) = (Vec::new(), 0);
/// let mut decoder = Decoder::begun();
/// while let Some(step) = decoder.step(&block, &mut at)? {
///     if step == Step::Field {
///         let field = decoder.field();
///         fields.push((field.name.unwrap().to_vec(), field.value.unwrap().to_vec()));
///     }
/// }
/// decoder.end_block()?;
/// assert_eq!(fields, [(b":method".to_vec(), b"GET".to_vec()), (b":path".to_vec(), b"/a".to_vec())]);
/// assert_eq!(fields, at_once);
/// # Ok::<(), beyla_engine::http2::hpack::Error>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    pub(super) table: Dynamic,
    pub(super) state: State,
    /// Room for the name and the value of a field of a whole block.
    pub(super) spare: [Vec<u8>; 2],
    name: Text,
    value: Text,
    huffman: huffman::State,
    kind: Literal,
}

/// A header block that makes no sense. The table is unknown from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An index that stands for nothing.
    #[error("an index stands for no entry of the header tables")]
    Index,
    /// An integer beyond 32 bits.
    #[error("an integer of a header block is too large")]
    Integer,
    /// A string that is not in the Huffman code.
    #[error("a string of a header block is not in the Huffman code")]
    Huffman,
    /// The block ended within a field, or went on after an error.
    #[error("a header block is not complete")]
    Incomplete,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes of a literal name.
    Name(Part),
    /// Bytes of a literal value. Its name is that of [`Decoder::field`].
    Value(Part),
    /// The end of a field, literal or not: [`Decoder::field`] has it.
    Field,
}

/// Bytes of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where in the piece of the block they are.
    pub range: Range<usize>,
    /// They are in the Huffman code.
    pub huffman: bool,
    /// The string begins with them.
    pub first: bool,
    /// The string ends with them.
    pub last: bool,
}

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name; None when it depends on bytes that were not seen.
    pub name: Option<&'a [u8]>,
    /// Its value, likewise.
    pub value: Option<&'a [u8]>,
    /// Its sender does not want it to be compressed, ever (RFC 7541 section 7.1.3).
    pub never_indexed: bool,
}

/// A decoded string, as far as it is known and kept.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    /// Bytes of the whole string.
    length: usize,
    known: bool,
}

impl Text {
    fn clear(&mut self) {
        if self.bytes.capacity() > SPARE {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.length = 0;
        self.known = true;
    }

    fn set(&mut self, bytes: Option<&[u8]>) {
        self.clear();
        self.known = bytes.is_some();
        self.extend(bytes.unwrap_or_default());
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        if self.length > MAX_STRING {
            self.known = false;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn push(&mut self, byte: u8) {
        self.length += 1;
        if self.length > MAX_STRING {
            self.known = false;
        } else {
            self.bytes.push(byte);
        }
    }

    fn get(&self) -> Option<&[u8]> {
        self.known.then_some(&self.bytes)
    }
}

/// What becomes of a literal field (RFC 7541 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Literal {
    Indexed,
    Plain,
    Never,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// Between fields.
    Start,
    /// In an integer.
    Integer(Meaning, Integer),
    /// Before the length of a string.
    Length(Which),
    /// In a string, with so many bytes left.
    Text { which: Which, huffman: bool, left: u32, first: bool },
    /// After the last byte of a field.
    End,
    /// After an error, until the end of the block.
    Broken(Error),
}

/// What an integer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    Field,
    Name,
    TableSize,
    Length { which: Which, huffman: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Name,
    Value,
}

impl Decoder {
    /// For a direction that is seen from its first header block.
    pub fn begun() -> Self {
        Self::new(Dynamic::begun())
    }

    /// For a direction that is first seen in its middle.
    pub fn found() -> Self {
        Self::new(Dynamic::found())
    }

    fn new(table: Dynamic) -> Self {
        Self {
            table,
            state: State::Start,
            spare: [Vec::new(), Vec::new()],
            name: Text::default(),
            value: Text::default(),
            huffman: huffman::State::default(),
            kind: Literal::Plain,
        }
    }

    /// Header blocks, or parts of them, were missed. The next bytes begin a block.
    pub fn lose(&mut self) {
        self.table.lose();
        self.state = State::Start;
    }

    /// The header block is over.
    pub fn end_block(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.state, State::Start) {
            State::Start => Ok(()),
            State::Broken(error) => Err(error),
            _ => {
                self.table.lose();
                Err(Error::Incomplete)
            }
        }
    }

    /// Reads on in a piece of a header block, from `at`, which it moves past what it read. None at the end of the
    /// piece. After an error, the rest of the block gives that error again.
    ///
    /// The encoder announces every size of its table in the blocks (RFC 7541 section 4.2), so that the SETTINGS that
    /// allow it are not needed.
    #[inline]
    pub fn step(&mut self, block: &[u8], at: &mut usize) -> Result<Option<Step>, Error> {
        let step = self.advance(block, at);
        if let Err(error) = step
            && !matches!(self.state, State::Broken(_))
        {
            self.table.lose();
            self.state = State::Broken(error);
        }
        step
    }

    /// The field that is being read, or was read last.
    pub fn field(&self) -> Field<'_> {
        Field { name: self.name.get(), value: self.value.get(), never_indexed: self.kind == Literal::Never }
    }

    fn advance(&mut self, block: &[u8], at: &mut usize) -> Result<Option<Step>, Error> {
        loop {
            match self.state {
                State::End => {
                    self.state = State::Start;
                    if self.kind == Literal::Indexed {
                        let size = self.name.length + self.value.length;
                        self.table.insert(self.name.get(), self.value.get().unwrap_or_default(), size);
                    }
                    return Ok(Some(Step::Field));
                }
                State::Text { which, huffman, left, first } => {
                    let rest = block.get(*at..).unwrap_or_default();
                    if rest.is_empty() && left > 0 {
                        return Ok(None);
                    }
                    return self.text(rest, at, which, huffman, left, first).map(Some);
                }
                State::Broken(error) => {
                    return if *at < block.len() { Err(error) } else { Ok(None) };
                }
                State::Start | State::Integer(..) | State::Length(_) => {
                    let Some(&byte) = block.get(*at) else { return Ok(None) };
                    *at += 1;
                    let (meaning, progress) = match self.state {
                        State::Integer(meaning, integer) => (meaning, integer.push(byte)?),
                        State::Length(which) => {
                            let meaning = Meaning::Length { which, huffman: byte & 0x80 != 0 };
                            (meaning, Integer::begin(byte, 7))
                        }
                        _ => self.begin_field(byte),
                    };
                    match progress {
                        Progress::More(integer) => self.state = State::Integer(meaning, integer),
                        Progress::Done(number) => self.number(meaning, number)?,
                    }
                }
            }
        }
    }

    /// Reads the first byte of a field (RFC 7541 section 6).
    fn begin_field(&mut self, byte: u8) -> (Meaning, Progress) {
        self.kind = Literal::Plain;
        match byte {
            0x80.. => (Meaning::Field, Integer::begin(byte, 7)),
            0x40..0x80 => {
                self.kind = Literal::Indexed;
                (Meaning::Name, Integer::begin(byte, 6))
            }
            0x20..0x40 => (Meaning::TableSize, Integer::begin(byte, 5)),
            0x10..0x20 => {
                self.kind = Literal::Never;
                (Meaning::Name, Integer::begin(byte, 4))
            }
            0x00..0x10 => (Meaning::Name, Integer::begin(byte, 4)),
        }
    }

    fn number(&mut self, meaning: Meaning, number: u32) -> Result<(), Error> {
        self.state = match meaning {
            Meaning::TableSize => {
                self.table.resize(number as usize);
                State::Start
            }
            Meaning::Field => {
                match lookup(&self.table, number) {
                    Lookup::Invalid => return Err(Error::Index),
                    Lookup::Unknown => {
                        self.name.set(None);
                        self.value.set(None);
                    }
                    Lookup::Field(name, value) => {
                        self.name.set(name);
                        self.value.set(Some(value));
                    }
                }
                State::End
            }
            Meaning::Name if number == 0 => State::Length(Which::Name),
            Meaning::Name => {
                match lookup(&self.table, number) {
                    Lookup::Invalid => return Err(Error::Index),
                    Lookup::Unknown => self.name.set(None),
                    Lookup::Field(name, _) => self.name.set(name),
                }
                State::Length(Which::Value)
            }
            Meaning::Length { which, huffman } => {
                match which {
                    Which::Name => self.name.clear(),
                    Which::Value => self.value.clear(),
                }
                self.huffman = huffman::State::default();
                State::Text { which, huffman, left: number, first: true }
            }
        };
        Ok(())
    }

    /// Reads what `rest` has of a string.
    fn text(
        &mut self,
        rest: &[u8],
        at: &mut usize,
        which: Which,
        huffman: bool,
        left: u32,
        first: bool,
    ) -> Result<Step, Error> {
        let taken = rest.len().min(left as usize);
        let last = taken == left as usize;
        let range = *at..*at + taken;
        *at = range.end;
        let text = match which {
            Which::Name => &mut self.name,
            Which::Value => &mut self.value,
        };
        if huffman && first && last && huffman::most(taken) < MAX_STRING {
            text.bytes.resize(huffman::most(taken) + 1, 0);
            let length = huffman::decode(&rest[..taken], &mut text.bytes).map_err(|_| Error::Huffman)?;
            text.bytes.truncate(length);
            text.length = length;
        } else if huffman {
            self.huffman.feed(&rest[..taken], |symbol| text.push(symbol)).map_err(|_| Error::Huffman)?;
        } else {
            text.extend(&rest[..taken]);
        }
        self.state = match (last, which) {
            (false, _) => State::Text { which, huffman, left: left - taken as u32, first: false },
            (true, Which::Name) => State::Length(Which::Value),
            (true, Which::Value) => State::End,
        };
        if last && huffman {
            self.huffman.end().map_err(|_| Error::Huffman)?;
        }
        let part = Part { range, huffman, first, last };
        Ok(match which {
            Which::Name => Step::Name(part),
            Which::Value => Step::Value(part),
        })
    }
}

impl From<Overflow> for Error {
    fn from(Overflow: Overflow) -> Self {
        Self::Integer
    }
}

/// The entry of an index: static ones first (RFC 7541 section 2.3.3).
fn lookup(table: &Dynamic, index: u32) -> Lookup<'_> {
    match (index as usize).checked_sub(1) {
        None => Lookup::Invalid,
        Some(at) => match STATIC.get(at) {
            Some(&(name, value)) => Lookup::Field(Some(name), value),
            None => table.get(at - STATIC.len()),
        },
    }
}
