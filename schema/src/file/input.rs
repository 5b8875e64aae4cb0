//! Bytes that several threads read, each at places of its own.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};

/// What can be read anywhere. Reading at one place does not move another.
pub trait ReadAt: Send + Sync + 'static {
    /// Bytes there are.
    fn length(&self) -> u64;

    /// Reads into `buffer` what is at `offset`, and returns how many bytes that was: 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn length(&self) -> u64 {
        Length::len(self)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for Bytes {
    fn length(&self) -> u64 {
        Length::len(self)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        rest.unwrap_or_default().read(buffer)
    }
}

/// An input, as the Parquet library wants it.
#[derive(Clone)]
pub(super) struct Input(Arc<dyn ReadAt>);

impl Input {
    pub(super) fn new(input: impl ReadAt) -> Self {
        Self(Arc::new(input))
    }
}

impl Length for Input {
    fn len(&self) -> u64 {
        self.0.length()
    }
}

impl ChunkReader for Input {
    type T = BufReader<Place>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(Place { input: self.clone(), offset: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // No more is believed than there is.
        let there = usize::try_from(self.len().saturating_sub(start)).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(length.min(there));
        let read =
            Place { input: self.clone(), offset: start }.take(length as u64).read_to_end(&mut bytes)?;
        if read < length {
            let reason = format!("Expected to read {length} bytes, read only {read}");
            return Err(ParquetError::EOF(reason));
        }
        Ok(bytes.into())
    }
}

/// A place in an input, which moves with what is read.
pub(super) struct Place {
    input: Input,
    offset: u64,
}

impl Read for Place {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.0.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(read as u64);
        Ok(read)
    }
}
