//! The report for people, coloured by ANSI sequences that the caller takes out where they are not wanted.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use beyla_engine::graph::Call;
use beyla_engine::red::{Row, Side};

use super::{
    Report,
    head::{Fact, Level, facts},
    sparkline::{Line, Lines},
};
use crate::{
    replay::Summary,
    table::{Align, BOLD, Cell, DIM, Table, paint, printable},
    units::{count, duration, percent, three_digits},
};

/// Columns of the report where no terminal sets another number.
pub const WIDTH: usize = 120;

/// The most blocks of a line over time.
const BLOCKS: usize = 60;

/// Columns of such a line that are no blocks: its label and its numbers.
const BESIDE: usize = 60;

const BAD: Style = AnsiColor::Red.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default();

/// What is said where there were too many durations to keep.
pub(super) const NEARLY: &str =
    "Percentiles are within 0.1 % of the exact ones: there are too many durations to keep them all.";

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
    if !red.exact {
        out.push('\n');
        paint(&mut out, DIM, NEARLY);
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
    paint(out, BOLD, &printable(&summary.file));
    out.push('\n');
    for Fact { label, text, level } in facts(summary) {
        let style = match level {
            Level::Plain => Style::new(),
            Level::Good => GOOD,
            Level::Warning => WARN,
            Level::Bad => BAD,
        };
        field(out, label, style, &text);
    }
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
    if let Some(lines) = Lines::of(&side.timeline, width.saturating_sub(BESIDE).min(BLOCKS)) {
        out.push('\n');
        for (label, line) in over_time(&lines, total.errors > 0) {
            field(out, label, if label == "errors" { BAD } else { plain }, &line);
        }
    }

    // One table for all groupings, so that their columns stand below each other.
    let mut table = Table::new([Align::Left].into_iter().chain([Align::Right; 9]));
    let several_services = side.by_service.len() > 1;
    if let Some(breakdown) = &side.breakdown {
        let values = |row: &Row| {
            let values = row.group.iter().flatten().map(|value| name(value.as_deref()));
            Cell::new(&values.collect::<Vec<_>>().join(" "))
        };
        let title = format!("by {}", breakdown.by.join(", "));
        group(&mut table, &title, ["group", "groups"], &breakdown.rows, top, values);
        table.render(out, 2, width);
        return;
    }
    if several_services {
        let service = |row: &Row| Cell::new(name(row.service.as_deref()));
        group(&mut table, "by service", ["service", "services"], &side.by_service, top, service);
    }
    let route = |row: &Row| {
        let service = if several_services { name(row.service.as_deref()) } else { "" };
        Cell::new([service, name(row.method.as_deref()), name(row.route.as_deref())].join(" ").trim_start())
    };
    group(&mut table, "by route", ["route", "routes"], &side.by_route, top, route);
    group(&mut table, "by status", ["status", "statuses"], &side.by_status, top, status);
    // With one route this would say again what stands above.
    if side.by_route.len() > 1 {
        group(&mut table, "slowest by p95", ["route", "routes"], &side.slowest, top, route);
    }
    table.render(out, 2, width);
}

/// What is shown where a name is not known.
pub(super) fn name(name: Option<&str>) -> &str {
    name.unwrap_or("-")
}

/// Rate, errors if there are `any`, and 99th percentile over time, each with its label.
pub(super) fn over_time(lines: &Lines, any: bool) -> impl Iterator<Item = (&'static str, String)> {
    let Lines { step, rate, errors, p99 } = lines;
    let line = |Line { blocks, min, max }: &Line, show: &dyn Fn(f64) -> String, unit: &str| {
        format!("{blocks}  {} to {}{unit}", show(*min), show(*max))
    };
    let step = format!(" per second, {} each", duration(step * 1e3));
    let rate = Some(("rate", line(rate, &three_digits, &step)));
    let errors = any.then(|| ("errors", line(errors, &percent, "")));
    let p99 = (p99.max > 0.0).then(|| ("p99", line(p99, &duration, "")));
    [rate, errors, p99].into_iter().flatten()
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
            Cell::new(&format!("{caller} -> {}", name(call.callee.as_deref()))),
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
    Cell::new(&status_name(row)).styled(match (row.rpc_status, row.status) {
        (Some(1..), _) | (None, Some(500..)) => BAD,
        (None, Some(400..)) => WARN,
        _ => Style::new(),
    })
}

/// What a status is called.
pub(super) fn status_name(row: &Row) -> String {
    match (row.rpc_status, row.status) {
        (Some(status), _) => format!("grpc {status}"),
        (None, Some(status)) => status.to_string(),
        (None, None) => "none".to_owned(),
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
