//! Copies of the beginning and the end of the bytes that a call moved.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    helpers::{
        bpf_get_smp_processor_id,
        generated::{bpf_loop, bpf_probe_read_user},
    },
    macros::map,
    maps::Array,
};
use beyla_schema::wire::{Data, Direction, MAX_PAYLOAD, MAX_SEGMENTS, PAYLOAD_CLASSES, Source, TAIL};

use crate::{
    frames, kernel,
    output::{self, Actor},
    syscall::Bytes,
};

/// Whether the kernel has the helper `bpf_loop` (Linux 5.17). The loader sets it.
#[unsafe(no_mangle)]
static HAS_LOOP: u8 = 1;

/// Segments, or messages, that are walked without that helper: each of them is verified once more.
const UNROLLED: u64 = 8;

/// Room for a record under construction, and for what the verifier shall not keep track of: it follows every
/// value that a register or the stack can have, one after the other, but knows nothing of what is in a map.
///
/// For each CPU there is one for each direction, and [`CLAIMED`] more. The loader sets their number.
#[map]
static SCRATCH: Array<Scratch> = Array::with_max_entries(SLOTS, 0);

/// Scratch rooms of a CPU.
const SLOTS: u32 = 2 + CLAIMED;

/// Those of them that are claimed before they are used.
const CLAIMED: u32 = 2;

/// Twice the payload's size, so that any offset below [`MAX_PAYLOAD`] plus any length up to it fits: that is
/// all the verifier can see.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) data: Data,
    pub(crate) payload: [u8; 2 * MAX_PAYLOAD],
    walk: Walk,
    /// For `frames`.
    pub(crate) frames: frames::Walk,
    /// For `frames` and `sys_exit`.
    pub(crate) moved: Moved,
    /// Not 0 while it is claimed.
    claimed: u64,
}

/// Bytes that a call moved.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Moved {
    pub(crate) bytes: Bytes,
    pub(crate) length: u64,
    pub(crate) actor: Actor,
    pub(crate) direction: Direction,
    pub(crate) source: Source,
}

/// The scratch room of this CPU, for programs at tracepoints: none of them runs twice at a time on one CPU. None, which
/// is never, when the loader made too few.
#[inline(always)]
pub(crate) fn scratch(direction: Direction) -> Option<&'static mut Scratch> {
    let slot = SCRATCH.get_ptr_mut(slot(direction as u32))?;
    // SAFETY: this CPU and direction own the slot while the program runs. It is zero at first, which is a value
    // of each of its parts, and nothing else is written into it later.
    Some(unsafe { &mut *slot })
}

/// A scratch room, for programs at user space's functions: one may be interrupted by another on the same CPU. None when
/// all are in use.
#[inline(always)]
pub(crate) fn claim() -> Option<&'static mut Scratch> {
    let mut index = 0;
    while index < CLAIMED {
        let slot = SCRATCH.get_ptr_mut(slot(2 + index))?;
        // SAFETY: as in `scratch`, once it is claimed.
        let slot = unsafe { &mut *slot };
        if kernel::claim(&mut slot.claimed) {
            return Some(slot);
        }
        index += 1;
    }
    None
}

/// Gives a scratch room back, if it was claimed.
#[inline(always)]
pub(crate) fn release(scratch: &mut Scratch) {
    // SAFETY: a valid, aligned u64.
    unsafe { core::ptr::write_volatile(&raw mut scratch.claimed, 0) };
}

#[inline(always)]
fn slot(index: u32) -> u32 {
    // SAFETY: a helper without arguments.
    SLOTS * unsafe { bpf_get_smp_processor_id() } + index
}

/// A record with room for `N` bytes of payload.
#[repr(C)]
struct Sized<const N: usize> {
    data: Data,
    payload: [u8; N],
}

/// Delivers a record with as much of its payload as it says and as there is.
#[inline(always)]
pub(crate) fn deliver(mut data: Data, direction: Direction, bytes: Bytes) {
    let Bytes { mut vector, mut at, mut size, .. } = bytes;
    if vector != 0 && size == 1 {
        // One segment is a plain buffer.
        vector = 0;
        let segment = read_segment(at);
        (at, size) = (segment.base, segment.length);
    }
    if at == 0 {
        data.captured = 0;
        data.tail = 0;
    } else if vector == 0 && u64::from(data.length) > size {
        // A message that was longer than the buffer it was read into.
        data.captured = (data.captured + data.tail).min(size as u32);
        data.tail = 0;
    }
    if vector != 0 && at != 0 {
        gather(data, direction, at, size);
    } else {
        match (data.captured + data.tail) as usize {
            0..=0x100 => copy::<{ PAYLOAD_CLASSES[0] }>(data, at),
            0x101..=0x400 => copy::<{ PAYLOAD_CLASSES[1] }>(data, at),
            0x401..=0x1000 => copy::<{ PAYLOAD_CLASSES[2] }>(data, at),
            _ => copy::<{ PAYLOAD_CLASSES[3] }>(data, at),
        }
    }
}

