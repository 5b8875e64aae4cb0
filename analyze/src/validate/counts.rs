//! The order and the numbers of rows, and the sum: what the kernel programs saw was recorded or is counted as lost.

use std::collections::BTreeMap;

use beyla_schema::event::{Body, Event, loses_records};

use crate::RECORDER;

use super::{
    coverage::{Coverage, Hole},
    log::{At, Invariant, Log},
};

/// `(ts_ns, cpu, seq)`.
type Key = (u64, u16, u64);

/// Everything about a recording that is counted.
pub(super) struct Counts {
    /// The files begin where the capture began.
    whole: bool,
    /// Of the file, and of the files before it, without rows that are repeated.
    last: [Option<Key>; 2],
    /// Rows that came too late to be put in order, and how many the metadata told of so far.
    late: u64,
    late_told: u64,
    sequences: BTreeMap<u16, Coverage>,
    /// Rows that the kernel made.
    pub(super) recorded: u64,
    losses: BTreeMap<Box<str>, Count>,
    /// Rows of the kernel that were left out when the files were filtered.
    left_out: u64,
    seen: Option<Count>,
    /// The end row of the file, and whether the capture goes on in another one.
    end: Option<At>,
    pub(super) rotated: bool,
}

/// A count that only grows.
#[derive(Clone, Copy)]
struct Count {
    /// What it was in parts that are not here.
    before: u64,
    now: u64,
}

impl Count {
    fn grown(self) -> u64 {
        self.now.saturating_sub(self.before)
    }
}

impl Counts {
    pub(super) fn new(whole: bool) -> Self {
        Self {
            whole,
            last: [None; 2],
            late: 0,
            late_told: 0,
            sequences: BTreeMap::new(),
            recorded: 0,
            losses: BTreeMap::new(),
            left_out: 0,
            seen: None,
            end: None,
            rotated: false,
        }
    }

    /// The next file begins; of its rows so many are not in order and so many were left out, as it says itself.
    pub(super) fn begin(&mut self, late_rows: u64, left_out: u64) {
        self.left_out = self.left_out.saturating_add(left_out);
        self.last[0] = None;
        (self.end, self.rotated) = (None, false);
        self.late_told += late_rows;
    }

    /// Whether the file that ended has an end row.
    pub(super) fn ended(&self) -> bool {
        self.end.is_some()
    }

    /// Records that are counted as lost.
    pub(super) fn lost(&self) -> u64 {
        self.losses.iter().filter(|(cause, _)| loses_records(cause)).map(|(_, count)| count.grown()).sum()
    }

    pub(super) fn event(&mut self, event: &Event<'_>, at: At, log: &mut Log) {
        self.order(event, at, log);
        if let Some(end) = self.end.take() {
            log.fail(Invariant::End, end.file, Some(end.row), "rows come after it".to_owned());
        }
        if !event.carried {
            self.number(event, at, log);
        }
        match event.body {
            Body::Loss(loss) => {
                let before = self.losses.get(loss.cause).copied();
                let count = self.count(before, event.carried, loss.count, loss.cause, at, log);
                self.losses.insert(loss.cause.into(), count);
            }
            Body::Seen(seen) => {
                self.seen = Some(self.count(self.seen, event.carried, seen, "seen", at, log));
            }
            Body::End(reason) => {
                self.rotated = reason == "rotated";
                log.check(Invariant::End, at, None);
                self.end = Some(at);
            }
            _ => {}
        }
    }

    fn order(&mut self, event: &Event<'_>, at: At, log: &mut Log) {
        let key = (event.ts_ns, event.cpu, event.seq);
        let mut in_order = true;
        // Rows that are repeated may have the times they had in the part before.
        for last in &mut self.last[..if event.carried { 1 } else { 2 }] {
            in_order &= last.is_none_or(|last| last < key);
            *last = (*last).max(Some(key));
        }
        // The file says how many rows came too late to be put in order.
        let told = self.late < self.late_told;
        self.late += u64::from(!in_order);
        let reason = || "not after the row before it".to_owned();
        log.check(Invariant::Order, at, (!in_order && !told).then(reason));
    }

