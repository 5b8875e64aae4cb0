//! The comparison of route rules: tables for people, one document for programs.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Comparison, Outcome, Service};
use crate::{
    replay::Summary,
    table::{Align, BOLD, Cell, DIM, Table, paint, printable},
    units::{count, counted, percent},
};

/// Name and version of the schema: the number changes when a field changes its meaning or goes away.
const SCHEMA: &str = "beyla-analyze/routes/1";

const WARN: Style = AnsiColor::Yellow.on_default();

/// As text with ANSI styles, `width` columns wide.
pub fn text(comparison: &Comparison, width: usize) -> String {
    let mut out = String::new();
    for service in &comparison.services {
        if !out.is_empty() {
            out.push('\n');
        }
        paint(&mut out, BOLD, &printable(service.service.as_deref().unwrap_or("-")));
        out.push_str(": ");
        out.push_str(&counted(service.requests, "HTTP request"));
        out.push('\n');
        // One table for all rules, so that their columns stand below each other.
        let mut table = Table::new([Align::Left, Align::Right, Align::Right, Align::Left]);
        for outcome in &service.rules {
            rule(&mut table, outcome, service);
        }
        table.render(&mut out, 2, width);
    }
    if out.is_empty() {
        paint(&mut out, BOLD, "no HTTP requests");
        out.push('\n');
    }
    out
}

fn rule(table: &mut Table, outcome: &Outcome, service: &Service) {
    let Outcome { rule, routes, uncounted, top } = outcome;
    let more_than = if *uncounted > 0 { "more than " } else { "" };
    let title = format!("{rule}: {more_than}{}", counted(*routes, "route"));
    table.push(vec![]);
    table.push([&*title, "requests", "share", "such as"].map(|title| Cell::new(title).styled(DIM)).to_vec());
    for route in top {
        // A path that is its own route is no example.
        let is_other = |example: &&String| Some(*example) != route.route.as_ref();
        let examples: Vec<&str> = route.examples.iter().filter(is_other).map(String::as_str).collect();
        table.push(vec![
            Cell::new(route.route.as_deref().unwrap_or("none")),
            Cell::new(&count(route.requests)),
            Cell::new(&percent(route.requests as f64 / service.requests as f64)),
            Cell::new(&examples.join("  ")),
        ]);
    }
    let shown = top.iter().filter(|route| route.route.is_some()).count() as u64;
    let more = routes.saturating_sub(shown);
    if more > 0 {
        table.push(vec![Cell::new(&format!("… {} more", count(more))).styled(DIM)]);
    }
    if *uncounted > 0 {
        let text = format!("{} to further routes, too many to be told apart", counted(*uncounted, "request"));
        table.push(vec![Cell::new(&text).styled(WARN)]);
    }
}

#[derive(Serialize)]
struct Document<'c> {
    schema: &'static str,
    complete: bool,
    services: &'c [Service],
}

/// As JSON, ended by a newline.
pub fn json(comparison: &Comparison) -> String {
    let complete = comparison.files.iter().all(Summary::complete);
    let document = Document { schema: SCHEMA, complete, services: &comparison.services };
    // Only maps with keys that are no text, and types that refuse, can fail to serialise; there are none here.
    let mut json = serde_json::to_string_pretty(&document).unwrap_or_default();
    json.push('\n');
    json
}
