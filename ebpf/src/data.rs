//! Bytes moved by socket calls: positions, true lengths, and a copy of the beginning and the end.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    helpers::{
        bpf_get_smp_processor_id,
        generated::{bpf_loop, bpf_probe_read_user},
    },
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use beyla_schema::wire::{
    Call, Data, Direction, FLOOR, Kind, MAX_PAYLOAD, MAX_SEGMENTS, Origin, PAYLOAD_CLASSES, State, TAIL,
};

use crate::{
    filter,
    kernel::{self, Sock, Syscall},
    lifecycle,
    output::{self, Actor},
};

/// Most bytes kept of one message; the loader sets it.
#[unsafe(no_mangle)]
static SNAPLEN: u32 = MAX_PAYLOAD as u32;

/// A record under construction, for payloads gathered from several segments. One for each CPU and
/// direction: a program never runs twice at a time on one CPU. The loader sets their number.
#[map]
static SCRATCH: Array<Scratch> = Array::with_max_entries(2, 0);

/// Twice the payload's size, so that any offset below [`MAX_PAYLOAD`] plus any length up to it fits: that is
/// all the verifier can see.
#[repr(C)]
struct Scratch {
    data: Data,
    payload: [u8; 2 * MAX_PAYLOAD],
}

/// A record with room for `N` bytes of payload.
#[repr(C)]
struct Sized<const N: usize> {
    data: Data,
    payload: [u8; N],
}

const MSG_PEEK: i32 = 0x2;
const MSG_ERRQUEUE: i32 = 0x2000;

/// `trace_sock_send_length(sk, ret, flags)`, include/trace/events/sock.h.
#[btf_tracepoint(function = "sock_send_length")]
fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    moved(&ctx, Direction::Send);
    0
}

/// `trace_sock_recv_length(sk, ret, flags)`, include/trace/events/sock.h.
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    // Neither moves the stream: a peek leaves the bytes where they are, the error queue has other bytes.
    let flags: i32 = ctx.arg(2);
    if flags & (MSG_PEEK | MSG_ERRQUEUE) == 0 {
        moved(&ctx, Direction::Receive);
    }
    0
}

#[inline(always)]
fn moved(ctx: &BtfTracePointContext, direction: Direction) {
    let result: i32 = ctx.arg(1);
    if result <= 0 {
        return;
    }
    let actor = Actor::current();
    let target = filter::is_target(actor.pid);
    if !target && !filter::selects_ports() {
        return;
    }
    // SAFETY: the first argument of both tracepoints.
    let sock = unsafe { Sock::new(ctx.arg(0)) };
    let state = if target {
        if !sock.is_tcp() {
            return;
        }
        let Some(state) = sock.state_or_new() else {
            output::count(|counters| &mut counters.storage_full);
            return;
        };
        state
    } else {
        // Whoever serves a connection of a selected port is a target from here on.
        let Some(state) = sock.state() else { return };
        if state.flags & State::MARKED == 0 {
            return;
        }
        lifecycle::adopt(actor.pid);
        state
    };
    if state.flags & State::ANNOUNCED == 0 {
        lifecycle::announce(sock, state, Origin::Found, actor);
    }
    record(state, direction, result as u32, actor);
}

#[inline(always)]
fn record(state: &mut State, direction: Direction, length: u32, actor: Actor) {
    let (counter, ready_ns) = match direction {
        Direction::Receive => (&mut state.received, core::mem::take(&mut state.ready_ns)),
        Direction::Send => (&mut state.sent, 0),
    };
    // Threads may write to one connection at the same time.
    let position = kernel::add(counter, length.into());

    // The snaplen counts from the last change of direction, so that it bounds a message and not a call.
    if state.direction != direction as u32 {
        state.direction = direction as u32;
        state.turn = position;
    }
    let snaplen = u64::from(kernel::setting(&SNAPLEN));
    let left = snaplen.saturating_sub(position - state.turn).max(FLOOR as u64);
    let (mut captured, mut tail) = (length, 0);
    if u64::from(length) > left {
        tail = TAIL as u32;
        captured = (left as u32).min(length - tail).min((MAX_PAYLOAD - TAIL) as u32);
    }

    let Syscall { call, mut buffer, mut count } = Syscall::current();
    let mut vector = false;
    match call {
        Call::Read | Call::Write | Call::Recvfrom | Call::Sendto if buffer != 0 => {}
        Call::Readv | Call::Writev => vector = true,
        Call::Recvmsg | Call::Sendmsg => {
            vector = true;
            (buffer, count) = message(buffer);
        }
        _ => (captured, tail) = (0, 0),
    }
    if vector && count == 1 {
        // One segment is a plain buffer.
        vector = false;
        buffer = segment(buffer).base;
    }

    let data = Data {
        head: output::head(Kind::Data, state.cookie, actor),
        position,
        ready_ns,
        length,
        captured,
        tail,
        call: call as u8,
        direction: direction as u8,
        source: 0,
        pad: 0,
    };
    if vector {
        gather(data, buffer, count);
    } else {
        match (captured + tail) as usize {
            0..=0x100 => copy::<{ PAYLOAD_CLASSES[0] }>(data, buffer),
            0x101..=0x400 => copy::<{ PAYLOAD_CLASSES[1] }>(data, buffer),
            0x401..=0x1000 => copy::<{ PAYLOAD_CLASSES[2] }>(data, buffer),
            _ => copy::<{ PAYLOAD_CLASSES[3] }>(data, buffer),
        }
    }
}

/// Reads `size` bytes of the process into `to`. False when they cannot be read without waiting for them.
///
/// # Safety
///
/// `to` must have room for `size` bytes, and the verifier must be able to see it.
#[inline(always)]
unsafe fn read_user(to: *mut c_void, size: u32, from: u64) -> bool {
    // SAFETY: by this function's contract; the helper checks `from`.
    unsafe { bpf_probe_read_user(to, size, from as *const c_void) == 0 }
}

