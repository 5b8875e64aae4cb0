//! One capture, from the command line to the finished file.

use std::{
    io,
    path::PathBuf,
    process::ExitStatus,
    sync::{Arc, OnceLock, atomic::Ordering, mpsc::sync_channel},
    thread,
    time::{Duration, Instant},
};

use beyla_schema::file::{Host, Metadata, Probe, VERSION};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    host,
    probe::{self, Sizes},
    ring::{self, Progress, Reader, Stop},
    status::{self, Line},
    target::{self, Selectors, Tracker},
    writer::{self, Output},
};

/// What to capture, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose events.
    pub selectors: Selectors,
    /// Where to.
    pub output: PathBuf,
    /// Overwrite the output.
    pub force: bool,
    /// For how long; without, until a signal.
    pub duration: Option<Duration>,
    /// Sizes of the kernel side.
    pub sizes: Sizes,
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
    /// The command to record.
    #[error("cannot start {0}: {1}")]
    Command(String, io::Error),
    /// A signal handler, a runtime.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A thread of ours panicked.
    #[error("the {0} ended unexpectedly; what it had written is in {1}.partial")]
    Thread(&'static str, PathBuf),
}

/// Captures until the first reason to stop. Returns the exit status of the command, if there was one.
pub async fn run(options: Options) -> Result<Option<ExitStatus>, Error> {
    let Options { selectors, output: path, force, duration, sizes, quiet } = options;
    // From the first moment on: whoever interrupts a capture that says it records gets a file.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let output = Output::create(&path, force)?;
    let started = match start(&selectors, sizes) {
        Ok(started) => started,
        Err(error) => {
            output.discard();
            return Err(error);
        }
    };
    let Started { attached, maps, tracker, mut command } = started;

    let line = Line::new(quiet);
    let began = Instant::now();
    let clock = host::clock_sample();
    let facts = Facts {
        host: host::host(),
        clock,
        selectors: selectors.describe(),
        sizes,
        probes: attached.probes.clone(),
    };
    if !quiet {
        for probe in
            facts.probes.iter().filter_map(|probe| probe.failure.as_ref().map(|why| (&probe.name, why)))
        {
            line.say(&format!("without {}: queue times are not known ({})", probe.0, probe.1));
        }
        line.say(&announcement(&selectors, &tracker));
    }

    let progress = Arc::new(Progress::default());
    let stop = Arc::new(Stop::default());
    let reason: Arc<OnceLock<&'static str>> = Arc::default();
    let targets = tracker.count();
    let (sender, batches) = sync_channel(ring::CHANNEL);
    let (failed, mut failure) = oneshot::channel();
    let reader = Reader {
        attached,
        events: maps.events,
        counters: maps.counters,
        tracker,
        batches: sender,
        progress: Arc::clone(&progress),
    };
    let reader = thread::Builder::new().name("ring".to_owned()).spawn({
        let (stop, reason) = (Arc::clone(&stop), Arc::clone(&reason));
        move || reader.run(&stop, || reason.get().copied().unwrap_or("signal"))
    })?;
    let writer = thread::Builder::new().name("writer".to_owned()).spawn(move || {
        let written = writer::run(output, &batches, clock.clock(), |late| facts.metadata(late));
        if written.is_err() {
            // Nobody listens any more when the capture is ending anyway.
            let _ = failed.send(());
        }
        written
    })?;

    let mut most_targets = 0;
    let mut status = None;
    let mut tick = interval(Duration::from_millis(200));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let waiting_for = selectors.describe().join(", ");
    let timeout = async {
        match duration {
            Some(duration) => sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(timeout);
    let why = loop {
        tokio::select! {
            _ = interrupt.recv() => break "signal",
            _ = terminate.recv() => break "signal",
            () = &mut timeout => break "duration",
            ended = wait(command.as_mut()) => {
                status = ended.ok();
                break "command_exit";
            }
            _ = &mut failure => break "write_error",
            _ = tick.tick() => {
                let targets = targets.load(Ordering::Relaxed);
                most_targets = most_targets.max(targets);
                line.update(&progress, targets, &waiting_for);
            }
        }
    };
    // The first reason counts.
    let _ = reason.set(why);
    stop.request();
    // From here on a signal ends the program at once: there is nothing to stop any more but the writing.
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        eprintln!("beyla-capture: interrupted while finishing; the file is incomplete");
        std::process::exit(130);
    });
    let ended = tokio::task::spawn_blocking(move || (reader.join(), writer.join())).await;
    line.clear();
    let (losses, written) = match ended {
        Ok((Ok(losses), Ok(written))) => (losses, written?),
        Ok((Err(_), _)) => return Err(Error::Thread("reader", path)),
        Ok((_, Err(_))) | Err(_) => return Err(Error::Thread("writer", path)),
    };
    if !quiet {
        most_targets = most_targets.max(targets.load(Ordering::Relaxed));
        eprintln!("{}", status::summary(&progress, most_targets, began.elapsed(), &losses, Some(&written)));
    }
    Ok(status)
}

struct Started {
    attached: probe::Attached,
    maps: Channels,
    tracker: Tracker,
    command: Option<Child>,
}

/// The maps that the reader needs.
struct Channels {
    events: aya::maps::RingBuf<aya::maps::MapData>,
    counters: aya::maps::PerCpuArray<aya::maps::MapData, [u64; 6]>,
}

/// Attaches the probes first, then finds the targets: what happens in between is not missed.
fn start(selectors: &Selectors, sizes: Sizes) -> Result<Started, Error> {
    let (attached, probe::Maps { events, counters, targets, sockets }) = probe::attach(selectors, sizes)?;
    let mut tracker = Tracker::new(selectors.clone(), targets, sockets);
    tracker.find()?;
    let command = match selectors.command.split_first() {
        None => None,
        Some((program, arguments)) => {
            let spawned = tracker.adopt_child(|| Command::new(program).args(arguments).spawn())?;
            Some(spawned.map_err(|error| Error::Command(program.clone(), error))?)
        }
    };
    Ok(Started { attached, maps: Channels { events, counters }, tracker, command })
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
    clock: beyla_schema::file::ClockSample,
    selectors: Vec<String>,
    sizes: Sizes,
    probes: Vec<Probe>,
}

impl Facts {
    fn metadata(self, late_rows: u64) -> Metadata {
        Metadata {
            schema_version: VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            capture_id: host::capture_id(&self.host, &self.clock),
            argv: std::env::args().collect(),
            host: self.host,
            clocks: vec![self.clock, host::clock_sample()],
            selectors: self.selectors,
            snaplen: self.sizes.snaplen,
            ring_bytes: self.sizes.ring_bytes,
            redaction: "none".to_owned(),
            probes: self.probes,
            late_rows,
        }
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
