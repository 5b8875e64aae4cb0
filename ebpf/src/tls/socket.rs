//! What sockets tell of TLS: whether a connection speaks it, when its handshake is over, and which session it carries.

use beyla_schema::wire::{Direction, State, Target};

use super::{READ, Read, TAKEN};
use crate::{output::Actor, payload::Moved};

// RFC 8446, section 5.1.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// No handshake is longer: what comes behind is ciphertext wherever calls begin.
const LONGEST_HANDSHAKE: u64 = 64 << 10;

/// Whether a call at `position` of its stream is looked at for TLS.
#[inline(always)]
pub(crate) fn looks(state: &mut State, position: u64, moved: &Moved) -> bool {
    position == 0 || shakes(state) || is_loose(state, moved)
}

/// Looks at a call at `position` of its stream, which begins with the bytes `word`, where a client begins to speak if it
/// `asks`. Whether its bytes are ciphertext that nobody needs.
#[inline(always)]
pub(crate) fn is_sealed(state: &mut State, position: u64, moved: &Moved, asks: bool, word: u32) -> bool {
    let is_record = record_kind(word) != 0;
    if is_record {
        state.flags &= !State::CLEAR;
    }
    if looks(state, position, moved) {
        look(state, moved, position, word.into());
        // Elsewhere it may be the middle of a record.
        if (asks || position == 0) && word != 0 && !is_record && state.flags & State::TLS == 0 {
            state.flags |= State::CLEAR;
        }
    }
    state.flags & State::SEALED != 0
}

/// Whether the handshake of a connection in TLS is not over.
#[inline(always)]
fn shakes(state: &State) -> bool {
    state.flags & (State::TLS | State::SEALED) == State::TLS
}

/// Whether there may be a session that the connection is to be tied to.
#[inline(always)]
fn is_loose(state: &State, moved: &Moved) -> bool {
    moved.actor.target.0 & Target::HAS_TLS != 0 && state.flags & (State::TIED | State::CLEAR) == 0
}

/// The kind of the record that begins with these bytes; 0 when none does.
#[inline(always)]
fn record_kind(word: u32) -> u8 {
    let [kind, major, minor, _] = word.to_ne_bytes();
    let is_record = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind) && major == 3 && minor <= 4;
    if is_record { kind } else { 0 }
}

/// Apart from its caller because few calls get here.
#[inline(never)]
fn look(state: &mut State, moved: &Moved, position: u64, word: u64) -> u64 {
    let kind = record_kind(word as u32);
    if position == 0 && kind == HANDSHAKE {
        state.flags |= State::TLS;
    }
    if state.flags & State::TLS != 0 && (kind == APPLICATION_DATA || position > LONGEST_HANDSHAKE) {
        state.flags |= State::SEALED;
    }
    if is_loose(state, moved) {
        tie(state, moved, kind != 0);
    }
    0
}

#[inline(always)]
fn tie(state: &mut State, moved: &Moved, is_record: bool) {
    let actor = moved.actor;
    if let Some(inside) = super::inside(actor) {
        let Some(session) = super::session(actor, inside.object) else { return };
        if session.cookie == 0 {
            session.cookie = state.cookie;
            session.flags |= state.flags & State::CONNECTING;
        }
        if session.cookie == state.cookie {
            state.flags |= State::TIED | State::TLS;
        }
        return;
    }
    // SAFETY: the value is not read.
    if unsafe { TAKEN.get(state.cookie) }.is_some() {
        state.flags |= State::TIED | State::TLS;
    } else if moved.direction as u32 == Direction::Receive as u32
        && (is_record || state.flags & State::TLS != 0)
    {
        let read = Read { cookie: state.cookie, flags: state.flags.into() };
        let _ = READ.insert(Actor::thread(actor), read, 0);
    }
}
