//! Whole header blocks: fields are borrowed from the block and the tables wherever they stand there as they are.

use super::decoder::{Decoder, Error, Field, MAX_STRING, SPARE, State};
use super::huffman;
use super::integer::{Integer, Progress};
use super::table::{Lookup, STATIC};

/// Where the name of a literal field is.
enum Name<'a> {
    Static(&'static [u8]),
    /// With an entry behind so many newer ones.
    Dynamic(usize),
    Literal(Literal<'a>),
}

/// A string, decoded.
#[derive(Clone, Copy)]
struct Literal<'a> {
    /// None if it is too long to be kept.
    bytes: Option<&'a [u8]>,
    length: usize,
}

/// A block, and how far it was read.
struct Input<'a> {
    block: &'a [u8],
    at: usize,
}

impl Decoder {
    /// Reads a whole header block; hands every field to `each`. What the block says after an error is not read. A block
    /// that was begun in pieces and not ended is given up.
    pub fn block(&mut self, block: &[u8], each: impl FnMut(Field<'_>)) -> Result<(), Error> {
        let begun = !matches!(std::mem::replace(&mut self.state, State::Start), State::Start);
        if begun {
            self.table.lose();
        }
        let result = self.fields(block, each);
        if result.is_err() {
            self.table.lose();
        }
        for spare in &mut self.spare {
            if spare.len() > SPARE {
                *spare = Vec::new();
            }
        }
        result
    }

    fn fields(&mut self, block: &[u8], mut each: impl FnMut(Field<'_>)) -> Result<(), Error> {
        let mut input = Input { block, at: 0 };
        while let Some(&byte) = block.get(input.at) {
            input.at += 1;
            if byte & 0x80 != 0 {
                let index = input.integer(byte, 7)? as usize;
                each(self.indexed(index)?);
            } else if byte & 0xe0 == 0x20 {
                let size = input.integer(byte, 5)?;
                self.table.resize(size as usize);
            } else {
                self.literal(byte, &mut input, &mut each)?;
            }
        }
        Ok(())
    }

    /// A field that is an entry of a table.
    #[inline]
    fn indexed(&self, index: usize) -> Result<Field<'_>, Error> {
        let (name, value) = match STATIC.get(index.wrapping_sub(1)) {
            Some(&(name, value)) => (Some(name), Some(value)),
            None if index == 0 => return Err(Error::Index),
            None => match self.table.get(index - 1 - STATIC.len()) {
                Lookup::Field(name, value) => (name, Some(value)),
                Lookup::Unknown => (None, None),
                Lookup::Invalid => return Err(Error::Index),
            },
        };
        Ok(Field { name, value, never_indexed: false })
    }

    /// A field with a value of its own, and perhaps a name, that begins with `byte`.
    fn literal(
        &mut self,
        byte: u8,
        input: &mut Input<'_>,
        each: &mut impl FnMut(Field<'_>),
    ) -> Result<(), Error> {
        let kept = byte & 0x40 != 0;
        let index = input.integer(byte, if kept { 6 } else { 4 })? as usize;
        let [name_room, value_room] = &mut self.spare;
        let name = match index.checked_sub(1) {
            None => Name::Literal(input.string(name_room)?),
            Some(at) => match STATIC.get(at) {
                Some((name, _)) => Name::Static(name),
                None => Name::Dynamic(at - STATIC.len()),
            },
        };
        let (name_bytes, name_length) = match &name {
            Name::Static(name) => (Some(*name), name.len()),
            Name::Dynamic(age) => match self.table.get(*age) {
                Lookup::Field(name, _) => (name, name.map_or(0, <[u8]>::len)),
                Lookup::Unknown => (None, 0),
                Lookup::Invalid => return Err(Error::Index),
            },
            Name::Literal(name) => (name.bytes, name.length),
        };
        let value = input.string(value_room)?;
        each(Field { name: name_bytes, value: value.bytes, never_indexed: byte & 0xf0 == 0x10 });
        if kept {
            let size = name_length + value.length;
            let value = value.bytes.unwrap_or_default();
            match name {
                Name::Dynamic(age) => self.table.insert_alike(age, value, size),
                Name::Static(name) => self.table.insert(Some(name), value, size),
                Name::Literal(name) => self.table.insert(name.bytes, value, size),
            }
        }
        Ok(())
    }
}

impl<'a> Input<'a> {
    /// Reads an integer that begins in the lowest `bits` of `byte`.
    #[inline]
    fn integer(&mut self, byte: u8, bits: u32) -> Result<u32, Error> {
        match Integer::begin(byte, bits) {
            Progress::Done(number) => Ok(number),
            Progress::More(integer) => self.long_integer(integer),
        }
    }

    fn long_integer(&mut self, mut integer: Integer) -> Result<u32, Error> {
        loop {
            let &byte = self.block.get(self.at).ok_or(Error::Incomplete)?;
            self.at += 1;
            match integer.push(byte)? {
                Progress::Done(number) => return Ok(number),
                Progress::More(more) => integer = more,
            }
        }
    }

    /// Reads a string. Where it is in the Huffman code, it is decoded into `room`.
    #[inline]
    fn string<'r>(&mut self, room: &'r mut Vec<u8>) -> Result<Literal<'r>, Error>
    where
        'a: 'r,
    {
        let &byte = self.block.get(self.at).ok_or(Error::Incomplete)?;
        self.at += 1;
        let length = self.integer(byte, 7)? as usize;
        let rest = &self.block[self.at..];
        let bytes = rest.get(..length).ok_or(Error::Incomplete)?;
        self.at += length;
        if byte & 0x80 == 0 {
            return Ok(Literal { bytes: (length <= MAX_STRING).then_some(bytes), length });
        }
        let most = huffman::most(length) + 1;
        if most > MAX_STRING {
            return long(bytes, room);
        }
        if room.len() < most {
            room.resize(most, 0);
        }
        let length = huffman::decode(bytes, room).map_err(|_| Error::Huffman)?;
        Ok(Literal { bytes: Some(&room[..length]), length })
    }
}

/// Decodes a string that may be too long to be kept.
#[cold]
fn long<'r>(bytes: &[u8], room: &'r mut Vec<u8>) -> Result<Literal<'r>, Error> {
    room.clear();
    let (mut state, mut length) = (huffman::State::default(), 0);
    let each = |symbol| {
        length += 1;
        if length <= MAX_STRING {
            room.push(symbol);
        }
    };
    state.feed(bytes, each).and_then(|()| state.end()).map_err(|_| Error::Huffman)?;
    Ok(Literal { bytes: (length <= MAX_STRING).then_some(&room[..]), length })
}
