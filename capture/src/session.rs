//! One capture, from the command line to the finished file.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use beyla_engine::redact::{Description, Policy, redact_text};
use beyla_schema::file::{ClockSample, Cost, Host, Metadata, Probe, VERSION};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    cost::{self, Meter},
    host, live,
    loader::{Eyes, Loader},
    privilege::{self, Identity},
    probe::{self, CounterMap, Maps, Settings, Sizes},
    ring::{self, Losses, Progress, Reader, Stop},
    status::{self, Line},
    target::{self, Selectors, Tracker},
    tls::{self, Attacher, Watch},
    writer::{self, Limits, Output, Tally, Written},
};

/// What to capture, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose events.
    pub selectors: Selectors,
    /// What all of them are reported under, instead of their own names.
    pub service: Option<String>,
    /// Where to; without, what is captured is only shown.
    pub output: Option<PathBuf>,
    /// Overwrite the output.
    pub force: bool,
    /// How much, and in how many files.
    pub limits: Limits,
    /// For how long; without, until a signal.
    pub duration: Option<Duration>,
    /// Sizes of the kernel side.
    pub sizes: Sizes,
    /// What the kernel side looks for.
    pub settings: Settings,
    /// What is masked.
    pub policy: Policy,
    /// What is shown meanwhile.
    pub live: live::Options,
    /// Say nothing but errors.
    pub quiet: bool,
}

