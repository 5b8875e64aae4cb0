//! Requests and metrics as OpenTelemetry messages: OTLP, encoded as protobuf; spans as JSON too.
//!
//! [`Spans`] takes requests as the engine settles them, [`Metrics`] takes histograms; both give a [`Payload`], which is the
//! body of one `POST`. Nothing is sent from here. The same requests always give the same bytes.
//!
//! What the attributes are and what is made of requests without a response is in `docs/otlp.md`.

mod attributes;
mod grpc_status;
mod json;
mod message;
pub mod metrics;
mod resource;
mod spans;

use prost::Message;

pub use metrics::Metrics;
pub use spans::{Spans, end_ns, name};

/// What a [`Payload`] carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Data points of metrics.
    Metrics,
}

impl Signal {
    /// The path at which a receiver takes it, below that of the receiver.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
        }
    }
}

/// The body of one export request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What it carries.
    pub signal: Signal,
    /// Spans, or data points.
    pub items: u64,
    /// An `ExportTraceServiceRequest` or `ExportMetricsServiceRequest`.
    pub bytes: Vec<u8>,
}

/// What a receiver that took a payload says it did not keep of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Spans, or data points. With 0 the text is a warning.
    pub items: u64,
    /// Why, for people, as received.
    pub message: String,
}

/// What the body of a successful response says was rejected. None when nothing was, or the body says nothing readable.
pub fn rejection(body: &[u8]) -> Option<Rejection> {
    let partial = message::ExportResponse::decode(body).ok()?.partial_success?;
    let items = partial.rejected.try_into().unwrap_or(0);
    (items > 0 || !partial.error_message.is_empty())
        .then_some(Rejection { items, message: partial.error_message })
}

/// Leaves a payload of a test in the folder `BEYLA_OTLP`, for `fixtures/check-otlp.py`.
#[cfg(test)]
fn leave(payload: &Payload) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    if let Some(folder) = std::env::var_os("BEYLA_OTLP") {
        let name = payload.signal.path().trim_start_matches("v1/");
        let file = format!("{name}-{}.bin", COUNT.fetch_add(1, Ordering::Relaxed));
        std::fs::write(std::path::Path::new(&folder).join(file), &payload.bytes).unwrap();
    }
}
