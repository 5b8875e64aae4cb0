//! Requests made by hand.

use beyla_schema::request::{EndReason, Kind, Request};

/// A request to `shop` that was answered if it has a status.
pub fn request(
    route: &'static str,
    status: Option<u16>,
    start_ns: u64,
    duration_ns: u64,
) -> Request<'static> {
    let answered = status.is_some();
    let end_reason = if answered { EndReason::Response } else { EndReason::Closed };
    Request {
        service: "shop",
        pid: 1,
        tid: 1,
        method: Some("GET"),
        scheme: Some("http"),
        authority: Some("localhost:8080"),
        path: Some(route),
        route: Some(route),
        status,
        error: status.is_none_or(|status| status >= 500),
        end_ns: answered.then_some(start_ns + duration_ns),
        duration_ns: answered.then_some(duration_ns),
        service_ns: answered.then_some(duration_ns),
        request_bytes: Some(0),
        response_bytes: answered.then_some(100),
        client: "[::1]:40000".parse().ok(),
        server: "[::1]:8080".parse().ok(),
        connection: 1,
        ended_ns: start_ns + duration_ns,
        ..Request::begun(Kind::Server, start_ns, end_reason)
    }
}
