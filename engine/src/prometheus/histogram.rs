//! Histograms: counts of values by fixed bounds, the last request of each bucket as its example, and, where they are
//! wanted, native buckets.

use beyla_schema::request::{Request, SpanId, TraceId};

use super::native::Native;

/// Where buckets end, and what is exposed of what is counted.
#[derive(Debug)]
pub(super) struct Scale {
    /// Upper bounds, in the unit that is counted.
    bounds: &'static [u64],
    /// So much of what is counted is one of what is exposed.
    unit: f64,
}

/// Durations are counted in nanoseconds and exposed in seconds.
pub(super) static DURATIONS: Scale = Scale {
    bounds: &[
        0,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        75_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        750_000_000,
        1_000_000_000,
        2_500_000_000,
        5_000_000_000,
        7_500_000_000,
        10_000_000_000,
    ],
    unit: 1e9,
};

/// Bodies are counted in bytes.
pub(super) static SIZES: Scale =
    Scale { bounds: &[0, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192], unit: 1.0 };

/// Buckets of durations and of sizes: one for each bound, and one for what is above them.
pub(super) const DURATION_BUCKETS: usize = 16;
pub(super) const SIZE_BUCKETS: usize = 11;

/// What is collected besides the classic buckets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) native: bool,
    pub(super) exemplars: bool,
}

/// A request that is an example of its bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its span.
    pub span_id: Option<SpanId>,
    /// What was observed of it, in the unit of its family.
    pub value: f64,
    /// When it ended, as [`Request::ended_ns`].
    pub ended_ns: u64,
}

/// What was observed for one series, by `N` buckets.
#[derive(Debug)]
pub(super) struct Counts<const N: usize> {
    /// Not cumulative; the last is for what is above all bounds.
    buckets: [u64; N],
    count: u64,
    sum: u128,
    exemplars: Option<Box<[Option<Exemplar>; N]>>,
    native: Option<Box<Native>>,
}

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self { buckets: [0; N], count: 0, sum: 0, exemplars: None, native: None }
    }
}

impl<const N: usize> Counts<N> {
    /// Counts a value of `request`, if there is one.
    pub(super) fn observe(
        &mut self,
        scale: &Scale,
        value: Option<u64>,
        request: &Request<'_>,
        wanted: Wanted,
    ) {
        let Some(value) = value else { return };
        let bucket = scale.bounds.partition_point(|&bound| bound < value);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += u128::from(value);
        let exposed = value as f64 / scale.unit;
        if wanted.native {
            self.native.get_or_insert_default().observe(exposed);
        }
        if let Some(trace_id) = request.trace_id.filter(|_| wanted.exemplars) {
            let exemplars = self.exemplars.get_or_insert_with(|| Box::new([None; N]));
            if let Some(exemplar) = exemplars.get_mut(bucket) {
                let Request { span_id, ended_ns, .. } = *request;
                *exemplar = Some(Exemplar { trace_id, span_id, value: exposed, ended_ns });
            }
        }
    }

    /// Adds the counts of `other`, not its exemplars nor its native buckets.
    pub(super) fn add(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    pub(super) fn view(&self, scale: &'static Scale) -> Histogram<'_> {
        Histogram {
            scale,
            buckets: &self.buckets,
            count: self.count,
            sum: self.sum,
            exemplars: self.exemplars.as_deref().map_or(&[], |exemplars| exemplars),
            native: self.native.as_deref(),
        }
    }
}

/// What was observed for one series, in the unit of its family.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'a> {
    scale: &'static Scale,
    buckets: &'a [u64],
    count: u64,
    sum: u128,
    exemplars: &'a [Option<Exemplar>],
    native: Option<&'a Native>,
}

impl<'a> Histogram<'a> {
    /// Upper bounds of the buckets, ascending; a value on a bound belongs to its bucket. One more bucket is above them.
    pub fn bounds(&self) -> impl Iterator<Item = f64> + use<> {
        let Scale { bounds, unit } = self.scale;
        bounds.iter().map(move |&bound| bound as f64 / unit)
    }

    /// Values in each bucket, not cumulative.
    pub fn buckets(&self) -> &'a [u64] {
        self.buckets
    }

    /// Every bucket with its upper bound, the last of them infinite, how many values are up to there, and its example.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64, Option<&'a Exemplar>)> + use<'a> {
        let exemplars = self.exemplars;
        let bounds = self.bounds().chain([f64::INFINITY]);
        let counts = self.buckets.iter().scan(0, |up_to, count| {
            *up_to += count;
            Some(*up_to)
        });
        let buckets = bounds.zip(counts).enumerate();
        buckets.map(move |(at, (bound, count))| (bound, count, exemplars.get(at).and_then(Option::as_ref)))
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum as f64 / self.scale.unit
    }

    /// The last request of each bucket that had a trace id. Empty where none had, or they are not collected.
    pub fn exemplars(&self) -> &'a [Option<Exemplar>] {
        self.exemplars
    }

    /// The same values in native buckets, where these are collected.
    pub fn native(&self) -> Option<&'a Native> {
        self.native
    }
}
