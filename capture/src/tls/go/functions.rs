//! The table of functions that the Go runtime makes its stack traces with, in every program, stripped or not.
//!
//! Its forms are told in Go's debug/gosym/pclntab.go and runtime/symtab.go. All numbers in it may be wrong: nothing
//! is read but through `get`, and no loop is longer than the table.

use std::ops::Range;

use memchr::memmem;
use object::ReadRef;

use super::{Error, image::Image};

/// The functions of a program.
pub(super) struct Table<'a> {
    /// What addresses begin at.
    text: u64,
    /// The section that the rest is in.
    bytes: &'a [u8],
    /// The names, each ending with a zero.
    names: &'a [u8],
    /// Where the descriptions of functions are counted from.
    descriptions: usize,
    /// Pairs of an address and the place of a description, and the end of the last function.
    entries: &'a [u8],
    form: Form,
}

/// The forms of the table. Those before Go 1.16 are of no use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Go 1.16 and 1.17: addresses of eight bytes.
    Addresses,
    /// Since Go 1.18: four bytes from the beginning of the code.
    Distances,
}

impl Form {
    /// Bytes of half an entry.
    fn width(self) -> usize {
        match self {
            Self::Addresses => 8,
            Self::Distances => 4,
        }
    }
}

/// Where the table is: in a section of its own, or, when another linker made a program that can be loaded anywhere,
/// among other data.
const SECTIONS: [&str; 3] = [".gopclntab", ".data.rel.ro.gopclntab", ".data.rel.ro"];
/// Where the header of the table has the address of the code, in Go 1.18 to 1.25. Zero later.
const HEADER_TEXT: u64 = 24;
/// Where `runtime.moduledata`, which has a section of its own since Go 1.26, has it.
const MODULE_TEXT: u64 = 176;

