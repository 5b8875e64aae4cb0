//! Which numbers of a sequence were there: of records on a CPU, or of bytes in a stream. They may come in any
//! order, since what happens at the same time is ordered by clock readings and not by its numbers.

use std::{collections::VecDeque, ops::Range};

use super::log::At;

/// Holes that may still be filled. What is missing longer than that counts as missing for good.
const WAITING: usize = 256;

/// A sequence of numbers.
#[derive(Debug)]
pub(super) struct Coverage {
    /// All numbers below are there or missing. None: the first one that comes begins the sequence.
    next: Option<u64>,
    waiting: VecDeque<Hole>,
    missing: u64,
    first: Option<Hole>,
}

/// Numbers that are missing before a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) numbers: Range<u64>,
    pub(super) before: At,
}

impl Hole {
    fn length(&self) -> u64 {
        self.numbers.end - self.numbers.start
    }
}

impl Coverage {
    /// A sequence that begins with `first`; none: with whatever comes first.
    pub(super) fn new(first: Option<u64>) -> Self {
        Self { next: first, waiting: VecDeque::new(), missing: 0, first: None }
    }

    /// The number after the last one.
    pub(super) fn end(&self) -> Option<u64> {
        self.next
    }

    /// Takes numbers, and counts those of them that were there before.
    pub(super) fn add(&mut self, numbers: Range<u64>, at: At) -> u64 {
        let next = self.next.unwrap_or(numbers.start);
        self.next = Some(next.max(numbers.end));
        if numbers.start >= next {
            if numbers.start > next {
                self.waiting.push_back(Hole { numbers: next..numbers.start, before: at });
                if self.waiting.len() > WAITING {
                    self.settle_oldest();
                }
            }
            return 0;
        }
        let old = numbers.start..numbers.end.min(next);
        let mut filled = 0;
        for index in (0..self.waiting.len()).rev() {
            let hole = &mut self.waiting[index];
            let Range { start, end } = hole.numbers;
            let overlap = start.max(old.start)..end.min(old.end);
            if overlap.start >= overlap.end {
                continue;
            }
            filled += overlap.end - overlap.start;
            let rest = Hole { numbers: overlap.end..end, before: hole.before };
            hole.numbers.end = overlap.start;
            if rest.length() > 0 {
                self.waiting.insert(index + 1, rest);
            }
            if self.waiting[index].length() == 0 {
                self.waiting.remove(index);
            }
        }
        (old.end - old.start) - filled
    }

    fn settle_oldest(&mut self) {
        if let Some(hole) = self.waiting.pop_front() {
            self.missing += hole.length();
            self.first.get_or_insert(hole);
        }
    }

    /// Nothing more comes: how many numbers are missing, and the first hole.
    pub(super) fn finish(mut self) -> (u64, Option<Hole>) {
        while !self.waiting.is_empty() {
            self.settle_oldest();
        }
        (self.missing, self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(row: u64) -> At {
        At { file: 0, row }
    }

    #[test]
    fn numbers_in_order_leave_nothing() {
        let mut coverage = Coverage::new(Some(0));
        assert_eq!(coverage.add(0..10, at(0)) + coverage.add(10..11, at(1)), 0);
        assert_eq!(coverage.end(), Some(11));
        assert_eq!(coverage.finish(), (0, None));
    }

    #[test]
    fn holes_are_filled_by_what_comes_later() {
        let mut coverage = Coverage::new(Some(0));
        assert_eq!(coverage.add(10..20, at(0)), 0);
        assert_eq!(coverage.add(30..40, at(1)), 0);
        assert_eq!(coverage.add(22..25, at(2)), 0);
        assert_eq!(coverage.add(0..10, at(3)), 0);
        assert_eq!(coverage.finish(), (7, Some(Hole { numbers: 20..22, before: at(1) })));
    }

    #[test]
    fn what_comes_again_is_counted() {
        let mut coverage = Coverage::new(None);
        assert_eq!(coverage.add(5..10, at(0)), 0);
        assert_eq!(coverage.add(8..12, at(1)), 2);
        assert_eq!(coverage.add(20..21, at(2)), 0);
        assert_eq!(coverage.add(11..22, at(3)), 2);
        assert_eq!(coverage.finish(), (0, None));
    }

    #[test]
    fn memory_is_bounded() {
        let mut coverage = Coverage::new(Some(0));
        for number in 1..10_000 {
            coverage.add(2 * number..2 * number + 1, at(number));
        }
        assert_eq!(coverage.waiting.len(), WAITING);
        assert_eq!(coverage.finish().0, 10_000);
    }
}
