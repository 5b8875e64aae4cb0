//! gRPC over HTTP: the messages in a body, the status in trailers, and the names in a path.
//!
//! A message is a flag, four bytes of length, and as many bytes (gRPC over HTTP2, "Length-Prefixed-Message"). gRPC-Web
//! sends the trailers as a last message whose flag has its highest bit set.

use std::borrow::Cow;

/// Bytes of a message before its content.
const PREFIX: usize = 5;

/// In the flag of a gRPC-Web message: it has the trailers.
const TRAILERS: u8 = 0x80;

/// In the flag of a message: it is compressed.
const COMPRESSED: u8 = 0x01;

/// Bytes that are kept of the trailers in a gRPC-Web body. Longer ones tell no status.
const MAX_TRAILERS: usize = 4096;

/// What is known of the call that a request is.
#[derive(Debug, Default)]
pub(crate) struct Rpc {
    pub(crate) request: Messages,
    pub(crate) response: Messages,
    /// The status of the trailers, or of a head that is the only one.
    status: Option<u32>,
}

impl Rpc {
    /// The status, once it was seen.
    pub(crate) fn status(&self) -> Option<u32> {
        self.status
    }

    /// Takes the value of `grpc-status`. What is no number is what libraries take it for: 2, unknown.
    pub(crate) fn set_status(&mut self, value: &[u8]) {
        const UNKNOWN: u32 = 2;
        let digits = std::str::from_utf8(value).ok();
        self.status = Some(digits.and_then(|digits| digits.trim().parse().ok()).unwrap_or(UNKNOWN));
    }
}

/// Counts the messages in one direction of a body.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    count: u64,
    /// What was seen of a prefix.
    prefix: [u8; PREFIX],
    seen: u8,
    /// Bytes left of the message that was begun.
    left: u32,
    /// Where messages begin is not known any more.
    lost: bool,
    /// The content of the trailers of gRPC-Web.
    trailers: Option<Vec<u8>>,
}

impl Messages {
    /// Messages that began, unless some may have been missed.
    pub(crate) fn count(&self) -> Option<u64> {
        (!self.lost).then_some(self.count)
    }

    /// Takes bytes of the body.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.lost {
            if self.left > 0 {
                let (content, rest) = bytes.split_at(bytes.len().min(self.left as usize));
                self.left -= content.len() as u32;
                if let Some(trailers) = &mut self.trailers
                    && trailers.len() + content.len() <= MAX_TRAILERS
                {
                    trailers.extend_from_slice(content);
                }
                bytes = rest;
                continue;
            }
            let room = &mut self.prefix[usize::from(self.seen)..];
            let (part, rest) = bytes.split_at(bytes.len().min(room.len()));
            room[..part.len()].copy_from_slice(part);
            self.seen += part.len() as u8;
            bytes = rest;
            if usize::from(self.seen) == PREFIX {
                self.begin();
            }
        }
    }

    /// So many bytes of the body were missed.
    pub(crate) fn skip(&mut self, count: u64) {
        match u64::from(self.left).checked_sub(count) {
            Some(left) => {
                self.left = left as u32;
                // What is left of them is not the whole of them.
                self.trailers = None;
            }
            None => self.lost = true,
        }
    }

    /// Some messages were not counted.
    pub(crate) fn lose(&mut self) {
        self.lost = true;
    }

    fn begin(&mut self) {
        let [flag, length @ ..] = self.prefix;
        self.seen = 0;
        self.left = u32::from_be_bytes(length);
        if flag & !(TRAILERS | COMPRESSED) != 0 {
            self.lost = true;
        } else if flag == TRAILERS {
            self.trailers = Some(Vec::new());
        } else if flag & TRAILERS == 0 {
            self.count += 1;
        }
    }

    /// The fields of the trailers in the body, once all of them were seen.
    pub(crate) fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let trailers = self.trailers.as_deref().filter(|_| self.left == 0 && !self.lost).unwrap_or_default();
        trailers.split(|&byte| byte == b'\n').filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }
}

/// What a content type says of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Grpc,
    Web,
    /// gRPC-Web in base64: its messages are not looked at.
    WebText,
}

