//! The data of the page as JSON: the head, the exact tables of the report, who calls whom, and the cube that is filtered.
//! `cube.js` reads it; nothing else does, so it may change with the page.

use beyla_engine::{
    graph::Call,
    red::{Row, Side},
};
use beyla_schema::request::Kind;
use serde::Serialize;

use super::{
    Page,
    cube::{Cell, Cube, MAX_GROUPS},
    histogram::STEPS,
    names::{Class, Name},
};
use crate::{
    replay::Summary,
    report::head::{Fact, facts},
};

/// Rows of an exact table, and calls: what a page can show.
const MAX_ROWS: usize = 1_000;

/// Everything that the page shows.
#[derive(Serialize)]
pub(super) struct Document<'p> {
    version: &'static str,
    complete: bool,
    files: Vec<File<'p>>,
    requests: u64,
    /// From the start of the first request to the end of the last one; null without requests.
    seconds: Option<f64>,
    /// Steps of the histograms for each power of two.
    steps: u32,
    time: Option<Time>,
    limits: Limits,
    texts: Vec<&'p str>,
    sides: Sides<'p>,
    calls: &'p [Call],
    calls_left_out: usize,
}

#[derive(Serialize)]
struct File<'p> {
    name: &'p str,
    complete: bool,
    events: u64,
    lost: u64,
    facts: Vec<Fact>,
}

/// The buckets of time.
#[derive(Serialize)]
struct Time {
    /// Seconds since 1970.
    begins: f64,
    /// Width of a bucket, seconds.
    bucket: f64,
    buckets: i64,
}

#[derive(Serialize)]
struct Limits {
    groups: usize,
    /// Requests that are in groups without a name.
    unnamed: u64,
}

#[derive(Serialize)]
struct Sides<'p> {
    inbound: Option<Direction<'p>>,
    outbound: Option<Direction<'p>>,
}

/// One direction: the figures of the text report, and the groups they can be filtered by.
#[derive(Serialize)]
struct Direction<'p> {
    total: &'p Row,
    by_service: Exact<'p>,
    by_route: Exact<'p>,
    by_status: Exact<'p>,
    groups: Vec<Written<'p>>,
}

/// The first rows of a table.
#[derive(Serialize)]
struct Exact<'p> {
    rows: &'p [Row],
    left_out: usize,
}

impl<'p> Exact<'p> {
    fn of(rows: &'p [Row]) -> Self {
        let (rows, rest) = first(rows);
        Self { rows, left_out: rest }
    }
}

/// A group of the cube. Texts are places in the list of them.
#[derive(Serialize)]
struct Written<'p> {
    /// Null: counted by class alone.
    name: Option<Known>,
    class: Class,
    cells: Vec<Cell<'p>>,
}

#[derive(Serialize)]
struct Known {
    service: u32,
    method: Option<u32>,
    route: Option<u32>,
    status: Option<u16>,
    rpc_status: Option<u32>,
    grpc: bool,
}

/// The first [`MAX_ROWS`] of `all`, and how many there are after them.
fn first<T>(all: &[T]) -> (&[T], usize) {
    all.split_at_checked(MAX_ROWS).map_or((all, 0), |(first, rest)| (first, rest.len()))
}

impl<'p> Document<'p> {
    pub(super) fn of(page: &'p Page) -> Self {
        let Page { report, cube } = page;
        let red = &report.red;
        let (calls, calls_left_out) = first(&report.calls);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            complete: report.files.iter().all(Summary::complete),
            files: report.files.iter().map(File::of).collect(),
            requests: red.requests,
            seconds: red
                .first_ns
                .zip(red.last_ns)
                .map(|(first, last)| last.saturating_sub(first) as f64 / 1e9),
            steps: STEPS,
            time: cube.first_ns().map(|first| Time {
                begins: first as f64 / 1e9,
                bucket: cube.bucket_ns() as f64 / 1e9,
                buckets: cube.buckets(),
            }),
            limits: Limits { groups: MAX_GROUPS, unnamed: cube.unnamed() },
            texts: cube.texts(),
            sides: Sides {
                inbound: red.inbound.as_ref().map(|side| Direction::of(Kind::Server, side, cube)),
                outbound: red.outbound.as_ref().map(|side| Direction::of(Kind::Client, side, cube)),
            },
            calls,
            calls_left_out,
        }
    }
}

impl<'p> File<'p> {
    fn of(summary: &'p Summary) -> Self {
        Self {
            name: &summary.file,
            complete: summary.complete(),
            events: summary.stats.events,
            lost: summary.lost(),
            facts: facts(summary),
        }
    }
}

impl<'p> Direction<'p> {
    fn of(direction: Kind, side: &'p Side, cube: &'p Cube) -> Self {
        let groups = cube.groups().iter().filter_map(|group| {
            let (kind, name) = match group.name {
                Name::Known { kind, service, method, route, status, rpc_status, grpc } => {
                    (kind, Some(Known { service, method, route, status, rpc_status, grpc }))
                }
                Name::Rest { kind, .. } => (kind, None),
            };
            let written = || Written { name, class: group.class, cells: cube.cells(group).collect() };
            (kind == direction).then(written)
        });
        Self {
            total: &side.total,
            by_service: Exact::of(&side.by_service),
            by_route: Exact::of(&side.by_route),
            by_status: Exact::of(&side.by_status),
            groups: groups.collect(),
        }
    }
}
