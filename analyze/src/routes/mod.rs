//! What route rules would make of the requests in the files: how many routes each of them gives, and which.
//!
//! One replay asks all candidates at once. Memory is bounded: what a capture has too many of is counted, without its
//! name.

pub mod show;

use std::collections::HashMap;

use beyla_engine::{
    Sink,
    route::{Routes, Rules, Signal, Unmatched},
};
use beyla_schema::request::Request;
use serde::Serialize;

use crate::{
    Error,
    replay::{Consumer, Input, Summary},
};

/// Bytes of routes and examples that are kept by name, of all services and rules together.
const MAX_BYTES: usize = 64 << 20;

/// What keeping a text takes besides its bytes, about.
const OVERHEAD: usize = 64;

/// Paths that are kept as examples of a route.
const EXAMPLES: usize = 3;

/// What the rules make of the files.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The files, in the order they were named.
    pub files: Vec<Summary>,
    /// By name.
    pub services: Vec<Service>,
}

/// What the rules make of the requests of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name; none when not known.
    pub service: Option<String>,
    /// HTTP requests that it served or made.
    pub requests: u64,
    /// Its routes by each rule.
    pub rules: Vec<Outcome>,
}

/// What one rule makes of the requests of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The rule.
    pub rule: String,
    /// Different routes; at least so many when `uncounted` is not 0.
    pub routes: u64,
    /// Requests whose route came when too many were kept already, and is in neither `routes` nor `top`.
    pub uncounted: u64,
    /// The routes with the most requests, most first, then by name.
    pub top: Vec<Route>,
}

/// A route and what became it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The route; none for requests that the rule gives none.
    pub route: Option<String>,
    /// Requests.
    pub requests: u64,
    /// The first of their paths.
    pub examples: Vec<String>,
}

/// A rule to be tried.
struct Candidate {
    name: &'static str,
    routes: Routes,
}

/// The routes that one candidate gives one service.
#[derive(Default)]
struct Tally {
    routes: HashMap<Box<str>, Seen>,
    /// Requests without a route.
    unset: Seen,
    uncounted: u64,
}

#[derive(Default)]
struct Seen {
    requests: u64,
    examples: Vec<Box<str>>,
}

struct Comparing {
    candidates: Vec<Candidate>,
    services: HashMap<Box<str>, (u64, Vec<Tally>)>,
    /// Bytes that may still be kept.
    left: usize,
}

/// Replays captures and tries the path as it is, the heuristic, low cardinality, the wildcard, and the rules of the input
/// if they have patterns. Of every service and rule the `top` routes are told.
pub fn compare(input: &Input, top: usize) -> Result<Comparison, Error> {
    let given = &input.rules;
    let candidate = |unmatched: Unmatched| {
        let rules = Rules { patterns: Vec::new(), unmatched, ..given.clone() };
        Candidate { name: unmatched.as_str(), routes: Routes::new(rules) }
    };
    let mut candidates: Vec<_> =
        [Unmatched::Path, Unmatched::Heuristic, Unmatched::LowCardinality, Unmatched::Wildcard]
            .map(candidate)
            .into();
    if !given.patterns.is_empty() {
        candidates.push(Candidate { name: "given", routes: Routes::new(given.clone()) });
    }
    let mut comparing = Comparing { candidates, services: HashMap::new(), left: MAX_BYTES };
    let files = input.replay(&mut comparing, true)?;
    Ok(Comparison { files, services: comparing.services(top) })
}

impl Sink for Comparing {
    fn request(&mut self, request: &Request<'_>) {
        let Some(path) = request.path.filter(|_| !request.protocol.is_grpc()) else {
            return;
        };
        if !self.services.contains_key(request.service) {
            self.services.insert(request.service.into(), (0, Vec::new()));
        }
        let Some((requests, tallies)) = self.services.get_mut(request.service) else { return };
        *requests += 1;
        tallies.resize_with(self.candidates.len(), Tally::default);
        for (candidate, tally) in self.candidates.iter_mut().zip(tallies) {
            let route = candidate.routes.resolve(request.service, path).route;
            tally.count(route, path, &mut self.left);
        }
    }
}

