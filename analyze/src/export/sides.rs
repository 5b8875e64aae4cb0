//! Exchanges that were captured at both ends: the request that a client made and the one that its server answered.
//!
//! They are the same exchange when they have the same addresses, the same place on the connection, the same method and path,
//! and were open at the same time. Behind a translation of addresses the two ends do not know each other.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
};

use beyla_engine::otlp::end_ns;
use beyla_schema::{
    event::Clock,
    request::{Kind, Request},
};

/// Requests that wait for their other side; the oldest are given up first.
const MAX_WAITING: usize = 64 * 1024;

/// Where a request was on which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    kind: Kind,
    client: SocketAddr,
    server: SocketAddr,
    stream: Option<u32>,
    ordinal: Option<u64>,
}

/// One side, until the other one comes.
#[derive(Debug)]
struct Side<T> {
    number: u64,
    start_ns: i64,
    end_ns: i64,
    /// Of the method and the path. Compared, never shown.
    hash: u64,
    value: T,
}

/// Finds the other side of requests.
#[derive(Debug)]
pub(super) struct Sides<T> {
    waiting: HashMap<Place, Side<T>>,
    order: VecDeque<(u64, Place)>,
    number: u64,
}

impl<T> Default for Sides<T> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), order: VecDeque::new(), number: 0 }
    }
}

impl<T> Sides<T> {
    /// What was kept of the other side of a request, if that has been here. Else this side waits for it with `value`.
    pub(super) fn other(&mut self, request: &Request<'_>, clock: Clock, value: T) -> Option<T> {
        let place = Place {
            kind: request.kind,
            client: request.client?,
            server: request.server?,
            stream: request.stream,
            // Streams have numbers of their own, which both ends know.
            ordinal: request.stream.is_none().then_some(request.ordinal),
        };
        let mut hasher = DefaultHasher::new();
        (request.method, request.path).hash(&mut hasher);
        let side = Side {
            number: self.number,
            start_ns: clock.wall_ns(request.start_ns),
            end_ns: clock.wall_ns(end_ns(request)),
            hash: hasher.finish(),
            value,
        };
        let opposite = match request.kind {
            Kind::Server => Kind::Client,
            Kind::Client => Kind::Server,
        };
        let opposite = Place { kind: opposite, ..place };
        let same = |other: &Side<T>| {
            other.hash == side.hash && other.start_ns <= side.end_ns && side.start_ns <= other.end_ns
        };
        if self.waiting.get(&opposite).is_some_and(same) {
            return self.waiting.remove(&opposite).map(|side| side.value);
        }
        self.order.push_back((self.number, place));
        self.waiting.insert(place, side);
        self.number += 1;
        if self.order.len() > MAX_WAITING
            && let Some((number, oldest)) = self.order.pop_front()
            && self.waiting.get(&oldest).is_some_and(|side| side.number == number)
        {
            self.waiting.remove(&oldest);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use beyla_schema::request::EndReason;

    use super::*;

    fn request(kind: Kind, start_ns: u64, path: &'static str) -> Request<'static> {
        Request {
            method: Some("GET"),
            path: Some(path),
            end_ns: Some(start_ns + 10),
            client: Some(([10, 0, 0, 1], 5000).into()),
            server: Some(([10, 0, 0, 2], 80).into()),
            ..Request::begun(kind, start_ns, EndReason::Response)
        }
    }

    #[test]
    fn two_ends_of_one_exchange_find_each_other_once() {
        let mut sides = Sides::default();
        let mut other = |request: Request<'_>, value| sides.other(&request, Clock::default(), value);
        assert_eq!(other(request(Kind::Server, 105, "/a"), 1), None);
        assert_eq!(other(request(Kind::Client, 100, "/a"), 2), Some(1));
        assert_eq!(other(request(Kind::Client, 100, "/a"), 3), None, "the server's side is taken");
        assert_eq!(other(request(Kind::Server, 200, "/a"), 4), None, "not at the same time");
        assert_eq!(other(request(Kind::Client, 200, "/b"), 5), None, "another path");
        let elsewhere = Request { ordinal: 1, ..request(Kind::Client, 200, "/a") };
        assert_eq!(other(elsewhere, 6), None, "another place");
        let unknown = Request { client: None, ..request(Kind::Client, 200, "/a") };
        assert_eq!(other(unknown, 7), None, "no address");
    }

    #[test]
    fn the_sides_that_wait_are_bounded() {
        let mut sides = Sides::default();
        for ordinal in 0..2 * MAX_WAITING as u64 {
            let request = Request { ordinal, ..request(Kind::Client, 0, "/a") };
            assert_eq!(sides.other(&request, Clock::default(), ()), None);
        }
        assert_eq!((sides.waiting.len(), sides.order.len()), (MAX_WAITING, MAX_WAITING));
    }
}
