//! The columns of the `requests` table and the builder that fills them from the engine's requests.
//!
//! Column names and order are a contract: SQL, exports and JSON lines call things by them.

mod value;

use std::{net::SocketAddr, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
        TimestampNanosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};

pub use value::{Getter, Value};

use super::append_text;
use crate::{
    event::{self, Clock},
    request::{Request, SpanId, TlsMatch, TlsVersion, TraceId},
};

/// A request and what is known of the file it came from.
#[derive(Clone, Copy)]
struct Row<'r> {
    request: &'r Request<'r>,
    source: &'r Source,
}

/// Where requests come from: the constant columns of a file.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Name of the input file.
    pub file: String,
    /// Host name of the capture.
    pub host: String,
    /// Turns event time into wall time.
    pub clock: Clock,
}

/// How a column's value is taken from a row.
#[derive(Clone, Copy)]
enum Get {
    Text(for<'r> fn(&Row<'r>) -> Option<&'r str>),
    Address(fn(&Row<'_>) -> Option<SocketAddr>),
    Trace(fn(&Row<'_>) -> Option<TraceId>),
    Span(fn(&Row<'_>) -> Option<SpanId>),
    Int(fn(&Row<'_>) -> Option<u64>),
    Bool(fn(&Row<'_>) -> bool),
    /// Monotonic nanoseconds, shown as wall time.
    Time(fn(&Row<'_>) -> Option<u64>),
    /// Nanoseconds, shown as milliseconds.
    Millis(fn(&Row<'_>) -> Option<u64>),
}

const COLUMNS: &[(&str, Get)] = &[
    ("file", Get::Text(|row| Some(&row.source.file))),
    ("host", Get::Text(|row| Some(&row.source.host))),
    ("service", Get::Text(|row| some_text(row.request.service))),
    ("pid", Get::Int(|row| some_id(row.request.pid.into()))),
    ("tid", Get::Int(|row| some_id(row.request.tid.into()))),
    ("goroutine", Get::Int(|row| some_id(row.request.goroutine))),
    ("kind", Get::Text(|row| Some(row.request.kind.name()))),
    ("protocol", Get::Text(|row| Some(row.request.protocol.name()))),
    ("tls", Get::Text(|row| row.request.tls.map(event::Source::name))),
    ("tls_match", Get::Text(|row| row.request.tls_match.map(TlsMatch::name))),
    ("tls_version", Get::Text(|row| row.request.tls_version.map(TlsVersion::name))),
    ("tls_server_name", Get::Text(|row| row.request.tls_server_name)),
    ("tls_alpn", Get::Text(|row| row.request.tls_alpn)),
    ("method", Get::Text(|row| row.request.method)),
    ("scheme", Get::Text(|row| row.request.scheme)),
    ("authority", Get::Text(|row| row.request.authority)),
    ("path", Get::Text(|row| row.request.path)),
    ("query", Get::Text(|row| row.request.query)),
    ("route", Get::Text(|row| row.request.route)),
    ("user_agent", Get::Text(|row| row.request.user_agent)),
    ("request_type", Get::Text(|row| row.request.request_type)),
    ("response_type", Get::Text(|row| row.request.response_type)),
    ("status", Get::Int(|row| row.request.status.map(u64::from))),
    ("rpc_service", Get::Text(|row| row.request.rpc_service)),
    ("rpc_method", Get::Text(|row| row.request.rpc_method)),
    ("rpc_status", Get::Int(|row| row.request.rpc_status.map(u64::from))),
    ("rpc_message", Get::Text(|row| row.request.rpc_message)),
    ("error", Get::Bool(|row| row.request.error)),
    ("span_status", Get::Text(|row| Some(row.request.span_status.name()))),
    ("start_time", Get::Time(|row| Some(row.request.start_ns))),
    ("end_time", Get::Time(|row| row.request.end_ns)),
    ("duration_ms", Get::Millis(|row| row.request.duration_ns)),
    ("service_ms", Get::Millis(|row| row.request.service_ns)),
    ("queue_ms", Get::Millis(|row| row.request.queue_ns)),
    ("handshake_ms", Get::Millis(|row| row.request.handshake_ns)),
    ("request_bytes", Get::Int(|row| row.request.request_bytes)),
    ("response_bytes", Get::Int(|row| row.request.response_bytes)),
    ("request_header_bytes", Get::Int(|row| row.request.request_header_bytes)),
    ("response_header_bytes", Get::Int(|row| row.request.response_header_bytes)),
    ("request_messages", Get::Int(|row| row.request.request_messages)),
    ("response_messages", Get::Int(|row| row.request.response_messages)),
    ("client_address", Get::Address(|row| row.request.client)),
    ("client_port", Get::Int(|row| row.request.client.map(|address| address.port().into()))),
    ("server_address", Get::Address(|row| row.request.server)),
    ("server_port", Get::Int(|row| row.request.server.map(|address| address.port().into()))),
    ("connection", Get::Int(|row| Some(row.request.connection))),
    ("stream", Get::Int(|row| row.request.stream.map(u64::from))),
    ("ordinal", Get::Int(|row| Some(row.request.ordinal))),
    ("trace_id", Get::Trace(|row| row.request.trace_id)),
    ("span_id", Get::Span(|row| row.request.span_id)),
    ("parent_id", Get::Span(|row| row.request.parent_id)),
    ("trace_state", Get::Text(|row| row.request.trace_state)),
    ("end_reason", Get::Text(|row| Some(row.request.end_reason.name()))),
];

fn some_text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn some_id(id: u64) -> Option<u64> {
    (id != 0).then_some(id)
}

impl Get {
    fn data_type(self) -> DataType {
        match self {
            Self::Text(_) | Self::Address(_) | Self::Trace(_) | Self::Span(_) => DataType::Utf8,
            Self::Int(_) => DataType::Int64,
            Self::Bool(_) => DataType::Boolean,
            Self::Time(_) => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            Self::Millis(_) => DataType::Float64,
        }
    }
}

/// The schema of the `requests` table.
pub fn schema() -> SchemaRef {
    let fields = COLUMNS.iter().map(|(name, get)| Field::new(*name, get.data_type(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

enum Column {
    Text(StringBuilder, for<'r> fn(&Row<'r>) -> Option<&'r str>),
    Address(StringBuilder, fn(&Row<'_>) -> Option<SocketAddr>),
    Trace(StringBuilder, fn(&Row<'_>) -> Option<TraceId>),
    Span(StringBuilder, fn(&Row<'_>) -> Option<SpanId>),
    Int(Int64Builder, fn(&Row<'_>) -> Option<u64>),
    Bool(BooleanBuilder, fn(&Row<'_>) -> bool),
    Time(TimestampNanosecondBuilder, fn(&Row<'_>) -> Option<u64>),
    Millis(Float64Builder, fn(&Row<'_>) -> Option<u64>),
}

impl Column {
    fn new(get: Get) -> Self {
        match get {
            Get::Text(get) => Self::Text(StringBuilder::new(), get),
            Get::Address(get) => Self::Address(StringBuilder::new(), get),
            Get::Trace(get) => Self::Trace(StringBuilder::new(), get),
            Get::Span(get) => Self::Span(StringBuilder::new(), get),
            Get::Int(get) => Self::Int(Int64Builder::new(), get),
            Get::Bool(get) => Self::Bool(BooleanBuilder::new(), get),
            Get::Time(get) => Self::Time(TimestampNanosecondBuilder::new().with_timezone("UTC"), get),
            Get::Millis(get) => Self::Millis(Float64Builder::new(), get),
        }
    }

    fn append(&mut self, row: &Row<'_>) {
        match self {
            Self::Text(values, get) => values.append_option(get(row)),
            Self::Address(values, get) => append_text(values, get(row).map(|address| address.ip())),
            Self::Trace(values, get) => append_text(values, get(row)),
            Self::Span(values, get) => append_text(values, get(row)),
            Self::Int(values, get) => values.append_option(get(row).map(|value| value as i64)),
            Self::Bool(values, get) => values.append_value(get(row)),
            Self::Time(values, get) => {
                values.append_option(get(row).map(|ns| row.source.clock.wall_ns(ns)));
            }
            Self::Millis(values, get) => {
                values.append_option(get(row).map(|ns| ns as f64 / 1e6));
            }
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(values, _)
            | Self::Address(values, _)
            | Self::Trace(values, _)
            | Self::Span(values, _) => Arc::new(values.finish()),
            Self::Int(values, _) => Arc::new(values.finish()),
            Self::Bool(values, _) => Arc::new(values.finish()),
            Self::Time(values, _) => Arc::new(values.finish()),
            Self::Millis(values, _) => Arc::new(values.finish()),
        }
    }
}

/// Collects requests into record batches, only the columns asked for.
pub struct Builder {
    schema: SchemaRef,
    source: Source,
    columns: Vec<Column>,
    rows: usize,
}

impl Builder {
    /// A builder of the columns numbered in `projection`, in its order; of all when there is none.
    ///
    /// Numbers that are no column of [`schema`] are an error.
    pub fn new(source: Source, projection: Option<&[usize]>) -> Result<Self, ArrowError> {
        let schema = schema();
        let (schema, columns) = match projection {
            None => (schema, COLUMNS.iter().map(|(_, get)| Column::new(*get)).collect()),
            Some(projection) => (
                Arc::new(schema.project(projection)?),
                projection.iter().map(|&index| Column::new(COLUMNS[index].1)).collect(),
            ),
        };
        Ok(Self { schema, source, columns, rows: 0 })
    }

    /// Requests collected since the last [`finish`](Self::finish).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a request.
    pub fn append(&mut self, request: &Request<'_>) {
        let row = Row { request, source: &self.source };
        for column in &mut self.columns {
            column.append(&row);
        }
        self.rows += 1;
    }

    /// Hands out what was collected and begins anew.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::AsArray, datatypes::Int64Type};

    use super::*;
    use crate::request::{EndReason, Kind};

    fn request() -> Request<'static> {
        Request {
            service: "shop",
            pid: 7,
            tid: 8,
            goroutine: 9,
            method: Some("GET"),
            scheme: Some("http"),
            authority: Some("localhost:8080"),
            path: Some("/a"),
            route: Some("/a"),
            user_agent: Some("curl/8"),
            status: Some(200),
            end_ns: Some(1_500_005),
            duration_ns: Some(1_500_000),
            service_ns: Some(1_500_000),
            request_bytes: Some(0),
            response_bytes: Some(3),
            request_header_bytes: Some(80),
            response_header_bytes: Some(90),
            client: Some(([127, 0, 0, 1], 5000).into()),
            server: Some(([127, 0, 0, 1], 8080).into()),
            connection: 42,
            trace_id: Some(TraceId([0xab; 16])),
            span_id: Some(SpanId([1; 8])),
            ended_ns: 1_500_005,
            ..Request::begun(Kind::Server, 5, EndReason::Response)
        }
    }

    #[test]
    fn all_columns_are_filled_by_name() {
        let source = Source { file: "f".into(), host: "h".into(), clock: Clock { offset_ns: 100 } };
        let mut builder = Builder::new(source, None).unwrap();
        builder.append(&request());
        let batch = builder.finish().unwrap();
        assert_eq!(batch.schema(), schema());
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
        assert_eq!((text("service"), text("client_address")), ("shop".into(), "127.0.0.1".into()));
        assert_eq!((text("trace_id"), text("span_id")), ("ab".repeat(16), "01".repeat(8)));
        let int = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
        assert_eq!((int("status"), int("server_port"), int("connection")), (200, 8080, 42));
        assert_eq!(batch.column_by_name("queue_ms").unwrap().null_count(), 1);
    }

    #[test]
    fn projection_keeps_its_order_and_the_row_count() {
        let names = |projection: &[usize]| {
            let mut builder = Builder::new(Source::default(), Some(projection)).unwrap();
            builder.append(&request());
            builder.append(&request());
            let batch = builder.finish().unwrap();
            let names = batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
            (names, batch.num_rows())
        };
        assert_eq!(names(&[13, 2]), (vec!["method".to_owned(), "service".to_owned()], 2));
        assert_eq!(names(&[]), (vec![], 2));
        assert!(Builder::new(Source::default(), Some(&[COLUMNS.len()])).is_err());
    }
}
