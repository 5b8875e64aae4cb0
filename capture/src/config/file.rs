//! A configuration file in YAML with the keys of Beyla. `beyla-analyze` reads its section `routes` too.
#![expect(clippy::zero_sized_map_values, reason = "only maps take up what is left")]

use std::{collections::BTreeMap, fs, path::Path};

use beyla_engine::route::config::{Fault, Section};
use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::Spanned;

use super::{
    Error, Layer, Otlp, TracePrinter,
    values::{duration, endpoint, metrics_path, port, series_ttl},
};
use crate::target::{Executable, Ports, Selectors};

/// Keys that are not used here.
type Unknown = BTreeMap<String, IgnoredAny>;

/// A value whose line is told when it means nothing.
type Value = Option<Spanned<String>>;

/// The file as it is written.
#[derive(Default, Deserialize)]
struct Document {
    open_port: Value,
    auto_target_exe: Value,
    executable_name: Value,
    service_name: Option<String>,
    print_traces: Option<bool>,
    trace_printer: Value,
    prometheus_export: Option<PrometheusExport>,
    otel_traces_export: Option<OtelExport>,
    otel_metrics_export: Option<OtelExport>,
    discovery: Option<Discovery>,
    routes: Option<Section>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Default, Deserialize)]
struct PrometheusExport {
    port: Value,
    path: Value,
    ttl: Value,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Default, Deserialize)]
struct OtelExport {
    endpoint: Value,
    interval: Value,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Default, Deserialize)]
struct Discovery {
    /// Executables by globs.
    instrument: Option<Vec<Service>>,
    /// The same with regular expressions, which came before.
    services: Option<Vec<Service>>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct Service {
    open_ports: Value,
    exe_path: Value,
    exe_path_regexp: Value,
    #[serde(flatten)]
    unknown: Unknown,
}

/// What the file asks for.
pub(super) fn read(path: &Path) -> Result<Layer, Error> {
    let file = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return Err(Error::File { place: file, reason: error.to_string() }),
    };
    let (mut layer, unused) = parse(&text).map_err(|Fault { line, reason }| {
        let place = if line == 0 { file.clone() } else { format!("{file}:{line}") };
        Error::File { place, reason }
    })?;
    if !unused.is_empty() {
        layer.notes.push(format!("{file}: not used here: {}", unused.join(", ")));
    }
    Ok(layer)
}

/// What the text asks for, and its keys that are not used.
fn parse(text: &str) -> Result<(Layer, Vec<String>), Fault> {
    let document: Option<Document> = serde_saphyr::from_str(text)?;
    let document = document.unwrap_or_default();
    let mut unused = Vec::new();
    let prometheus = document.prometheus_export.unwrap_or_default();
    let traces = document.otel_traces_export.unwrap_or_default();
    let metrics = document.otel_metrics_export.unwrap_or_default();
    let discovery = document.discovery.unwrap_or_default();
    for (section, keys) in [
        ("", document.unknown),
        ("discovery.", discovery.unknown),
        ("otel_metrics_export.", metrics.unknown),
        ("otel_traces_export.", traces.unknown),
        ("prometheus_export.", prometheus.unknown),
    ] {
        unused.extend(keys.into_keys().map(|key| format!("{section}{key}")));
    }
    let mut selectors = Selectors::default();
    let top = Service {
        open_ports: document.open_port,
        exe_path: document.auto_target_exe,
        exe_path_regexp: document.executable_name,
        unknown: Unknown::new(),
    };
    add(&mut selectors, top, "", &mut unused)?;
    for (number, service) in discovery.instrument.unwrap_or_default().into_iter().enumerate() {
        add(&mut selectors, service, &format!("discovery.instrument[{number}]."), &mut unused)?;
    }
    for (number, service) in discovery.services.unwrap_or_default().into_iter().enumerate() {
        // The path of an executable was a regular expression there.
        let exe_path_regexp = service.exe_path.or(service.exe_path_regexp);
        let service = Service { exe_path: None, exe_path_regexp, ..service };
        add(&mut selectors, service, &format!("discovery.services[{number}]."), &mut unused)?;
    }
    let printer = value(document.trace_printer, "trace_printer", str::parse::<TracePrinter>)?;
    let layer = Layer {
        selectors,
        service: document.service_name.filter(|name| !name.is_empty()),
        traces: printer.or(document.print_traces.map(TracePrinter::from)),
        prometheus_port: value(prometheus.port, "port", port)?.flatten(),
        prometheus_path: value(prometheus.path, "path", metrics_path)?,
        ttl: value(prometheus.ttl, "ttl", series_ttl)?,
        otlp: Otlp {
            traces_endpoint: value(traces.endpoint, "endpoint", endpoint)?,
            metrics_endpoint: value(metrics.endpoint, "endpoint", endpoint)?,
            interval: value(metrics.interval, "interval", duration)?,
            ..Otlp::default()
        },
        routes: document.routes.map(|section| section.rules(&mut unused)).transpose()?,
        ..Layer::default()
    };
    Ok((layer, unused))
}

