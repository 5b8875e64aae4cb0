//! Safe faces of the C shim: fields of kernel structures and the state the kernel keeps for a socket.

use core::ffi::c_void;

use beyla_schema::wire::{Call, State};

#[allow(improper_ctypes, reason = "the pointers are opaque on this side")]
unsafe extern "C" {
    fn socket_state(sk: *mut c_void, create: u64) -> *mut c_void;
    fn socket_cookie(sk: *mut c_void) -> u64;
    fn socket_family(sk: *mut c_void) -> u16;
    fn socket_protocol(sk: *mut c_void) -> u16;
    fn socket_tcp_state(sk: *mut c_void) -> u8;
    fn socket_local_port(sk: *mut c_void) -> u16;
    fn socket_remote_port(sk: *mut c_void) -> u16;
    fn socket_local_v4(sk: *mut c_void) -> u32;
    fn socket_remote_v4(sk: *mut c_void) -> u32;
    fn socket_local_v6(sk: *mut c_void, index: u32) -> u32;
    fn socket_remote_v6(sk: *mut c_void, index: u32) -> u32;
    fn task_tgid(task: *mut c_void) -> u32;
    fn task_pid(task: *mut c_void) -> u32;
    fn task_threads_left(task: *mut c_void) -> u32;
    fn task_registers() -> *mut c_void;
    fn syscall_number(registers: *mut c_void) -> u64;
    fn syscall_argument_2(registers: *mut c_void) -> u64;
    fn syscall_argument_3(registers: *mut c_void) -> u64;
    fn fetch_add(value: *mut u64, amount: u64) -> u64;
    fn at_most(value: u64, limit: u64) -> u64;
    fn masked(value: u64, mask: u64) -> u64;
}

/// `AF_INET` of include/linux/socket.h.
pub(crate) const AF_INET: u16 = 2;
/// `AF_INET6` of include/linux/socket.h.
pub(crate) const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;

/// A `struct sock` that a tracepoint was called with.
#[derive(Clone, Copy)]
pub(crate) struct Sock(*mut c_void);

impl Sock {
    /// # Safety
    ///
    /// `sk` must be the `struct sock` argument of the running BTF tracepoint.
    #[inline(always)]
    pub(crate) unsafe fn new(sk: *mut c_void) -> Self {
        Self(sk)
    }

    /// Whether it is TCP over IPv4 or IPv6.
    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        let family = self.family();
        // SAFETY: `self.0` is a `struct sock` by `new`.
        (family == AF_INET || family == AF_INET6) && unsafe { socket_protocol(self.0) } == IPPROTO_TCP
    }

    /// The address family.
    #[inline(always)]
    pub(crate) fn family(self) -> u16 {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_family(self.0) }
    }

    /// State of include/net/tcp_states.h.
    #[inline(always)]
    pub(crate) fn tcp_state(self) -> u8 {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_tcp_state(self.0) }
    }

    /// The identity of the socket, never reused.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_cookie(self.0) }
    }

    /// The local port.
    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_local_port(self.0) }
    }

    /// The peer's port.
    #[inline(always)]
    pub(crate) fn remote_port(self) -> u16 {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_remote_port(self.0) }
    }

    /// The local and the peer's address, as in `wire::Socket`.
    #[inline(always)]
    pub(crate) fn addresses(self) -> ([u32; 4], [u32; 4]) {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe {
            if self.family() == AF_INET {
                ([socket_local_v4(self.0), 0, 0, 0], [socket_remote_v4(self.0), 0, 0, 0])
            } else {
                (
                    [
                        socket_local_v6(self.0, 0),
                        socket_local_v6(self.0, 1),
                        socket_local_v6(self.0, 2),
                        socket_local_v6(self.0, 3),
                    ],
                    [
                        socket_remote_v6(self.0, 0),
                        socket_remote_v6(self.0, 1),
                        socket_remote_v6(self.0, 2),
                        socket_remote_v6(self.0, 3),
                    ],
                )
            }
        }
    }

    /// What is remembered of the socket, if anything is.
    #[inline(always)]
    pub(crate) fn state(self) -> Option<&'static mut State> {
        // SAFETY: the kernel returns null or the map value of the socket, which lives as long as the socket
        // does: longer than this run of the program. Its type is `State` (shim.c).
        unsafe { socket_state(self.0, 0).cast::<State>().as_mut() }
    }

    /// The same, made when there is nothing yet. None when the kernel has no memory for it.
    #[inline(always)]
    pub(crate) fn state_or_new(self) -> Option<&'static mut State> {
        // SAFETY: as in `state`.
        unsafe { socket_state(self.0, 1).cast::<State>().as_mut() }
    }
}

