//! Which requests an analysis is about: a span of time, services, routes, and an expression of SQL.
//!
//! An expression is answered by a replay of its own, which keeps one bit for each request: the replay after it brings
//! the same requests in the same order, and the bits say which of them count. So memory hardly grows with the file, and
//! everything that takes requests can be asked for a part of them.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
    time::Duration,
};

use beyla_engine::{Sink, route::Signal};
use beyla_schema::{
    arrow::requests::{Builder, Source, schema},
    event::Clock,
    request::Request,
};
use datafusion::error::DataFusionError;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::{Error, predicate::Predicate, replay::Consumer, units::rfc3339};

/// Requests that an expression is asked about at once.
const BATCH_ROWS: usize = 8 * 1024;

/// A point in time of the wall, or since the beginning of the first capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nanoseconds since 1970 in UTC.
    At(i64),
    /// So long after the capture began.
    After(Duration),
}

/// A text that is no [`Moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a time like 2026-01-05T10:00:00Z nor one since the beginning like +30s")]
pub struct MomentError;

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        if let Some(after) = text.strip_prefix('+') {
            return humantime::parse_duration(after).map(Self::After).map_err(|_| MomentError);
        }
        let time = text.parse::<Timestamp>().or_else(|_| {
            let local: DateTime = text.parse()?;
            TimeZone::UTC.to_timestamp(local)
        });
        let ns = time.map_err(|_| MomentError)?.as_nanosecond();
        i64::try_from(ns).map(Self::At).map_err(|_| MomentError)
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::At(ns) => f.write_str(&rfc3339(ns).unwrap_or_else(|| ns.to_string())),
            Self::After(after) => write!(f, "+{}", humantime::format_duration(after)),
        }
    }
}

impl Moment {
    /// Nanoseconds since 1970, for captures that began at `beginning`.
    fn wall_ns(self, beginning: i64) -> i64 {
        match self {
            Self::At(ns) => ns,
            Self::After(after) => {
                beginning.saturating_add_unsigned(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
            }
        }
    }
}

/// Which requests count; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those that began then or later.
    pub from: Option<Moment>,
    /// Those that began before.
    pub to: Option<Moment>,
    /// Those of any of these services; of all when there is none.
    pub services: Vec<String>,
    /// Those of any of these routes; of all when there is none.
    pub routes: Vec<String>,
    /// Those for which this expression of SQL is true.
    pub predicate: Option<String>,
}

impl Selection {
    /// What is asked for, a text for each condition.
    pub fn conditions(&self) -> Vec<String> {
        let Self { from, to, services, routes, predicate } = self;
        let mut conditions = Vec::new();
        conditions.extend(from.map(|moment| format!("from {moment}")));
        conditions.extend(to.map(|moment| format!("to {moment}")));
        if !services.is_empty() {
            conditions.push(format!("service {}", services.join(" or ")));
        }
        if !routes.is_empty() {
            conditions.push(format!("route {}", routes.join(" or ")));
        }
        conditions.extend(predicate.as_ref().map(|predicate| format!("where {predicate}")));
        conditions
    }

    /// Whether every request counts.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// Passes on the requests of a selection.
pub(crate) struct Selected<'s, C> {
    consumer: C,
    selection: &'s Selection,
    from_ns: i64,
    to_ns: i64,
    clock: Clock,
    /// What the expression said of every request, in their order.
    bits: Option<Bits>,
}

impl<'s, C> Selected<'s, C> {
    /// Of captures that began at `beginning`, wall nanoseconds.
    pub(crate) fn new(selection: &'s Selection, beginning: i64, consumer: C) -> Self {
        let ns = |moment: Option<Moment>| moment.map(|moment| moment.wall_ns(beginning));
        let (from_ns, to_ns) = (ns(selection.from).unwrap_or(i64::MIN), ns(selection.to).unwrap_or(i64::MAX));
        Self { consumer, selection, from_ns, to_ns, clock: Clock::default(), bits: None }
    }

    /// Of those, the ones whose bit is set.
    pub(crate) fn with_bits(self, bits: Bits) -> Self {
        Self { bits: Some(bits), ..self }
    }

    /// Who gets them.
    pub(crate) fn into_consumer(self) -> C {
        self.consumer
    }

