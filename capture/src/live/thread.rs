//! The thread of the live side: events in, through the engine, into what is shown; questions in, answers out.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use beyla_engine::{
    Config, Engine,
    prometheus::{Exposition, Format},
    route::{Kept, Signal},
};
use beyla_schema::file::decode;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    Context, Message, Options,
    feed::Backlog,
    otlp::Batches,
    own,
    processes::Processes,
    shown::{Shown, Traces},
    textfile::Textfile,
    top::{Ask, Facts, Screen, Window},
};
use crate::{host, order::Order};

/// What is done now and then is looked at so often.
const TICK: Duration = Duration::from_secs(1);

/// The metrics are made anew so often at most, however many ask for them.
const FRESH: Duration = Duration::from_millis(100);

/// A table shows so much of the past.
const WINDOW_SECONDS: u64 = 10;

/// The state of the live side.
pub(super) struct Live {
    engine: Engine,
    shown: Shown,
    textfile: Option<Textfile>,
    processes: Processes,
    context: Context,
    backlog: Arc<Backlog>,
    began: Instant,
    /// Leave out series without a request for so long, nanoseconds.
    ttl_ns: Option<u64>,
    /// How often metrics were asked for.
    scrapes: u64,
    /// The metrics as they were rendered last in each format, and when.
    rendered: [Option<(Instant, Bytes)>; 3],
    /// Told when nobody reads any more. Gone only with the thread.
    over: Option<oneshot::Sender<&'static str>>,
    /// With nothing else to see, a reader that is gone ends the capture.
    only_traces: bool,
}

impl Live {
    pub(super) fn new(
        options: &Options,
        out: Box<dyn Write + Send>,
        context: Context,
        backlog: Arc<Backlog>,
        spans: Option<Batches>,
        over: oneshot::Sender<&'static str>,
    ) -> Self {
        let Options { rules, .. } = options;
        let metrics = options.metrics_wanted().then(|| {
            let metrics = &options.metrics;
            let exposition = Exposition::new(metrics.names, context.host.clone())
                .with_routes(metrics.routes)
                .with_max_series(metrics.max_series)
                .with_exemplars(options.endpoint.is_some())
                .with_native(options.endpoint.is_some());
            Kept::new(rules, Signal::Metrics, exposition)
        });
        let traces = options.traces.map(|form| {
            let traces = Traces::new(out, form, context.clock);
            Kept::new(rules, Signal::Traces, traces)
        });
        let window = options.top.then(|| {
            let window = Window::new(WINDOW_SECONDS, host::monotonic_ns());
            Kept::new(rules, Signal::Metrics, window)
        });
        let spans = spans.map(|spans| Kept::new(rules, Signal::Traces, spans));
        let config = Config { capture_id: context.capture_id, routes: rules.clone(), ..Config::default() };
        Self {
            engine: Engine::new(config),
            shown: Shown { traces, metrics, window, spans },
            textfile: options.textfile.clone().map(Textfile::new),
            processes: Processes::default(),
            context,
            backlog,
            began: Instant::now(),
            ttl_ns: options.ttl.map(|ttl| ttl.as_nanos() as u64),
            scrapes: 0,
            rendered: [const { None }; 3],
            over: Some(over),
            only_traces: options.only_traces(),
        }
    }

