//! Drains the ring buffer on a thread of its own.
//!
//! The thread copies records out, follows changes of processes, samples what was lost, and hands batches
//! through a bounded channel. When the writer cannot keep up the channel is full, the thread waits, the ring
//! fills, and the kernel counts what it could not record: every loss shows up in one place.

use std::{
    os::fd::AsRawFd as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use beyla_schema::{
    event::Change,
    file::ProgramCost,
    wire::{self, Counters, Record},
};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};

use crate::{
    convert,
    cost::Meter,
    host,
    order::{Batch, RECORDER, Row, RowKind},
    probe::{Attached, CounterMap},
    target::{Facts, Found, FoundSocket, Tracker},
};

/// A batch is handed on at this size.
const BATCH_WORDS: usize = 1 << 17;

/// Batches that may wait for the writer.
pub const CHANNEL: usize = 64;

/// The kernel wakes the reader for processes only. This often the ring is looked at while records come ...
const BUSY: Duration = Duration::from_millis(10);
/// ... and this often while none do: short enough for a full burst to fit into the default ring.
const IDLE: Duration = Duration::from_millis(20);

const LOSS_INTERVAL_NS: u64 = 1_000_000_000;

/// So many events, or runs of kernel programs, tell what these cost. Measuring takes a good part of what is measured, of other
/// processes' calls too, so it ends then.
const MEASURED_EVENTS: u64 = 10_000;
const MEASURED_RUNS: u64 = 1_000_000;

/// How the capture is going, for whoever wants to watch.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events recorded.
    pub events: AtomicU64,
    /// Bytes that socket calls moved.
    pub moved: AtomicU64,
    /// Bytes of them that are kept.
    pub kept: AtomicU64,
    /// Losses of any cause.
    pub lost: AtomicU64,
    /// What the kernel programs cost, once that is known.
    pub measured: OnceLock<Measured>,
}

/// What the kernel programs cost.
#[derive(Debug)]
pub struct Measured {
    /// Each of them.
    pub programs: Vec<ProgramCost>,
    /// Events made meanwhile.
    pub events: u64,
}

