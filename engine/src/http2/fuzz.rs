//! What holds for a direction of frames, whatever the bytes are.
#![allow(clippy::missing_panics_doc, reason = "a target that finds something ends")]

use super::frame::Head;
use super::walk::{Payload, Piece, Walk};
use crate::exchange::Moment;

/// A frame, put together of its pieces; the last of a direction may be unfinished.
#[derive(Debug, PartialEq)]
struct Frame {
    head: Head,
    payload: Vec<u8>,
    ended: bool,
}

/// Frames are the same however the bytes are cut, and pieces lie within them.
pub fn frames(input: &[u8]) {
    let [kind, piece, bytes @ ..] = input else { return };
    let begin = || match kind % 3 {
        0 => Walk::begun(true),
        1 => Walk::begun(false),
        _ => Walk::found(),
    };
    assert_eq!(walk(begin(), bytes, bytes.len().max(1)), walk(begin(), bytes, 1 + usize::from(*piece % 16)));

    let mut walk = begin();
    for (at, part) in bytes.chunks(1 + usize::from(*piece)).enumerate() {
        if at % 3 == 1 {
            let skipped = walk.skip(u64::from(part[0]) << (part.len() % 32));
            assert!(skipped.payload.is_none_or(|(head, count)| count <= head.length));
            walk.recognise(part, u32::MAX);
        } else {
            let mut rest = part;
            while let Some(Piece::Payload(piece)) = walk.next(&mut rest, &Moment::default()) {
                check(&piece);
            }
        }
    }
}

fn check(piece: &Payload<'_>) {
    let end = u64::from(piece.at) + piece.bytes.len() as u64;
    assert!(end <= u64::from(piece.head.length) && piece.last == (end == u64::from(piece.head.length)));
    assert!(piece.head.is_legal());
}

/// The frames, and whether they break off.
fn walk(mut walk: Walk, bytes: &[u8], piece: usize) -> (Vec<Frame>, bool) {
    let mut frames: Vec<Frame> = Vec::new();
    if walk.is_lost() && !walk.recognise(bytes, u32::MAX) {
        return (frames, false);
    }
    for mut bytes in bytes.chunks(piece) {
        while let Some(next) = walk.next(&mut bytes, &Moment::default()) {
            let Piece::Payload(next) = next else { return (frames, true) };
            check(&next);
            if next.begins {
                frames.push(Frame { head: next.head, payload: Vec::new(), ended: false });
            }
            let Some(frame) = frames.last_mut() else { unreachable!("a payload is that of a frame") };
            assert_eq!((frame.head, frame.payload.len()), (next.head, next.at as usize));
            frame.payload.extend_from_slice(next.bytes);
            let _ = (next.head.fragment(&frame.payload), next.head.promised(&frame.payload));
            frame.ended = next.last;
        }
    }
    (frames, false)
}
