//! How values of a request are shown: what is not known, text from the network, addresses, durations.

use std::fmt::{self, Display, Formatter, Write as _};
use std::net::SocketAddr;

use beyla_schema::request::{Kind, Request};

/// A value, or what stands for an unknown one.
pub(super) struct OrElse<T>(pub(super) Option<T>, pub(super) &'static str);

impl<T: Display> Display for OrElse<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str(self.1),
        }
    }
}

/// Text from the network, as a terminal may see it: what could move the cursor, break the line, split the field or reorder
/// text is escaped (`\u{1b}`).
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            if deceives(char) { write!(f, "{}", char.escape_unicode())? } else { f.write_char(char)? }
        }
        Ok(())
    }
}

/// Whether a character moves what is around it, or shows nothing.
pub(super) fn deceives(char: char) -> bool {
    // Marks that reorder text are no control characters, but they deceive the reader just as well.
    let reorders =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || char.is_whitespace() || reorders
}

/// The host the client named, with the port it reached; else the address it reached.
pub(super) struct Destination<'a>(pub(super) Option<&'a str>, pub(super) Option<SocketAddr>);

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

/// The status of its own protocol: of a gRPC call that of gRPC.
pub(super) fn status(request: &Request<'_>) -> Option<u32> {
    if request.protocol.is_grpc() { request.rpc_status } else { request.status.map(u32::from) }
}

/// What Beyla calls requests of this protocol and side.
pub(super) fn span_type(request: &Request<'_>) -> &'static str {
    match (request.protocol.is_grpc(), request.kind) {
        (false, Kind::Server) => "HTTP",
        (false, Kind::Client) => "HTTPClient",
        (true, Kind::Server) => "GRPC",
        (true, Kind::Client) => "GRPCClient",
    }
}

/// Nanoseconds as Go writes a `time.Duration`: the largest unit below the value, no trailing zeros.
pub(super) struct GoDuration(pub(super) u64);

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
