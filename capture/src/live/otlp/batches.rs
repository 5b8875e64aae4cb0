//! Requests, in batches, to the exporter.

use std::time::{Duration, Instant};

use beyla_engine::Sink;
use beyla_engine::otlp::Spans;
use beyla_schema::event::Clock;
use beyla_schema::request::Request;

use super::Exporter;

/// How long a span waits for others.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Collects requests as spans and hands them over when there are enough of them, or when they have waited a second.
#[derive(Debug)]
pub struct Batches {
    spans: Spans,
    /// When the first of them came.
    since: Option<Instant>,
    exporter: Exporter,
}

impl Batches {
    /// Collects requests of services on `host`, whose times are those of `clock`.
    pub fn new(host: String, clock: Clock, exporter: Exporter) -> Self {
        Self { spans: Spans::new(host, clock), since: None, exporter }
    }

    /// The exporter, for metrics.
    pub fn exporter(&self) -> &Exporter {
        &self.exporter
    }

    /// Hands over what has waited long enough. To be called several times a second.
    pub fn tick(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= MAX_AGE) {
            self.hand_over();
        }
    }

    /// Sends what is left, as [`Exporter::finish`] does.
    pub fn finish(mut self) {
        self.hand_over();
        self.exporter.finish();
    }

    fn hand_over(&mut self) {
        self.since = None;
        if let Some(payload) = self.spans.take() {
            self.exporter.send(payload);
        }
    }
}

impl Sink for Batches {
    fn request(&mut self, request: &Request<'_>) {
        self.since.get_or_insert_with(Instant::now);
        self.spans.request(request);
        if self.spans.is_full() {
            self.hand_over();
        }
    }
}
