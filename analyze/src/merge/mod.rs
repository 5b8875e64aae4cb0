//! Makes one capture file of several: of the parts of a capture what it would have been without rotation, and of different
//! captures, of one host or of several, one with the rows of all of them in the order of their wall times.
//!
//! In the latter, what could be confused has new `numbers`, the file's `metadata` tell how they came about, and
//! a replay takes the captures apart again: each has an engine of its own, so requests and ids of traces stay what they were.

mod metadata;
pub(crate) mod numbers;
mod rows;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use beyla_schema::{
    event::{Body, Clock, Event, Loss},
    file::{Merged, VERSION, Version},
};

use self::{
    numbers::{MOST, Numbers},
    rows::{Key, Rows},
};
use crate::{
    Error, RECORDER,
    output::{Output, failed, knows_all_of},
    parts::recordings,
    progress::Progress,
    replay::Capture,
};

/// Writes `output` from all rows of `files`. Nothing is there before it is complete; its owner alone may read it.
pub fn merge(files: &[PathBuf], output: &Path, force: bool) -> Result<(), Error> {
    let captures = files.iter().map(|file| Capture::open_whole(file)).collect::<Result<Vec<_>, _>>()?;
    for capture in &captures {
        knows_all_of(capture.metadata(), output)?;
        if !capture.metadata().merged.is_empty() {
            let reason = format!("{} was merged of several captures: merge those", capture.name());
            return Err(failed(output, reason));
        }
    }
    let mut progress = Progress::new(captures.iter().map(Capture::rows).sum(), true);
    let mut recordings = recordings(captures, Capture::metadata);
    let mut known = BTreeSet::new();
    for id in recordings.iter().filter_map(|parts| Some(&parts.first()?.metadata().capture_id)) {
        if !known.insert(id.clone()) {
            let reason = format!("of capture {id} a file is given twice, or a part is missing in between");
            return Err(failed(output, reason));
        }
    }
    if recordings.len() == 1 {
        let parts = recordings.pop().unwrap_or_default();
        return merge_parts(parts, output, force, &mut progress);
    }
    Merger::new(recordings, output, force)?.merge(&mut progress)
}

/// Merges consecutive parts of one capture.
fn merge_parts(parts: Vec<Capture>, path: &Path, force: bool, progress: &mut Progress) -> Result<(), Error> {
    let mut metadata = metadata::of_parts(&parts);
    metadata.schema_version = VERSION;
    let mut output = Output::create(path, force, metadata.clock())?;
    let mut rows = Rows::new(parts);
    let mut goes_on = false;
    while rows.settle(progress)?.is_some() {
        if let Some(event) = rows.event()? {
            goes_on = matches!(event.body, Body::End("rotated"));
            output.push(&event)?;
        }
        rows.advance();
    }
    if metadata.part == Some(1) && !goes_on {
        (metadata.part, metadata.last_part) = (None, None);
    }
    output.finish(&metadata)
}

/// The first version with `seen` rows.
const SEEN: Version = Version { major: 1, minor: 1 };

/// Where the next row of one of several captures comes from.
struct Source {
    rows: Rows,
    next: Option<Key>,
    numbers: Numbers,
}

/// Merges different captures.
struct Merger {
    sources: Vec<Source>,
    /// What the file will say of each.
    about: Vec<Merged>,
    output: Output,
    /// Rows that the recorders added so far: they are numbered anew.
    added: u64,
    last_ns: u64,
    /// Whether all captures tell what their kernel programs saw: else a sum would be too low.
    seen: bool,
    /// Why the capture ended that ended last.
    end: String,
}

