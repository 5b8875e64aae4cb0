//! The Arrow form of events and requests: column names, types and the conversions both ways.

pub mod columns;
pub mod events;
mod read;
pub mod requests;
mod words;

use std::fmt::{Display, Write as _};

use arrow::array::StringBuilder;

/// Appends the text of a value.
fn append_text(values: &mut StringBuilder, value: Option<impl Display>) {
    match value {
        Some(value) => {
            // Writing to a StringBuilder cannot fail; the empty value ends what was written.
            let _ = write!(values, "{value}");
            values.append_value("");
        }
        None => values.append_null(),
    }
}
