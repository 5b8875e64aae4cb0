//! What a request was sent to and with, in forms that are safe to write down again: the bytes come from the network.

use std::{
    fmt::{self, Display, Formatter, Write as _},
    str::FromStr,
};

use beyla_schema::request::{EndReason, Protocol, Request};

/// A URL that takes the place of scheme and authority: `http://localhost:8080`, with a path before that of the requests or
/// without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

/// A text that is no [`BaseUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no URL like http://localhost:8080 or https://staging.example/shop")]
pub struct BaseUrlError;

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let text = text.trim_end_matches('/');
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]@%+".contains(&byte);
        match rest {
            Some(rest) if !rest.is_empty() && rest.bytes().all(plain) => Ok(Self(text.to_owned())),
            _ => Err(BaseUrlError),
        }
    }
}

impl Display for BaseUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Scheme and authority: that which the client named if it is the plain name of a host, else the address it reached. None when
/// neither is known.
pub(super) fn origin(request: &Request<'_>) -> Option<String> {
    let scheme = match request.scheme {
        Some("https") => "https",
        None if request.tls.is_some() => "https",
        _ => "http",
    };
    let plain = |text: &&str| {
        let host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        !text.is_empty() && text.bytes().all(host)
    };
    match (request.authority.filter(plain), request.server) {
        (Some(authority), _) => Some(format!("{scheme}://{authority}")),
        (None, Some(server)) => Some(format!("{scheme}://{server}")),
        (None, None) => None,
    }
}

/// What has to be percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encode {
    /// What would end a request target or could not be sent at all. The server sees everything else as it was.
    Least,
    /// Whatever RFC 3986 does not allow in a URL.
    Strict,
}

/// Path and query as they are sent. None when there is no path, as in CONNECT.
pub(super) fn target(request: &Request<'_>, encode: Encode) -> Option<String> {
    let path = request.path?;
    let mut target = String::with_capacity(path.len());
    push_encoded(&mut target, path, encode);
    if let Some(query) = request.query {
        target.push('?');
        push_encoded(&mut target, query, encode);
    }
    Some(target)
}

fn push_encoded(target: &mut String, text: &str, encode: Encode) {
    for byte in text.bytes() {
        let sent = byte.is_ascii_graphic()
            && byte != b'#'
            && (encode == Encode::Least || !b"\"<>\\^`{|}".contains(&byte));
        if sent {
            target.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
}

/// Names and values of a query, with the encoding of forms taken off.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.split_first_chunk::<2>()).flatten();
        let byte = escaped.and_then(|([high, low], after)| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            Some(((digit(*high)? << 4 | digit(*low)?) as u8, after))
        });
        let (byte, after) = byte.unwrap_or((if first == b'+' { b' ' } else { first }, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Why a request cannot be sent again from what a capture has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LeftOut {
    /// Its messages are not there, and a call without them is another one.
    Grpc,
    /// It is no request but the beginning of something else: CONNECT, WebSocket, HTTP/2 over an upgrade.
    Tunnel,
    /// Method, path or host were not observed, or are none that can be sent.
    Unknown,
}

impl LeftOut {
    pub(super) const ALL: [Self; 3] = [Self::Grpc, Self::Tunnel, Self::Unknown];

    /// What they are, for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "calls of gRPC, whose messages are not reproduced",
            Self::Tunnel => "changes of protocol (CONNECT, Upgrade)",
            Self::Unknown => "requests whose method, path or host is not known or cannot be sent",
        }
    }
}

/// A request that can be sent again.
pub(super) struct Sendable<'a> {
    pub(super) method: &'a str,
    /// Scheme and authority.
    pub(super) origin: String,
    /// Path and query.
    pub(super) target: String,
    /// The content type of the body.
    pub(super) content_type: Option<&'a str>,
    pub(super) user_agent: Option<&'a str>,
    /// Bytes of a body that cannot be sent again.
    pub(super) body_bytes: Option<u64>,
}

impl<'a> Sendable<'a> {
    /// What is sent for a request, or why nothing can be.
    pub(super) fn of(request: &Request<'a>) -> Result<Self, LeftOut> {
        if request.protocol.is_grpc() {
            return Err(LeftOut::Grpc);
        }
        if request.end_reason == EndReason::ProtocolSwitch || request.method == Some("CONNECT") {
            return Err(LeftOut::Tunnel);
        }
        let method = request.method.filter(|method| is_token(method)).ok_or(LeftOut::Unknown)?;
        Ok(Self {
            method,
            origin: origin(request).ok_or(LeftOut::Unknown)?,
            target: target(request, Encode::Least).ok_or(LeftOut::Unknown)?,
            content_type: request.request_type.filter(|value| is_plain(value)),
            user_agent: request.user_agent.filter(|value| is_plain(value)),
            body_bytes: request.request_bytes.filter(|bytes| *bytes > 0),
        })
    }
}

