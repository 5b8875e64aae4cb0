//! Values of the command line, as people write them. Errors say what is expected.

use std::time::Duration;

use beyla_engine::{
    route::{Pattern, PatternError, Unmatched},
    trace_line::Form,
};
use beyla_schema::wire::MAX_PAYLOAD;
use bytesize::ByteSize;
use clap::builder::{PossibleValuesParser, RangedI64ValueParser, TypedValueParser};

use crate::{config, writer::Rotate};

/// Entries of a table of the kernel.
pub(super) fn entries() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1 << 24)
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "not a size such as 4KiB or 16MiB".to_owned())
}

pub(super) fn rotate(text: &str) -> Result<Rotate, String> {
    const SMALLEST: u64 = 64 << 10;
    const SHORTEST: Duration = Duration::from_secs(1);
    // To the parser of times "M" is a month, and to that of sizes "m" a megabyte.
    if text.ends_with(['b', 'B']) {
        let size = size(text)?;
        return if size < SMALLEST { Err("less than 64KiB".to_owned()) } else { Ok(Rotate::Size(size)) };
    }
    match humantime::parse_duration(text) {
        Ok(time) if time < SHORTEST => Err("less than a second".to_owned()),
        Ok(time) if !text.ends_with('M') => Ok(Rotate::Time(time)),
        _ => Err("neither a size such as 256MB nor a time such as 10m".to_owned()),
    }
}

pub(super) fn snaplen(text: &str) -> Result<u32, String> {
    let size = size(text)?;
    u32::try_from(size).ok().filter(|&size| size as usize <= MAX_PAYLOAD).ok_or_else(|| {
        format!("more than the {} that one record can carry", ByteSize(MAX_PAYLOAD as u64).display().iec())
    })
}

pub(super) fn ring_size(text: &str) -> Result<u32, String> {
    const SMALLEST: u64 = 64 << 10;
    const LARGEST: u64 = 1 << 30;
    let size = size(text)?;
    if !size.is_power_of_two() {
        return Err(format!(
            "not a power of two; the next is {}",
            ByteSize(size.next_power_of_two()).display().iec()
        ));
    }
    if !(SMALLEST..=LARGEST).contains(&size) {
        return Err("not between 64KiB and 1GiB".to_owned());
    }
    Ok(size as u32)
}

pub(super) fn pattern(text: &str) -> Result<Pattern, PatternError> {
    text.parse()
}

pub(super) fn unmatched() -> impl TypedValueParser<Value = Unmatched> {
    PossibleValuesParser::new(Unmatched::ALL.map(Unmatched::as_str)).try_map(|name| name.parse::<Unmatched>())
}

pub(super) fn form() -> impl TypedValueParser<Value = Form> {
    PossibleValuesParser::new(Form::ALL.map(Form::as_str)).try_map(|name| name.parse::<Form>())
}

pub(super) fn header(text: &str) -> Result<(String, String), &'static str> {
    config::header(text).ok_or("not a field such as name=value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_a_size_or_a_time() {
        assert_eq!(rotate("256MB"), Ok(Rotate::Size(256_000_000)));
        assert_eq!(rotate("1GiB"), Ok(Rotate::Size(1 << 30)));
        assert_eq!(rotate("10m"), Ok(Rotate::Time(Duration::from_mins(10))));
        for wrong in ["10", "256M", "big", "500ms", "1kB", ""] {
            assert!(rotate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        assert_eq!(snaplen("4KiB"), Ok(4096));
        assert!(snaplen("17KiB").is_err());
        assert_eq!(ring_size("64KiB"), Ok(65536));
        for wrong in ["12MiB", "32KiB", "2GiB", "big"] {
            assert!(ring_size(wrong).is_err(), "{wrong}");
        }
    }
}
