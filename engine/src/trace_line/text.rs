//! The fuller line of later Beylas: both ports, the route, both sizes, the service and the span.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Write};

use beyla_schema::event::Clock;
use beyla_schema::request::Request;

use super::shown::{Destination, GoDuration, OrElse, Printable, span_type, status};
use super::{FLAGS, start};

/// Writes time of start to the microsecond, duration, time in the service, protocol and side, status, method, path with
/// its route, client, server, bytes of both bodies, service, and the span in the form of a `traceparent` that also has
/// its parent.
pub(super) fn write(out: &mut impl Write, request: &Request<'_>, clock: Clock) -> io::Result<()> {
    writeln!(
        out,
        "{} ({}[{}]) {} {} {} {}{} [{}]->[{}] contentLen:{}B responseLen:{}B svc=[{}] traceparent=[{}]",
        OrElse(start(request, clock).map(|start| start.strftime("%Y-%m-%d %H:%M:%S%.6f")), "-"),
        OrElse(request.duration_ns.map(GoDuration), "-"),
        OrElse(request.service_ns.map(GoDuration), "-"),
        span_type(request),
        OrElse(status(request), "-"),
        OrElse(request.method.map(Printable), "-"),
        OrElse(request.path.map(Printable), "-"),
        // That of a gRPC call is its path.
        Route(request.route.filter(|_| !request.protocol.is_grpc())),
        OrElse(request.client, "-"),
        Destination(request.authority, request.server),
        OrElse(request.request_bytes, "?"),
        OrElse(request.response_bytes, "?"),
        Printable(request.service),
        Span(request),
    )
}

struct Route<'a>(Option<&'a str>);

impl Display for Route<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |route| write!(f, "({})", Printable(route)))
    }
}

struct Span<'a>(&'a Request<'a>);

impl Display for Span<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (Some(trace), Some(span)) = (self.0.trace_id, self.0.span_id) else { return Ok(()) };
        write!(f, "00-{trace}-{span}[{}]-{FLAGS}", OrElse(self.0.parent_id, "0000000000000000"))
    }
}