/// Whether a text can be a method (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

/// Whether a field's value can neither end the field nor deceive who reads it.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// The version of HTTP, as it is written in a request line; none where any could be meant.
pub(super) fn http_version(request: &Request<'_>) -> Option<&'static str> {
    match request.protocol {
        Protocol::Http10 => Some("HTTP/1.0"),
        Protocol::Http11 => Some("HTTP/1.1"),
        Protocol::Http2 | Protocol::Grpc => Some("HTTP/2"),
        Protocol::GrpcWeb => request.stream.map(|_| "HTTP/2"),
    }
}

#[cfg(test)]
mod tests {
    use beyla_schema::request::Kind;

    use super::*;

    fn request() -> Request<'static> {
        Request {
            method: Some("GET"),
            scheme: Some("http"),
            authority: Some("shop:8080"),
            path: Some("/a"),
            server: Some(([10, 0, 0, 1], 80).into()),
            ..Request::begun(Kind::Server, 0, EndReason::Response)
        }
    }

    #[test]
    fn hosts_that_are_none_give_way_to_the_address() {
        let of = |authority| origin(&Request { authority, ..request() }).unwrap();
        assert_eq!(of(Some("shop:8080")), "http://shop:8080");
        assert_eq!(of(Some("[::1]:80")), "http://[::1]:80");
        for hostile in ["a b", "x'y", "user@host", "$(id)", "ho\u{202e}st", "a/b", ""] {
            assert_eq!(of(Some(hostile)), "http://10.0.0.1:80", "{hostile}");
        }
        assert_eq!(of(None), "http://10.0.0.1:80");
        assert_eq!(origin(&Request { authority: None, server: None, ..request() }), None);
    }

    #[test]
    fn targets_keep_what_can_be_sent() {
        let of = |path, query, encode| target(&Request { path, query, ..request() }, encode);
        let hostile = "/a b'\"`$(x)\n\0#é{|}";
        assert_eq!(of(Some(hostile), None, Encode::Least).unwrap(), "/a%20b'\"`$(x)%0A%00%23%C3%A9{|}");
        let strict = "/a%20b'%22%60$(x)%0A%00%23%C3%A9%7B%7C%7D";
        assert_eq!(of(Some(hostile), None, Encode::Strict).unwrap(), strict);
        assert_eq!(of(Some("/%41"), Some("q=%20"), Encode::Strict).unwrap(), "/%41?q=%20");
        assert_eq!(of(None, None, Encode::Least), None);
    }

    #[test]
    fn parameters_are_decoded_as_forms_are() {
        let of = |query| parameters(query).collect::<Vec<_>>();
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            of("a=1&b=%20x+y&&c&=d"),
            [text("a", "1"), text("b", " x y"), text("c", ""), text("", "d")]
        );
        assert_eq!(of("a=%&b=%4&c=%zz%41"), [text("a", "%"), text("b", "%4"), text("c", "%zzA")]);
        assert_eq!(of("a=%ff"), [text("a", "\u{fffd}")]);
    }

    #[test]
    fn what_is_no_whole_request_is_left_out() {
        let why = |request: Request<'_>| Sendable::of(&request).err();
        assert_eq!(why(request()), None);
        assert_eq!(why(Request { protocol: Protocol::Grpc, ..request() }), Some(LeftOut::Grpc));
        assert_eq!(why(Request { method: Some("CONNECT"), ..request() }), Some(LeftOut::Tunnel));
        let upgraded = Request { end_reason: EndReason::ProtocolSwitch, ..request() };
        assert_eq!(why(upgraded), Some(LeftOut::Tunnel));
        for method in [None, Some(""), Some("GET\n"), Some("G T"), Some("G\"T")] {
            assert_eq!(why(Request { method, ..request() }), Some(LeftOut::Unknown), "{method:?}");
        }
        let odd = Request { user_agent: Some("a\r\nb: c"), request_type: Some("é"), ..request() };
        let sent = Sendable::of(&odd).ok().unwrap();
        assert_eq!((sent.user_agent, sent.content_type), (None, None));
    }

    #[test]
    fn base_urls_are_those_of_http() {
        let of = |text: &str| text.parse::<BaseUrl>().map(|url| url.to_string());
        assert_eq!(of("http://localhost:8080/").unwrap(), "http://localhost:8080");
        assert_eq!(of("https://a.example/shop").unwrap(), "https://a.example/shop");
        for wrong in ["", "localhost", "ftp://a", "http://", "http://a b", "http://a'b", "http://a?q"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
