//! Verdicts as GitHub's Markdown.

use std::fmt::Write as _;

use super::{Case, summary};
use crate::{markdown::escape, table::printable};

/// A table of all cases, and the details of those that failed.
pub fn render(command: &str, cases: &[Case], warnings: &[String]) -> String {
    let mut out = format!("### {}: {}\n", escape(command), summary(cases));
    for warning in warnings {
        let _ = writeln!(out, "\n> **Incomplete**: {}", escape(warning));
    }
    if !cases.is_empty() {
        out.push_str("\n| | check | |\n|---|---|---|\n");
    }
    for case in cases {
        let verdict = if case.failed() { "**failed**" } else { case.verdict.name() };
        let _ = writeln!(out, "| {verdict} | {} | {} |", escape(&case.name), escape(case.verdict.reason()));
    }
    for Case { name, details, .. } in cases.iter().filter(|case| case.failed() && !case.details.is_empty()) {
        let _ = writeln!(out, "\n{}\n", escape(name));
        // Four spaces make code of a line whatever is in it.
        for line in details {
            let _ = writeln!(out, "    {}", printable(line));
        }
    }
    out
}
