//! Requests as people and programs read them one after the other, live or from a file: one line of text, or an object of
//! JSON, for each.
//!
//! [`Form::Line`] is what Beyla's trace printer made known:
//! `2023-04-19 13:49:04 (15.22ms[689.9µs]) 200 GET /hello [::1]->[localhost:8080] size:0B`.

mod json;
mod line;
mod shown;
mod text;

use std::fmt::{self, Display, Formatter};
use std::io::{self, Write};
use std::str::FromStr;

use beyla_schema::event::Clock;
use beyla_schema::request::Request;
use jiff::civil::DateTime;
use jiff::{Timestamp, tz::TimeZone};

pub use self::shown::Printable;
pub(crate) use self::shown::host;

/// How requests are written. Times are those of the start, in UTC; what was not observed is `-` or `?`, and absent in
/// JSON; text from the network is escaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The line of the first Beyla.
    #[default]
    Line,
    /// The fuller line of later ones: also ports, route, size of the response, service and span.
    Text,
    /// A JSON object on a line.
    Json,
    /// A JSON object with an indent.
    JsonIndent,
    /// How many requests there were.
    Counter,
}

/// A word that is not the name of a [`Form`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of line, text, json, json-indent, counter")]
pub struct FormError(String);

impl Form {
    /// All of them, as they are listed to people.
    pub const ALL: [Self; 5] = [Self::Line, Self::Text, Self::Json, Self::JsonIndent, Self::Counter];

    /// The name, as options have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Text => "text",
            Self::Json => "json",
            Self::JsonIndent => "json-indent",
            Self::Counter => "counter",
        }
    }
}

impl Display for Form {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Form {
    type Err = FormError;

    fn from_str(word: &str) -> Result<Self, FormError> {
        Self::ALL.into_iter().find(|form| form.as_str() == word).ok_or_else(|| FormError(word.to_owned()))
    }
}

/// The flags of a `traceparent`: sampled, as all that is shown is.
const FLAGS: &str = "01";

/// Writes requests in one [`Form`], in the order in which it gets them.
#[derive(Clone, Debug)]
pub struct Printer {
    form: Form,
    clock: Clock,
    requests: u64,
    /// The count that was written last.
    counted: Option<u64>,
}

impl Printer {
    /// Writes in `form`, with the times of `clock`.
    pub const fn new(form: Form, clock: Clock) -> Self {
        Self { form, clock, requests: 0, counted: None }
    }

    /// From here on the times of requests are of another clock: that of the next capture.
    pub const fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Writes `request`, with its line feed; counts it if that is the form.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&mut self, out: &mut impl Write, request: &Request<'_>) -> io::Result<()> {
        self.requests += 1;
        match self.form {
            Form::Line => line::write(out, request, self.clock),
            Form::Text => text::write(out, request, self.clock),
            Form::Json => json::write(out, request, self.clock, false),
            Form::JsonIndent => json::write(out, request, self.clock, true),
            Form::Counter => Ok(()),
        }
    }

    /// Writes the count if that is the form and it is another than the last one. For whoever shows requests as they
    /// come, now and then.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn tick(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.requests == self.counted.unwrap_or(0) { Ok(()) } else { self.finish(out) }
    }

    /// Writes the final count if that is the form and it is not the last line already.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.form != Form::Counter || self.counted == Some(self.requests) {
            return Ok(());
        }
        self.counted = Some(self.requests);
        writeln!(out, "Processed {} requests", self.requests)
    }
}

/// When the request began, UTC; none where no calendar has it.
fn start(request: &Request<'_>, clock: Clock) -> Option<DateTime> {
    let start = Timestamp::from_nanosecond(clock.wall_ns(request.start_ns).into()).ok()?;
    Some(TimeZone::UTC.to_datetime(start))
}
