//! Markdown that shows what it is given and nothing else: text from the network cannot make markup, mention people or break
//! out of a table.

use std::fmt::Write as _;

use crate::table::printable;

/// Text in a line of Markdown, or in a cell of a table, in which nothing means anything.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in printable(text).chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // An entity, so that neither mentions of people nor of issues come of it.
            '@' | '#' => escaped.extend([format!("&#{};", u32::from(char))]),
            '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '|' | '!' | '$' => escaped.extend(['\\', char]),
            char => escaped.push(char),
        }
    }
    escaped
}

/// Rows under titles: the first column to the left, the others to the right. Cells are Markdown.
pub(crate) fn table(out: &mut String, titles: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let _ = writeln!(out, "| {} |", titles.join(" | "));
    let rule: Vec<_> = (0..titles.len()).map(|column| if column == 0 { ":--" } else { "--:" }).collect();
    let _ = writeln!(out, "| {} |", rule.join(" | "));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_network_is_text() {
        assert_eq!(escape("/a*b|<b>@x\n`"), "/a\\*b\\|&lt;b&gt;&#64;x\\\\n\\`");
        assert_eq!(escape("GET /users/7 é"), "GET /users/7 é");
    }
}
