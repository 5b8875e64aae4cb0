//! What is attached to a file: the kernel programs, and the places in its code.

use std::{fs::File, path::Path};

use object::{Object as _, ReadCache, ReadRef};

use super::{
    go::{self, Role},
    openssl,
};

/// A kernel program for the functions of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Program {
    /// A session begins.
    SslNew,
    /// A session ends.
    SslFree,
    /// A call that may move plaintext begins.
    SslEnter,
    /// `SSL_do_handshake` begins.
    SslHandshakeEnter,
    /// `SSL_do_handshake` is over.
    SslHandshakeLeave,
    /// `SSL_read` is over.
    SslRead,
    /// `SSL_write` is over.
    SslWrite,
    /// `SSL_read_ex` is over.
    SslReadEx,
    /// `SSL_write_ex` is over.
    SslWriteEx,
    /// A session of Go begins.
    GoHandshake,
    /// Go reads.
    GoRead,
    /// Go writes.
    GoWrite,
    /// A session of Go ends.
    GoClose,
}

impl Program {
    /// Every program.
    pub const ALL: &[Self] = &[
        Self::SslNew,
        Self::SslFree,
        Self::SslEnter,
        Self::SslHandshakeEnter,
        Self::SslHandshakeLeave,
        Self::SslRead,
        Self::SslWrite,
        Self::SslReadEx,
        Self::SslWriteEx,
        Self::GoHandshake,
        Self::GoRead,
        Self::GoWrite,
        Self::GoClose,
    ];

    /// Its name in the kernel object.
    pub fn name(self) -> &'static str {
        match self {
            Self::SslNew => "ssl_new",
            Self::SslFree => "ssl_free",
            Self::SslEnter => "ssl_enter",
            Self::SslHandshakeEnter => "ssl_handshake_enter",
            Self::SslHandshakeLeave => "ssl_handshake_leave",
            Self::SslRead => "ssl_read",
            Self::SslWrite => "ssl_write",
            Self::SslReadEx => "ssl_read_ex",
            Self::SslWriteEx => "ssl_write_ex",
            Self::GoHandshake => "go_handshake",
            Self::GoRead => "go_read",
            Self::GoWrite => "go_write",
            Self::GoClose => "go_close",
        }
    }

    /// Whether it runs when a function returns.
    pub fn is_at_return(self) -> bool {
        match self {
            Self::SslNew
            | Self::SslHandshakeLeave
            | Self::SslRead
            | Self::SslWrite
            | Self::SslReadEx
            | Self::SslWriteEx => true,
            // The stacks of Go move, and with them what the kernel would have put there to come back.
            Self::SslFree
            | Self::SslEnter
            | Self::SslHandshakeEnter
            | Self::GoHandshake
            | Self::GoRead
            | Self::GoWrite
            | Self::GoClose => false,
        }
    }
}

/// A place in the code of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) program: Program,
    /// Bytes from the beginning of the file.
    pub(super) offset: u64,
    /// What the program is told about the place.
    pub(super) cookie: u64,
}

/// Everything that is attached to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The library's name in files.
    pub(super) library: &'static str,
    pub(super) points: Vec<Point>,
}

/// What a file has of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing, as most.
    Nothing,
    /// A library that can be seen into.
    Seen(Plan),
    /// One that cannot, and why.
    Unseen {
        /// Its name in files.
        library: &'static str,
        why: String,
    },
}

/// Libraries that are told by the names of their files, and why they are not seen into.
const OTHERS: &[(&str, &str, &str)] = &[
    ("libssl", "openssl", "has no functions SSL_read and SSL_write that could be found"),
    ("libgnutls", "gnutls", "GnuTLS is not seen into"),
    ("libnss3", "nss", "NSS is not seen into"),
    ("libjvm", "java", "the TLS of Java is compiled while it runs"),
    ("cygrpc", "boringssl", "its BoringSSL has no names any more"),
];

/// What the file at `path`, which the process calls `name`, has of TLS.
pub(super) fn of(name: &Path, path: &Path) -> Content {
    let named = || {
        let name = name.file_name()?.to_string_lossy();
        let other = OTHERS.iter().find(|(prefix, ..)| name.starts_with(prefix));
        other.map(|&(_, library, why)| Content::Unseen { library, why: why.to_owned() })
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => {
            let unread = |library| Content::Unseen { library, why: format!("cannot be read: {error}") };
            return match named() {
                Some(Content::Unseen { library, .. }) => unread(library),
                _ => Content::Nothing,
            };
        }
    };
    let cache = ReadCache::new(file);
    // Whatever cannot be parsed was mapped for other reasons.
    let Ok(elf) = object::File::parse(&cache) else { return named().unwrap_or(Content::Nothing) };
    // https://pkg.go.dev/debug/buildinfo: in every executable since Go 1.13, stripped or not.
    if elf.section_by_name(".go.buildinfo").is_some() {
        return go(&elf);
    }
    openssl::plan(&elf).map(Content::Seen).or_else(named).unwrap_or(Content::Nothing)
}

fn go<'data, R: ReadRef<'data>>(elf: &object::File<'data, R>) -> Content {
    let go::Points { points, tcp_conn, .. } = match go::points(elf) {
        Ok(points) => points,
        Err(error) => return Content::Unseen { library: "go", why: error.to_string() },
    };
    if points.is_empty() {
        return Content::Nothing;
    }
    let points = points.into_iter().map(|go::Point { role, offset }| {
        let (program, low) = match role {
            Role::Handshake { client } => (Program::GoHandshake, client.into()),
            Role::Read { conn } => (Program::GoRead, conn),
            Role::Write => (Program::GoWrite, 0),
            Role::Close => (Program::GoClose, 0),
        };
        // `ebpf` (tls/go.rs) takes it apart.
        Point { program, offset, cookie: u64::from(tcp_conn.unwrap_or(0)) << 32 | u64::from(low) }
    });
    Content::Seen(Plan { library: "go", points: points.collect() })
}
