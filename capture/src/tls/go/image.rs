//! An executable as it lies in memory and in its file.

use std::ops::Range;

use object::{
    Endianness, Object as _, ObjectSection as _, ReadRef, RelocationTarget,
    elf::PT_LOAD,
    read::elf::{ElfFile64, ProgramHeader as _},
};

/// A view of an executable.
pub(super) struct Image<'a, 'f, R: ReadRef<'a>> {
    elf: &'f ElfFile64<'a, Endianness, R>,
}

impl<'a, 'f, R: ReadRef<'a>> Image<'a, 'f, R> {
    pub(super) fn new(elf: &'f ElfFile64<'a, Endianness, R>) -> Self {
        Self { elf }
    }

    /// The address and content of a section, if it has any.
    pub(super) fn section(&self, name: &str) -> Option<(u64, &'a [u8])> {
        /// Larger than any program's table of functions; a file may say anything.
        const LARGEST: u64 = 1 << 30;
        let section = self.elf.section_by_name(name).filter(|section| section.size() <= LARGEST)?;
        let data = section.data().ok().filter(|data| !data.is_empty())?;
        Some((section.address(), data))
    }

    /// The code of a function; the end of it is left out when it is larger than any function that is looked at.
    pub(super) fn code(&self, function: &Range<u64>) -> Option<&'a [u8]> {
        const LARGEST: u64 = 64 << 10;
        let size = function.end.checked_sub(function.start)?.min(LARGEST);
        self.bytes(function.start, size)
    }

    /// The bytes at an address.
    pub(super) fn bytes(&self, address: u64, size: u64) -> Option<&'a [u8]> {
        let last = address.checked_add(size.checked_sub(1)?)?;
        let offset = self.offset(address)?;
        // Both in one segment: segments do not come out of a file in another order than in memory.
        (self.offset(last)? == offset.checked_add(last - address)?).then_some(())?;
        self.elf.data().read_bytes_at(offset, size).ok()
    }

    /// Where in the file an address is, if it is there.
    pub(super) fn offset(&self, address: u64) -> Option<u64> {
        let endian = self.elf.endian();
        self.elf.elf_program_headers().iter().filter(|segment| segment.p_type(endian) == PT_LOAD).find_map(
            |segment| {
                let inside = address.checked_sub(segment.p_vaddr(endian))?;
                (inside < segment.p_filesz(endian)).then_some(())?;
                segment.p_offset(endian).checked_add(inside)
            },
        )
    }

    /// The pointer at an address, relative to where the program is loaded.
    pub(super) fn pointer(&self, address: u64) -> Option<u64> {
        // A program that can be loaded anywhere has it in a relocation, and mostly zero in its place.
        let relocation = self.elf.dynamic_relocations().into_iter().flatten().find(|(at, _)| *at == address);
        match relocation {
            Some((_, relocation)) if relocation.target() == RelocationTarget::Absolute => {
                u64::try_from(relocation.addend()).ok()
            }
            _ => Some(u64::from_le_bytes(self.bytes(address, 8)?.try_into().ok()?)),
        }
    }
}
