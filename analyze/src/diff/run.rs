//! One side of a comparison: the requests of its files, counted by route and by block of time. What is kept does not grow with
//! the number of requests: routes are limited in number, and blocks become twice as wide when they are too many.

use std::collections::{BTreeMap, HashMap};

use beyla_engine::{Sink, route::Signal};
use beyla_schema::{
    arrow::requests::Source,
    request::{Kind, Request},
};

use super::group::{Group, Scope, Subject};
use crate::{
    Error,
    replay::{Consumer, Input, Summary},
};

/// Routes that are kept apart on each side; the requests of further ones are counted together.
pub const MAX_ROUTES: usize = 256;

/// Blocks that a run is divided into at most.
const MAX_BLOCKS: usize = 64;

/// What a block is wide at first, nanoseconds: about a millisecond.
const FIRST_WIDTH_NS: u64 = 1 << 20;

/// What the files of one side hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub(super) files: Vec<Summary>,
    pub(super) groups: BTreeMap<Subject, Group>,
    /// Time that has requests: of each file from the start of the first to the end of the last one, added up.
    pub(super) seconds: f64,
    pub(super) width_ns: u64,
    /// Where the last block ends, nanoseconds since the first request of the run ended.
    pub(super) length_ns: u64,
}

impl Run {
    /// Replays the files of one side. Of the other side, the routes that are to be told apart here in any case.
    pub(super) fn replay(input: &Input, other: Option<&Self>, progress: bool) -> Result<Self, Error> {
        let mut recorder = Recorder { width_ns: FIRST_WIDTH_NS, ..Recorder::default() };
        if let Some(other) = other {
            // Where the other side could not tell all routes apart, a route of its own here would not be a new one.
            recorder.closed = other.groups.keys().any(|subject| subject.scope == Scope::Others);
            for subject in other.groups.keys() {
                if let Scope::Route { service, method, route } = &subject.scope {
                    let texts = [service, method, route].map(Option::as_deref);
                    write_key(&mut recorder.key, subject.kind, texts);
                    recorder.numbers.insert(recorder.key.as_slice().into(), recorder.groups.len());
                    recorder.groups.push((subject.clone(), Group::default()));
                }
            }
            recorder.limit = recorder.groups.len();
        }
        recorder.limit += MAX_ROUTES;
        let files = input.replay(&mut recorder, progress)?;
        recorder.end_file();
        let Recorder { groups, others, seconds, width_ns, length_ns, .. } = recorder;
        let others = others.into_iter().map(|(kind, group)| (Subject { kind, scope: Scope::Others }, group));
        let mut groups: BTreeMap<_, _> =
            groups.into_iter().chain(others).filter(|(_, group)| !group.blocks.is_empty()).collect();
        let mut totals = BTreeMap::<_, Group>::new();
        for (subject, group) in &groups {
            totals.entry(subject.kind).or_default().merge(group);
        }
        groups.extend(totals.into_iter().map(|(kind, group)| (Subject { kind, scope: Scope::Total }, group)));
        Ok(Self { files, groups, seconds, width_ns, length_ns })
    }

    /// How many blocks the run has.
    pub(super) fn blocks(&self) -> usize {
        usize::try_from(self.length_ns.div_ceil(self.width_ns.max(1))).unwrap_or(0)
    }

    /// Makes blocks as wide as those of the other side, but no fewer than `least`.
    pub(super) fn widen(&mut self, width_ns: u64, least: usize) {
        while self.width_ns < width_ns && self.blocks() >= 2 * least {
            self.groups.values_mut().for_each(Group::halve);
            self.width_ns *= 2;
        }
    }

    /// Seconds of each block; the last one may have been cut short.
    pub(super) fn exposures(&self) -> impl Iterator<Item = f64> {
        (0..self.blocks() as u64).map(|block| {
            let from = block * self.width_ns;
            (self.length_ns - from).min(self.width_ns) as f64 / 1e9
        })
    }
}

/// Counts requests while they come.
#[derive(Default)]
struct Recorder {
    /// The key of the request at hand, kept for its memory.
    key: Vec<u8>,
    numbers: HashMap<Box<[u8]>, usize>,
    groups: Vec<(Subject, Group)>,
    others: BTreeMap<Kind, Group>,
    /// How many routes may be kept apart.
    limit: usize,
    /// Only routes of the other side are kept apart.
    closed: bool,
    width_ns: u64,
    /// Where the blocks of this file begin.
    offset_ns: u64,
    length_ns: u64,
    /// When the first request of this file ended.
    first_ended_ns: Option<u64>,
    /// From the start of the first request of this file to the end of the last one.
    span: Option<(u64, u64)>,
    seconds: f64,
}

