//! Connections that speak HTTP/2, made of bytes: each says what comes next, so that few of them lead far.

use beyla_schema::event::{
    BY_TLS, Body, Call, Close, Data, Direction, Endpoint, Open, Origin, Source, Transport,
};

use crate::input::Input;
use crate::tape::Made;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Fields of requests: a method, a path of its own, one of the table, and those of gRPC.
const REQUEST: [&[u8]; 6] = [
    b"\x82\x86\x44\x02/a\x41\x01h",
    b"\x83\x86\x44\x0a/shop.Cart\x5f\x10application/grpc",
    b"\x83\x86\xbe\x5f\x10application/grpc",
    b"\x82\x84\x40\x0btraceparent\x3700-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"\x42\x07CONNECT\x41\x01h",
    b"\x82\x44\x89\x61\x05",
];

/// Fields of responses, their trailers, and interim ones.
const RESPONSE: [&[u8]; 6] = [
    b"\x88",
    b"\x88\x5f\x10application/grpc",
    b"\x40\x0bgrpc-status\x010\x40\x0cgrpc-message\x02ok",
    b"\x08\x03100",
    b"\x8d\xbe",
    b"\x20\x88",
];

/// A call, as far as it is known.
struct Piece {
    direction: Direction,
    bytes: Vec<u8>,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// It was not recorded.
    Lost,
    Twice,
    /// Its end was not kept.
    Cut,
}

/// Hands out what was recorded of one connection, event by event.
pub fn connection(mut input: Input<'_>, mut each: impl FnMut(&Made<'_>)) {
    let how = input.byte();
    let cut = usize::from(input.byte());
    let pieces = pieces(&mut input, how);
    calls(&pieces, how, cut).iter().for_each(&mut each);
}

fn pieces(input: &mut Input<'_>, how: u8) -> Vec<Piece> {
    let client = if how & 1 == 0 { Direction::Receive } else { Direction::Send };
    let server = if how & 1 == 0 { Direction::Send } else { Direction::Receive };
    let settings = frame(4, 0, 0, b"");
    let piece = |direction, bytes| Piece { direction, bytes, fault: Fault::None };
    let mut pieces = Vec::new();
    match how >> 2 & 3 {
        0 => pieces.push(piece(server, settings.clone())),
        1 => {
            let ask = b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n";
            pieces.push(piece(client, ask.to_vec()));
            let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
            pieces.push(piece(server, [answer, &settings[..]].concat()));
        }
        _ => {}
    }
    // A connection that is found may begin with anything.
    if how & 0x10 == 0 {
        pieces.push(piece(client, [PREFACE, &settings[..]].concat()));
    }
    let mut fault = Fault::None;
    while !input.is_empty() && pieces.len() < 4096 {
        let what = input.byte();
        let direction = if what & 1 == 0 { client } else { server };
        let kind = what >> 1 & 15;
        let detail = input.byte();
        let stream = u32::from(detail & 7) * 2 + u32::from(detail & 8 == 0);
        let end = if detail & 0x10 != 0 { END_STREAM } else { 0 };
        let bytes = match kind {
            0..=9 => {
                let flags = input.byte();
                let length = usize::from(input.byte());
                frame(kind, flags, stream, input.take(length))
            }
            10 | 11 => {
                let blocks = if direction == client { REQUEST } else { RESPONSE };
                let block = blocks[usize::from(detail >> 5) % blocks.len()];
                if kind == 10 {
                    frame(1, END_HEADERS | end, stream, block)
                } else {
                    let (first, rest) = block.split_at(block.len() / 2);
                    [frame(1, end, stream, first), frame(9, END_HEADERS, stream, rest)].concat()
                }
            }
            12 => {
                let length = usize::from(input.byte());
                let message = input.take(length);
                let prefix = [0, 0, 0, 0, message.len() as u8];
                frame(0, end, stream, &[&prefix, message].concat())
            }
            13 => frame(0, end | 0x8, stream, &[&[detail][..], &[0; 300]].concat()),
            14 => input.take(usize::from(detail)).to_vec(),
            _ => {
                fault = [Fault::Lost, Fault::Twice, Fault::Cut, Fault::None][usize::from(detail & 3)];
                continue;
            }
        };
        pieces.push(Piece { direction, bytes, fault });
        fault = Fault::None;
    }
    pieces
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The pieces as calls, cut into so many bytes, or not at all.
fn calls(pieces: &[Piece], how: u8, cut: usize) -> Vec<Made<'_>> {
    let mut now = 1_000_000_000;
    let mut made = |body| {
        now += 10_000;
        let connection = if how & 0x40 != 0 { BY_TLS | 1 } else { 1 };
        Made { ts_ns: now, tid: 43, connection, carried: false, body }
    };
    let mut events = Vec::new();
    if how & 0x20 == 0 {
        let origin = match (how & 0x10 != 0, how & 1) {
            (true, _) => Origin::Found,
            (false, 0) => Origin::Accept,
            (false, _) => Origin::Connect,
        };
        let [near, far] = [8080, 40_000].map(|port| Endpoint::Inet(([127, 0, 0, 1], port).into()));
        let (local, remote) = if how & 1 == 0 { (near, far) } else { (far, near) };
        events.push(made(Body::Open(Open { origin, transport: Transport::Tcp, local, remote })));
    }
    let source = if how & 0x40 != 0 { Source::OpenSsl } else { Source::Socket };
    let mut positions = [0u64; 2];
    for piece in pieces {
        // Those of a fault are recorded whole.
        let size = if cut == 0 || piece.fault != Fault::None { piece.bytes.len().max(1) } else { cut };
        for bytes in piece.bytes.chunks(size) {
            let place = &mut positions[piece.direction as usize];
            let position = *place;
            *place += bytes.len() as u64;
            if piece.fault == Fault::Lost {
                continue;
            }
            let kept = if piece.fault == Fault::Cut { bytes.len() / 2 } else { bytes.len() };
            let data = Data {
                direction: piece.direction,
                source,
                call: Call::Read,
                position,
                ready_ns: None,
                goroutine: 0,
                length: bytes.len() as u32,
                payload: &bytes[..kept],
                tail: &[],
            };
            events.push(made(Body::Data(data)));
            if piece.fault == Fault::Twice {
                events.push(made(Body::Data(data)));
            }
        }
    }
    if how & 0x80 != 0 {
        let [received, sent] = positions;
        events.push(made(Body::Close(Close { direction: None, received, sent })));
    }
    events
}
