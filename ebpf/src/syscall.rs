//! System calls that move bytes: which they are, and where in the process they say the bytes are.

use beyla_schema::wire::Call;

use crate::{
    kernel::Registers,
    payload::{Segment, read_segment},
};

/// Number and arguments of a system call (`struct arguments` of shim.c).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Arguments {
    number: u64,
    /// First argument: nearly always the descriptor.
    pub(crate) first: u64,
    /// Second argument: the buffer, vector or message header.
    pub(crate) second: u64,
    /// Third argument: the length of the buffer or vector.
    pub(crate) third: u64,
    /// Fourth argument.
    pub(crate) fourth: u64,
    is_32_bit: u64,
}

/// What a call is to us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It may move bytes.
    Moves(Call),
    /// It accepts a connection.
    Accepts,
    /// It hands requests to an io_uring.
    EntersRing,
    /// None of the above.
    Other,
}

impl Arguments {
    /// What the call is. Numbers of 32-bit programs are others: they mean other calls.
    #[inline(always)]
    pub(crate) fn kind(&self) -> Kind {
        if self.is_32_bit != 0 { kind_32(self.number) } else { kind(self.number) }
    }

    /// Where the call `call` has its bytes.
    #[inline(always)]
    pub(crate) fn bytes(&self, call: Call) -> Bytes {
        let (at, size) = (self.second, self.third);
        match call {
            Call::Read | Call::Write | Call::Recvfrom | Call::Sendto => Bytes { call, vector: 0, at, size },
            // Vectors of 32-bit programs are laid out differently.
            _ if self.is_32_bit != 0 => Bytes::nowhere(call),
            Call::Readv | Call::Writev => Bytes { call, vector: 1, at, size },
            Call::Recvmsg | Call::Sendmsg => Bytes::of_message(call, at),
            _ => Bytes::nowhere(call),
        }
    }

    /// Whether the structures that arguments point to are those of 64-bit programs.
    #[inline(always)]
    pub(crate) fn is_64_bit(&self) -> bool {
        self.is_32_bit == 0
    }
}

/// Where in the process the bytes of a call are.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    pub(crate) call: Call,
    /// 1 when they are in the segments of a vector, 0 when in one buffer.
    pub(crate) vector: u8,
    /// Address of the buffer or vector; 0 when they are nowhere to be seen.
    pub(crate) at: u64,
    /// Bytes of the buffer, or segments of the vector.
    pub(crate) size: u64,
}

impl Bytes {
    /// Those that are in no buffer that is known.
    #[inline(always)]
    pub(crate) fn nowhere(call: Call) -> Self {
        Self { call, vector: 0, at: 0, size: 0 }
    }

    /// Those of a `struct user_msghdr` (include/linux/socket.h).
    #[inline(always)]
    pub(crate) fn of_message(call: Call, header: u64) -> Self {
        // Address and number of its segments lie behind address and length of a name.
        let Segment { base, length } = read_segment(header + 16);
        Self { call, vector: 1, at: base, size: length }
    }

    /// Those of the system call the running task is in.
    #[inline(always)]
    pub(crate) fn of_running_call() -> Self {
        let Some(registers) = Registers::of_running_call() else { return Self::nowhere(Call::IoUring) };
        let arguments = registers.arguments();
        match arguments.kind() {
            Kind::Moves(call) => arguments.bytes(call),
            Kind::EntersRing => Self::nowhere(Call::IoUring),
            Kind::Accepts | Kind::Other => Self::nowhere(Call::Other),
        }
    }
}

/// The call of a number: arch/x86/entry/syscalls/syscall_64.tbl.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn kind(number: u64) -> Kind {
    Kind::Moves(match number {
        0 => Call::Read,
        1 => Call::Write,
        19 => Call::Readv,
        20 => Call::Writev,
        40 => Call::Sendfile,
        43 | 288 => return Kind::Accepts,
        44 => Call::Sendto,
        45 => Call::Recvfrom,
        46 => Call::Sendmsg,
        47 => Call::Recvmsg,
        275 => Call::Splice,
        299 => Call::Recvmmsg,
        307 => Call::Sendmmsg,
        426 => return Kind::EntersRing,
        _ => return Kind::Other,
    })
}

/// The call of a number: include/uapi/asm-generic/unistd.h.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn kind(number: u64) -> Kind {
    Kind::Moves(match number {
        63 => Call::Read,
        64 => Call::Write,
        65 => Call::Readv,
        66 => Call::Writev,
        71 => Call::Sendfile,
        76 => Call::Splice,
        202 | 242 => return Kind::Accepts,
        206 => Call::Sendto,
        207 => Call::Recvfrom,
        211 => Call::Sendmsg,
        212 => Call::Recvmsg,
        243 => Call::Recvmmsg,
        269 => Call::Sendmmsg,
        426 => return Kind::EntersRing,
        _ => return Kind::Other,
    })
}

/// The call of a 32-bit program: arch/x86/entry/syscalls/syscall_32.tbl.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn kind_32(number: u64) -> Kind {
    Kind::Moves(match number {
        3 => Call::Read,
        4 => Call::Write,
        145 => Call::Readv,
        146 => Call::Writev,
        187 | 239 => Call::Sendfile,
        313 => Call::Splice,
        337 => Call::Recvmmsg,
        345 => Call::Sendmmsg,
        364 => return Kind::Accepts,
        369 => Call::Sendto,
        370 => Call::Sendmsg,
        371 => Call::Recvfrom,
        372 => Call::Recvmsg,
        426 => return Kind::EntersRing,
        _ => return Kind::Other,
    })
}

/// The call of a 32-bit program: arch/arm64/tools/syscall_32.tbl.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn kind_32(number: u64) -> Kind {
    Kind::Moves(match number {
        3 => Call::Read,
        4 => Call::Write,
        145 => Call::Readv,
        146 => Call::Writev,
        187 | 239 => Call::Sendfile,
        285 | 366 => return Kind::Accepts,
        289 | 290 => Call::Sendto,
        291 | 292 => Call::Recvfrom,
        296 => Call::Sendmsg,
        297 => Call::Recvmsg,
        340 => Call::Splice,
        365 => Call::Recvmmsg,
        374 => Call::Sendmmsg,
        426 => return Kind::EntersRing,
        _ => return Kind::Other,
    })
}
