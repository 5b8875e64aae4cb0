//! What holds for a handshake, whatever the bytes are.
#![allow(clippy::missing_panics_doc, reason = "a target that finds something ends")]

use beyla_schema::event::{Call, Data, Direction, Source};
use beyla_schema::request::Kind;

use super::Handshake;
use crate::Config;
use crate::exchange::Shared;

/// The same is learned however the bytes are cut, and in the end no memory is held.
pub fn handshakes(input: &[u8]) {
    let [kind, piece, bytes @ ..] = input else { return };
    let kind = if kind % 2 == 0 { Kind::Server } else { Kind::Client };
    let (whole, cut) = (run(kind, bytes, usize::MAX), run(kind, bytes, 1 + usize::from(*piece % 16)));
    assert_eq!(whole.facts(), cut.facts());
    let name = whole.facts().server_name.as_deref().unwrap_or("-");
    assert!((1..256).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()));
}

/// Runs of bytes, each of one direction and moment: how, their number, and they themselves.
fn run(kind: Kind, mut input: &[u8], piece: usize) -> Handshake {
    let mut shared = Shared::new(Config::default());
    let (mut handshake, mut positions, mut now) = (Handshake::Ahead, [0, 0], 0);
    while let [how, high, low, rest @ ..] = input {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (run, rest) = rest.split_at(length.min(rest.len()));
        let direction = if how & 1 == 0 { Direction::Receive } else { Direction::Send };
        let place: &mut u64 = &mut positions[usize::from(how & 1)];
        for part in run.chunks(piece) {
            let data = Data {
                direction,
                source: Source::Socket,
                call: Call::Read,
                position: *place,
                ready_ns: None,
                goroutine: 0,
                length: part.len() as u32,
                payload: if how & 2 == 0 { part } else { &[] },
                tail: &[],
            };
            handshake.data(now, &data, Some(kind), &mut shared);
            *place += part.len() as u64;
        }
        now += 1000;
        input = rest;
    }
    handshake.stop(&mut shared);
    assert_eq!(shared.memory, 0, "what is counted in is counted out");
    handshake
}
