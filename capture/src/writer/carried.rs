//! What a part of a rotated capture must know of the parts before: processes, connections that are open, sockets
//! that listen, and how much was lost and seen so far.

use std::collections::BTreeMap;

use beyla_schema::{
    event::{Body, Change, Event},
    file::{decode, encode},
};

/// More is not carried: as many as the engine knows at a time.
const MOST: usize = 1 << 18;

/// What a row is about. Rows are carried in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Process(u32),
    Listen(u64),
    Open(u64),
    Loss(Box<str>),
    Seen,
}

/// The latest row about each subject, as the journal would keep it.
#[derive(Default)]
pub(super) struct Carried {
    rows: BTreeMap<Subject, Box<[u8]>>,
    scratch: Vec<u8>,
}

impl Carried {
    /// Remembers the event, or that what it tells of is over.
    pub(super) fn learn(&mut self, event: &Event<'_>) {
        let subject = match event.body {
            Body::Data(_) | Body::End(_) => return,
            Body::Close(close) => {
                if close.direction.is_none() {
                    self.rows.remove(&Subject::Open(event.connection));
                }
                return;
            }
            Body::Process(process) if process.change == Some(Change::Exit) => {
                self.rows.remove(&Subject::Process(event.pid));
                return;
            }
            Body::Process(_) => Subject::Process(event.pid),
            Body::Listen(_) => Subject::Listen(event.connection),
            Body::Open(_) => Subject::Open(event.connection),
            Body::Loss(loss) => Subject::Loss(loss.cause.into()),
            Body::Seen(_) => Subject::Seen,
        };
        if self.rows.len() < MOST || self.rows.contains_key(&subject) {
            self.scratch.clear();
            encode(event, &mut self.scratch);
            self.rows.insert(subject, self.scratch.as_slice().into());
        }
    }

    /// Hands out every row, marked as carried.
    pub(super) fn rows<E>(&self, mut each: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        for row in self.rows.values() {
            if let Some(event) = decode(&mut &row[..]) {
                each(Event { carried: true, ..event })?;
            }
        }
        Ok(())
    }
}
