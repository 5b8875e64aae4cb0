//! What dashboards ask: the public ones for Beyla (`fixtures/dashboards/queries.tsv`) and our own
//! (`docs/grafana/beyla-replay.json`), as queries that a Prometheus understands.

use std::{fs, path::Path};

use beyla_engine::prometheus::Names;
use serde_json::Value;

/// One query of a panel.
#[derive(Debug)]
pub(crate) struct Query {
    /// The names of metrics that it asks for.
    pub(crate) names: Names,
    /// Title of the panel.
    pub(crate) panel: String,
    /// PromQL with the variables of the dashboard, such as `$service`.
    text: String,
}

/// What the variables stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variables<'a> {
    /// The service whose requests are asked for.
    pub(crate) service: &'a str,
    /// The time that rates are over, and that tables are of: `1m`.
    pub(crate) interval: &'a str,
}

impl Query {
    /// The query with its variables filled in; of any job and instance.
    pub(crate) fn with(&self, variables: Variables<'_>) -> String {
        let values = [
            ("$__rate_interval", variables.interval),
            ("$__range", variables.interval),
            ("$instance", ".*"),
            ("$job", ".*"),
            ("$service", variables.service),
        ];
        values.iter().fold(self.text.clone(), |text, (name, value)| text.replace(name, value))
    }
}

/// The queries of the public dashboards.
pub(crate) fn public() -> Vec<Query> {
    let text = read("fixtures/dashboards/queries.tsv");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let query = |line: &str| {
        let [names, panel, text] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("no query: {line}")
        };
        let names = match names {
            "beyla-2023" => Names::Beyla2023,
            "otel" => Names::Otel,
            other => panic!("no names of metrics: {other}"),
        };
        Query { names, panel: panel.to_owned(), text: text.to_owned() }
    };
    lines.map(query).collect()
}

/// The queries of our dashboard.
pub(crate) fn own() -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/beyla-replay.json")).unwrap();
    let list = |of: &Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
    let text = |of: &Value, name: &str| of[name].as_str().unwrap().to_owned();
    let panels = list(&dashboard, "panels").into_iter();
    let queries = panels.flat_map(|panel| {
        let query =
            |target| Query { names: Names::Otel, panel: text(&panel, "title"), text: text(&target, "expr") };
        list(&panel, "targets").into_iter().map(query).collect::<Vec<_>>()
    });
    queries.collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}
