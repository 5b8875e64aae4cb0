//! Captured events as Rust values: what the engine is fed with, live from the ring buffer or from a file.
//!
//! An [`Event`] borrows its payload and texts from where they lie: the ring, or Arrow buffers.

use std::net::SocketAddr;

pub use crate::wire::{BY_TLS, Call, Change, Direction, Origin, Source, Transport};

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
    /// Socket cookie of the connection, or the number of a TLS session with [`BY_TLS`]; 0 when the event concerns none.
    pub connection: u64,
    /// A copy of what an earlier part of a rotated capture has, so that this part can be read alone.
    pub carried: bool,
    /// What happened.
    pub body: Body<'a>,
}

/// What happened in an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body<'a> {
    /// A connection was established or seen for the first time.
    Open(Open<'a>),
    /// A call moved bytes.
    Data(Data<'a>),
    /// A connection, or one direction of it, ended.
    Close(Close),
    /// A socket began to listen, or was listening when the capture found it.
    Listen(Listen<'a>),
    /// A process appeared, changed or ended.
    Process(Process<'a>),
    /// Cumulative count of what was lost to one cause.
    Loss(Loss<'a>),
    /// Cumulative count of what the kernel programs saw: recorded or lost.
    Seen(u64),
    /// The capture ended, and why: `signal`, `duration`, `command_exit`, ...
    End(&'a str),
}

/// A connection and its addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Open<'a> {
    /// How it came to be known, which also says who called whom.
    pub origin: Origin,
    /// What carries its bytes.
    pub transport: Transport,
    /// Address of the captured process.
    pub local: Endpoint<'a>,
    /// Address of its peer.
    pub remote: Endpoint<'a>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// IP address and port.
    Inet(SocketAddr),
    /// Path of a unix socket, `@name` for an abstract one; empty when it has none.
    Unix(&'a str),
}

impl Endpoint<'_> {
    /// The IP address and port, of those that have one.
    pub fn inet(self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(address),
            Self::Unix(_) => None,
        }
    }
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Listen<'a> {
    /// What it accepts.
    pub transport: Transport,
    /// Where.
    pub address: Endpoint<'a>,
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
    /// The goroutine that moved them, in programs of Go; 0 where there is none, or none is known.
    pub goroutine: u64,
    /// Bytes moved.
    pub length: u32,
    /// The first of them. Shorter than `length` when the snaplen cut them or the call has no buffer.
    pub payload: &'a [u8],
    /// The last of them, when `payload` is cut.
    pub tail: &'a [u8],
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

/// A process of the capture. Texts are empty where nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process<'a> {
    /// What happened to it. None: it was running when the capture found it.
    pub change: Option<Change>,
    /// The process that forked it; 0 when not known.
    pub parent: u32,
    /// When it started: nanoseconds since 1970-01-01 UTC.
    pub started_ns: Option<i64>,
    /// Path of its executable.
    pub executable: &'a str,
    /// Its arguments, separated by blanks.
    pub command_line: &'a str,
    /// Path of its control group.
    pub cgroup: &'a str,
    /// Id of the container it runs in.
    pub container: &'a str,
    /// What runs it: `go`, `node`, `python`, `java`, `ruby`, `rust` or `other`.
    pub runtime: &'a str,
    /// Service name: what the operator called it, else the file name of the executable.
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

/// Whether a loss of this cause is an event that is missing: what was seen is what was recorded and the counts of
/// these. Other causes take parts of an event away, or count what is none.
pub fn loses_records(cause: &str) -> bool {
    const CAUSES: [&str; 7] = [
        "ring_full",
        "writer_behind",
        "storage_full",
        "descriptor_gone",
        "message_limit",
        "undecoded",
        "unaccounted",
    ];
    CAUSES.contains(&cause)
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
names!(pub Transport { Tcp = "tcp", Udp = "udp", Unix = "unix" });
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
