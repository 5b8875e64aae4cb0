//! What holds for heads and bodies of HTTP/1.x, whatever the bytes are.
#![allow(clippy::missing_panics_doc, reason = "a target that finds something ends")]

use super::body::{self, Body, Progress};
use super::head;

/// A head is found at the same place however it comes, and can be read.
pub fn heads(bytes: &[u8]) {
    let whole = head::end(bytes, 0);
    for count in 0..=bytes.len().min(256) {
        let (so_far, known) = (&bytes[..count], count.saturating_sub(1));
        if let Some(end) = head::end(so_far, known.saturating_sub(2)) {
            assert!(end == count && whole == Some(end), "an end is found where it is");
            break;
        }
        let _ = (head::begins_request(so_far), head::begins_response(so_far), head::status(so_far));
    }
    let head = &bytes[..whole.unwrap_or(bytes.len())];
    if let Some(request) = head::request(head) {
        let _ = request.fields.framing();
        let target = head::target(request.method, request.target);
        for part in [target.scheme, target.authority, target.path, target.query] {
            assert!(part.unwrap_or_default().len() <= request.target.len());
        }
        for end in 0..head.len() {
            assert!(head::may_be_request(&head[..end]), "its beginning is that of a request");
        }
    }
    if let Some(response) = head::response(head) {
        let _ = response.fields.framing();
        for end in 0..head.len() {
            assert!(head::may_be_response(&head[..end]), "its beginning is that of a response");
        }
    }
}

/// A body ends at the same place, and has the same content, however it is cut.
pub fn bodies(input: &[u8]) {
    let [kind, piece, bytes @ ..] = input else { return };
    let begin = match kind % 3 {
        0 => Body::chunked(),
        1 => Body::length(u64::from(*piece) * 7),
        _ => Body::UntilClose { total: 0 },
    };
    let mut whole = begin;
    let mut content = Vec::new();
    let progress = whole.feed(bytes, |part| content.extend_from_slice(part));
    assert!(content.len() <= bytes.len());

    let (mut pieces, mut same, mut at) = (begin, Vec::new(), 0);
    let mut in_pieces = Progress::More;
    for piece in bytes.chunks(1 + usize::from(*piece % 16)) {
        in_pieces = match pieces.feed(piece, |part| same.extend_from_slice(part)) {
            Progress::Done(used) => Progress::Done(at + used),
            other => other,
        };
        if in_pieces != Progress::More {
            break;
        }
        at += piece.len() as u64;
    }
    // A body of no bytes ends with the first call, even if nothing follows.
    if !bytes.is_empty() {
        assert_eq!((progress, content), (in_pieces, same));
        assert_eq!(whole.bytes(), pieces.bytes());
    }
    let _ = body::ends_chunks(bytes);
    let _ = pieces.skip(u64::from(*piece).wrapping_mul(0x0101_0101_0101_0101));
    let _ = (pieces.is_untouched(), pieces.bytes());
}
