//! The one vocabulary of Beyla Replay.
//!
//! [`wire`] is what the kernel programs write into the ring buffer, and [`frames`] what they keep of HTTP/2;
//! [`event`] is the same facts as Rust values, live or from a file; [`request`] is what the engine makes of them.
//! [`arrow`] gives both their columns and [`mod@file`] their Parquet form. Nothing here opens a file by policy or
//! reads a clock, and [`wire`] and [`frames`] alone compile without `std` for the kernel side.

#![cfg_attr(not(feature = "std"), no_std)]

pub mod frames;
pub mod wire;

#[cfg(feature = "file")]
pub mod arrow;
#[cfg(feature = "std")]
pub mod event;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "std")]
pub mod request;
