//! HPACK (RFC 7541), read by a bystander who may have missed bytes.
//!
//! [`Decoder`] is fed with header blocks, whole or in pieces of any size, and says for every field where its name and value lie
//! and what they are. What depends on bytes that were not seen is unknown, never guessed. Memory is bounded by
//! [`MAX_TABLE`] and [`MAX_STRING`], whatever the peers agree on.

mod block;
mod decoder;
pub mod huffman;
mod integer;
mod table;

pub use decoder::{Decoder, Error, Field, MAX_STRING, Part, Step};
pub use table::MAX_TABLE;
