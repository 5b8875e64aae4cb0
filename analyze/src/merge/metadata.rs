//! What a merged file says about itself.

use beyla_schema::file::{ClockSample, Cost, Filtered, Host, Merged, Metadata, Probe, VERSION};

use crate::replay::Capture;

/// Of the parts of one capture, in their order: what an unrotated capture would have said, but for what only its parts know.
///
/// Which parts they are is still that of the first and the last, and the version that of the first.
pub(super) fn of_parts(parts: &[Capture]) -> Metadata {
    let all = || parts.iter().map(Capture::metadata);
    let (Some(first), Some(last)) = (all().next(), all().next_back()) else { return Metadata::default() };
    let clocks = first.clocks.first().into_iter().chain(last.clocks.last()).copied();
    Metadata {
        clocks: clocks.collect(),
        late_rows: all().map(|part| part.late_rows).sum(),
        last_part: last.ends_with_part(),
        filtered: filtered(all()),
        recovered: parts.iter().any(|part| part.unfinished() || part.metadata().recovered),
        cost: last.cost.clone(),
        ..first.clone()
    }
}

/// Of several captures; `clock` is that of the file.
pub(super) fn of_captures(merged: Vec<Merged>) -> Metadata {
    let all = || merged.iter().map(|merged| &merged.capture);
    let hosts = || all().map(|capture| &capture.host);
    let samples =
        || merged.iter().flat_map(|merged| merged.capture.clocks.iter().map(|clock| shifted(*clock, merged)));
    let first = merged.first().and_then(|merged| Some(shifted(*merged.capture.clocks.first()?, merged)));
    let last = samples().max_by_key(|sample| sample.monotonic_ns);
    Metadata {
        schema_version: VERSION,
        tool_version: common(all().map(|capture| &*capture.tool_version)),
        capture_id: id(all()),
        argv: Vec::new(),
        host: Host {
            name: united(hosts().map(|host| &host.name)).join(", "),
            kernel: common(hosts().map(|host| &*host.kernel)),
            machine: common(hosts().map(|host| &*host.machine)),
            cpus: hosts().fold(0, |sum: u32, host| sum.saturating_add(host.cpus)),
            boot_id: common(hosts().map(|host| &*host.boot_id)),
        },
        clocks: first.into_iter().chain(last).collect(),
        selectors: united(all().flat_map(|capture| &capture.selectors)),
        snaplen: all().map(|capture| capture.snaplen).min().unwrap_or(0),
        ring_bytes: all().map(|capture| capture.ring_bytes).min().unwrap_or(0),
        redaction: common(all().map(|capture| &*capture.redaction)),
        redacted_headers: shared(all().map(|capture| &*capture.redacted_headers)),
        redacted_parameters: shared(all().map(|capture| &*capture.redacted_parameters)),
        probes: probes(all()),
        late_rows: all().fold(0, |sum, capture| capture.late_rows.saturating_add(sum)),
        part: None,
        last_part: None,
        filtered: filtered(all()),
        recovered: merged.iter().any(|merged| merged.end.is_none() || merged.capture.recovered),
        cost: Cost::default(),
        merged,
    }
}

fn shifted(clock: ClockSample, merged: &Merged) -> ClockSample {
    ClockSample {
        monotonic_ns: clock.monotonic_ns.saturating_add(merged.shift_ns),
        boottime_ns: clock.boottime_ns.saturating_add(merged.shift_ns),
        ..clock
    }
}

/// The text that all have; empty when they differ.
fn common<'t>(mut texts: impl Iterator<Item = &'t str>) -> String {
    let first = texts.next().unwrap_or_default();
    if texts.all(|text| text == first) { first.to_owned() } else { String::new() }
}

/// Every text, each once, in the order of their first places.
fn united<'t>(texts: impl Iterator<Item = &'t String>) -> Vec<String> {
    let mut united: Vec<String> = Vec::new();
    for text in texts {
        if !united.contains(text) {
            united.push(text.clone());
        }
    }
    united
}

/// The texts that every list has.
fn shared<'t>(mut lists: impl Iterator<Item = &'t [String]>) -> Vec<String> {
    let mut shared = lists.next().unwrap_or_default().to_vec();
    for list in lists {
        shared.retain(|text| list.contains(text));
    }
    shared
}

fn probes<'m>(captures: impl Iterator<Item = &'m Metadata>) -> Vec<Probe> {
    let mut probes: Vec<Probe> = Vec::new();
    for probe in captures.flat_map(|capture| &capture.probes) {
        if !probes.contains(probe) {
            probes.push(probe.clone());
        }
    }
    probes
}

fn filtered<'m>(files: impl Iterator<Item = &'m Metadata>) -> Option<Filtered> {
    files.filter_map(|file| file.filtered.clone()).reduce(|one, other| Filtered {
        by: united(one.by.iter().chain(&other.by)),
        left_out: one.left_out.saturating_add(other.left_out),
    })
}

/// An id made of theirs (FNV-1a).
fn id<'m>(captures: impl Iterator<Item = &'m Metadata>) -> String {
    let bytes = captures.flat_map(|capture| capture.capture_id.bytes().chain([b'\n']));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
