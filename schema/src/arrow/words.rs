//! Columns of few fixed words: written as dictionaries of constant values, read back as enumerations.

use std::{marker::PhantomData, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, DictionaryArray, RecordBatch, StringArray, UInt8Builder},
    buffer::{NullBuffer, ScalarBuffer},
    datatypes::{DataType, UInt8Type},
    error::ArrowError,
};

use super::{
    Sparse as _,
    read::{column, is_null, nulls},
};

/// The Arrow type of such a column.
pub(super) fn data_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::Utf8))
}

/// Collects the values of one column. The words of `T` are numbered by their place in `all`.
pub(super) struct WordsBuilder<T> {
    keys: UInt8Builder,
    words: ArrayRef,
    of: PhantomData<T>,
}

impl<T: Copy> WordsBuilder<T> {
    pub(super) fn new(all: &[T], name: fn(T) -> &'static str) -> Self {
        Self {
            keys: UInt8Builder::new(),
            words: Arc::new(StringArray::from_iter_values(all.iter().map(|&word| name(word)))),
            of: PhantomData,
        }
    }

    /// Appends the word numbered `key`: the discriminant of a field-less enumeration whose `ALL` is in
    /// declaration order.
    pub(super) fn append(&mut self, key: u8) {
        self.keys.append_value(key);
    }

    /// Sets the word of `row`, which lies behind all words so far; there are nulls in between.
    pub(super) fn set(&mut self, row: usize, key: u8) {
        self.keys.pad(row);
        self.keys.append_value(key);
    }

    /// Hands out a column of `rows`, with nulls behind the last word.
    pub(super) fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.keys.pad(rows);
        let keys = self.keys.finish();
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::clone(&self.words))?))
    }
}

/// One column of a batch, its dictionary translated once. Empty when it has no values.
pub(super) struct Words<T> {
    keys: ScalarBuffer<u8>,
    nulls: Option<NullBuffer>,
    values: Vec<Option<T>>,
}

impl<T: Copy> Words<T> {
    /// Reads column `name`; a column the batch lacks has no values.
    pub(super) fn read(
        batch: &RecordBatch,
        name: &str,
        from_name: fn(&str) -> Option<T>,
    ) -> Result<Self, ArrowError> {
        let Some(column) = column(batch, name, &data_type())? else {
            return Ok(Self { keys: Vec::new().into(), nulls: None, values: Vec::new() });
        };
        let dictionary = column.as_dictionary::<UInt8Type>();
        let words = dictionary.values().as_string::<i32>();
        Ok(Self {
            keys: dictionary.keys().values().clone(),
            nulls: nulls(dictionary.keys()),
            values: words.iter().map(|word| word.and_then(from_name)).collect(),
        })
    }

    /// The value in `row`: None when null, or a word we do not know.
    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<T> {
        let key = self.keys.get(row).filter(|_| !is_null(self.nulls.as_ref(), row))?;
        self.values.get(usize::from(*key)).copied().flatten()
    }
}
