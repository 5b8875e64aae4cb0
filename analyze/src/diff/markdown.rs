//! The comparison as Markdown, for a comment under a change or the summary of a job.

use std::fmt::Write as _;

use beyla_schema::request::Kind;

use super::{
    Comparison, Figure, Outcome, Presence, Row,
    show::{self, difference, direction, label, value},
};
use crate::{markdown::escape, units::count};

/// The comparison in GitHub's Markdown, the first `top` routes of each direction.
pub fn render(comparison: &Comparison, top: usize) -> String {
    let mut out = format!("### {}\n", if comparison.failed() { "Failed" } else { "Compared" });
    for warning in show::warnings(comparison) {
        let _ = writeln!(out, "\n> **Incomplete**: {}", escape(&warning));
    }
    if !comparison.judgements.is_empty() {
        out.push_str("\n| condition | result | where |\n|---|---|---|\n");
        for judgement in &comparison.judgements {
            let found = judgement.findings.iter().filter(|found| found.outcome != Outcome::Passed);
            let mut found: Vec<_> = found
                .map(|found| {
                    let says = show::finding(judgement, found);
                    let subject = label(&found.subject, show::several_services(comparison));
                    let kind = direction(found.subject.kind);
                    format!("{}: {kind} {}: {}", found.outcome.name(), escape(&subject), escape(&says))
                })
                .collect();
            if judgement.findings.is_empty() {
                found.push("no requests that it looks at".to_owned());
            }
            let outcome = judgement.outcome();
            let outcome = if outcome == Outcome::Failed { "**failed**" } else { outcome.name() };
            let condition = escape(&judgement.condition.to_string());
            let _ = writeln!(out, "| {condition} | {outcome} | {} |", found.join("<br>"));
        }
    }
    for (kind, title) in [(Kind::Server, "Inbound"), (Kind::Client, "Outbound")] {
        let (rows, more) = show::shown(comparison, kind, top);
        if rows.is_empty() {
            continue;
        }
        let _ = write!(out, "\n#### {title}\n\n| |");
        for figure in Figure::ALL {
            let _ = write!(out, " {} |", figure.name());
        }
        out.push_str("\n|---|");
        out.push_str(&"---:|".repeat(Figure::ALL.len()));
        out.push('\n');
        for row in rows {
            line(&mut out, row, comparison);
        }
        if more > 0 {
            let _ = writeln!(out, "\n{} more, shown with `--top {}`", count(more as u64), top + more);
        }
    }
    out.push('\n');
    for line in show::legend(comparison) {
        let _ = writeln!(out, "<sub>{}</sub><br>", escape(&line));
    }
    out
}

fn line(out: &mut String, row: &Row, comparison: &Comparison) {
    let mut name = escape(&label(&row.subject, show::several_services(comparison)));
    match row.presence {
        Presence::New => name.push_str("<br>only in the new run"),
        Presence::Vanished => name.push_str("<br>only in the base"),
        Presence::Both => {
            for (what, statuses) in [("new", &row.new_statuses), ("no longer", &row.vanished_statuses)] {
                let texts: Vec<_> = statuses.iter().map(|(seen, _)| show::status(*seen)).collect();
                if !texts.is_empty() {
                    let _ = write!(name, "<br>{what}: status {}", texts.join(", "));
                }
            }
        }
        Presence::Unknown => {}
    }
    let _ = write!(out, "| {name} |");
    for change in &row.changes {
        let [base, new] = [change.base, change.new].map(|side| value(change.figure, side));
        let difference = difference(change);
        let difference = match (change.stands_out(comparison.options.alpha), change.is_untold()) {
            (true, _) => format!("**{difference}**\\*"),
            (false, true) => format!("{difference}?"),
            (false, false) => difference,
        };
        let cell = match row.presence {
            Presence::New => new,
            Presence::Vanished => base,
            Presence::Both | Presence::Unknown if base == new => base,
            Presence::Both | Presence::Unknown => format!("{base} → {new}<br>{difference}"),
        };
        let _ = write!(out, " {cell} |");
    }
    out.push('\n');
}
