//! Routes: the paths of requests, grouped so that metrics and reports keep few names.
//!
//! [`Rules`] say how; [`Routes`] resolves the path of one request after another by them. The rules, their limits
//! and how they differ from Beyla's are in `docs/routes.md`.

mod gibberish;
mod heuristic;
mod pattern;
mod trie;

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use rustc_hash::{FxHashMap, FxHasher};

pub use pattern::{Pattern, PatternError};

use pattern::Matcher;
use trie::Trie;

/// How paths become routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A path that one of these matches has the pattern as its route.
    pub patterns: Vec<Pattern>,
    /// Requests whose path one of these matches are left out, as `ignore_mode` says.
    pub ignored: Vec<Pattern>,
    /// What ignored requests are left out of.
    pub ignore_mode: IgnoreMode,
    /// The route of a path that no pattern matches.
    pub unmatched: Unmatched,
    /// Takes the place of a segment that is not kept.
    pub wildcard: char,
    /// Different segments that one place of a path may have, per service, before they become the wildcard;
    /// 0 for any number. For [`Unmatched::LowCardinality`].
    pub max_segment_cardinality: usize,
}

impl Default for Rules {
    /// What Beyla 3 does without configuration: [`Unmatched::LowCardinality`] with 10 segments a place.
    ///
    /// It depends on the order of requests, which a capture keeps: live and from a file, the routes are the same.
    fn default() -> Self {
        Self {
            patterns: Vec::new(),
            ignored: Vec::new(),
            ignore_mode: IgnoreMode::All,
            unmatched: Unmatched::LowCardinality,
            wildcard: '*',
            max_segment_cardinality: 10,
        }
    }
}

/// The route of a path that no pattern matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// The path, with the wildcard for segments that look like ids.
    Heuristic,
    /// The same, and also for segments of which a place has too many.
    #[default]
    LowCardinality,
    /// The path as it is: as many routes as the client likes.
    Path,
    /// `/**` for all.
    Wildcard,
    /// None.
    Unset,
}

/// What requests with an ignored path are left out of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IgnoreMode {
    /// Metrics and traces.
    #[default]
    All,
    /// Metrics.
    Metrics,
    /// Traces.
    Traces,
}

/// A word that names none of what can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not one of {names}")]
pub struct NameError {
    word: String,
    names: &'static str,
}

impl Unmatched {
    /// All of them, as they are listed to people.
    pub const ALL: [Self; 5] =
        [Self::Heuristic, Self::LowCardinality, Self::Path, Self::Wildcard, Self::Unset];

    /// The name in Beyla's configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heuristic => "heuristic",
            Self::LowCardinality => "low-cardinality",
            Self::Path => "path",
            Self::Wildcard => "wildcard",
            Self::Unset => "unset",
        }
    }
}

impl IgnoreMode {
    /// The name in Beyla's configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }

    /// Whether ignored requests are left out of metrics.
    pub const fn metrics(self) -> bool {
        matches!(self, Self::All | Self::Metrics)
    }

    /// Whether ignored requests are left out of traces.
    pub const fn traces(self) -> bool {
        matches!(self, Self::All | Self::Traces)
    }
}

impl Display for Unmatched {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Display for IgnoreMode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Unmatched {
    type Err = NameError;

    fn from_str(word: &str) -> Result<Self, NameError> {
        let names = "heuristic, low-cardinality, path, wildcard, unset";
        let error = || NameError { word: word.to_owned(), names };
        Self::ALL.into_iter().find(|of| of.as_str() == word).ok_or_else(error)
    }
}

impl FromStr for IgnoreMode {
    type Err = NameError;

    fn from_str(word: &str) -> Result<Self, NameError> {
        let error = || NameError { word: word.to_owned(), names: "all, metrics, traces" };
        [Self::All, Self::Metrics, Self::Traces].into_iter().find(|of| of.as_str() == word).ok_or_else(error)
    }
}

/// What the rules make of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// The route; none when the path is to have none.
    pub route: Option<&'a str>,
    /// What the request is to be left out of; none when it is not ignored.
    pub ignored: Option<IgnoreMode>,
}

/// The route of everything, for [`Unmatched::Wildcard`].
const EVERYTHING: &str = "/**";

/// Paths whose routes are remembered. A path falls out when another takes its slot.
const SLOTS: usize = 4096;

/// Longer paths are resolved anew each time, so that the slots hold a few megabytes at most.
const MAX_REMEMBERED: usize = 512;

