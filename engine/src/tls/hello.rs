//! The two messages of a TLS handshake that are in clear in every version (RFC 8446 section 4.1, RFC 5246 section 7.4.1).
//!
//! Nothing here keeps state or copies. A message that breaks the rules of its form is none.

use beyla_schema::request::TlsVersion;

/// Types of messages.
pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;

/// Types of extensions.
const SERVER_NAME: u16 = 0;
const PROTOCOLS: u16 = 16;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;

/// The random of a server that wants another hello (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a client begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Client<'a> {
    /// The host it asks for (RFC 6066 section 3).
    pub(super) server_name: Option<&'a str>,
    /// It sends data before the handshake is over (RFC 8446 section 4.2.10).
    pub(super) early_data: bool,
}

/// What a server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Server<'a> {
    /// None for one without a name here, such as SSL 3.0 or a draft.
    pub(super) version: Option<TlsVersion>,
    /// The protocol it chose (RFC 7301 section 3.1). From TLS 1.3 on that is not in clear.
    pub(super) alpn: Option<&'a str>,
    /// It wants another hello, and will answer that.
    pub(super) retry: bool,
}

/// Reads a ClientHello without the head of the message.
pub(super) fn client(message: &[u8]) -> Option<Client<'_>> {
    let mut fields = Fields(message);
    let (_version, _random, _session) = (fields.take(2)?, fields.take(32)?, fields.short_vector()?);
    let (_suites, _compressions) = (fields.vector()?, fields.short_vector()?);
    let mut hello = Client::default();
    let mut extensions = fields.extensions()?;
    while !extensions.0.is_empty() {
        match (extensions.int()?, extensions.vector()?) {
            (SERVER_NAME, names) => hello.server_name = host_name(names),
            (EARLY_DATA, _) => hello.early_data = true,
            _ => {}
        }
    }
    Some(hello)
}

/// Reads a ServerHello without the head of the message.
pub(super) fn server(message: &[u8]) -> Option<Server<'_>> {
    let mut fields = Fields(message);
    let (mut version, random, _session) = (fields.int()?, fields.take(32)?, fields.short_vector()?);
    let (_suite, _compression) = (fields.take(2)?, fields.take(1)?);
    let mut alpn = None;
    let mut extensions = fields.extensions()?;
    while !extensions.0.is_empty() {
        match (extensions.int()?, extensions.vector()?) {
            (SUPPORTED_VERSIONS, chosen) => version = Fields(chosen).last(Fields::int)?,
            (PROTOCOLS, names) => alpn = only_name(names),
            _ => {}
        }
    }
    let version = match version {
        0x0301 => Some(TlsVersion::V10),
        0x0302 => Some(TlsVersion::V11),
        0x0303 => Some(TlsVersion::V12),
        0x0304 => Some(TlsVersion::V13),
        _ => None,
    };
    let is_13 = version == Some(TlsVersion::V13);
    Some(Server { version, alpn: alpn.filter(|_| !is_13), retry: is_13 && random == RETRY })
}

/// The host name in a list of names, of which there is one of each type.
fn host_name(list: &[u8]) -> Option<&str> {
    const HOST_NAME: u8 = 0;
    let mut names = Fields(Fields(list).last(Fields::vector)?);
    loop {
        let (kind, name) = (names.take(1)?, names.vector()?);
        if kind == [HOST_NAME] {
            return text(name);
        }
    }
}

/// The name in a list of one.
fn only_name(list: &[u8]) -> Option<&str> {
    text(Fields(Fields(list).last(Fields::vector)?).last(Fields::short_vector)?)
}

/// A name as text: none if it is anything but visible ASCII, or longer than a name can be.
fn text(name: &[u8]) -> Option<&str> {
    let is_text = (1..=255).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(name).ok().filter(|_| is_text)
}

