//! What sockets tell of TLS: whether a connection speaks it, when its handshake is over, and which session it carries.

use beyla_schema::wire::{Direction, State, Target};

use super::{READ, Read, TAKEN};
use crate::{
    frames,
    output::Actor,
    payload::{self, Moved, Segment},
};

// RFC 8446, section 5.1.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// No handshake is longer: what comes behind is ciphertext wherever calls begin.
const LONGEST_HANDSHAKE: u64 = 64 << 10;

/// Looks at a call at `position` of its stream. Whether its bytes are ciphertext that nobody needs.
#[inline(always)]
pub(crate) fn is_sealed(state: &mut State, position: u64, moved: &Moved) -> bool {
    let begins = position == 0;
    let shakes = state.flags & (State::TLS | State::SEALED) == State::TLS;
    let loose = moved.actor.target.0 & Target::HAS_TLS != 0 && state.flags & State::TIED == 0;
    if begins || shakes || loose {
        look(state, moved, position);
    }
    state.flags & State::SEALED != 0
}

/// Apart from its caller because few calls get here.
#[inline(never)]
fn look(state: &mut State, moved: &Moved, position: u64) -> u64 {
    let Segment { base, length } = frames::first(&moved.bytes);
    let word = if length >= 4 && base != 0 { payload::read_word(base) } else { 0 };
    let [kind, major, minor, _] = word.to_ne_bytes();
    let is_record = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind) && major == 3 && minor <= 4;
    if position == 0 && is_record && kind == HANDSHAKE {
        state.flags |= State::TLS;
    }
    if state.flags & State::TLS != 0
        && (is_record && kind == APPLICATION_DATA || position > LONGEST_HANDSHAKE)
    {
        state.flags |= State::SEALED;
    }
    if moved.actor.target.0 & Target::HAS_TLS != 0 && state.flags & State::TIED == 0 {
        tie(state, moved, is_record);
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