/// Services that have a trie of their own; further ones share the last.
const MAX_SERVICES: usize = 256;

/// Resolves paths by [`Rules`].
///
/// The answer depends on the calls before it, in their order, if the rules say [`Unmatched::LowCardinality`];
/// never on what is remembered. Memory is bounded, whatever the paths are.
#[derive(Debug)]
pub struct Routes {
    rules: Rules,
    patterns: Matcher,
    ignored: Matcher,
    /// Numbers of services, which are places in `tries`.
    services: FxHashMap<Box<str>, usize>,
    tries: Vec<Trie>,
    slots: Box<[Slot]>,
    /// The slot of paths that are not remembered.
    spare: Slot,
    /// What the heuristic makes of a path, before the trie.
    segments: String,
}

/// A path and its route.
#[derive(Debug, Default)]
struct Slot {
    service: usize,
    /// How often segments of the service had been given up; another count now makes the route stale.
    collapses: u64,
    path: String,
    answer: Answer,
    ignored: bool,
    route: String,
    filled: bool,
}

/// Where the text of a route is.
#[derive(Clone, Copy, Debug, Default)]
enum Answer {
    #[default]
    Unset,
    Path,
    Everything,
    Pattern(usize),
    /// In the slot.
    Text,
}

impl Default for Routes {
    fn default() -> Self {
        Self::new(Rules::default())
    }
}

impl Routes {
    /// Resolves by `rules`.
    pub fn new(rules: Rules) -> Self {
        Self {
            patterns: Matcher::new(&rules.patterns),
            ignored: Matcher::new(&rules.ignored),
            rules,
            services: FxHashMap::default(),
            tries: Vec::new(),
            slots: std::iter::repeat_with(Slot::default).take(SLOTS).collect(),
            spare: Slot::default(),
            segments: String::new(),
        }
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The route of `path`, which has no query, in a request that `service` served or made.
    ///
    /// For HTTP only: the path of a gRPC call is its method.
    pub fn resolve<'a>(&'a mut self, service: &str, path: &'a str) -> Resolved<'a> {
        let service = self.service(service);
        let collapses = self.tries[service].collapses();
        let index = slot(service, path);
        let remembered = path.len() <= MAX_REMEMBERED;
        let known = remembered
            && self.slots.get(index).is_some_and(|slot| {
                slot.filled && slot.service == service && slot.collapses == collapses && slot.path == path
            });
        let slot = match self.slots.get_mut(index) {
            Some(slot) if remembered => slot,
            _ => &mut self.spare,
        };
        if !known {
            slot.route.clear();
            slot.answer = match self.patterns.find(path) {
                Some(number) => Answer::Pattern(number),
                None => match self.rules.unmatched {
                    Unmatched::Unset => Answer::Unset,
                    Unmatched::Path => Answer::Path,
                    Unmatched::Wildcard => Answer::Everything,
                    Unmatched::Heuristic => {
                        heuristic::route(path, self.rules.wildcard, &mut slot.route);
                        Answer::Text
                    }
                    Unmatched::LowCardinality => {
                        self.segments.clear();
                        heuristic::route(path, self.rules.wildcard, &mut self.segments);
                        self.tries[service].insert(&self.segments, &mut slot.route);
                        Answer::Text
                    }
                },
            };
            slot.ignored = self.ignored.find(path).is_some();
            slot.service = service;
            slot.collapses = self.tries[service].collapses();
            slot.path.clear();
            slot.filled = remembered;
            if remembered {
                slot.path.push_str(path);
            }
        }
        Resolved {
            route: match slot.answer {
                Answer::Unset => None,
                Answer::Path => Some(path),
                Answer::Everything => Some(EVERYTHING),
                Answer::Pattern(number) => self.rules.patterns.get(number).map(Pattern::as_str),
                Answer::Text => Some(&slot.route),
            },
            ignored: slot.ignored.then_some(self.rules.ignore_mode),
        }
    }

    fn service(&mut self, name: &str) -> usize {
        if let Some(&number) = self.services.get(name) {
            return number;
        }
        if self.tries.len() == MAX_SERVICES {
            return MAX_SERVICES - 1;
        }
        self.tries.push(Trie::new(self.rules.max_segment_cardinality, self.rules.wildcard));
        self.services.insert(name.into(), self.tries.len() - 1);
        self.tries.len() - 1
    }
}

fn slot(service: usize, path: &str) -> usize {
    let mut hasher = FxHasher::default();
    (service, path).hash(&mut hasher);
    hasher.finish() as usize % SLOTS
}
