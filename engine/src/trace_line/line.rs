//! The line of the first Beyla.

use std::io::{self, Write};

use beyla_schema::event::Clock;
use beyla_schema::request::Request;

use super::shown::{Destination, GoDuration, OrElse, Printable, status};
use super::start;

/// Writes time of start, duration, time in the service, status, method, path, client, server, and bytes of the request
/// body. A gRPC call has `gRPC` in place of its method, which is always the same.
pub(super) fn write(out: &mut impl Write, request: &Request<'_>, clock: Clock) -> io::Result<()> {
    let method = if request.protocol.is_grpc() { Some("gRPC") } else { request.method };
    write!(out, "{} ", OrElse(start(request, clock).map(|start| start.strftime("%Y-%m-%d %H:%M:%S")), "-"))?;
    match (request.duration_ns, request.service_ns) {
        (Some(duration), Some(service)) => {
            write!(out, "({}[{}])", GoDuration(duration), GoDuration(service))?;
        }
        _ => out.write_all(b"(-)")?,
    }
    writeln!(
        out,
        " {} {} {} [{}]->[{}] size:{}B",
        OrElse(status(request), "-"),
        OrElse(method.map(Printable), "-"),
        OrElse(request.path.map(Printable), "-"),
        OrElse(request.client.map(|client| client.ip()), "-"),
        Destination(request.authority, request.server),
        OrElse(request.request_bytes, "?"),
    )
}
