//! Captured events as Rust values: what the engine is fed with, live from the ring buffer or from a file.
//!
//! An [`Event`] borrows its payload and texts from where they lie: the ring, or Arrow buffers.

use std::net::SocketAddr;

pub use crate::wire::{Call, Change, Direction, Origin};

/// Turns event time into wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC` when the capture began, nanoseconds.
    pub offset_ns: i64,
}

impl Clock {
    /// Nanoseconds since 1970-01-01 UTC of an event time.
    pub fn wall_ns(self, ts_ns: u64) -> i64 {
        self.offset_ns.saturating_add_unsigned(ts_ns)
    }
}

/// One captured event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// `CLOCK_MONOTONIC` of the captured host, nanoseconds.
    pub ts_ns: u64,
    /// CPU it happened on.
    pub cpu: u16,
    /// Number of the event on its CPU. Events are totally ordered by `(ts_ns, cpu, seq)`.
    pub seq: u64,
    /// Process id in the initial namespace; 0 when no process was at work.
    pub pid: u32,
    /// Thread id in the initial namespace; 0 when no process was at work.
    pub tid: u32,
    /// Socket cookie of the connection; 0 when the event concerns none.
    pub connection: u64,
    /// What happened.
    pub body: Body<'a>,
}

/// What happened in an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body<'a> {
    /// A connection was established or seen for the first time.
    Open(Open),
    /// A call moved bytes.
    Data(Data<'a>),
    /// A connection, or one direction of it, ended.
    Close(Close),
    /// A socket began to listen.
    Listen(SocketAddr),
    /// A process appeared, changed or ended.
    Process(Process<'a>),
    /// Cumulative count of what was lost to one cause.
    Loss(Loss<'a>),
    /// The capture ended, and why: `signal`, `duration`, `command_exit`, ...
    End(&'a str),
}

/// A connection and its addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Open {
    /// How it came to be known, which also says who called whom.
    pub origin: Origin,
    /// Address of the captured process.
    pub local: SocketAddr,
    /// Address of its peer.
    pub remote: SocketAddr,
}

/// Bytes that one call moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Data<'a> {
    /// Which way.
    pub direction: Direction,
    /// Where the bytes were seen.
    pub source: Source,
    /// The system call that moved them.
    pub call: Call,
    /// Stream position before the call: bytes moved earlier in this direction since the connection was known.
    pub position: u64,
    /// When the bytes that a read found had arrived, on the clock of [`Event::ts_ns`]. None when not known,
    /// and for writes.
    pub ready_ns: Option<u64>,
    /// Bytes moved.
    pub length: u32,
    /// The first of them. Shorter than `length` when the snaplen cut them or the call has no buffer.
    pub payload: &'a [u8],
    /// The last of them, when `payload` is cut.
    pub tail: &'a [u8],
}

/// Where the bytes of a [`Data`] were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The socket itself.
    Socket,
    /// An OpenSSL-family library: plaintext.
    OpenSsl,
    /// Go's crypto/tls: plaintext.
    Go,
}

/// The end of a connection, or of one direction of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Close {
    /// The direction that ended: `Send` when the captured process finished, `Receive` when its peer did.
    /// None when the whole connection ended.
    pub direction: Option<Direction>,
    /// Bytes the process had read by then.
    pub received: u64,
    /// Bytes the process had written by then.
    pub sent: u64,
}

/// A process of the capture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process<'a> {
    /// What happened to it. None: it was running when the capture found it.
    pub change: Option<Change>,
    /// The process that forked it; 0 when not known.
    pub parent: u32,
    /// Path of its executable; empty when not known.
    pub executable: &'a str,
    /// Service name: what the operator called it, else the file name of the executable. Empty when not known.
    pub service: &'a str,
}

/// A cumulative loss count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss<'a> {
    /// `ring_full`, `storage_full`, ... (`docs/format.md`).
    pub cause: &'a str,
    /// How often, since the capture began.
    pub count: u64,
}

macro_rules! names {
    ($vis:vis $type:ty { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value.
            $vis const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in files and outputs.
            $vis const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The value of a name; None when it is none of ours.
            $vis fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use names;

names!(pub Direction { Receive = "receive", Send = "send" });
names!(pub Source { Socket = "socket", OpenSsl = "openssl", Go = "go" });
names!(pub Origin { Accept = "accept", Connect = "connect", Found = "found" });
names!(pub Change { Start = "start", Exec = "exec", Exit = "exit", Adopt = "adopt" });
names!(pub Call {
    Read = "read",
    Write = "write",
    Readv = "readv",
    Writev = "writev",
    Recvfrom = "recvfrom",
    Sendto = "sendto",
    Recvmsg = "recvmsg",
    Sendmsg = "sendmsg",
    Recvmmsg = "recvmmsg",
    Sendmmsg = "sendmmsg",
    Sendfile = "sendfile",
    Splice = "splice",
    IoUring = "io_uring",
    Other = "other",
});
