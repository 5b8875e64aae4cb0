//! What the targets do with the bytes that libFuzzer makes up: one function for each.

mod frames;
mod input;
mod tape;

pub use beyla_engine::fuzz::{bodies, frames, handshakes, heads};

use beyla_engine::http2::hpack::{Decoder, Field, MAX_STRING, Step};
use beyla_engine::redact::{Policy, Redactor};
use beyla_engine::{Config, Engine, Sink};
use beyla_schema::event::{Body, Data};
use beyla_schema::request::Request;
use input::Input;
use tape::Tape;

/// Header blocks say the same at once and in pieces, and nothing that is kept of them is long.
pub fn hpack(bytes: &[u8]) {
    let mut input = Input(bytes);
    let piece = 1 + usize::from(input.byte());
    let (mut whole, mut parts) = if piece % 2 == 0 {
        (Decoder::begun(), Decoder::begun())
    } else {
        (Decoder::found(), Decoder::found())
    };
    while !input.is_empty() {
        let control = input.byte();
        if control == 0xff {
            whole.lose();
            parts.lose();
        }
        let length = if control % 8 == 7 { usize::from(input.short()) } else { usize::from(control / 2) };
        let block = input.take(length);
        let (mut at_once, mut in_pieces) = (Vec::new(), Vec::new());
        let result = whole.block(block, |field| at_once.push(known(field)));
        for piece in block.chunks(piece) {
            let mut at = 0;
            while let Ok(Some(step)) = parts.step(piece, &mut at) {
                if step == Step::Field {
                    in_pieces.push(known(parts.field()));
                }
            }
        }
        assert_eq!((at_once, result.is_ok()), (in_pieces, parts.end_block().is_ok()));
    }
}

type Text = Option<Vec<u8>>;

fn known(field: Field<'_>) -> (Text, Text, bool) {
    for text in [field.name, field.value] {
        assert!(text.is_none_or(|text| text.len() <= MAX_STRING));
    }
    (field.name.map(<[u8]>::to_vec), field.value.map(<[u8]>::to_vec), field.never_indexed)
}

/// The redactor changes bytes and nothing else, none of them of what is no data, and what it leaves can be paired.
pub fn redact(bytes: &[u8]) {
    let mut input = Input(bytes);
    let policy = if input.byte() % 2 == 0 { Policy::standard() } else { Policy::standard().headers_only() };
    let mut redactor = Redactor::new(&policy).with_max_connections(3);
    let mut run = Run::new(Config::default());
    let mut tape = Tape::new(input);
    while let Some(event) = tape.next() {
        let event = event.event();
        let masked = redactor.redact(&event);
        if let (Body::Data(was), Body::Data(is)) = (event.body, masked.body) {
            assert_eq!((was.payload.len(), was.tail.len()), (is.payload.len(), is.tail.len()));
            assert_eq!(Data { payload: was.payload, tail: was.tail, ..is }, was);
        } else {
            assert_eq!(event, masked);
        }
        run.push(&masked);
    }
    run.finish();
}

/// The whole engine, fed with any events at all.
pub fn engine(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut run = Run::new(config(input.byte()));
    let mut tape = Tape::new(input);
    while let Some(event) = tape.next() {
        run.push(&event.event());
    }
    run.finish();
}

/// The whole engine, fed with connections that speak HTTP/2, more or less.
pub fn http2(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut run = Run::new(config(input.byte()));
    frames::connection(input, |event| run.push(&event.event()));
    run.finish();
}

/// Usual limits, or such as few bytes reach.
fn config(byte: u8) -> Config {
    let mut config = Config::default();
    if byte & 1 != 0 {
        config.max_head = 64 << (byte >> 1 & 3);
    }
    if byte & 8 != 0 {
        config.max_pending = 2;
    }
    if byte & 16 != 0 {
        config.max_connections = 3;
    }
    if byte & 32 != 0 {
        config.max_memory = 4096;
    }
    config
}

/// An engine, and what is true after every event.
struct Run {
    engine: Engine,
    seen: Check,
    events: u64,
    bytes: u64,
}

impl Run {
    fn new(config: Config) -> Self {
        Self { engine: Engine::new(config), seen: Check::default(), events: 0, bytes: 0 }
    }

    fn push(&mut self, event: &beyla_schema::event::Event<'_>) {
        self.events += 1;
        if let Body::Data(data) = event.body {
            self.bytes += (data.payload.len() + data.tail.len()) as u64;
        }
        self.engine.push(event, &mut self.seen);
        let stats = self.engine.stats();
        assert_eq!(stats.moved_bytes, stats.accounted_bytes(), "every byte is accounted for");
        assert_eq!(stats.events, self.events);
    }

    fn finish(mut self) {
        self.engine.finish(&mut self.seen);
        let stats = self.engine.stats();
        assert_eq!(stats.moved_bytes, stats.accounted_bytes(), "every byte is accounted for");
        assert_eq!(stats.requests, self.seen.requests);
        // A request takes a line at least, or a frame with a field.
        assert!(self.seen.requests <= self.events + self.bytes / 8, "requests are not made up");
    }
}

/// Checks requests as they come.
#[derive(Default)]
struct Check {
    requests: u64,
    ended_ns: u64,
}

impl Sink for Check {
    fn request(&mut self, request: &Request<'_>) {
        self.requests += 1;
        assert!(request.end_ns.is_none_or(|end| end >= request.start_ns), "an end after the beginning");
        assert!(request.ended_ns >= self.ended_ns, "in the order of their ends");
        self.ended_ns = request.ended_ns;
        assert!(request.status.is_none_or(|status| (100..1000).contains(&status)));
    }
}
