//! One direction of a connection as a stream of bytes with positions.
//!
//! Finds out what is new in a call, what was seen before, and what is missing. Missing bytes are never
//! filled in: they are numbers beside the bytes.

use beyla_schema::event::Data;

/// The bytes of one call that were not seen before, and what is missing around them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    /// Bytes missing before the call: it or its predecessors were not all captured.
    pub(crate) lost: u64,
    /// Bytes passed before: seen, or missed until now.
    pub(crate) seen: u64,
    /// The call should have come earlier: its bytes were taken for lost.
    pub(crate) late: bool,
    /// The first one seen, and not the first one there was: whether others were lost just before is not known.
    pub(crate) adrift: bool,
    /// The first new bytes.
    pub(crate) head: &'a [u8],
    /// Bytes the call moved next that were not kept.
    pub(crate) hidden: u64,
    /// The last bytes, after what is hidden.
    pub(crate) tail: &'a [u8],
}

impl Call<'_> {
    /// Whether there is nothing new in it.
    pub(crate) fn is_old(&self) -> bool {
        self.head.is_empty() && self.hidden == 0 && self.tail.is_empty()
    }
}

/// How far one direction has been seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Position of the next byte; none while nothing is known.
    next: Option<u64>,
    /// Where the last bytes are missing, from and to.
    hole: (u64, u64),
}

impl Stream {
    /// A stream known since position 0.
    pub(crate) const BEGUN: Self = Self { next: Some(0), hole: (0, 0) };
    /// A stream that may begin at any position.
    pub(crate) const FOUND: Self = Self { next: None, hole: (0, 0) };

    /// Moves past `data` and says what is new in it.
    pub(crate) fn advance<'a>(&mut self, data: &Data<'a>) -> Call<'a> {
        let length = u64::from(data.length);
        let end = data.position.saturating_add(length);
        let next = self.next.unwrap_or(data.position);
        let seen = next.saturating_sub(data.position).min(length);
        let adrift = self.next.is_none() && data.position > 0;
        let late = data.position < self.hole.1 && self.hole.0 < end;
        if self.next.is_none_or(|next| next < data.position) {
            self.hole = (self.next.unwrap_or(0), data.position);
        }
        self.next = Some(next.max(end));

        // Contradictory lengths are cut to what the call moved.
        let captured = (data.payload.len() as u64).min(length);
        let tail_start = length - (data.tail.len() as u64).min(length - captured);
        let fresh_tail = (length - tail_start.max(seen)) as usize;
        Call {
            lost: data.position.saturating_sub(next),
            seen,
            late,
            adrift,
            head: &data.payload[captured.min(seen) as usize..captured as usize],
            hidden: tail_start.saturating_sub(captured.max(seen)),
            tail: &data.tail[data.tail.len() - fresh_tail..],
        }
    }

    /// Bytes that moved after the last one seen, when `total` moved in all; zero if that is not known.
    pub(crate) fn missing_of(self, total: u64) -> u64 {
        self.next.map_or(0, |next| total.saturating_sub(next))
    }
}

#[cfg(test)]
mod tests {
    use beyla_schema::event::{self, Direction, Source};

    use super::*;

    fn data<'a>(position: u64, length: u32, payload: &'a [u8], tail: &'a [u8]) -> Data<'a> {
        Data {
            direction: Direction::Receive,
            source: Source::Socket,
            call: event::Call::Read,
            position,
            ready_ns: None,
            goroutine: 0,
            length,
            payload,
            tail,
        }
    }

    fn call<'a>(lost: u64, seen: u64, head: &'a [u8], hidden: u64, tail: &'a [u8]) -> Call<'a> {
        Call { lost, seen, head, hidden, tail, ..Call::default() }
    }

    #[test]
    fn bytes_in_order_are_new() {
        let mut stream = Stream::BEGUN;
        assert_eq!(stream.advance(&data(0, 3, b"abc", b"")), call(0, 0, b"abc", 0, b""));
        assert_eq!(stream.advance(&data(3, 2, b"de", b"")), call(0, 0, b"de", 0, b""));
    }

    #[test]
    fn a_jump_ahead_is_a_loss_and_what_comes_after_it_is_late() {
        let mut stream = Stream::BEGUN;
        assert_eq!(stream.advance(&data(3, 2, b"de", b"")), call(3, 0, b"de", 0, b""));
        let late = Call { late: true, ..call(0, 3, b"", 0, b"") };
        assert_eq!(stream.advance(&data(0, 3, b"abc", b"")), late);
        assert!(!stream.advance(&data(3, 2, b"de", b"")).late);
    }

    #[test]
    fn an_overlap_is_trimmed_wherever_it_ends() {
        let begun = |next| Stream { next: Some(next), ..Stream::BEGUN };
        let of = data(0, 10, b"abc", b"hij");
        assert_eq!(begun(0).advance(&of), call(0, 0, b"abc", 4, b"hij"));
        assert_eq!(begun(1).advance(&of), call(0, 1, b"bc", 4, b"hij"));
        assert_eq!(begun(5).advance(&of), call(0, 5, b"", 2, b"hij"));
        assert_eq!(begun(8).advance(&of), call(0, 8, b"", 0, b"ij"));
        assert_eq!(begun(99).advance(&of), call(0, 10, b"", 0, b""));
    }

    #[test]
    fn payload_and_tail_that_meet_are_contiguous() {
        let mut stream = Stream::BEGUN;
        assert_eq!(stream.advance(&data(0, 5, b"abc", b"de")), call(0, 0, b"abc", 0, b"de"));
        assert_eq!(stream.advance(&data(5, 5, b"abc", b"cde")), call(0, 0, b"abc", 0, b"de"));
    }

    #[test]
    fn a_found_stream_begins_anywhere() {
        let mut stream = Stream::FOUND;
        assert_eq!(stream.missing_of(9), 0);
        let first = Call { adrift: true, ..call(0, 0, b"a", 0, b"") };
        assert_eq!(stream.advance(&data(7, 1, b"a", b"")), first);
        assert_eq!(stream.missing_of(9), 1);
        assert!(stream.advance(&data(6, 1, b"a", b"")).late);
    }

    #[test]
    fn absurd_numbers_are_survived() {
        let mut stream = Stream::BEGUN;
        assert_eq!(stream.advance(&data(u64::MAX, u32::MAX, b"a", b"")).lost, u64::MAX);
        let late = Call { late: true, ..call(0, 1, b"", 0, b"") };
        assert_eq!(stream.advance(&data(0, 1, b"abc", b"d")), late);
    }
}
