//! What a capture shows while it runs: trace lines, metrics, spans, a table on a terminal.
//!
//! All of it comes from the same engine that replays files, fed with the events that go to the file, in their order and
//! with their secrets masked: the writer hands them over ([`Feed`]) and never waits. The engine and everything that is
//! shown live on a thread of their own; who wants to know something, such as the endpoint for metrics, asks it by a
//! message.

mod endpoint;
mod feed;
mod options;
pub mod otlp;
mod own;
mod processes;
mod shown;
#[cfg(test)]
mod tests;
mod textfile;
mod thread;
pub mod top;

use std::{
    io::{self, IsTerminal as _, Write},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, SyncSender},
    },
    thread::{self as threads, JoinHandle},
    time::{Duration, Instant},
};

use beyla_engine::prometheus::Format;
use beyla_schema::event::Clock;
use bytes::Bytes;
use tokio::sync::oneshot;

pub use feed::Feed;
pub use options::{Endpoint, Metrics, Options, OtlpOptions};

use crate::{host, ring::Progress, status::Line};
use endpoint::Bound;
use feed::Backlog;
use otlp::{Batches, Exporter};
use thread::Live;
use top::{Ask, End, Screen};

/// Why what is wanted cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place for metrics.
    #[error("cannot serve metrics on {address}, port {port}: {source}; choose another --prometheus-port")]
    Endpoint {
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
        /// The system's reason.
        source: io::Error,
    },
    /// A receiver of spans or metrics.
    #[error("cannot send spans or metrics: {0}")]
    Otlp(#[from] otlp::Error),
    /// A table wants a terminal.
    #[error("--top draws on a terminal: standard output is none")]
    NoTerminal,
    /// A thread.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What comes to the thread of the live side.
enum Message {
    /// Events, one after the other as [`beyla_schema::file::encode`] writes them.
    Events(Vec<u8>),
    /// Somebody wants the metrics.
    Metrics(Format, oneshot::Sender<Bytes>),
    /// The terminal wants what it draws.
    Screen(Ask, SyncSender<Screen>),
    /// Somebody wants the capture to end.
    Quit,
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
    /// How the capture is going.
    pub progress: Arc<Progress>,
    /// How many processes are targets.
    pub targets: Arc<AtomicUsize>,
    /// Says things to people.
    pub line: Line,
}

/// What is wanted, once it is known to be possible.
pub struct Prepared {
    options: Options,
    bound: Option<Bound>,
    otlp: Option<otlp::Options>,
}

impl Prepared {
    /// Sees whether it is, and takes the place for metrics, which may need privileges.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let bound = options.endpoint.as_ref().map(|endpoint| {
            let Endpoint { address, port, .. } = *endpoint;
            Bound::new(endpoint).map_err(|source| Error::Endpoint { address, port, source })
        });
        if options.top && !io::stdout().is_terminal() {
            return Err(Error::NoTerminal);
        }
        Ok(Self {
            options: options.clone(),
            bound: bound.transpose()?,
            otlp: otlp::Options::of(&options.otlp)?,
        })
    }

    /// Where metrics will be served.
    pub fn url(&self) -> Option<String> {
        self.bound.as_ref().and_then(|bound| bound.url().ok())
    }

    /// Starts it; None when nothing is wanted. Traces go to `out`; metrics are served as long as the runtime lives that
    /// this is called in.
    pub fn start(
        self,
        out: Box<dyn Write + Send>,
        context: Context,
    ) -> Result<Option<(Feed, Running)>, Error> {
        let Self { options, bound, otlp } = self;
        if options.is_empty() {
            return Ok(None);
        }
        let (sender, messages) = mpsc::channel();
        let backlog = Arc::new(Backlog::default());
        let (stop, over) = oneshot::channel();
        if let Some(bound) = bound {
            bound.serve(sender.clone())?;
        }
        let top = options.top.then(|| {
            let live = sender.clone();
            threads::Builder::new().name("top".to_owned()).spawn(move || watch(&live))
        });
        let spans = otlp.map(|otlp| {
            let line = context.line.clone();
            let exporter = Exporter::start(otlp.clone(), move |text| line.say(text))?;
            let Context { host, clock, .. } = &context;
            io::Result::Ok(Batches::new(&otlp, host.clone(), *clock, host::monotonic_ns(), exporter))
        });
        let state = Live::new(&options, out, context, Arc::clone(&backlog), spans.transpose()?, stop);
        let thread = threads::Builder::new().name("live".to_owned()).spawn(move || state.run(&messages))?;
        let feed = Feed::new(sender, Arc::clone(&backlog));
        let running = Running { thread, top: top.transpose()?, backlog, told: false, over: Some(over) };
        Ok(Some((feed, running)))
    }
}

/// Has the terminal show what the live side has, until that has ended or the user quits.
fn watch(live: &mpsc::Sender<Message>) -> io::Result<()> {
    let end = top::run(|ask| {
        let (sender, screen) = mpsc::sync_channel(1);
        live.send(Message::Screen(ask, sender)).ok()?;
        screen.recv().ok()
    });
    if !matches!(end, Ok(End::Stopped)) {
        let _ = live.send(Message::Quit);
    }
    end.map(|_| ())
}

/// The live side, as the session sees it.
pub struct Running {
    thread: JoinHandle<()>,
    top: Option<JoinHandle<io::Result<()>>>,
    backlog: Arc<Backlog>,
    told: bool,
    /// Resolves when nobody wants to see more, and why; with an error when the thread panicked.
    pub over: Option<oneshot::Receiver<&'static str>>,
}

/// Whoever reads what is shown may take nothing of it for so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// The exporter bounds its last tries itself, to a bit less.
const FLUSH: Duration = Duration::from_secs(6);

impl Running {
    /// Says, once, that what is shown is not all.
    pub fn incomplete(&mut self) -> Option<&'static str> {
        if self.told || self.backlog.dropped.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.told = true;
        Some("beyla-capture: what is shown live is incomplete: it does not keep up; a file is not affected")
    }

    /// Waits for it to show the rest, once its [`Feed`] is gone; not forever, for who reads may have stopped. Says what is
    /// missing.
    pub fn finish(mut self) -> Option<&'static str> {
        let mut last = (usize::MAX, Instant::now());
        while !self.thread.is_finished() {
            let behind = self.backlog.behind.load(Ordering::Relaxed);
            if behind != last.0 {
                last = (behind, Instant::now());
            }
            let flushing = self.backlog.flushing.load(Ordering::Relaxed);
            if last.1.elapsed() > if flushing { FLUSH } else { PATIENCE } {
                return Some("beyla-capture: what is shown live is incomplete: nobody reads it");
            }
            threads::sleep(Duration::from_millis(5));
        }
        let missing = self.incomplete();
        let _ = self.thread.join();
        // The terminal may have gone away: then there is nobody to tell.
        let _ = self.top.map(JoinHandle::join);
        missing
    }
}