    /// Shows what comes, until the capture has ended and everything was shown.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        let mut due = Instant::now() + TICK;
        loop {
            match messages.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Message::Events(events)) => self.take(&events),
                Ok(Message::Metrics(format, answer)) => {
                    self.scrapes += 1;
                    // Who asked may have gone.
                    let _ = answer.send(self.metrics(format));
                }
                Ok(Message::Screen(ask, answer)) => {
                    let _ = answer.send(self.screen(ask));
                }
                Ok(Message::Quit) => self.end("quit"),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= due {
                self.tick();
                due = Instant::now() + TICK;
            }
        }
        self.engine.finish(&mut self.shown);
        self.tick();
        self.print(Traces::finish);
        self.write_textfile();
        let exposition = self.shown.metrics.as_ref().map(|metrics| &metrics.sink);
        if let Some(spans) = self.shown.spans.take() {
            self.backlog.flushing.store(true, Ordering::Relaxed);
            spans.sink.finish(exposition, self.now_ns());
        }
    }

    /// Wall time, nanoseconds since 1970-01-01 UTC.
    fn now_ns(&self) -> u64 {
        self.context.clock.wall_ns(host::monotonic_ns()).unsigned_abs()
    }

    fn take(&mut self, events: &[u8]) {
        let mut rest = events;
        while let Some(event) = decode(&mut rest) {
            self.processes.learn(&event);
            self.engine.push(&event, &mut self.shown);
        }
        self.print(Traces::flush);
        self.backlog.taken(events.len());
    }

    /// What is done now and then.
    fn tick(&mut self) {
        self.print(Traces::tick);
        if let (Some(metrics), Some(ttl_ns)) = (&mut self.shown.metrics, self.ttl_ns) {
            metrics.sink.expire(host::monotonic_ns().saturating_sub(ttl_ns));
        }
        let now_ns = self.now_ns();
        let exposition = self.shown.metrics.as_ref().map(|metrics| &metrics.sink);
        if let Some(spans) = &mut self.shown.spans {
            spans.sink.tick(exposition, now_ns);
        }
        if self.textfile.as_ref().is_some_and(Textfile::is_due) {
            self.write_textfile();
        }
    }

    /// Has something of the traces written, as long as that is possible.
    fn print(&mut self, write: impl FnOnce(&mut Traces) -> io::Result<()>) {
        let Some(traces) = &mut self.shown.traces else { return };
        if let Err(error) = write(&mut traces.sink) {
            self.shown.traces = None;
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.context.line.say(&format!("beyla-capture: cannot print traces any more: {error}"));
            }
            if self.only_traces {
                self.end("output_closed");
            }
        }
    }

    /// Has the capture end.
    fn end(&mut self, reason: &'static str) {
        if let Some(over) = self.over.take() {
            let _ = over.send(reason);
        }
    }

    /// What is drawn on a terminal.
    fn screen(&mut self, ask: Ask) -> Screen {
        let now_ns = Order::released_until(host::monotonic_ns());
        let Context { progress, targets, .. } = &self.context;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let facts = Facts {
            elapsed: self.began.elapsed(),
            events: count(&progress.events),
            lost: count(&progress.lost),
            dropped: count(&self.backlog.dropped),
            file_bytes: count(&self.backlog.file_bytes),
            targets: targets.load(Ordering::Relaxed),
        };
        let Some(window) = &mut self.shown.window else { return Screen { facts, ..Screen::default() } };
        if ask == Ask::Reset {
            window.sink.reset(now_ns);
        }
        Screen { snapshot: window.sink.snapshot(now_ns), facts }
    }

    fn metrics(&mut self, format: Format) -> Bytes {
        match &self.rendered[format as usize] {
            Some((at, text)) if at.elapsed() < FRESH => text.clone(),
            _ => {
                let text = Bytes::from(self.render(format));
                self.rendered[format as usize] = Some((Instant::now(), text.clone()));
                text
            }
        }
    }

    /// Those of requests, and after them those of the capture.
    fn render(&self, format: Format) -> Vec<u8> {
        let Some(metrics) = &self.shown.metrics else { return Vec::new() };
        let mut families = own::families(&self.context, &self.backlog, self.engine.stats(), self.scrapes);
        if let Some(spans) = &self.shown.spans {
            families.extend(own::exports(spans.sink.exporter().counters()));
        }
        families.extend(self.processes.families(&self.context.host));
        families.sort_by_key(|family| family.name);
        metrics.sink.render_with(format, self.context.clock, &families)
    }

    fn write_textfile(&mut self) {
        let Some(mut textfile) = self.textfile.take() else { return };
        match textfile.write(&self.render(Format::Text)) {
            Ok(()) => self.textfile = Some(textfile),
            Err(error) => {
                let path = textfile.path().display();
                self.context.line.say(&format!("beyla-capture: cannot write {path} any more: {error}"));
            }
        }
    }
}
