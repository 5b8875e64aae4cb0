//! Integers (RFC 7541 section 5.1), read byte by byte.

/// An integer whose first byte had all bits of its prefix set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Integer {
    value: u64,
    shift: u32,
}

/// More than an integer here can mean: beyond 32 bits, or longer than any encoder writes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// What is known of an integer so far.
#[derive(Clone, Copy, Debug)]
pub(super) enum Progress {
    Done(u32),
    More(Integer),
}

impl Integer {
    /// Reads the first byte, of which the integer has the lowest `bits`.
    pub(super) fn begin(byte: u8, bits: u32) -> Progress {
        let mask = (1u32 << bits) - 1;
        match u32::from(byte) & mask {
            value if value < mask => Progress::Done(value),
            value => Progress::More(Self { value: value.into(), shift: 0 }),
        }
    }

    /// Reads a further byte.
    pub(super) fn push(self, byte: u8) -> Result<Progress, Overflow> {
        if self.shift > 28 {
            return Err(Overflow);
        }
        let value = self.value + (u64::from(byte & 0x7f) << self.shift);
        if byte & 0x80 != 0 {
            return Ok(Progress::More(Self { value, shift: self.shift + 7 }));
        }
        value.try_into().map(Progress::Done).map_err(|_| Overflow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], bits: u32) -> Result<Option<u32>, Overflow> {
        let mut progress = Integer::begin(bytes[0], bits);
        for &byte in &bytes[1..] {
            let Progress::More(integer) = progress else { break };
            progress = integer.push(byte)?;
        }
        Ok(match progress {
            Progress::Done(value) => Some(value),
            Progress::More(_) => None,
        })
    }

    #[test]
    fn integers_of_appendix_c_1() {
        assert_eq!(read(&[0b1110_1010], 5), Ok(Some(10)));
        assert_eq!(read(&[0b0001_1111, 0b1001_1010, 0b0000_1010], 5), Ok(Some(1337)));
        assert_eq!(read(&[42], 8), Ok(Some(42)));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert_eq!(read(&[0x1f, 0x80], 5), Ok(None));
        assert_eq!(read(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0x7f], 5), Err(Overflow));
        assert_eq!(read(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 5), Err(Overflow));
        assert_eq!(read(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x0f], 5), Ok(Some(31 + (15 << 28))));
    }
}
