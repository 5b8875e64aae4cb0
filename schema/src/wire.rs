//! The records the kernel programs put into the ring buffer, byte for byte.
//!
//! Shared by `ebpf`, which fills them, and `capture`, which decodes them with [`Record::decode`]. Everything
//! is `repr(C)` without implicit padding, in the byte order of the machine: records never leave it.

use core::mem::{offset_of, size_of, size_of_val};

use crate::frames::Frames;

/// The payload sizes a data record is reserved in: the smallest that fits is taken, since the verifier
/// accepts constant sizes only.
pub const PAYLOAD_CLASSES: [usize; 4] = [256, 1024, 4096, 16384];

/// The most payload bytes that one record carries, and so the upper limit of the snaplen.
pub const MAX_PAYLOAD: usize = PAYLOAD_CLASSES[3];

/// Bytes kept from the end of a call that is longer than what is copied of its beginning. Servers send a
/// head, all chunks and the last chunk in one call: the end of the message is in these bytes.
pub const TAIL: usize = 64;

/// Payload bytes kept of every call, also when the snaplen of its message is used up: enough to see the
/// size line of a chunk, or that a new message begins here.
pub const FLOOR: usize = PAYLOAD_CLASSES[0] - TAIL;

/// Segments of an I/O vector that are walked (`UIO_MAXIOV` of the kernel is 1024).
pub const MAX_SEGMENTS: usize = 512;

/// Cgroups that can be selected at a time.
pub const MAX_CGROUPS: usize = 8;

/// What a record tells; the value of [`Head::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A connection was established, or seen for the first time: a [`Socket`].
    Open = 1,
    /// A socket call moved bytes: a [`Data`] and its payload.
    Data = 2,
    /// A connection, or one direction of it, ended: a [`Close`].
    Close = 3,
    /// A socket began to listen: a [`Socket`].
    Listen = 4,
    /// A process appeared, changed or ended: a [`Process`].
    Process = 5,
}

/// Which way bytes moved, seen from the captured process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// The process read them.
    Receive = 0,
    /// The process wrote them.
    Send = 1,
}

/// What carries the bytes of a connection; the value of [`Socket::transport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Transport {
    /// TCP over IPv4 or IPv6.
    Tcp = 0,
    /// UDP over IPv4 or IPv6: calls move datagrams.
    Udp = 1,
    /// A unix socket.
    Unix = 2,
}

/// How a connection came to be known; the value of [`Socket::origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// A listening socket of a target accepted it.
    Accept = 1,
    /// A target connected it.
    Connect = 2,
    /// It was already there when it was first seen: earlier bytes are unknown.
    Found = 3,
}

/// What happened to a process; the value of [`Process::change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Change {
    /// A target forked it, so it is a target too.
    Start = 1,
    /// It runs another program from here on.
    Exec = 2,
    /// Its last thread ended.
    Exit = 3,
    /// It serves a selected port or runs in a selected cgroup, and is a target from here on.
    Adopt = 4,
}

/// The system call that moved the bytes of a [`Data`]; the value of [`Data::call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the manual pages say what these calls do")]
pub enum Call {
    Read,
    Write,
    Readv,
    Writev,
    Recvfrom,
    Sendto,
    Recvmsg,
    Sendmsg,
    Recvmmsg,
    Sendmmsg,
    Sendfile,
    Splice,
    /// No call of its own: the kernel worked through a ring of requests. No user buffer is known, so there is
    /// no payload.
    IoUring,
    /// Any other way: no payload either.
    Other,
}

/// Where the bytes of a [`Data`] were seen; the value of [`Data::source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Source {
    /// The socket itself.
    Socket,
    /// An OpenSSL-family library: plaintext.
    OpenSsl,
    /// Go's crypto/tls: plaintext.
    Go,
}

/// What the kernel programs know of a target process, by its id. In the upper half: where `runtime.g` of its Go has the
/// number of the goroutine, in bytes, 0 for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Target(pub u32);

impl Target {
    /// Nothing but that it is one.
    pub const NEW: Self = Self(1);
    /// It was seen in a TLS library.
    pub const HAS_TLS: u32 = 2;

    /// A program of Go.
    pub const fn go(goid_offset: u16) -> Self {
        Self(Self::NEW.0 | (goid_offset as u32) << 16)
    }

    /// Where `runtime.g` has the number of the goroutine; 0 when it is no program of Go, or an unknown one.
    pub const fn goid_offset(self) -> u64 {
        (self.0 >> 16) as u64
    }
}

