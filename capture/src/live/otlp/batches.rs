//! Requests and metrics, in batches, to the exporter.

use std::time::{Duration, Instant};

use beyla_engine::{
    Sink,
    otlp::{
        Metrics, Signal, Spans,
        metrics::{Histogram, Value},
    },
    prometheus::{self, Exposition},
};
use beyla_schema::{event::Clock, request::Request};

use super::{Exporter, Options};

/// How long a span waits for others.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Collects requests as spans and hands them over when there are enough of them, or when they have waited a second; hands
/// over metrics when it is time.
#[derive(Debug)]
pub struct Batches {
    /// None when spans are not wanted.
    spans: Option<Spans>,
    /// When the first of them came.
    since: Option<Instant>,
    /// None when metrics are not wanted.
    metrics: Option<Series>,
    exporter: Exporter,
}

/// When metrics are due, and what they have in common.
#[derive(Debug)]
struct Series {
    host: String,
    interval: Duration,
    due: Instant,
    /// Since when they count, nanoseconds since 1970-01-01 UTC.
    start_ns: u64,
}

impl Batches {
    /// Collects what `options` want of services on `host`, whose times are those of `clock`; metrics count from `now_ns`
    /// on, monotonic nanoseconds.
    pub fn new(options: &Options, host: String, clock: Clock, now_ns: u64, exporter: Exporter) -> Self {
        let wants = |signal: Signal| options.url(signal).is_some();
        let interval = options.interval;
        let metrics = wants(Signal::Metrics).then(|| Series {
            host: host.clone(),
            interval,
            due: Instant::now() + interval,
            start_ns: clock.wall_ns(now_ns).unsigned_abs(),
        });
        let spans = wants(Signal::Traces).then(|| Spans::new(host, clock));
        Self { spans, since: None, metrics, exporter }
    }

    /// The exporter, for what became of it all.
    pub fn exporter(&self) -> &Exporter {
        &self.exporter
    }

    /// Hands over what has waited long enough; `now_ns` is now, nanoseconds since 1970-01-01 UTC. To be called once a
    /// second.
    pub fn tick(&mut self, exposition: Option<&Exposition>, now_ns: u64) {
        if self.since.is_some_and(|since| since.elapsed() >= MAX_AGE) {
            self.hand_over();
        }
        if self.metrics.as_ref().is_some_and(|metrics| Instant::now() >= metrics.due) {
            self.send_metrics(exposition, now_ns);
        }
    }

    /// Sends what is left, as [`Exporter::finish`] does.
    pub fn finish(mut self, exposition: Option<&Exposition>, now_ns: u64) {
        self.hand_over();
        self.send_metrics(exposition, now_ns);
        self.exporter.finish();
    }

    fn hand_over(&mut self) {
        self.since = None;
        if let Some(payload) = self.spans.as_mut().and_then(Spans::take) {
            self.exporter.send(payload);
        }
    }

    fn send_metrics(&mut self, exposition: Option<&Exposition>, time_ns: u64) {
        let (Some(series), Some(exposition)) = (&mut self.metrics, exposition) else { return };
        series.due = Instant::now() + series.interval;
        let start_ns = series.start_ns;
        let mut metrics = Metrics::new(series.host.clone());
        exposition.families(|family| {
            for sample in &family.samples {
                let prometheus::Value::Histogram(histogram) = sample.value else { continue };
                let mut service = "";
                let mut attributes = Vec::new();
                for label in sample.labels.iter().filter(|label| !label.value.is_empty()) {
                    match label.attribute {
                        "service.name" => service = &label.value,
                        "" | "service.instance.id" => {}
                        attribute => attributes.push((attribute.to_owned(), value(attribute, &label.value))),
                    }
                }
                let histogram = Histogram {
                    name: family.instrument.to_owned(),
                    unit: family.unit.ucum().to_owned(),
                    attributes,
                    bounds: histogram.bounds().collect(),
                    counts: histogram.buckets().to_vec(),
                    sum: histogram.sum(),
                    count: histogram.count(),
                    start_ns,
                    time_ns,
                };
                metrics.add(service, histogram);
            }
        });
        if let Some(payload) = metrics.take() {
            self.exporter.send(payload);
        }
    }
}

/// Numbers are numbers where the conventions have them so.
fn value(attribute: &str, text: &str) -> Value {
    let number = match attribute {
        "http.response.status_code" | "rpc.grpc.status_code" | "server.port" => text.parse().ok(),
        _ => None,
    };
    number.map_or_else(|| Value::Text(text.to_owned()), Value::Int)
}

impl Sink for Batches {
    fn request(&mut self, request: &Request<'_>) {
        let Some(spans) = &mut self.spans else { return };
        self.since.get_or_insert_with(Instant::now);
        spans.request(request);
        if spans.is_full() {
            self.hand_over();
        }
    }
}