/// Why a capture failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel side.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// A target.
    #[error(transparent)]
    Target(#[from] target::Error),
    /// The file.
    #[error(transparent)]
    Write(#[from] writer::Error),
    /// Privileges that cannot be given up.
    #[error(transparent)]
    Privilege(#[from] privilege::Error),
    /// The process that looks at targets.
    #[error("cannot start the loader: {0}")]
    Loader(io::Error),
    /// The command to record.
    #[error("cannot start {0}: {1}")]
    Command(String, io::Error),
    /// A signal handler, a runtime.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What is to be shown.
    #[error(transparent)]
    Live(#[from] live::Error),
    /// A thread of ours panicked.
    #[error("the {0} ended unexpectedly; `beyla-analyze` reads what was written until then")]
    Thread(&'static str),
}

/// Captures until the first reason to stop. Returns the exit status of the command, if there was one.
pub async fn run(options: Options) -> Result<Option<ExitStatus>, Error> {
    // From the first moment on: whoever interrupts a capture that says it records gets a file.
    let mut signals = Signals::new()?;
    let quiet = options.quiet;
    // Trace lines would run over a line that stays.
    let busy = options.live.traces.is_some() && io::stdout().is_terminal();
    let line = if options.live.top { Line::held() } else { Line::new(quiet || busy) };
    let began = Instant::now();
    let mut recording = begin(&options, &line)?;
    let (reason, status) = recording.watch(&options, &line, &mut signals).await;
    // From here on a signal ends the program at once: there is nothing to stop any more but the writing.
    let path = options.output.clone();
    tokio::spawn(async move {
        signals.any().await;
        if let Some(path) = path {
            let name = path.display();
            eprintln!(
                "beyla-capture: interrupted while finishing: `beyla-capture recover {name}` makes a file of it"
            );
        }
        std::process::exit(130);
    });
    let (progress, processes) = (Arc::clone(&recording.progress), recording.most_targets);
    let mut command = recording.command.take();
    let ended = tokio::task::spawn_blocking({
        let line = line.clone();
        move || recording.finish(reason, &line)
    });
    let ended = ended.await;
    line.clear();
    let ((losses, mut tracker), written) = match ended {
        Ok((Ok(read), Ok(written))) => (read, written?),
        Ok((Err(_), _)) => return Err(Error::Thread("reader")),
        Ok((_, Err(_))) | Err(_) => return Err(Error::Thread("writer")),
    };
    if !quiet {
        eprintln!("{}", status::summary(&progress, processes, began.elapsed(), &losses, &written));
    }
    if status.is_none()
        && let Some(command) = &mut command
    {
        // The capture came first: at a limit, or by a signal that the command may not have got.
        tracker.eyes.end_command()?;
        return Ok(timeout(COMMAND_GRACE, command.wait()).await.ok().transpose()?);
    }
    Ok(status)
}

/// How long the command may take to end when the capture does.
const COMMAND_GRACE: Duration = Duration::from_secs(5);

/// The signals that end a capture.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn any(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}

/// What the reader leaves: the final losses, and who looks at processes.
type Read = (Losses, Tracker);

/// A capture that is going on.
struct Recording {
    command: Option<Child>,
    progress: Arc<Progress>,
    /// How many processes are targets now.
    targets: Arc<AtomicUsize>,
    /// How many were at most.
    most_targets: usize,
    stop: Arc<Stop>,
    reader: JoinHandle<Read>,
    writer: JoinHandle<Result<Written, writer::Error>>,
    /// Resolves when the writer wants the capture to end, and why.
    limit: oneshot::Receiver<&'static str>,
    shown: Option<live::Running>,
}

/// Claims the output, attaches the probes, finds the targets and starts the threads.
fn begin(options: &Options, line: &Line) -> Result<Recording, Error> {
    let Options { selectors, sizes, settings, .. } = options;
    let prepared = live::Prepared::new(&options.live)?;
    let written = options.output.as_ref().or(options.live.textfile.as_ref());
    let identity = written.map_or(Ok(Identity::of_user()), |path| Identity::for_output(path))?;
    let rotated = options.limits.rotate.is_some();
    let output =
        options.output.as_ref().map(|path| Output::create(path, rotated, options.force)).transpose()?;
    let meter = Meter::start();
    let started = start(selectors, options.service.clone(), *sizes, *settings).and_then(|started| {
        // From here on nothing of what is recorded has been looked at, and everything is.
        identity.assume()?;
        Ok(started)
    });
    let Started { attached, events, counters, mut tracker, command, loader, tls } = match started {
        Ok(started) => started,
        Err(error) => {
            if let Some(output) = output {
                output.discard();
            }
            return Err(error);
        }
    };
    if let Some(attacher) = tls {
        let (known, line) = (tracker.known().keys().copied(), line.clone());
        tracker.watch = Some(Watch::start(attacher, known, move |text| line.say(text))?);
    }
    let clock = host::clock_sample();
    let facts = Facts {
        host: host::host(),
        clock,
        selectors: selectors.describe(),
        sizes: *sizes,
        policy: options.policy.clone(),
        secrets: options.live.otlp.headers.iter().map(|(_, value)| value.clone()).collect(),
        probes: attached.probes.clone(),
        tls: tracker.watch.as_ref().map(Watch::found).unwrap_or_default(),
        loader,
        cpu_before_ns: cost::cpu_ns(loader),
        progress: Arc::new(Progress::default()),
    };
    if !options.quiet {
        for note in &attached.notes {
            line.say(note);
        }
        line.say(&announcement(selectors, &tracker));
    }

    let progress = Arc::clone(&facts.progress);
    let stop = Arc::new(Stop::default());
    let targets = tracker.count();
    let url = prepared.url();
    let context = live::Context {
        capture_id: facts.metadata(Tally::default()).number(),
        host: facts.host.name.clone(),
        clock: clock.clock(),
        progress: Arc::clone(&progress),
        targets: Arc::clone(&targets),
        line: line.clone(),
    };
    let (feed, shown) = prepared.start(Box::new(io::stdout()), context)?.unzip();
    if !options.quiet
        && let Some(url) = url
    {
        line.say(&format!("metrics at {url}"));
    }
    let (sender, batches) = sync_channel(ring::CHANNEL);
    let (limit_reached, limit) = oneshot::channel();
    let limits = options.limits;
    let reader = Reader {
        attached,
        meter,
        events,
        counters,
        tracker,
        batches: sender,
        progress: Arc::clone(&progress),
    };
    let reader = thread::Builder::new().name("ring".to_owned()).spawn({
        let stop = Arc::clone(&stop);
        move || reader.run(&stop)
    })?;
    let writer = thread::Builder::new().name("writer".to_owned()).spawn(move || {
        writer::run(
            output,
            limits,
            &facts.policy,
            &batches,
            feed,
            |tally| facts.metadata(tally),
            |reason| {
                // Nobody listens any more when the capture is ending anyway.
                let _ = limit_reached.send(reason);
            },
        )
    })?;
    Ok(Recording { command, progress, targets, most_targets: 0, stop, reader, writer, limit, shown })
}

impl Recording {
    /// Waits for the first reason to stop, and shows how the capture is going. The reason, and the exit
    /// status of the command if that was it.
    async fn watch(
        &mut self,
        options: &Options,
        line: &Line,
        signals: &mut Signals,
    ) -> (&'static str, Option<ExitStatus>) {
        let waiting_for = options.selectors.describe().join(", ");
        let mut tick = interval(Duration::from_millis(200));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let timeout = sleep(options.duration.unwrap_or(Duration::MAX));
        tokio::pin!(timeout);
        loop {
            tokio::select! {
                () = signals.any() => return ("signal", None),
                () = &mut timeout => return ("duration", None),
                ended = wait(self.command.as_mut()) => return ("command_exit", ended.ok()),
                // A writer that has given up does not say anything.
                limit = &mut self.limit => return (limit.unwrap_or("write_error"), None),
                reason = over(self.shown.as_mut(), line) => return (reason, None),
                _ = tick.tick() => {
                    let targets = self.targets.load(Ordering::Relaxed);
                    self.most_targets = self.most_targets.max(targets);
                    line.update(&self.progress, targets, &waiting_for);
                    if let Some(missing) = self.shown.as_mut().and_then(live::Running::incomplete) {
                        line.say(missing);
                    }
                }
            }
        }
    }

    /// Has the probes detached and everything in flight written.
    fn finish(
        self,
        reason: &'static str,
        line: &Line,
    ) -> (thread::Result<Read>, thread::Result<Result<Written, writer::Error>>) {
        self.stop.request(reason);
        let ended = (self.reader.join(), self.writer.join());
        if let Some(missing) = self.shown.and_then(live::Running::finish) {
            line.say(missing);
        }
        ended
    }
}

/// A capture whose kernel side works, before anybody reads what it says.
struct Started {
    attached: probe::Attached,
    events: RingBuf<MapData>,
    counters: CounterMap,
    tracker: Tracker,
    command: Option<Child>,
    /// Process id of the loader.
    loader: u32,
    /// Attaches programs to TLS libraries, where that is wanted and possible.
    tls: Option<Attacher>,
}

/// Attaches the probes first, then finds the targets: what happens in between is not missed.
fn start(
    selectors: &Selectors,
    service: Option<String>,
    sizes: Sizes,
    settings: Settings,
) -> Result<Started, Error> {
    let (attached, maps) = probe::attach(selectors, sizes, settings)?;
    let Maps { events, counters, targets, targets_again, sockets, sockets_map, connections, sessions } = maps;
    let mut tracker =
        Tracker::new(selectors.clone(), service, targets, Eyes::Own(sockets), connections, sessions);
    tracker.find()?;
    let command = match selectors.command.split_first() {
        None => None,
        Some((program, arguments)) => {
            let spawned = tracker.adopt_child(|| Command::new(program).args(arguments).spawn())?;
            Some(spawned.map_err(|error| Error::Command(program.clone(), error))?)
        }
    };
    let command_id = command.as_ref().and_then(Child::id);
    let loader = Loader::start(sockets_map, command_id).map_err(Error::Loader)?;
    let loader_id = loader.pid();
    tracker.eyes = Eyes::Loader(loader);
    let tls = if attached.tls.is_empty() {
        None
    } else {
        Some(Attacher::start(&attached.tls, targets_again).map_err(Error::Loader)?)
    };
    Ok(Started { attached, events, counters, tracker, command, loader: loader_id, tls })
}

/// Resolves when nobody wants to see more of what is shown.
async fn over(shown: Option<&mut live::Running>, line: &Line) -> &'static str {
    if let Some(shown) = shown
        && let Some(over) = &mut shown.over
    {
        match over.await {
            Ok(reason) => return reason,
            Err(_) => line.say("beyla-capture: the live side ended unexpectedly; the file is not affected"),
        }
        shown.over = None;
    }
    std::future::pending().await
}

async fn wait(command: Option<&mut Child>) -> io::Result<ExitStatus> {
    match command {
        Some(command) => command.wait().await,
        None => std::future::pending().await,
    }
}

/// What is known of the capture before its end.
struct Facts {
    host: Host,
    clock: ClockSample,
    selectors: Vec<String>,
    sizes: Sizes,
    policy: Policy,
    /// Values of header fields that go with live output, which may be among the arguments.
    secrets: Vec<String>,
    probes: Vec<Probe>,
    tls: tls::Found,
    loader: u32,
    cpu_before_ns: u64,
    progress: Arc<Progress>,
}

impl Facts {
    fn metadata(&self, tally: Tally) -> Metadata {
        let Description { name, headers, query_keys } = self.policy.describe();
        let measured = self.progress.measured.get();
        let masked = |text: &str| redact_text(&self.policy, text).into_owned();
        Metadata {
            schema_version: VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            capture_id: host::capture_id(&self.host, &self.clock),
            argv: std::env::args().map(|argument| masked(&without(&self.secrets, argument))).collect(),
            host: self.host.clone(),
            clocks: vec![self.clock, host::clock_sample()],
            selectors: self.selectors.iter().map(|selector| masked(selector)).collect(),
            snaplen: self.sizes.snaplen,
            ring_bytes: self.sizes.ring_bytes,
            redaction: name.to_owned(),
            redacted_headers: headers,
            redacted_parameters: query_keys,
            probes: self.probes.iter().cloned().chain(tls::probes(&self.tls)).collect(),
            late_rows: tally.late_rows,
            part: None,
            last_part: None,
            filtered: None,
            merged: Vec::new(),
            recovered: false,
            cost: Cost {
                programs: measured.map(|measured| measured.programs.clone()).unwrap_or_default(),
                measured_events: measured.map(|measured| measured.events),
                // What it took to load the programs is over, and has nothing to do with how much is recorded.
                cpu_ns: cost::cpu_ns(self.loader).saturating_sub(self.cpu_before_ns),
                memory_bytes: cost::memory_bytes(),
                written_bytes: tally.written_bytes,
            },
        }
    }
}

/// An argument `name=value`, its value masked if it is one of these.
fn without(secrets: &[String], argument: String) -> String {
    match secrets.iter().find_map(|secret| argument.strip_suffix(&**secret)?.strip_suffix('=')) {
        Some(name) => format!("{name}=*****"),
        None => argument,
    }
}

fn announcement(selectors: &Selectors, tracker: &Tracker) -> String {
    let wanted = selectors.describe().join(", ");
    let mut names: Vec<String> =
        tracker.known().iter().map(|(pid, facts)| format!("{} ({pid})", facts.service)).collect();
    match names.len() {
        0 if selectors.command.is_empty() => {
            format!("recording {wanted}: nobody there yet, waiting; Ctrl-C to finish")
        }
        0 => format!("recording {wanted}"),
        count => {
            const SHOWN: usize = 5;
            names.truncate(SHOWN);
            if count > SHOWN {
                names.push(format!("{} more", count - SHOWN));
            }
            format!("recording {wanted}: {}; Ctrl-C to finish", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_keep_their_values_to_themselves() {
        let secrets = ["Bearer abc".to_owned()];
        let shown = |argument: &str| without(&secrets, argument.to_owned());
        assert_eq!(shown("authorization=Bearer abc"), "authorization=*****");
        assert_eq!(shown("--otlp-header=authorization=Bearer abc"), "--otlp-header=authorization=*****");
        assert_eq!(shown("--port=80"), "--port=80");
    }
}
