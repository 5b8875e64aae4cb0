//! Query parameters, byte by byte: for texts that are decoded on the way (RFC 7541 strings).

use super::policy::{MAX_NAME, Policy};

/// The longest name of a parameter as sent: every byte of it percent-encoded, and a few brackets.
pub(super) const MAX_SENT: usize = 3 * MAX_NAME + 8;

/// Whether the value of a parameter ends before `byte`.
pub(super) fn ends_value(byte: u8) -> bool {
    matches!(byte, b'&' | b';' | b' ' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'\r' | b'\n' | b'\t' | 0)
}

/// Where in a text with parameters the next byte is.
#[derive(Debug, Default)]
pub(super) struct Query {
    state: State,
    name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Elsewhere,
    Name,
    Value,
}

impl Query {
    /// A new text begins.
    pub(super) fn begin(&mut self) {
        self.state = State::Elsewhere;
    }

    /// Whether the next byte is masked unless it ends a value.
    pub(super) fn in_value(&self) -> bool {
        self.state == State::Value
    }

    /// Takes the next byte; says whether it is masked.
    pub(super) fn push(&mut self, policy: &Policy, byte: u8) -> bool {
        match (self.state, byte) {
            (State::Value, byte) if !ends_value(byte) => return true,
            (_, b'?' | b'&' | b';') => {
                self.name.clear();
                self.state = State::Name;
            }
            (State::Name, b'=') => {
                let secret = policy.is_query_key(&self.name);
                self.state = if secret { State::Value } else { State::Elsewhere };
            }
            (State::Name, _) if self.name.len() < MAX_SENT && !ends_value(byte) => self.name.push(byte),
            _ => self.state = State::Elsewhere,
        }
        false
    }
}
