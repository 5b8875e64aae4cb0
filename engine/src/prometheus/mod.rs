//! Metrics of requests: histograms as Prometheus scrapes them, or loads them with their times.
//!
//! An [`Exposition`] takes requests as the engine settles them, for a live `/metrics` or for the snapshot of a
//! file; a [`Backfill`] keeps how they came to be over time. Both are families ([`Family`]) that are written in a
//! [`Format`]: families by name, series by labels, labels by name with `le` last. The same requests always give the same
//! bytes: sums are integers until they are written.

mod backfill;
mod catalogue;
mod family;
mod format;
mod histogram;
mod native;
mod protobuf;
mod series;
mod text;

use beyla_schema::event::Clock;
use beyla_schema::request::Request;

pub use self::backfill::{Backfill, BackfillError, MAX_SAMPLES};
pub use self::family::{Family, Kind, Label, Sample, Unit, Value};
pub use self::format::Format;
use self::histogram::Wanted;
pub use self::histogram::{Exemplar, Histogram};
pub use self::native::{MAX_BUCKETS, Native};
pub use self::series::MAX_SERIES;
use self::series::{Series, Table};
use self::text::Dialect;
use crate::Sink;

/// What metrics and labels are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The stable OpenTelemetry conventions, as Beyla has used them since 2024.
    Otel,
    /// The first public beta of Beyla, which dashboard 19077 reads.
    Beyla2023,
}

/// Collects requests for one exposition.
#[derive(Debug)]
pub struct Exposition {
    table: Table<Seen>,
    wanted: Wanted,
}

/// A series, and when its last request ended, as [`Request::ended_ns`].
#[derive(Debug, Default)]
struct Seen {
    series: Series,
    last_ns: u64,
}

impl Sink for Exposition {
    fn request(&mut self, request: &Request<'_>) {
        let seen = self.table.of(request);
        seen.series.observe(request, self.wanted);
        seen.last_ns = seen.last_ns.max(request.ended_ns);
    }
}

impl Exposition {
    /// Collects for metrics called by `names`; `instance` is the label of that name on every series.
    ///
    /// Series have the route as a label by the names of today, not by those of 2023; each metric has at most
    /// [`MAX_SERIES`].
    pub fn new(names: Names, instance: String) -> Self {
        Self { table: Table::new(names, instance), wanted: Wanted::default() }
    }

    /// Whether series have the route as a label.
    #[must_use]
    pub fn with_routes(mut self, routes_shown: bool) -> Self {
        self.table.routes_shown = routes_shown;
        self
    }

    /// The most series that a metric may have. The last one of them is for all requests that would need further ones.
    #[must_use]
    pub fn with_max_series(mut self, max_series: usize) -> Self {
        self.table.max_series = max_series;
        self
    }

    /// Whether native histograms are collected, for [`Format::Protobuf`].
    #[must_use]
    pub fn with_native(mut self, native: bool) -> Self {
        self.wanted.native = native;
        self
    }

    /// Whether the last request of every bucket is remembered, for [`Format::OpenMetrics`] and [`Format::Protobuf`].
    #[must_use]
    pub fn with_exemplars(mut self, exemplars: bool) -> Self {
        self.wanted.exemplars = exemplars;
        self
    }

    /// Drops series of which the last request ended before that time, in the time of [`Request::ended_ns`]. There is room
    /// for others then. A series that comes back begins at zero.
    pub fn expire(&mut self, before_ns: u64) {
        self.table.retain(|seen| seen.last_ns >= before_ns);
    }

    /// Hands out what has come so far: families by name, series by labels. The last family is that of the services.
    pub fn families(&self, mut each: impl FnMut(&Family<'_>)) {
        let rows = self.table.rows();
        for metric in catalogue::metrics(self.table.names) {
            let samples = rows.iter().filter(|row| row.group == metric.group).filter_map(|row| {
                let histogram = metric.histogram(&row.series.series);
                let sample = || Sample { labels: (&*row.labels).into(), value: Value::Histogram(histogram) };
                (histogram.count() > 0).then(sample)
            });
            let family = metric.family(samples.collect());
            if !family.samples.is_empty() {
                each(&family);
            }
        }
        let services = catalogue::services(self.table.services());
        if !services.samples.is_empty() {
            each(&services);
        }
    }

    /// The exposition of what has come so far in [`Format::Text`].
    pub fn render(&self) -> String {
        self.text(Dialect::Prometheus, &[])
    }

    /// The same in any format; exemplars have the wall time of `clock`.
    pub fn render_as(&self, format: Format, clock: Clock) -> Vec<u8> {
        self.render_with(format, clock, &[])
    }

    /// The same, and further families after it. Their names are to be others.
    pub fn render_with(&self, format: Format, clock: Clock, more: &[Family<'_>]) -> Vec<u8> {
        match format {
            Format::Text => self.text(Dialect::Prometheus, more).into_bytes(),
            Format::OpenMetrics => (self.text(Dialect::OpenMetrics(clock), more) + text::END).into_bytes(),
            Format::Protobuf => {
                let mut bytes = Vec::new();
                // A vector takes any number of bytes.
                self.each(more, |family| _ = protobuf::family(&mut bytes, family, clock));
                bytes
            }
        }
    }

    fn text(&self, dialect: Dialect, more: &[Family<'_>]) -> String {
        let mut text = String::new();
        // A string takes any text.
        self.each(more, |family| _ = text::family(&mut text, dialect, family));
        text
    }

    fn each(&self, more: &[Family<'_>], mut each: impl FnMut(&Family<'_>)) {
        self.families(&mut each);
        more.iter().filter(|family| !family.samples.is_empty()).for_each(each);
    }
}