impl Merger {
    fn new(mut recordings: Vec<Vec<Capture>>, path: &Path, force: bool) -> Result<Self, Error> {
        let of = recordings.len();
        if of > MOST {
            return Err(failed(path, format!("at most {MOST} captures can be in one file")));
        }
        let begins = |parts: &Vec<Capture>| {
            let first = parts.first().map(Capture::metadata);
            first.map(|first| (first.began_ns(), first.capture_id.clone()))
        };
        recordings.sort_by_key(begins);
        let offset = |parts: &[Capture]| parts.first().map_or(0, |first| first.metadata().clock().offset_ns);
        // The earliest of their clocks, so that no time becomes negative.
        let base = recordings.iter().map(|parts| offset(parts)).min().unwrap_or(0);
        let (mut sources, mut about) = (Vec::new(), Vec::new());
        for (index, parts) in recordings.into_iter().enumerate() {
            let name = parts.first().map_or("", Capture::name);
            let capture = metadata::of_parts(&parts);
            if capture.part.unwrap_or(1) != 1 {
                let reason =
                    format!("{name} is not the first part of its capture: merge its parts by themselves");
                return Err(failed(path, reason));
            }
            if capture.clocks.is_empty() {
                return Err(failed(path, format!("{name} does not tell what time it was")));
            }
            let numbers = Numbers::new(index, of, offset(&parts).abs_diff(base));
            about.push(Merged { capture, ..numbers.describe() });
            sources.push(Source { rows: Rows::new(parts), next: None, numbers });
        }
        let seen = about.iter().all(|about: &Merged| about.capture.schema_version >= SEEN);
        let output = Output::create(path, force, Clock { offset_ns: base })?;
        Ok(Self { sources, about, output, added: 0, last_ns: 0, seen, end: String::new() })
    }

    fn merge(mut self, progress: &mut Progress) -> Result<(), Error> {
        for index in 0..self.sources.len() {
            self.settle(index, progress)?;
        }
        while let Some(index) = self.first() {
            self.take(index)?;
            self.settle(index, progress)?;
        }
        let Self { mut about, mut output, added, last_ns, end, .. } = self;
        if about.iter().all(|about| about.end.is_some()) {
            output.push(&Event {
                ts_ns: last_ns,
                cpu: RECORDER,
                seq: added,
                pid: 0,
                tid: 0,
                connection: 0,
                carried: false,
                body: Body::End(&end),
            })?;
        }
        for about in about.iter_mut().filter(|about| about.end.is_some()) {
            (about.capture.part, about.capture.last_part) = (None, None);
        }
        output.finish(&metadata::of_captures(about))
    }

    /// The source whose next row comes first.
    fn first(&self) -> Option<usize> {
        let next = |(index, source): (usize, &Source)| Some((source.next?, index));
        self.sources.iter().enumerate().filter_map(next).min().map(|(_, index)| index)
    }

    /// Finds the next row of a source, and its place among those of the others.
    fn settle(&mut self, index: usize, progress: &mut Progress) -> Result<(), Error> {
        let of = self.sources.len();
        let Some(source) = self.sources.get_mut(index) else { return Ok(()) };
        source.next = None;
        if source.rows.settle(progress)?.is_some()
            && let Some(event) = source.rows.event()?
        {
            let event = source.numbers.apply(&event, of).map_err(|reason| source.rows.wrong(reason))?;
            source.next = Some((event.ts_ns, event.cpu, event.seq));
        }
        Ok(())
    }

    /// Writes the next row of a source. Counts become sums over the captures, each as it last was.
    fn take(&mut self, index: usize) -> Result<(), Error> {
        let Self { sources, about: all, output, added, last_ns, seen, end } = self;
        let of = sources.len();
        let (Some(source), Some(about)) = (sources.get_mut(index), all.get_mut(index)) else {
            return Ok(());
        };
        let Some(event) = source.rows.event()? else { return Ok(()) };
        let mut event = source.numbers.apply(&event, of).map_err(|reason| source.rows.wrong(reason))?;
        *last_ns = event.ts_ns.max(*last_ns);
        if event.cpu == RECORDER {
            event.seq = *added;
            *added += 1;
        }
        match event.body {
            // There is one end in the file, when all have one.
            Body::End("rotated") => {}
            Body::End(reason) => {
                reason.clone_into(end);
                about.end = Some(reason.to_owned());
            }
            Body::Loss(Loss { cause, count }) => {
                about.losses.insert(cause.to_owned(), count);
                let count = sum(all, |about| about.losses.get(cause).copied().unwrap_or(0));
                output.push(&Event { body: Body::Loss(Loss { cause, count }), ..event })?;
            }
            Body::Seen(count) => {
                about.seen = count;
                if *seen {
                    output.push(&Event { body: Body::Seen(sum(all, |about| about.seen)), ..event })?;
                }
            }
            _ => output.push(&event)?,
        }
        source.rows.advance();
        Ok(())
    }
}

fn sum(about: &[Merged], count: impl Fn(&Merged) -> u64) -> u64 {
    about.iter().fold(0, |sum, about| sum.saturating_add(count(about)))
}
