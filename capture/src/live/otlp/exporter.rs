//! The queue to the receiver, and the thread that works it off.

use std::collections::HashSet;
use std::fmt::{self, Debug, Formatter};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use beyla_engine::otlp::{Payload, Signal};

use super::counters::add;
use super::sender::{self, Failure, Kind};
use super::{Counters, Options};

/// Payloads that wait. Those of spans have some 1 MiB at most, so this bounds the memory.
const MAX_QUEUED: usize = 16;

/// How long a payload is tried.
const TRY_FOR: Duration = Duration::from_secs(30);

/// The first pause between two tries. Each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// How long the end of a capture waits for what is left.
const FLUSH_FOR: Duration = Duration::from_secs(5);

type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Sends payloads from a thread of its own.
pub struct Exporter {
    queue: SyncSender<Payload>,
    counters: Arc<Counters>,
    /// Tells the thread until when it may go on.
    end: Sender<Instant>,
    /// Disconnected when the thread has ended.
    done: Receiver<()>,
    say: Say,
}

impl Debug for Exporter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Exporter {
    /// Starts the thread. `say` shows people a line when something cannot be delivered, once for each kind of failure.
    ///
    /// # Errors
    ///
    /// When there can be no further thread.
    pub fn start(options: Options, say: impl Fn(&str) + Send + Sync + 'static) -> io::Result<Self> {
        let (queue, payloads) = sync_channel(MAX_QUEUED);
        let (end, ending) = channel();
        let (running, done) = channel();
        let (counters, say): (Arc<Counters>, Say) = (Arc::default(), Arc::new(say));
        let mut worker = Worker {
            sender: sender::Sender::new(options),
            counters: Arc::clone(&counters),
            say: Arc::clone(&say),
            said: HashSet::new(),
            ending,
            deadline: None,
        };
        thread::Builder::new().name("otlp".to_owned()).spawn(move || {
            let _running: Sender<()> = running;
            for payload in payloads {
                worker.work(&payload);
            }
        })?;
        Ok(Self { queue, counters, end, done, say })
    }

    /// Hands a payload over. It is dropped when too many wait already; never waits.
    pub fn send(&self, payload: Payload) {
        let counts = self.counters.of(payload.signal);
        let items = payload.items;
        add(&counts.handed_over, items);
        if self.queue.try_send(payload).is_err() {
            add(&counts.dropped, items);
        }
    }

    /// What became of all that was handed over.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Sends what waits, for at most five seconds, and says it when not all of it, or of what came before, was delivered.
    pub fn finish(self) {
        let Self { queue, counters, end, done, say } = self;
        drop(queue);
        // When the thread has ended already there is nobody to tell, and nothing to wait for.
        let _ = end.send(Instant::now() + FLUSH_FOR);
        let _ = done.recv_timeout(FLUSH_FOR);
        for (signal, what) in [(Signal::Traces, "spans"), (Signal::Metrics, "data points of metrics")] {
            let counts = counters.of(signal);
            let undelivered = counts.undelivered();
            if undelivered > 0 {
                let all = counts.handed_over.load(Ordering::Relaxed);
                say(&format!("OTLP: {undelivered} of {all} {what} could not be delivered"));
            }
        }
    }
}

/// The thread.
struct Worker {
    sender: sender::Sender,
    counters: Arc<Counters>,
    say: Say,
    said: HashSet<Kind>,
    ending: Receiver<Instant>,
    /// When to give up, once the end has come.
    deadline: Option<Instant>,
}

impl Worker {
    fn work(&mut self, payload: &Payload) {
        let delivered = self.deliver(payload);
        let counts = self.counters.of(payload.signal);
        let rejected = delivered.unwrap_or(payload.items).min(payload.items);
        add(&counts.exported, payload.items - rejected);
        add(&counts.failed, rejected);
    }

    /// Tries until it is delivered, as often and as long as makes sense. The items of it that the receiver rejected; None
    /// when it was not delivered.
    fn deliver(&mut self, payload: &Payload) -> Option<u64> {
        let until = Instant::now() + TRY_FOR;
        let mut pause = FIRST_PAUSE;
        loop {
            let until = self.deadline().map_or(until, |deadline| deadline.min(until));
            let left = until.checked_duration_since(Instant::now())?;
            let failure = match self.sender.post(payload, left) {
                Ok(None) => return Some(0),
                Ok(Some(rejection)) => {
                    let items = rejection.items;
                    self.say(payload.signal, &Failure::rejected(&rejection));
                    return Some(items);
                }
                Err(failure) => failure,
            };
            self.say(payload.signal, &failure);
            if !failure.temporary {
                return None;
            }
            let pause_now = failure.retry_after.unwrap_or_else(|| jittered(pause));
            if pause_now >= until.saturating_duration_since(Instant::now()) {
                return None;
            }
            self.sleep(pause_now);
            pause = (pause * 2).min(LONGEST_PAUSE);
            add(&self.counters.of(payload.signal).retried, 1);
        }
    }

    fn say(&mut self, signal: Signal, failure: &Failure) {
        if self.said.insert(failure.kind) {
            let url = self.sender.url(signal).map(ToString::to_string).unwrap_or_default();
            (self.say)(&format!("OTLP: {url}: {}", failure.text));
        }
    }

    /// When to give up, if the end has come.
    fn deadline(&mut self) -> Option<Instant> {
        match self.ending.try_recv() {
            Ok(deadline) => self.deadline = Some(deadline),
            // Whoever was to say it is gone.
            Err(TryRecvError::Disconnected) => self.deadline = self.deadline.or_else(|| Some(Instant::now())),
            Err(TryRecvError::Empty) => {}
        }
        self.deadline
    }

    /// Pauses, until the end comes.
    fn sleep(&mut self, pause: Duration) {
        if self.deadline.is_some() {
            return thread::sleep(pause);
        }
        match self.ending.recv_timeout(pause) {
            Ok(deadline) => self.deadline = Some(deadline),
            Err(RecvTimeoutError::Disconnected) => self.deadline = Some(Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Something between the half and the whole, so that exporters do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() as u32;
    pause.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}
