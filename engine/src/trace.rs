//! The context of a trace (W3C Trace Context): what `traceparent` says, and ids for what has none.

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

/// The id of the span that request number `ordinal` of a connection is: the same in every replay, another in every
/// capture.
pub(crate) fn span_id(capture: u64, connection: u64, ordinal: u64) -> SpanId {
    SpanId(id(capture, [connection, ordinal, 0]))
}

/// The id of the trace that this request begins.
pub(crate) fn trace_id(capture: u64, connection: u64, ordinal: u64) -> TraceId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id(capture, [connection, ordinal, 1]));
    bytes[8..].copy_from_slice(&id(capture, [connection, ordinal, 2]));
    TraceId(bytes)
}

/// The id of another span of the request that is `span`, told apart by `which`.
pub(crate) fn derived_id(trace: TraceId, span: SpanId, which: u64) -> SpanId {
    let trace = u128::from_be_bytes(trace.0);
    SpanId(id((trace >> 64) as u64, [trace as u64, u64::from_be_bytes(span.0), which]))
}

/// Eight bytes, not all zero, that are as good as random: each number is mixed in by the finaliser of SplitMix64
/// (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
fn id(first: u64, others: [u64; 3]) -> [u8; 8] {
    let mix = |state: u64, number: u64| {
        let mut z = (state ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    others.into_iter().fold(mix(0, first), mix).max(1).to_be_bytes()
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
