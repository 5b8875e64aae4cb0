//! The comparison for people, coloured by ANSI sequences that the caller takes out where they are not wanted.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use beyla_schema::request::Kind;

use super::{
    Change, Comparison, Figure, Outcome, Presence, Row, Side,
    show::{self, difference, direction, label, value},
};
use crate::{
    table::{Align, BOLD, Cell, DIM, Table, paint, printable},
    units::{count, duration, span},
};

const BAD: Style = AnsiColor::Red.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default();

/// The comparison as text with ANSI styles, `width` columns wide; the first `top` routes of each direction are shown.
pub fn render(comparison: &Comparison, top: usize, width: usize) -> String {
    let mut out = String::new();
    side(&mut out, "base", &comparison.base);
    side(&mut out, "new", &comparison.new);
    for warning in show::warnings(comparison) {
        paint(&mut out, BAD, &format!("INCOMPLETE  {warning}"));
        out.push('\n');
    }
    for kind in [Kind::Server, Kind::Client] {
        direction_of(&mut out, comparison, kind, top, width);
    }
    if comparison.rows.is_empty() {
        out.push('\n');
        paint(&mut out, BOLD, "no requests");
        out.push('\n');
    } else {
        out.push('\n');
        for line in show::legend(comparison) {
            paint(&mut out, DIM, &line);
            out.push('\n');
        }
    }
    conditions(&mut out, comparison);
    out
}

/// The files of one side, when they were recorded and what they hold.
fn side(out: &mut String, name: &str, side: &Side) {
    for (at, file) in side.files.iter().enumerate() {
        paint(out, DIM, &format!("{:<6}", if at == 0 { name } else { "" }));
        paint(out, BOLD, &printable(&file.file));
        if let Some((first, last)) = file.range {
            let _ = write!(out, "  {}", span(first, last));
        }
        if at + 1 == side.files.len() {
            let _ = write!(out, "  {} requests in {}", count(side.requests), duration(side.seconds * 1e3));
        }
        out.push('\n');
    }
}

fn direction_of(out: &mut String, comparison: &Comparison, kind: Kind, top: usize, width: usize) {
    let (rows, more) = show::shown(comparison, kind, top);
    if rows.is_empty() {
        return;
    }
    out.push('\n');
    paint(out, BOLD, if kind == Kind::Server { "Inbound" } else { "Outbound" });
    out.push_str("\n\n");
    let aligns = [Align::Left, Align::Left].into_iter().chain([Align::Right; Figure::ALL.len()]);
    let mut table = Table::new(aligns);
    let titles = Figure::ALL.map(|figure| match figure {
        Figure::Rate => "per s",
        Figure::ErrorRate => "errors",
        figure => figure.name(),
    });
    table.push(["", ""].into_iter().chain(titles).map(|title| Cell::new(title).styled(DIM)).collect());
    let services = show::several_services(comparison);
    for row in rows {
        lines(&mut table, row, services, comparison.options.alpha);
    }
    if more > 0 {
        let text = format!("… {} more, shown with --top {}", count(more as u64), top + more);
        table.push(vec![Cell::new(&text).styled(DIM)]);
    }
    table.render(out, 2, width);
}

/// A line for the base, one for the new run, one for the differences; then the statuses that came or went.
fn lines(table: &mut Table, row: &Row, services: bool, alpha: f64) {
    let mut name = Cell::new(&label(&row.subject, services));
    for (title, wanted, values) in [
        ("base", row.presence != Presence::New, (|change| change.base) as fn(&Change) -> Option<f64>),
        ("new", row.presence != Presence::Vanished, |change| change.new),
    ] {
        if wanted {
            let mut line = vec![std::mem::replace(&mut name, Cell::new("")), Cell::new(title).styled(DIM)];
            line.extend(row.changes.iter().map(|change| Cell::new(&value(change.figure, values(change)))));
            table.push(line);
        }
    }
    match row.presence {
        Presence::Both => {
            let mut line = vec![Cell::new(""), Cell::new("")];
            line.extend(row.changes.iter().map(|change| marked(change, alpha)));
            table.push(line);
        }
        Presence::New => table.push(vec![Cell::new("  only in the new run").styled(WARN)]),
        Presence::Vanished => table.push(vec![Cell::new("  only in the base").styled(WARN)]),
        Presence::Unknown => {}
    }
    if row.presence == Presence::Both {
        for (what, statuses) in [("new", &row.new_statuses), ("no longer", &row.vanished_statuses)] {
            let texts: Vec<_> = statuses.iter().map(|(seen, _)| show::status(*seen)).collect();
            if !texts.is_empty() {
                let style = if statuses.iter().any(|(_, error)| *error) { BAD } else { WARN };
                let text = format!("  {what}: status {}", texts.join(", "));
                table.push(vec![Cell::new(&text).styled(style)]);
            }
        }
    }
}

/// A difference, and how sure it is.
fn marked(change: &Change, alpha: f64) -> Cell {
    let text = difference(change);
    if change.stands_out(alpha) {
        let rises = change.absolute().is_some_and(|change| change > 0.0);
        let style = match (change.figure, rises) {
            (Figure::Requests | Figure::Rate, _) => WARN,
            (_, true) => BAD,
            (_, false) => GOOD,
        };
        Cell::new(&format!("{text}*")).styled(style)
    } else if change.is_untold() {
        Cell::new(&format!("{text}?")).styled(DIM)
    } else {
        Cell::new(&text).styled(DIM)
    }
}

fn conditions(out: &mut String, comparison: &Comparison) {
    if comparison.judgements.is_empty() {
        return;
    }
    out.push('\n');
    paint(out, BOLD, "Conditions");
    out.push_str("\n\n");
    let style = |outcome| match outcome {
        Outcome::Failed => BAD,
        Outcome::Undecided => WARN,
        Outcome::Noise => Style::new(),
        Outcome::Passed => GOOD,
    };
    let services = show::several_services(comparison);
    for judgement in &comparison.judgements {
        let outcome = judgement.outcome();
        out.push_str("  ");
        paint(out, style(outcome), &format!("{:<9}", outcome.name()));
        let _ = writeln!(out, "  {}", printable(&judgement.condition.to_string()));
        if judgement.findings.is_empty() {
            out.push_str("               no requests that it looks at\n");
        }
        for found in judgement.findings.iter().filter(|found| found.outcome != Outcome::Passed) {
            out.push_str("             ");
            paint(out, style(found.outcome), &format!("{:<9}", found.outcome.name()));
            let (kind, subject) = (direction(found.subject.kind), label(&found.subject, services));
            let _ = writeln!(out, "  {kind} {subject}: {}", show::finding(judgement, found));
        }
    }
    out.push('\n');
    paint(out, if comparison.failed() { BAD } else { GOOD }, &show::summary(comparison));
    out.push('\n');
}
