//! Verdicts for people, coloured by ANSI sequences that the caller takes out where they are not wanted.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Case, Verdict, summary};
use crate::table::{BOLD, paint, printable};

const BAD: Style = AnsiColor::Red.on_default().effects(anstyle::Effects::BOLD);
const WARN: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default();

/// A line for each case, below it what helps to see why it failed.
pub fn render(cases: &[Case], warnings: &[String]) -> String {
    let mut out = String::new();
    for warning in warnings {
        paint(&mut out, BAD, &format!("INCOMPLETE  {}", printable(warning)));
        out.push('\n');
    }
    for Case { name, verdict, details } in cases {
        let style = match verdict {
            Verdict::Passed(_) => GOOD,
            Verdict::Failed(_) => BAD,
            Verdict::Undecided(_) => WARN,
        };
        paint(&mut out, style, &format!("{:<9}", verdict.name()));
        let _ = write!(out, "  {}", printable(name));
        if !verdict.reason().is_empty() {
            let _ = write!(out, ": {}", printable(verdict.reason()));
        }
        out.push('\n');
        for line in details {
            let _ = writeln!(out, "             {}", printable(line));
        }
    }
    paint(&mut out, BOLD, &summary(cases));
    out.push('\n');
    out
}
