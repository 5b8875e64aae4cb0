//! What is counted of the requests of a route: in each block of time, and at all.

use std::ops::AddAssign;

use beyla_schema::request::{Kind, Request};

use super::histogram::Histogram;

/// Statuses that are kept apart of a route.
const MAX_STATUSES: usize = 32;

/// Which requests a row of the comparison is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Who is seen: served requests or made ones.
    pub kind: Kind,
    /// Which of those.
    pub scope: Scope,
}

/// Which requests of a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All of them.
    Total,
    /// Those of a route.
    Route {
        /// Service name.
        service: Option<String>,
        /// Method.
        method: Option<String>,
        /// Route; of gRPC the full method.
        route: Option<String>,
    },
    /// Those of the routes beyond [`MAX_ROUTES`](super::MAX_ROUTES).
    Others,
}

/// A status that was seen, and how many of its requests are errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatusCount {
    pub(super) status: Status,
    pub(super) errors: u64,
}

/// HTTP status and gRPC status of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Status {
    /// HTTP status; none when no response was seen.
    pub http: Option<u16>,
    /// gRPC status, where there is one.
    pub rpc: Option<u32>,
}

/// What was counted in one block of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) sum_ms: f64,
    pub(super) durations: Histogram,
}

impl AddAssign<&Self> for Block {
    fn add_assign(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.sum_ms += other.sum_ms;
        self.durations.merge(&other.durations);
    }
}

/// The requests of one row.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) incomplete: u64,
    /// Shortest and longest duration, nanoseconds.
    pub(super) extremes: Option<(u64, u64)>,
    pub(super) statuses: Vec<StatusCount>,
    pub(super) blocks: Vec<Block>,
}

impl Group {
    pub(super) fn add(&mut self, request: &Request<'_>, block: usize) {
        self.incomplete += u64::from(request.end_ns.is_none());
        if let Some(ns) = request.duration_ns {
            let (low, high) = self.extremes.unwrap_or((ns, ns));
            self.extremes = Some((low.min(ns), high.max(ns)));
        }
        let status = Status { http: request.status, rpc: request.rpc_status };
        self.count(&StatusCount { status, errors: u64::from(request.error) });
        if self.blocks.len() <= block {
            self.blocks.resize_with(block + 1, Block::default);
        }
        if let Some(block) = self.blocks.get_mut(block) {
            block.requests += 1;
            block.errors += u64::from(request.error);
            if let Some(ns) = request.duration_ns {
                block.sum_ms += ns as f64 / 1e6;
                block.durations.add(ns);
            }
        }
    }

    fn count(&mut self, more: &StatusCount) {
        if let Some(known) = self.statuses.iter_mut().find(|known| known.status == more.status) {
            known.errors += more.errors;
        } else if self.statuses.len() < MAX_STATUSES {
            self.statuses.push(more.clone());
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.incomplete += other.incomplete;
        if let Some((low, high)) = other.extremes {
            let (lowest, highest) = self.extremes.unwrap_or((low, high));
            self.extremes = Some((lowest.min(low), highest.max(high)));
        }
        for status in &other.statuses {
            self.count(status);
        }
        if self.blocks.len() < other.blocks.len() {
            self.blocks.resize_with(other.blocks.len(), Block::default);
        }
        for (block, more) in self.blocks.iter_mut().zip(&other.blocks) {
            *block += more;
        }
    }

    /// Makes one block of every two.
    pub(super) fn halve(&mut self) {
        let merge = |pair: &[Block]| {
            let mut merged = Block::default();
            for block in pair {
                merged += block;
            }
            merged
        };
        self.blocks = self.blocks.chunks(2).map(merge).collect();
    }

    /// Everything in one block.
    pub(super) fn whole(&self) -> Block {
        let mut whole = Block::default();
        for block in &self.blocks {
            whole += block;
        }
        whole
    }
}
