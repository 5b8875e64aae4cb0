//! Verdicts as JUnit XML, in the form that Jenkins, GitLab and others read: one suite, a case for each thing that was looked at.
//! There are no times: the same files give the same bytes.

use std::fmt::Write as _;

use super::{Case, Verdict, counts};

/// A document with one suite of this name; `warnings` go to its standard error.
pub fn render(suite: &str, cases: &[Case], warnings: &[String]) -> String {
    let (tests, failures, skipped) = counts(cases);
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"");
    let suite = escape(suite);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(out, "  <testsuite name=\"{suite}\" {counts}>");
    for Case { name, verdict, details } in cases {
        let _ = write!(out, "    <testcase classname=\"{suite}\" name=\"{}\"", escape(name));
        let reason = escape(verdict.reason());
        let details: Vec<_> = details.iter().map(|line| ["\n", &escape(line)].concat()).collect();
        let _ = match verdict {
            Verdict::Passed(_) => writeln!(out, "/>"),
            Verdict::Failed(_) => {
                let details = details.concat();
                writeln!(
                    out,
                    ">\n      <failure message=\"{reason}\" type=\"failed\">{reason}{details}</failure>\n    </testcase>"
                )
            }
            Verdict::Undecided(_) => {
                writeln!(out, ">\n      <skipped message=\"{reason}\"/>\n    </testcase>")
            }
        };
    }
    if !warnings.is_empty() {
        let warnings: Vec<_> = warnings.iter().map(|warning| escape(warning)).collect();
        let _ = writeln!(out, "    <system-err>{}</system-err>", warnings.join("\n"));
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// Text of an element or an attribute. What XML cannot hold at all is written as its number.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // A parser makes spaces of these in attributes.
            '\n' | '\t' => escaped.extend([format!("&#{};", u32::from(char))]),
            char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => {
                escaped.extend(char.escape_unicode());
            }
            char => escaped.push(char),
        }
    }
    escaped
}
