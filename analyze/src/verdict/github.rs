//! Verdicts as workflow commands of GitHub Actions, which become annotations: an error for each case that failed, a warning for each that is
//! undecided and for each incomplete capture, and a notice that sums up.

use std::fmt::Write as _;

use super::{Case, Verdict, summary};
use crate::table::printable;

/// One line for each annotation.
pub fn render(command: &str, cases: &[Case], warnings: &[String]) -> String {
    let mut out = String::new();
    let mut annotate = |level: &str, title: &str, text: &str| {
        let title = property(&format!("{command}: {title}"));
        let _ = writeln!(out, "::{level} title={title}::{}", data(text));
    };
    for Case { name, verdict, details } in cases {
        let reason = verdict.reason();
        match verdict {
            Verdict::Passed(_) => {}
            Verdict::Failed(_) => {
                let lines: Vec<_> =
                    std::iter::once(reason).chain(details.iter().map(String::as_str)).collect();
                annotate("error", name, &lines.join("\n"));
            }
            Verdict::Undecided(_) => annotate("warning", name, reason),
        }
    }
    for warning in warnings {
        annotate("warning", "incomplete capture", warning);
    }
    annotate("notice", "result", &summary(cases));
    out
}

/// The text of a command: lines stay apart, everything else that could move a cursor is shown as what it is.
fn data(text: &str) -> String {
    let lines = text.split('\n').map(|line| printable(line.trim_end_matches('\r')).replace('%', "%25"));
    lines.collect::<Vec<_>>().join("%0A")
}

/// The value of a property.
fn property(text: &str) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    printable(&text.replace(':', "%3A").replace(',', "%2C"))
}
