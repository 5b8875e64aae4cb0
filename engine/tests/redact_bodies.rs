//! Bodies pass the redactor as they are, however long they are, and whatever the recorder keeps of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use beyla_engine::redact::{Policy, Redactor};
use beyla_engine::{Config, Engine};
use beyla_schema::event::{Body, Direction};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{Collect, Seen, Tape, What};

const RECV: Direction = Direction::Receive;
const SEND: Direction = Direction::Send;

/// What the recorder keeps of a message, of each call after that, and of the end of a call.
const SNAPLEN: usize = 16 << 10;
const FLOOR: usize = 192;
const TAIL: usize = 64;

#[derive(Clone, Copy, Debug)]
enum Fill {
    Random(u64),
    Letter,
    Json,
    Html,
}

impl Fill {
    fn bytes(self, size: usize) -> Vec<u8> {
        let text = match self {
            Self::Random(mut state) => {
                let mut next = || {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 32) as u8
                };
                return (0..size).map(|_| next()).collect();
            }
            Self::Letter => "x",
            Self::Json => r#"{"id":12345,"name":"A product","price":12.5,"tags":["a","b"]},"#,
            Self::Html => "<li class=\"item\">\n  <a href=\"/shop?id=12&amp;page=3\">item</a>: 12.50</li>\n",
        };
        text.bytes().cycle().take(size).collect()
    }
}

#[derive(Clone, Debug)]
struct Content {
    fill: Fill,
    size: usize,
    chunk: Option<usize>,
    trailer: bool,
}

impl Content {
    /// The end of a head, and the body; and where the lines of chunks begin.
    fn render(&self, message: &mut Vec<u8>) -> Vec<usize> {
        let body = self.fill.bytes(self.size);
        let mut lines = Vec::new();
        let Some(chunk) = self.chunk else {
            message.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            message.extend(body);
            return lines;
        };
        message.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        for part in body.chunks(chunk) {
            lines.push(message.len());
            message.extend(format!("{:x}\r\n", part.len()).bytes());
            message.extend(part);
            message.extend(b"\r\n");
        }
        lines.push(message.len());
        message.extend_from_slice(if self.trailer { b"0\r\nT: v\r\n\r\n" } else { b"0\r\n\r\n" });
        lines
    }
}

fn content() -> impl Strategy<Value = Content> {
    let fill = prop_oneof![
        4 => any::<u64>().prop_map(|seed| Fill::Random(seed | 1)),
        1 => Just(Fill::Letter),
        1 => Just(Fill::Json),
        1 => Just(Fill::Html),
    ];
    let size = prop_oneof![3 => 10_000..100_000usize, 1 => 100_000..=1usize << 20];
    let chunk = prop_oneof![
        Just(None),
        prop_oneof![Just(1000), Just(4096), Just(32 << 10), Just(100_000), Just(1 << 20), 500..70_000usize]
            .prop_map(Some),
    ];
    (fill, size, chunk, prop::bool::weighted(0.2)).prop_map(|(fill, size, chunk, trailer)| Content {
        fill,
        size,
        chunk,
        trailer,
    })
}

/// How a message is cut into calls.
#[derive(Clone, Debug)]
struct Cut {
    most: usize,
    /// Also so many bytes after the beginning of some lines of chunks: within them, or before, or after.
    lines: Vec<(prop::sample::Index, usize)>,
    /// Also so many bytes before the end.
    ends: Vec<usize>,
}

fn cut() -> impl Strategy<Value = Cut> {
    let most = prop_oneof![Just(4096), Just(64 << 10), Just(32 << 10), Just(32_775), 300..200_000usize];
    (most, vec((any::<prop::sample::Index>(), 0..9usize), 0..6), vec(0..80usize, 0..3))
        .prop_map(|(most, lines, ends)| Cut { most, lines, ends })
}

impl Cut {
    fn calls<'a>(&self, message: &'a [u8], lines: &[usize]) -> Vec<&'a [u8]> {
        let length = message.len();
        let mut at: Vec<usize> = (0..length).step_by(self.most).chain([length]).collect();
        if !lines.is_empty() {
            at.extend(self.lines.iter().map(|(line, shift)| (line.get(lines) + shift).saturating_sub(2)));
        }
        at.extend(self.ends.iter().map(|before| length.saturating_sub(*before)));
        at.retain(|at| *at <= length);
        at.sort_unstable();
        at.dedup();
        at.windows(2).map(|pair| &message[pair[0]..pair[1]]).collect()
    }
}

/// One message, of which the recorder keeps what it keeps.
fn message(mut tape: Tape, direction: Direction, calls: &[&[u8]]) -> Tape {
    let mut turn = 0;
    for call in calls {
        let left = SNAPLEN.saturating_sub(turn).max(FLOOR);
        let kept = if call.len() > left { left.min(call.len() - TAIL) } else { call.len() };
        tape = tape.snaplen(kept).data(direction, call);
        turn += call.len();
    }
    tape
}

#[derive(Clone, Debug)]
struct Turn {
    method: &'static str,
    contents: [Content; 2],
    cuts: [Cut; 2],
}

fn turn() -> impl Strategy<Value = Turn> {
    (prop_oneof![Just("POST"), Just("GET")], [content(), content()], [cut(), cut()])
        .prop_map(|(method, contents, cuts)| Turn { method, contents, cuts })
}