/// Writes what tells one route from another.
fn write_key(key: &mut Vec<u8>, kind: Kind, texts: [Option<&str>; 3]) {
    key.clear();
    key.push(u8::from(kind == Kind::Client));
    for text in texts {
        // With its length, no text can look like two.
        key.extend(text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
        key.extend(text.unwrap_or_default().as_bytes());
    }
}

impl Recorder {
    fn end_file(&mut self) {
        self.seconds += self.span.take().map_or(0.0, |(first, last)| (last - first) as f64 / 1e9);
        self.offset_ns = self.length_ns;
        self.first_ended_ns = None;
    }

    /// The block of a request that ended then.
    fn block(&mut self, ended_ns: u64) -> usize {
        let first = *self.first_ended_ns.get_or_insert(ended_ns);
        let at = self.offset_ns + ended_ns.saturating_sub(first);
        self.length_ns = self.length_ns.max(at + 1);
        while at / self.width_ns >= MAX_BLOCKS as u64 {
            self.width_ns *= 2;
            self.groups.iter_mut().for_each(|(_, group)| group.halve());
            self.others.values_mut().for_each(Group::halve);
        }
        usize::try_from(at / self.width_ns).unwrap_or(MAX_BLOCKS - 1)
    }

    fn group(&mut self, request: &Request<'_>) -> &mut Group {
        let service = Some(request.service).filter(|name| !name.is_empty());
        let texts = [service, request.method, request.route];
        write_key(&mut self.key, request.kind, texts);
        let number = match self.numbers.get(self.key.as_slice()) {
            Some(&number) => Some(number),
            None if self.closed || self.groups.len() >= self.limit => None,
            None => {
                let [service, method, route] = texts.map(|text| text.map(str::to_owned));
                let scope = Scope::Route { service, method, route };
                self.groups.push((Subject { kind: request.kind, scope }, Group::default()));
                self.numbers.insert(self.key.as_slice().into(), self.groups.len() - 1);
                Some(self.groups.len() - 1)
            }
        };
        match number.and_then(|number| self.groups.get_mut(number)) {
            Some((_, group)) => group,
            None => self.others.entry(request.kind).or_default(),
        }
    }
}

impl Sink for Recorder {
    fn request(&mut self, request: &Request<'_>) {
        let last = request.end_ns.unwrap_or(request.start_ns);
        let (from, to) = self.span.unwrap_or((request.start_ns, last));
        self.span = Some((from.min(request.start_ns), to.max(last)));
        let block = self.block(request.ended_ns);
        self.group(request).add(request, block);
    }
}

impl Consumer for Recorder {
    fn begin(&mut self, _: &Source) {
        self.end_file();
    }

    fn signal(&self) -> Signal {
        Signal::Metrics
    }
}

#[cfg(test)]
mod tests {
    use beyla_schema::request::EndReason;

    use super::*;

    fn request(route: &str, ended_ns: u64) -> Request<'_> {
        Request {
            service: "shop",
            method: Some("GET"),
            route: Some(route),
            end_ns: Some(ended_ns),
            duration_ns: Some(1_000_000),
            ended_ns,
            ..Request::begun(Kind::Server, ended_ns.saturating_sub(1_000_000), EndReason::Response)
        }
    }

    #[test]
    fn blocks_become_wider_and_lose_nothing() {
        let mut recorder = Recorder { width_ns: FIRST_WIDTH_NS, limit: 2, ..Recorder::default() };
        for number in 0..100_000_u64 {
            recorder.request(&request(["/a", "/b", "/c"][(number % 3) as usize], number * 1_000_000));
        }
        assert_eq!(recorder.groups.len(), 2);
        assert!(recorder.groups.iter().all(|(_, group)| group.blocks.len() <= MAX_BLOCKS));
        let (a, others) = (recorder.groups[0].1.whole(), recorder.others[&Kind::Server].whole());
        assert_eq!((a.requests, a.durations.count(), others.requests), (33_334, 33_334, 33_333));
        assert!(recorder.length_ns.div_ceil(recorder.width_ns) > MAX_BLOCKS as u64 / 2);
    }

    #[test]
    fn texts_cannot_be_taken_for_others() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        write_key(&mut one, Kind::Server, [Some("a"), Some("b"), None]);
        write_key(&mut other, Kind::Server, [Some("ab"), None, None]);
        assert_ne!(one, other);
    }
}