/// What the kernel programs count, for each CPU.
///
/// `made` numbers are given out; each belongs to a record that was delivered, or to an event that was lost for
/// one of the causes of [`Counters::lost`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Events seen, delivered or lost: the source of [`Head::seq`].
    pub made: u64,
    /// Events lost because the ring buffer was full.
    pub ring_full: u64,
    /// Events lost because there was no room for the state of their connection.
    pub storage_full: u64,
    /// Calls lost because their descriptor was closed by another thread before it could be looked up. It may
    /// have been no socket's. Only where calls are seen at their exit.
    pub descriptor_gone: u64,
    /// Messages of a `sendmmsg` or `recvmmsg` lost because the kernel has no loop that is long enough (before Linux
    /// 5.17).
    pub message_limit: u64,
    /// Data records whose payload could not be read from the process: they carry lengths only.
    pub payload_fault: u64,
    /// Data records with more segments than [`MAX_SEGMENTS`]: their payload is cut short.
    pub segment_limit: u64,
    /// Processes not followed because the table of targets was full.
    pub targets_full: u64,
    /// Programs started by processes that were no targets, of which the recorder did not hear because the ring
    /// buffer was full.
    pub unheard: u64,
    /// Calls of targets that handed requests to io_uring where its bytes cannot be seen.
    pub io_uring: u64,
    /// Directions of HTTP/2 connections whose frames could not be followed to the end.
    pub frames_lost: u64,
}

impl Counters {
    /// How many counters there are: the value of the map is as many words.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// The counters of as many words, in their order.
    pub const fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [
            made,
            ring_full,
            storage_full,
            descriptor_gone,
            message_limit,
            payload_fault,
            segment_limit,
            targets_full,
            unheard,
            io_uring,
            frames_lost,
        ] = words;
        Self {
            made,
            ring_full,
            storage_full,
            descriptor_gone,
            message_limit,
            payload_fault,
            segment_limit,
            targets_full,
            unheard,
            io_uring,
            frames_lost,
        }
    }

    /// Events that took a number and were not delivered.
    pub const fn lost(&self) -> u64 {
        self.ring_full + self.storage_full + self.descriptor_gone + self.message_limit
    }
}

/// What the kernel programs remember of a socket, in storage that the kernel frees with it. Where calls are seen
/// at their exit that storage has the flags only, and the rest is in a table by cookie.
///
/// A socket accepted from a listening one begins with a copy of the listener's state, so everything but
/// [`State::MARKED`] stays zero on listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    /// What its records call it, see [`Head::connection`]; 0 until first needed.
    pub cookie: u64,
    /// Bytes the process has read.
    pub received: u64,
    /// Bytes the process has written.
    pub sent: u64,
    /// When data arrived that has not been read yet; 0 when there is none.
    pub ready_ns: u64,
    /// Stream position of the first byte since the direction last changed.
    pub turn: u64,
    /// Direction of the last call: a [`Direction`].
    pub direction: u32,
    /// The constants below.
    pub flags: u32,
    /// Where each [`Direction`] is in its frames, once [`State::HTTP2`] is set.
    pub frames: [Frames; 2],
}

impl State {
    /// How many words it is: the value of a map for user space.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// Its words, in their order.
    pub const fn words(self) -> [u64; Self::WORDS] {
        // SAFETY: integers and byte arrays without padding, of the same size.
        unsafe { core::mem::transmute(self) }
    }

    /// The socket, or the listener it was accepted from, belongs to the capture.
    pub const MARKED: u32 = 1;
    /// Its [`Kind::Open`] record was delivered.
    pub const ANNOUNCED: u32 = 2;
    /// A target is connecting it.
    pub const CONNECTING: u32 = 4;
    /// It carries messages, each for itself, and no stream.
    pub const DATAGRAM: u32 = 8;
    /// The preface of HTTP/2 was seen.
    pub const HTTP2: u32 = 16;
    /// It speaks TLS: what the socket moves is ciphertext.
    pub const TLS: u32 = 32;
    /// Its handshake is over, so that nobody needs its ciphertext.
    pub const SEALED: u32 = 64;
    /// The TLS session that it carries is known.
    pub const TIED: u32 = 128;
    /// What it carries is no TLS as far as was seen, so that there is no session to look for.
    pub const CLEAR: u32 = 256;

    /// What is remembered of a TLS session that was not seen from its beginning: nothing comes first.
    pub const MIDDLE: Self = Self {
        cookie: 0,
        received: 1,
        sent: 1,
        ready_ns: 0,
        turn: 0,
        direction: 0,
        flags: 0,
        frames: [Frames::NEW; 2],
    };
}

/// Of each call of a connection in TLS whose handshake is over so many bytes are kept: the head of a record, and of
/// the one behind a short one.
pub const SEALED_BYTES: usize = 16;

/// In [`Head::connection`] of plaintext: the rest is the number of a TLS session whose socket is not known.
pub const BY_TLS: u64 = 1 << 61;

/// In [`Head::connection`]: the rest is no cookie but the number of the socket's inode, because the socket had no
/// cookie when it was first seen and the kernel could not be asked for one.
pub const BY_INODE: u64 = 1 << 62;

