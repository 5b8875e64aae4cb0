//! What is a secret: the names of header fields and query parameters whose values are masked.

use crate::http1::head::is_token;

/// Header fields whose values are credentials.
const HEADERS: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"];

/// Query parameters whose values are credentials: those that OpenTelemetry names for `url.query`, their kin in signed
/// URLs, and what logins and APIs commonly use. `key` and `code` are not here: they mostly are none.
const QUERY_KEYS: [&str; 31] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "apitoken",
    "auth",
    "auth_token",
    "authorization",
    "awsaccesskeyid",
    "client_assertion",
    "client_secret",
    "code_verifier",
    "credential",
    "credentials",
    "id_token",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "pwd",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-credential",
    "x-goog-signature",
];

/// Header fields without which messages cannot be told apart, paired or traced.
const NEEDED: [&str; 15] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "grpc-status",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The longest name, of either kind.
pub(super) const MAX_NAME: usize = 64;

/// Which bytes are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    headers: Names,
    keys: Names,
    bodies: Bodies,
}

/// What happens to bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bodies {
    Kept,
    Masked,
}

/// What a capture file says about its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `none`, `default` or `headers-only`; `custom` when only names that were added are masked.
    pub name: &'static str,
    /// Header fields whose values are masked, in lower case, ascending.
    pub headers: Vec<String>,
    /// Query parameters whose values are masked, in lower case, ascending.
    pub query_keys: Vec<String>,
}

/// A name that cannot be added to a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Without the values of this field, messages could not be paired.
    #[error("the header {0:?} cannot be redacted: requests could not be paired without it")]
    Needed(String),
    /// Not the name of a header field (RFC 9110 section 5.1), or too long.
    #[error("{0:?} is not the name of a header field of at most {MAX_NAME} characters")]
    Header(String),
    /// Not the name of a query parameter, or too long.
    #[error("{0:?} is not the name of a query parameter of at most {MAX_NAME} characters")]
    QueryKey(String),
}

impl Policy {
    /// The default: credentials in header fields and query parameters are masked.
    pub fn standard() -> Self {
        Self { headers: Names::new(&HEADERS), keys: Names::new(&QUERY_KEYS), bodies: Bodies::Kept }
    }

    /// Nothing is masked.
    pub fn none() -> Self {
        Self { headers: Names::new(&[]), keys: Names::new(&[]), bodies: Bodies::Kept }
    }

    /// Bodies are masked as well, and everything that is not recognised as HTTP.
    #[must_use]
    pub fn headers_only(mut self) -> Self {
        self.bodies = Bodies::Masked;
        self
    }

    /// The values of this header field are masked too; case does not matter.
    pub fn with_header(mut self, name: &str) -> Result<Self, PolicyError> {
        let lower = name.to_ascii_lowercase();
        if lower.starts_with(':') || NEEDED.contains(&lower.as_str()) {
            return Err(PolicyError::Needed(name.to_owned()));
        }
        if !(1..=MAX_NAME).contains(&name.len()) || !lower.bytes().all(is_token) {
            return Err(PolicyError::Header(name.to_owned()));
        }
        self.headers.add(lower);
        Ok(self)
    }

    /// The values of this query parameter are masked too; case does not matter. The name is given decoded.
    pub fn with_query_key(mut self, name: &str) -> Result<Self, PolicyError> {
        let good = |byte: u8| byte > b' ' && byte != 0x7f && !b"?&;=#\"'<>[]%".contains(&byte);
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(good) {
            return Err(PolicyError::QueryKey(name.to_owned()));
        }
        self.keys.add(name.to_ascii_lowercase());
        Ok(self)
    }

    /// The values of all these header fields and query parameters are masked too.
    pub fn with_names(self, headers: &[String], query_keys: &[String]) -> Result<Self, PolicyError> {
        let policy = headers.iter().try_fold(self, |policy, name| policy.with_header(name))?;
        query_keys.iter().try_fold(policy, |policy, name| policy.with_query_key(name))
    }

    /// What is stored in the file.
    pub fn describe(&self) -> Description {
        let name = match self.bodies {
            Bodies::Masked => "headers-only",
            Bodies::Kept if self.is_none() => "none",
            Bodies::Kept if HEADERS.iter().all(|name| self.headers.has(name.as_bytes())) => "default",
            Bodies::Kept => "custom",
        };
        Description { name, headers: self.headers.list.clone(), query_keys: self.keys.list.clone() }
    }

    /// Whether nothing is masked at all.
    pub(super) fn is_none(&self) -> bool {
        self.bodies == Bodies::Kept && self.headers.list.is_empty() && self.keys.list.is_empty()
    }

    /// Whether bodies are masked.
    pub(super) fn masks_bodies(&self) -> bool {
        self.bodies == Bodies::Masked
    }

