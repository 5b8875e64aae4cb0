//! What a capture shows while it runs: trace lines, metrics, spans, a table on a terminal.
//!
//! All of it comes from the same engine that replays files, fed with the events that go to the file, in their order and
//! with their secrets masked. It runs on a thread of its own beside the writer, which never waits for it.

mod options;
pub mod otlp;

pub use options::{Endpoint, Metrics, Options};
