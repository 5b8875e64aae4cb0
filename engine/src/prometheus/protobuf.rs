//! The protobuf exposition: messages `io.prometheus.client.MetricFamily`, each after its length.
//!
//! Only this form has native histograms. They come in the same message as the classic buckets.

use beyla_schema::event::Clock;
use prost::{EncodeError, Message};

use super::family::{Family, Kind, Sample, Value};
use super::{Exemplar, Histogram, Native};

#[derive(Clone, PartialEq, Message)]
pub(super) struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<HistogramMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `Gauge` and `Counter`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Number {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramMessage {
    #[prost(uint64, optional, tag = "1")]
    sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<ExemplarMessage>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct ExemplarMessage {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(double, optional, tag = "2")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Writes a family; exemplars have the wall time of `clock`.
pub(super) fn family(out: &mut Vec<u8>, family: &Family<'_>, clock: Clock) -> Result<(), EncodeError> {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge | Kind::Info => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    let message = MetricFamily {
        name: family.name.to_owned(),
        help: family.help.to_owned(),
        kind: Some(kind.into()),
        metric: family.samples.iter().map(|sample| metric(family.kind, sample, clock)).collect(),
        unit: family.unit.name().to_owned(),
    };
    message.encode_length_delimited(out)
}

fn metric(kind: Kind, sample: &Sample<'_>, clock: Clock) -> Metric {
    let label = sample.labels().map(|label| pair(label.name, &*label.value)).collect();
    let metric = Metric { label, gauge: None, counter: None, histogram: None };
    match sample.value {
        Value::Number(value) if kind == Kind::Counter => {
            Metric { counter: Some(Number { value: Some(value) }), ..metric }
        }
        Value::Number(value) => Metric { gauge: Some(Number { value: Some(value) }), ..metric },
        Value::Histogram(histogram) => {
            Metric { histogram: Some(self::histogram(&histogram, clock)), ..metric }
        }
    }
}

fn pair(name: &str, value: impl Into<String>) -> LabelPair {
    LabelPair { name: name.to_owned(), value: value.into() }
}

fn histogram(histogram: &Histogram<'_>, clock: Clock) -> HistogramMessage {
    let bucket = |(bound, up_to, exemplar): (_, _, Option<&Exemplar>)| Bucket {
        cumulative_count: Some(up_to),
        upper_bound: Some(bound),
        exemplar: exemplar.map(|exemplar| self::exemplar(exemplar, clock)),
    };
    let (positive_span, positive_delta) = histogram.native().map(spans).unwrap_or_default();
    HistogramMessage {
        sample_count: Some(histogram.count()),
        sample_sum: Some(histogram.sum()),
        bucket: histogram.cumulative().map(bucket).collect(),
        schema: histogram.native().map(|native| native.schema().into()),
        zero_threshold: histogram.native().map(|_| Native::ZERO_THRESHOLD),
        zero_count: histogram.native().map(Native::zero),
        positive_span,
        positive_delta,
    }
}

/// Runs of buckets without a gap, each with its distance from the one before; and of every bucket, how many more values
/// it has than the one before.
fn spans(native: &Native) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut spans, mut deltas) = (Vec::<BucketSpan>::new(), Vec::new());
    let (mut next, mut before) = (0, 0);
    for (index, count) in native.buckets() {
        let index = i32::from(index);
        match spans.last_mut().and_then(|span| span.length.as_mut()) {
            Some(length) if index == next => *length += 1,
            _ => spans.push(BucketSpan { offset: Some(index - next), length: Some(1) }),
        }
        deltas.push(count as i64 - before);
        (next, before) = (index + 1, count as i64);
    }
    (spans, deltas)
}

fn exemplar(exemplar: &Exemplar, clock: Clock) -> ExemplarMessage {
    let mut label = vec![pair("trace_id", exemplar.trace_id.to_string())];
    label.extend(exemplar.span_id.map(|span_id| pair("span_id", span_id.to_string())));
    let wall_ns = clock.wall_ns(exemplar.ended_ns);
    let seconds = wall_ns.div_euclid(1_000_000_000);
    let nanos = wall_ns.rem_euclid(1_000_000_000) as i32;
    ExemplarMessage { label, value: Some(exemplar.value), timestamp: Some(Timestamp { seconds, nanos }) }
}
