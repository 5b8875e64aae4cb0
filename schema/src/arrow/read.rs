//! Columns of a batch as events are read from them: looked up and converted once for all rows, so that a value is no more
//! than a look into memory.

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, RecordBatch, StringArray},
    buffer::{BooleanBuffer, NullBuffer, ScalarBuffer},
    compute::cast,
    datatypes::DataType,
    error::ArrowError,
};

/// The column called `name` as `data_type`. None when the batch lacks it or it has nothing but nulls.
pub(super) fn column(
    batch: &RecordBatch,
    name: &str,
    data_type: &DataType,
) -> Result<Option<ArrayRef>, ArrowError> {
    let column = batch.column_by_name(name).map(|column| cast(column, data_type)).transpose()?;
    Ok(column.filter(|column| column.null_count() < column.len()))
}

/// Which rows have no value; none when all have one.
pub(super) fn nulls(column: &dyn Array) -> Option<NullBuffer> {
    column.nulls().filter(|nulls| nulls.null_count() > 0).cloned()
}

/// Whether there is no value in `row`.
#[inline]
pub(super) fn is_null(nulls: Option<&NullBuffer>, row: usize) -> bool {
    nulls.is_some_and(|nulls| nulls.is_null(row))
}

/// A column of numbers, empty when there are none.
pub(super) struct Numbers<T: ArrowPrimitiveType> {
    values: ScalarBuffer<T::Native>,
    nulls: Option<NullBuffer>,
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    pub(super) fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        let Some(column) = column(batch, name, &T::DATA_TYPE)? else {
            return Ok(Self { values: Vec::new().into(), nulls: None });
        };
        Ok(Self { values: column.as_primitive::<T>().values().clone(), nulls: nulls(&column) })
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<T::Native> {
        self.values.get(row).copied().filter(|_| !is_null(self.nulls.as_ref(), row))
    }
}

/// A column of texts.
pub(super) struct Texts(Option<StringArray>);

impl Texts {
    pub(super) fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        Ok(Self(column(batch, name, &DataType::Utf8)?.map(|column| column.as_string().clone())))
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<&str> {
        self.0.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row))
    }
}

/// A column of bytes: null is none.
pub(super) struct Bytes(Option<BinaryArray>);

impl Bytes {
    pub(super) fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        Ok(Self(column(batch, name, &DataType::Binary)?.map(|column| column.as_binary().clone())))
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> &[u8] {
        self.0.as_ref().filter(|column| column.is_valid(row)).map_or(&[], |column| column.value(row))
    }
}

/// A column of flags: null is false.
pub(super) struct Flags(Option<BooleanBuffer>);

impl Flags {
    pub(super) fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        let column = column(batch, name, &DataType::Boolean)?;
        Ok(Self(column.map(|column| match nulls(&column) {
            Some(nulls) => column.as_boolean().values() & nulls.inner(),
            None => column.as_boolean().values().clone(),
        })))
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> bool {
        self.0.as_ref().is_some_and(|flags| flags.value(row))
    }
}