/// Tells the reader to detach, drain and end, and why.
#[derive(Debug, Default)]
pub struct Stop(OnceLock<&'static str>);

impl Stop {
    /// Asks for the end. The first reason counts.
    pub fn request(&self, reason: &'static str) {
        let _ = self.0.set(reason);
    }
}

/// The reading side of the ring buffer.
pub struct Reader {
    /// Detached before the last drain.
    pub attached: Attached,
    /// Measures them at the beginning.
    pub meter: Meter,
    /// Records.
    pub events: RingBuf<MapData>,
    /// `wire::Counters` of each CPU.
    pub counters: CounterMap,
    /// Told of processes.
    pub tracker: Tracker,
    /// Where batches go.
    pub batches: SyncSender<Batch>,
    /// Kept up to date.
    pub progress: Arc<Progress>,
}

/// Cumulative losses by cause, in a fixed order.
pub type Losses = Vec<(&'static str, u64)>;

impl Reader {
    /// Drains until asked to stop. Returns the final losses.
    pub fn run(mut self, stop: &Stop) -> (Losses, Tracker) {
        let mut bell = Bell::new(&self.events);
        let mut rows = Rows::default();
        let mut attached = Some(self.attached);
        let mut meter = Some(self.meter);
        let mut batch = Batch::default();
        let mut sampled_ns = 0;
        let (mut skipped, mut undecoded) = (0, 0);
        // Records in the sequence of the kernel programs.
        let mut numbered = 0;
        let mut outlet = Outlet { batches: &self.batches, counters: &self.counters, behind: 0 };
        for (&pid, facts) in self.tracker.known() {
            let kind = RowKind::Process(None, facts.parent, facts.clone());
            batch.rows.push(rows.row_at(self.tracker.found_ns(), pid, kind));
        }
        for (pid, socket) in self.tracker.take_sockets() {
            batch.rows.push(rows.found(pid, &socket));
        }
        loop {
            let stopping = stop.0.get().copied();
            if stopping.is_some()
                && let Some(attached) = attached.take()
            {
                skipped = attached.skipped_runs().unwrap_or(skipped);
                measure(&attached, sum(&self.counters).made, &self.progress);
                self.tracker.release();
            }
            let drained_ns = host::monotonic_ns();
            let (mut drained, mut recorded) = (0u64, 0);
            while let Some(item) = self.events.next() {
                drained += 1;
                match Record::decode(&item) {
                    // What /proc adds to it must be asked for now.
                    Some(Record::Process(process)) => {
                        let is_numbered = process.head.seq != wire::UNNUMBERED;
                        numbered += u64::from(is_numbered);
                        let found = self.tracker.changed(process);
                        if let Some(Found { facts, sockets }) = found {
                            recorded += 1;
                            let mut row = process_row(process, facts);
                            if !is_numbered {
                                // It became a target just now, by a row of the recorder's own.
                                (row.cpu, row.seq) = (RECORDER, rows.next());
                            }
                            batch.rows.push(row);
                            let sockets = sockets.iter();
                            batch.rows.extend(sockets.map(|socket| rows.found(process.head.pid, socket)));
                        }
                    }
                    record => {
                        let kept = copy(&item, record.as_ref(), &mut batch, &self.progress);
                        (undecoded, recorded) = (undecoded + u64::from(!kept), recorded + u64::from(kept));
                        numbered += 1;
                    }
                }
                if batch.words.len() >= BATCH_WORDS {
                    // What is still in the ring may be older than the clock reading above.
                    batch.drained_ns = 0;
                    if outlet.hand_on(&mut batch).is_err() {
                        return (Losses::new(), self.tracker);
                    }
                }
            }
            self.progress.events.fetch_add(recorded, Ordering::Relaxed);

            let finished = stopping.filter(|_| drained == 0);
            if finished.is_some() || drained_ns - sampled_ns >= LOSS_INTERVAL_NS {
                sampled_ns = drained_ns;
                if let Some(attached) = &attached {
                    skipped = attached.skipped_runs().unwrap_or(skipped);
                }
                let counters = sum(&self.counters);
                if meter.is_some()
                    && let Some(attached) = &attached
                    && (counters.made >= MEASURED_EVENTS || runs(attached) >= MEASURED_RUNS)
                {
                    measure(attached, counters.made, &self.progress);
                    meter = None;
                }
                // Numbers are given out before their records are delivered.
                let missing = counters.made.saturating_sub(counters.lost() + numbered);
                let unaccounted = if finished.is_some() { missing } else { 0 };
                let losses = losses(&counters, outlet.behind, skipped, undecoded, unaccounted);
                self.progress.lost.store(losses.iter().map(|loss| loss.1).sum(), Ordering::Relaxed);
                for &(cause, count) in &losses {
                    batch.rows.push(rows.row(0, RowKind::Loss(cause, count)));
                }
                batch.rows.push(rows.row(0, RowKind::Seen(counters.made)));
                if let Some(reason) = finished {
                    batch.rows.push(rows.row(0, RowKind::End(reason)));
                    // The writer reports its own failure.
                    let _ = self.batches.send(batch);
                    return (losses, self.tracker);
                }
            }
            batch.drained_ns = drained_ns;
            if outlet.hand_on(&mut batch).is_err() {
                return (Losses::new(), self.tracker);
            }
            if stopping.is_none() {
                bell.wait(if drained > 0 { BUSY } else { IDLE });
            }
        }
    }
}

/// Where batches go.
struct Outlet<'a> {
    batches: &'a SyncSender<Batch>,
    counters: &'a CounterMap,
    /// What the kernel found no room for while the writer was waited for.
    behind: u64,
}

impl Outlet<'_> {
    /// Gives a batch to the writer, and waits for it when it has enough.
    fn hand_on(&mut self, batch: &mut Batch) -> Result<(), Disconnected> {
        let batch = match self.batches.try_send(std::mem::take(batch)) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(_)) => return Err(Disconnected),
            Err(TrySendError::Full(batch)) => batch,
        };
        let before = sum(self.counters).ring_full;
        self.batches.send(batch).map_err(|_| Disconnected)?;
        self.behind += sum(self.counters).ring_full.saturating_sub(before);
        Ok(())
    }
}

/// The writer has given up.
struct Disconnected;

/// Rings when the kernel wants the ring to be looked at before its time. Edge-triggered, so that it is wake-ups
/// which count and not what lies in the ring. Where it cannot be made there is the timer.
struct Bell(Option<(Poll, Events)>);

impl Bell {
    fn new(events: &RingBuf<MapData>) -> Self {
        let poll = Poll::new().and_then(|poll| {
            let mut ring = SourceFd(&events.as_raw_fd());
            poll.registry().register(&mut ring, Token(0), Interest::READABLE)?;
            Ok((poll, Events::with_capacity(1)))
        });
        Self(poll.ok())
    }

    fn wait(&mut self, at_most: Duration) {
        let rung = self.0.as_mut().map(|(poll, events)| poll.poll(events, Some(at_most)));
        if !matches!(rung, Some(Ok(()))) {
            thread::sleep(at_most);
        }
    }
}

