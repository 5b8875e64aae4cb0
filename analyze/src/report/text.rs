//! The report for people, coloured by ANSI sequences that the caller takes out where they are not wanted.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use beyla_engine::graph::Call;
use beyla_engine::red::{Row, Side};
use beyla_schema::file::ProgramCost;

use super::Report;
use crate::{
    replay::Summary,
    table::{Align, BOLD, Cell, DIM, Table, paint, printable},
    units::{bytes, count, counted, duration, percent, span, three_digits},
};

/// Columns of the report where no terminal sets another number.
pub const WIDTH: usize = 120;

const BAD: Style = AnsiColor::Red.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default();

/// The report as text with ANSI styles, `width` columns wide; tables show their first `top` rows.
pub fn render(report: &Report, top: usize, width: usize) -> String {
    let mut out = String::new();
    for (index, summary) in report.files.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        head(&mut out, summary);
    }
    let red = &report.red;
    for (title, side) in [("Inbound", &red.inbound), ("Outbound", &red.outbound)] {
        if let Some(side) = side {
            render_side(&mut out, title, side, top, width);
        }
    }
    calls(&mut out, &report.calls, top, width);
    if red.requests == 0 {
        out.push('\n');
        paint(&mut out, BOLD, "no requests");
        out.push('\n');
    }
    out
}

/// A labelled line.
fn field(out: &mut String, label: &str, style: Style, text: &str) {
    out.push_str("  ");
    paint(out, DIM, &format!("{label:<12}"));
    paint(out, style, &printable(text));
    out.push('\n');
}

