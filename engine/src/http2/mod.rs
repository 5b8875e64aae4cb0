//! HTTP/2 (RFC 9113) as seen by a bystander: frames, header compression, and requests paired by stream.
//!
//! Nothing here sends, and nothing here trusts: bytes may begin anywhere, end anywhere and be anything.

mod fields;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod hpack;
mod pairing;
mod session;
mod stream;
mod walk;

pub(crate) use session::Session;

use crate::exchange::Side;

/// What a call that begins with `bytes` is, where nothing says yet what is spoken: the side that it comes from, and the
/// session that begins with it. None: it is not plainly HTTP/2.
pub(crate) fn recognise(bytes: &[u8]) -> Option<(Side, Session)> {
    if bytes.starts_with(frame::PREFACE) {
        return Some((Side::Request, Session::prefaced()));
    }
    frame::side(bytes).map(|side| (side, Session::found()))
}