    fn wants(&self, request: &Request<'_>) -> bool {
        let Selection { services, routes, .. } = self.selection;
        (services.is_empty() || services.iter().any(|service| service == request.service))
            && (routes.is_empty() || routes.iter().any(|route| Some(route.as_str()) == request.route))
            && (self.from_ns..self.to_ns).contains(&self.clock.wall_ns(request.start_ns))
    }
}

impl<C: Consumer> Sink for Selected<'_, C> {
    fn request(&mut self, request: &Request<'_>) {
        if self.wants(request) && self.bits.as_mut().is_none_or(Bits::next) {
            self.consumer.request(request);
        }
    }
}

impl<C: Consumer> Consumer for Selected<'_, C> {
    fn begin(&mut self, source: &Source) {
        self.clock = source.clock;
        self.consumer.begin(source);
    }

    fn stopped(&self) -> bool {
        self.consumer.stopped()
    }

    fn signal(&self) -> Signal {
        self.consumer.signal()
    }
}

/// One answer for each request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    length: usize,
    at: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.length.is_multiple_of(64) {
            self.words.push(0);
        }
        if let Some(word) = self.words.last_mut() {
            *word |= u64::from(bit) << (self.length % 64);
        }
        self.length += 1;
    }

    /// The next answer; no after the last.
    fn next(&mut self) -> bool {
        let bit = self.words.get(self.at / 64).is_some_and(|word| word >> (self.at % 64) & 1 == 1);
        self.at += 1;
        bit
    }
}

/// Asks an expression about every request.
pub(crate) struct Asked {
    predicate: Predicate,
    builder: Builder,
    signal: Signal,
    bits: Bits,
    result: Result<(), DataFusionError>,
}

impl Asked {
    /// About the requests that a consumer of `signal` is given.
    pub(crate) fn new(predicate: &str, signal: Signal) -> Result<Self, Error> {
        let predicate = Predicate::new(predicate, &schema())?;
        let builder =
            Builder::new(Source::default(), Some(predicate.columns())).map_err(DataFusionError::from)?;
        Ok(Self { predicate, builder, signal, bits: Bits::default(), result: Ok(()) })
    }

    /// The answers.
    pub(crate) fn into_bits(mut self) -> Result<Bits, Error> {
        self.flush();
        self.result?;
        Ok(self.bits)
    }

    fn flush(&mut self) {
        if self.result.is_ok() && self.builder.rows() > 0 {
            self.result = self.ask();
        }
    }

    fn ask(&mut self) -> Result<(), DataFusionError> {
        self.predicate.ask(&self.builder.finish()?, |answer| self.bits.push(answer))
    }
}

impl Sink for Asked {
    fn request(&mut self, request: &Request<'_>) {
        self.builder.append(request);
        if self.builder.rows() >= BATCH_ROWS {
            self.flush();
        }
    }
}

impl Consumer for Asked {
    fn begin(&mut self, source: &Source) {
        self.flush();
        match Builder::new(source.clone(), Some(self.predicate.columns())) {
            Ok(builder) => self.builder = builder,
            Err(error) => self.result = Err(error.into()),
        }
    }

    fn stopped(&self) -> bool {
        self.result.is_err()
    }

    fn signal(&self) -> Signal {
        self.signal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_of_the_wall_or_since_the_beginning() {
        let second = 1_000_000_000;
        assert_eq!("1970-01-01T00:00:02Z".parse(), Ok(Moment::At(2 * second)));
        assert_eq!("1970-01-01T01:00:02+01:00".parse(), Ok(Moment::At(2 * second)));
        assert_eq!("1970-01-01 00:00:02.5".parse(), Ok(Moment::At(2 * second + second / 2)));
        assert_eq!("+1m 500ms".parse(), Ok(Moment::After(Duration::from_millis(60_500))));
        for wrong in ["", "30s", "+", "yesterday", "+5 parsecs"] {
            assert_eq!(wrong.parse::<Moment>(), Err(MomentError), "{wrong}");
        }
        assert_eq!(Moment::After(Duration::from_secs(2)).wall_ns(5), 2 * second + 5);
        assert_eq!(Moment::After(Duration::MAX).wall_ns(5), i64::MAX);
    }

    #[test]
    fn bits_come_back_in_their_order() {
        let mut bits = Bits::default();
        let pattern = |index: usize| index.is_multiple_of(3) || index.is_multiple_of(7);
        (0..200).for_each(|index| bits.push(pattern(index)));
        assert!((0..200).all(|index| bits.next() == pattern(index)));
        assert!(!bits.next());
    }
}
