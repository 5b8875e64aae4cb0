//! Columns of tables that are made of the events: how each value is taken from what a row is made of.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
        TimestampNanosecondArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};

use crate::sql::scan::Asked;

/// How a column takes its value from an `R`.
pub(super) enum Get<R: 'static> {
    Text(for<'r> fn(&'r R) -> Option<Cow<'r, str>>),
    Int(fn(&R) -> Option<u64>),
    Bool(fn(&R) -> Option<bool>),
    /// Nanoseconds since 1970 in UTC.
    Time(fn(&R) -> Option<i64>),
    /// Nanoseconds, shown as milliseconds.
    Millis(fn(&R) -> Option<u64>),
}

/// The columns of a table, by name.
pub(super) type Columns<R> = [(&'static str, Get<R>)];

/// Their schema.
pub(super) fn schema<R>(columns: &Columns<R>) -> SchemaRef {
    let fields = columns.iter().map(|(name, get)| Field::new(*name, data_type(get), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn data_type<R>(get: &Get<R>) -> DataType {
    match get {
        Get::Text(_) => DataType::Utf8,
        Get::Int(_) => DataType::Int64,
        Get::Bool(_) => DataType::Boolean,
        Get::Time(_) => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        Get::Millis(_) => DataType::Float64,
    }
}

/// The columns asked for, of `rows`.
pub(super) fn batch<R>(columns: &Columns<R>, asked: &Asked, rows: &[R]) -> Result<RecordBatch, ArrowError> {
    let array = |get: &Get<R>| -> ArrayRef {
        match get {
            Get::Text(get) => Arc::new(rows.iter().map(get).collect::<StringArray>()),
            Get::Int(get) => {
                Arc::new(rows.iter().map(|row| get(row).map(|value| value as i64)).collect::<Int64Array>())
            }
            Get::Bool(get) => Arc::new(rows.iter().map(get).collect::<BooleanArray>()),
            Get::Time(get) => {
                let times = rows.iter().map(get).collect::<TimestampNanosecondArray>();
                Arc::new(times.with_timezone("UTC"))
            }
            Get::Millis(get) => {
                Arc::new(rows.iter().map(|row| get(row).map(|ns| ns as f64 / 1e6)).collect::<Float64Array>())
            }
        }
    };
    let arrays = match &asked.projection {
        None => columns.iter().map(|(_, get)| array(get)).collect(),
        Some(numbers) => {
            let columns = numbers.iter().filter_map(|&number| columns.get(number));
            columns.map(|(_, get)| array(get)).collect()
        }
    };
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::clone(&asked.schema), arrays, &options)
}
