//! The Parquet form of a capture: one row per event, and what is known of the capture as a whole in the
//! file's key-value metadata. `docs/format.md` is the contract; [`VERSION`] its number.
//!
//! [`EventWriter`] writes such a file; [`JournaledWriter`] writes one that can be read at any moment, whatever
//! becomes of its writer; [`EventReader`] reads both, and a [`Follower`] what is added to it.

mod decoder;
mod follow;
mod footer;
mod input;
mod journal;
mod journaled;
mod layout;
mod metadata;
mod names;
mod reader;
mod record;
mod writer;

pub use follow::{Follower, Progress};
pub use input::ReadAt;
pub use journaled::JournaledWriter;
pub use layout::{ColumnSize, Layout};
pub use metadata::{
    ClockSample, Cost, Filtered, Host, Merged, Metadata, Probe, ProgramCost, VERSION, Version,
};
pub use names::Names;
pub use reader::{EventReader, Projection};
pub use record::{decode, encode};
pub use writer::{EventWriter, ROW_GROUP_BYTES, ROW_GROUP_ROWS};

use std::path::PathBuf;

/// Key of the capture's metadata in the file: a JSON object, a [`Metadata`].
pub const METADATA_KEY: &str = "beyla.capture";

/// What can be wrong with a file. Callers know its name and add it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first bytes are not Parquet's.
    #[error("not a Parquet file")]
    NotParquet,
    /// The first bytes are Parquet's, the last ones are not.
    #[error("cut short: the file has no footer, so the capture was not finished or the copy is incomplete")]
    Truncated,
    /// A Parquet file of somebody else.
    #[error("a Parquet file, but not one written by beyla-capture (no `{METADATA_KEY}` in its metadata)")]
    NotOurs,
    /// Our metadata, damaged.
    #[error("the capture's metadata cannot be read: {0}")]
    Metadata(#[source] serde_json::Error),
    /// Written by a later program.
    #[error(
        "written with schema version {theirs}, this program reads up to {VERSION}: use a newer beyla-analyze"
    )]
    NewerVersion {
        /// Version of the file.
        theirs: Version,
    },
    /// Bytes that the decoder of the Parquet library could not make sense of.
    #[error("damaged: the rows from {row} on cannot be decoded")]
    Damaged {
        /// The first row that could not be decoded.
        row: u64,
    },
    /// An unfinished file or its journal cannot be what a capture left.
    #[error("byte {offset}: {reason}")]
    Unfinished {
        /// Where.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The same, of the file named.
    #[error("{}: {error}", file.display())]
    In {
        /// Its name.
        file: PathBuf,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// A column we need is missing.
    #[error("column `{0}` is missing")]
    MissingColumn(String),
    /// A row that cannot be.
    #[error("row {row}: {reason}")]
    Row {
        /// Number of the row in the file, from 0.
        row: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Parquet's own complaint.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Arrow's own complaint.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// The operating system's.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