/// The kind of gRPC a content type stands for.
pub(crate) fn kind(content_type: &[u8]) -> Option<Kind> {
    let (prefix, rest) = content_type.split_at_checked(b"application/grpc".len())?;
    if !prefix.eq_ignore_ascii_case(b"application/grpc") {
        return None;
    }
    let ends = |rest: &[u8]| matches!(rest, [] | [b'+' | b';' | b' ', ..]);
    match rest {
        rest if ends(rest) => Some(Kind::Grpc),
        [b'-', b'w', b'e', b'b', rest @ ..] if ends(rest) => Some(Kind::Web),
        [b'-', b'w', b'e', b'b', b'-', b't', b'e', b'x', b't', rest @ ..] if ends(rest) => {
            Some(Kind::WebText)
        }
        _ => None,
    }
}

/// The service and the method that a path names: `/package.Service/Method`.
pub(crate) fn names(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.rsplit_once('/')?;
    (!service.is_empty() && !method.is_empty()).then_some((service, method))
}

/// Whether a server that ends a call with this status is at fault: 2 unknown, 4 deadline exceeded, 12 unimplemented,
/// 13 internal, 14 unavailable, 15 data loss (OpenTelemetry, semantic conventions for gRPC).
pub(crate) fn is_server_fault(status: u32) -> bool {
    matches!(status, 2 | 4 | 12..=15)
}

/// The text of `grpc-message`, percent-encoding taken off where it is valid.
pub(crate) fn message(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'%') {
        return Cow::Borrowed(value);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (mut decoded, mut rest) = (Vec::with_capacity(value.len()), value);
    while let [first, after @ ..] = rest {
        if *first == b'%'
            && let [high, low, after @ ..] = after
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            decoded.push((high << 4 | low) as u8);
            rest = after;
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_of(flag: u8, content: &[u8]) -> Vec<u8> {
        [&[flag], &(content.len() as u32).to_be_bytes()[..], content].concat()
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let body = [message_of(0, b"abc"), message_of(1, b""), message_of(0, &[7; 300])].concat();
        for cut in 1..body.len() {
            let mut messages = Messages::default();
            body.chunks(cut).for_each(|part| messages.feed(part));
            assert_eq!(messages.count(), Some(3), "{cut}");
        }
    }

    #[test]
    fn missing_bytes_within_a_message_do_not_matter() {
        let mut messages = Messages::default();
        messages.feed(&message_of(0, &[7; 300])[..20]);
        messages.skip(285);
        messages.feed(&message_of(0, b"a"));
        assert_eq!(messages.count(), Some(2));
        messages.skip(1);
        assert_eq!(messages.count(), None);
    }

    #[test]
    fn trailers_in_a_body_are_its_last_message() {
        let mut messages = Messages::default();
        let trailers = message_of(TRAILERS, b"grpc-status: 5\r\ngrpc-message:not%20found\r\n");
        messages.feed(&[message_of(0, b"abc"), trailers.clone()].concat());
        let fields: Vec<_> = messages.trailers().collect();
        assert_eq!(fields, [(&b"grpc-status"[..], &b"5"[..]), (b"grpc-message", b"not%20found")]);
        assert_eq!(messages.count(), Some(1));
        let mut cut = Messages::default();
        cut.feed(&trailers[..20]);
        assert_eq!(cut.trailers().count(), 0);
    }

    #[test]
    fn content_types_paths_and_texts() {
        for (text, expected) in [
            ("application/grpc", Some(Kind::Grpc)),
            ("application/grpc+proto", Some(Kind::Grpc)),
            ("Application/gRPC; charset=utf-8", Some(Kind::Grpc)),
            ("application/grpc-web+proto", Some(Kind::Web)),
            ("application/grpc-web-text", Some(Kind::WebText)),
            ("application/grpcx", None),
            ("application/json", None),
        ] {
            assert_eq!(kind(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(names("/shop.Cart/Add"), Some(("shop.Cart", "Add")));
        assert_eq!(names("/a/b/Add"), Some(("a/b", "Add")));
        assert!(names("/Add").is_none() && names("/a/").is_none() && names("*").is_none());
        assert_eq!(&*message(b"50%25 of %zz%4"), b"50% of %zz%4");
        let mut rpc = Rpc::default();
        rpc.set_status(b"what");
        assert_eq!(rpc.status(), Some(2));
    }
}
