//! TLS: requests come from the plaintext of the library, their addresses from the socket below, and each comes once.

mod ask;
mod bad_input;
mod clients;
mod connections;
mod cycles;
mod load;
mod secrets;
mod servers;
mod service;

pub(crate) use service::{CERTIFICATE, Service};
