//! Puts records into the order of the file.
//!
//! Records leave the ring buffer in the order in which their room was reserved, which differs by
//! microseconds from the order of their times when several CPUs are at work. They are held back for a
//! moment, sorted by `(ts_ns, cpu, seq)` and released once nothing earlier can come.

use std::{collections::VecDeque, net::SocketAddr};

use beyla_schema::{
    event::{Body, Endpoint, Event, Listen, Loss, Open, Origin, Process, Transport},
    wire::Record,
};

use crate::{
    convert,
    target::{Facts, Runtime},
};

/// How long a record is held back. The time between the reading of the clock and the reservation of room is
/// microseconds, but the CPU of a virtual machine can be taken away in between.
const HOLD_NS: u64 = 100_000_000;

/// The CPU number of rows that the recorder itself adds.
pub const RECORDER: u16 = u16::MAX;

/// Records as they were drained, in one piece of memory.
#[derive(Default)]
pub struct Batch {
    /// Records, each aligned to 8 bytes.
    pub words: Vec<u64>,
    /// First word and number of words of each record; all of them can be made events of.
    pub records: Vec<(u32, u32)>,
    /// Rows that are not, or not only, records of the kernel.
    pub rows: Vec<Row>,
    /// Everything up to this time, less the hold, had been reserved in the ring before it was drained.
    pub drained_ns: u64,
}

/// A row with its own texts.
pub struct Row {
    /// When.
    pub ts_ns: u64,
    /// Where: a CPU, or [`RECORDER`].
    pub cpu: u16,
    /// Number on that CPU.
    pub seq: u64,
    /// The process it is about; 0 for none.
    pub pid: u32,
    /// What.
    pub kind: RowKind,
}

