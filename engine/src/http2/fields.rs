//! What header blocks say of requests and responses (RFC 9113 section 8.3).
//!
//! A field whose name or value depends on bytes that were not seen is unknown. It is left out, never guessed.

use super::hpack::Decoder;
use crate::exchange::{Exchange, Text};
use crate::{grpc, trace};

/// What kind of block a request's was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    /// It names a method.
    pub(super) method: bool,
    /// Some of its fields are unknown.
    pub(super) unknown: bool,
    /// The kind of gRPC its content type stands for.
    pub(super) grpc: Option<grpc::Kind>,
}

/// What kind of block a response's was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Response {
    /// Its status.
    pub(super) status: Option<u16>,
    /// Its content type stands for gRPC-Web, whose messages can be read.
    pub(super) grpc: Option<grpc::Kind>,
    /// The bytes of body that it announces.
    pub(super) length: Option<u64>,
}

/// Reads the head of a request into `exchange`.
pub(super) fn request(decoder: &mut Decoder, block: &[u8], exchange: &mut Exchange) -> Request {
    let mut read = Request::default();
    let mut host = false;
    let texts = &mut exchange.texts;
    // Several are none.
    let mut context = None;
    let whole = decoder.block(block, |field| {
        let Some(name) = field.name else {
            read.unknown = true;
            return;
        };
        let Some(value) = field.value else {
            read.method |= name == b":method";
            read.unknown = true;
            return;
        };
        match name {
            b":method" => {
                read.method = true;
                texts.set(Text::Method, value);
            }
            b":scheme" => texts.set(Text::Scheme, value),
            b":authority" => {
                host = true;
                texts.set(Text::Authority, value);
            }
            b"host" if !host => texts.set(Text::Authority, value),
            b":path" => {
                let value = &value[..memchr::memchr(b'#', value).unwrap_or(value.len())];
                let mark = memchr::memchr(b'?', value);
                texts.set(Text::Path, &value[..mark.unwrap_or(value.len())]);
                texts.set_some(Text::Query, mark.map(|mark| &value[mark + 1..]));
            }
            b"user-agent" => texts.set(Text::UserAgent, value),
            b"content-type" => {
                read.grpc = grpc::kind(value);
                texts.set(Text::RequestType, value);
            }
            b"traceparent" => context = Some(context.map_or_else(|| trace::context(value), |_| None)),
            b"tracestate" => texts.append(Text::TraceState, value),
            _ => {}
        }
    });
    read.unknown |= whole.is_err();
    exchange.trace(context.flatten());
    read
}

/// Reads the head or the trailers of a response into `exchange`.
pub(super) fn response(decoder: &mut Decoder, block: &[u8], exchange: &mut Exchange) -> Response {
    let mut read = Response::default();
    let _ = decoder.block(block, |field| {
        let (Some(name), Some(value)) = (field.name, field.value) else { return };
        match name {
            b":status" => read.status = status(value),
            b"content-type" => {
                read.grpc = grpc::kind(value);
                exchange.texts.set(Text::ResponseType, value);
            }
            b"content-length" => read.length = length(value),
            b"grpc-status" => exchange.rpc.set_status(value),
            b"grpc-message" => exchange.texts.set(Text::RpcMessage, &grpc::message(value)),
            _ => {}
        }
    });
    read
}

/// Reads a block of which nothing is needed, since later ones may depend on it.
pub(super) fn pass(decoder: &mut Decoder, block: &[u8]) {
    let _ = decoder.block(block, |_| {});
}

/// Digits alone, at most as many as no overflow can come of.
fn length(value: &[u8]) -> Option<u64> {
    let digits = matches!(value.len(), 1..=19) && value.iter().all(u8::is_ascii_digit);
    digits.then(|| value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// Three digits.
fn status(value: &[u8]) -> Option<u16> {
    match *value {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Some([a, b, c].iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
        }
        _ => None,
    }
}
