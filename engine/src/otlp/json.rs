//! How the JSON encoding of OTLP differs from what it would be by default: ids are hexadecimal, numbers of 64 bits are
//! texts, enumerations are numbers, and what is not set is left out.

use std::fmt::{Display, Write as _};

use serde::Serializer;

/// Bytes of an id as hexadecimal digits.
pub(super) fn hex<S: Serializer>(id: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut digits = String::new();
    for byte in id.as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    serializer.serialize_str(&digits)
}

/// A number as a text.
pub(super) fn text<S: Serializer>(number: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// Whether an enumeration has the value that stands for none.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
pub(super) fn is_zero(number: &i32) -> bool {
    *number == 0
}
