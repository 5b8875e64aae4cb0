//! TLS handshakes of OpenSSL with itself (`handshakes.py`), and what there is to learn of them.

use beyla_schema::event::{Direction, Source};
use beyla_schema::request::TlsVersion::{self, V10, V12, V13};

use super::{STEP, Seen, Tape};

pub const GET: &str = "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n";
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// Calls of the two sides: whether it is the client, and its bytes.
pub type Flights = Vec<(bool, Vec<u8>)>;

/// Version, server name, protocol, nanoseconds.
pub type Facts = (Option<TlsVersion>, Option<String>, Option<String>, Option<u64>);

pub const NOTHING: Facts = (None, None, None, None);

/// A handshake, and what there is to learn of it: `end` is the number of the call it ends with.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    facts: (TlsVersion, Option<&'static str>, Option<&'static str>),
    end: u64,
}

pub const SHOP: Option<&str> = Some("shop.example");

pub const CASES: [Case; 6] = [
    Case { name: "tls10", facts: (V10, None, None), end: 3 },
    Case { name: "tls12", facts: (V12, SHOP, Some("h2")), end: 3 },
    Case { name: "tls12-resumed", facts: (V12, SHOP, Some("h2")), end: 2 },
    Case { name: "tls13", facts: (V13, SHOP, None), end: 2 },
    Case { name: "tls13-resumed", facts: (V13, SHOP, None), end: 2 },
    Case { name: "tls13-retry", facts: (V13, SHOP, None), end: 4 },
];

impl Case {
    pub fn flights(&self) -> Flights {
        let bytes = |hex: &str| {
            let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
            digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
        };
        let lines = include_str!("handshakes.txt").lines();
        let after = lines.skip_while(|line| line.strip_prefix("# ") != Some(self.name)).skip(1);
        let flights = after.map_while(|line| line.split_once(' ').filter(|(who, _)| *who != "#"));
        flights.map(|(who, hex)| (who == "client", bytes(hex))).collect()
    }

    /// What is learned when every flight is a call.
    pub fn facts(&self) -> Facts {
        let (version, name, alpn) = self.facts;
        (Some(version), name.map(str::to_owned), alpn.map(str::to_owned), Some(self.end * STEP))
    }
}

pub fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

/// Every flight is a call.
pub fn record(tape: Tape, flights: &[(bool, Vec<u8>)]) -> Tape {
    flights.iter().fold(tape, |tape, (client, bytes)| call(tape, *client, bytes))
}

pub fn call(tape: Tape, client: bool, bytes: &[u8]) -> Tape {
    let sends = client == tape.is_client();
    tape.data(if sends { Direction::Send } else { Direction::Receive }, bytes)
}

/// A request follows.
pub fn ask(tape: Tape) -> Tape {
    call(call(tape.plain(Source::OpenSsl), true, GET.as_bytes()), false, OK.as_bytes())
}

pub fn facts(tape: &Tape) -> Facts {
    let Seen { tls_version, tls_server_name, tls_alpn, handshake_ns, .. } = ask(tape.clone()).only();
    (tls_version, tls_server_name, tls_alpn, handshake_ns)
}

pub fn timeless((version, name, alpn, ns): Facts) -> Facts {
    (version, name, alpn, ns.map(|_| 0))
}
