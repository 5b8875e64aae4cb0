//! Where the messages of an HTTP/1.x connection begin and end (RFC 9112 section 6), in pieces of any size.
//!
//! This is knowledge of a lesser kind than the engine's: it decides which bytes are a body, and where a secret in a
//! body cannot go on. What is kept of a head is the method or the status, and what it says about the body.

use memchr::memchr;

use crate::http1::head::{self, BodyFields, Framing};
use crate::http2::frame;

use super::asked::{Asked, Method};

/// Bytes that are kept of a line of a head that comes in pieces.
const MAX_KEPT: usize = 16 << 10;

/// Buffers above this size are not kept for the next message.
const SPARE: usize = 1024;

/// Bytes that are looked at to see what a stream begins with.
const MAX_PROBE: usize = 64;

/// One direction.
#[derive(Debug)]
pub(super) struct Framer {
    phase: Phase,
    /// What was seen of a message that may begin, or of a line that comes in pieces.
    line: Vec<u8>,
    /// What the head begins with.
    start: Start,
    /// What it says about the body.
    fields: BodyFields,
    /// A message was seen.
    spoken: bool,
    /// Nothing was missed of which the place is not known.
    whole: bool,
    doubt: Doubt,
    /// The place was lost in chunks, or where chunks may have begun, and no message began since.
    in_chunks: bool,
}

/// The first line of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// None was seen.
    None,
    Request(Method),
    /// With its status.
    Response(u16),
}

/// Whether there is a body at all: the request may have been HEAD, or waits for leave to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    None,
    /// What follows the head will tell.
    Fresh,
    /// What followed the head did not tell.
    Lasting,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Perhaps the beginning of a message.
    Start(Trust),
    /// A line of a head, the first or another one.
    Line { first: bool },
    /// A body, or a chunk, of so many more bytes.
    Data { left: u64, chunk: bool },
    /// The end of the line after a chunk.
    ChunkEnd,
    /// The line with the size of a chunk.
    ChunkSize,
    /// A line after the last chunk.
    Trailer,
    /// A body that ends with the connection.
    UntilClose,
    /// Another protocol.
    Opaque,
    /// Unknown, until a call begins like a message.
    Lost,
}

/// What is known of the place where a message may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// The first byte, or the end of the message before.
    Boundary,
    /// The end of a message after which another protocol is spoken.
    Switch,
    /// Nothing.
    Unknown,
}

/// What bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// They may become the beginning of a message.
    Start,
    /// A head, the framing of chunks, or trailers.
    Head,
    /// A body.
    Body,
    /// Neither.
    Other,
}

/// What became of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// So many of them are of one kind; zero when only the state changed.
    pub(super) length: usize,
    pub(super) region: Region,
    pub(super) event: Event,
}

/// What was found out on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    None,
    /// The next byte plainly belongs to a message that begins with it, or began a few bytes ago.
    Begins,
    /// Both directions speak another protocol after this.
    Switches,
    /// After these bytes, a client speaks HTTP/2.
    Preface,
    /// This is the head of the first frame of an HTTP/2 server, of which these bytes are the end.
    Settings([u8; frame::HEAD]),
    /// The next bytes are HTTP/2 frames, of a connection that is seen from its middle.
    Frames,
}

/// Where bytes were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Within a body, or another protocol.
    Body,
    /// In or after chunks, or where chunks may have begun.
    Chunks,
    /// In a head, or perhaps in one.
    Unknown,
}

impl Framer {
    /// For a stream whose first byte comes next.
    pub(super) fn begun() -> Self {
        Self { whole: true, ..Self::new(Phase::Start(Trust::Boundary)) }
    }

    /// For a stream that begins somewhere.
    pub(super) fn found() -> Self {
        Self::new(Phase::Start(Trust::Unknown))
    }

    fn new(phase: Phase) -> Self {
        Self {
            phase,
            line: Vec::new(),
            start: Start::None,
            fields: BodyFields::default(),
            spoken: false,
            whole: false,
            doubt: Doubt::None,
            in_chunks: false,
        }
    }

    /// The other direction has agreed to another protocol.
    pub(super) fn switch(&mut self) {
        self.in_chunks = false;
        self.enter(Phase::Start(Trust::Switch));
    }

    /// A call begins with `bytes`, perhaps after the other direction had its turn.
    pub(super) fn call(&mut self, bytes: &[u8], turned: bool) {
        let begins = || head::begins_request_line(bytes) || status(bytes);
        match self.phase {
            Phase::Lost => self.enter(Phase::Start(Trust::Unknown)),
            // A HEAD request that was not seen, or a body that was never sent (RFC 9110 section 10.1.1).
            Phase::Data { .. } | Phase::ChunkSize | Phase::UntilClose
                if self.doubt != Doubt::None && turned && begins() =>
            {
                self.enter(Phase::Start(Trust::Boundary));
            }
            _ => {}
        }
    }

