//! Routes: the paths of requests, grouped so that metrics and reports keep few names.
//!
//! [`Rules`] say how; [`Routes`] resolves the path of one request after another by them. The rules, their limits
//! and how they differ from Beyla's are in `docs/routes.md`.

#[cfg(feature = "config")]
pub mod config;
mod gibberish;
mod heuristic;
mod kept;
#[rustfmt::skip]
mod model;
mod pattern;
mod trie;

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use rustc_hash::{FxHashMap, FxHasher};

pub use kept::{Kept, Signal};
pub use pattern::{Matcher, Pattern, PatternError};

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
    /// [`Unmatched::Heuristic`], which looks at one path at a time: the same path has the same route in every capture.
    fn default() -> Self {
        Self {
            patterns: Vec::new(),
            ignored: Vec::new(),
            ignore_mode: IgnoreMode::All,
            unmatched: Unmatched::Heuristic,
            wildcard: '*',
            max_segment_cardinality: 10,
        }
    }
}

impl Rules {
    /// These rules, with further patterns that come before theirs, and another `unmatched` if there is one.
    #[must_use]
    pub fn preceded_by(
        self,
        mut patterns: Vec<Pattern>,
        mut ignored: Vec<Pattern>,
        unmatched: Option<Unmatched>,
    ) -> Self {
        patterns.extend(self.patterns);
        ignored.extend(self.ignored);
        Self { patterns, ignored, unmatched: unmatched.unwrap_or(self.unmatched), ..self }
    }
}

