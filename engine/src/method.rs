//! Methods of HTTP that metrics and spans call by their name.

/// Those that OpenTelemetry's conventions know. Others are `_OTHER` there, so that a client cannot make up series.
const KNOWN: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// The method, if it is one of them.
pub(crate) fn known(method: &str) -> Option<&'static str> {
    KNOWN.into_iter().find(|known| *known == method)
}
