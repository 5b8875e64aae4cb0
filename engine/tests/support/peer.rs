//! One end of an HTTP/2 connection: makes the bytes that it sends.

use httlib_hpack::Encoder;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const END_STREAM: u8 = 1;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub fn settings() -> Vec<u8> {
    frame(4, 0, 0, [0, 3, 0, 0, 0, 100])
}

/// What a client begins with.
pub fn hello() -> Vec<u8> {
    [PREFACE, &settings()].concat()
}

pub fn data(flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0, flags, stream, payload)
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(3, 0, stream, [0, 0, 0, 8])
}

/// A message of gRPC.
pub fn message(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [&[0], &(content.len() as u32).to_be_bytes()[..], content].concat()
}

/// Its header compression.
#[derive(Default)]
pub struct Peer<'a>(Encoder<'a>);

impl Peer<'_> {
    pub fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        /// The best form there is, entered into the table, in the Huffman code.
        const BEST: u8 = 0x17;
        let mut block = Vec::new();
        for (name, value) in fields {
            self.0.encode((name.as_bytes().to_vec(), value.as_bytes().to_vec(), BEST), &mut block).unwrap();
        }
        block
    }

    /// A HEADERS frame.
    pub fn headers(&mut self, flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
        frame(1, flags | 4, stream, self.block(fields))
    }

    /// A request without a body.
    pub fn get(&mut self, stream: u32, path: &str) -> Vec<u8> {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "shop:80"),
            ("user-agent", "x"),
        ];
        self.headers(END_STREAM, stream, &fields)
    }

    /// A call of gRPC, whose messages follow.
    pub fn call(&mut self, stream: u32, path: &str) -> Vec<u8> {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "shop:80"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        self.headers(0, stream, &fields)
    }

    /// The head of a response.
    pub fn status(&mut self, flags: u8, stream: u32, status: &str) -> Vec<u8> {
        self.headers(flags, stream, &[(":status", status), ("content-type", "text/plain")])
    }

    /// The head of a response of gRPC.
    pub fn answer(&mut self, stream: u32) -> Vec<u8> {
        self.headers(0, stream, &[(":status", "200"), ("content-type", "application/grpc")])
    }

    /// The end of a response of gRPC.
    pub fn trailers(&mut self, stream: u32, status: &str, message: &str) -> Vec<u8> {
        self.headers(END_STREAM, stream, &[("grpc-status", status), ("grpc-message", message)])
    }
}
