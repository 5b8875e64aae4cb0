//! The Arrow form of events and requests: column names, types and the conversions both ways.

pub mod columns;
pub mod events;
mod read;
pub mod requests;
mod words;

use std::fmt::{Display, Write as _};

use arrow::{
    array::{ArrayBuilder, BooleanBuilder, GenericByteBuilder, PrimitiveBuilder, StringBuilder},
    datatypes::{ArrowPrimitiveType, ByteArrayType},
};

/// A column that not every row has a value for.
trait Sparse: ArrayBuilder {
    /// Appends so many nulls.
    fn nulls(&mut self, count: usize);

    /// Appends nulls up to `row`. Not even none where none is missing: from the first on a bit is kept for every value.
    fn pad(&mut self, row: usize) {
        let missing = row - self.len();
        if missing > 0 {
            self.nulls(missing);
        }
    }
}

impl<T: ArrowPrimitiveType> Sparse for PrimitiveBuilder<T> {
    fn nulls(&mut self, count: usize) {
        self.append_nulls(count);
    }
}

impl<T: ByteArrayType> Sparse for GenericByteBuilder<T> {
    fn nulls(&mut self, count: usize) {
        self.append_nulls(count);
    }
}

impl Sparse for BooleanBuilder {
    fn nulls(&mut self, count: usize) {
        self.append_nulls(count);
    }
}

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
