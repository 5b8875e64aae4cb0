//! Single values of the columns of a request, for filters that look at a request before a row is made of it.

use arrow::datatypes::DataType;

use super::{COLUMNS, Get, Row, Source};
use crate::request::Request;

/// A value as the table has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'r> {
    /// Of a text column.
    Text(&'r str),
    /// Of a bigint column.
    Int(i64),
    /// Of a boolean column.
    Bool(bool),
    /// Of a timestamp column: nanoseconds since 1970 in UTC.
    Time(i64),
    /// Of a double column.
    Double(f64),
}

/// Takes the value of one column from requests, where that takes no more than a look: addresses and ids would have to be
/// written as text first.
#[derive(Clone, Copy)]
pub struct Getter(Get);

impl Getter {
    /// Of the column called `name`. None when there is none, or when its values have to be written first.
    pub fn of(name: &str) -> Option<Self> {
        let (_, get) = COLUMNS.iter().find(|(column, _)| *column == name)?;
        let written = matches!(get, Get::Address(_) | Get::Trace(_) | Get::Span(_));
        (!written).then_some(Self(*get))
    }

    /// The Arrow type of the column.
    pub fn data_type(self) -> DataType {
        self.0.data_type()
    }

    /// The value of a request of `source`; none where the table has null.
    pub fn get<'r>(self, request: &'r Request<'r>, source: &'r Source) -> Option<Value<'r>> {
        let row = Row { request, source };
        match self.0 {
            Get::Text(get) => get(&row).map(Value::Text),
            Get::Int(get) => get(&row).map(|value| Value::Int(value as i64)),
            Get::Bool(get) => Some(Value::Bool(get(&row))),
            Get::Time(get) => get(&row).map(|ns| Value::Time(source.clock.wall_ns(ns))),
            Get::Millis(get) => get(&row).map(|ns| Value::Double(ns as f64 / 1e6)),
            Get::Address(_) | Get::Trace(_) | Get::Span(_) => None,
        }
    }
}