/// What a [`Row`] tells.
pub enum RowKind {
    /// A process: what happened to it, who forked it, and what is known of it.
    Process(Option<beyla_schema::event::Change>, u32, Facts),
    /// A connection that was there when its process was found: its id and addresses.
    Open(u64, SocketAddr, SocketAddr),
    /// A socket that was listening when its process was found: its id and address.
    Listen(u64, SocketAddr),
    /// Cumulative losses to a cause.
    Loss(&'static str, u64),
    /// Cumulative count of what the kernel programs saw.
    Seen(u64),
    /// The capture ended.
    End(&'static str),
}

impl Row {
    fn with_event<T>(&self, each: impl FnOnce(&Event<'_>) -> T) -> T {
        let executable;
        let mut connection = 0;
        let body = match &self.kind {
            RowKind::Process(change, parent, facts) => {
                executable = facts.executable.to_string_lossy();
                let parent = if *parent == 0 { facts.parent } else { *parent };
                Body::Process(Process {
                    change: *change,
                    parent,
                    started_ns: facts.started_ns,
                    executable: &executable,
                    command_line: &facts.command_line,
                    cgroup: &facts.cgroup,
                    container: &facts.container,
                    runtime: facts.runtime.map_or("", Runtime::name),
                    service: &facts.service,
                })
            }
            &RowKind::Open(id, local, remote) => {
                connection = id;
                Body::Open(Open {
                    origin: Origin::Found,
                    transport: Transport::Tcp,
                    local: Endpoint::Inet(local),
                    remote: Endpoint::Inet(remote),
                })
            }
            &RowKind::Listen(id, address) => {
                connection = id;
                Body::Listen(Listen { transport: Transport::Tcp, address: Endpoint::Inet(address) })
            }
            RowKind::Loss(cause, count) => Body::Loss(Loss { cause, count: *count }),
            &RowKind::Seen(count) => Body::Seen(count),
            RowKind::End(reason) => Body::End(reason),
        };
        each(&Event {
            ts_ns: self.ts_ns,
            cpu: self.cpu,
            seq: self.seq,
            pid: self.pid,
            tid: self.pid,
            connection,
            carried: false,
            body,
        })
    }
}

/// `(ts_ns, cpu, seq)`.
type Key = (u64, u16, u64);

struct Entry {
    key: Key,
    /// Number of its batch.
    batch: u64,
    at: At,
}

#[derive(Clone, Copy)]
enum At {
    Record(u32, u32),
    Row(u32),
}

struct Held {
    batch: Batch,
    /// Entries not released yet.
    left: usize,
}

/// Holds records back and releases them in order.
#[derive(Default)]
pub struct Order {
    /// Entries that are held, in order but for those from `sorted` on. What is before `first` is released.
    entries: Vec<Entry>,
    first: usize,
    sorted: usize,
    batches: VecDeque<Held>,
    /// Number of the first of `batches`.
    first_batch: u64,
    released: Key,
    late: u64,
}

impl Order {
    /// Takes a batch.
    pub fn push(&mut self, batch: Batch) {
        let number = self.first_batch + self.batches.len() as u64;
        let before = self.entries.len();
        for &(first, length) in &batch.records {
            let Some(record) = decode(&batch, first, length) else { continue };
            let head = record.head();
            let key = (head.ts_ns, head.cpu, head.seq);
            self.entries.push(Entry { key, batch: number, at: At::Record(first, length) });
        }
        for (index, row) in (0..).zip(&batch.rows) {
            let key = (row.ts_ns, row.cpu, row.seq);
            self.entries.push(Entry { key, batch: number, at: At::Row(index) });
        }
        let left = self.entries.len() - before;
        self.batches.push_back(Held { batch, left });
    }

    /// Releases what is older than the hold, seen from `drained_ns`.
    pub fn release<E>(
        &mut self,
        drained_ns: u64,
        each: impl FnMut(&Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.release_until(Self::released_until(drained_ns), each)
    }

    /// The latest time of what is released at `drained_ns`.
    pub fn released_until(drained_ns: u64) -> u64 {
        drained_ns.saturating_sub(HOLD_NS)
    }

    /// Releases everything.
    pub fn finish<E>(&mut self, each: impl FnMut(&Event<'_>) -> Result<(), E>) -> Result<(), E> {
        self.release_until(u64::MAX, each)
    }

    /// Records that came after a later one had been released. They are released all the same.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Puts what is new where it belongs: behind what is held, but for the last of it. Keys are unique.
    fn sort(&mut self) {
        let (held, new) = self.entries[self.first..].split_at(self.sorted - self.first);
        if let Some(earliest) = new.iter().map(|entry| entry.key).min() {
            let stays = self.first + held.partition_point(|entry| entry.key < earliest);
            self.entries[stays..].sort_by_key(|entry| entry.key);
        }
        self.sorted = self.entries.len();
    }

    fn release_until<E>(
        &mut self,
        until: u64,
        mut each: impl FnMut(&Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.sort();
        let ready = self.first + self.entries[self.first..].partition_point(|entry| entry.key.0 <= until);
        for entry in &self.entries[self.first..ready] {
            if entry.key < self.released {
                self.late += 1;
            }
            self.released = self.released.max(entry.key);
            let held = &mut self.batches[(entry.batch - self.first_batch) as usize];
            held.left -= 1;
            match entry.at {
                At::Row(index) => held.batch.rows[index as usize].with_event(&mut each)?,
                At::Record(first, length) => {
                    let event = decode(&held.batch, first, length).and_then(|record| convert::event(&record));
                    if let Some(event) = event {
                        each(&event)?;
                    }
                }
            }
        }
        self.first = ready;
        // Rarely, for what is held moves to the front.
        if self.first > self.entries.len() / 2 {
            self.entries.drain(..self.first);
            (self.first, self.sorted) = (0, self.entries.len());
        }
        while self.batches.front().is_some_and(|held| held.left == 0) {
            self.batches.pop_front();
            self.first_batch += 1;
        }
        Ok(())
    }
}

fn decode(batch: &Batch, first: u32, length: u32) -> Option<Record<'_>> {
    Record::decode_words(batch.words.get(first as usize..)?.get(..length as usize)?)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn loss(ts_ns: u64, cpu: u16, seq: u64) -> Row {
        Row { ts_ns, cpu, seq, pid: 0, kind: RowKind::Loss("ring_full", seq) }
    }

    fn batch(rows: Vec<Row>) -> Batch {
        Batch { rows, ..Batch::default() }
    }

    fn seqs(released: &mut Vec<u64>) -> impl FnMut(&Event<'_>) -> Result<(), Infallible> {
        |event| {
            released.push(event.seq);
            Ok(())
        }
    }

    #[test]
    fn rows_of_several_batches_come_out_in_order_once_they_are_old_enough() {
        let mut order = Order::default();
        let mut released = Vec::new();
        order.push(batch(vec![loss(30, 0, 3), loss(10, 1, 1)]));
        order.push(batch(vec![loss(HOLD_NS + 40, 0, 4), loss(20, 0, 2), loss(10, 0, 0)]));
        order.release(HOLD_NS + 29, seqs(&mut released)).unwrap();
        assert_eq!(released, [0, 1, 2]);
        order.release(HOLD_NS + 30, seqs(&mut released)).unwrap();
        assert_eq!(released, [0, 1, 2, 3]);
        assert_eq!(order.batches.len(), 1);
        order.finish(seqs(&mut released)).unwrap();
        assert_eq!(released, [0, 1, 2, 3, 4]);
        assert_eq!((order.batches.len(), order.late()), (0, 0));
    }

    #[test]
    fn a_late_row_is_released_and_counted() {
        let mut order = Order::default();
        let mut released = Vec::new();
        order.push(batch(vec![loss(20, 0, 2)]));
        order.release(HOLD_NS + 20, seqs(&mut released)).unwrap();
        order.push(batch(vec![loss(10, 0, 1)]));
        order.finish(seqs(&mut released)).unwrap();
        assert_eq!((released, order.late()), (vec![2, 1], 1));
    }
}