/// A record whose payload is one buffer, copied straight into the ring.
#[inline(always)]
fn copy<const N: usize>(data: Data, buffer: u64) {
    output::emit::<Sized<N>>(|record| {
        let record: *mut Sized<N> = record.as_mut_ptr();
        // SAFETY: the record is reserved memory of its type; plain integers need no initial value.
        let record = unsafe { &mut *record };
        record.data = data;
        let captured = kernel::bounded(data.captured, N);
        // SAFETY: `captured` is at most the size of the payload, and the tail its last bytes.
        let read = unsafe {
            read_user(record.payload.as_mut_ptr().cast(), captured, buffer)
                && (data.tail == 0
                    || read_user(
                        record.payload.as_mut_ptr().add(N - TAIL).cast(),
                        TAIL as u32,
                        buffer + u64::from(data.length) - TAIL as u64,
                    ))
        };
        if !read {
            output::count(|counters| &mut counters.payload_fault);
            record.data.captured = 0;
            record.data.tail = 0;
        }
    });
}

/// `struct iovec` of include/uapi/linux/uio.h.
#[derive(Clone, Copy)]
#[repr(C)]
struct Segment {
    base: u64,
    length: u64,
}

/// Reads one segment; an unreadable one has no address, which is noticed when its bytes are read.
#[inline(always)]
fn segment(at: u64) -> Segment {
    let mut segment = MaybeUninit::<Segment>::zeroed();
    // SAFETY: the room is that of a `Segment`, and any bytes are a value.
    unsafe {
        read_user(segment.as_mut_ptr().cast(), size_of::<Segment>() as u32, at);
        segment.assume_init()
    }
}

/// The vector of a `struct user_msghdr` (include/linux/socket.h): address and number of segments.
#[inline(always)]
fn message(at: u64) -> (u64, u64) {
    let Segment { base, length } = segment(at + 16);
    (base, length)
}

/// A record whose payload is gathered from a vector.
#[inline(always)]
fn gather(data: Data, vector: u64, count: u64) {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let slot = 2 * cpu + u32::from(data.direction);
    let Some(scratch) = SCRATCH.get_ptr_mut(slot) else { return };
    // SAFETY: this CPU and direction own the slot while the program runs; any bytes are a value.
    let scratch = unsafe { &mut *scratch };
    scratch.data = data;
    let mut walk = Walk {
        payload: scratch.payload.as_mut_ptr(),
        vector,
        length: data.length.into(),
        captured: data.captured.into(),
        tail_at: u64::from(data.length) - u64::from(data.tail),
        done: 0,
        fault: 0,
    };
    // A loop of its own would be verified once for every segment.
    // SAFETY: `step` is what the helper wants, and `walk` what `step` wants.
    unsafe {
        bpf_loop(count.min(MAX_SEGMENTS as u64) as u32, step as *mut c_void, (&raw mut walk).cast(), 0);
    }
    let done = walk.done as u32;
    if done < data.length && (data.tail != 0 || done < data.captured) {
        // What was not reached of a very long vector is a gap, and the end is unknown.
        output::count(|counters| &mut counters.segment_limit);
        scratch.data.captured = data.captured.min(done);
        scratch.data.tail = 0;
    }
    if walk.fault != 0 {
        output::count(|counters| &mut counters.payload_fault);
        scratch.data.captured = 0;
        scratch.data.tail = 0;
    }
    let kept = kernel::bounded(scratch.data.captured + scratch.data.tail, MAX_PAYLOAD);
    // SAFETY: the record's head and at most half of its room.
    unsafe { output::copy_out((&raw const *scratch).cast(), size_of::<Data>() as u32 + kept) };
}

/// A walk over the segments of a vector. Words only, so that the verifier keeps track of each.
#[repr(C)]
struct Walk {
    payload: *mut u8,
    vector: u64,
    length: u64,
    captured: u64,
    /// Position of the first byte of the tail.
    tail_at: u64,
    /// Bytes of the segments walked so far.
    done: u64,
    /// Not 0 when a segment could not be read.
    fault: u64,
}

/// Copies what is wanted of one segment; returns 1 when no more segments are.
extern "C" fn step(index: u64, walk: *mut Walk) -> u64 {
    // SAFETY: the helper passes on what `gather` gave it.
    let walk = unsafe { &mut *walk };
    let Segment { base, length } = segment(walk.vector + index * size_of::<Segment>() as u64);
    let length = length.min(walk.length - walk.done);
    if walk.done < walk.captured {
        let part = kernel::bounded(length.min(walk.captured - walk.done) as u32, MAX_PAYLOAD);
        let offset = kernel::wrapped(walk.done as u32, MAX_PAYLOAD);
        // SAFETY: offset and length are each at most half of the room.
        let read = unsafe { read_user(walk.payload.add(offset).cast(), part, base) };
        walk.fault |= u64::from(!read);
    }
    let end = walk.done + length;
    if end > walk.tail_at {
        let skip = walk.tail_at.saturating_sub(walk.done);
        let part = kernel::bounded((length - skip) as u32, TAIL);
        let at = walk.captured + walk.done + skip - walk.tail_at;
        let offset = kernel::wrapped(at as u32, MAX_PAYLOAD);
        // SAFETY: as above.
        let read = unsafe { read_user(walk.payload.add(offset).cast(), part, base + skip) };
        walk.fault |= u64::from(!read);
    }
    walk.done = end;
    // Without a tail nothing is wanted beyond what is captured.
    let wanted = if walk.tail_at < walk.length { walk.length } else { walk.captured };
    u64::from(end >= wanted)
}
