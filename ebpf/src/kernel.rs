//! Safe faces of the C shim: fields of kernel structures and the state the kernel keeps for a socket.

use core::{ffi::c_void, mem::MaybeUninit};

use beyla_schema::wire::{MAX_PATH, State, Transport};

use crate::syscall::Arguments;

#[allow(improper_ctypes, reason = "the pointers are opaque on this side")]
unsafe extern "C" {
    fn socket_state(sk: *mut c_void, create: u64) -> *mut c_void;
    fn socket_cookie(sk: *mut c_void) -> u64;
    fn socket_known_cookie(sk: *mut c_void) -> u64;
    fn socket_inode(sk: *mut c_void) -> u64;
    fn socket_file(sk: *mut c_void) -> u64;
    fn socket_is_owned(sk: *mut c_void) -> u64;
    fn socket_family(sk: *mut c_void) -> u16;
    fn socket_protocol(sk: *mut c_void) -> u16;
    fn socket_type(sk: *mut c_void) -> u16;
    fn socket_tcp_state(sk: *mut c_void) -> u8;
    fn socket_local_port(sk: *mut c_void) -> u16;
    fn descriptor_socket(fd: u32, out: *mut Descriptor) -> u64;
    fn socket_endpoints(sk: *const c_void, out: *mut Endpoints);
    fn unix_path(sk: *const c_void, room: *mut u8) -> u32;
    fn unix_peer(sk: *const c_void) -> *const c_void;
    fn task_tgid(task: *mut c_void) -> u32;
    fn task_pid(task: *mut c_void) -> u32;
    fn task_threads_left(task: *mut c_void) -> u32;
    fn task_is_worker() -> u64;
    fn task_registers() -> *mut c_void;
    fn syscall_is_running(registers: *mut c_void) -> u64;
    fn go_g(registers: *mut c_void) -> u64;
    fn syscall_arguments(registers: *mut c_void, out: *mut Arguments);
    fn fetch_add(value: *mut u64, amount: u64) -> u64;
    fn compare_and_swap(value: *mut u64, before: u64, after: u64) -> u64;
    fn at_most(value: u64, limit: u64) -> u64;
    fn masked(value: u64, mask: u64) -> u64;
}

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const SOCK_STREAM: u16 = 1;

/// How bytes travel on a socket of this family and protocol; None when it is none of ours.
#[inline(always)]
fn transport(family: u16, protocol: u16) -> Option<Transport> {
    match (family, protocol) {
        (AF_INET | AF_INET6, IPPROTO_TCP) => Some(Transport::Tcp),
        (AF_INET | AF_INET6, IPPROTO_UDP) => Some(Transport::Udp),
        (AF_UNIX, _) => Some(Transport::Unix),
        _ => None,
    }
}

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

    /// How its bytes travel; None when it is none of ours.
    #[inline(always)]
    pub(crate) fn transport(self) -> Option<Transport> {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { transport(socket_family(self.0), socket_protocol(self.0)) }
    }

    /// Whether it is TCP over IPv4 or IPv6.
    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        matches!(self.transport(), Some(Transport::Tcp))
    }

    /// Whether it carries messages and no stream.
    #[inline(always)]
    pub(crate) fn is_datagram(self) -> bool {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_type(self.0) != SOCK_STREAM }
    }

    /// State of include/net/tcp_states.h.
    #[inline(always)]
    pub(crate) fn tcp_state(self) -> u8 {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_tcp_state(self.0) }
    }

    /// The identity of the socket, never reused. The kernel makes it up when it is first asked for.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_cookie(self.0) }
    }

    /// The same, or 0 when nobody has asked for it yet.
    #[inline(always)]
    pub(crate) fn known_cookie(self) -> u64 {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_known_cookie(self.0) }
    }

    /// Number of its inode; 0 while no process has a descriptor of it.
    #[inline(always)]
    pub(crate) fn inode(self) -> u64 {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_inode(self.0) }
    }

    /// Whether some process has, or had, a descriptor of it: the kernel has sockets of its own.
    #[inline(always)]
    pub(crate) fn has_descriptor(self) -> bool {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_file(self.0) != 0 }
    }

    /// Whether a process works on it, and not a soft interrupt.
    #[inline(always)]
    pub(crate) fn is_owned(self) -> bool {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_is_owned(self.0) != 0 }
    }

    /// The local port.
    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        // SAFETY: `self.0` is a `struct sock` by `new`.
        unsafe { socket_local_port(self.0) }
    }

    /// What is remembered in the socket, if anything is.
    #[inline(always)]
    pub(crate) fn storage(self) -> Option<&'static mut State> {
        // SAFETY: the kernel returns null or the map value of the socket, which lives as long as the socket
        // does: longer than this run of the program. Its type is `State` (shim.c).
        unsafe { socket_state(self.0, 0).cast::<State>().as_mut() }
    }

    /// The same, made when there is nothing yet. None when the kernel has no memory for it.
    #[inline(always)]
    pub(crate) fn storage_or_new(self) -> Option<&'static mut State> {
        // SAFETY: as in `storage`.
        unsafe { socket_state(self.0, 1).cast::<State>().as_mut() }
    }

    /// Where it is, for what needs no more.
    #[inline(always)]
    pub(crate) fn address(self) -> Address {
        Address(self.0)
    }
}

