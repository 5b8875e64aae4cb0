//! The table `requests`, batch by batch: what Parquet, Arrow, CSV and NDJSON have in common.

use std::io::{self, Write};

use arrow::{array::RecordBatch, error::ArrowError};
use beyla_schema::{
    arrow::requests::{Builder, Source},
    request::Request,
};
use serde::Serialize;

use super::{Encoder, Exported, TOOL, VERSION};
use crate::Error;

/// Rows of a batch.
const BATCH_ROWS: usize = 8 * 1024;

/// Bytes of a batch's longest texts: one request can have a path of many kilobytes.
const BATCH_BYTES: usize = 16 << 20;

/// A format of tables.
pub(super) trait Sheet {
    /// Adds a batch.
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Error>;

    /// Ends the table.
    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error>;
}

/// Makes batches of requests.
pub(super) struct Rows<S> {
    builder: Builder,
    bytes: usize,
    sheet: S,
}

impl<S: Sheet> Rows<S> {
    pub(super) fn new(sheet: S) -> Result<Self, Error> {
        let builder = Builder::new(Source::default(), None).map_err(failed)?;
        Ok(Self { builder, bytes: 0, sheet })
    }

    fn flush(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        if self.builder.rows() == 0 {
            return Ok(());
        }
        self.bytes = 0;
        self.sheet.write(&self.builder.finish().map_err(failed)?, out)
    }
}

impl<S: Sheet> Encoder for Rows<S> {
    fn begin(&mut self, source: &Source, out: &mut dyn Write) -> Result<(), Error> {
        self.flush(out)?;
        self.builder = Builder::new(source.clone(), None).map_err(failed)?;
        Ok(())
    }

    fn request(&mut self, request: &Request<'_>, out: &mut dyn Write) -> Result<(), Error> {
        self.builder.append(request);
        self.bytes += longest_texts(request);
        if self.builder.rows() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush(out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        self.flush(out)?;
        self.sheet.finish(out)
    }
}

/// Bytes of the texts whose length the network decides.
fn longest_texts(request: &Request<'_>) -> usize {
    let texts = [
        request.method,
        request.authority,
        request.path,
        request.query,
        request.route,
        request.user_agent,
        request.request_type,
        request.response_type,
        request.rpc_message,
        request.trace_state,
    ];
    texts.into_iter().flatten().map(str::len).sum()
}

/// What a file says about itself: what it holds, what wrote it, and what it was made of.
pub(super) fn description(files: &[Exported]) -> Result<[(String, String); 3], Error> {
    #[derive(Serialize)]
    struct Made<'a> {
        file: &'a str,
        host: &'a str,
        capture_id: &'a str,
        part: Option<u32>,
    }
    let made = |Exported { name, metadata }: &'_ Exported| -> Result<String, Error> {
        let made = Made {
            file: name,
            host: &metadata.host.name,
            capture_id: &metadata.capture_id,
            part: metadata.part,
        };
        Ok(serde_json::to_string(&made).map_err(io::Error::from)?)
    };
    let inputs = files.iter().map(made).collect::<Result<Vec<_>, _>>()?;
    Ok([
        ("beyla.table".to_owned(), "requests".to_owned()),
        ("beyla.tool".to_owned(), format!("{TOOL} {VERSION}")),
        ("beyla.inputs".to_owned(), format!("[{}]", inputs.join(","))),
    ])
}

/// An error of the library that encodes.
pub(super) fn failed(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) => Error::Write(error),
        other => Error::Encode(other.to_string()),
    }
}
