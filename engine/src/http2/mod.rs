//! HTTP/2 (RFC 9113) as seen by a bystander: frames, header compression, and requests paired by stream.
//!
//! Nothing here sends, and nothing here trusts: bytes may begin anywhere, end anywhere and be anything.

mod fields;
pub mod frame;
pub mod hpack;
mod pairing;
mod session;
mod stream;
mod walk;

pub(crate) use session::Session;