impl Consumer for Comparing {
    fn signal(&self) -> Signal {
        Signal::Metrics
    }
}

impl Comparing {
    fn services(self, top: usize) -> Vec<Service> {
        let Self { candidates, services, .. } = self;
        let outcomes = |tallies: Vec<Tally>| {
            let named = candidates.iter().zip(tallies);
            named.map(|(candidate, tally)| tally.outcome(candidate.name, top)).collect()
        };
        let mut services: Vec<_> = services
            .into_iter()
            .map(|(name, (requests, tallies))| Service {
                service: (!name.is_empty()).then(|| name.into()),
                requests,
                rules: outcomes(tallies),
            })
            .collect();
        services.sort_unstable_by(|a, b| a.service.cmp(&b.service));
        services
    }
}

impl Tally {
    /// Counts a request to `path`, taking what is kept off the bytes that are `left`.
    fn count(&mut self, route: Option<&str>, path: &str, left: &mut usize) {
        let mut take = |text: &str| {
            *left = left.checked_sub(text.len() + OVERHEAD)?;
            Some(Box::<str>::from(text))
        };
        let seen = match route {
            None => &mut self.unset,
            Some(route) => {
                if !self.routes.contains_key(route)
                    && let Some(route) = take(route)
                {
                    self.routes.insert(route, Seen::default());
                }
                let Some(seen) = self.routes.get_mut(route) else {
                    self.uncounted += 1;
                    return;
                };
                seen
            }
        };
        seen.requests += 1;
        if seen.examples.len() < EXAMPLES && seen.examples.iter().all(|example| **example != *path) {
            seen.examples.extend(take(path));
        }
    }

    fn outcome(self, rule: &str, top: usize) -> Outcome {
        let routes = self.routes.len() as u64;
        let mut all: Vec<_> = self.routes.into_iter().map(|(route, seen)| (Some(route), seen)).collect();
        all.extend((self.unset.requests > 0).then_some((None, self.unset)));
        all.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.requests.cmp(&of_a.requests).then(a.cmp(b)));
        let named = all.into_iter().take(top).map(|(route, Seen { requests, examples })| Route {
            route: route.map(Into::into),
            requests,
            examples: examples.into_iter().map(Into::into).collect(),
        });
        Outcome { rule: rule.to_owned(), routes, uncounted: self.uncounted, top: named.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(tally: &mut Tally, route: &str, path: &str, left: &mut usize) {
        tally.count(Some(route), path, left);
    }

    #[test]
    fn routes_are_ordered_by_requests_and_then_by_name() {
        let (mut tally, mut left) = (Tally::default(), MAX_BYTES);
        for (route, path) in
            [("/b", "/b"), ("/*", "/1"), ("/*", "/2"), ("/*", "/1"), ("/*", "/3"), ("/*", "/4"), ("/a", "/a")]
        {
            count(&mut tally, route, path, &mut left);
        }
        tally.count(None, "/x", &mut left);
        let outcome = tally.outcome("some", 3);
        assert_eq!((outcome.routes, outcome.uncounted), (3, 0));
        let top: Vec<_> = outcome.top.iter().map(|of| (of.route.as_deref(), of.requests)).collect();
        assert_eq!(top, [(Some("/*"), 5), (None, 1), (Some("/a"), 1)]);
        assert_eq!(outcome.top[0].examples, ["/1", "/2", "/3"]);
    }

    #[test]
    fn what_does_not_fit_is_counted_without_its_name() {
        let (mut tally, mut left) = (Tally::default(), 3 * OVERHEAD + 9);
        for path in ["/a", "/b", "/c", "/a", "/d"] {
            count(&mut tally, path, path, &mut left);
        }
        let outcome = tally.outcome("path", 10);
        assert_eq!((outcome.routes, outcome.uncounted), (2, 2));
        assert_eq!((outcome.top[0].requests, outcome.top[0].examples.len()), (2, 1));
        assert!(left < OVERHEAD + 2);
    }
}
