//! The answer of a validation: a line per invariant for people, one document for programs.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Status, Validation, Verdict};
use crate::table::{BOLD, DIM, paint, printable};

/// Name and version of the schema: the number changes when a field changes its meaning or goes away.
const SCHEMA: &str = "beyla-analyze/validate/1";

const GOOD: Style = AnsiColor::Green.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// As text with ANSI styles.
pub fn text(validations: &[Validation]) -> String {
    let mut out = String::new();
    for (index, validation) in validations.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        recording(&mut out, validation);
    }
    out
}

fn recording(out: &mut String, validation: &Validation) {
    let Validation { files, verdict, incomplete, rows, checks, .. } = validation;
    paint(out, BOLD, &printable(&files.join(", ")));
    out.push_str(": ");
    match verdict {
        Verdict::Valid => paint(out, GOOD, "valid"),
        Verdict::Incomplete => paint(out, WARN, "incomplete"),
        Verdict::Invalid => paint(out, BAD, "invalid"),
    }
    let _ = write!(out, ", {rows} rows of format {}", validation.schema_version);
    if let Some(reason) = incomplete {
        let _ = write!(out, "; {reason}");
    }
    out.push('\n');
    for check in checks {
        let (status, style) = match check.status {
            Status::Ok => ("ok", GOOD),
            Status::Failed => ("FAILED", BAD),
            Status::NotChecked => ("not checked", WARN),
        };
        out.push_str("  ");
        paint(out, style, &format!("{status:<11}"));
        let _ = write!(out, "  {:<9}  {}", check.name, check.says);
        let count = match check.status {
            Status::Failed => format!(": {} times not", check.failed),
            Status::Ok if check.checked > 1 => format!(" ({})", check.checked),
            _ => String::new(),
        };
        paint(out, DIM, &count);
        if let Some(note) = &check.note {
            let _ = write!(out, "; {}", printable(note));
        }
        out.push('\n');
        for finding in &check.findings {
            let at = finding.row.map_or_else(String::new, |row| format!(" row {row}"));
            let _ =
                writeln!(out, "{:15}{}{at}: {}", "", printable(&finding.file), printable(&finding.reason));
        }
        let more = check.failed.saturating_sub(check.findings.len() as u64);
        if more > 0 {
            let _ = writeln!(out, "{:15}and {more} more", "");
        }
    }
}

#[derive(Serialize)]
struct Document<'v> {
    schema: &'static str,
    verdict: Option<Verdict>,
    captures: &'v [Validation],
}

/// As JSON, ended by a newline.
pub fn json(validations: &[Validation]) -> String {
    let verdict = validations.iter().map(|validation| validation.verdict).max();
    let document = Document { schema: SCHEMA, verdict, captures: validations };
    // Only maps with keys that are no text, and types that refuse, can fail to serialise; there are none here.
    let mut json = serde_json::to_string_pretty(&document).unwrap_or_default();
    json.push('\n');
    json
}
