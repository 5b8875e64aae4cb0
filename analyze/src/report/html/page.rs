//! The page as text: `report.html` with styles, scripts and data put in. It needs nothing else, and a policy in it forbids
//! browsers to fetch or to run anything else.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use sha2::{Digest, Sha256};

const TEMPLATE: &str = include_str!("report.html");

const STYLES: [&str; 2] = [include_str!("uplot/uPlot.min.css"), include_str!("report.css")];

/// In the order they are run.
const SCRIPTS: [&str; 10] = [
    include_str!("uplot/uPlot.iife.min.js"),
    include_str!("page.js"),
    include_str!("cube.js"),
    include_str!("charts.js"),
    include_str!("durations.js"),
    include_str!("tables.js"),
    include_str!("graph.js"),
    include_str!("state.js"),
    include_str!("figures.js"),
    include_str!("report.js"),
];

const LICENCE: &str = include_str!("uplot/LICENSE");

/// The page that shows `data`.
pub(super) fn page(data: &impl Serialize) -> String {
    // Only maps with keys that are no text, and types that refuse, can fail to serialise; there are none here.
    let data = serde_json::to_string(data).unwrap_or_default();
    let mut page = String::with_capacity(data.len() + (1 << 17));
    // The data comes last: nothing is looked for in what has been put in.
    let mut rest = TEMPLATE;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, after)| Some((before, after.split_once("}}")?)))
    {
        page.push_str(before);
        match name {
            "policy" => policy(&mut page),
            "licence" => page.push_str(LICENCE.trim_end()),
            "styles" => STYLES.iter().for_each(|style| element(&mut page, "style", style)),
            "scripts" => SCRIPTS.iter().for_each(|script| element(&mut page, "script", script)),
            "data" => escape(&mut page, &data),
            _ => {}
        }
        rest = after;
    }
    page.push_str(rest);
    page
}

fn element(page: &mut String, name: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "<{name}>{text}</{name}>");
}

/// What the page may load: nothing. And run: what is in it, told by checksum.
fn policy(page: &mut String) {
    page.push_str("default-src 'none'; base-uri 'none'; form-action 'none'");
    for (directive, texts) in [("style-src", &STYLES[..]), ("script-src", &SCRIPTS)] {
        let _ = write!(page, "; {directive}");
        for text in texts {
            let _ = write!(page, " 'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        }
    }
}

/// Appends JSON so that no text in it can end the element it is in, or be taken for anything else by whatever reads the
/// page. Outside of texts JSON has none of these characters.
fn escape(page: &mut String, json: &str) {
    for char in json.chars() {
        if matches!(char, '<' | '>' | '&' | '\u{7f}' | '\u{2028}' | '\u{2029}') {
            let _ = write!(page, "\\u{:04x}", u32::from(char));
        } else {
            page.push(char);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of the element with the data.
    fn data(page: &str) -> &str {
        let (_, data) = page.split_once("id=\"data\">").expect("an element with data");
        data.split_once("</script>").expect("its end").0
    }

    #[test]
    fn texts_of_the_network_cannot_leave_the_data() {
        let hostile = [
            "</script><script>alert(1)</script>",
            "<!--<script>",
            "]]>&lt;&amp;",
            "\"quoted\" and 'quoted' and \\",
            "\u{2028}\u{2029}\u{7f}\u{0}\r\n\t\u{1b}[2J",
            "{{scripts}}{{data}}",
            "\u{202e}\u{feff}\u{10ffff}é",
        ];
        let page = page(&hostile);
        let written = data(&page);
        assert!(
            !written.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\u{7f}', '\u{0}', '\n', '\u{1b}'])
        );
        let read: Vec<String> = serde_json::from_str(written).expect("JSON");
        assert_eq!(read, hostile);
        assert_eq!(page.matches("<script").count(), SCRIPTS.len() + 1);
    }

    #[test]
    fn everything_is_put_in_and_nothing_is_fetched() {
        let page = page(&"");
        assert!(page.contains("Copyright (c) 2022 Leon Sorokin"));
        assert_eq!(page.matches("'sha256-").count(), STYLES.len() + SCRIPTS.len());
        for (number, text) in STYLES.iter().chain(&SCRIPTS).enumerate() {
            assert!(page.contains(text), "text {number} is missing");
            assert!(!text.contains("</s"), "text {number} ends its own element");
        }
        let own = STYLES[1..].iter().chain(&SCRIPTS[1..]).chain([&TEMPLATE]);
        for text in own {
            assert!(!text.contains("innerHTML") && !text.contains("src="));
            assert!(!text.replace("url(#", "").contains("url("));
            assert!(!text.contains("https://") || *text == TEMPLATE);
        }
    }
}
