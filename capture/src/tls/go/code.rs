//! What the search for places looks at in the code of a function, whatever the processor.

use std::ops::Range;

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its address.
    pub(super) at: u64,
    pub(super) does: Does,
}

/// What an instruction does. Distances are bytes above the stack pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// Calls the function at this address.
    Call(u64),
    /// Moves the stack pointer.
    Frame,
    /// Stores argument 0, if that is still in its register, at this distance.
    Keep(u32),
    /// Loads what is at these distances.
    Load(Range<u32>),
    /// Anything else.
    Other,
}

/// The instruction of a function that makes room on the stack: the arguments are still in their registers there. The
/// instructions before it look whether there is room, and may run once more when it had to be made.
pub(super) fn frame(steps: &[Step]) -> Option<u64> {
    /// The check for a very large frame has eight instructions on AArch64.
    const FIRST: usize = 12;
    steps.iter().take(FIRST).find(|step| step.does == Does::Frame).map(|step| step.at)
}

/// The addresses of the calls to one of `functions`.
pub(super) fn calls(steps: &[Step], functions: &[u64]) -> Vec<u64> {
    let called = |step: &&Step| matches!(step.does, Does::Call(to) if functions.contains(&to));
    steps.iter().filter(called).map(|step| step.at).collect()
}

/// The one call to one of `functions`, and the distance of argument 0 then. The compiler has a place on the stack for
/// every argument, and needs it for one that is used after a call: argument 0 is stored there before the first call,
/// and loaded again after this one.
pub(super) fn copy(steps: &[Step], functions: &[u64]) -> Option<(u64, u32)> {
    /// Instructions after the call within which argument 0 is loaded: the second or third in Go 1.17 to 1.27.
    const SOON: usize = 8;
    let [call] = calls(steps, functions)[..] else { return None };
    let first = steps.iter().position(|step| matches!(step.does, Does::Call(_)))?;
    let kept = steps[..first].iter().find_map(|step| match step.does {
        Does::Keep(place) => Some(place),
        _ => None,
    })?;
    let after = steps.iter().skip_while(|step| step.at <= call).take(SOON);
    let loaded = |step: &Step| matches!(&step.does, Does::Load(places) if places.contains(&kept));
    after.into_iter().any(loaded).then_some((call, kept))
}