/// [`Head::seq`] of a [`Process`] that is no target: it is not part of the sequence, and counted nowhere.
pub const UNNUMBERED: u64 = u64::MAX;

/// The beginning of every record.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Head {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub ts_ns: u64,
    /// Number of this record on its CPU; lost ones take numbers too. Or [`UNNUMBERED`].
    pub seq: u64,
    /// Socket cookie, never reused, or [`BY_INODE`]; 0 in a [`Process`].
    pub connection: u64,
    /// Process (thread-group) id in the initial namespace; 0 where the kernel acted on its own.
    pub pid: u32,
    /// Thread id in the initial namespace; 0 where the kernel acted on its own.
    pub tid: u32,
    /// CPU the record was made on.
    pub cpu: u16,
    /// A [`Kind`].
    pub kind: u8,
    /// Number of the goroutine that was at work in a program of Go, lowest byte first; 0 where none is known.
    pub goroutine: [u8; 5],
}

impl Head {
    /// The number of the goroutine; 0 where none is known.
    pub const fn goroutine(&self) -> u64 {
        let [low @ .., high] = self.goroutine;
        u32::from_le_bytes(low) as u64 | (high as u64) << 32
    }
}

/// Bytes moved by one socket call, or by a part of one ([`crate::frames`]). The payload follows; the last
/// [`Data::tail`] bytes of the record are the last bytes of the call.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Data {
    /// Common part.
    pub head: Head,
    /// Bytes that had moved in this direction before this call.
    pub position: u64,
    /// When the first bytes that this call could read had arrived, on the clock of [`Head::ts_ns`]; 0 when
    /// not known, and for writes.
    pub ready_ns: u64,
    /// Bytes this call moved.
    pub length: u32,
    /// Bytes of its beginning in the payload.
    pub captured: u32,
    /// Bytes of its end at the end of the record, when `captured` is less than `length`.
    pub tail: u32,
    /// A [`Call`].
    pub call: u8,
    /// A [`Direction`].
    pub direction: u8,
    /// A [`Source`].
    pub source: u8,
    /// Zero.
    pub pad: u8,
}

/// A connection, or a listening socket, with its addresses.
///
/// Those of a Unix domain socket are a path, which follows the record, [`MAX_PATH`] bytes of room for it: its
/// length stands in place of the port of the end that has it, and all else of the addresses is zero. An abstract
/// name begins with `@`, where the kernel has a NUL.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Socket {
    /// Common part.
    pub head: Head,
    /// IPv6 address, or an IPv4 address in its first four bytes.
    pub local: [u8; 16],
    /// The same of the peer; zero when listening, and where datagrams have no fixed peer.
    pub remote: [u8; 16],
    /// Local port, in the byte order of the machine.
    pub local_port: u16,
    /// Peer's port, in the byte order of the machine; zero when listening.
    pub remote_port: u16,
    /// `AF_INET` (2), `AF_INET6` (10) or `AF_UNIX` (1).
    pub family: u16,
    /// An [`Origin`]; zero when listening.
    pub origin: u8,
    /// A [`Transport`].
    pub transport: u8,
}

/// Room for the path of a Unix domain socket (`sun_path` of include/uapi/linux/un.h has 108 bytes).
pub const MAX_PATH: usize = 112;

/// The end of a connection, or of one direction of it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Close {
    /// Common part.
    pub head: Head,
    /// Bytes the process had read by then.
    pub received: u64,
    /// Bytes the process had written by then.
    pub sent: u64,
    /// A [`Direction`] that ended, or 255 for the whole connection.
    pub direction: u8,
    /// Zero.
    pub pad: [u8; 7],
}

/// A change in the life of a target process; `head.pid` is the process.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Process {
    /// Common part.
    pub head: Head,
    /// The process that forked it; 0 where that does not apply.
    pub parent: u32,
    /// A [`Change`].
    pub change: u8,
    /// Zero.
    pub pad: [u8; 3],
}

const _: () = {
    assert!(size_of::<Head>() == 40);
    assert!(size_of::<Data>() == 72);
    assert!(size_of::<Socket>() == 80);
    assert!(size_of::<Close>() == 64);
    assert!(size_of::<Process>() == 48);
    assert!(size_of::<Counters>() == 88);
    assert!(size_of::<State>() == 96);
    assert!(offset_of!(Data, position) == 40);
    assert!(offset_of!(Socket, family) == 76);
};