/// The route of a path that no pattern matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// The path, with the wildcard for segments that look like ids.
    #[default]
    Heuristic,
    /// The same, and also for segments of which a place has too many.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().expect("a pattern")).collect()
    }

    fn low_cardinality() -> Rules {
        Rules { unmatched: Unmatched::LowCardinality, ..Rules::default() }
    }

    fn route(routes: &mut Routes, path: &str) -> Option<String> {
        routes.resolve("shop", path).route.map(str::to_owned)
    }

    #[test]
    fn patterns_come_before_what_is_for_the_rest() {
        for (unmatched, expected) in [
            (Unmatched::Heuristic, Some("/carts/*")),
            (Unmatched::LowCardinality, Some("/carts/*")),
            (Unmatched::Path, Some("/carts/7")),
            (Unmatched::Wildcard, Some("/**")),
            (Unmatched::Unset, None),
        ] {
            let rules = Rules { patterns: patterns(&["/users/{id}"]), unmatched, ..Rules::default() };
            let mut routes = Routes::new(rules);
            for _ in 0..2 {
                assert_eq!(route(&mut routes, "/users/7").as_deref(), Some("/users/{id}"));
                assert_eq!(route(&mut routes, "/carts/7").as_deref(), expected, "{unmatched}");
            }
        }
    }

    #[test]
    fn ignored_paths_keep_their_route() {
        let rules = Rules {
            ignored: patterns(&["/healthz", "/internal/*"]),
            ignore_mode: IgnoreMode::Traces,
            ..Rules::default()
        };
        let mut routes = Routes::new(rules);
        for _ in 0..2 {
            for (path, ignored) in [("/healthz", true), ("/internal/dump", true), ("/health", false)] {
                let resolved = routes.resolve("shop", path);
                assert_eq!(resolved.route, Some(path));
                assert_eq!(resolved.ignored, ignored.then_some(IgnoreMode::Traces));
            }
        }
    }

    #[test]
    fn services_are_apart_and_what_is_remembered_is_given_up_with_a_place() {
        let mut routes = Routes::new(Rules { max_segment_cardinality: 2, ..low_cardinality() });
        assert_eq!(routes.resolve("one", "/alice").route, Some("/alice"));
        assert_eq!(routes.resolve("one", "/bob").route, Some("/bob"));
        assert_eq!(routes.resolve("one", "/alice").route, Some("/alice"));
        assert_eq!(routes.resolve("one", "/carol").route, Some("/*"));
        assert_eq!(routes.resolve("one", "/alice").route, Some("/*"));
        assert_eq!(routes.resolve("two", "/alice").route, Some("/alice"));
    }

    /// What the resolver says without remembering anything.
    struct Plain {
        tries: FxHashMap<String, Trie>,
    }

    impl Plain {
        fn route(&mut self, service: &str, path: &str) -> String {
            let trie = self.tries.entry(service.to_owned()).or_insert_with(|| Trie::new(3, '*'));
            let (mut segments, mut route) = (String::new(), String::new());
            heuristic::route(path, '*', &mut segments);
            trie.insert(&segments, &mut route);
            route
        }
    }

    #[test]
    fn what_is_remembered_changes_nothing() {
        const WORDS: [&str; 8] = ["users", "orders", "alice", "42", "", "checkout", "login", "xqzvkj"];
        let mut routes = Routes::new(Rules { max_segment_cardinality: 3, ..low_cardinality() });
        let mut plain = Plain { tries: FxHashMap::default() };
        let mut state = 7_u64;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % limit) as usize
        };
        for number in 0..20_000 {
            // The choice of words grows, so that places fill up one after the other.
            let choice = 2 + number / 3000;
            let words: Vec<&str> = (0..=below(5)).map(|_| WORDS[below(choice)]).collect();
            let mut path = format!("/{}", words.join("/"));
            if below(50) == 0 {
                path.push_str(&"/padding".repeat(100));
            }
            let service = ["one", "two"][below(2)];
            assert_eq!(routes.resolve(service, &path).route, Some(&*plain.route(service, &path)), "{path}");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_the_paths_are() {
        let mut routes = Routes::new(low_cardinality());
        for number in 0..50_000_u32 {
            let word: String =
                (0..6).map(|at| char::from(b"aeioutnr"[(number >> (3 * at)) as usize % 8])).collect();
            routes.resolve(
                &format!("service-{}", number % 1000),
                &format!("/{word}/{}", "x".repeat(1 << (number % 12))),
            );
        }
        assert_eq!(routes.tries.len(), MAX_SERVICES);
        assert_eq!(routes.slots.len(), SLOTS);
        assert!(routes.slots.iter().all(|slot| slot.path.capacity() <= 2 * MAX_REMEMBERED));
    }

    #[test]
    fn names_are_those_of_beylas_configuration() {
        for unmatched in Unmatched::ALL {
            assert_eq!(unmatched.as_str().parse(), Ok(unmatched));
        }
        for mode in [IgnoreMode::All, IgnoreMode::Metrics, IgnoreMode::Traces] {
            assert_eq!(mode.as_str().parse(), Ok(mode));
        }
        let error = "everything".parse::<Unmatched>().expect_err("no such name").to_string();
        assert!(error.contains("everything") && error.contains("low-cardinality"), "{error}");
    }

    /// The examples of `docs/routes.md`: what a table says that a path becomes, it becomes.
    #[test]
    fn the_document_is_right() {
        let document = include_str!("../../../docs/routes.md");
        let mut examples = 0;
        for section in document.split("\n## ") {
            let unmatched = match section.lines().next() {
                Some("Heuristic") => Unmatched::Heuristic,
                Some("Low cardinality") => Unmatched::LowCardinality,
                Some("Patterns") => Unmatched::Unset,
                _ => continue,
            };
            let mut routes = Routes::new(Rules { unmatched, max_segment_cardinality: 3, ..Rules::default() });
            for line in section.lines().filter(|line| line.starts_with("| `")) {
                let cells: Vec<Option<&str>> = line
                    .trim_matches('|')
                    .split(" | ")
                    .map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`'))
                    .collect();
                match (unmatched, &*cells) {
                    (Unmatched::Unset, [Some(given), Some(path), route]) => {
                        let patterns = patterns(&given.split(' ').collect::<Vec<_>>());
                        let mut routes = Routes::new(Rules { patterns, unmatched, ..Rules::default() });
                        assert_eq!(routes.resolve("shop", path).route, *route, "{line}");
                    }
                    (_, [Some(path), Some(route)]) => {
                        assert_eq!(routes.resolve("shop", path).route, Some(*route), "{line}");
                    }
                    _ => continue,
                }
                examples += 1;
            }
        }
        assert!(examples >= 25, "{examples} examples were found");
    }
}
