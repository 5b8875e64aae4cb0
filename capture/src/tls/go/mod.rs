//! Where the plaintext of Go's `crypto/tls` passes: the places for uprobes in an executable, found by its table of
//! functions and its code, so that stripped programs are no different from others.
//!
//! `argument n` below is a register of Go's own calling convention: RAX, RBX, RCX, RDI on x86-64, X0 to X3 on
//! AArch64. All places lie inside of functions, so that nothing has to be remembered from entry to return, and those
//! that data passes are calls, which the kernel emulates; to step over another instruction costs three times as much.
//!
//! The socket of a `*tls.Conn`, the same since Go 1.17: at 0 is its `net.Conn`, which is the address of a table of
//! methods (whose 32 bits at 16 are [`Points::tcp_conn`] when it is a `*net.TCPConn`) and, at 8, the address of the
//! connection; there is the address of a `netFD`, which has the descriptor at 16. QUIC has no `net.Conn`: both are
//! zero.

mod amd64;
mod arm64;
mod build;
mod code;
mod functions;
mod image;
#[cfg(test)]
mod tests;

use std::{fs, ops::Range, path::Path};

use object::{Architecture, File, Object as _, ReadCache, ReadRef};

use code::Step;
use functions::Table;
use image::Image;

/// What the registers say when a probe fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A handshake begins on the `*tls.Conn` in argument 0. Whatever was at that address before is gone, unless it is a
    /// client that renegotiates.
    Handshake {
        /// Whether the program is the client.
        client: bool,
    },
    /// Plaintext is about to be copied to a caller of `Read`, which holds the lock of this direction: its address is
    /// argument 1, its length argument 2, never zero. Once for each call that reads something.
    Read {
        /// The `*tls.Conn` is in memory, this many bytes above the stack pointer.
        conn: u32,
    },
    /// Plaintext is about to be sent by `Write`, which holds the lock of this direction: `*tls.Conn`, address and
    /// length are arguments 0, 2 and 3. Once or twice for each call that is not refused; the length may be zero.
    Write,
    /// `Close` is called on the `*tls.Conn` in argument 0, perhaps once more.
    Close,
}

/// A place for a uprobe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// What it tells.
    pub(super) role: Role,
    /// Where it is, from the beginning of the file.
    pub(super) offset: u64,
}

/// What a Go executable says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Points {
    /// Ordered by offset. None when the program has no TLS, or not Go's own.
    pub(super) points: Vec<Point>,
    /// What tells a `*net.TCPConn` from other connections, see above. None for a version newer than this code.
    pub(super) tcp_conn: Option<u32>,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("not an ELF executable for x86-64 or AArch64")]
    Architecture,
    #[error("no version of Go in it (section .go.buildinfo)")]
    NoVersion,
    #[error("{0} passes arguments on the stack: Go 1.17 is needed, on AArch64 1.18")]
    TooOld(String),
    #[error(
        "no table of functions of a known form in it (section .gopclntab): packed, or its sections removed"
    )]
    NoTable,
    #[error("it does not say where its code begins (section .go.module, or the head of .gopclntab)")]
    NoText,
    #[error("{0} has no code in the file")]
    NoCode(&'static str),
    #[error("{0} does not begin as Go functions do")]
    NoFrame(&'static str),
    #[error("crypto/tls.(*Conn).Read does not copy plaintext in the known way: not optimised, or a newer Go")]
    NoCopy,
    #[error("crypto/tls.(*Conn).Write does not send records in the known way: a newer Go")]
    NoRecord,
}

/// Looks for the places in an executable. Of the file only the tables and the functions in question are read.
pub(super) fn points<'a, R: ReadRef<'a>>(file: &File<'a, R>) -> Result<Points, Error> {
    let File::Elf64(elf) = file else { return Err(Error::Architecture) };
    let (decode, registers): (Decode, u32) = match elf.architecture() {
        Architecture::X86_64 => (amd64::steps, 17),
        Architecture::Aarch64 if elf.is_little_endian() => (arm64::steps, 18),
        _ => return Err(Error::Architecture),
    };
    let image = Image::new(elf);
    let version = build::version(&image).ok_or(Error::NoVersion)?;
    let minor = build::minor(&version);
    if minor.is_some_and(|minor| minor < registers) {
        return Err(Error::TooOld(version));
    }
    Ok(Points { tcp_conn: minor.and_then(build::tcp_conn), points: places(&image, decode)? })
}

/// Where `runtime.g` has the goroutine's number (64 bits), from its start, in a program of Go. None for a version newer
/// than this code.
pub(crate) fn goid_offset(program: &Path) -> Option<u16> {
    let cache = ReadCache::new(fs::File::open(program).ok()?);
    let File::Elf64(elf) = File::parse(&cache).ok()? else { return None };
    let version = build::version(&Image::new(&elf))?;
    build::minor(&version).and_then(build::goid_offset)
}

/// Turns code at an address into steps.
type Decode = fn(&[u8], u64) -> Vec<Step>;

/// The points. A function that the linker found no use for has none: a program that only asks has no `serverHandshake`.
fn places<'a, R: ReadRef<'a>>(image: &Image<'a, '_, R>, decode: Decode) -> Result<Vec<Point>, Error> {
    const READ: &str = "crypto/tls.(*Conn).Read";
    const WRITE: &str = "crypto/tls.(*Conn).Write";
    const BEGINNINGS: [(&str, Role); 3] = [
        ("crypto/tls.(*Conn).serverHandshake", Role::Handshake { client: false }),
        ("crypto/tls.(*Conn).clientHandshake", Role::Handshake { client: true }),
        ("crypto/tls.(*Conn).Close", Role::Close),
    ];
    let table = Table::read(image)?;
    let steps = |name, function: &Range<u64>| match image.code(function) {
        Some(code) => Ok(decode(code, function.start)),
        None => Err(Error::NoCode(name)),
    };
    let mut found: Vec<(Role, u64)> = Vec::new();
    for (name, role) in BEGINNINGS {
        for function in table.functions(name) {
            found.push((role, code::frame(&steps(name, &function)?).ok_or(Error::NoFrame(name))?));
        }
    }
    for function in table.functions(READ) {
        let copies = table.starts("runtime.memmove");
        let (address, conn) = code::copy(&steps(READ, &function)?, &copies).ok_or(Error::NoCopy)?;
        found.push((Role::Read { conn }, address));
    }
    for function in table.functions(WRITE) {
        let records = table.starts("crypto/tls.(*Conn).writeRecordLocked");
        let calls = code::calls(&steps(WRITE, &function)?, &records);
        if calls.is_empty() {
            return Err(Error::NoRecord);
        }
        found.extend(calls.into_iter().map(|address| (Role::Write, address)));
    }
    let point = |(role, address)| Some(Point { role, offset: image.offset(address)? });
    let points: Option<Vec<_>> = found.into_iter().map(point).collect();
    let mut points = points.ok_or(Error::NoCode("crypto/tls"))?;
    points.sort_by_key(|point| point.offset);
    Ok(points)
}
