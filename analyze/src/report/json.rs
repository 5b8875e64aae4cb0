//! The report for programs. The schema is a contract, told in `docs/report.md`; the rows of the tables are
//! those of the engine.

use std::collections::BTreeMap;

use beyla_engine::{graph::Call, red::Side};
use beyla_schema::file::{Filtered, ProgramCost};
use serde::Serialize;

use super::Report;
use crate::{replay::Summary, units::rfc3339};

/// Name and version of the schema: the number changes when a field changes its meaning or goes away.
pub const SCHEMA: &str = "beyla-analyze/report/1";

#[derive(Serialize)]
struct Document<'r> {
    schema: &'static str,
    complete: bool,
    files: Vec<File<'r>>,
    requests: u64,
    first_time: Option<String>,
    last_time: Option<String>,
    seconds: Option<f64>,
    percentiles: &'static str,
    inbound: &'r Option<Side>,
    outbound: &'r Option<Side>,
    calls: &'r [Call],
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of a document")]
struct File<'r> {
    #[serde(rename = "file")]
    name: &'r str,
    host: &'r str,
    kernel: &'r str,
    capture_id: &'r str,
    schema_version: String,
    tool_version: &'r str,
    part: Option<u32>,
    selectors: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    filtered: Option<&'r Filtered>,
    first_time: Option<String>,
    last_time: Option<String>,
    seconds: Option<f64>,
    events: u64,
    connections: u64,
    requests: u64,
    complete: bool,
    end: Option<&'r str>,
    continued: bool,
    unfinished: bool,
    recovered: bool,
    damage: Option<&'r str>,
    seen: Option<u64>,
    lost: u64,
    lost_ratio: f64,
    losses: &'r BTreeMap<String, u64>,
    gap_bytes: u64,
    unparsed_bytes: u64,
    not_http_connections: u64,
    ciphertext_bytes: u64,
    limits_reached: u64,
    late_rows: u64,
    failed_probes: BTreeMap<&'r str, &'r str>,
    cost: Option<Expense<'r>>,
}

/// What the capture took from the machine.
#[derive(Serialize)]
struct Expense<'r> {
    cpu_ns: u64,
    cpu_ns_per_event: Option<f64>,
    memory_bytes: u64,
    written_bytes: u64,
    programs: Vec<Program<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured_events: Option<u64>,
}

#[derive(Serialize)]
struct Program<'r> {
    name: &'r str,
    runs: u64,
    run_ns: u64,
    ns_per_run: Option<f64>,
}

impl<'r> Expense<'r> {
    /// None when the file does not tell.
    fn of(summary: &'r Summary) -> Option<Self> {
        let cost = summary.cost()?;
        let programs = cost.programs.iter().map(|program| {
            let &ProgramCost { ref name, runs, run_ns } = program;
            Program { name, runs, run_ns, ns_per_run: (runs > 0).then(|| run_ns as f64 / runs as f64) }
        });
        Some(Self {
            cpu_ns: cost.cpu_ns,
            cpu_ns_per_event: summary.cpu_ns_per_event(),
            memory_bytes: cost.memory_bytes,
            written_bytes: cost.written_bytes,
            programs: programs.collect(),
            measured_events: cost.measured_events,
        })
    }
}

impl<'r> From<&'r Summary> for File<'r> {
    fn from(summary: &'r Summary) -> Self {
        let Summary { file: name, metadata, range, stats, continued, damage, .. } = summary;
        let failed =
            metadata.probes.iter().filter_map(|probe| Some((&*probe.name, probe.failure.as_deref()?)));
        Self {
            name,
            host: &metadata.host.name,
            kernel: &metadata.host.kernel,
            capture_id: &metadata.capture_id,
            schema_version: metadata.schema_version.to_string(),
            tool_version: &metadata.tool_version,
            part: metadata.part,
            selectors: &metadata.selectors,
            filtered: metadata.filtered.as_ref(),
            first_time: range.and_then(|(first, _)| rfc3339(first)),
            last_time: range.and_then(|(_, last)| rfc3339(last)),
            seconds: range.map(|(first, last)| seconds(first, last)),
            events: stats.events,
            connections: stats.connections,
            requests: stats.requests,
            complete: summary.complete(),
            end: stats.end.as_deref(),
            continued: *continued,
            unfinished: summary.unfinished,
            recovered: metadata.recovered,
            damage: damage.as_deref(),
            seen: summary.seen(),
            lost: summary.lost(),
            lost_ratio: summary.lost_ratio(),
            losses: &stats.losses,
            gap_bytes: stats.gap_bytes,
            unparsed_bytes: stats.unparsed_bytes,
            not_http_connections: stats.not_http_connections,
            ciphertext_bytes: stats.ciphertext_bytes,
            limits_reached: stats.limits_reached,
            late_rows: metadata.late_rows,
            failed_probes: failed.collect(),
            cost: Expense::of(summary),
        }
    }
}

fn seconds(first_ns: i64, last_ns: i64) -> f64 {
    last_ns.saturating_sub(first_ns) as f64 / 1e9
}

/// The report as JSON, ended by a newline.
pub fn render(report: &Report) -> String {
    let red = &report.red;
    let range = red.first_ns.zip(red.last_ns).map(|(first, last)| (first as i64, last as i64));
    let document = Document {
        schema: SCHEMA,
        complete: report.files.iter().all(Summary::complete),
        files: report.files.iter().map(File::from).collect(),
        requests: red.requests,
        first_time: range.and_then(|(first, _)| rfc3339(first)),
        last_time: range.and_then(|(_, last)| rfc3339(last)),
        seconds: range.map(|(first, last)| seconds(first, last)),
        percentiles: if red.exact { "exact" } else { "within 0.1 %" },
        inbound: &red.inbound,
        outbound: &red.outbound,
        calls: &report.calls,
    };
    // Only maps with keys that are no text, and types that refuse, can fail to serialise; there are none here.
    let mut json = serde_json::to_string_pretty(&document).unwrap_or_default();
    json.push('\n');
    json
}
