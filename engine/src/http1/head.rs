//! Heads of HTTP/1.x messages (RFC 9112 sections 2 to 6), read as leniently as servers do.
//!
//! Only what pairing and the `requests` table need is taken out; the rest of a head is walked over. Nothing
//! here keeps state or copies.

use beyla_schema::request::Protocol;
use memchr::{memchr, memchr_iter, memrchr};

/// The longest method that is taken for one. The longest registered has 17 letters.
const MAX_METHOD: usize = 32;

/// Registered methods (RFC 9110 section 16.1.1 and the common extensions), for places where a method must be
/// told from other text.
const METHODS: [&[u8]; 17] = [
    b"GET",
    b"POST",
    b"PUT",
    b"HEAD",
    b"DELETE",
    b"PATCH",
    b"OPTIONS",
    b"CONNECT",
    b"TRACE",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"QUERY",
];

/// A request line and the fields that matter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) protocol: Protocol,
    pub(crate) fields: Fields<'a>,
    /// Where it ends: after its blank line, if that was found.
    pub(crate) end: Option<usize>,
}

/// A status line and the fields that matter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead<'a> {
    pub(crate) status: u16,
    pub(crate) fields: Fields<'a>,
    /// Where it ends: after its blank line, if that was found.
    pub(crate) end: Option<usize>,
}

/// The header fields that are used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields<'a> {
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) user_agent: Option<&'a [u8]>,
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) upgrade: Option<&'a [u8]>,
    pub(crate) grpc_status: Option<&'a [u8]>,
    pub(crate) grpc_message: Option<&'a [u8]>,
    /// Several are none (W3C Trace Context section 3.2).
    pub(crate) traceparent: Option<&'a [u8]>,
    /// The first few are one (section 3.3).
    pub(crate) tracestates: [Option<&'a [u8]>; 4],
    body: BodyFields,
}

/// The fields that tell where a message ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BodyFields {
    length: Option<Result<u64, Contradiction>>,
    coding: Option<Coding>,
}

/// A `Content-Length` that is no number, or several that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Contradiction;

/// The last transfer coding of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

/// What a head says about the length of the body (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Nothing.
    Silent,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// A coding that does not tell its end.
    Coded,
    /// Something that cannot be true.
    Invalid,
}

impl Fields<'_> {
    /// What the fields say about the body.
    pub(crate) fn framing(&self) -> Framing {
        self.body.framing()
    }
}

impl BodyFields {
    /// What the fields say about the body; chunks win over a length.
    pub(crate) fn framing(self) -> Framing {
        match (self.coding, self.length) {
            (Some(Coding::Chunked), _) => Framing::Chunked,
            (Some(Coding::Other), _) => Framing::Coded,
            (None, Some(Ok(length))) => Framing::Length(length),
            (None, Some(Err(Contradiction))) => Framing::Invalid,
            (None, None) => Framing::Silent,
        }
    }

    /// Takes a field, if it is one of them. A name is told by its length first, which rules out nearly all others.
    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                for item in value.trim_ascii_start().split(|&byte| byte == b',') {
                    let length = number(item.trim_ascii()).ok_or(Contradiction);
                    let agrees = self.length.is_none_or(|before| before == length);
                    self.length = Some(if agrees { length } else { Err(Contradiction) });
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let last = value.rsplit(|&byte| byte == b',').next().unwrap_or_default();
                let chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
                self.coding = Some(if chunked { Coding::Chunked } else { Coding::Other });
            }
            _ => {}
        }
    }
}

