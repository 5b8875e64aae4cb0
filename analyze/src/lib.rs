//! Offline analysis of capture files: the same engine as the live recorder, fed from Parquet.
//!
//! [`replay`] drives events from files through the engine into a consumer, of all requests or of a [`selection`]; everything
//! else is a consumer and what is made of it: the RED report ([`report`]), tables for SQL ([`sql`]), the formats of other
//! tools ([`export`]), and what route rules would make of the paths ([`routes`]). [`mod@validate`] checks files, [`filter`]
//! and [`mod@merge`] write them anew; [`stats`], [`columns`] and [`mod@cat`] show what they are made of. [`mod@diff`] compares
//! two runs, [`check`] asserts things of one, and [`verdict`] tells what came of either. The binary only turns its
//! arguments, and a file of [`config`], into calls of these.

pub mod cat;
pub mod check;
pub mod columns;
pub mod config;
pub mod demo;
pub mod diff;
pub mod export;
pub mod filter;
pub mod interrupt;
mod markdown;
pub mod merge;
mod output;
mod parts;
mod predicate;
pub mod progress;
pub mod replay;
pub mod report;
pub mod routes;
pub mod selection;
pub mod sql;
pub mod stats;
mod table;
mod units;
pub mod validate;
pub mod verdict;

use std::io;

use datafusion::error::DataFusionError;

/// Why an analysis could not be done. Every message is one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A capture file that cannot be read.
    #[error("{file}: {error}")]
    File {
        /// The file, as it was named.
        file: String,
        /// What is wrong with it.
        error: beyla_schema::file::Error,
    },
    /// A file that cannot be written.
    #[error("{file}: {reason}")]
    Output {
        /// The file, as it was named.
        file: String,
        /// Why not.
        reason: String,
    },
    /// A pattern of files that matches none.
    #[error("{pattern}: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A configuration that cannot be read or means nothing.
    #[error("{place}: {reason}")]
    Config {
        /// The file, as it was named, and the line.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// More output than anybody wants.
    #[error("{0}")]
    TooMuch(String),
    /// A query that cannot be parsed, planned or run.
    #[error("{}", one_line(&.0.strip_backtrace()))]
    Sql(#[from] DataFusionError),
    /// A query that met bytes the decoders of the Parquet library could not make sense of.
    #[error("the query stopped at data that cannot be decoded: {}", one_line(.0))]
    Undecodable(String),
    /// Requests that the library of a format cannot encode.
    #[error("the requests cannot be encoded: {}", one_line(.0))]
    Encode(String),
    /// The prompt failed.
    #[error("the prompt failed: {0}")]
    Prompt(String),
    /// The output failed. A closed pipe is no failure: the reader has seen enough.
    #[error("cannot write the output: {0}")]
    Write(#[from] io::Error),
}

/// CPU of rows that the recorder itself adds.
pub(crate) const RECORDER: u16 = u16::MAX;

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