    /// So many bytes were missed.
    pub(super) fn gap(&mut self, count: u64, asked: &mut Asked) -> Gap {
        // Where there may be no body, it may have been a head.
        let within = if self.doubt != Doubt::None && self.is_response() { Gap::Unknown } else { Gap::Body };
        if self.doubt == Doubt::Fresh {
            self.doubt = Doubt::Lasting;
        }
        match &mut self.phase {
            Phase::Data { left, .. } if count <= *left => {
                *left -= count;
                self.end_data();
                return within;
            }
            Phase::UntilClose => return within,
            Phase::Opaque => return Gap::Body,
            _ => {}
        }
        self.in_chunks = match self.phase {
            Phase::Data { chunk, .. } => chunk,
            Phase::ChunkEnd | Phase::ChunkSize | Phase::Trailer => true,
            // The rest of the head may announce them, unless it is that of a protocol switch.
            Phase::Line { first: false } => matches!(self.start, Start::Response(status) if status != 101),
            Phase::Start(Trust::Unknown) | Phase::Lost => self.in_chunks,
            _ => false,
        };
        self.whole = false;
        self.enter(Phase::Start(Trust::Unknown));
        asked.lose(self.is_response());
        if self.in_chunks { Gap::Chunks } else { Gap::Unknown }
    }

