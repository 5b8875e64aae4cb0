//! One side of a TLS handshake: its hello, and when it was done.

use std::mem;

use beyla_schema::event::Data;
use beyla_schema::request::TlsVersion;

use super::handshake::Facts;
use super::hello::{self, CLIENT_HELLO, SERVER_HELLO};
use super::records::{APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Lost, Piece, Records};
use crate::exchange::{Shared, Side};
use crate::stream::{Call, Stream};

/// The longest hello that is looked at, without the head of the message. With a post-quantum key share and a session
/// ticket they have about 2 KiB.
const MAX_HELLO: usize = 16 << 10;

/// Type and length of a message.
const MESSAGE_HEAD: usize = 4;

/// When something happened, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
    /// Not yet.
    #[default]
    Awaited,
    At(u64),
    /// It cannot be told any more.
    Never,
}

impl Mark {
    fn set(&mut self, mark: Self) {
        if *self == Self::Awaited {
            *self = mark;
        }
    }

    /// When both have happened.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(one), Self::At(other)) => Self::At(one.max(other)),
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            _ => Self::Awaited,
        }
    }
}

/// What the bytes of a call are worked on with.
pub(super) struct Work<'a> {
    pub(super) ts_ns: u64,
    pub(super) facts: &'a mut Facts,
    pub(super) shared: &'a mut Shared,
}

/// What one side has sent.
#[derive(Debug)]
pub(super) struct Sender {
    side: Side,
    stream: Stream,
    records: Records,
    /// As much as is known of the hello that is awaited. Counted in [`Shared::memory`].
    hello: Option<Vec<u8>>,
    /// It wanted another hello of its peer.
    retried: bool,
    /// Its keys have changed: up to TLS 1.2, what follows is encrypted.
    changed: bool,
    /// When the first message after that was complete: its Finished, up to TLS 1.2.
    pub(super) finished: Mark,
    /// When the first record of data was complete.
    pub(super) sealed: Mark,
    /// Nothing more of it is looked at.
    done: bool,
}

impl Sender {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            stream: Stream::BEGUN,
            records: Records::default(),
            hello: Some(Vec::new()),
            retried: false,
            changed: false,
            finished: Mark::default(),
            sealed: Mark::default(),
            done: false,
        }
    }

    /// Whether the hello is still to come, or one of two.
    pub(super) fn owes_hello(&self) -> bool {
        self.hello.is_some()
    }

    /// Takes the bytes of one call.
    pub(super) fn data(&mut self, data: &Data<'_>, work: &mut Work<'_>) {
        if self.done {
            return;
        }
        let call = self.stream.advance(data);
        if self.call(&call, work).is_err() {
            self.stop(work.shared);
        }
    }

    /// Looks no further. Gives back all memory.
    pub(super) fn stop(&mut self, shared: &mut Shared) {
        self.done = true;
        self.finished.set(Mark::Never);
        self.sealed.set(Mark::Never);
        if let Some(hello) = self.hello.take() {
            shared.memory -= hello.len();
        }
    }

    fn call(&mut self, call: &Call<'_>, work: &mut Work<'_>) -> Result<(), Lost> {
        if call.lost > 0 {
            return Err(Lost);
        }
        self.bytes(call.head, work)?;
        let mut hidden = call.hidden;
        while !self.done
            && let Some(piece) = self.records.skip(&mut hidden)?
        {
            self.piece(piece, work)?;
        }
        self.bytes(call.tail, work)
    }

    fn bytes(&mut self, mut bytes: &[u8], work: &mut Work<'_>) -> Result<(), Lost> {
        while !self.done
            && let Some(piece) = self.records.next(&mut bytes)?
        {
            self.piece(piece, work)?;
        }
        Ok(())
    }

    fn piece(&mut self, piece: Piece<'_>, work: &mut Work<'_>) -> Result<(), Lost> {
        if let Some(hello) = &self.hello {
            match piece.kind {
                HANDSHAKE => return self.hear(piece.bytes.ok_or(Lost)?, work),
                // Messages are not interrupted (RFC 8446 section 5.1), and data comes after them.
                APPLICATION_DATA => return Err(Lost),
                _ if !hello.is_empty() => return Err(Lost),
                _ => {}
            }
        }
        match piece.kind {
            CHANGE_CIPHER_SPEC => self.changed = true,
            HANDSHAKE if self.changed && piece.last => self.finished.set(Mark::At(work.ts_ns)),
            APPLICATION_DATA if piece.last => {
                self.sealed.set(Mark::At(work.ts_ns));
                self.stop(work.shared);
            }
            _ => {}
        }
        Ok(())
    }

    /// Keeps bytes of the hello, and reads it when it is complete.
    fn hear(&mut self, mut bytes: &[u8], work: &mut Work<'_>) -> Result<(), Lost> {
        while let Some(hello) = &mut self.hello
            && !bytes.is_empty()
        {
            let (more, rest) = bytes.split_at(bytes.len().min(missing(hello, self.side)?));
            hello.extend_from_slice(more);
            work.shared.memory += more.len();
            bytes = rest;
            if hello.len() >= MESSAGE_HEAD && missing(hello, self.side)? == 0 {
                let message = mem::take(hello);
                work.shared.memory -= message.len();
                self.hello = None;
                self.understand(&message[MESSAGE_HEAD..], work.facts)?;
            }
        }
        if self.hello.is_some() && work.shared.memory > work.shared.config.max_memory {
            work.shared.stats.limits_reached += 1;
            return Err(Lost);
        }
        Ok(())
    }

    /// Takes what a hello says.
    fn understand(&mut self, message: &[u8], facts: &mut Facts) -> Result<(), Lost> {
        // What came before was for another hello (RFC 8446 appendix D.4).
        self.changed = false;
        match self.side {
            Side::Request => {
                let hello = hello::client(message).ok_or(Lost)?;
                facts.server_name = hello.server_name.map(Into::into);
                // Where early data ends, and the end of the handshake begins, is not to be seen.
                if hello.early_data {
                    return Err(Lost);
                }
            }
            Side::Response => {
                let hello = hello::server(message).ok_or(Lost)?;
                facts.version = hello.version;
                facts.alpn = hello.alpn.map(Into::into);
                if hello.retry && !mem::replace(&mut self.retried, true) {
                    self.hello = Some(Vec::new());
                } else {
                    // The end of the handshake is to be seen at the client's side alone.
                    self.done = hello.version == Some(TlsVersion::V13);
                }
            }
        }
        Ok(())
    }
}

/// Bytes that are missing of a hello, or of its head.
fn missing(hello: &[u8], side: Side) -> Result<usize, Lost> {
    let kind = match side {
        Side::Request => CLIENT_HELLO,
        Side::Response => SERVER_HELLO,
    };
    match *hello {
        [is, a, b, c, ..] if is == kind => {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > MAX_HELLO { Err(Lost) } else { Ok(MESSAGE_HEAD + length - hello.len()) }
        }
        [is, ..] if is != kind => Err(Lost),
        _ => Ok(MESSAGE_HEAD - hello.len()),
    }
}
