//! Requests of an HTTP/1.x connection that wait for their response, as far as framing has to know of them (RFC 9112 section 6.3).

use std::collections::VecDeque;

/// Requests that are remembered until they are answered.
const MAX_ASKED: usize = 1024;

/// Requests that wait for their response: what both directions have to know of each other.
#[derive(Debug, Default)]
pub(super) struct Asked {
    methods: VecDeque<Method>,
    /// Responses that came before their request.
    early: u32,
    /// Requests or responses were missed: the next request is taken for the only one that waits.
    missed: bool,
    /// Others may wait beside those in `methods`, until a request comes when none does.
    unsure: bool,
}

/// The methods that change where a response ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    Other,
}

impl Method {
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b"HEAD" => Self::Head,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

impl Asked {
    pub(super) fn ask(&mut self, method: Method) {
        if self.missed {
            *self = Self { unsure: true, ..Self::default() };
        } else if self.methods.is_empty() && self.early == 0 {
            self.unsure = false;
        }
        if self.early > 0 {
            self.early -= 1;
            return;
        }
        if self.methods.len() == MAX_ASKED {
            self.methods.clear();
        }
        self.methods.push_back(method);
    }

    /// The method of the request that a response answers, and whether that is certain.
    pub(super) fn answer(&mut self) -> (Option<Method>, bool) {
        let method = self.methods.pop_front();
        self.early += u32::from(method.is_none() && !self.missed);
        (method, method.is_some() && !self.missed && !self.unsure)
    }

    /// Bytes were missed: of requests, after which those seen before keep their turn, or of responses.
    pub(super) fn lose(&mut self, responses: bool) {
        if responses {
            self.methods.clear();
        }
        self.early = 0;
        self.missed = true;
    }
}
