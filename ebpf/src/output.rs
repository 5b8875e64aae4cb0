//! Puts records into the ring buffer and counts those that do not fit.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns, generated::bpf_ringbuf_output,
    },
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use beyla_schema::wire::{Change, Close, Counters, Head, Kind, Process, Target, UNNUMBERED};

use crate::{kernel, payload};

/// The one way out. The loader sets its size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 24, 0);

#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// Nobody is woken for a record: the reader comes by on a timer. A wake-up costs more than all the rest.
const NO_WAKEUP: u64 = 1;

/// But for a process, which may have to become a target before it does anything.
const FORCE_WAKEUP: u64 = 2;

/// Adds one to a counter of this CPU and returns its value before.
///
/// Atomic although the slot belongs to the CPU: a soft interrupt may run another program in the middle.
#[inline(always)]
pub(crate) fn count(counter: impl FnOnce(&mut Counters) -> &mut u64) -> u64 {
    let Some(counters) = COUNTERS.get_ptr_mut(0) else { return 0 };
    // SAFETY: the array has one element, which lives as long as the program; all access to its fields is
    // through this function.
    kernel::add(counter(unsafe { &mut *counters }), 1)
}

/// Counts an event that cannot become a record. It takes a number as records do.
#[inline(always)]
pub(crate) fn lost(cause: impl FnOnce(&mut Counters) -> &mut u64) {
    count(|counters| &mut counters.made);
    count(cause);
}

/// Who was at work when an event happened.
#[derive(Clone, Copy)]
pub(crate) struct Actor {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    /// What is known of its process.
    pub(crate) target: Target,
    /// The goroutine; 0 where none is known.
    pub(crate) goroutine: u64,
}

impl Actor {
    /// The kernel on its own, in a soft interrupt: whoever runs there has nothing to do with it.
    pub(crate) const NOBODY: Self = Self { pid: 0, tid: 0, target: Target(0), goroutine: 0 };

    /// The running task.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        let id = bpf_get_current_pid_tgid();
        Self { pid: (id >> 32) as u32, tid: id as u32, ..Self::NOBODY }
    }

    /// Of a program of Go: looks up the goroutine in `g`, the address of its `runtime.g`.
    #[inline(always)]
    pub(crate) fn on(&mut self, g: u64) {
        self.goroutine = payload::read_long(g + self.target.goid_offset());
    }

    /// Process and thread as one number.
    #[inline(always)]
    pub(crate) fn thread(self) -> u64 {
        u64::from(self.pid) << 32 | u64::from(self.tid)
    }
}

/// The head of a new record.
#[inline(always)]
pub(crate) fn head(kind: Kind, connection: u64, actor: Actor) -> Head {
    numbered(kind, connection, actor, number())
}

/// The number of a new record.
#[inline(always)]
pub(crate) fn number() -> u64 {
    count(|counters| &mut counters.made)
}

/// The head of a record that has this number.
#[inline(always)]
pub(crate) fn numbered(kind: Kind, connection: u64, actor: Actor, seq: u64) -> Head {
    Head {
        // SAFETY: helpers without arguments.
        ts_ns: unsafe { bpf_ktime_get_ns() },
        seq,
        connection,
        pid: actor.pid,
        tid: actor.tid,
        // SAFETY: a helper without arguments.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        kind: kind as u8,
        goroutine: low(actor.goroutine),
    }
}

/// The lower bytes of a number.
#[inline(always)]
fn low(number: u64) -> [u8; 5] {
    let [low @ .., _, _, _] = number.to_le_bytes();
    low
}

/// Delivers a record that `fill` writes in place. False when the ring buffer was full.
#[inline(always)]
pub(crate) fn emit<T: 'static>(fill: impl FnOnce(&mut MaybeUninit<T>)) -> bool {
    let delivered = submit(NO_WAKEUP, fill);
    if !delivered {
        count(|counters| &mut counters.ring_full);
    }
    delivered
}

#[inline(always)]
fn submit<T: 'static>(wakeup: u64, fill: impl FnOnce(&mut MaybeUninit<T>)) -> bool {
    let Some(mut entry) = EVENTS.reserve::<T>(0) else { return false };
    fill(&mut entry);
    entry.submit(wakeup);
    true
}

/// Delivers `size` bytes. False when the ring buffer was full.
///
/// # Safety
///
/// `size` bytes from `record` must be readable, and the verifier must be able to see it.
#[inline(always)]
pub(crate) unsafe fn copy_out(record: *const c_void, size: u32) -> bool {
    let ring = (&raw const EVENTS).cast_mut().cast();
    // SAFETY: by this function's contract.
    let full = unsafe { bpf_ringbuf_output(ring, record.cast_mut(), size.into(), NO_WAKEUP) } != 0;
    if full {
        count(|counters| &mut counters.ring_full);
    }
    !full
}

/// The whole connection, in [`Close::direction`].
pub(crate) const WHOLE: u8 = 255;

/// Delivers the end of a connection, or of one direction of it, after so many bytes.
#[inline(always)]
pub(crate) fn closed(connection: u64, received: u64, sent: u64, direction: u8) {
    let head = head(Kind::Close, connection, Actor::NOBODY);
    emit::<Close>(|record| {
        record.write(Close { head, received, sent, direction, pad: [0; 7] });
    });
}

/// Delivers a change in the life of `process`.
#[inline(always)]
pub(crate) fn process(process: u32, parent: u32, change: Change) {
    let head = head(Kind::Process, 0, Actor { pid: process, tid: process, ..Actor::NOBODY });
    if !submit_process(head, parent, change) {
        count(|counters| &mut counters.ring_full);
    }
}

/// Tells the recorder of a program that somebody started who is no target, so that it can become one.
#[inline(always)]
pub(crate) fn stranger(process: u32) {
    let head = numbered(Kind::Process, 0, Actor { pid: process, tid: process, ..Actor::NOBODY }, UNNUMBERED);
    if !submit_process(head, 0, Change::Exec) {
        count(|counters| &mut counters.unheard);
    }
}

#[inline(always)]
fn submit_process(head: Head, parent: u32, change: Change) -> bool {
    submit::<Process>(FORCE_WAKEUP, |record| {
        record.write(Process { head, parent, change: change as u8, pad: [0; 3] });
    })
}