    /// Whether the values of a header field are masked.
    pub(super) fn is_header(&self, name: &[u8]) -> bool {
        self.headers.has(name)
    }

    /// Whether the values of a query parameter are masked. The name is as sent: percent-encoded, and perhaps with the
    /// brackets of a form (`user[password]`).
    pub(super) fn is_query_key(&self, name: &[u8]) -> bool {
        if !name.ends_with(b"]") && memchr::memchr(b'%', name).is_none() {
            return self.keys.has(name);
        }
        let mut decoded = [0; 2 * MAX_NAME];
        let mut length = 0;
        let mut rest = name;
        while let [byte, after @ ..] = rest {
            let (byte, after) = match *after {
                [high, low, ref after @ ..] if *byte == b'%' => match (hex(high), hex(low)) {
                    (Some(high), Some(low)) => (high << 4 | low, after),
                    _ => return false,
                },
                _ => (*byte, after),
            };
            let Some(place) = decoded.get_mut(length) else { return false };
            *place = byte;
            length += 1;
            rest = after;
        }
        let name = &decoded[..length];
        let inner = name.strip_suffix(b"]").and_then(|name| Some(&name[memchr::memrchr(b'[', name)? + 1..]));
        self.keys.has(inner.unwrap_or(name))
    }

    /// Whether the name of a header field that is masked can end with `byte`.
    pub(super) fn may_end_header(&self, byte: u8) -> bool {
        self.headers.may_end(byte)
    }

    /// Whether the name of a query parameter that is masked can end with `bytes`, the last of those before `=`.
    pub(super) fn may_end_query_key(&self, bytes: &[u8]) -> bool {
        match *bytes {
            [.., b'%', _, _] | [.., b']'] => true,
            [.., last] => self.keys.may_end(last),
            [] => false,
        }
    }
}

/// Names in lower case, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    list: Vec<String>,
    /// Bit n: a name has n bytes.
    lengths: u128,
    /// Bit n: a name ends with the ASCII character n, in lower case.
    ends: u128,
}

impl Names {
    fn new(names: &[&str]) -> Self {
        let mut all = Self { list: Vec::new(), lengths: 0, ends: 0 };
        for name in names {
            all.add((*name).to_owned());
        }
        all
    }

    fn add(&mut self, name: String) {
        self.lengths |= 1 << name.len();
        // Names that do not end in ASCII are looked at for every byte that does not either.
        self.ends |= name.bytes().last().map_or(0, |byte| 1 << (byte & 0x7f));
        if let Err(at) = self.list.binary_search(&name) {
            self.list.insert(at, name);
        }
    }

    fn has(&self, name: &[u8]) -> bool {
        name.len() <= MAX_NAME
            && self.lengths >> name.len() & 1 == 1
            && self.list.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    #[inline]
    fn may_end(&self, byte: u8) -> bool {
        self.ends >> (byte.to_ascii_lowercase() & 0x7f) & 1 == 1
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_however_they_are_written() {
        let policy = Policy::standard().with_header("X-Session").unwrap().with_query_key("PIN").unwrap();
        for name in ["Authorization", "SET-COOKIE", "x-session"] {
            assert!(policy.is_header(name.as_bytes()), "{name}");
        }
        for name in
            ["pin", "AWSAccessKeyId", "acce%73s_token", "%74oke%6E", "user[password]", "user%5bpassword%5D"]
        {
            assert!(policy.is_query_key(name.as_bytes()), "{name}");
        }
        for name in ["", "tok", "token2", "%", "%74oke%6", "key", "user[name]", "password]x"] {
            assert!(!policy.is_query_key(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_that_pairing_needs_are_refused() {
        for name in ["Content-Length", "host", ":path", "TE"] {
            assert_eq!(Policy::standard().with_header(name), Err(PolicyError::Needed(name.to_owned())));
        }
        assert!(Policy::standard().with_header("a b").is_err());
        assert!(Policy::standard().with_header("").is_err());
        assert!(Policy::standard().with_header(&"x".repeat(65)).is_err());
        assert!(Policy::standard().with_query_key("a=b").is_err());
    }

    #[test]
    fn a_policy_says_what_it_is() {
        assert_eq!(Policy::none().describe().name, "none");
        assert_eq!(Policy::standard().describe().headers, HEADERS);
        assert_eq!(Policy::standard().describe().query_keys, QUERY_KEYS);
        assert_eq!(Policy::standard().headers_only().describe().name, "headers-only");
        assert_eq!(Policy::none().with_header("X-A").unwrap().describe().name, "custom");
        assert_eq!(Policy::standard().with_header("X-A").unwrap().describe().name, "default");
    }
}
