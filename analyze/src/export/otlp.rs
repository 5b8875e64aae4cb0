//! Spans in files as the OpenTelemetry Collector writes and reads them: one `TracesData` after the other, each with its length
//! before it in protobuf (`format: proto` of its file exporter), or on a line of its own in JSON (the OTLP file exporter
//! of the specification).

use std::io::{self, Write};

use beyla_engine::otlp::Spans;
use beyla_schema::{
    arrow::requests::Source,
    event::Clock,
    request::{Request, SpanId, TraceId},
};

use super::{Encoder, sides::Sides};
use crate::Error;

/// How spans are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// Collects spans, and writes them whenever there are enough.
pub(super) struct Batches {
    encoding: Encoding,
    clock: Clock,
    spans: Spans,
    sides: Sides<(TraceId, SpanId)>,
}

impl Batches {
    pub(super) fn new(encoding: Encoding) -> Self {
        let clock = Clock::default();
        Self { encoding, clock, spans: Spans::new(String::new(), clock), sides: Sides::default() }
    }

    fn flush(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        match self.encoding {
            Encoding::Protobuf => {
                if let Some(payload) = self.spans.take() {
                    let length = u32::try_from(payload.bytes.len()).map_err(io::Error::other)?;
                    out.write_all(&length.to_be_bytes())?;
                    out.write_all(&payload.bytes)?;
                }
            }
            Encoding::Json => {
                if let Some(line) = self.spans.take_json() {
                    out.write_all(&line.map_err(io::Error::from)?)?;
                    out.write_all(b"\n")?;
                }
            }
        }
        Ok(())
    }
}

impl Encoder for Batches {
    fn begin(&mut self, source: &Source, out: &mut dyn Write) -> Result<(), Error> {
        self.flush(out)?;
        self.clock = source.clock;
        self.spans = Spans::new(source.host.clone(), source.clock);
        Ok(())
    }

    fn request(&mut self, request: &Request<'_>, out: &mut dyn Write) -> Result<(), Error> {
        let span = request.trace_id.zip(request.span_id);
        let other = span.and_then(|span| self.sides.other(request, self.clock, span));
        self.spans.add(request, other);
        if self.spans.is_full() { self.flush(out) } else { Ok(()) }
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        self.flush(out)
    }
}
