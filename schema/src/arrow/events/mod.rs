//! The columns of an event file: the builder that fills them, and the view that reads events back without
//! copying their bytes. `docs/format.md` tells the meaning of every column.

mod batch;
mod builder;

pub use batch::EventBatch;
pub use builder::Builder;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::words;
use crate::event::names;

/// The kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Open,
    Data,
    Close,
    Listen,
    Process,
    Loss,
    Seen,
    End,
}

names!(Kind {
    Open = "open",
    Data = "data",
    Close = "close",
    Listen = "listen",
    Process = "process",
    Loss = "loss",
    Seen = "seen",
    End = "end",
});

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let required = |name: &str, data_type: DataType| Field::new(name, data_type, false);
    let optional = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        required("kind", words::data_type()),
        required("time", time.clone()),
        required("ts_ns", DataType::UInt64),
        required("cpu", DataType::UInt16),
        required("seq", DataType::UInt64),
        optional("pid", DataType::UInt32),
        optional("tid", DataType::UInt32),
        optional("connection", DataType::UInt64),
        optional("action", DataType::Utf8),
        optional("direction", words::data_type()),
        optional("source", words::data_type()),
        optional("call", words::data_type()),
        optional("position", DataType::UInt64),
        optional("ready_ns", DataType::UInt64),
        optional("goroutine", DataType::UInt64),
        optional("length", DataType::UInt32),
        optional("captured", DataType::UInt32),
        optional("payload", DataType::Binary),
        optional("tail", DataType::Binary),
        optional("transport", words::data_type()),
        optional("local_address", DataType::Utf8),
        optional("local_port", DataType::UInt16),
        optional("remote_address", DataType::Utf8),
        optional("remote_port", DataType::UInt16),
        optional("received", DataType::UInt64),
        optional("sent", DataType::UInt64),
        optional("parent", DataType::UInt32),
        optional("executable", DataType::Utf8),
        optional("service", DataType::Utf8),
        optional("started", time),
        optional("command_line", DataType::Utf8),
        optional("cgroup", DataType::Utf8),
        optional("container", DataType::Utf8),
        optional("runtime", DataType::Utf8),
        optional("cause", DataType::Utf8),
        optional("count", DataType::UInt64),
        optional("carried", DataType::Boolean),
    ]))
});

/// The columns that pairing does not need; a replay leaves them undecoded.
pub const NOT_FOR_PAIRING: &[&str] = &[
    "time",
    "captured",
    "parent",
    "executable",
    "started",
    "command_line",
    "cgroup",
    "container",
    "runtime",
];

/// The columns that tell nothing about a capture as a whole.
pub const NOT_FOR_FACTS: &[&str] =
    &["time", "tid", "ready_ns", "goroutine", "payload", "tail", "parent", "command_line"];

/// The schema of an event file.
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}
