//! One line per request, in the forms that the live recorder prints.

use std::io::{self, Write};

use beyla_engine::{
    Sink,
    trace_line::{Form, Printer},
};
use beyla_schema::{arrow::requests::Source, event::Clock, request::Request};

use crate::{
    Error,
    replay::{Consumer, Input, Summary},
};

struct TraceLines<W> {
    out: W,
    printer: Printer,
    result: io::Result<()>,
}

impl<W: Write> Sink for TraceLines<W> {
    fn request(&mut self, request: &Request<'_>) {
        if self.result.is_ok() {
            self.result = self.printer.write(&mut self.out, request);
        }
    }
}

impl<W: Write> Consumer for TraceLines<W> {
    fn begin(&mut self, source: &Source) {
        self.printer.set_clock(source.clock);
    }

    fn stopped(&self) -> bool {
        self.result.is_err()
    }
}

/// Writes every request in this form, in the order the requests ended.
pub fn traces(
    input: &Input,
    form: Form,
    out: &mut impl Write,
    progress: bool,
) -> Result<Vec<Summary>, Error> {
    let mut lines = TraceLines { out, printer: Printer::new(form, Clock::default()), result: Ok(()) };
    let summaries = input.replay(&mut lines, progress)?;
    lines.result?;
    lines.printer.finish(lines.out)?;
    Ok(summaries)
}