/// Where the head at the beginning of `bytes` ends: after its blank line. The search begins at `from`; a bare
/// line feed ends a line too.
pub(crate) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    memchr_iter(b'\n', &bytes[from..]).find_map(|at| match bytes[from + at + 1..] {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// Whether a request head may begin like this; `bytes` may end anywhere.
pub(crate) fn may_be_request(bytes: &[u8]) -> bool {
    if let Some(end) = memchr(b'\n', bytes) {
        return request_line(&bytes[..end]).is_some();
    }
    let method = bytes.iter().take_while(|byte| is_token(**byte)).count();
    match bytes[method..] {
        [] => method <= MAX_METHOD,
        [b' '] => (1..=MAX_METHOD).contains(&method),
        [b' ', first, ..] => (1..=MAX_METHOD).contains(&method) && is_target(first),
        _ => false,
    }
}

/// Whether a response head may begin like this; `bytes` may end anywhere.
pub(crate) fn may_be_response(bytes: &[u8]) -> bool {
    if let Some(end) = memchr(b'\n', bytes) {
        return status_line(&bytes[..end]).is_some();
    }
    bytes.iter().zip(b"HTTP/1.").all(|(byte, expected)| byte == expected)
}

/// Whether a call that begins like this begins a request, in a stream whose boundaries are not known: with a
/// whole request line, or the beginning of one. Only registered methods count there, since the end of an
/// unseen word is a method too.
pub(crate) fn begins_request(call: &[u8]) -> bool {
    match memchr(b'\n', call) {
        Some(_) => begins_request_line(call),
        None => {
            !call.is_empty()
                && may_be_request(call)
                && METHODS.iter().any(|method| may_begin_with(call, method))
        }
    }
}

/// Whether a call begins with a whole request line of a registered method.
pub(crate) fn begins_request_line(call: &[u8]) -> bool {
    memchr(b'\n', call)
        .and_then(|end| request_line(&call[..end]))
        .is_some_and(|(method, ..)| is_registered(method))
}

/// Whether `call` begins with `method` and a space, or ends before that can be said.
fn may_begin_with(call: &[u8], method: &[u8]) -> bool {
    match call.strip_prefix(method) {
        Some(rest) => matches!(rest, [] | [b' ', ..]),
        None => method.starts_with(call),
    }
}

/// Whether a call that begins like this begins a response, in a stream whose boundaries are not known.
pub(crate) fn begins_response(call: &[u8]) -> bool {
    call.starts_with(b"HTTP/1.") && may_be_response(call)
}

/// The status of a head that may be incomplete.
pub(crate) fn status(head: &[u8]) -> Option<u16> {
    status_line(&head[..memchr(b'\n', head)?])
}

/// The method of a head that may be incomplete.
pub(crate) fn method(head: &[u8]) -> Option<&[u8]> {
    Some(request_line(&head[..memchr(b'\n', head)?])?.0)
}

/// Whether `method` is registered.
pub(crate) fn is_registered(method: &[u8]) -> bool {
    METHODS.contains(&method)
}

/// Reads the request head that `bytes` begin with, or as many whole lines of it as there are. None when it is none.
pub(crate) fn request(bytes: &[u8]) -> Option<RequestHead<'_>> {
    let line = memchr(b'\n', bytes)?;
    let (method, target, protocol) = request_line(&bytes[..line])?;
    let (fields, end) = fields(bytes, line + 1)?;
    Some(RequestHead { method, target, protocol, fields, end })
}

/// Reads the response head that `bytes` begin with, or as many whole lines of it as there are. None when it is none.
pub(crate) fn response(bytes: &[u8]) -> Option<ResponseHead<'_>> {
    let line = memchr(b'\n', bytes)?;
    let status = status_line(&bytes[..line])?;
    let (fields, end) = fields(bytes, line + 1)?;
    Some(ResponseHead { status, fields, end })
}

/// `method SP target SP HTTP/1.x`. Spaces within the target are kept: some servers take them.
fn request_line(line: &[u8]) -> Option<(&[u8], &[u8], Protocol)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (start, version) = line.split_at_checked(memrchr(b' ', line)?)?;
    let protocol = match version {
        b" HTTP/1.0" => Protocol::Http10,
        [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Protocol::Http11,
        _ => return None,
    };
    let (method, target) = start.split_at_checked(memchr(b' ', start)?)?;
    let target = &target[1..];
    let good = (1..=MAX_METHOD).contains(&method.len())
        && method.iter().copied().all(is_token)
        && target.first().copied().is_some_and(is_target)
        && target.iter().all(|&byte| byte == b' ' || is_target(byte));
    good.then_some((method, target, protocol))
}

