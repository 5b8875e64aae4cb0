//! What requests are turned into as the engine settles them.

use std::io::{self, BufWriter, Write};

use beyla_engine::{Sink, prometheus::Exposition, route::Kept, trace_line};
use beyla_schema::{event::Clock, request::Request};

/// Everything that requests go to.
pub(super) struct Shown {
    pub(super) traces: Option<Kept<Traces>>,
    pub(super) metrics: Option<Kept<Exposition>>,
}

impl Sink for Shown {
    fn request(&mut self, request: &Request<'_>) {
        if let Some(traces) = &mut self.traces {
            traces.request(request);
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.request(request);
        }
    }
}

/// Trace lines.
pub(super) struct Traces {
    out: BufWriter<Box<dyn Write + Send>>,
    clock: Clock,
    result: io::Result<()>,
}

impl Traces {
    pub(super) fn new(out: Box<dyn Write + Send>, clock: Clock) -> Self {
        Self { out: BufWriter::new(out), clock, result: Ok(()) }
    }

    /// Shows what has come so far. An error, once, when nothing can be shown any more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        std::mem::replace(&mut self.result, Ok(()))?;
        self.out.flush()
    }
}

impl Sink for Traces {
    fn request(&mut self, request: &Request<'_>) {
        if self.result.is_ok() {
            self.result = trace_line::write(&mut self.out, request, self.clock);
        }
    }
}
