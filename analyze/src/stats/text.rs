//! Facts about files for people, coloured by ANSI sequences that the caller takes out where they are not wanted.

use std::{cmp::Reverse, fmt::Write as _};

use anstyle::{AnsiColor, Style};

use super::{About, Clocks, Moved, Stats};
use crate::{
    table::{Align, BOLD, Cell, DIM, Table, paint, printable},
    units::{bytes, count, counted, duration, percent, span, three_digits},
};

/// Processes that are shown.
const PROCESSES: usize = 20;

/// Moments of losses that are shown of each cause.
const MOMENTS: usize = 10;

const BAD: Style = AnsiColor::Red.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const PLAIN: Style = Style::new();

/// As text with ANSI styles, `width` columns wide.
pub fn text(files: &[Stats], width: usize) -> String {
    let mut out = String::new();
    for (index, stats) in files.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        file(&mut out, stats, width);
    }
    out
}

/// Labelled lines.
#[derive(Default)]
struct Fields(Vec<(&'static str, Style, String)>);

impl Fields {
    fn add(&mut self, label: &'static str, text: String) {
        self.styled(label, PLAIN, text);
    }

    fn styled(&mut self, label: &'static str, style: Style, text: String) {
        self.0.push((label, style, text));
    }

    fn render(self, out: &mut String) {
        for (label, style, text) in self.0 {
            out.push_str("  ");
            paint(out, DIM, &format!("{label:<12}"));
            paint(out, style, &printable(&text));
            out.push('\n');
        }
    }
}

fn file(out: &mut String, stats: &Stats, width: usize) {
    paint(out, BOLD, &printable(&stats.file));
    out.push('\n');
    let mut fields = Fields::default();
    about(&mut fields, &stats.about);
    match stats.range {
        Some((first, last)) => {
            let took = duration(last.saturating_sub(first) as f64 / 1e6);
            fields.add("when", format!("{} ({took})", span(first, last)));
        }
        None => fields.add("when", "no events".to_owned()),
    }
    ended(&mut fields, stats);
    size(&mut fields, stats);
    fields.add("connections", connections(stats));
    for moved in &stats.moved {
        fields.add(if moved.direction == "receive" { "received" } else { "sent" }, bytes_moved(moved));
    }
    lost(&mut fields, stats);
    fields.render(out);
    processes(out, stats, width);
    losses(out, stats, width);
    columns(out, stats, width);
}

fn about(fields: &mut Fields, about: &About) {
    let parts = match (about.part, about.last_part) {
        (Some(first), Some(last)) if first < last => format!(", parts {first} to {last}"),
        (Some(part), _) => format!(", part {part}"),
        _ => String::new(),
    };
    fields.add("capture", format!("{}{parts}", about.capture_id));
    fields.add("format", format!("{}, written by version {}", about.schema_version, about.tool_version));
    if !about.argv.is_empty() {
        fields.add("command", about.argv.join(" "));
    }
    let host = &about.host;
    let cpus = if host.cpus > 0 { counted(host.cpus.into(), "CPU") } else { String::new() };
    let facts: Vec<_> =
        [&*host.kernel, &*host.machine, &*cpus].into_iter().filter(|fact| !fact.is_empty()).collect();
    fields.add("host", format!("{} ({})", host.name, facts.join(", ")));
    if !host.boot_id.is_empty() {
        fields.add("boot", host.boot_id.clone());
    }
    if let Some(Clocks { span_ns, drift_ns, slept_ns }) = about.clocks {
        let ms = |ns: i64| duration(ns.unsigned_abs() as f64 / 1e6);
        let way = if drift_ns < 0 { "less" } else { "more" };
        let mut text = format!("wall clock {} {way} in {}", ms(drift_ns), duration(span_ns as f64 / 1e6));
        // The readings of one sample are a moment apart.
        if slept_ns > 1_000_000 {
            let _ = write!(text, "; asleep for {}", ms(slept_ns));
        }
        fields.add("clocks", text);
    }
    if !about.selectors.is_empty() {
        fields.add("selected", about.selectors.join(", "));
    }
    fields.add("snaplen", format!("{} of a message", bytes(about.snaplen.into())));
    fields.add("redaction", redaction(about));
    let failed = about.probes.iter().filter(|probe| probe.failure.is_some()).count();
    let attached = about.probes.len() - failed;
    fields.add("probes", format!("{attached} attached, {failed} not"));
    for probe in &about.probes {
        if let Some(failure) = &probe.failure {
            fields.styled("no probe", WARN, format!("{}: {failure}", probe.name));
        }
    }
    if let Some(filtered) = &about.filtered {
        let text = format!("{}; {} left out", filtered.by.join("; "), counted(filtered.left_out, "event"));
        fields.styled("filtered", WARN, text);
    }
    for merged in &about.merged {
        fields.add("merged", format!("{} of {}", merged.capture_id, merged.host.name));
    }
}

fn redaction(about: &About) -> String {
    let name = if about.redaction.is_empty() { "not the same everywhere" } else { &about.redaction };
    let (headers, parameters) = (about.redacted_headers.len() as u64, about.redacted_parameters.len() as u64);
    if headers + parameters == 0 {
        return name.to_owned();
    }
    format!("{name} ({}, {})", counted(headers, "header field"), counted(parameters, "query parameter"))
}

fn ended(fields: &mut Fields, stats: &Stats) {
    let cut_off = |why: &str| format!("not cleanly: {why}");
    match (&stats.damage, &stats.end) {
        (Some(damage), _) => fields.styled("ended", BAD, damage.clone()),
        (None, Some(reason)) if reason == "rotated" => {
            fields.styled("ended", GOOD, "with the next part".to_owned());
        }
        (None, Some(reason)) => fields.styled("ended", GOOD, format!("cleanly ({reason})")),
        (None, None) if stats.about.unfinished => {
            fields.styled("ended", WARN, cut_off("the capture is still running, or it was killed"));
        }
        (None, None) if stats.about.recovered => {
            fields.styled("ended", WARN, cut_off("recovered from a capture that was killed"));
        }
        (None, None) => fields.styled("ended", WARN, cut_off("there is no `end` row")),
    }
}

fn size(fields: &mut Fields, stats: &Stats) {
    let size = &stats.size;
    let mut text = format!("{} in {}", bytes(size.bytes), counted(size.row_groups, "row group"));
    if size.rows_in_journal > 0 {
        let _ = write!(text, " and a journal of {}", counted(size.rows_in_journal, "event"));
    }
    if let Some(each) = size.bytes_per_row {
        let _ = write!(text, ", {} bytes per row", three_digits(each));
    }
    fields.add("size", text);
    let kinds: Vec<_> = stats.kinds.iter().map(|(kind, rows)| format!("{kind} {}", count(*rows))).collect();
    fields.add("rows", format!("{} ({})", count(size.rows), kinds.join(", ")));
}

fn connections(stats: &Stats) -> String {
    let connections = &stats.connections;
    let ways = connections.by_action.iter().chain(&connections.by_transport);
    let ways: Vec<_> = ways.map(|(way, number)| format!("{way} {}", count(*number))).collect();
    let ways = if ways.is_empty() { String::new() } else { format!(" ({})", ways.join(", ")) };
    let carried = match connections.carried {
        0 => String::new(),
        carried => format!(", {} from earlier parts", count(carried)),
    };
    format!("{}{ways}{carried}, {} closed", count(connections.known), count(connections.closed))
}

fn bytes_moved(moved: &Moved) -> String {
    let Moved { source, rows, bytes: all, captured, .. } = moved;
    let share = if *all == 0 { 1.0 } else { *captured as f64 / *all as f64 };
    let at = if *source == "socket" { String::new() } else { format!(" as plaintext ({source})") };
    format!(
        "{}{at} in {}, {} of it kept ({})",
        bytes(*all),
        counted(*rows, "row"),
        bytes(*captured),
        percent(share)
    )
}

fn lost(fields: &mut Fields, stats: &Stats) {
    let lost: u64 = stats.losses.iter().map(|loss| loss.count).sum();
    let seen = stats.seen.map_or_else(String::new, |seen| format!(" of {} seen", count(seen)));
    fields.styled("lost", if lost > 0 { BAD } else { PLAIN }, format!("{}{seen}", count(lost)));
    if stats.about.late_rows > 0 {
        let text = format!("{} came too late to be put in order", counted(stats.about.late_rows, "event"));
        fields.styled("disorder", WARN, text);
    }
}

fn title(out: &mut String, text: &str) {
    out.push('\n');
    paint(out, BOLD, text);
    out.push('\n');
}

fn heads(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| Cell::new(name).styled(DIM)).collect()
}

fn processes(out: &mut String, stats: &Stats, width: usize) {
    if stats.processes.is_empty() {
        return;
    }
    title(out, "Processes");
    let mut table =
        Table::new([Align::Left, Align::Right, Align::Left, Align::Right, Align::Right, Align::Left]);
    table.push(heads(&["service", "pid", "runtime", "rows", "moved", "executable"]));
    // The busiest ones first.
    let mut processes: Vec<_> = stats.processes.iter().collect();
    processes.sort_by_key(|process| (Reverse(process.bytes), process.pid));
    for process in processes.iter().take(PROCESSES) {
        let known = |text: &Option<String>| Cell::new(text.as_deref().unwrap_or("-"));
        table.push(vec![
            known(&process.service),
            Cell::new(&process.pid.to_string()),
            known(&process.runtime),
            Cell::new(&count(process.rows)),
            Cell::new(&bytes(process.bytes)),
            known(&process.executable),
        ]);
    }
    let more = processes.len().saturating_sub(PROCESSES) as u64 + stats.processes_left_out;
    if more > 0 {
        table.push(vec![Cell::new(&format!("and {} more", count(more))).styled(DIM)]);
    }
    table.render(out, 2, width);
}

fn losses(out: &mut String, stats: &Stats, width: usize) {
    if stats.losses.iter().all(|loss| loss.count == 0) {
        return;
    }
    title(out, "Losses");
    let mut table = Table::new([Align::Left, Align::Right, Align::Left]);
    table.push(heads(&["cause", "lost", "found at"]));
    for loss in stats.losses.iter().filter(|loss| loss.count > 0) {
        for (index, increase) in loss.increases.iter().take(MOMENTS).enumerate() {
            table.push(vec![
                Cell::new(if index == 0 { &loss.cause } else { "" }),
                Cell::new(&count(increase.count)),
                Cell::new(increase.time.as_deref().unwrap_or("?")),
            ]);
        }
        let shown: u64 = loss.increases.iter().take(MOMENTS).map(|increase| increase.count).sum();
        if shown < loss.count {
            table.push(vec![Cell::new(""), Cell::new(&count(loss.count - shown)), Cell::new("later")]);
        }
    }
    table.render(out, 2, width);
}

fn columns(out: &mut String, stats: &Stats, width: usize) {
    let all: u64 = stats.size.columns.iter().map(|column| column.compressed).sum();
    if all == 0 {
        return;
    }
    title(out, "Columns");
    let mut table = Table::new([Align::Left, Align::Right, Align::Right, Align::Right]);
    table.push(heads(&["column", "in the file", "share", "uncompressed"]));
    let mut columns: Vec<_> = stats.size.columns.iter().collect();
    columns
        .sort_by(|one, other| other.compressed.cmp(&one.compressed).then_with(|| one.name.cmp(&other.name)));
    for column in columns {
        table.push(vec![
            Cell::new(&column.name),
            Cell::new(&bytes(column.compressed)),
            Cell::new(&percent(column.compressed as f64 / all as f64)),
            Cell::new(&bytes(column.uncompressed)),
        ]);
    }
    table.render(out, 2, width);
}
