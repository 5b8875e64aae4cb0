//! How the numbers of several captures are told apart in one file, and found again.
//!
//! Each capture has a range of CPUs, of processes and of connections of its own. The first one keeps its numbers.

use beyla_schema::{
    event::{BY_TLS, Body, Data, Event, Process},
    file::Merged,
    wire::BY_INODE,
};

use crate::RECORDER;

/// Captures that one file can hold: as many ranges of a thousand CPUs there are.
pub(crate) const MOST: usize = 64;

/// Process ids of one capture: Linux has no larger ones.
const PIDS: u32 = 1 << 22;

/// Socket cookies of one capture: they count sockets from 1.
const COOKIES: u64 = 1 << 48;

/// What the bits of a connection's id tell beside its number.
const FLAGS: u64 = BY_TLS | BY_INODE;

/// The numbers of one capture in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    shift_ns: u64,
    cpus_from: u16,
    pids_from: u32,
    connections_with: u64,
}

impl From<&Merged> for Numbers {
    fn from(merged: &Merged) -> Self {
        let &Merged { shift_ns, cpus_from, pids_from, connections_with, .. } = merged;
        Self { shift_ns, cpus_from, pids_from, connections_with }
    }
}

impl Numbers {
    /// Of the capture in place `index` of `of`, whose times become later by `shift_ns`.
    pub(super) fn new(index: usize, of: usize, shift_ns: u64) -> Self {
        let (index, of) = (index.min(MOST - 1), of.clamp(1, MOST));
        Self {
            shift_ns,
            cpus_from: cpus(of) * index as u16,
            pids_from: PIDS * index as u32,
            connections_with: COOKIES * index as u64,
        }
    }

    /// What the file says about it.
    pub(super) fn describe(self) -> Merged {
        let Self { shift_ns, cpus_from, pids_from, connections_with } = self;
        Merged { shift_ns, cpus_from, pids_from, connections_with, ..Merged::default() }
    }

    /// The event with numbers of its own, in a file of so many captures. The error says which number cannot be.
    pub(super) fn apply<'e>(self, event: &Event<'e>, of: usize) -> Result<Event<'e>, &'static str> {
        let cpu = match event.cpu {
            RECORDER => RECORDER,
            cpu if cpu < cpus(of) => self.cpus_from + cpu,
            _ => return Err("a CPU with too large a number"),
        };
        let process = |id: u32| match id {
            0 => Ok(0),
            id if id < PIDS => Ok(self.pids_from + id),
            _ => Err("a process with too large a number"),
        };
        let time = |ns: u64| ns.checked_add(self.shift_ns).ok_or("a time that is too late");
        let body = match event.body {
            Body::Data(data) => Body::Data(Data { ready_ns: data.ready_ns.map(time).transpose()?, ..data }),
            Body::Process(facts) => Body::Process(Process { parent: process(facts.parent)?, ..facts }),
            other => other,
        };
        Ok(Event {
            ts_ns: time(event.ts_ns)?,
            cpu,
            pid: process(event.pid)?,
            tid: process(event.tid)?,
            connection: self.connection(event.connection)?,
            body,
            ..*event
        })
    }

    fn connection(self, id: u64) -> Result<u64, &'static str> {
        match id {
            0 => Ok(0),
            // Numbers of TLS sessions are times: they need all their bits.
            id if id & BY_TLS != 0 || id & !FLAGS < COOKIES => Ok(id ^ self.connections_with),
            _ => Err("a connection with too large a number"),
        }
    }

    /// The event with the connection it had.
    pub(crate) fn undo<'e>(self, event: &Event<'e>) -> Event<'e> {
        let connection = if event.connection == 0 { 0 } else { event.connection ^ self.connections_with };
        Event { connection, ..*event }
    }

    /// The id in the file of a connection.
    pub(crate) fn renumbered(self, connection: u64) -> u64 {
        connection ^ self.connections_with
    }
}

/// CPUs of each of so many captures.
fn cpus(of: usize) -> u16 {
    RECORDER / of.clamp(1, MOST) as u16
}

/// Which of the captures an event is of; None when it is of all: what was lost and seen, and the end.
pub(crate) fn capture_of(merged: &[Merged], event: &Event<'_>) -> Option<usize> {
    let last = |from: &dyn Fn(&Merged) -> bool| merged.partition_point(from).checked_sub(1);
    match event.body {
        Body::Loss(_) | Body::Seen(_) | Body::End(_) => None,
        _ if event.cpu != RECORDER => last(&|capture| capture.cpus_from <= event.cpu),
        _ if event.pid != 0 => last(&|capture| capture.pids_from <= event.pid),
        _ => last(&|capture| capture.connections_with <= event.connection & !FLAGS),
    }
}
