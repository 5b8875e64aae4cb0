//! Export of spans and metrics to a receiver of OpenTelemetry: OTLP over HTTP, encoded as protobuf.
//!
//! [`Batches`] takes requests from the engine and hands payloads to an [`Exporter`], which sends them on a thread of its
//! own. Nothing here makes the live side wait: what finds the queue full is dropped and counted.

mod batches;
mod counters;
mod exporter;
mod options;
mod sender;
#[cfg(test)]
mod tests;

pub use batches::Batches;
pub use counters::{Counters, Counts};
pub use exporter::Exporter;
pub use options::{Error, Options};
