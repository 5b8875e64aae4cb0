//! `body_text(bytes [, n])`: payloads for people.

use std::{fmt::Write as _, sync::Arc};

use arrow::{
    array::{AsArray, StringBuilder},
    datatypes::DataType,
};
use datafusion::{
    common::{ScalarValue, exec_err, plan_err},
    error::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct BodyText {
    signature: Signature,
    aliases: [String; 1],
}

impl BodyText {
    pub(super) fn new() -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { signature, aliases: ["text".to_owned()] }
    }
}

impl ScalarUDFImpl for BodyText {
    fn name(&self) -> &'static str {
        "body_text"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments.len() {
            1 => Ok(vec![DataType::Binary]),
            2 => Ok(vec![DataType::Binary, DataType::Int64]),
            _ => plan_err!("it is called as body_text(payload) or body_text(payload, 200)"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let limit = match call.args.get(1) {
            None => usize::MAX,
            Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(limit)))) => {
                usize::try_from(*limit).unwrap_or(0)
            }
            Some(_) => return exec_err!("body_text: the number of bytes is the same for all rows"),
        };
        let Some(values) = call.args.first() else { return exec_err!("body_text: there are no bytes") };
        let values = values.to_array(call.number_rows)?;
        let mut texts = StringBuilder::new();
        for bytes in values.as_binary::<i32>() {
            texts.append_option(bytes.map(|bytes| text(bytes.get(..limit).unwrap_or(bytes))));
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}

/// Bytes as text on one line. Two different ones never look the same: backslashes are doubled, control characters and what
/// is no UTF-8 are escaped.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_control() || char == '\\' {
                text.extend(char.escape_default());
            } else {
                text.push(char);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_on_one_line() {
        assert_eq!(text(b"GET / HTTP/1.1\r\n\r\n"), "GET / HTTP/1.1\\r\\n\\r\\n");
        assert_eq!(text("é\\n".as_bytes()), "é\\\\n");
        assert_eq!(text(b"\x00a\xff\xc3"), "\\u{0}a\\xff\\xc3");
    }
}
