//! What a capture shows while it runs: trace lines, metrics, spans, a table on a terminal.
//!
//! All of it comes from the same engine that replays files, fed with the events that go to the file, in their order and
//! with their secrets masked: the writer hands them over ([`Feed`]) and never waits. The engine and everything that is
//! shown live on a thread of their own; who wants to know something, such as the [`endpoint`] for metrics, asks it by a
//! message.

mod endpoint;
mod feed;
mod options;
mod shown;
#[cfg(test)]
mod tests;
mod textfile;
mod thread;

use std::{
    io::{self, Write},
    sync::{Arc, mpsc},
    thread::{self as threads, JoinHandle},
    time::{Duration, Instant},
};

use beyla_schema::event::Clock;
use bytes::Bytes;
use tokio::sync::oneshot;

pub use endpoint::Bound;
pub use feed::Feed;
pub use options::{Endpoint, Metrics, Options, OtlpOptions};

use crate::status::Line;
use feed::Backlog;
use thread::Live;

/// What comes to the thread of the live side.
enum Message {
    /// Events, one after the other as [`beyla_schema::file::encode`] writes them.
    Events(Vec<u8>),
    /// Somebody wants the metrics.
    Metrics(oneshot::Sender<Bytes>),
    /// There are no more events.
    End,
}

/// What the live side is told of the capture.
pub struct Context {
    /// Tells this capture from others.
    pub capture_id: u64,
    /// Name of the machine.
    pub host: String,
    /// Turns event time into wall time.
    pub clock: Clock,
    /// Says things to people.
    pub line: Line,
}

/// The live side, as the session sees it.
pub struct Running {
    thread: JoinHandle<()>,
    /// Resolves when nobody reads any more what is shown, and why; with an error when the thread panicked.
    pub over: Option<oneshot::Receiver<&'static str>>,
}

/// How long the live side may take to show what it has not shown yet.
const PATIENCE: Duration = Duration::from_secs(5);

impl Running {
    /// Waits for it to show the rest, once its [`Feed`] is gone; not forever, for who reads may have stopped.
    pub fn finish(self) {
        let until = Instant::now() + PATIENCE;
        while !self.thread.is_finished() && Instant::now() < until {
            threads::sleep(Duration::from_millis(5));
        }
        if self.thread.is_finished() {
            let _ = self.thread.join();
        }
    }
}

/// Starts what is wanted; None when nothing is. Traces go to `out`; metrics are served at `bound` as long as the runtime
/// lives that this is called in.
pub fn start(
    options: &Options,
    bound: Option<Bound>,
    out: Box<dyn Write + Send>,
    context: Context,
) -> io::Result<Option<(Feed, Running)>> {
    if options.is_empty() {
        return Ok(None);
    }
    let (sender, messages) = mpsc::channel();
    let backlog = Arc::new(Backlog::default());
    let (stop, over) = oneshot::channel();
    if let Some(bound) = bound {
        bound.serve(sender.clone())?;
    }
    let live = Live::new(options, out, context, Arc::clone(&backlog), stop);
    let thread = threads::Builder::new().name("live".to_owned()).spawn(move || live.run(&messages))?;
    Ok(Some((Feed::new(sender, backlog), Running { thread, over: Some(over) })))
}
