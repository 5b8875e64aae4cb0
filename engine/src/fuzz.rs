//! The parts that nobody sees, for the fuzz targets: each checks what holds for any bytes.

pub use crate::http1::fuzz::{bodies, heads};
pub use crate::http2::fuzz::frames;
pub use crate::tls::fuzz::handshakes;

#[cfg(test)]
mod tests {
    #[test]
    fn some_bytes_hold() {
        super::heads(b"GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\nrest");
        super::heads(b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc");
        super::bodies(b"\0\x023\r\nabc\r\n0\r\n\r\n");
        super::bodies(b"\x01\x01abcdefgh");
        super::handshakes(b"\0\x03\0\0\x0a\x16\x03\x01\0\x05\x01\0\0\x01x\x01\0\x02\x16\x03");
        super::frames(b"\x01\x03\0\0\0\x04\0\0\0\0\0\0\0\x03\0\0\0\0\0\x01abc\0\0");
    }
}
