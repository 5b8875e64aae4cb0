//! Metrics as they were over time, for `promtool tsdb create-blocks-from openmetrics`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::time::Duration;

use beyla_schema::event::Clock;
use beyla_schema::request::Request;

use super::Names;
use super::catalogue::{self, Metric};
use super::family::{Family, Sample, Value};
use super::histogram::Wanted;
use super::series::{Group, Row, Series, Table};
use super::text::{self, Dialect};
use crate::Sink;

/// The most samples that are written.
pub const MAX_SAMPLES: u64 = 10_000_000;

/// Steps that people may want, in milliseconds.
#[rustfmt::skip]
const STEPS_MS: [u64; 24] = [
    10, 100, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000,
    MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
    HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY, 365 * DAY,
];
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// There are no exemplars, of which only the clock would matter.
const DIALECT: Dialect = Dialect::OpenMetrics(Clock { offset_ns: 0 });

/// Why no samples are written.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// There would be too many.
    #[error("there would be {samples} samples, more than {MAX_SAMPLES}")]
    TooManySamples {
        /// So many.
        samples: u64,
        /// With this step there are few enough; none if there is no such step.
        step: Option<Duration>,
    },
    /// The output failed.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Collects requests for samples at every multiple of a step.
///
/// Of each series there is one sample at every boundary, from the last one before the first request of all to the first one
/// after the last, of what had ended until then: all begin at zero. Requests may come in any order. Memory grows with
/// series and the steps in which they had requests, not with requests.
#[derive(Debug)]
pub struct Backfill {
    table: Table<Steps>,
    step_ms: u64,
    /// Ends of the first and the last request, nanoseconds.
    range: Option<(u64, u64)>,
    /// Samples that there are at least, by the entries of all series.
    samples: u64,
    /// There are too many: from now on it is only found out how many series there are.
    refused: bool,
}

/// What was observed in each step of a series, by the number of the boundary at its end.
#[derive(Debug, Default)]
struct Steps(BTreeMap<u64, Series>);

impl Steps {
    fn total(&self) -> Series {
        let mut total = Series::default();
        self.0.values().for_each(|series| total.add(series));
        total
    }
}

impl Sink for Backfill {
    /// Takes a request of which the end (`ended_ns`) is in wall time, nanoseconds since 1970.
    fn request(&mut self, request: &Request<'_>) {
        let (first, last) = self.range.unwrap_or((u64::MAX, 0));
        self.range = Some((first.min(request.ended_ns), last.max(request.ended_ns)));
        let boundary = if self.refused { 0 } else { boundary(request.ended_ns, self.step_ms) };
        let names = self.table.names;
        let steps = &mut self.table.of(request).0;
        let is_new = !steps.contains_key(&boundary);
        let series = steps.entry(boundary).or_default();
        series.observe(request, Wanted::default());
        if is_new && !self.refused {
            let samples = samples(names, Group::of(request), series);
            if samples == 0 {
                steps.remove(&boundary);
            }
            self.samples += samples;
            if self.samples > MAX_SAMPLES {
                self.refused = true;
                self.table.values_mut().for_each(|steps| *steps = Steps([(0, steps.total())].into()));
            }
        }
    }
}

impl Backfill {
    /// Collects for metrics called by `names`, with a sample at every multiple of `step`, which is rounded down to
    /// milliseconds and is at least one; `instance` is the label of that name on every series.
    pub fn new(names: Names, instance: String, step: Duration) -> Self {
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { table: Table::new(names, instance), step_ms, range: None, samples: 0, refused: false }
    }

    /// Whether series have the route as a label.
    #[must_use]
    pub fn with_routes(mut self, routes_shown: bool) -> Self {
        self.table.routes_shown = routes_shown;
        self
    }

    /// The most series that a metric may have, as of an [`Exposition`](super::Exposition).
    #[must_use]
    pub fn with_max_series(mut self, max_series: usize) -> Self {
        self.table.max_series = max_series;
        self
    }

