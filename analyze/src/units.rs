//! Numbers as people read them: three significant digits, thousands apart, units that fit.

use jiff::{Timestamp, tz::TimeZone};

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3 connections`, `1 connection`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `1.23 ms`, `456 µs`, `12.0 s`.
pub(crate) fn duration(ms: f64) -> String {
    let (value, unit) = match ms {
        // Limits are where rounding to three digits reaches the next unit.
        ms if ms < 0.000_999_5 => (ms * 1e6, "ns"),
        ms if ms < 0.999_5 => (ms * 1e3, "µs"),
        ms if ms < 999.5 => (ms, "ms"),
        ms => (ms / 1e3, "s"),
    };
    let value = if unit == "ns" { format!("{value:.0}") } else { three_digits(value) };
    format!("{value} {unit}")
}

/// `12.3 MB`, in powers of 1000.
pub(crate) fn bytes(number: u64) -> String {
    let (value, unit) = match number {
        // Limits are where rounding to three digits reaches the next unit.
        ..1_000 => return counted(number, "byte"),
        1_000..999_500 => (number as f64 / 1e3, "kB"),
        999_500..999_500_000 => (number as f64 / 1e6, "MB"),
        _ => (number as f64 / 1e9, "GB"),
    };
    format!("{} {unit}", three_digits(value))
}

/// `107`, `1.23`, `12,345`.
pub(crate) fn three_digits(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => count(value.round() as u64),
    }
}

/// `0.37%`. Only nothing is `0.00%`, and only everything is `100.00%`.
pub(crate) fn percent(ratio: f64) -> String {
    match ratio {
        ratio if ratio > 0.0 && ratio < 0.000_05 => "<0.01%".to_owned(),
        ratio if (0.999_95..1.0).contains(&ratio) => ">99.99%".to_owned(),
        ratio => format!("{:.2}%", ratio * 100.0),
    }
}

/// `2026-01-05 10:00:00.000 to 10:00:30.120 UTC`, with the second date when it is another.
pub(crate) fn span(first_ns: i64, last_ns: i64) -> String {
    let time = |ns: i64, format: &str| match Timestamp::from_nanosecond(ns.into()) {
        Ok(time) => TimeZone::UTC.to_datetime(time).strftime(format).to_string(),
        Err(_) => "?".to_owned(),
    };
    let same_day = time(first_ns, "%F") == time(last_ns, "%F");
    let last = time(last_ns, if same_day { "%T%.3f" } else { "%F %T%.3f" });
    format!("{} to {last} UTC", time(first_ns, "%F %T%.3f"))
}

/// RFC 3339 with nanoseconds.
pub(crate) fn rfc3339(ns: i64) -> Option<String> {
    Some(format!("{:.9}", Timestamp::from_nanosecond(ns.into()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_the_unit_that_fits() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let durations =
            [0.0, 0.000_456, 0.000_999_6, 0.456, 0.999_6, 1.234, 99.96, 999.4, 999.6, 1_234_567.0];
        assert_eq!(
            durations.map(duration),
            [
                "0 ns", "456 ns", "1.00 µs", "456 µs", "1.00 ms", "1.23 ms", "100 ms", "999 ms", "1.00 s",
                "1,235 s"
            ]
        );
        assert_eq!(
            [1, 999, 1_000, 999_499, 999_500, 1_234_567_890].map(bytes),
            ["1 byte", "999 bytes", "1.00 kB", "999 kB", "1.00 MB", "1.23 GB"]
        );
        assert_eq!(
            [0.0, 0.000_01, 0.0037, 0.999_99, 1.0].map(percent),
            ["0.00%", "<0.01%", "0.37%", ">99.99%", "100.00%"]
        );
        assert_eq!(
            [0.0, 0.02, 9.996, 106.7, 12_345.6].map(three_digits),
            ["0", "0.02", "10.0", "107", "12,346"]
        );
    }

    #[test]
    fn spans_repeat_the_date_only_when_it_changes() {
        let second = 1_000_000_000;
        assert_eq!(span(0, 30 * second), "1970-01-01 00:00:00.000 to 00:00:30.000 UTC");
        assert_eq!(span(0, 86_400 * second), "1970-01-01 00:00:00.000 to 1970-01-02 00:00:00.000 UTC");
        assert_eq!(rfc3339(1_500_000_000).unwrap(), "1970-01-01T00:00:01.500000000Z");
    }
}
