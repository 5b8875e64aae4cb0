//! Pairing of captured events into requests, and what is made of requests as they come.
//!
//! Events go in ([`Engine::push`]), from the ring buffer or from a file; requests come out through a [`Sink`].
//! [`red`], [`prometheus`], [`trace_line`] and [`otlp`] turn requests into reports, text and messages. Everything
//! here is a pure function of the events: no clock, no threads, no files, no randomness, so that a recorded run always
//! gives the same answer, live and offline.
//!
//! The rules of pairing are in `docs/pairing.md`, those of the numbers in `docs/metrics.md`.

mod connection;
pub mod durations;
mod engine;
mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod graph;
mod grpc;
mod http1;
pub mod http2;
pub mod intern;
mod layer;
mod method;
pub mod otlp;
mod parents;
pub mod prometheus;
pub mod red;
pub mod redact;
pub mod route;
mod stats;
mod stream;
mod tls;
mod trace;
pub mod trace_line;

pub use engine::{Config, Engine, Sink};
pub use stats::Stats;
