//! Hands the events of the file to the live side, without ever waiting for it.
//!
//! The writer pushes every event that it writes, in order and with its secrets masked. While the live side is behind by
//! more than the limit, the bytes that sockets moved are left out for it, and counted; it sees gaps, as it would see
//! losses. Everything else still comes: connections, processes, losses and the end are few, and what is shown later
//! depends on them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    mpsc::Sender,
};

use beyla_schema::{
    event::{Body, Event},
    file::encode,
};

use super::Message;

/// Events are handed over at this size, or when the writer has no more for the moment.
const FULL: usize = 128 << 10;

/// The live side may be behind by so many bytes of events.
const MOST_BEHIND: usize = 32 << 20;

/// What both sides of the feed look at.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Bytes that the live side has not taken yet.
    pub(super) behind: AtomicUsize,
    /// Events that were left out for it.
    pub(super) dropped: AtomicU64,
    /// How large the file is, all parts together, roughly.
    pub(super) file_bytes: AtomicU64,
    /// All was shown, and the last spans are being sent.
    pub(super) flushing: AtomicBool,
}

impl Backlog {
    /// The live side is done with so many bytes.
    pub(super) fn taken(&self, bytes: usize) {
        self.behind.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The writer's end.
pub struct Feed {
    events: Vec<u8>,
    to: Sender<Message>,
    backlog: Arc<Backlog>,
}

impl Feed {
    pub(super) fn new(to: Sender<Message>, backlog: Arc<Backlog>) -> Self {
        Self { events: Vec::new(), to, backlog }
    }

    /// Takes an event.
    pub fn push(&mut self, event: &Event<'_>) {
        let behind = self.backlog.behind.load(Ordering::Relaxed);
        if behind > MOST_BEHIND && matches!(event.body, Body::Data(_)) {
            self.backlog.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        encode(event, &mut self.events);
        if self.events.len() >= FULL {
            self.hand_over();
        }
    }

    /// The file has so many bytes now.
    pub fn set_file_bytes(&self, bytes: u64) {
        self.backlog.file_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Hands over what was pushed.
    pub fn hand_over(&mut self) {
        if self.events.is_empty() {
            return;
        }
        // The next ones are likely to be as many: room for more would pile up where few come and nobody takes them.
        let room = self.events.len();
        let events = std::mem::replace(&mut self.events, Vec::with_capacity(room));
        self.backlog.behind.fetch_add(events.len(), Ordering::Relaxed);
        // When nobody is there any more, nothing is to be shown.
        let _ = self.to.send(Message::Events(events));
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.hand_over();
        let _ = self.to.send(Message::End);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use beyla_schema::{
        event::{Call, Data, Direction, Source},
        file::decode,
    };

    use super::*;

    fn event(seq: u64, body: Body<'_>) -> Event<'_> {
        Event { ts_ns: seq, cpu: 0, seq, pid: 1, tid: 1, connection: 1, carried: false, body }
    }

    fn data(payload: &[u8]) -> Body<'_> {
        Body::Data(Data {
            direction: Direction::Send,
            source: Source::Socket,
            call: Call::Other,
            position: 0,
            goroutine: 0,
            ready_ns: None,
            length: payload.len() as u32,
            payload,
            tail: &[],
        })
    }

    #[test]
    fn who_is_behind_misses_data_and_nothing_else() {
        let (to, from) = channel();
        let backlog = Arc::new(Backlog::default());
        let mut feed = Feed::new(to, Arc::clone(&backlog));
        let payload = vec![b'x'; 16 << 10];
        let (mut seq, mut pushed) = (0, 0);
        while backlog.dropped.load(Ordering::Relaxed) < 10 {
            feed.push(&event(seq, data(&payload)));
            (seq, pushed) = (seq + 1, pushed + 1);
        }
        feed.push(&event(seq, Body::End("signal")));
        drop(feed);
        let (mut bytes, mut seen, mut last) = (0, 0, None);
        for message in from {
            let Message::Events(events) = message else { continue };
            let mut rest = &*events;
            while let Some(event) = decode(&mut rest) {
                seen += u64::from(matches!(event.body, Body::Data(_)));
                last = matches!(event.body, Body::End("signal")).then_some(event.seq);
            }
            assert!(rest.is_empty());
            bytes += events.len();
            backlog.taken(events.len());
        }
        assert_eq!((seen, last), (pushed - 10, Some(seq)));
        assert!(bytes < MOST_BEHIND + 2 * FULL, "{bytes}");
        assert_eq!(backlog.behind.load(Ordering::Relaxed), 0);
    }
}