    /// Writes all samples as OpenMetrics: families by name, series by labels, samples by time.
    ///
    /// # Errors
    ///
    /// When there are more than [`MAX_SAMPLES`], before anything is written; those of `out`.
    pub fn write(&self, out: &mut impl Write) -> Result<(), BackfillError> {
        let Some(range) = self.range else { return Ok(out.write_all(text::END.as_bytes())?) };
        let rows = self.table.rows();
        self.check(&rows, range)?;
        let boundaries = || boundaries(range, self.step_ms);
        for metric in catalogue::metrics(self.table.names) {
            let family = metric.family(Vec::new());
            let rows = rows.iter();
            let mut rows = rows.filter(|row| observes(metric, row.group, &row.series.total())).peekable();
            if rows.peek().is_some() {
                write_text(out, |text| text::header(text, DIALECT, &family))?;
            }
            for row in rows {
                let mut up_to = Series::default();
                for boundary in boundaries() {
                    if let Some(series) = row.series.0.get(&boundary) {
                        up_to.add(series);
                    }
                    let value = Value::Histogram(metric.histogram(&up_to));
                    let sample = Sample { labels: (&*row.labels).into(), value };
                    self.write_sample(out, &family, &sample, boundary)?;
                }
            }
        }
        let services = catalogue::services(self.table.services());
        write_text(out, |text| text::header(text, DIALECT, &services))?;
        for service in &services.samples {
            boundaries().try_for_each(|boundary| self.write_sample(out, &services, service, boundary))?;
        }
        Ok(out.write_all(text::END.as_bytes())?)
    }

    fn write_sample(
        &self,
        out: &mut impl Write,
        family: &Family<'_>,
        sample: &Sample<'_>,
        boundary: u64,
    ) -> io::Result<()> {
        let at_ms = boundary.saturating_mul(self.step_ms);
        write_text(out, |text| text::sample(text, DIALECT, family, sample, Some(at_ms)))
    }

    /// Refuses too many samples.
    fn check(&self, rows: &[Row<'_, Steps>], range: (u64, u64)) -> Result<(), BackfillError> {
        let histograms: u64 =
            rows.iter().map(|row| samples(self.table.names, row.group, &row.series.total())).sum();
        let at_once = histograms + self.table.services().len() as u64;
        let in_all = |step_ms| {
            let boundaries = boundaries(range, step_ms);
            at_once.saturating_mul(boundaries.end() - boundaries.start() + 1)
        };
        let needed = in_all(self.step_ms);
        if needed <= MAX_SAMPLES && !self.refused {
            return Ok(());
        }
        let mut longer = STEPS_MS.into_iter().filter(|&step_ms| step_ms > self.step_ms);
        let step = longer.find(|&step_ms| in_all(step_ms) <= MAX_SAMPLES).map(Duration::from_millis);
        Err(BackfillError::TooManySamples { samples: needed, step })
    }
}

/// Whether anything was observed for a family.
fn observes(metric: &Metric, group: Group, series: &Series) -> bool {
    metric.group == group && metric.histogram(series).count() > 0
}

/// Samples at one time.
fn samples(names: Names, group: Group, series: &Series) -> u64 {
    let observed = catalogue::metrics(names).iter().filter(|metric| observes(metric, group, series));
    observed.map(Metric::samples).sum()
}

/// The number of the first multiple of the step that is not before a time.
fn boundary(at_ns: u64, step_ms: u64) -> u64 {
    at_ns.div_ceil(step_ms.saturating_mul(1_000_000))
}

/// From the last one before the first request to the first one that is not before the last.
fn boundaries((first, last): (u64, u64), step_ms: u64) -> RangeInclusive<u64> {
    boundary(first, step_ms).saturating_sub(1)..=boundary(last, step_ms)
}

fn write_text(out: &mut impl Write, write: impl FnOnce(&mut String) -> fmt::Result) -> io::Result<()> {
    let mut text = String::new();
    write(&mut text).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}