/// What a file holds, and how complete it is.
fn head(out: &mut String, summary: &Summary) {
    let Summary { file, metadata, range, stats, continued, damage, .. } = summary;
    let plain = Style::new();
    paint(out, BOLD, &printable(file));
    out.push('\n');
    let host = &metadata.host;
    let facts: Vec<_> = [&host.kernel, &host.machine]
        .into_iter()
        .filter(|fact| !fact.is_empty())
        .map(String::as_str)
        .collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    field(out, "host", plain, &format!("{}{facts}", host.name));
    match range {
        Some((first, last)) => {
            let took = duration(last.saturating_sub(*first) as f64 / 1e6);
            field(out, "when", plain, &format!("{} ({took})", span(*first, *last)));
        }
        None => field(out, "when", plain, "no events"),
    }
    if !metadata.selectors.is_empty() {
        field(out, "selected", plain, &metadata.selectors.join(", "));
    }
    if let Some(part) = metadata.part {
        field(out, "part", plain, &format!("{part} of capture {}", metadata.capture_id));
    }
    if let Some(filtered) = &metadata.filtered {
        let text = format!("{}; {} left out", filtered.by.join("; "), counted(filtered.left_out, "event"));
        field(out, "filtered", WARN, &text);
    }
    let on = format!("{} on {}", count(stats.events), counted(stats.connections, "connection"));
    field(out, "events", plain, &on);
    field(out, "requests", plain, &count(stats.requests));

    // How far the numbers can be trusted: always there, also when nothing is wrong.
    let mut lost = format!("{} ({})", count(summary.lost()), percent(summary.lost_ratio()));
    if let Some(seen) = summary.seen_in_all() {
        let _ = write!(lost, " of {} seen", count(seen));
    }
    let causes = stats.losses.iter().filter(|(_, lost)| **lost > 0);
    let causes: Vec<_> = causes.map(|(cause, lost)| format!("{cause} {}", count(*lost))).collect();
    if causes.is_empty() {
        field(out, "lost", plain, &lost);
    } else {
        field(out, "lost", BAD, &format!("{lost}: {}", causes.join(", ")));
        if stats.losses.get("ring_full").is_some_and(|lost| *lost > 0) {
            field(out, "", plain, "the ring buffer was full: raise --ring-size or narrow the selector");
        }
    }
    let gaps = format!(
        "{} not captured, {} not understood",
        counted(stats.gap_bytes, "byte"),
        counted(stats.unparsed_bytes, "byte")
    );
    field(out, "gaps", if stats.gap_bytes + stats.unparsed_bytes > 0 { WARN } else { plain }, &gaps);
    if stats.not_http_connections > 0 {
        let text = format!("{} with no HTTP/1 in it", counted(stats.not_http_connections, "connection"));
        field(out, "skipped", WARN, &text);
    }
    if stats.ciphertext_bytes > 0 {
        let text = format!("{} of TLS connections", counted(stats.ciphertext_bytes, "byte"));
        field(out, "ciphertext", WARN, &text);
    }
    if stats.limits_reached > 0 {
        let text = format!(
            "{} or connections beyond the limits of memory",
            counted(stats.limits_reached, "message")
        );
        field(out, "given up", WARN, &text);
    }
    if metadata.late_rows > 0 {
        let text = format!("{} came too late to be put in order", counted(metadata.late_rows, "event"));
        field(out, "disorder", WARN, &text);
    }
    for probe in &metadata.probes {
        if let Some(failure) = &probe.failure {
            field(out, "no probe", WARN, &format!("{}: {failure}", probe.name));
        }
    }
    if let Some(cost) = cost(summary) {
        field(out, "cost", plain, &cost);
    }
    match (damage, &stats.end) {
        (Some(damage), _) => field(out, "ended", BAD, &format!("{damage}; this is what came before")),
        (None, Some(reason)) => field(out, "ended", GOOD, &format!("cleanly ({reason})")),
        (None, None) if *continued => field(out, "ended", GOOD, "with the next part"),
        (None, None) => field(out, "ended", BAD, &format!("not cleanly: {}", summary.cut_off())),
    }
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

fn render_side(out: &mut String, title: &str, side: &Side, top: usize, width: usize) {
    out.push('\n');
    paint(out, BOLD, title);
    out.push('\n');
    let total = &side.total;
    let plain = Style::new();
    if let [Row { service: Some(service), .. }] = side.by_service.as_slice() {
        field(out, "service", plain, service);
    }
    let mut requests = count(total.requests);
    if let Some(rate) = total.rate {
        let _ = write!(requests, " ({} per second)", three_digits(rate));
    }
    if total.incomplete > 0 {
        let _ = write!(requests, ", {} without a full response", count(total.incomplete));
    }
    field(out, "requests", plain, &requests);
    let errors = format!("{} ({})", count(total.errors), percent(total.error_ratio));
    field(out, "errors", if total.errors > 0 { BAD } else { plain }, &errors);
    let durations = [
        ("avg", total.avg_ms),
        ("p50", total.p50_ms),
        ("p90", total.p90_ms),
        ("p95", total.p95_ms),
        ("p99", total.p99_ms),
        ("max", total.max_ms),
    ];
    let durations: Vec<_> =
        durations.iter().filter_map(|(name, ms)| Some(format!("{name} {}", duration((*ms)?)))).collect();
    let durations = if durations.is_empty() { "not known".to_owned() } else { durations.join("   ") };
    field(out, "duration", plain, &durations);

    // One table for all groupings, so that their columns stand below each other.
    let mut table = Table::new([Align::Left].into_iter().chain([Align::Right; 9]));
    let several_services = side.by_service.len() > 1;
    if several_services {
        let service = |row: &Row| Cell::new(text(row.service.as_deref()));
        group(&mut table, "by service", ["service", "services"], &side.by_service, top, service);
    }
    let route = |row: &Row| {
        let service = if several_services { text(row.service.as_deref()) } else { "" };
        Cell::new([service, text(row.method.as_deref()), text(row.route.as_deref())].join(" ").trim_start())
    };
    group(&mut table, "by route", ["route", "routes"], &side.by_route, top, route);
    group(&mut table, "by status", ["status", "statuses"], &side.by_status, top, status);
    // With one route this would say again what stands above.
    if side.by_route.len() > 1 {
        group(&mut table, "slowest by p95", ["route", "routes"], &side.slowest, top, route);
    }
    table.render(out, 2, width);
}

fn text(name: Option<&str>) -> &str {
    name.unwrap_or("-")
}

/// Who calls whom.
fn calls(out: &mut String, calls: &[Call], top: usize, width: usize) {
    if calls.is_empty() {
        return;
    }
    out.push('\n');
    paint(out, BOLD, "Calls");
    out.push_str("\n\n");
    let mut table = Table::new([Align::Left].into_iter().chain([Align::Right; 4]));
    table.push(
        ["from -> to", "requests", "errors", "p50", "p95"].map(|title| Cell::new(title).styled(DIM)).to_vec(),
    );
    for call in calls.iter().take(top) {
        let caller = if call.caller.is_empty() { "-" } else { &call.caller };
        table.push(vec![
            Cell::new(&format!("{caller} -> {}", text(call.callee.as_deref()))),
            Cell::new(&count(call.requests)),
            errors(call.errors, call.errors as f64 / call.requests as f64),
            milliseconds(call.p50_ms),
            milliseconds(call.p95_ms),
        ]);
    }
    more(&mut table, ["pair", "pairs"], calls.len(), top);
    table.render(out, 2, width);
}

fn status(row: &Row) -> Cell {
    if let Some(status) = row.rpc_status {
        return Cell::new(&format!("grpc {status}")).styled(if status == 0 { Style::new() } else { BAD });
    }
    match row.status {
        Some(status) => Cell::new(&status.to_string()).styled(match status {
            500.. => BAD,
            400.. => WARN,
            _ => Style::new(),
        }),
        None => Cell::new("none"),
    }
}

/// Adds the first `top` of `rows` under a title, and how many more there are of what they are, in the singular and
/// the plural.
fn group(
    table: &mut Table,
    title: &str,
    what: [&str; 2],
    rows: &[Row],
    top: usize,
    label: impl Fn(&Row) -> Cell,
) {
    let titles = [title, "requests", "per s", "errors", "avg", "p50", "p90", "p95", "p99", "max"];
    table.push(vec![]);
    table.push(titles.map(|title| Cell::new(title).styled(DIM)).to_vec());
    for row in rows.iter().take(top) {
        table.push(vec![
            label(row),
            Cell::new(&count(row.requests)),
            Cell::new(&row.rate.map_or_else(|| "-".to_owned(), three_digits)),
            errors(row.errors, row.error_ratio),
            milliseconds(row.avg_ms),
            milliseconds(row.p50_ms),
            milliseconds(row.p90_ms),
            milliseconds(row.p95_ms),
            milliseconds(row.p99_ms),
            milliseconds(row.max_ms),
        ]);
    }
    more(table, what, rows.len(), top);
}

fn errors(count: u64, ratio: f64) -> Cell {
    if count == 0 { Cell::new("0") } else { Cell::new(&percent(ratio)).styled(BAD) }
}

fn milliseconds(ms: Option<f64>) -> Cell {
    Cell::new(&ms.map_or_else(|| "-".to_owned(), duration))
}

/// Says how many of `all` rows come after the first `top`, and what they are, in the singular and the plural.
fn more(table: &mut Table, what: [&str; 2], all: usize, top: usize) {
    let more = all.saturating_sub(top);
    if more > 0 {
        let what = what[usize::from(more > 1)];
        let text = format!("… {} more {what}, shown with --top {all}", count(more as u64));
        table.push(vec![Cell::new(&text).styled(DIM)]);
    }
}