/// Adds the processes of one entry: by port, else by executable.
fn add(
    selectors: &mut Selectors,
    service: Service,
    place: &str,
    unused: &mut Vec<String>,
) -> Result<(), Fault> {
    let ports = value(service.open_ports, "port", str::parse::<Ports>)?;
    let glob = value(service.exe_path, "executable", str::parse::<Executable>)?;
    let expression = value(service.exe_path_regexp, "executable", Executable::regexp)?;
    unused.extend(service.unknown.into_keys().map(|key| format!("{place}{key}")));
    match (ports, glob.or(expression)) {
        (Some(ports), executable) => {
            selectors.ports = std::mem::take(&mut selectors.ports).with(ports);
            unused.extend(executable.map(|_| format!("{place}executable beside a port")));
        }
        (None, executable) => selectors.executables.extend(executable),
    }
    Ok(())
}

/// What a value means.
fn value<T, E: ToString>(
    text: Value,
    key: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Fault> {
    let Some(text) = text else { return Ok(None) };
    parse(&text.value)
        .map(Some)
        .map_err(|error| Fault::of(&text, format!("{key}: {:?}: {}", text.value, error.to_string())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use beyla_engine::{route::Unmatched, trace_line::Form};

    use super::*;

    #[test]
    fn all_keys_are_understood() {
        let text = "
open_port: 8080
service_name: shop
print_traces: true
trace_printer: json
prometheus_export: {port: 8999, path: /m, ttl: 5m}
otel_traces_export: {endpoint: http://c/traces}
otel_metrics_export: {endpoint: 'http://c/metrics', interval: 5s}
discovery:
  instrument:
    - open_ports: 80,8000-8010
    - exe_path: '*/nginx'
  services:
    - exe_path: python3?$
routes: {unmatched: path}
";
        let (layer, unused) = parse(text).unwrap();
        assert_eq!(unused, [""; 0]);
        assert_eq!(layer.selectors.describe(), ["port 80,8000-8010,8080", "exe */nginx", "exe ~ python3?$"]);
        assert_eq!(
            (layer.service.as_deref(), layer.traces),
            (Some("shop"), Some(TracePrinter::Form(Form::Json)))
        );
        assert_eq!((layer.prometheus_port, layer.prometheus_path.as_deref()), (Some(8999), Some("/m")));
        assert_eq!(
            (layer.ttl, layer.otlp.interval),
            (Some(Duration::from_mins(5)), Some(Duration::from_secs(5)))
        );
        assert_eq!(layer.otlp.traces_endpoint.as_deref(), Some("http://c/traces"));
        assert_eq!(layer.otlp.metrics_endpoint.as_deref(), Some("http://c/metrics"));
        assert_eq!(layer.routes.unwrap().unmatched, Unmatched::Path);
    }

    #[test]
    fn what_is_not_used_is_named() {
        let text = "
log_level: debug
print_traces: false
open_port: '80'
executable_name: x
prometheus_export: {features: [a]}
otel_traces_export: {sampler: {name: always_on}}
discovery:
  instrument: [{name: shop, open_ports: 81}]
routes: {pattern: []}
";
        let (layer, unused) = parse(text).unwrap();
        assert_eq!(
            unused,
            [
                "log_level",
                "otel_traces_export.sampler",
                "prometheus_export.features",
                "executable beside a port",
                "discovery.instrument[0].name",
                "routes.pattern"
            ]
        );
        assert_eq!(layer.traces, Some(TracePrinter::Disabled));
        assert_eq!(layer.selectors.describe(), ["port 80-81"]);
    }

    #[test]
    fn an_empty_file_asks_for_nothing() {
        for text in ["", "---\n", "# nothing\n", "discovery:\n", "{}"] {
            let (layer, unused) = parse(text).unwrap();
            assert!(layer.selectors.is_empty() && layer.routes.is_none() && unused.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, start) in [
            ("a: 1\nopen_port: http\n", 2, "port: \"http\": "),
            ("trace_printer: xml\n", 1, "trace_printer: \"xml\": "),
            ("prometheus_export:\n  port: 65536\n", 2, "port: \"65536\": not a port"),
            ("prometheus_export:\n  ttl: 5\n", 2, "ttl: \"5\": "),
            ("discovery:\n  services:\n    - exe_path: (\n", 3, "executable: \"(\": "),
            ("routes:\n  unmatched: all\n", 2, "unmatched: "),
            ("otel_traces_export:\n  endpoint: c:4317\n", 2, "endpoint: \"c:4317\": "),
            ("prometheus_export: 3\n", 1, ""),
        ] {
            let fault = parse(text).err().unwrap();
            assert!(fault.line == line && fault.reason.starts_with(start), "{text}: {fault:?}");
        }
    }

    #[test]
    fn the_file_is_named_when_it_cannot_be_read() {
        let error = read(Path::new("/nowhere/beyla.yml")).err().unwrap().to_string();
        assert!(error.starts_with("/nowhere/beyla.yml: "), "{error}");
    }
}
