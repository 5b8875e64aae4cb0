//! A record of bytes that a call moved: their position, their true length, and how much of them is kept.

use beyla_schema::wire::{Data, Direction, FLOOR, Kind, MAX_PAYLOAD, SEALED_BYTES, Source, State, TAIL};

use crate::{
    frames, kernel, output,
    payload::{self, Moved},
    tls,
};

/// Most bytes kept of one message; the loader sets it.
#[unsafe(no_mangle)]
static SNAPLEN: u32 = MAX_PAYLOAD as u32;

/// Look at bytes that stay where they are.
pub(crate) const MSG_PEEK: u64 = 0x2;
/// TCP throws bytes away instead of copying them; a datagram tells its length, whatever was copied of it.
pub(crate) const MSG_TRUNC: u64 = 0x20;
/// Reads other bytes than those of the stream.
pub(crate) const MSG_ERRQUEUE: u64 = 0x2000;

/// Records bytes of a connection, or of the plaintext of a TLS session.
#[inline(always)]
pub(crate) fn record(state: &mut State, moved: &Moved) {
    let &Moved { bytes, length, actor, direction, source } = moved;
    let length = length as u32;
    let (counter, ready_ns) = match direction {
        Direction::Receive => (&mut state.received, core::mem::take(&mut state.ready_ns)),
        Direction::Send => (&mut state.sent, 0),
    };
    // Threads may write to one connection at the same time.
    let position = kernel::add(counter, length.into());

    // The snaplen counts from the last change of direction, so that it bounds a message and not a call.
    if state.direction != direction as u32 || state.flags & State::DATAGRAM != 0 {
        state.direction = direction as u32;
        state.turn = position;
    }
    let mut data = Data {
        head: output::numbered(Kind::Data, state.cookie, actor, 0),
        position,
        ready_ns,
        length,
        captured: length,
        tail: 0,
        call: bytes.call as u8,
        direction: direction as u8,
        source: source as u8,
        pad: 0,
    };
    // A client may change to another protocol where it begins to speak.
    let asks = frames::may_begin(state, position, direction);
    let is_socket = source as u8 == Source::Socket as u8;
    let first = if asks || is_socket && tls::socket::looks(state, position, moved) {
        payload::first_word(&moved.bytes, length.into()) as u32
    } else {
        0
    };
    if is_socket && tls::socket::is_sealed(state, position, moved, asks, first) {
        data.captured = length.min(SEALED_BYTES as u32);
        data.head.seq = output::number();
        payload::deliver(data, direction, bytes);
        return;
    }
    if frames::are_followed(state, moved, asks, first) {
        let scratch = match source {
            Source::Socket => payload::scratch(direction),
            Source::OpenSsl | Source::Go => payload::claim(),
        };
        let Some(scratch) = scratch else {
            output::lost(|counters| &mut counters.storage_full);
            return;
        };
        (scratch.data, scratch.moved) = (Data { length: 0, captured: 0, ..data }, *moved);
        frames::record(state, scratch);
        payload::release(scratch);
        return;
    }

    let left = u64::from(snaplen()).saturating_sub(position - state.turn).max(FLOOR as u64);
    if u64::from(length) > left {
        data.tail = TAIL as u32;
        data.captured = (left as u32).min(length - data.tail).min((MAX_PAYLOAD - TAIL) as u32);
    }
    data.head.seq = output::number();
    payload::deliver(data, direction, bytes);
}

/// Most bytes kept of one message.
#[inline(always)]
pub(crate) fn snaplen() -> u32 {
    kernel::setting(&SNAPLEN)
}
