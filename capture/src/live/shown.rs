//! What requests are turned into as the engine settles them.

use std::io::{self, BufWriter, Write};

use beyla_engine::{
    Sink,
    prometheus::Exposition,
    route::Kept,
    trace_line::{Form, Printer},
};
use beyla_schema::{event::Clock, request::Request};

use super::{otlp::Batches, top::Window};

/// Everything that requests go to.
pub(super) struct Shown {
    pub(super) traces: Option<Kept<Traces>>,
    pub(super) metrics: Option<Kept<Exposition>>,
    pub(super) window: Option<Kept<Window>>,
    pub(super) spans: Option<Kept<Batches>>,
}

impl Sink for Shown {
    fn request(&mut self, request: &Request<'_>) {
        if let Some(traces) = &mut self.traces {
            traces.request(request);
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.request(request);
        }
        if let Some(window) = &mut self.window {
            window.request(request);
        }
        if let Some(spans) = &mut self.spans {
            spans.request(request);
        }
    }
}

/// Requests as they come, for people and programs to read.
pub(super) struct Traces {
    out: BufWriter<Box<dyn Write + Send>>,
    printer: Printer,
    result: io::Result<()>,
}

impl Traces {
    pub(super) fn new(out: Box<dyn Write + Send>, form: Form, clock: Clock) -> Self {
        Self { out: BufWriter::new(out), printer: Printer::new(form, clock), result: Ok(()) }
    }

    /// Shows what has come so far. An error, once, when nothing can be shown any more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        std::mem::replace(&mut self.result, Ok(()))?;
        self.out.flush()
    }

    /// What is written now and then.
    pub(super) fn tick(&mut self) -> io::Result<()> {
        self.printer.tick(&mut self.out)?;
        self.out.flush()
    }

    /// What is written at the end.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.printer.finish(&mut self.out)?;
        self.flush()
    }
}

impl Sink for Traces {
    fn request(&mut self, request: &Request<'_>) {
        if self.result.is_ok() {
            self.result = self.printer.write(&mut self.out, request);
        }
    }
}
