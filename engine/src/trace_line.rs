//! One line of text per request, for people: the form that Beyla's trace printer made known.
//!
//! `2023-04-19 13:49:04 (15.22ms[689.9µs]) 200 GET /hello [::1]->[localhost:8080] size:0B`

use std::fmt::{self, Display, Formatter, Write as _};
use std::io::{self, Write};
use std::net::SocketAddr;

use beyla_schema::event::Clock;
use beyla_schema::request::{Protocol, Request};
use jiff::{Timestamp, tz::TimeZone};

/// Writes the line of `request`, with its line feed.
///
/// Time of start (UTC), duration, time in the service, status, method, path, client, server, bytes of the
/// request body. What was not observed is `-`, and `?` for the size. A gRPC call has its gRPC status, and `gRPC` in place
/// of the method, which is always the same.
///
/// # Errors
///
/// Those of `out`.
pub fn write(out: &mut impl Write, request: &Request<'_>, clock: Clock) -> io::Result<()> {
    match Timestamp::from_nanosecond(clock.wall_ns(request.start_ns).into()) {
        Ok(start) => write!(out, "{}", TimeZone::UTC.to_datetime(start).strftime("%Y-%m-%d %H:%M:%S"))?,
        Err(_) => out.write_all(b"-")?,
    }
    match (request.duration_ns, request.service_ns) {
        (Some(duration), Some(service)) => {
            write!(out, " ({}[{}]) ", GoDuration(duration), GoDuration(service))?;
        }
        _ => out.write_all(b" (-) ")?,
    }
    let (status, method) = match request.protocol {
        Protocol::Grpc | Protocol::GrpcWeb => (request.rpc_status, Some("gRPC")),
        _ => (request.status.map(u32::from), request.method),
    };
    writeln!(
        out,
        "{} {} {} [{}]->[{}] size:{}B",
        OrElse(status, "-"),
        OrElse(method.map(Printable), "-"),
        OrElse(request.path.map(Printable), "-"),
        OrElse(request.client.map(|client| client.ip()), "-"),
        Destination(request.authority, request.server),
        OrElse(request.request_bytes, "?"),
    )
}

/// A value, or what stands for an unknown one.
struct OrElse<T>(Option<T>, &'static str);

impl<T: Display> Display for OrElse<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str(self.1),
        }
    }
}

/// Text from the network: what could move the cursor, break the line or split the field is escaped.
struct Printable<'a>(&'a str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            // Marks that reorder text are no control characters, but they deceive the reader just as well.
            let reorders =
                matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if char.is_control() || char.is_whitespace() || reorders {
                write!(f, "{}", char.escape_unicode())?;
            } else {
                f.write_char(char)?;
            }
        }
        Ok(())
    }
}

/// The host the client named, with the port it reached; else the address it reached.
struct Destination<'a>(Option<&'a str>, Option<SocketAddr>);

impl Display for Destination<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.0.filter(|authority| !authority.is_empty()), self.1) {
            (Some(authority), Some(server)) => write!(f, "{}:{}", Printable(host(authority)), server.port()),
            (Some(authority), None) => Printable(authority).fmt(f),
            (None, Some(server)) => server.fmt(f),
            (None, None) => f.write_str("-"),
        }
    }
}

/// An authority without its port.
pub(crate) fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

/// Nanoseconds as Go writes a `time.Duration`: the largest unit below the value, no trailing zeros.
struct GoDuration(u64);

impl Display for GoDuration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        let (unit, name) = match ns {
            0 => return f.write_str("0s"),
            1..1_000 => return write!(f, "{ns}ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let (mut whole, mut fraction) = (ns / unit, ns % unit);
        if unit == 1_000_000_000 {
            if whole >= 3600 {
                write!(f, "{}h", whole / 3600)?;
            }
            if whole >= 60 {
                write!(f, "{}m", whole / 60 % 60)?;
            }
            whole %= 60;
        }
        write!(f, "{whole}")?;
        if fraction > 0 {
            let mut digits = unit.ilog10() as usize;
            while fraction % 10 == 0 {
                fraction /= 10;
                digits -= 1;
            }
            write!(f, ".{fraction:0digits$}")?;
        }
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (ns, text) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (689_900, "689.9µs"),
            (999_999, "999.999µs"),
            (1_000_000, "1ms"),
            (15_220_000, "15.22ms"),
            (100_000_001, "100.000001ms"),
            (1_690_000_000, "1.69s"),
            (1_000_000_001, "1.000000001s"),
            (60_000_000_000, "1m0s"),
            (62_500_000_000, "1m2.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_605_000_000_000, "1h0m5s"),
            (u64::MAX, "5124095h34m33.709551615s"),
        ] {
            assert_eq!(GoDuration(ns).to_string(), text);
        }
    }

    #[test]
    fn the_port_of_an_authority_is_not_its_host() {
        for (authority, expected) in [
            ("localhost:8080", "localhost"),
            ("localhost", "localhost"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("a:b", "a:b"),
        ] {
            assert_eq!(host(authority), expected);
        }
    }
}
