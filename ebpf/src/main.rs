//! The kernel programs of beyla-capture: see, filter, copy. They pair nothing, and parse nothing but the heads
//! of HTTP/2 frames.
//!
//! [`sock_length`], or [`sys_exit`] on kernels before Linux 6.3, sees the bytes that the captured processes move;
//! [`data`] and [`payload`] make records of them, [`frames`] those of HTTP/2. [`lifecycle`] does the same for
//! connections and processes, [`tls`] for what TLS libraries make of their bytes; [`filter`] decides whose they are, [`connection`] remembers what is known of each, and
//! [`output`] puts records into the ring buffer that `capture` drains. The records are those of `beyla_schema::wire`.

#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "the verifier follows what is in one piece, and functions of kernel programs take five arguments at most"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the attribute of a program decides how it gets its context"
)]

mod connection;
mod data;
mod filter;
mod frames;
mod kernel;
mod lifecycle;
mod output;
mod payload;
mod sock_length;
mod sys_exit;
mod syscall;
mod tls;

/// The kernel only lends most of its helpers to programs under a licence it knows as GPL-compatible.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses programs that could get here.
    loop {}
}