    fn number(&mut self, event: &Event<'_>, at: At, log: &mut Log) {
        // The recorder's own rows have numbers too, but nothing is known of those that are not there.
        let first = Some(0).filter(|_| self.whole && event.cpu != RECORDER);
        let sequence = self.sequences.entry(event.cpu).or_insert_with(|| Coverage::new(first));
        let again = sequence.add(event.seq..event.seq.saturating_add(1), at) > 0;
        let reason = || format!("number {} of CPU {} a second time", event.seq, event.cpu);
        log.check(Invariant::Sequence, at, again.then(reason));
        self.recorded += u64::from(event.cpu != RECORDER);
    }

    fn count(
        &self,
        before: Option<Count>,
        carried: bool,
        now: u64,
        of: &str,
        at: At,
        log: &mut Log,
    ) -> Count {
        // Parts that are not here have what the first row repeats.
        let unknown = if carried && !self.whole { now } else { 0 };
        let before = before.unwrap_or(Count { before: unknown, now: unknown });
        let reason = || format!("`{of}` falls from {} to {now}", before.now);
        log.check(Invariant::Losses, at, (now < before.now).then(reason));
        Count { now, ..before }
    }

    /// Nothing more comes. `inexact` says why the files do not have everything from the beginning to the end of the
    /// capture; none when they do.
    pub(super) fn finish(mut self, inexact: Option<&str>, log: &mut Log) {
        let lost = self.lost();
        self.sequences.remove(&RECORDER);
        let sequences = std::mem::take(&mut self.sequences).into_iter();
        let holes: Vec<_> = sequences.map(|(cpu, sequence)| (cpu, sequence.finish())).collect();
        let missing: u64 = holes.iter().map(|(_, (missing, _))| missing).sum();
        if missing > 0 {
            let cpus = holes.iter().filter(|(_, (missing, _))| *missing > 0);
            let cpus: Vec<_> = cpus.map(|(cpu, (missing, _))| format!("CPU {cpu} {missing}")).collect();
            let left_out = self.left_out_too(", ");
            log.note(
                Invariant::Sequence,
                format!("{missing} missing ({}), {lost} lost{left_out}", cpus.join(", ")),
            );
        }
        if missing > lost.saturating_add(self.left_out) && inexact.is_none() {
            for (cpu, (_, hole)) in holes {
                let Some(Hole { numbers, before }) = hole else { continue };
                let reason = format!("CPU {cpu} lacks {} to {}", numbers.start, numbers.end - 1);
                log.fail(Invariant::Sequence, before.file, Some(before.row), reason);
            }
        }
        self.identity(lost, inexact, log);
    }

    /// Of a file that was filtered, how much it lacks.
    fn left_out_too(&self, separator: &str) -> String {
        match self.left_out {
            0 => String::new(),
            left_out => format!("{separator}{left_out} left out"),
        }
    }

    fn identity(&self, lost: u64, inexact: Option<&str>, log: &mut Log) {
        let Some(seen) = self.seen.map(Count::grown) else {
            return log.skip(Invariant::Identity, "there is no `seen` row".to_owned());
        };
        let recorded = self.recorded;
        let sum = format!("{seen} seen, {recorded} recorded + {lost} lost{}", self.left_out_too(" + "));
        if let Some(reason) = inexact {
            return log.skip(Invariant::Identity, format!("{sum}: not exact, {reason}"));
        }
        log.looked(Invariant::Identity, 1);
        let difference =
            i128::from(recorded) + i128::from(lost) + i128::from(self.left_out) - i128::from(seen);
        if difference != 0 {
            log.fail(Invariant::Identity, log.last_file(), None, format!("{sum}: {difference:+}"));
        }
        log.note(Invariant::Identity, sum);
    }
}
