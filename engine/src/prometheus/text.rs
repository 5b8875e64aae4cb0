//! The text formats: that of Prometheus, version 0.0.4, and OpenMetrics 1.0, which is almost the same.

use std::fmt::{self, Write};

use beyla_schema::event::Clock;

use super::family::{Family, Kind, Label, Sample, Value};
use super::{Exemplar, Histogram};

/// How samples are written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect {
    /// The text format of Prometheus.
    Prometheus,
    /// OpenMetrics; exemplars have the wall time of this clock.
    OpenMetrics(Clock),
}

/// The last line of OpenMetrics.
pub(super) const END: &str = "# EOF\n";

/// Writes a family.
pub(super) fn family(out: &mut String, dialect: Dialect, family: &Family<'_>) -> fmt::Result {
    header(out, dialect, family)?;
    family.samples.iter().try_for_each(|of| sample(out, dialect, family, of, None))
}

/// Writes what a family is.
pub(super) fn header(out: &mut String, dialect: Dialect, family: &Family<'_>) -> fmt::Result {
    let (name, unit) = (family_name(family, dialect), family.unit.name());
    let openmetrics = matches!(dialect, Dialect::OpenMetrics(_));
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Info if openmetrics => "info",
        Kind::Gauge | Kind::Info => "gauge",
        Kind::Histogram => "histogram",
    };
    if openmetrics {
        writeln!(out, "# TYPE {name} {kind}")?;
        if !unit.is_empty() && name.strip_suffix(unit).is_some_and(|name| name.ends_with('_')) {
            writeln!(out, "# UNIT {name} {unit}")?;
        }
    }
    write!(out, "# HELP {name} ")?;
    escape(out, family.help, openmetrics)?;
    out.write_char('\n')?;
    if openmetrics { Ok(()) } else { writeln!(out, "# TYPE {name} {kind}") }
}

/// In OpenMetrics what says the kind of a sample is not in the name of its family.
fn family_name(family: &Family<'_>, dialect: Dialect) -> &'static str {
    let suffix = suffix(family.kind);
    match dialect {
        Dialect::Prometheus => family.name,
        Dialect::OpenMetrics(_) => family.name.strip_suffix(suffix).unwrap_or(family.name),
    }
}

fn suffix(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    }
}

/// Writes the lines of one sample, for OpenMetrics possibly of some time, milliseconds since 1970.
pub(super) fn sample(
    out: &mut String,
    dialect: Dialect,
    family: &Family<'_>,
    sample: &Sample<'_>,
    at_ms: Option<u64>,
) -> fmt::Result {
    let labels = labels(sample.labels());
    let name = family_name(family, dialect);
    let at = At(at_ms);
    match sample.value {
        Value::Number(value) => {
            let suffix = match dialect {
                Dialect::Prometheus => "",
                Dialect::OpenMetrics(_) => suffix(family.kind),
            };
            writeln!(out, "{name}{suffix}{} {}{at}", Braces(&labels), Number(value))
        }
        Value::Histogram(histogram) => self::histogram(out, dialect, name, &labels, &histogram, at),
    }
}

fn histogram(
    out: &mut String,
    dialect: Dialect,
    name: &str,
    labels: &str,
    histogram: &Histogram<'_>,
    at: At,
) -> fmt::Result {
    let comma = if labels.is_empty() { "" } else { "," };
    for (bound, up_to, exemplar) in histogram.cumulative() {
        write!(out, "{name}_bucket{{{labels}{comma}le=\"")?;
        match dialect {
            _ if bound.is_infinite() => out.write_str("+Inf")?,
            Dialect::Prometheus => write!(out, "{bound}")?,
            // With a fraction in any case.
            Dialect::OpenMetrics(_) => write!(out, "{bound:?}")?,
        }
        write!(out, "\"}} {up_to}{at}")?;
        if let (Dialect::OpenMetrics(clock), Some(exemplar)) = (dialect, exemplar) {
            self::exemplar(out, exemplar, clock)?;
        }
        out.write_char('\n')?;
    }
    let labels = Braces(labels);
    writeln!(out, "{name}_sum{labels} {}{at}", histogram.sum())?;
    writeln!(out, "{name}_count{labels} {}{at}", histogram.count())
}

fn exemplar(out: &mut String, exemplar: &Exemplar, clock: Clock) -> fmt::Result {
    let Exemplar { trace_id, span_id, value, ended_ns } = exemplar;
    write!(out, " # {{trace_id=\"{trace_id}\"")?;
    if let Some(span_id) = span_id {
        write!(out, ",span_id=\"{span_id}\"")?;
    }
    let wall_ms = clock.wall_ns(*ended_ns) / 1_000_000;
    write!(out, "}} {value}{}", At(Some(wall_ms.max(0) as u64)))
}

/// Labels as text, without braces.
pub(super) fn labels<'l, 'a: 'l>(labels: impl Iterator<Item = &'l Label<'a>>) -> String {
    let mut text = String::new();
    for Label { name, value, .. } in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        // Nothing that is written to a string fails.
        let _ = escape(&mut text, value, true);
        text.push('"');
    }
    text
}

/// Writes text so that it ends neither its line nor its quotes.
fn escape(out: &mut String, text: &str, quotes: bool) -> fmt::Result {
    for char in text.chars() {
        match char {
            '\\' => out.write_str("\\\\")?,
            '"' if quotes => out.write_str("\\\"")?,
            '\n' => out.write_str("\\n")?,
            _ => out.write_char(char)?,
        }
    }
    Ok(())
}

/// Labels in braces, where there are any.
struct Braces<'a>(&'a str);

impl fmt::Display for Braces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{{{}}}", self.0) }
    }
}

/// A number that need not be finite.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() {
            f.write_str(if self.0 > 0.0 { "+Inf" } else { "-Inf" })
        } else {
            self.0.fmt(f)
        }
    }
}

/// A time in seconds after a space, where there is one.
#[derive(Clone, Copy)]
struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(ms) = self.0 else { return Ok(()) };
        write!(f, " {}", ms / 1000)?;
        if ms % 1000 > 0 { write!(f, ".{:03}", ms % 1000) } else { Ok(()) }
    }
}
