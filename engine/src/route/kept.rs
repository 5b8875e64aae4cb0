//! Leaves out requests to paths that the rules ignore.

use beyla_schema::request::Request;

use super::{Matcher, Rules};
use crate::Sink;

/// What requests are made into: ignored paths can be left out of one or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Numbers of many requests.
    Metrics,
    /// Each request by itself.
    Traces,
}

/// Passes on the requests whose path is not ignored.
#[derive(Debug)]
pub struct Kept<S> {
    /// Who gets them.
    pub sink: S,
    ignored: Matcher,
}

impl<S> Kept<S> {
    /// Passes on to `sink`, which makes them into `signal`, what `rules` do not ignore.
    pub fn new(rules: &Rules, signal: Signal, sink: S) -> Self {
        let ignores = match signal {
            Signal::Metrics => rules.ignore_mode.metrics(),
            Signal::Traces => rules.ignore_mode.traces(),
        };
        Self { sink, ignored: Matcher::new(if ignores { &rules.ignored } else { &[] }) }
    }
}

impl<S: Sink> Sink for Kept<S> {
    fn request(&mut self, request: &Request<'_>) {
        if request.path.and_then(|path| self.ignored.find(path)).is_none() {
            self.sink.request(request);
        }
    }
}
