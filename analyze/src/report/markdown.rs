//! The report for people who review a change: a comment on a pull request, a page of a wiki.

use std::fmt::Write as _;

use beyla_engine::{
    graph::Call,
    red::{Row, Side},
};

use super::{Report, sparkline::Lines, text};
use crate::{
    markdown::{escape, table},
    replay::Summary,
    units::{count, counted, duration, percent, span, three_digits},
};

/// Blocks of a line over time.
const BLOCKS: usize = 60;

const FIGURES: [&str; 9] = ["requests", "per s", "errors", "avg", "p50", "p90", "p95", "p99", "max"];

/// The report as Markdown; tables show their first `top` rows.
pub fn render(report: &Report, top: usize) -> String {
    let mut out = String::from("# Requests\n\n");
    files(&mut out, &report.files);
    let red = &report.red;
    for (title, side) in [("Inbound", &red.inbound), ("Outbound", &red.outbound)] {
        if let Some(side) = side {
            let _ = writeln!(out, "\n## {title}\n");
            render_side(&mut out, side, top);
        }
    }
    calls(&mut out, &report.calls, top);
    if red.requests == 0 {
        out.push_str("\nNo requests.\n");
    }
    if !red.exact {
        let _ = writeln!(out, "\n{}", text::NEARLY);
    }
    out
}

fn files(out: &mut String, files: &[Summary]) {
    let row = |summary: &Summary| {
        let when = summary.range.map_or_else(String::new, |(first, last)| {
            format!("{} ({})", span(first, last), duration(last.saturating_sub(first) as f64 / 1e6))
        });
        let lost = format!("{} ({})", count(summary.lost()), percent(summary.lost_ratio()));
        vec![
            escape(&summary.file),
            escape(&summary.metadata.host.name),
            when,
            count(summary.stats.events),
            count(summary.stats.requests),
            lost,
        ]
    };
    table(out, &["file", "host", "when", "events", "requests", "lost"], files.iter().map(row));
    let warnings: Vec<_> = files.iter().filter_map(Summary::warning).collect();
    if !warnings.is_empty() {
        out.push_str("\n**Not complete:**\n\n");
        for warning in warnings {
            let _ = writeln!(out, "- {}", escape(&warning));
        }
    }
}

fn render_side(out: &mut String, side: &Side, top: usize) {
    table(
        out,
        &[&["service"][..], &FIGURES].concat(),
        side.by_service.iter().take(top).map(|row| figures(escape(text::name(row.service.as_deref())), row)),
    );
    if side.total.incomplete > 0 {
        let without = counted(side.total.incomplete, "request");
        let _ = writeln!(out, "\n{without} without a full response.");
    }
    if let Some(lines) = Lines::of(&side.timeline, BLOCKS) {
        out.push_str("\n```text\n");
        for (label, line) in text::over_time(&lines, side.total.errors > 0) {
            let _ = writeln!(out, "{label:<8}{line}");
        }
        out.push_str("```\n");
    }
    let several = side.by_service.len() > 1;
    let route = |row: &Row| {
        let service = if several { text::name(row.service.as_deref()) } else { "" };
        let names = [service, text::name(row.method.as_deref()), text::name(row.route.as_deref())];
        escape(names.join(" ").trim_start())
    };
    let values = |row: &Row| {
        let values = row.group.iter().flatten().map(|value| text::name(value.as_deref()));
        escape(&values.collect::<Vec<_>>().join(" "))
    };
    if let Some(breakdown) = &side.breakdown {
        group(out, &breakdown.by.join(", "), &breakdown.rows, top, values);
        return;
    }
    group(out, "route", &side.by_route, top, route);
    group(out, "status", &side.by_status, top, text::status_name);
    if side.by_route.len() > 1 {
        group(out, "slowest by p95", &side.slowest, top, route);
    }
}

/// A table of the first `top` of `rows`, and how many more there are.
fn group(out: &mut String, title: &str, rows: &[Row], top: usize, label: impl Fn(&Row) -> String) {
    out.push('\n');
    let shown = rows.iter().take(top).map(|row| figures(label(row), row));
    table(out, &[&[title][..], &FIGURES].concat(), shown);
    more(out, rows.len(), top);
}

fn more(out: &mut String, all: usize, top: usize) {
    if all > top {
        let _ = writeln!(out, "\n… {} more, shown with `--top {all}`", count((all - top) as u64));
    }
}

fn figures(label: String, row: &Row) -> Vec<String> {
    let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), duration);
    vec![
        label,
        count(row.requests),
        row.rate.map_or_else(|| "-".to_owned(), three_digits),
        errors(row.errors, row.error_ratio),
        ms(row.avg_ms),
        ms(row.p50_ms),
        ms(row.p90_ms),
        ms(row.p95_ms),
        ms(row.p99_ms),
        ms(row.max_ms),
    ]
}

fn errors(errors: u64, ratio: f64) -> String {
    if errors == 0 { "0".to_owned() } else { format!("**{}**", percent(ratio)) }
}

fn calls(out: &mut String, calls: &[Call], top: usize) {
    if calls.is_empty() {
        return;
    }
    out.push_str("\n## Calls\n\n");
    let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), duration);
    let row = |call: &Call| {
        let caller = if call.caller.is_empty() { "-" } else { &call.caller };
        vec![
            escape(&format!("{caller} → {}", text::name(call.callee.as_deref()))),
            count(call.requests),
            errors(call.errors, call.errors as f64 / call.requests as f64),
            ms(call.p50_ms),
            ms(call.p95_ms),
        ]
    };
    table(out, &["from → to", "requests", "errors", "p50", "p95"], calls.iter().take(top).map(row));
    more(out, calls.len(), top);
}
