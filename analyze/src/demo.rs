//! A small capture that comes with the program, to try it without one: nginx as a proxy before a service that fails and
//! dawdles now and then.

use std::path::Path;

use beyla_schema::file::{Error, EventReader, Projection};
use bytes::Bytes;

/// What it is called where files have names.
pub const NAME: &str = "(demo)";

/// Recorded by `just record nginx-proxy`.
static CAPTURE: &[u8] = include_bytes!("../../fixtures/nginx-proxy/nginx-proxy.parquet");

/// Whether a path stands for it.
pub(crate) fn is_meant(path: &Path) -> bool {
    path == Path::new(NAME)
}

/// Opens it.
pub(crate) fn open(columns: Projection) -> Result<EventReader, Error> {
    EventReader::open(Bytes::from_static(CAPTURE), columns)
}
