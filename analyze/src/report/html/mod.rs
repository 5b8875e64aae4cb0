//! The report as one page for a browser, that needs no network and no other file: the figures of the text report, charts
//! over time, distributions, and filters that all of them follow.
//!
//! Requests are counted in a `cube` of bounded size while they are replayed; `document` makes data of it, which the
//! scripts of the `page` filter and draw.

mod cube;
mod document;
mod histogram;
mod names;
mod page;

use beyla_engine::{Sink, route::Signal};
use beyla_schema::{arrow::requests::Source, request::Request};

use self::{cube::Cube, document::Document};
use super::{Report, WallTime};
use crate::{
    Error,
    replay::{Consumer, Input},
};

/// What a page shows.
#[derive(Debug)]
pub struct Page {
    /// The figures of the text report, exact.
    pub report: Report,
    cube: Cube,
}

/// Replays captures into a page.
pub fn build(input: &Input) -> Result<Page, Error> {
    let mut both = Both::default();
    let files = input.replay(&mut both, true)?;
    let Both { wall, cube } = both;
    // The page orders routes itself.
    Ok(Page { report: wall.report(files, 0), cube })
}

/// The page as HTML.
pub fn render(page: &Page) -> String {
    page::page(&Document::of(page))
}

/// Hands requests to the report and to the cube.
#[derive(Default)]
struct Both {
    wall: WallTime,
    cube: Cube,
}

impl Sink for Both {
    fn request(&mut self, request: &Request<'_>) {
        self.cube.add(request, self.wall.clock.wall_ns(request.start_ns));
        self.wall.request(request);
    }
}

impl Consumer for Both {
    fn begin(&mut self, source: &Source) {
        self.wall.begin(source);
    }

    fn signal(&self) -> Signal {
        self.wall.signal()
    }
}
