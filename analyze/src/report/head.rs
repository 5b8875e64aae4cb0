//! The head of the report: what a file holds, and how complete it is, in words. Made of a [`Summary`]; [`super::text`]
//! and [`super::html`] show it.

use std::fmt::Write as _;

use beyla_schema::file::ProgramCost;
use serde::Serialize;

use crate::{
    replay::Summary,
    units::{bytes, count, counted, duration, percent, span},
};

/// One line of the head. Labels and their meaning are told in `docs/report.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is about; empty when it goes on with the line before.
    pub label: &'static str,
    /// Parts of it are bytes of the capture: whoever shows it escapes it.
    pub text: String,
    /// Whether something is wrong.
    pub level: Level,
}

/// What a [`Fact`] says of the completeness of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Plain,
    /// It is complete.
    Good,
    /// Something could not be understood.
    Warning,
    /// Something is missing.
    Bad,
}

/// The lines of one file.
pub fn facts(summary: &Summary) -> Vec<Fact> {
    let Summary { metadata, range, stats, continued, damage, .. } = summary;
    let mut facts = Vec::new();
    let mut say = |label, level, text| facts.push(Fact { label, text, level });
    let host = &metadata.host;
    let system: Vec<_> = [&host.kernel, &host.machine]
        .into_iter()
        .filter(|fact| !fact.is_empty())
        .map(String::as_str)
        .collect();
    let system = if system.is_empty() { String::new() } else { format!(" ({})", system.join(", ")) };
    say("host", Level::Plain, format!("{}{system}", host.name));
    let when = range.map_or_else(
        || "no events".to_owned(),
        |(first, last)| {
            let took = duration(last.saturating_sub(first) as f64 / 1e6);
            format!("{} ({took})", span(first, last))
        },
    );
    say("when", Level::Plain, when);
    if !metadata.selectors.is_empty() {
        say("selected", Level::Plain, metadata.selectors.join(", "));
    }
    if let Some(part) = metadata.part {
        say("part", Level::Plain, format!("{part} of capture {}", metadata.capture_id));
    }
    if let Some(filtered) = &metadata.filtered {
        let left_out = counted(filtered.left_out, "event");
        say("filtered", Level::Warning, format!("{}; {left_out} left out", filtered.by.join("; ")));
    }
    let on = format!("{} on {}", count(stats.events), counted(stats.connections, "connection"));
    say("events", Level::Plain, on);
    say("requests", Level::Plain, count(stats.requests));

    // How far the numbers can be trusted: always there, also when nothing is wrong.
    let mut lost = format!("{} ({})", count(summary.lost()), percent(summary.lost_ratio()));
    if let Some(seen) = summary.seen_in_all() {
        let _ = write!(lost, " of {} seen", count(seen));
    }
    let causes = stats.losses.iter().filter(|(_, lost)| **lost > 0);
    let causes: Vec<_> = causes.map(|(cause, lost)| format!("{cause} {}", count(*lost))).collect();
    if causes.is_empty() {
        say("lost", Level::Plain, lost);
    } else {
        say("lost", Level::Bad, format!("{lost}: {}", causes.join(", ")));
        if stats.losses.get("ring_full").is_some_and(|lost| *lost > 0) {
            let advice = "the ring buffer was full: raise --ring-size or narrow the selector";
            say("", Level::Plain, advice.to_owned());
        }
    }
    let gaps = format!(
        "{} not captured, {} not understood",
        counted(stats.gap_bytes, "byte"),
        counted(stats.unparsed_bytes, "byte")
    );
    let any_gaps = stats.gap_bytes + stats.unparsed_bytes > 0;
    say("gaps", if any_gaps { Level::Warning } else { Level::Plain }, gaps);
    if stats.not_http_connections > 0 {
        let text = format!("{} with no HTTP/1 in it", counted(stats.not_http_connections, "connection"));
        say("skipped", Level::Warning, text);
    }
    if stats.ciphertext_bytes > 0 {
        let text = format!("{} of TLS connections", counted(stats.ciphertext_bytes, "byte"));
        say("ciphertext", Level::Warning, text);
    }
    if stats.limits_reached > 0 {
        let text = format!(
            "{} or connections beyond the limits of memory",
            counted(stats.limits_reached, "message")
        );
        say("given up", Level::Warning, text);
    }
    if metadata.late_rows > 0 {
        let text = format!("{} came too late to be put in order", counted(metadata.late_rows, "event"));
        say("disorder", Level::Warning, text);
    }
    for probe in &metadata.probes {
        if let Some(failure) = &probe.failure {
            say("no probe", Level::Warning, format!("{}: {failure}", probe.name));
        }
    }
    if let Some(cost) = cost(summary) {
        say("cost", Level::Plain, cost);
    }
    match (damage, &stats.end) {
        (Some(damage), _) => say("ended", Level::Bad, format!("{damage}; this is what came before")),
        (None, Some(reason)) => say("ended", Level::Good, format!("cleanly ({reason})")),
        (None, None) if *continued => say("ended", Level::Good, "with the next part".to_owned()),
        (None, None) => say("ended", Level::Bad, format!("not cleanly: {}", summary.cut_off())),
    }
    facts
}

/// What the capture took from the machine. None when the file does not tell.
fn cost(summary: &Summary) -> Option<String> {
    let cost = summary.cost()?;
    let us = |ns: f64| duration(ns / 1e6);
    let mut facts = Vec::new();
    facts.extend(summary.cpu_ns_per_event().map(|ns| format!("{} of CPU per event", us(ns))));
    let (runs, run_ns) = cost
        .programs
        .iter()
        .fold((0, 0), |(runs, ns), program: &ProgramCost| (runs + program.runs, ns + program.run_ns));
    if runs > 0 {
        facts.push(format!("kernel programs {} per run", us(run_ns as f64 / runs as f64)));
    }
    for (number, what) in [(cost.memory_bytes, "of memory"), (cost.written_bytes, "written")] {
        if number > 0 {
            facts.push(format!("{} {what}", bytes(number)));
        }
    }
    Some(facts.join(", "))
}
