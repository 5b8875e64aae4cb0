//! Verdicts as JUnit XML, in the form that Jenkins, GitLab and others read: one suite, a case for each thing that was looked at.
//! There are no times: the same files give the same bytes.

use super::{Case, Verdict, counts};

/// A document with one suite of this name; `warnings` go to its standard error.
pub fn render(suite: &str, cases: &[Case], warnings: &[String]) -> String {
    let (tests, failures, skipped) = counts(cases);
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"");
    let suite = escape(suite);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    out.push_str(&format!("  <testsuite name=\"{suite}\" {counts}>\n"));
    for Case { name, verdict, details } in cases {
        out.push_str(&format!("    <testcase classname=\"{suite}\" name=\"{}\"", escape(name)));
        let reason = escape(verdict.reason());
        let details: String = details.iter().map(|line| format!("\n{}", escape(line))).collect();
        out.push_str(&match verdict {
            Verdict::Passed(_) => "/>\n".to_owned(),
            Verdict::Failed(_) => format!(
                ">\n      <failure message=\"{reason}\" type=\"failed\">{reason}{details}</failure>\n    </testcase>\n"
            ),
            Verdict::Undecided(_) => format!(">\n      <skipped message=\"{reason}\"/>\n    </testcase>\n"),
        });
    }
    if !warnings.is_empty() {
        let warnings: Vec<_> = warnings.iter().map(|warning| escape(warning)).collect();
        out.push_str(&format!("    <system-err>{}</system-err>\n", warnings.join("\n")));
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
            '\n' | '\t' => escaped.push_str(&format!("&#{};", u32::from(char))),
            char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => {
                escaped.extend(char.escape_unicode());
            }
            char => escaped.push(char),
        }
    }
    escaped
}