/// Numbers the rows that the recorder adds.
#[derive(Default)]
struct Rows {
    seq: u64,
}

impl Rows {
    fn row(&mut self, pid: u32, kind: RowKind) -> Row {
        self.row_at(host::monotonic_ns(), pid, kind)
    }

    fn row_at(&mut self, ts_ns: u64, pid: u32, kind: RowKind) -> Row {
        Row { ts_ns, cpu: RECORDER, seq: self.next(), pid, kind }
    }

    fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq - 1
    }

    fn found(&mut self, pid: u32, socket: &FoundSocket) -> Row {
        let &FoundSocket { ts_ns, cookie, local, remote } = socket;
        let kind = match remote {
            Some(remote) => RowKind::Open(cookie, local, remote),
            None => RowKind::Listen(cookie, local),
        };
        self.row_at(ts_ns, pid, kind)
    }
}

/// Copies a record into the batch. False when it is none that [`convert`] makes an event of.
fn copy(item: &[u8], record: Option<&Record<'_>>, batch: &mut Batch, progress: &Progress) -> bool {
    let Some(record) = record.filter(|record| convert::event(record).is_some()) else { return false };
    let mut used = item.len();
    if let Record::Data(data, ..) = record {
        progress.moved.fetch_add(u64::from(data.length), Ordering::Relaxed);
        progress.kept.fetch_add(u64::from(data.captured + data.tail), Ordering::Relaxed);
        // The room of a record comes in few sizes; without a tail at its end the rest of it is empty.
        if data.tail == 0 {
            used = size_of::<wire::Data>() + data.captured as usize;
        }
    }
    let first = batch.words.len();
    let (words, rest) = item[..used].as_chunks::<8>();
    batch.words.extend(words.iter().map(|&word| u64::from_ne_bytes(word)));
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        batch.words.push(u64::from_ne_bytes(word));
    }
    batch.records.push((first as u32, (batch.words.len() - first) as u32));
    true
}

fn process_row(process: &wire::Process, facts: Facts) -> Row {
    let wire::Head { ts_ns, cpu, seq, pid, .. } = process.head;
    let change = convert::numbered(Change::ALL, |change| change as u8, process.change);
    Row { ts_ns, cpu, seq, pid, kind: RowKind::Process(change, process.parent, facts) }
}

/// How often the programs ran while they were measured.
fn runs(attached: &Attached) -> u64 {
    attached.costs().iter().map(|program| program.runs).sum()
}

/// Keeps what the programs have cost during so many events. The first time counts.
fn measure(attached: &Attached, events: u64, progress: &Progress) {
    let _ = progress.measured.set(Measured { programs: attached.costs(), events });
}

/// What the programs counted on all CPUs.
fn sum(counters: &CounterMap) -> Counters {
    let mut total = [0; Counters::WORDS];
    // The array always has its one element; without it there is nothing to report.
    if let Ok(cpus) = counters.get(&0, 0) {
        for cpu in cpus.iter() {
            for (total, count) in total.iter_mut().zip(cpu) {
                *total += count;
            }
        }
    }
    Counters::from_words(total)
}

fn losses(counters: &Counters, behind: u64, skipped: u64, undecoded: u64, unaccounted: u64) -> Losses {
    vec![
        ("ring_full", counters.ring_full.saturating_sub(behind)),
        ("writer_behind", behind),
        ("storage_full", counters.storage_full),
        ("descriptor_gone", counters.descriptor_gone),
        ("message_limit", counters.message_limit),
        ("payload_fault", counters.payload_fault),
        ("segment_limit", counters.segment_limit),
        ("targets_full", counters.targets_full),
        ("unheard", counters.unheard),
        ("io_uring", counters.io_uring),
        ("frames_lost", counters.frames_lost),
        ("skipped_run", skipped),
        ("undecoded", undecoded),
        ("unaccounted", unaccounted),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_none_is_not_kept() {
        let (mut batch, progress) = (Batch::default(), Progress::default());
        let words = [0u64; 9];
        assert!(!copy(&[0; 72], Record::decode_words(&words).as_ref(), &mut batch, &progress));
        // The right kind, but of no address family.
        let mut words = [0u64; 10];
        words[4] = u64::from_ne_bytes([0, 0, wire::Kind::Listen as u8, 0, 0, 0, 0, 0]);
        let record = Record::decode_words(&words);
        assert!(matches!(record, Some(Record::Listen(_))));
        assert!(!copy(&[0; 80], record.as_ref(), &mut batch, &progress));
        assert!(batch.records.is_empty() && batch.words.is_empty());
    }
}