/// A decoded record: a view into the ring buffer.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// [`Kind::Open`], with the path of a Unix domain socket's named end.
    Open(&'a Socket, &'a [u8]),
    /// [`Kind::Data`], with the beginning and the end of the call's bytes.
    Data(&'a Data, &'a [u8], &'a [u8]),
    /// [`Kind::Close`].
    Close(&'a Close),
    /// [`Kind::Listen`].
    Listen(&'a Socket),
    /// [`Kind::Process`].
    Process(&'a Process),
}

/// Marks the records above: plain integers without padding, so any bytes of the right size are a value.
///
/// # Safety
///
/// Only for `repr(C)` structs of integers and byte arrays without padding.
unsafe trait Plain {}
// SAFETY: the sizes asserted above equal the sums of the field sizes; all fields are integers.
unsafe impl Plain for Head {}
// SAFETY: as above.
unsafe impl Plain for Data {}
// SAFETY: as above.
unsafe impl Plain for Socket {}
// SAFETY: as above.
unsafe impl Plain for Close {}
// SAFETY: as above.
unsafe impl Plain for Process {}

fn view<T: Plain>(bytes: &[u8]) -> Option<&T> {
    let fits = bytes.len() >= size_of::<T>() && bytes.as_ptr().cast::<T>().is_aligned();
    // SAFETY: `bytes` is long enough and aligned for `T`, which is valid for any bit pattern (`Plain`).
    fits.then(|| unsafe { &*bytes.as_ptr().cast::<T>() })
}

impl<'a> Record<'a> {
    /// Decodes one record. `bytes` must be 8-byte aligned, as ring buffer entries are.
    ///
    /// None when the bytes are no record of this version: too short, unaligned, or of an unknown kind.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        match view::<Head>(bytes)?.kind {
            kind if kind == Kind::Open as u8 => {
                let socket: &Socket = view(bytes)?;
                let named = if socket.transport == Transport::Unix as u8 {
                    socket.local_port.max(socket.remote_port) as usize
                } else {
                    0
                };
                Some(Record::Open(socket, bytes[size_of::<Socket>()..].get(..named)?))
            }
            kind if kind == Kind::Listen as u8 => view(bytes).map(Record::Listen),
            kind if kind == Kind::Close as u8 => view(bytes).map(Record::Close),
            kind if kind == Kind::Process as u8 => view(bytes).map(Record::Process),
            kind if kind == Kind::Data as u8 => {
                let data: &Data = view(bytes)?;
                let payload = &bytes[size_of::<Data>()..];
                let end = payload.len().checked_sub(data.tail as usize)?;
                Some(Record::Data(data, payload[..end].get(..data.captured as usize)?, &payload[end..]))
            }
            _ => None,
        }
    }

    /// Decodes one record from words, which are aligned.
    pub fn decode_words(words: &'a [u64]) -> Option<Self> {
        // SAFETY: any u64 is eight valid bytes.
        Self::decode(unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) })
    }

    /// The part every record begins with.
    pub fn head(&self) -> &'a Head {
        match self {
            Record::Open(socket, _) | Record::Listen(socket) => &socket.head,
            Record::Data(data, ..) => &data.head,
            Record::Close(close) => &close.head,
            Record::Process(process) => &process.head,
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    /// An 8-byte aligned record with a payload of `payload` bytes.
    fn record(kind: u8, captured: u32, tail: u32, payload: usize) -> Vec<u64> {
        let mut words = vec![0u64; (size_of::<Data>() + payload) / 8];
        words[4] = u64::from_ne_bytes([0, 0, kind, 0, 0, 0, 0, 0]);
        words[7] = u64::from_ne_bytes({
            let mut bytes = [0; 8];
            bytes[4..].copy_from_slice(&captured.to_ne_bytes());
            bytes
        });
        words[8] = u64::from(tail);
        words
    }

    fn bytes(words: &[u64]) -> &[u8] {
        // SAFETY: any u64 is eight valid bytes.
        unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
    }

    #[test]
    fn data_splits_into_beginning_and_end() {
        let words = record(Kind::Data as u8, 192, 64, 256);
        let Some(Record::Data(data, payload, tail)) = Record::decode(bytes(&words)) else {
            panic!("not decoded");
        };
        assert_eq!((data.captured, payload.len(), tail.len()), (192, 192, 64));
    }

    #[test]
    fn lies_about_lengths_are_refused() {
        for (captured, tail) in [(257, 0), (193, 64), (0, 257), (u32::MAX, u32::MAX)] {
            let words = record(Kind::Data as u8, captured, tail, 256);
            assert!(Record::decode(bytes(&words)).is_none(), "{captured} {tail}");
        }
    }

    #[test]
    fn short_unaligned_and_unknown_are_refused() {
        let words = record(Kind::Data as u8, 0, 0, 0);
        assert!(Record::decode(&bytes(&words)[..40]).is_none());
        assert!(Record::decode(&bytes(&words)[1..]).is_none());
        assert!(Record::decode(&[]).is_none());
        assert!(Record::decode(bytes(&record(99, 0, 0, 0))).is_none());
    }
}
