//! The records of one direction of a TLS connection (RFC 8446 section 5.1), however calls cut them.
//!
//! Heads are in clear for as long as the connection lasts: type, version and length. Nothing is kept but one head.

/// Of a record: the keys of a side change with what follows (before TLS 1.3).
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
/// Messages of the handshake.
pub(super) const HANDSHAKE: u8 = 22;
/// Data of the application; in TLS 1.3, whatever is encrypted.
pub(super) const APPLICATION_DATA: u8 = 23;

/// The longest payload: 2^14 bytes, and what encryption may add to it (RFC 5246 section 6.2.3).
const MAX_LENGTH: usize = (1 << 14) + 2048;

/// Type, version, length.
const HEAD: usize = 5;

/// Where one direction is.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// As much as is known of the head of the record that the next byte belongs to.
    head: [u8; HEAD],
    known: usize,
    /// Bytes of its payload that are to come.
    rest: usize,
}

/// Some of the payload of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The type of the record.
    pub(super) kind: u8,
    /// None: a number of them that were not kept.
    pub(super) bytes: Option<&'a [u8]>,
    /// They are the last.
    pub(super) last: bool,
}

/// What comes is no record, or begins where it cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Records {
    /// Takes the bytes of the next piece off `bytes`. None when there are no more.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Lost> {
        if self.known < HEAD {
            let (head, after) = bytes.split_at(bytes.len().min(HEAD - self.known));
            self.head[self.known..][..head.len()].copy_from_slice(head);
            self.known += head.len();
            *bytes = after;
            if self.known < HEAD {
                return Ok(None);
            }
            self.rest = length(self.head).ok_or(Lost)?;
        }
        let (payload, after) = bytes.split_at(bytes.len().min(self.rest));
        *bytes = after;
        Ok((!payload.is_empty()).then(|| self.pass(payload.len(), Some(payload))))
    }

    /// Passes over bytes that moved and were not kept, `count` of them, up to the end of the record. None when there are no
    /// more. A record that ends among them has ended, but where the next one begins cannot be seen.
    pub(super) fn skip(&mut self, count: &mut u64) -> Result<Option<Piece<'static>>, Lost> {
        if *count == 0 {
            return Ok(None);
        }
        if self.known < HEAD {
            return Err(Lost);
        }
        let passed = usize::try_from(*count).map_or(self.rest, |count| count.min(self.rest));
        *count -= passed as u64;
        Ok(Some(self.pass(passed, None)))
    }

    fn pass<'a>(&mut self, count: usize, bytes: Option<&'a [u8]>) -> Piece<'a> {
        self.rest -= count;
        let last = self.rest == 0;
        if last {
            self.known = 0;
        }
        Piece { kind: self.head[0], bytes, last }
    }
}

/// The length that a head gives. None when no record can have such a head: none is empty, data neither once it is
/// encrypted.
fn length(head: [u8; HEAD]) -> Option<usize> {
    let [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 3, 0..=4, length @ ..] = head else { return None };
    Some(u16::from_be_bytes(length).into()).filter(|length| (1..=MAX_LENGTH).contains(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(kind: u8, bytes: &[u8], last: bool) -> Piece<'_> {
        Piece { kind, bytes: Some(bytes), last }
    }

    fn pieces<'a>(records: &mut Records, mut bytes: &'a [u8]) -> Result<Vec<Piece<'a>>, Lost> {
        let mut pieces = Vec::new();
        while let Some(piece) = records.next(&mut bytes)? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    #[test]
    fn records_come_in_any_pieces() {
        let mut records = Records::default();
        let two = b"\x16\x03\x01\0\x02ab\x14\x03\x03\0\x01\x01\x17\x03";
        let seen = pieces(&mut records, two);
        assert_eq!(seen, Ok(vec![piece(22, b"ab", true), piece(20, b"\x01", true)]));
        assert_eq!(pieces(&mut records, b"\x03\0\x03"), Ok(vec![]));
        assert_eq!(pieces(&mut records, b"xy"), Ok(vec![piece(23, b"xy", false)]));
        assert_eq!(pieces(&mut records, b""), Ok(vec![]));
        assert_eq!(pieces(&mut records, b"z\x15"), Ok(vec![piece(23, b"z", true)]));
    }

    #[test]
    fn hidden_bytes_are_passed_over_within_a_record() {
        let mut records = Records::default();
        assert_eq!(pieces(&mut records, b"\x17\x03\x03\0\x05a").map(|pieces| pieces.len()), Ok(1));
        let piece = |last| Ok(Some(Piece { kind: 23, bytes: None, last }));
        assert_eq!(records.skip(&mut 0), Ok(None));
        assert_eq!(records.skip(&mut 3), piece(false));
        let mut beyond = 2;
        assert_eq!((records.skip(&mut beyond), beyond), (piece(true), 1));
        assert_eq!(records.skip(&mut beyond), Err(Lost));
        assert_eq!(pieces(&mut records, b"\x17\x03\x03\0\x05"), Ok(vec![]));
        let mut beyond = u64::MAX;
        assert_eq!((records.skip(&mut beyond), beyond), (piece(true), u64::MAX - 5));
    }

    #[test]
    fn what_is_no_record_is_told() {
        let kinds = [b"GET /", b"\x13\x03\x03\0\x01", b"\x18\x03\x03\0\x01"];
        let versions = [b"\x16\x02\x01\0\x01", b"\x16\x03\x05\0\x01"];
        let lengths = [b"\x16\x03\x03\0\0", b"\x17\x03\x03\x48\x01"];
        for head in kinds.iter().chain(&versions).chain(&lengths) {
            assert_eq!(pieces(&mut Records::default(), *head), Err(Lost), "{head:?}");
        }
    }
}
