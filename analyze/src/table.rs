//! Aligned text tables, for the report and for query results.

use std::{borrow::Cow, fmt::Write as _};

use anstyle::{Effects, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The style of what frames the data: titles, rules, labels.
pub(crate) const DIM: Style = Style::new().effects(Effects::DIMMED);

/// Titles that stand out.
pub(crate) const BOLD: Style = Style::new().effects(Effects::BOLD);

const GAP: usize = 2;

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A text with the style it is shown in.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell of text that may come from the network.
    pub(crate) fn new(text: &str) -> Self {
        Self { text: printable(text), style: Style::new() }
    }

    pub(crate) fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

/// Rows of cells. A row of fewer cells than there are columns is a line of its own, which the columns do not mind.
pub(crate) struct Table {
    aligns: Vec<Align>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(aligns: impl IntoIterator<Item = Align>) -> Self {
        Self { aligns: aligns.into_iter().collect(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Appends the table to `out`, indented, the first column cut where lines would be wider than `limit`.
    pub(crate) fn render(&self, out: &mut String, indent: usize, limit: usize) {
        let mut widths = self.widths();
        if let Some((first, others)) = widths.split_first_mut() {
            let others: usize = indent + others.iter().map(|width| width + GAP).sum::<usize>();
            *first = (*first).min(limit.saturating_sub(others)).max(1);
        }
        for row in &self.rows {
            self.line(out, indent, &widths, row);
        }
    }

    /// Appends the table to `out`, with a rule below the first row.
    pub(crate) fn render_ruled(&self, out: &mut String) {
        let widths = self.widths();
        for (index, row) in self.rows.iter().enumerate() {
            self.line(out, 0, &widths, row);
            if index == 0 {
                let rule = |width: &usize| Cell { text: "─".repeat(*width), style: DIM };
                self.line(out, 0, &widths, &widths.iter().map(rule).collect::<Vec<_>>());
            }
        }
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.aligns.len()];
        for row in self.rows.iter().filter(|row| row.len() == self.aligns.len()) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        widths
    }

    fn line(&self, out: &mut String, indent: usize, widths: &[usize], row: &[Cell]) {
        // Spaces are owed until a text follows, so that no line ends with them.
        let mut owed = indent;
        let whole = row.len() < widths.len();
        for ((cell, &width), align) in row.iter().zip(widths).zip(&self.aligns) {
            let text = if whole { cell.text.as_str().into() } else { cut(&cell.text, width) };
            let padding = width.saturating_sub(text.width());
            let (before, after) = if *align == Align::Right { (padding, 0) } else { (0, padding) };
            owed += before;
            if !text.is_empty() {
                out.extend(std::iter::repeat_n(' ', owed));
                paint(out, cell.style, &text);
                owed = 0;
            }
            owed += after + GAP;
        }
        out.push('\n');
    }
}

/// Appends `text` in `style`.
pub(crate) fn paint(out: &mut String, style: Style, text: &str) {
    if style.is_plain() {
        out.push_str(text);
    } else {
        // Writing to a string cannot fail.
        let _ = write!(out, "{style}{text}{style:#}");
    }
}

/// The beginning of `text` that fits into `width` columns, with an ellipsis if it was cut.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let mut used = 0;
    let fits = |char: &char| {
        used += char.width().unwrap_or(0);
        used < width
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push('…');
    short.into()
}

/// `text` with what could move the cursor, break the line or reorder the text escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for char in text.chars() {
        let reorders =
            matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || reorders {
            clean.extend(char.escape_default());
        } else {
            clean.push(char);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_text() {
        let mut table = Table::new([Align::Left, Align::Right, Align::Left]);
        for row in [&["route", "n", "note"][..], &["/a", "12,345", ""], &["/long/route", "7", "x"]] {
            table.push(row.iter().map(|text| Cell::new(text)).collect());
        }
        let mut out = String::new();
        table.render_ruled(&mut out);
        let rule = "───────────  ──────  ────";
        let ruled =
            format!("route             n  note\n{rule}\n/a           12,345\n/long/route       7  x\n");
        assert_eq!(anstream::adapter::strip_str(&out).to_string(), ruled);

        table.push(vec![Cell::new("a line wider than the columns")]);
        table.push(vec![]);
        let mut out = String::new();
        table.render(&mut out, 1, 21);
        assert_eq!(
            out,
            " route        n  note\n /a      12,345\n /long…       7  x\n a line wider than the columns\n\n"
        );
    }

    #[test]
    fn text_from_the_network_cannot_control_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\n\u{202e}é"), "a\\u{1b}[2J\\n\\u{202e}é");
    }
}