/// A `struct task_struct` that a tracepoint was called with.
#[derive(Clone, Copy)]
pub(crate) struct Task(*mut c_void);

impl Task {
    /// # Safety
    ///
    /// `task` must be the `struct task_struct` argument of the running BTF tracepoint.
    #[inline(always)]
    pub(crate) unsafe fn new(task: *mut c_void) -> Self {
        Self(task)
    }

    /// The process it belongs to.
    #[inline(always)]
    pub(crate) fn process(self) -> u32 {
        // SAFETY: `self.0` is a `struct task_struct` by `new`.
        unsafe { task_tgid(self.0) }
    }

    /// Whether it is the first thread of its process.
    #[inline(always)]
    pub(crate) fn is_leader(self) -> bool {
        // SAFETY: `self.0` is a `struct task_struct` by `new`.
        unsafe { task_pid(self.0) == task_tgid(self.0) }
    }

    /// Whether no thread of its process is left.
    #[inline(always)]
    pub(crate) fn is_last(self) -> bool {
        // SAFETY: `self.0` is a `struct task_struct` by `new`.
        unsafe { task_threads_left(self.0) == 0 }
    }
}

/// The system call the running task is in, and where it said its bytes are.
pub(crate) struct Syscall {
    /// Which call.
    pub(crate) call: Call,
    /// Second argument: the buffer, vector or message header.
    pub(crate) buffer: u64,
    /// Third argument: the length of a vector.
    pub(crate) count: u64,
}

impl Syscall {
    /// Reads the registers the running task entered the kernel with.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: the shim reads the saved registers of the running task, which are there while it is in
        // the kernel.
        unsafe {
            let registers = task_registers();
            Self {
                call: call(syscall_number(registers)),
                buffer: syscall_argument_2(registers),
                count: syscall_argument_3(registers),
            }
        }
    }
}

/// The call of a number: arch/x86/entry/syscalls/syscall_64.tbl.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn call(number: u64) -> Call {
    match number {
        0 => Call::Read,
        1 => Call::Write,
        19 => Call::Readv,
        20 => Call::Writev,
        40 => Call::Sendfile,
        44 => Call::Sendto,
        45 => Call::Recvfrom,
        46 => Call::Sendmsg,
        47 => Call::Recvmsg,
        275 => Call::Splice,
        299 => Call::Recvmmsg,
        307 => Call::Sendmmsg,
        _ => Call::Other,
    }
}

/// The call of a number: include/uapi/asm-generic/unistd.h.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn call(number: u64) -> Call {
    match number {
        63 => Call::Read,
        64 => Call::Write,
        65 => Call::Readv,
        66 => Call::Writev,
        71 => Call::Sendfile,
        76 => Call::Splice,
        206 => Call::Sendto,
        207 => Call::Recvfrom,
        211 => Call::Sendmsg,
        212 => Call::Recvmsg,
        243 => Call::Recvmmsg,
        269 => Call::Sendmmsg,
        _ => Call::Other,
    }
}

/// A value that the loader sets before the programs run.
#[inline(always)]
pub(crate) fn setting<T: Copy>(value: &'static T) -> T {
    // SAFETY: a reference to a static; a volatile read keeps the compiler from taking the initial value for
    // granted.
    unsafe { core::ptr::read_volatile(value) }
}

/// Adds to `value` in a way that neither an interrupt nor another CPU can break in two; returns the value
/// before.
#[inline(always)]
pub(crate) fn add(value: &mut u64, amount: u64) -> u64 {
    // SAFETY: a valid, aligned u64.
    unsafe { fetch_add(value, amount) }
}

/// `value`, or `limit` when it is more, in a way that the verifier can follow.
#[inline(always)]
pub(crate) fn bounded(value: u32, limit: usize) -> u32 {
    // SAFETY: plain arithmetic.
    unsafe { at_most(value.into(), limit as u64) as u32 }
}

/// The value modulo a power of two, in a way that the verifier can follow.
#[inline(always)]
pub(crate) fn wrapped(value: u32, power_of_two: usize) -> usize {
    // SAFETY: plain arithmetic.
    unsafe { masked(value.into(), power_of_two as u64 - 1) as usize }
}