impl<'a> Table<'a> {
    /// Finds the table.
    pub(super) fn read<R: ReadRef<'a>>(image: &Image<'a, '_, R>) -> Result<Self, Error> {
        let sections = SECTIONS.into_iter().filter_map(|name| image.section(name));
        let table = sections.into_iter().find_map(|(address, bytes)| {
            let (place, table) = Self::search(bytes)?;
            Some((address.checked_add(place)?, table))
        });
        let (address, mut table) = table.ok_or(Error::NoTable)?;
        if table.form == Form::Distances {
            let module = || image.section(".go.module");
            let pointer = |at: Option<u64>| image.pointer(at?).filter(|text| *text != 0);
            table.text = pointer(address.checked_add(HEADER_TEXT))
                .or_else(|| pointer(module()?.0.checked_add(MODULE_TEXT)))
                .ok_or(Error::NoText)?;
        }
        Ok(table)
    }

    /// The first place with something like a table.
    fn search(bytes: &'a [u8]) -> Option<(u64, Self)> {
        /// Go's linker aligns it to more.
        const ALIGNMENT: usize = 8;
        let places = (0..bytes.len()).step_by(ALIGNMENT);
        places.into_iter().find_map(|place| Some((place as u64, Self::parse(&bytes[place..])?)))
    }

    /// Looks at the header.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let number = |index: usize| {
            let word = bytes.get(8 + 8 * index..)?.first_chunk()?;
            usize::try_from(u64::from_le_bytes(*word)).ok()
        };
        // The magic number, two zeros, the shortest instruction, the size of a pointer.
        let (form, names, descriptions) = match bytes.first_chunk::<8>()? {
            [0xfa, 0xff, 0xff, 0xff, 0, 0, _, 8] => (Form::Addresses, number(2)?, number(6)?),
            [0xf0 | 0xf1, 0xff, 0xff, 0xff, 0, 0, _, 8] => (Form::Distances, number(3)?, number(7)?),
            _ => return None,
        };
        let size = number(0)?.checked_mul(2)?.checked_add(1)?.checked_mul(form.width())?;
        Some(Self {
            text: 0,
            bytes,
            names: bytes.get(names..descriptions)?,
            descriptions,
            entries: bytes.get(descriptions..)?.get(..size)?,
            form,
        })
    }

    /// Where the functions of that name begin and end: none, one, or one for each convention of calling.
    pub(super) fn functions(&self, name: &str) -> Vec<Range<u64>> {
        /// Go has two conventions; a file may say anything.
        const MOST: usize = 4;
        let Some(name) = self.name(name) else { return Vec::new() };
        let width = self.form.width();
        let pairs = self.entries.windows(3 * width).step_by(2 * width);
        let described = pairs.filter(|pair| self.description(&pair[width..]) == Some(name));
        let ranges =
            described.filter_map(|pair| Some(self.address(pair)?..self.address(&pair[2 * width..])?));
        ranges.take(MOST).collect()
    }

    /// Where the functions of that name begin.
    pub(super) fn starts(&self, name: &str) -> Vec<u64> {
        self.functions(name).into_iter().map(|function| function.start).collect()
    }

    /// The place of a name among the names.
    fn name(&self, name: &str) -> Option<u32> {
        let place = memmem::find(self.names, format!("\0{name}\0").as_bytes())? + 1;
        u32::try_from(place).ok()
    }

    /// The place of the name in the description whose place is here.
    fn description(&self, entry: &[u8]) -> Option<u32> {
        let place = usize::try_from(self.number(entry)?).ok()?;
        // It begins with the function's address, as wide as here.
        let place = self.descriptions.checked_add(place)?.checked_add(self.form.width())?;
        Some(u32::from_le_bytes(*self.bytes.get(place..)?.first_chunk()?))
    }

    /// The address that is here.
    fn address(&self, entry: &[u8]) -> Option<u64> {
        self.text.checked_add(self.number(entry)?)
    }

    /// The half of an entry that is here.
    fn number(&self, entry: &[u8]) -> Option<u64> {
        match self.form {
            Form::Addresses => entry.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
            Form::Distances => entry.first_chunk().map(|bytes| u32::from_le_bytes(*bytes).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of three functions; the first and the last have one name.
    fn table(form: Form) -> Vec<u8> {
        let names = b"\0main.main\0runtime.memmove\0";
        let wide = |number: usize| match form {
            Form::Addresses => (number as u64).to_le_bytes().to_vec(),
            Form::Distances => (number as u32).to_le_bytes().to_vec(),
        };
        let (words, magic) = match form {
            Form::Addresses => (7, 0xfa),
            Form::Distances => (8, 0xf1),
        };
        let start = 8 + 8 * words;
        let descriptions = start + names.len();
        let mut header = [3, 0, start, start, start, start, descriptions].to_vec();
        if form == Form::Distances {
            header.insert(2, 0);
        }
        let mut bytes = vec![magic, 0xff, 0xff, 0xff, 0, 0, 1, 8];
        bytes.extend(header.into_iter().flat_map(|word| (word as u64).to_le_bytes()));
        bytes.extend(names);
        let entries = 7 * form.width();
        let size = form.width() + 4;
        for (index, address) in [0x100, 0x200, 0x280].into_iter().enumerate() {
            bytes.extend(wide(address));
            bytes.extend(wide(entries + index * size));
        }
        bytes.extend(wide(0x300));
        for (address, name) in [(0x100, 11u32), (0x200, 1), (0x280, 11)] {
            bytes.extend(wide(address));
            bytes.extend(name.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn functions_are_found_by_their_names() {
        for form in [Form::Addresses, Form::Distances] {
            let bytes = table(form);
            let mut table = Table::parse(&bytes).unwrap();
            assert_eq!(table.form, form);
            table.text = 0x40_0000;
            assert_eq!(table.functions("main.main").first(), Some(&(0x40_0200..0x40_0280)));
            assert_eq!(table.starts("runtime.memmove"), [0x40_0100, 0x40_0280]);
            assert!(table.functions("memmove").is_empty());

            let among_others = [&[0xf1; 24][..], &bytes].concat();
            let (place, table) = Table::search(&among_others).unwrap();
            assert_eq!(place, 24);
            assert_eq!(table.starts("main.main"), [0x200]);
        }
    }

    #[test]
    fn damage_is_no_danger() {
        let look = |bytes: &[u8]| {
            let Some((_, table)) = Table::search(bytes) else { return };
            table.functions("main.main");
            table.starts("runtime.memmove");
        };
        for form in [Form::Addresses, Form::Distances] {
            let whole = table(form);
            for end in 0..whole.len() {
                look(&whole[..end]);
            }
            for place in 0..whole.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut bytes = whole.clone();
                    bytes[place] = value;
                    look(&bytes);
                }
            }
            for place in (8..whole.len() - 8).step_by(4) {
                let mut bytes = whole.clone();
                bytes[place..place + 8].fill(0xff);
                look(&bytes);
            }
        }
    }
}
