//! One stream: a request, its response, and how far both have come.

use beyla_schema::request::Protocol;

use crate::exchange::{Exchange, Side};
use crate::grpc;

/// State of a stream whose request is not settled.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) exchange: Exchange,
    pub(super) sides: [Progress; 2],
    /// Its response came first: when. The request may have been recorded late.
    pub(super) unasked: Option<u64>,
    /// Its response ended, at this time if that is known. Only the end of the request is waited for.
    #[allow(clippy::option_option, reason = "whether it ended, and when")]
    pub(super) answered: Option<Option<u64>>,
    /// The bytes of body that the head of its response announces.
    pub(super) length: Option<u64>,
    /// When that many had passed.
    whole_ns: Option<u64>,
}

/// How far one side has come.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Progress {
    /// Its head was seen, or passed unseen.
    pub(super) head: bool,
    pub(super) ended: bool,
    /// Body bytes so far.
    bytes: u64,
    /// Some may be missing from them.
    inexact: bool,
    /// How often the direction had lost its way when the stream began.
    losses: u32,
    /// The body consists of gRPC messages.
    pub(super) messages: bool,
}

impl Stream {
    /// A stream that begins when the directions have lost their way so often.
    pub(super) fn new(exchange: Exchange, losses: [u32; 2]) -> Self {
        let progress = |losses| Progress { losses, ..Progress::default() };
        Self {
            exchange,
            sides: losses.map(progress),
            unasked: None,
            answered: None,
            length: None,
            whole_ns: None,
        }
    }

    /// The head of one side says that it is one of gRPC.
    pub(super) fn speak(&mut self, by: Side, kind: Option<grpc::Kind>) {
        let (protocol, messages) = match kind {
            Some(grpc::Kind::Grpc) => (Protocol::Grpc, true),
            Some(grpc::Kind::Web) => (Protocol::GrpcWeb, true),
            Some(grpc::Kind::WebText) => (Protocol::GrpcWeb, false),
            None => return,
        };
        self.exchange.protocol = protocol;
        for side in [Side::Request, Side::Response] {
            let progress = &mut self.sides[side as usize];
            let missed = side != by && progress.head && !progress.messages;
            progress.messages = messages;
            if missed {
                self.messages(side).lose();
            }
        }
    }

    /// Takes captured bytes of a body.
    pub(super) fn body(&mut self, side: Side, bytes: &[u8]) {
        if self.sides[side as usize].messages {
            self.messages(side).feed(bytes);
        }
    }

    /// Passes over bytes of a body that are missing.
    pub(super) fn missing(&mut self, side: Side, count: u32) {
        if self.sides[side as usize].messages {
            self.messages(side).skip(count.into());
        }
    }

    fn messages(&mut self, side: Side) -> &mut grpc::Messages {
        match side {
            Side::Request => &mut self.exchange.rpc.request,
            Side::Response => &mut self.exchange.rpc.response,
        }
    }

    /// A frame had so many bytes of the body; None when that is not known.
    pub(super) fn count(&mut self, side: Side, bytes: Option<u32>) {
        let progress = &mut self.sides[side as usize];
        match bytes {
            Some(bytes) => progress.bytes = progress.bytes.saturating_add(bytes.into()),
            None => progress.inexact = true,
        }
    }

    /// The head, or a part of the body, of its response has passed, at this time if that is known.
    pub(super) fn answered_until(&mut self, now_ns: Option<u64>) {
        if self.is_whole() {
            self.whole_ns = self.whole_ns.or(now_ns);
        }
    }

    /// Its connection has closed. A response that has all of the body it announces lacks nothing but the mark of its end,
    /// which clients do not wait for.
    pub(super) fn close(&mut self, losses: [u32; 2]) {
        if let Some(whole_ns) = self.whole_ns
            && self.answered.is_none()
            && self.is_whole()
            && !self.is_doubtful(losses)
        {
            self.end(Side::Response, losses[Side::Response as usize]);
            self.answered = Some(Some(whole_ns));
        }
    }

    /// Whether its response has all of the body it announces. The status of gRPC comes behind the body.
    fn is_whole(&self) -> bool {
        let progress = &self.sides[Side::Response as usize];
        let is_plain = self.exchange.protocol == Protocol::Http2;
        is_plain && !progress.inexact && self.length == Some(progress.bytes)
    }

    /// Frames of a side may have been missed.
    pub(super) fn miss(&mut self, side: Side) {
        self.count(side, None);
        self.messages(side).lose();
        if side == Side::Response && self.answered.is_some() {
            self.exchange.response_bytes = None;
        }
    }

    /// The side has sent its last frame, when the direction had lost its way so often.
    pub(super) fn end(&mut self, side: Side, losses: u32) {
        let progress = &mut self.sides[side as usize];
        progress.ended = true;
        let whole = progress.losses == losses;
        let bytes = (whole && !progress.inexact).then_some(progress.bytes);
        match side {
            Side::Request => self.exchange.request_bytes = bytes,
            Side::Response => {
                self.exchange.response_bytes = bytes;
                if self.exchange.protocol == Protocol::GrpcWeb && progress.messages {
                    self.exchange.read_trailers();
                }
            }
        }
    }

    /// Whether frames of it may have been missed.
    pub(super) fn is_doubtful(&self, losses: [u32; 2]) -> bool {
        self.sides.iter().zip(losses).any(|(side, losses)| side.losses != losses)
    }
}
