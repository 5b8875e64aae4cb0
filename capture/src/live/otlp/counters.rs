//! What became of what was to be sent.

use std::sync::atomic::{AtomicU64, Ordering};

use beyla_engine::otlp::Signal;

/// Of each signal; shared between the threads that count and those that show.
#[derive(Debug, Default)]
pub struct Counters {
    /// Spans.
    pub traces: Counts,
    /// Data points of metrics.
    pub metrics: Counts,
}

/// Of one signal. What was handed over and is none of the others waits or is being sent.
#[derive(Debug, Default)]
pub struct Counts {
    /// Handed over to be sent.
    pub handed_over: AtomicU64,
    /// Taken by the receiver.
    pub exported: AtomicU64,
    /// Refused by the receiver, or not delivered in the time there was.
    pub failed: AtomicU64,
    /// Found the queue full.
    pub dropped: AtomicU64,
    /// Requests, not items, that were tried once more.
    pub retried: AtomicU64,
}

impl Counters {
    /// Those of a signal.
    pub fn of(&self, signal: Signal) -> &Counts {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }
}

impl Counts {
    /// What the receiver is not known to have.
    pub fn undelivered(&self) -> u64 {
        let exported = self.exported.load(Ordering::Relaxed);
        self.handed_over.load(Ordering::Relaxed).saturating_sub(exported)
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