fn record(mut tape: Tape, turns: &[Turn], client: bool) -> Tape {
    let [ask, answer] = if client { [SEND, RECV] } else { [RECV, SEND] };
    let small = |text: &'static str| [text.as_bytes()];
    for turn in turns {
        let [asked, answered] = &turn.contents;
        let mut request = format!("{} /large HTTP/1.1\r\nHost: a\r\n", turn.method).into_bytes();
        let mut lines = Vec::new();
        if turn.method == "POST" {
            lines = asked.render(&mut request);
        } else {
            request.extend(b"\r\n");
        }
        tape = message(tape, ask, &turn.cuts[0].calls(&request, &lines));
        let mut response = b"HTTP/1.1 201 Created\r\n".to_vec();
        let lines = answered.render(&mut response);
        tape = message(tape, answer, &turn.cuts[1].calls(&response, &lines));
        tape = message(tape, ask, &small("GET /small HTTP/1.1\r\nHost: a\r\n\r\n"));
        tape = message(tape, answer, &small("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    }
    tape
}

fn redact(policy: &Policy, tape: &Tape) -> Tape {
    let mut redactor = Redactor::new(policy);
    let mut tape = tape.clone();
    for recorded in &mut tape.events {
        let Body::Data(data) = redactor.redact(&recorded.event()).body else {
            continue;
        };
        let masked = (data.payload.to_vec(), data.tail.to_vec());
        if let What::Data { payload, tail, .. } = &mut recorded.what {
            (*payload, *tail) = masked;
        }
    }
    tape
}

fn requests(tape: &Tape) -> Vec<Seen> {
    let mut engine = Engine::new(Config::default());
    let mut seen = Collect::default();
    tape.events.iter().for_each(|recorded| recorded.push(&mut engine, &mut seen));
    engine.finish(&mut seen);
    seen.0
}

/// The captured bytes of a direction that follow each other without a gap, between gaps.
fn runs(tape: &Tape, of: Direction) -> Vec<Vec<u8>> {
    let mut runs = vec![Vec::new()];
    for recorded in &tape.events {
        let What::Data { direction, length, payload, tail, .. } = &recorded.what else { continue };
        if *direction != of {
            continue;
        }
        runs.last_mut().unwrap().extend(payload);
        if payload.len() + tail.len() < *length as usize {
            runs.push(Vec::new());
        }
        runs.last_mut().unwrap().extend(tail);
    }
    runs
}

/// Nothing is masked but text that follows a gap, in the line that the gap is in. Gives the number of masked bytes.
fn assert_kept(tape: &Tape, masked: &Tape) -> usize {
    let mut count = 0;
    for of in [RECV, SEND] {
        for (at, (was, is)) in runs(tape, of).iter().zip(&runs(masked, of)).enumerate() {
            let Some(last) = was.iter().zip(is).rposition(|(was, is)| was != is) else { continue };
            let show = |bytes: &[u8]| bytes[..bytes.len().min(last + 40)].escape_ascii().to_string();
            assert!(at > 0, "before any gap: {}", show(is));
            // The gap may be in the end of the line before, which a line in a head may continue.
            let first = was.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(0);
            let line = was[first.min(2)..=last].iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
            assert!(line, "{of:?}: {} became {}", show(was), show(is));
            count += last + 1;
        }
    }
    count
}

/// Whether no trailers are sent. After a gap, `headers-only` cannot tell them from a body.
fn has_plain_ends(turns: &[Turn]) -> bool {
    turns.iter().flat_map(|turn| &turn.contents).all(|content| content.chunk.is_none() || !content.trailer)
}

proptest! {
    #![proptest_config(support::cases(60))]

    #[test]
    fn large_bodies_are_kept_and_paired_as_before(turns in vec(turn(), 1..3), client in any::<bool>()) {
        let tape = record(if client { Tape::connect() } else { Tape::accept() }, &turns, client);
        let was = requests(&tape);
        let masked = redact(&Policy::standard(), &tape);
        prop_assert_eq!(&was, &requests(&masked));
        let count = assert_kept(&tape, &masked);
        if turns.iter().flat_map(|turn| &turn.contents).all(|content| content.chunk.is_none()) {
            prop_assert_eq!(count, 0, "bodies whose length is known");
        }
        if has_plain_ends(&turns) {
            prop_assert_eq!(&was, &requests(&redact(&Policy::standard().headers_only(), &tape)), "headers-only");
        }
    }

    #[test]
    fn a_connection_that_is_found_within_a_body_is_paired_as_before(
        turns in vec(turn(), 2..4), client in any::<bool>(), unopened in any::<bool>(), from in 1..20usize,
    ) {
        let mut tape = record(if unopened { Tape::unopened() } else { Tape::found() }, &turns, client);
        let opens = usize::from(!unopened);
        let large = tape.events.len() - opens;
        tape.events.drain(opens..opens + from.min(large));
        let was = requests(&tape);
        prop_assert_eq!(&was, &requests(&redact(&Policy::standard(), &tape)));
        if has_plain_ends(&turns) {
            prop_assert_eq!(&was, &requests(&redact(&Policy::standard().headers_only(), &tape)), "headers-only");
        }
    }
}
