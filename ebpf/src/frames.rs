//! Follows the frames of HTTP/2 connections, to keep every head and every header block of calls that are far longer
//! than the snaplen, and to leave out the payload in between: one call becomes several records, each of bytes that
//! are kept and of those left out behind them.
//!
//! What is kept of a frame says `beyla_schema::frames`. A connection is HTTP/2 when its client says so with the
//! preface, at its beginning or after an upgrade. All others pay for a look at the first bytes of each request.
//! Needs `bpf_loop`.

use core::ptr::read_unaligned;

use beyla_schema::{
    frames::{Frames, HEAD, Next, PREFACE},
    wire::{Data, Direction, MAX_PAYLOAD, State},
};

use crate::{
    data, kernel, output,
    payload::{self, Moved, Scratch, Segment},
    syscall::Bytes,
};

/// Parts of frames, and segments, of one call that are looked at: more than 64 KiB can have.
const MAX_PARTS: u64 = 1 << 14;

/// A walk over the frames of one call.
#[repr(C)]
pub(crate) struct Walk {
    place: Frames,
    /// The head of the present frame, as far as it is known, with room for as much again.
    head: [u8; 32],
    /// Address and number of the segments that come after the present one.
    vector: u64,
    segments: u64,
    /// What is left of the present segment.
    base: u64,
    size: u64,
    /// What is left of the call.
    left: u64,
}

impl Walk {
    /// Goes on behind the next `count` bytes of the segment.
    #[inline(always)]
    fn pass(&mut self, count: u64) {
        self.base += count;
        self.size -= count;
        self.left -= count;
    }
}

/// Whether a call at `position` of its stream may begin with the preface, or go on with it: the first that a client says,
/// here or after the answer to its wish to upgrade.
#[inline(always)]
pub(crate) fn may_begin(state: &mut State, position: u64, direction: Direction) -> bool {
    let client = if state.flags & State::CONNECTING != 0 { Direction::Send } else { Direction::Receive };
    client as u32 == direction as u32
        && state.flags & (State::HTTP2 | State::TLS | State::DATAGRAM) == 0
        && (state.turn == position || of(state, direction).known != 0)
}

/// Whether the frames of a call are followed, which begins with the bytes `word` if it `asks`: if it [may
/// begin](may_begin) with the preface.
#[inline(always)]
pub(crate) fn are_followed(state: &mut State, moved: &Moved, asks: bool, word: u32) -> bool {
    let direction = moved.direction;
    if !payload::has_loop() {
        return false;
    }
    if state.flags & State::HTTP2 != 0 {
        return of(state, direction).flags & Frames::ENDED == 0;
    }
    // Nearly all others are told by their first bytes.
    let known = of(state, direction).known;
    if !asks || known == 0 && word != 0 && word != u32::from_ne_bytes([b'P', b'R', b'I', b' ']) {
        return false;
    }
    let Segment { base, length } = payload::first(&moved.bytes);
    let length = length.min(moved.length);
    if length < moved.length && length < PREFACE.len() as u64 {
        // Nobody cuts it into segments.
        of(state, direction).known = 0;
        return false;
    }
    preface(state, direction as u64, base, length) != 0
}

/// Where a direction is in its frames.
#[inline(always)]
fn of(state: &mut State, direction: Direction) -> &mut Frames {
    match direction {
        Direction::Receive => &mut state.frames[0],
        Direction::Send => &mut state.frames[1],
    }
}

/// Compares the first bytes of a call with what is to come of the preface. 1 when that is complete.
#[inline(never)]
fn preface(state: &mut State, direction: u64, base: u64, length: u64) -> u64 {
    let is_send = direction == Direction::Send as u64;
    let (answered, frames) =
        if is_send { (state.received, &mut state.frames[1]) } else { (state.sent, &mut state.frames[0]) };
    let known = kernel::bounded(frames.known, PREFACE.len());
    let missing = PREFACE.len() as u32 - known;
    let count = kernel::bounded(length.min(missing.into()) as u32, PREFACE.len());
    // SAFETY: what is known is at most half of the text.
    let wanted = unsafe { read_unaligned(PADDED.as_ptr().add(known as usize).cast::<[u64; WORDS]>()) };
    // What comes takes the place of the same bytes.
    let mut seen = wanted;
    // SAFETY: no more than there is room for.
    let read = unsafe { payload::read_user(seen.as_mut_ptr().cast(), count, base) };
    let differences = wanted.iter().zip(seen).fold(0, |all, (wanted, seen)| all | wanted ^ seen);
    if !read || differences != 0 {
        frames.known = 0;
        return 0;
    }
    if count < missing {
        frames.known = known + count;
        return 0;
    }
    // What is left of the preface is kept like a payload.
    (frames.known, frames.left, frames.kept) = (0, count, count);
    state.flags |= State::HTTP2;
    if answered > 0 {
        // The other side has spoken: what it says next are frames.
        let other = if is_send { &mut state.frames[0] } else { &mut state.frames[1] };
        other.flags = Frames::BEGUN;
    }
    1
}

/// Words of the preface.
const WORDS: usize = PREFACE.len() / 8;

/// The preface, and as much again to read from any of its bytes on.
static PADDED: [u8; 2 * PREFACE.len()] = {
    let mut text = [0; 2 * PREFACE.len()];
    let (preface, _) = text.split_at_mut(PREFACE.len());
    preface.copy_from_slice(&PREFACE);
    text
};