/// Where a `struct sock` is, which the verifier knows nothing about: it can be read from, and no more.
#[derive(Clone, Copy)]
pub(crate) struct Address(*const c_void);

/// Both ends of an internet socket, as in `wire::Socket` (`struct endpoints` of shim.c).
#[repr(C)]
pub(crate) struct Endpoints {
    pub(crate) local: [u8; 16],
    pub(crate) remote: [u8; 16],
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) family: u16,
    pad: u16,
}

impl Address {
    /// Both ends.
    #[inline(always)]
    pub(crate) fn endpoints(self) -> Endpoints {
        let mut endpoints = MaybeUninit::<Endpoints>::zeroed();
        // SAFETY: the shim fills an `Endpoints`; any bytes are one.
        unsafe {
            socket_endpoints(self.0, endpoints.as_mut_ptr());
            endpoints.assume_init()
        }
    }

    /// Copies the path of a Unix domain socket, and returns its length: 0 when it has none.
    #[inline(always)]
    pub(crate) fn path(self, room: &mut [u8; MAX_PATH]) -> u16 {
        // SAFETY: the shim writes less than there is room for.
        unsafe { unix_path(self.0, room.as_mut_ptr()) as u16 }
    }

    /// The socket that a Unix domain socket is connected to.
    #[inline(always)]
    pub(crate) fn peer(self) -> Option<Self> {
        // SAFETY: the shim only reads.
        let peer = unsafe { unix_peer(self.0) };
        (!peer.is_null()).then_some(Self(peer))
    }
}

/// What a descriptor of the running task refers to (`struct descriptor` of shim.c).
#[repr(C)]
pub(crate) struct Descriptor {
    sock: *const c_void,
    /// Cookie of the socket; 0 when nobody has asked for it yet.
    pub(crate) cookie: u64,
    /// Number of its inode.
    pub(crate) inode: u64,
    family: u16,
    protocol: u16,
    pad: u32,
}

/// What became of the look at a descriptor.
pub(crate) enum Look {
    /// A socket.
    Socket(Descriptor),
    /// A file, a pipe, or anything else.
    NoSocket,
    /// There is no such descriptor any more.
    Gone,
}

impl Descriptor {
    /// Looks a descriptor of the running task up.
    #[inline(always)]
    pub(crate) fn look(number: u32) -> Look {
        let mut descriptor = MaybeUninit::<Self>::zeroed();
        // SAFETY: the shim fills a `Descriptor`; any bytes are one.
        let (what, descriptor) =
            unsafe { (descriptor_socket(number, descriptor.as_mut_ptr()), descriptor.assume_init()) };
        match what {
            0 => Look::NoSocket,
            1 => Look::Socket(descriptor),
            _ => Look::Gone,
        }
    }

    /// Whether it is TCP over IPv4 or IPv6.
    #[inline(always)]
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(transport(self.family, self.protocol), Some(Transport::Tcp))
    }

    /// Where the socket is.
    #[inline(always)]
    pub(crate) fn address(&self) -> Address {
        Address(self.sock)
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

/// The registers with which a task entered the kernel: a `struct pt_regs`.
#[derive(Clone, Copy)]
pub(crate) struct Registers(*mut c_void);

impl Registers {
    /// # Safety
    ///
    /// `registers` must be the `struct pt_regs` argument of the running BTF tracepoint.
    #[inline(always)]
    pub(crate) unsafe fn new(registers: *mut c_void) -> Self {
        Self(registers)
    }

    /// Those of the running task while it is in a system call. None when it is not: then the kernel works on a
    /// request of an io_uring, in a thread of its own, or on the way out of a call that has its result already.
    #[inline(always)]
    pub(crate) fn of_running_call() -> Option<Self> {
        // SAFETY: the shim reads fields of the running task and its saved registers.
        unsafe {
            let registers = task_registers();
            (task_is_worker() == 0 && syscall_is_running(registers) != 0).then_some(Self(registers))
        }
    }

    /// Where programs of Go have the address of the `runtime.g` that runs.
    #[inline(always)]
    pub(crate) fn g(self) -> u64 {
        // SAFETY: a register that is there.
        unsafe { go_g(self.0) }
    }

    /// Number and arguments of the system call.
    #[inline(always)]
    pub(crate) fn arguments(self) -> Arguments {
        let mut arguments = MaybeUninit::<Arguments>::zeroed();
        // SAFETY: the shim fills an `Arguments` from registers that are there; any bytes are one.
        unsafe {
            syscall_arguments(self.0, arguments.as_mut_ptr());
            arguments.assume_init()
        }
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

/// Sets a word from 0 to 1 in a way that only one succeeds. Whether it was this one.
#[inline(always)]
pub(crate) fn claim(word: &mut u64) -> bool {
    // SAFETY: a valid, aligned u64.
    unsafe { compare_and_swap(word, 0, 1) == 0 }
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
