//! The model from which every format is rendered: families of samples.

use std::borrow::Cow;

use super::Histogram;

/// Samples of one name.
#[derive(Clone, Debug)]
pub struct Family<'a> {
    /// The name in the text format of Prometheus: that of a counter ends in `_total`, that of an info in `_info`, and
    /// before these stands the unit.
    pub name: &'static str,
    /// The name of the instrument by the conventions of OpenTelemetry; empty where there is none.
    pub instrument: &'static str,
    /// What it is, one sentence.
    pub help: &'static str,
    /// The unit of its values.
    pub unit: Unit,
    /// What its values are.
    pub kind: Kind,
    /// One for each set of labels.
    pub samples: Vec<Sample<'a>>,
}

/// What the values of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number.
    Gauge,
    /// Always 1: the labels are what matters.
    Info,
    /// Histograms.
    Histogram,
}

/// The unit of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    One,
    /// Time.
    Seconds,
    /// Data.
    Bytes,
}

impl Unit {
    /// As it stands in names of Prometheus; empty for a number of things.
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }

    /// By the Unified Code for Units of Measure, which OpenTelemetry uses.
    pub fn ucum(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Seconds => "s",
            Self::Bytes => "By",
        }
    }
}

/// What is known of one series.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    /// Its labels in the order in which they are written.
    pub labels: Cow<'a, [Label<'a>]>,
    /// Its value.
    pub value: Value<'a>,
}

impl<'a> Sample<'a> {
    /// A number under labels, which are names of Prometheus with their values.
    pub fn number<V: Into<Cow<'a, str>>>(
        labels: impl IntoIterator<Item = (&'static str, V)>,
        value: f64,
    ) -> Self {
        let labels = labels.into_iter().map(|(name, value)| Label::new(name, "", value)).collect();
        Self { labels: Cow::Owned(labels), value: Value::Number(value) }
    }

    /// The labels that say something: an empty value is the same as no label.
    pub(super) fn labels(&self) -> impl Iterator<Item = &Label<'a>> {
        self.labels.iter().filter(|label| !label.value.is_empty())
    }
}

/// The value of a series.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Of a counter, a gauge or an info.
    Number(f64),
    /// Of a histogram.
    Histogram(Histogram<'a>),
}

/// A label of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// The attribute that it is by the conventions of OpenTelemetry; empty where it is none. `service.name` and
    /// `service.instance.id` are attributes of resources.
    pub attribute: &'static str,
    /// Its value; an empty one is the same as no label.
    pub value: Cow<'a, str>,
}

impl<'a> Label<'a> {
    pub(super) fn new(name: &'static str, attribute: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self { name, attribute, value: value.into() }
    }
}
