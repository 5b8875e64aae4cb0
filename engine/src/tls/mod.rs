//! TLS: which connection the plaintext of a session belongs to, and what the handshake of a connection says in clear.

mod association;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handshake;
mod hello;
mod records;
mod side;

pub(crate) use association::Association;
pub(crate) use handshake::{Facts, Handshake};
