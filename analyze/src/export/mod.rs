//! Requests in the formats of other tools: tables, spans, archives of HTTP, timelines, metrics, and scripts that send the
//! requests again.
//!
//! A format is an `Encoder`, in a file of its own: requests in as they end, bytes out at once, so that a file of any length
//! takes little memory. `docs/export.md` tells what each format has, and what it has not.

mod arrow;
mod csv;
mod curl;
mod har;
mod k6;
mod metrics;
mod ndjson;
mod otlp;
pub mod output;
mod parquet;
mod perfetto;
mod sides;
mod table;
mod target;
mod trace_lines;

use std::io::Write;

use beyla_engine::{
    Sink,
    prometheus::{MAX_SERIES, Names},
};
use beyla_schema::{
    arrow::requests::Source,
    file::Metadata,
    request::{Kind, Request},
};

use self::table::Rows;
pub use self::{
    metrics::{Metrics, Output, prometheus},
    target::{BaseUrl, BaseUrlError},
    trace_lines::traces,
};
use crate::{
    Error,
    replay::{Consumer, Input, Summary},
};

/// What the formats call this program.
const TOOL: &str = "beyla-analyze";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A format of another tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The table `requests` as Parquet.
    Parquet,
    /// The same as an Arrow IPC file.
    Arrow,
    /// The same as comma-separated values.
    Csv,
    /// The same as one JSON object a line.
    Ndjson,
    /// Spans as the OpenTelemetry Collector writes them to files in protobuf.
    Otlp,
    /// The same in JSON.
    OtlpJson,
    /// An HTTP archive.
    Har,
    /// A timeline.
    Perfetto,
    /// Metrics of the whole run.
    OpenMetrics,
    /// A shell script of one curl command per request.
    Curl,
    /// A script for k6.
    K6,
}

impl Format {
    /// Whether it is no text.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow | Self::Otlp | Self::Perfetto)
    }

    /// Whether it sends requests again.
    pub const fn is_script(self) -> bool {
        matches!(self, Self::Curl | Self::K6)
    }
}

/// How scripts send requests again.
#[derive(Clone, Debug)]
pub struct Again {
    /// Which requests: those that were served, or those that were made.
    pub kind: Kind,
    /// Where to; none for where they were sent.
    pub base_url: Option<BaseUrl>,
    /// How many times faster than they were recorded.
    pub speed: f64,
}

impl Default for Again {
    fn default() -> Self {
        Self { kind: Kind::Server, base_url: None, speed: 1.0 }
    }
}

/// A file that is exported, and what it says about itself.
struct Exported {
    name: String,
    metadata: Metadata,
}

/// One format: requests in, in the order they ended, and bytes out.
trait Encoder {
    /// What comes before any request.
    fn head(&mut self, files: &[Exported], out: &mut dyn Write) -> Result<(), Error> {
        let _ = (files, out);
        Ok(())
    }

    /// The next requests come from `source`.
    fn begin(&mut self, source: &Source, out: &mut dyn Write) -> Result<(), Error>;

    /// A request.
    fn request(&mut self, request: &Request<'_>, out: &mut dyn Write) -> Result<(), Error>;

    /// What comes after all of them.
    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error>;
}

/// Feeds an encoder, up to its first error.
struct Encoding<'a> {
    encoder: Box<dyn Encoder>,
    out: &'a mut dyn Write,
    result: Result<(), Error>,
}

impl Sink for Encoding<'_> {
    fn request(&mut self, request: &Request<'_>) {
        if self.result.is_ok() {
            self.result = self.encoder.request(request, self.out);
        }
    }
}

impl Consumer for Encoding<'_> {
    fn begin(&mut self, source: &Source) {
        if self.result.is_ok() {
            self.result = self.encoder.begin(source, self.out);
        }
    }

    fn stopped(&self) -> bool {
        self.result.is_err()
    }
}

/// Writes the requests of an input in this format, and says what the files held.
pub fn export(
    input: &Input,
    format: Format,
    again: &Again,
    out: &mut dyn Write,
    progress: bool,
) -> Result<Vec<Summary>, Error> {
    let files: Vec<_> = input
        .captures()?
        .iter()
        .map(|capture| Exported { name: capture.name().to_owned(), metadata: capture.metadata().clone() })
        .collect();
    let encoder: Box<dyn Encoder> = match format {
        Format::Parquet => Box::new(Rows::new(parquet::Sheet::new(&files)?)?),
        Format::Arrow => Box::new(Rows::new(arrow::Sheet::new(&files)?)?),
        Format::Csv => Box::new(Rows::new(csv::Sheet::default())?),
        Format::Ndjson => Box::new(Rows::new(ndjson::Sheet)?),
        Format::Otlp => Box::new(otlp::Batches::new(otlp::Encoding::Protobuf)),
        Format::OtlpJson => Box::new(otlp::Batches::new(otlp::Encoding::Json)),
        Format::Har => Box::new(har::Archive::default()),
        Format::Perfetto => Box::new(perfetto::Trace::default()),
        Format::Curl => Box::new(curl::Script::new(again.clone())),
        Format::K6 => Box::new(k6::Script::new(again.clone())),
        Format::OpenMetrics => {
            let (names, output) = (Names::Otel, Output::OpenMetrics);
            let metrics = Metrics { names, routes: true, max_series: MAX_SERIES, output };
            return prometheus(input, metrics, &mut &mut *out);
        }
    };
    let mut encoding = Encoding { encoder, out, result: Ok(()) };
    encoding.encoder.head(&files, encoding.out)?;
    let summaries = input.replay(&mut encoding, progress)?;
    encoding.result?;
    encoding.encoder.finish(encoding.out)?;
    Ok(summaries)
}