/// What is left of a message.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<u16> {
        let (int, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*int))
    }

    /// Bytes after their number, of one byte.
    fn short_vector(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    /// Bytes after their number, of two bytes.
    fn vector(&mut self) -> Option<&'a [u8]> {
        let length = self.int()?;
        self.take(length.into())
    }

    /// A field with which everything ends.
    fn last<T>(&mut self, field: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        field(self).filter(|_| self.0.is_empty())
    }

    /// The extensions with which a hello ends: the type of each, and its content. Before TLS 1.3 there may be nothing at all.
    fn extensions(&mut self) -> Option<Self> {
        if self.0.is_empty() { Some(Self(&[])) } else { self.last(Self::vector).map(Self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(content: &[u8]) -> Vec<u8> {
        [&(content.len() as u16).to_be_bytes(), content].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes(), &vector(content)[..]].concat()
    }

    fn names(entries: &[(u8, &[u8])]) -> Vec<u8> {
        let entries = entries.iter().flat_map(|(kind, name)| [&[*kind], &vector(name)[..]].concat());
        extension(SERVER_NAME, &vector(&entries.collect::<Vec<_>>()))
    }

    fn client_hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let start = [&[3, 3][..], &[7; 32], &[1, 9], &vector(&[0x13, 1]), &[1, 0]].concat();
        [start, vector(&extensions.concat())].concat()
    }

    fn server_hello(version: u16, random: [u8; 32], extensions: &[Vec<u8>]) -> Vec<u8> {
        let start = [&version.to_be_bytes()[..], &random, &[1, 9], &[0x13, 1], &[0]].concat();
        [start, vector(&extensions.concat())].concat()
    }

    #[test]
    fn a_client_says_whom_it_asks() {
        let name = |name: &[u8]| {
            client(&client_hello(&[names(&[(0, name)])])).unwrap().server_name.map(str::to_owned)
        };
        assert_eq!(name(b"shop.example").as_deref(), Some("shop.example"));
        assert_eq!(name(&[b'a'; 255]).map(|name| name.len()), Some(255));
        for bad in [&b""[..], b"a b", b"a\n", b"a\0", "\u{fc}".as_bytes(), &[b'a'; 256]] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
        let others = client_hello(&[extension(10, b"x"), names(&[(9, b"x"), (0, b"a")]), extension(42, b"")]);
        assert_eq!(client(&others), Some(Client { server_name: Some("a"), early_data: true }));
        for odd in [
            names(&[]),
            names(&[(9, b"x")]),
            extension(SERVER_NAME, b""),
            extension(SERVER_NAME, b"\0\x09\0\0\x01a"),
        ] {
            assert_eq!(client(&client_hello(&[odd])), Some(Client::default()));
        }
    }

    #[test]
    fn a_server_says_which_version_it_speaks() {
        let version = |version, extensions: &[Vec<u8>]| {
            server(&server_hello(version, [7; 32], extensions))
                .map(|hello| hello.version.map(TlsVersion::name))
        };
        let supported = |version: u16| [extension(SUPPORTED_VERSIONS, &version.to_be_bytes())];
        let names = [0x0300, 0x0301, 0x0302, 0x0303].map(|legacy| version(legacy, &[]));
        assert_eq!(names, [Some(None), Some(Some("1.0")), Some(Some("1.1")), Some(Some("1.2"))]);
        assert_eq!(version(0x0303, &supported(0x0304)), Some(Some("1.3")));
        assert_eq!(version(0x0303, &supported(0x7f1c)), Some(None), "a draft");
        assert_eq!(version(0x0303, &[extension(SUPPORTED_VERSIONS, b"\x03")]), None);
    }

    #[test]
    fn a_server_may_want_another_hello() {
        let v13 = || extension(SUPPORTED_VERSIONS, &[3, 4]);
        let retry =
            |random, extensions: &[Vec<u8>]| server(&server_hello(0x0303, random, extensions)).unwrap().retry;
        assert!(retry(RETRY, &[v13()]));
        assert!(!retry([7; 32], &[v13()]));
        assert!(!retry(RETRY, &[]), "before TLS 1.3 it is a random like any other");
    }

    #[test]
    fn the_protocol_is_in_clear_before_tls_1_3() {
        let chosen = |list: &[u8]| extension(PROTOCOLS, list);
        let alpn = |extensions: &[Vec<u8>]| {
            server(&server_hello(0x0303, [7; 32], extensions)).unwrap().alpn.map(str::to_owned)
        };
        assert_eq!(alpn(&[chosen(b"\0\x03\x02h2")]).as_deref(), Some("h2"));
        assert_eq!(alpn(&[chosen(b"\0\x06\x02h2\x02h3")]), None, "one is chosen");
        assert_eq!(alpn(&[chosen(b"\0\x03\x02h2"), extension(SUPPORTED_VERSIONS, &[3, 4])]), None);
    }

    #[test]
    fn what_is_cut_is_none_and_what_has_no_extensions_is_one() {
        let hello = client_hello(&[names(&[(0, b"shop")])]);
        let bare = hello.len() - 2 - names(&[(0, b"shop")]).len();
        for end in 0..hello.len() {
            assert_eq!(client(&hello[..end]).is_some(), end == bare, "{end}");
        }
        assert_eq!(client(&[&hello[..], b"x"].concat()), None);
        let hello = server_hello(0x0303, [7; 32], &[]);
        for end in 0..hello.len() {
            assert_eq!(server(&hello[..end]).is_some(), end == hello.len() - 2, "{end}");
        }
    }
}
