//! Events as lines, of a file or of a capture as it goes on: [`line`] writes one for people; for programs a line is the
//! object that SQL would give.

mod line;

use std::{io::Write, path::Path, thread, time::Duration};

use beyla_schema::{
    arrow::events::Builder,
    event::{Body, Clock, Event},
    file::{self, Follower},
};

use self::line::Lines;
use crate::{Error, interrupt::Interrupt, progress::Progress, replay::Capture, sql};

/// How often a capture that goes on is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Events that are made lines of at once, for programs.
const BATCH_ROWS: usize = 1024;

/// Bytes of them.
const BATCH_BYTES: usize = 8 << 20;

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people, with so many bytes of each payload.
    Text(usize),
    /// One JSON object a line, with the columns of `events`.
    Ndjson,
}

/// Which events are shown, and how.
#[derive(Clone, Debug)]
pub struct Cat {
    /// How.
    pub form: Form,
    /// Of these kinds; of all when there is none.
    pub kinds: Vec<String>,
    /// Of these connections; all events when there is none.
    pub connections: Vec<u64>,
    /// Of these processes; all events when there is none.
    pub pids: Vec<u32>,
}

/// How a capture that was followed came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ended, and every event was shown.
    Ended,
    /// Whoever recorded it is gone without ending it.
    Abandoned,
    /// The user wanted no more.
    Interrupted,
}

impl Cat {
    /// Writes the events that there are in `path`.
    pub fn show(&self, path: &Path, out: &mut impl Write) -> Result<(), Error> {
        let capture = Capture::open_whole(path)?;
        let mut shown = Shown::new(self, capture.metadata().clock());
        let mut progress = Progress::new(capture.rows(), false);
        let mut result = Ok(());
        let read = capture.each_event(&mut progress, |event| {
            result = shown.event(event, out);
            result.is_ok()
        });
        // What comes before damage is shown.
        result?;
        shown.flush(out)?;
        read
    }

    /// Writes the events that there are in `path` and those that are added, until the capture has ended. Whole lines are
    /// written, also when it is interrupted.
    pub fn follow(&self, path: &Path, out: &mut impl Write) -> Result<End, Error> {
        let interrupt = Interrupt::listen()?;
        let failed = |error: file::Error| Error::File { file: path.display().to_string(), error };
        let mut follower = Follower::open(path).map_err(failed)?;
        let mut shown = Shown::new(self, follower.metadata().clock());
        loop {
            let mut result = Ok(());
            let mut wanted = true;
            let progress = follower.poll(|event| {
                wanted = wanted && !interrupt.came();
                if wanted && result.is_ok() {
                    result = shown.event(event, out);
                }
            });
            result?;
            shown.flush(out)?;
            match progress.map_err(failed)? {
                _ if interrupt.came() => return Ok(End::Interrupted),
                file::Progress::Events(_) => {}
                file::Progress::Nothing => thread::sleep(INTERVAL),
                file::Progress::Ended => return Ok(End::Ended),
                file::Progress::Abandoned => return Ok(End::Abandoned),
            }
        }
    }

    fn wants(&self, event: &Event<'_>) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == kind_name(&event.body)))
            && (self.connections.is_empty() || self.connections.contains(&event.connection))
            && (self.pids.is_empty() || self.pids.contains(&event.pid))
    }
}

/// The kinds of rows, in the words of the format.
pub const KINDS: [&str; 8] = ["open", "data", "close", "listen", "process", "loss", "seen", "end"];

fn kind_name(body: &Body<'_>) -> &'static str {
    match body {
        Body::Open(_) => "open",
        Body::Data(_) => "data",
        Body::Close(_) => "close",
        Body::Listen(_) => "listen",
        Body::Process(_) => "process",
        Body::Loss(_) => "loss",
        Body::Seen(_) => "seen",
        Body::End(_) => "end",
    }
}

/// Lines in the making.
struct Shown<'c> {
    cat: &'c Cat,
    lines: Lines,
    builder: Builder,
}

impl<'c> Shown<'c> {
    fn new(cat: &'c Cat, clock: Clock) -> Self {
        Self { cat, lines: Lines::new(clock), builder: Builder::new(clock) }
    }

    fn event(&mut self, event: &Event<'_>, out: &mut impl Write) -> Result<(), Error> {
        self.lines.learn(event);
        if !self.cat.wants(event) {
            return Ok(());
        }
        match self.cat.form {
            Form::Text(bytes) => out.write_all(self.lines.line(event, bytes).as_bytes())?,
            Form::Ndjson => {
                self.builder.append(event);
                if self.builder.rows() >= BATCH_ROWS || self.builder.bytes() >= BATCH_BYTES {
                    self.objects(out)?;
                }
            }
        }
        Ok(())
    }

    fn objects(&mut self, out: &mut impl Write) -> Result<(), Error> {
        let batch = self.builder.finish().map_err(datafusion::error::DataFusionError::from)?;
        out.write_all(&sql::lines(&batch)?)?;
        Ok(())
    }

    fn flush(&mut self, out: &mut impl Write) -> Result<(), Error> {
        if self.builder.rows() > 0 {
            self.objects(out)?;
        }
        out.flush()?;
        Ok(())
    }
}