/// Reads `size` bytes of the process into `to`. False when they cannot be read without waiting for them.
///
/// # Safety
///
/// `to` must have room for `size` bytes, and the verifier must be able to see it.
#[inline(always)]
pub(crate) unsafe fn read_user(to: *mut c_void, size: u32, from: u64) -> bool {
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
pub(crate) struct Segment {
    pub(crate) base: u64,
    pub(crate) length: u64,
}

/// Reads one segment; an unreadable one has no address, which is noticed when its bytes are read.
#[inline(always)]
pub(crate) fn read_segment(at: u64) -> Segment {
    let mut segment = MaybeUninit::<Segment>::zeroed();
    // SAFETY: the room is that of a `Segment`, and any bytes are a value.
    unsafe {
        read_user(segment.as_mut_ptr().cast(), size_of::<Segment>() as u32, at);
        segment.assume_init()
    }
}

/// Reads a number of the process; 0 when it cannot be read.
#[inline(always)]
pub(crate) fn read_word(at: u64) -> u32 {
    let mut word = 0u32;
    // SAFETY: the room is that of a word.
    unsafe { read_user((&raw mut word).cast(), size_of::<u32>() as u32, at) };
    word
}

/// Reads a long number of the process, such as an address; 0 when it cannot be read.
#[inline(always)]
pub(crate) fn read_long(at: u64) -> u64 {
    let mut long = 0u64;
    // SAFETY: the room is that of a long number.
    unsafe { read_user((&raw mut long).cast(), size_of::<u64>() as u32, at) };
    long
}

/// The first bytes of a call that lie in one piece.
#[inline(always)]
pub(crate) fn first(bytes: &Bytes) -> Segment {
    if bytes.vector != 0 { read_segment(bytes.at) } else { Segment { base: bytes.at, length: bytes.size } }
}

/// The first four bytes of a call of `moved` bytes as a number; 0 when they are fewer, or cannot be read. Apart from its caller,
/// as what it needs of the stack is more than what is left there.
#[inline(never)]
pub(crate) fn first_word(bytes: &Bytes, moved: u64) -> u64 {
    let Segment { base, length } = first(bytes);
    let is_whole = base != 0 && length.min(moved) >= size_of::<u32>() as u64;
    if is_whole { read_word(base).into() } else { 0 }
}

/// A record whose payload is gathered from a vector.
#[inline(always)]
fn gather(data: Data, direction: Direction, vector: u64, count: u64) {
    let Some(scratch) = scratch(direction) else {
        // It has its number already.
        output::count(|counters| &mut counters.storage_full);
        return;
    };
    scratch.data = data;
    if count == 2 && data.tail == 0 && gather_two(scratch, vector) != 0 {
        return;
    }
    scratch.walk = Walk {
        vector,
        length: data.length.into(),
        captured: data.captured.into(),
        tail_at: u64::from(data.length) - u64::from(data.tail),
        done: 0,
        fault: 0,
    };
    let mut scratch: *mut Scratch = scratch;
    repeat(count.min(MAX_SEGMENTS as u64), step, &mut scratch);
    // SAFETY: it points where it did before.
    let scratch = unsafe { &mut *scratch };
    let (data, walk) = (&mut scratch.data, &scratch.walk);
    let done = walk.done as u32;
    if done < data.length && (data.tail != 0 || done < data.captured) {
        // What was not reached of a very long vector is a gap, and the end is unknown. A message may have been
        // longer than all its segments.
        if count > limit(MAX_SEGMENTS as u64) {
            output::count(|counters| &mut counters.segment_limit);
        }
        data.captured = data.captured.min(done);
        data.tail = 0;
    }
    if walk.fault != 0 {
        output::count(|counters| &mut counters.payload_fault);
        data.captured = 0;
        data.tail = 0;
    }
    let kept = kernel::bounded(data.captured + data.tail, MAX_PAYLOAD);
    // SAFETY: the record's head and at most half of its room.
    unsafe { output::copy_out((&raw const *scratch).cast(), size_of::<Data>() as u32 + kept) };
}

/// Delivers a record whose payload is in two segments, a head and a body, for less than the walk takes. 0 when it cannot be
/// read. Apart from its caller as `first_word` is.
#[inline(never)]
fn gather_two(scratch: &mut Scratch, vector: u64) -> u64 {
    let mut segments = MaybeUninit::<[Segment; 2]>::zeroed();
    // SAFETY: the room is that of two segments.
    if !unsafe { read_user(segments.as_mut_ptr().cast(), size_of::<[Segment; 2]>() as u32, vector) } {
        return 0;
    }
    // SAFETY: any bytes are a value.
    let [head, body] = unsafe { segments.assume_init() };
    let wanted = u64::from(scratch.data.captured);
    let part = kernel::bounded(head.length.min(wanted) as u32, MAX_PAYLOAD);
    let rest = kernel::bounded(body.length.min(wanted - head.length.min(wanted)) as u32, MAX_PAYLOAD);
    let offset = kernel::wrapped(part, MAX_PAYLOAD);
    let payload = scratch.payload.as_mut_ptr();
    // SAFETY: offset and length are each at most half of the room.
    let read = unsafe {
        read_user(payload.cast(), part, head.base) && read_user(payload.add(offset).cast(), rest, body.base)
    };
    if !read {
        return 0;
    }
    scratch.data.captured = part + rest;
    let kept = kernel::bounded(part + rest, MAX_PAYLOAD);
    // SAFETY: the record's head and at most half of its room.
    unsafe { output::copy_out((&raw const *scratch).cast(), size_of::<Data>() as u32 + kept) };
    1
}

/// Whether [`repeat`] repeats as often as it is asked to.
#[inline(always)]
pub(crate) fn has_loop() -> bool {
    kernel::setting(&HAS_LOOP) != 0
}

/// How often [`repeat`] repeats at most, when it is asked for no more than `most`.
#[inline(always)]
pub(crate) fn limit(most: u64) -> u64 {
    if has_loop() { most } else { UNROLLED }
}

/// Calls `step` with 0, 1, ... below `count` until it returns 1. A loop written out would be verified once for
/// every turn; kernels that cannot do better get few turns.
#[inline(always)]
pub(crate) fn repeat<T>(count: u64, step: extern "C" fn(u64, *mut T) -> u64, state: &mut T) {
    if has_loop() {
        // SAFETY: `step` is what the helper wants, and `state` what `step` wants.
        unsafe { bpf_loop(count as u32, step as *mut c_void, (&raw mut *state).cast(), 0) };
        return;
    }
    let mut index = 0;
    while index < UNROLLED && index < count && step(index, state) == 0 {
        index += 1;
    }
}

/// A walk over the segments of a vector.
#[repr(C)]
struct Walk {
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
#[inline(never)]
extern "C" fn step(index: u64, scratch: *mut *mut Scratch) -> u64 {
    // SAFETY: the helper passes on what `gather` gave it.
    let Scratch { payload, walk, .. } = unsafe { &mut **scratch };
    let payload = payload.as_mut_ptr();
    let Segment { base, length } = read_segment(walk.vector + index * size_of::<Segment>() as u64);
    let length = length.min(walk.length - walk.done);
    if walk.done < walk.captured {
        let part = kernel::bounded(length.min(walk.captured - walk.done) as u32, MAX_PAYLOAD);
        let offset = kernel::wrapped(walk.done as u32, MAX_PAYLOAD);
        // SAFETY: offset and length are each at most half of the room.
        let read = unsafe { read_user(payload.add(offset).cast(), part, base) };
        walk.fault |= u64::from(!read);
    }
    let end = walk.done + length;
    if end > walk.tail_at {
        let skip = walk.tail_at.saturating_sub(walk.done);
        let part = kernel::bounded((length - skip) as u32, TAIL);
        let at = walk.captured + walk.done + skip - walk.tail_at;
        let offset = kernel::wrapped(at as u32, MAX_PAYLOAD);
        // SAFETY: as above.
        let read = unsafe { read_user(payload.add(offset).cast(), part, base + skip) };
        walk.fault |= u64::from(!read);
    }
    walk.done = end;
    // Without a tail nothing is wanted beyond what is captured.
    let wanted = if walk.tail_at < walk.length { walk.length } else { walk.captured };
    u64::from(end >= wanted)
}
