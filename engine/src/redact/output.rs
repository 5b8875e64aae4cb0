//! Bytes that may be masked: copied to a scratch buffer when the first of them is.

use std::ops::Range;

/// What stands in the place of a byte of a secret. Legal in header values and in queries, and no delimiter.
pub(super) const MASK: u8 = b'*';

/// The bytes of one call, and what becomes of them.
pub(super) struct Output<'s> {
    source: &'s [u8],
    scratch: &'s mut Vec<u8>,
    changed: bool,
}

impl<'s> Output<'s> {
    pub(super) fn new(source: &'s [u8], scratch: &'s mut Vec<u8>) -> Self {
        Self { source, scratch, changed: false }
    }

    /// The bytes as they were.
    pub(super) fn source(&self) -> &'s [u8] {
        self.source
    }

    /// The bytes as they will be.
    pub(super) fn edit(&mut self) -> &mut [u8] {
        if !self.changed {
            self.scratch.clear();
            self.scratch.extend_from_slice(self.source);
            self.changed = true;
        }
        self.scratch
    }

    /// Masks bytes.
    pub(super) fn fill(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.edit()[range].fill(MASK);
        }
    }

    /// Masks bytes, but no carriage return: it may be half of a line end.
    pub(super) fn fill_line(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.edit()[range].iter_mut().filter(|byte| **byte != b'\r').for_each(|byte| *byte = MASK);
        }
    }

    /// Whether a byte was masked.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }
}