/// Records the call `scratch.moved`, with a record for each stretch of bytes that are kept; `scratch.data` is the first
/// of them, without lengths.
#[inline(never)]
pub(crate) fn record(state: &mut State, scratch: &mut Scratch) -> u64 {
    let Moved { bytes: Bytes { vector, at, size, .. }, length, direction, .. } = scratch.moved;
    let frames = of(state, direction);
    let walk = &mut scratch.frames;
    walk.place = *frames;
    walk.head[..HEAD - 1].copy_from_slice(&frames.head);
    walk.left = length;
    (walk.vector, walk.segments, walk.base, walk.size) =
        if vector != 0 { (at, size, 0, 0) } else { (0, 0, at, size.min(length)) };
    if at == 0 {
        // Bytes that nobody can see: within a payload it does not matter.
        if length <= walk.place.left.into() {
            walk.place.passed(length as u32);
            walk.left = 0;
        }
        scratch.data.length = (length - walk.left) as u32;
    } else {
        let mut walking: *mut Scratch = scratch;
        payload::repeat(MAX_PARTS, part, &mut walking);
    }
    if scratch.frames.left > 0 {
        scratch.frames.place.flags |= Frames::ENDED;
        // As much as any message has, of what lies in one piece.
        if scratch.frames.size > 0 {
            let count = keep(scratch, data::snaplen());
            scratch.frames.pass(count);
        }
        scratch.data.length += scratch.frames.left as u32;
    }
    if scratch.data.length > 0 {
        deliver(scratch);
    }
    let walk = &scratch.frames;
    let frames = of(state, direction);
    *frames = walk.place;
    frames.head.copy_from_slice(&walk.head[..HEAD - 1]);
    // An answer of a server that does not know HTTP/2 has no frames.
    if frames.flags == Frames::BEGUN | Frames::ENDED {
        output::count(|counters| &mut counters.frames_lost);
    }
    0
}

/// Looks at the next part of a frame that lies in one segment; returns 1 when there is no more to look at.
#[inline(never)]
extern "C" fn part(_: u64, scratch: *mut *mut Scratch) -> u64 {
    // SAFETY: the helper passes on what `record` gave it.
    let scratch = unsafe { &mut **scratch };
    let walk = &mut scratch.frames;
    if walk.size == 0 {
        if walk.segments == 0 {
            return 1;
        }
        let Segment { base, length } = payload::read_segment(walk.vector);
        walk.vector += size_of::<Segment>() as u64;
        walk.segments -= 1;
        (walk.base, walk.size) = (base, length.min(walk.left));
        return 0;
    }
    let count = match walk.place.next() {
        Next::LeftOut(count) => {
            let count = walk.size.min(count.into());
            walk.place.passed(count as u32);
            scratch.data.length += count as u32;
            count
        }
        Next::Kept(count) => {
            let count = keep(scratch, count);
            scratch.frames.place.passed(count as u32);
            count
        }
        Next::Head(missing) => {
            let walk = &mut scratch.frames;
            let count = kernel::bounded(walk.size.min(missing.into()) as u32, HEAD);
            let known = kernel::wrapped(walk.place.known, 16);
            // SAFETY: what is known is less than 16 bytes, and what comes at most 9.
            if !unsafe { payload::read_user(walk.head.as_mut_ptr().add(known).cast(), count, walk.base) } {
                return 1;
            }
            // Its room may end before it does.
            let count = keep(scratch, count);
            let walk = &mut scratch.frames;
            walk.place.known += count as u32;
            if walk.place.known >= HEAD as u32
                && let Some(&head) = walk.head.first_chunk()
            {
                walk.place.begin(head);
            }
            count
        }
    };
    let walk = &mut scratch.frames;
    walk.pass(count);
    u64::from(walk.left == 0 || walk.place.flags & Frames::ENDED != 0)
}

/// Adds up to `count` bytes to the record, or to a new one, and returns how many.
#[inline(always)]
fn keep(scratch: &mut Scratch, count: u32) -> u64 {
    if scratch.data.length > scratch.data.captured || scratch.data.length >= MAX_PAYLOAD as u32 {
        deliver(scratch);
    }
    let Scratch { data, payload, frames: walk, .. } = scratch;
    let room = (MAX_PAYLOAD as u32).saturating_sub(data.captured);
    let count = kernel::bounded((walk.size.min(count.into()) as u32).min(room), MAX_PAYLOAD);
    let offset = kernel::wrapped(data.captured, MAX_PAYLOAD);
    // SAFETY: offset and count are each at most half of the room.
    if unsafe { payload::read_user(payload.as_mut_ptr().add(offset).cast(), count, walk.base) } {
        data.captured += count;
    } else {
        output::count(|counters| &mut counters.payload_fault);
    }
    data.length += count;
    count.into()
}

/// Delivers the record and begins the next, which comes after it in the stream.
#[inline(always)]
fn deliver(scratch: &mut Scratch) {
    scratch.data.head.seq = output::number();
    let kept = kernel::bounded(scratch.data.captured, MAX_PAYLOAD);
    // SAFETY: the record's head and at most half of its room.
    unsafe { output::copy_out((&raw const *scratch).cast(), size_of::<Data>() as u32 + kept) };
    let data = &mut scratch.data;
    data.position += u64::from(data.length);
    (data.length, data.captured, data.ready_ns) = (0, 0, 0);
}