    /// Whether the next byte is to begin a message.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.phase, Phase::Start(_))
    }

    /// Whether nothing of the stream has said what it is.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.phase, Phase::Start(Trust::Unknown) | Phase::Lost) && !self.spoken
    }

    /// Whether the stream is not known to be HTTP/1.x, nor to be something else.
    pub(super) fn is_stranger(&self) -> bool {
        self.phase == Phase::Lost && !self.spoken
    }

    /// How many bytes at the end of `bytes`, which are no part of a message, may be a last chunk all the same.
    pub(super) fn last_chunk(&self, bytes: &[u8]) -> usize {
        let ends = [&b"\r\n0\r\n\r\n"[..], b"0\r\n\r\n"];
        let kept = self.phase == Phase::Lost && (bytes == ends[1] || bytes.ends_with(ends[0]));
        if kept { bytes.len().min(ends[0].len()) } else { 0 }
    }

    /// Reads the beginning of `bytes`, which are not empty. `sure`: no secret may go on in them. `strict`: what is not
    /// known to be a head must not be taken for one.
    pub(super) fn step(&mut self, bytes: &[u8], sure: bool, strict: bool, asked: &mut Asked) -> Step {
        let step = |length, region| Step { length, region, event: Event::None };
        match self.phase {
            Phase::Start(trust) => {
                let step = self.start(trust, bytes, sure, strict);
                if self.phase == Phase::Lost {
                    // A message may pass by unseen.
                    asked.lose(false);
                }
                step
            }
            Phase::Line { .. } | Phase::ChunkEnd | Phase::ChunkSize | Phase::Trailer => {
                self.line(bytes, asked)
            }
            Phase::Data { left, chunk } => {
                let length = left.min(bytes.len() as u64);
                self.phase = Phase::Data { left: left - length, chunk };
                self.settle(bytes);
                self.end_data();
                step(length as usize, Region::Body)
            }
            Phase::UntilClose => {
                self.settle(bytes);
                step(bytes.len(), Region::Body)
            }
            Phase::Opaque | Phase::Lost => step(bytes.len(), Region::Other),
        }
    }

    /// Whether what comes next is a line of a head: nothing can begin with it, whatever the scanner finds before.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.phase, Phase::Line { .. })
    }

    /// Whether the message is a response: what is doubtful about its body is so to its end.
    fn is_response(&self) -> bool {
        matches!(self.start, Start::Response(_))
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.line.clear();
        if !matches!(phase, Phase::Data { chunk: false, .. } | Phase::ChunkSize | Phase::UntilClose) {
            self.doubt = Doubt::None;
        }
    }

    /// Whether there is a body, given `bytes` of it: for responses, that is told by the first of them alone.
    fn settle(&mut self, bytes: &[u8]) {
        let unclear = self.is_response() && bytes.iter().zip(b"HTTP/1.").all(|(byte, other)| byte == other);
        self.doubt = match self.doubt {
            Doubt::Lasting if self.is_response() => Doubt::Lasting,
            Doubt::Fresh if unclear => Doubt::Lasting,
            _ => Doubt::None,
        };
    }

    fn end_data(&mut self) {
        match self.phase {
            Phase::Data { left: 0, chunk: true } => self.enter(Phase::ChunkEnd),
            Phase::Data { left: 0, chunk: false } => self.enter(Phase::Start(Trust::Boundary)),
            _ => {}
        }
    }

    /// Looks whether a message begins.
    fn start(&mut self, trust: Trust, bytes: &[u8], sure: bool, strict: bool) -> Step {
        let known = self.line.len();
        if known == 0 && trust != Trust::Unknown {
            // Blank lines before a message are ignored (RFC 9112 section 2.2).
            let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank > 0 {
                return Step { length: blank, region: Region::Head, event: Event::None };
            }
        }
        let room = bytes.len().min(MAX_PROBE - known);
        self.line.extend_from_slice(&bytes[..room]);
        let (event, length) = match self.verdict(trust, bytes, known, sure, strict) {
            Verdict::Undecided => {
                return Step { length: bytes.len(), region: Region::Start, event: Event::None };
            }
            Verdict::Preface => (Event::Preface, frame::PREFACE.len() - known),
            Verdict::Settings(head) => (Event::Settings(head), frame::HEAD - known),
            Verdict::Frames => (Event::Frames, 0),
            Verdict::Begins => (Event::Begins, 0),
            Verdict::Not => (Event::None, 0),
        };
        self.line.truncate(known);
        self.in_chunks &= event == Event::None;
        match (event, trust) {
            (Event::Begins, _) => self.phase = Phase::Line { first: true },
            // Without anything to hide, a line is a message until it is complete and is none.
            (Event::None, Trust::Boundary) if !strict => self.phase = Phase::Line { first: true },
            (Event::None, Trust::Boundary) if self.spoken => self.enter(Phase::Lost),
            (Event::None, Trust::Unknown) => self.enter(Phase::Lost),
            _ => self.enter(Phase::Opaque),
        }
        Step { length, region: Region::Head, event }
    }

    /// What a stream begins with. `self.line` has the beginning, the first `known` bytes of which came earlier.
    fn verdict(&self, trust: Trust, bytes: &[u8], known: usize, sure: bool, strict: bool) -> Verdict {
        let probe = &self.line[..];
        if probe.starts_with(frame::PREFACE) {
            return Verdict::Preface;
        }
        if frame::PREFACE.starts_with(probe) {
            return Verdict::Undecided;
        }
        match (frame::begins_settings(probe), probe.first_chunk()) {
            (Some(true), Some(head)) => return Verdict::Settings(*head),
            (None, _) => return Verdict::Undecided,
            _ => {}
        }
        if trust == Trust::Switch {
            return Verdict::Not;
        }
        if trust == Trust::Unknown && known == 0 && frame::begins_frames(bytes) {
            return Verdict::Frames;
        }
        let any_method = trust == Trust::Boundary && sure;
        let line = if known == 0 { bytes } else { probe };
        let good = if memchr(b'\n', line).is_some() {
            let request = || {
                if trust == Trust::Boundary {
                    head::may_be_request(line)
                } else {
                    head::begins_request_line(line)
                }
            };
            // A status line is told by its first bytes.
            return if status(line) || request() { Verdict::Begins } else { Verdict::Not };
        } else if strict && trust == Trust::Unknown {
            false
        } else if any_method {
            head::may_be_request(line) || head::may_be_response(line)
        } else {
            head::begins_request(line) || head::may_be_response(line)
        };
        let decided = probe.starts_with(b"HTTP/1.")
            || memchr(b' ', probe).is_some_and(|space| space + 1 < probe.len())
            || probe.len() == MAX_PROBE;
        match (good, decided) {
            (false, _) => Verdict::Not,
            (true, true) => Verdict::Begins,
            (true, false) => Verdict::Undecided,
        }
    }

    /// Reads a line, or a piece of one.
    fn line(&mut self, bytes: &[u8], asked: &mut Asked) -> Step {
        let step = |length, region| Step { length, region, event: Event::None };
        let Some(end) = memchr(b'\n', bytes) else {
            let room = bytes.len().min(MAX_KEPT.saturating_sub(self.line.len()));
            self.line.extend_from_slice(&bytes[..room]);
            let good = match self.phase {
                Phase::ChunkSize => self.line[0].is_ascii_hexdigit(),
                Phase::ChunkEnd => self.line == b"\r",
                Phase::Line { first: true } => room == bytes.len(),
                _ => true,
            };
            if !good {
                asked.lose(self.is_response());
                self.enter(Phase::Lost);
            }
            return step(bytes.len(), if good { Region::Head } else { Region::Other });
        };
        let mut line = std::mem::take(&mut self.line);
        let result = if line.is_empty() {
            self.whole_line(&bytes[..=end], asked)
        } else {
            let room = (end + 1).min(MAX_KEPT.saturating_sub(line.len()));
            line.extend_from_slice(&bytes[..room]);
            self.whole_line(&line, asked)
        };
        line.clear();
        if line.capacity() <= SPARE {
            self.line = line;
        }
        if let Some(event) = result {
            let length = end + 1 + self.fields(&bytes[end + 1..]);
            return Step { length, region: Region::Head, event };
        }
        asked.lose(self.is_response());
        self.enter(if self.whole && !self.spoken { Phase::Opaque } else { Phase::Lost });
        step(end + 1, Region::Other)
    }

    /// Takes the lines of a head that `bytes` begin with, if it is one that goes on, and gives their length. The last line,
    /// and one that is not complete, are left.
    fn fields(&mut self, bytes: &[u8]) -> usize {
        let mut length = 0;
        while self.phase == (Phase::Line { first: false })
            && let rest = &bytes[length..]
            && let Some(end) = memchr(b'\n', rest)
            && !matches!(rest[..end], [] | [b'\r'])
        {
            self.field(&rest[..=end]);
            length += end + 1;
        }
        length
    }

    /// Takes a line of a head that is neither its first nor its last.
    fn field(&mut self, line: &[u8]) {
        // Those that tell where the message ends begin with one of these; all others need no second look.
        if matches!(line[0], b'C' | b'T' | b'c' | b't')
            && let Some(colon) = memchr(b':', line)
        {
            self.fields.add(&line[..colon], line[colon + 1..].trim_ascii_end());
        }
    }

    /// Takes a line. None when it makes no sense.
    fn whole_line(&mut self, line: &[u8], asked: &mut Asked) -> Option<Event> {
        let text = line.strip_suffix(b"\n")?;
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match self.phase {
            Phase::Line { first: true } => {
                self.start = match head::status(line) {
                    Some(status) => Start::Response(status),
                    None => Start::Request(Method::of(head::method(line)?)),
                };
                self.fields = BodyFields::default();
                self.spoken = true;
                self.phase = Phase::Line { first: false };
            }
            Phase::Line { first: false } if text.is_empty() => return self.end_head(asked),
            Phase::Line { first: false } => self.field(line),
            Phase::ChunkEnd if text.is_empty() => self.enter(Phase::ChunkSize),
            Phase::ChunkSize => {
                let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                if !matches!(text[digits..], [] | [b';' | b' ' | b'\t', ..]) {
                    return None;
                }
                let size = std::str::from_utf8(&text[..digits]).ok()?;
                match u64::from_str_radix(size, 16).ok()? {
                    0 => self.enter(Phase::Trailer),
                    left => self.enter(Phase::Data { left, chunk: true }),
                }
            }
            Phase::Trailer if text.is_empty() => self.enter(Phase::Start(Trust::Boundary)),
            Phase::Trailer => {}
            _ => return None,
        }
        Some(Event::None)
    }

    /// The head is complete: what comes next?
    fn end_head(&mut self, asked: &mut Asked) -> Option<Event> {
        let mut event = Event::None;
        let doubtful;
        let framing = self.fields.framing();
        let phase = match self.start {
            Start::Response(status) if status < 200 && status != 101 => {
                doubtful = false;
                Phase::Start(Trust::Boundary)
            }
            Start::Response(status) => {
                let (method, certain) = asked.answer();
                doubtful = !certain;
                if status == 101 || (method == Some(Method::Connect) && status < 300) {
                    event = Event::Switches;
                    Phase::Start(Trust::Switch)
                } else if method == Some(Method::Head) || matches!(status, 204 | 304) {
                    Phase::Start(Trust::Boundary)
                } else {
                    match framing {
                        Framing::Silent | Framing::Coded => Phase::UntilClose,
                        framing => body(framing)?,
                    }
                }
            }
            Start::Request(method) => {
                asked.ask(method);
                doubtful = true;
                match framing {
                    Framing::Silent => Phase::Start(Trust::Boundary),
                    Framing::Coded => return None,
                    framing => body(framing)?,
                }
            }
            Start::None => return None,
        };
        self.enter(phase);
        self.doubt = if doubtful { Doubt::Fresh } else { Doubt::None };
        Some(event)
    }
}

/// The body that a head announces.
fn body(framing: Framing) -> Option<Phase> {
    match framing {
        Framing::Length(0) => Some(Phase::Start(Trust::Boundary)),
        Framing::Length(left) => Some(Phase::Data { left, chunk: false }),
        Framing::Chunked => Some(Phase::ChunkSize),
        Framing::Silent | Framing::Coded | Framing::Invalid => None,
    }
}

#[derive(Clone, Copy, Debug)]
enum Verdict {
    Undecided,
    Begins,
    Preface,
    Settings([u8; frame::HEAD]),
    Frames,
    Not,
}

/// Whether `bytes` begin with a whole status line.
fn status(bytes: &[u8]) -> bool {
    head::begins_response(bytes) && memchr(b'\n', bytes).is_some()
}
