//! The table of routes: its columns, and how numbers are written.

use beyla_engine::trace_line::Printable;
use beyla_schema::request::Kind;
use indicatif::HumanCount;
use ratatui::{
    layout::{Constraint, Flex},
    style::{Modifier, Style},
    text::Line,
    widgets::{Cell, Row as Cells, Table},
};

use super::Row;

/// A column of numbers.
struct Column {
    title: &'static str,
    text: fn(&Row) -> String,
    /// The narrowest terminal that has it.
    from_width: u16,
}

const ERRORS: &str = "errors";

const COLUMNS: [Column; 6] = [
    Column { title: "req/s", text: |row| rate(row.rate), from_width: 0 },
    Column { title: ERRORS, text: |row| share(row.error_share()), from_width: 0 },
    Column { title: "p50", text: |row| duration(row.p50_ns), from_width: 60 },
    Column { title: "p99", text: |row| duration(row.p99_ns), from_width: 40 },
    Column { title: "max", text: |row| duration(row.max_ns), from_width: 80 },
    Column {
        title: "status",
        text: |row| row.last_status.map_or("-".to_owned(), |status| status.to_string()),
        from_width: 100,
    },
];

/// Width of a column of numbers.
const NUMBER: u16 = 7;

/// The narrowest terminal that has a column of services.
const SERVICES_FROM: u16 = 80;

/// The table of `rows` for a terminal of `width`; `alarm` is the style of a share of errors.
pub(super) fn table<'a>(
    rows: impl Iterator<Item = &'a Row>,
    width: u16,
    alarm: impl Fn(f64) -> Style,
) -> Table<'a> {
    let services = width >= SERVICES_FROM;
    let columns = || COLUMNS.iter().filter(|column| width >= column.from_width);
    let right = |text: String| Cell::from(Line::from(text).right_aligned());

    let mut widths = vec![Constraint::Fill(1)];
    let mut titles = vec![Cell::from("route")];
    if services {
        widths.insert(0, Constraint::Length(width / 6));
        titles.insert(0, Cell::from("service"));
    }
    widths.extend(columns().map(|_| Constraint::Length(NUMBER)));
    titles.extend(columns().map(|column| right(column.title.to_owned())));

    let rows = rows.map(|row| {
        let name = row.name.as_ref();
        let service = name.map(|name| Printable(&name.service).to_string());
        let mut cells = vec![Cell::from(route(row))];
        if services {
            cells.insert(0, Cell::from(service.unwrap_or_default()));
        }
        cells.extend(columns().map(|column| {
            let style = if column.title == ERRORS { alarm(row.error_share()) } else { Style::new() };
            right((column.text)(row)).style(style)
        }));
        Cells::new(cells)
    });
    Table::new(rows, widths)
        .header(Cells::new(titles).style(Modifier::REVERSED))
        .column_spacing(1)
        .flex(Flex::Start)
}

/// Method and route; an arrow where the service asked.
fn route(row: &Row) -> String {
    let Some(name) = &row.name else { return "other".to_owned() };
    let arrow = if name.kind == Kind::Client { "→ " } else { "" };
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { Printable(text).to_string() };
    format!("{arrow}{} {}", or_dash(&name.method), or_dash(&name.route))
}

/// Requests per second.
pub(super) fn rate(value: f64) -> String {
    if value < 999.5 { digits(value) } else { HumanCount(value.round() as u64).to_string() }
}

/// Three digits, more only before the point.
fn digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A share as percent.
pub(super) fn share(value: f64) -> String {
    if value > 0.0 { format!("{:.2}%", value * 100.0) } else { "0".to_owned() }
}

/// A duration with its unit, `-` where there is none.
fn duration(ns: Option<u64>) -> String {
    let Some(ns) = ns else { return "-".to_owned() };
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    format!("{} {unit}", digits(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_column() {
        for (ns, text) in [
            (None, "-"),
            (Some(0), "0 ns"),
            (Some(999), "999 ns"),
            (Some(1_000), "1.00 µs"),
            (Some(9_996), "10.0 µs"),
            (Some(99_960), "100 µs"),
            (Some(999_999), "1000 µs"),
            (Some(12_345_678), "12.3 ms"),
            (Some(3_600_000_000_000), "3600 s"),
        ] {
            assert_eq!(duration(ns), text);
            assert!(text.chars().count() <= NUMBER.into());
        }
        for (value, text) in [(0.0, "0.00"), (42.04, "42.0"), (999.6, "1,000"), (987_654.3, "987,654")] {
            assert_eq!(rate(value), text);
        }
        assert_eq!((share(0.0), share(0.0248), share(1.0)), ("0".into(), "2.48%".into(), "100.00%".into()));
    }
}