/// `HTTP/1.x SP status [SP reason]`.
fn status_line(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    match *rest.strip_suffix(b"\r").unwrap_or(rest) {
        [b'0'..=b'9', b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ref reason @ ..]
            if matches!(reason, [] | [b' ', ..]) =>
        {
            Some([a, b, c].iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
        }
        _ => None,
    }
}

/// Reads the header lines from `at` on, up to the blank line or to the last whole one, and says where the head ends. None
/// when a line is no field.
fn fields(bytes: &[u8], mut at: usize) -> Option<(Fields<'_>, Option<usize>)> {
    let mut fields = Fields::default();
    let mut over = false;
    while let Some(length) = memchr(b'\n', &bytes[at..]) {
        let rest = &bytes[at..];
        at += length + 1;
        match rest[..length].trim_ascii_end() {
            // The head ends here, but for a line of nothing but blanks: its fields do.
            [] if length <= usize::from(rest[0] == b'\r') => return Some((fields, Some(at))),
            [] => over = true,
            // Continues the line before (obs-fold, RFC 9112 section 5.2): no field of its own.
            [b' ' | b'\t', ..] => {}
            _ if over => {}
            line => fields.add(line, colon(rest).filter(|colon| *colon < line.len())?)?,
        }
    }
    Some((fields, None))
}

/// Where the first colon is. Names are short, so that nearly always it is in the first bytes.
fn colon(bytes: &[u8]) -> Option<usize> {
    const ONES: u128 = u128::from_ne_bytes([1; 16]);
    const COLONS: u128 = u128::from_ne_bytes([b':'; 16]);
    let Some((first, _)) = bytes.split_first_chunk() else { return memchr(b':', bytes) };
    // The lowest byte of zero is where the subtraction first borrows.
    let others = u128::from_le_bytes(*first) ^ COLONS;
    match others.wrapping_sub(ONES) & !others & (ONES << 7) {
        0 => memchr(b':', bytes),
        found => Some(found.trailing_zeros() as usize / 8),
    }
}

impl<'a> Fields<'a> {
    /// Takes a line whose name ends at `colon`. None when there is no name.
    fn add(&mut self, line: &'a [u8], colon: usize) -> Option<()> {
        if colon == 0 {
            return None;
        }
        let (name, value) = (&line[..colon], || line[colon + 1..].trim_ascii_start());
        // The length of the name rules out nearly every field.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host = self.host.or(Some(value())),
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = Some(value()),
            10 if name.eq_ignore_ascii_case(b"user-agent") => self.user_agent = Some(value()),
            10 if name.eq_ignore_ascii_case(b"tracestate") => {
                if let Some(free) = self.tracestates.iter_mut().find(|state| state.is_none()) {
                    *free = Some(value());
                }
            }
            11 if name.eq_ignore_ascii_case(b"traceparent") => {
                self.traceparent = Some(if self.traceparent.is_none() { value() } else { b"" });
            }
            11 if name.eq_ignore_ascii_case(b"grpc-status") => self.grpc_status = Some(value()),
            12 if name.eq_ignore_ascii_case(b"content-type") => self.content_type = Some(value()),
            12 if name.eq_ignore_ascii_case(b"grpc-message") => self.grpc_message = Some(value()),
            _ => self.body.add(name, &line[colon + 1..]),
        }
        Some(())
    }
}

/// Decimal digits and nothing else; none on overflow.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// The characters of a method, or of the name of a field (RFC 9110 section 5.6.2).
#[inline]
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

const TOKEN: [bool; 256] = {
    let others = b"!#$%&'*+-.^_`|~";
    let mut token = [false; 256];
    let mut byte = 0;
    while byte < token.len() {
        token[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        token[others[at] as usize] = true;
        at += 1;
    }
    token
};

/// What a target may have: anything visible, and bytes above ASCII, which some clients send raw.
fn is_target(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

/// The parts of a request target (RFC 9112 section 3.2).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) scheme: Option<&'a [u8]>,
    pub(crate) authority: Option<&'a [u8]>,
    pub(crate) path: Option<&'a [u8]>,
    pub(crate) query: Option<&'a [u8]>,
}

/// Takes a target apart. The authority form is that of CONNECT only.
pub(crate) fn target<'a>(method: &[u8], target: &'a [u8]) -> Target<'a> {
    if method == b"CONNECT" {
        return Target { authority: Some(target), ..Target::default() };
    }
    let mut parts = Target::default();
    let mut rest = target;
    if !target.starts_with(b"/")
        && let Some(colon) = memchr(b':', target)
        && let Some(after) = target[colon..].strip_prefix(b"://")
        && target[..colon].iter().all(u8::is_ascii_alphanumeric)
    {
        let end = after.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(after.len());
        parts.scheme = Some(&target[..colon]);
        parts.authority = Some(&after[..end]);
        rest = &after[end..];
    }
    let rest = &rest[..memchr(b'#', rest).unwrap_or(rest.len())];
    let (path, query) = match memchr(b'?', rest) {
        Some(mark) => (&rest[..mark], Some(&rest[mark + 1..])),
        None => (rest, None),
    };
    // An absolute form without a path means the root (RFC 9110 section 4.2.3).
    parts.path = Some(if path.is_empty() { b"/" } else { path });
    parts.query = query;
    parts
}
