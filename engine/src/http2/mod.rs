//! HTTP/2 (RFC 9113) as seen by a bystander: frames and header compression.
//!
//! Nothing here sends, and nothing here trusts: bytes may begin anywhere, end anywhere and be anything.

pub mod frame;
pub mod hpack;
