//! Values as people write them, for flags, variables and files alike. Errors say what is expected.

use std::time::Duration;

use crate::target::percent_decoded;

/// A URL to send to.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace) => {
            Ok(text.to_owned())
        }
        _ => Err("not a URL such as http://localhost:4318".to_owned()),
    }
}

/// The path of the metrics.
pub(crate) fn metrics_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.contains(|char: char| char.is_whitespace() || "?#".contains(char)) {
        Ok(text.to_owned())
    } else {
        Err("not a path such as /metrics".to_owned())
    }
}

/// How long series without requests stay.
pub(crate) fn series_ttl(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err("no time at all".to_owned()) } else { Ok(time) })
}

/// A time with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "not a time such as 30s or 5m".to_owned())
}

/// A time in milliseconds, as the OpenTelemetry specification has them.
pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_millis).map_err(|_| "not a number of milliseconds".to_owned())
}

/// What Go takes for a truth value.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

/// A port, or none for 0, which turns it off in Beyla.
pub(super) fn port(text: &str) -> Result<Option<u16>, String> {
    text.parse().map(|port| (port != 0).then_some(port)).map_err(|_| "not a port".to_owned())
}

/// Process ids: `17` or `17,23`.
pub(super) fn pids(text: &str) -> Result<Vec<u32>, String> {
    let pid = |text: &str| text.trim().parse().map_err(|_| "not a list of process ids".to_owned());
    text.split(',').map(pid).collect()
}

/// Header fields, `name=value,name=value`, with percent-encoded values; none when it is not that.
pub(super) fn headers(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(|pair| header(pair).map(|(name, value)| (name, percent_decoded(value.trim())))).collect()
}

/// One header field, `name=value`.
pub(crate) fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_value_is_refused() {
        for wrong in ["localhost:4318", "http://", "https:///v1", "http://a b", ""] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
        for wrong in ["metrics", "", "/a b", "/a?b"] {
            assert!(metrics_path(wrong).is_err(), "{wrong}");
        }
        for wrong in ["5", "0s", "soon", ""] {
            assert!(series_ttl(wrong).is_err(), "{wrong}");
        }
        assert_eq!(series_ttl("1h30m0s"), Ok(Duration::from_mins(90)));
    }

    #[test]
    fn header_fields_are_decoded() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            headers("authorization=Basic%20YWJj%3D, x-scope = a=b,"),
            Some(vec![pair("authorization", "Basic YWJj="), pair("x-scope", "a=b")])
        );
        assert_eq!(headers("a=1,b"), None);
        assert_eq!(headers("=1"), None);
    }
}
