//! The context of a trace (W3C Trace Context): what `traceparent` says.

use beyla_schema::request::{SpanId, TraceId};

/// The trace id and the parent id of a `traceparent` field (W3C Trace Context section 3.2). None where the field is to be
/// ignored: an id of zeros, upper case, a length that its version does not have.
pub(crate) fn context(value: &[u8]) -> Option<(TraceId, SpanId)> {
    let (version, rest) = value.split_first_chunk::<2>()?;
    let (trace, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<32>()?;
    let (parent, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<16>()?;
    let (flags, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<2>()?;
    let [version] = hex::<1>(version)?;
    hex::<1>(flags)?;
    // Later versions may add fields after a dash; version 00 ends here, and ff is none.
    let ends = match version {
        0x00 => rest.is_empty(),
        0xff => false,
        _ => matches!(rest, [] | [b'-', ..]),
    };
    let (trace, parent) = (hex::<16>(trace)?, hex::<8>(parent)?);
    (ends && trace != [0; 16] && parent != [0; 8]).then_some((TraceId(trace), SpanId(parent)))
}

/// Bytes of lower-case hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_rules_allow_is_a_context() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (trace, parent) = context(good.as_bytes()).unwrap();
        assert_eq!(trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.to_string(), "b7ad6b7169203331");
        for later in
            ["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", &good.replacen("00", "01", 1)]
        {
            assert_eq!(context(later.as_bytes()), Some((trace, parent)), "{later}");
        }
        for bad in [
            "",
            "00",
            &format!("{good}-more"),
            &good.replacen("00", "ff", 1),
            &good.replacen("00", "0", 1),
            &good.to_uppercase(),
            &good[..54],
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what",
        ] {
            assert_eq!(context(bad.as_bytes()), None, "{bad}");
        }
    }
}
