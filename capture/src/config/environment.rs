//! Environment variables: those of the first Beyla, those of today's, and OpenTelemetry's.

use std::path::PathBuf;

use beyla_engine::prometheus;

use super::{
    Error, Layer, Otlp, TracePrinter,
    values::{boolean, duration, endpoint, headers, metrics_path, milliseconds, pids, port, series_ttl},
};
use crate::target::{Executable, Ports, Selectors};

/// Names of the same setting, of which the first that is set counts.
type Names = &'static [&'static str];

const PIDS: Names = &["BEYLA_TARGET_PID", "OTEL_EBPF_TARGET_PID"];
const PORTS: Names = &["BEYLA_OPEN_PORT", "OTEL_EBPF_OPEN_PORT", "OPEN_PORT"];
const GLOB: Names = &["BEYLA_AUTO_TARGET_EXE", "OTEL_EBPF_AUTO_TARGET_EXE"];
const REGEXP: Names = &["BEYLA_EXECUTABLE_NAME", "OTEL_EBPF_EXECUTABLE_NAME"];
const SUFFIX: Names = &["EXECUTABLE_NAME"];
/// What later ones do not look at.
const FIRST_BETA: Names = &["OPEN_PORT", "EXECUTABLE_NAME"];
const SYSTEM_WIDE: Names = &["BEYLA_SYSTEM_WIDE", "SYSTEM_WIDE"];
const SERVICE: Names = &["BEYLA_SERVICE_NAME", "OTEL_SERVICE_NAME", "SERVICE_NAME"];
const TRACE_PRINTER: Names = &["BEYLA_TRACE_PRINTER", "OTEL_EBPF_TRACE_PRINTER"];
const PRINT_TRACES: Names = &["BEYLA_PRINT_TRACES", "PRINT_TRACES"];
const PROMETHEUS_PORT: Names = &["BEYLA_PROMETHEUS_PORT", "OTEL_EBPF_PROMETHEUS_PORT"];
const PROMETHEUS_PATH: Names = &["BEYLA_PROMETHEUS_PATH", "OTEL_EBPF_PROMETHEUS_PATH"];
const TTL: Names = &["BEYLA_PROMETHEUS_TTL", "OTEL_EBPF_PROMETHEUS_TTL"];
const UNMATCHED: Names = &["BEYLA_ROUTES_UNMATCHED", "OTEL_EBPF_ROUTES_UNMATCHED"];
const METRICS_INTERVAL: Names = &["BEYLA_METRICS_INTERVAL", "OTEL_EBPF_METRICS_INTERVAL", "METRICS_INTERVAL"];
const CONFIG: Names = &["BEYLA_CONFIG_PATH", "OTEL_EBPF_CONFIG_PATH"];

/// What the environment asks for, and the configuration file that it names.
pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<(Layer, Option<PathBuf>), Error> {
    let environment = Environment(variable);
    let mut notes = Vec::new();
    let printer = environment.value(TRACE_PRINTER, str::parse::<TracePrinter>)?;
    let print = environment.value(PRINT_TRACES, boolean)?.map(TracePrinter::from);
    let layer = Layer {
        selectors: environment.selectors(&mut notes)?,
        service: environment.first(SERVICE).map(|(_, name)| name),
        traces: printer.or(print),
        prometheus_port: environment.value(PROMETHEUS_PORT, port)?.flatten(),
        prometheus_path: environment.value(PROMETHEUS_PATH, metrics_path)?,
        ttl: environment.value(TTL, series_ttl)?,
        otlp: environment.otlp()?,
        routes: None,
        unmatched: environment.value(UNMATCHED, str::parse)?,
        // Whoever speaks to the first beta has dashboards that know its metrics.
        names: environment.first(FIRST_BETA).map(|_| prometheus::Names::Beyla2023),
        notes,
    };
    Ok((layer, environment.first(CONFIG).map(|(_, path)| path.into())))
}

/// Looks variables up.
struct Environment<F>(F);

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// The first of these variables that is set and not empty.
    fn first(&self, names: Names) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| Some((*name, (self.0)(name).filter(|value| !value.is_empty())?)))
    }

    /// What the first of these variables means.
    fn value<T, E: ToString>(
        &self,
        names: Names,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Error> {
        let Some((name, value)) = self.first(names) else { return Ok(None) };
        match parse(&value) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(error) => Err(Error::Variable { name, value, reason: error.to_string() }),
        }
    }

    /// Processes by id, else by port, else by executable.
    fn selectors(&self, notes: &mut Vec<String>) -> Result<Selectors, Error> {
        let pids = self.value(PIDS, pids)?.unwrap_or_default();
        let ports = self.value(PORTS, str::parse::<Ports>)?.unwrap_or_default();
        let glob = self.value(GLOB, str::parse::<Executable>)?;
        let expression = self.value(REGEXP, Executable::regexp)?;
        let suffix = self.value(SUFFIX, Executable::suffix)?;
        if self.value(SYSTEM_WIDE, boolean)? == Some(true)
            && let Some((name, _)) = self.first(SYSTEM_WIDE)
        {
            notes.push(format!("{name} is not used: choose what to record"));
        }
        let mut chosen = None;
        for names in [PIDS, PORTS, GLOB, REGEXP, SUFFIX] {
            match (self.first(names), chosen) {
                (Some((name, _)), None) => chosen = Some(name),
                (Some((name, _)), Some(by)) => notes.push(format!("{name} is not used beside {by}")),
                (None, _) => {}
            }
        }
        Ok(if !pids.is_empty() {
            Selectors { pids, ..Selectors::default() }
        } else if !ports.is_empty() {
            Selectors { ports, ..Selectors::default() }
        } else {
            let executables = glob.or(expression).or(suffix).into_iter().collect();
            Selectors { executables, ..Selectors::default() }
        })
    }

    fn otlp(&self) -> Result<Otlp, Error> {
        let base = self.value(&["OTEL_EXPORTER_OTLP_ENDPOINT"], endpoint)?;
        let traces = self.value(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], endpoint)?;
        let metrics = self.value(&["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"], endpoint)?;
        let otlp = Otlp::at(base.as_deref(), traces, metrics);
        if otlp.traces_endpoint.is_some() || otlp.metrics_endpoint.is_some() {
            self.value(&["OTEL_EXPORTER_OTLP_PROTOCOL"], |protocol| {
                if protocol == "http/protobuf" { Ok(()) } else { Err("http/protobuf is what is spoken") }
            })?;
        }
        let fields: Names = &["OTEL_EXPORTER_OTLP_HEADERS"];
        let headers = match self.first(fields) {
            Some((name, list)) => headers(&list).ok_or(Error::Headers(name))?,
            None => Vec::new(),
        };
        let interval = match self.value(METRICS_INTERVAL, duration)? {
            None => self.value(&["OTEL_METRIC_EXPORT_INTERVAL"], milliseconds)?,
            interval => interval,
        };
        let timeout = self.value(&["OTEL_EXPORTER_OTLP_TIMEOUT"], milliseconds)?;
        Ok(Otlp { headers, timeout, interval, ..otlp })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use beyla_engine::{route::Unmatched, trace_line::Form};

    use super::*;

    /// The layer of variables such as `A=1 B=2`.
    fn layer(variables: &str) -> Result<Layer, Error> {
        let pairs: Vec<_> = variables.split(' ').filter_map(|pair| pair.split_once('=')).collect();
        let variable =
            |name: &str| pairs.iter().find_map(|&(known, value)| (known == name).then(|| value.to_owned()));
        read(variable).map(|(layer, _)| layer)
    }

    #[test]
    fn the_announcement_is_understood() {
        let layer = layer("BEYLA_PROMETHEUS_PORT=8999 PRINT_TRACES=true OPEN_PORT=8080").unwrap();
        assert_eq!(layer.selectors.describe(), ["port 8080"]);
        assert_eq!((layer.prometheus_port, layer.traces), (Some(8999), Some(TracePrinter::Form(Form::Line))));
        assert_eq!(layer.notes, [""; 0]);
    }

    #[test]
    fn one_selector_is_enough() {
        for (variables, selector, notes) in [
            ("", "", 0),
            ("OPEN_PORT=", "", 0),
            ("BEYLA_OPEN_PORT=80,8000-8010 OPEN_PORT=1", "port 80,8000-8010", 0),
            ("OTEL_EBPF_OPEN_PORT=80", "port 80", 0),
            ("EXECUTABLE_NAME=my.app", r"exe ~ my\.app$", 0),
            ("BEYLA_EXECUTABLE_NAME=my.app", "exe ~ my.app", 0),
            ("BEYLA_AUTO_TARGET_EXE=*/app", "exe */app", 0),
            ("OPEN_PORT=80 EXECUTABLE_NAME=app", "port 80", 1),
            ("OPEN_PORT=80 EXECUTABLE_NAME=app BEYLA_TARGET_PID=7,8", "pid 7, pid 8", 2),
            ("SYSTEM_WIDE=true", "", 1),
        ] {
            let layer = layer(variables).unwrap();
            assert_eq!(layer.selectors.describe().join(", "), selector, "{variables}");
            assert_eq!(layer.notes.len(), notes, "{variables}: {:?}", layer.notes);
        }
    }

    #[test]
    fn what_is_printed_is_said_in_two_ways() {
        for (variables, expected) in [
            ("PRINT_TRACES=false", Some(TracePrinter::Disabled)),
            ("PRINT_TRACES=1", Some(TracePrinter::Form(Form::Line))),
            ("BEYLA_TRACE_PRINTER=text PRINT_TRACES=true", Some(TracePrinter::Form(Form::Text))),
            ("BEYLA_TRACE_PRINTER=json_indent", Some(TracePrinter::Form(Form::JsonIndent))),
            ("BEYLA_TRACE_PRINTER=disabled PRINT_TRACES=true", Some(TracePrinter::Disabled)),
            ("", None),
        ] {
            assert_eq!(layer(variables).unwrap().traces, expected, "{variables}");
        }
    }

    #[test]
    fn endpoints_follow_the_specification() {
        let otlp =
            layer("OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318/ OTEL_EXPORTER_OTLP_HEADERS=a=b").unwrap().otlp;
        assert_eq!(otlp.traces_endpoint.as_deref(), Some("http://c:4318/v1/traces"));
        assert_eq!(otlp.metrics_endpoint.as_deref(), Some("http://c:4318/v1/metrics"));
        assert_eq!(otlp.headers, [("a".to_owned(), "b".to_owned())]);
        let otlp = layer("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c/x/ OTEL_METRIC_EXPORT_INTERVAL=5000")
            .unwrap()
            .otlp;
        assert_eq!(otlp.traces_endpoint.as_deref(), Some("http://c/x/"));
        assert_eq!((otlp.metrics_endpoint, otlp.interval), (None, Some(Duration::from_secs(5))));
        assert!(layer("OTEL_EXPORTER_OTLP_PROTOCOL=grpc").is_ok());
    }

    #[test]
    fn the_rest_is_understood() {
        let layer = layer(
            "OTEL_SERVICE_NAME=shop SERVICE_NAME=old BEYLA_PROMETHEUS_PATH=/m BEYLA_PROMETHEUS_TTL=5m \
             BEYLA_ROUTES_UNMATCHED=wildcard METRICS_INTERVAL=5s BEYLA_PROMETHEUS_PORT=0",
        );
        let layer = layer.unwrap();
        assert_eq!((layer.service.as_deref(), layer.prometheus_path.as_deref()), (Some("shop"), Some("/m")));
        assert_eq!((layer.ttl, layer.unmatched), (Some(Duration::from_mins(5)), Some(Unmatched::Wildcard)));
        assert_eq!((layer.otlp.interval, layer.prometheus_port), (Some(Duration::from_secs(5)), None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (variables, start) in [
            ("OPEN_PORT=http", "OPEN_PORT=http: "),
            ("BEYLA_TARGET_PID=me", "BEYLA_TARGET_PID=me: "),
            ("BEYLA_EXECUTABLE_NAME=(", "BEYLA_EXECUTABLE_NAME=(: "),
            ("BEYLA_AUTO_TARGET_EXE=[", "BEYLA_AUTO_TARGET_EXE=[: "),
            ("PRINT_TRACES=yes", "PRINT_TRACES=yes: neither true nor false"),
            ("BEYLA_TRACE_PRINTER=xml", "BEYLA_TRACE_PRINTER=xml: \"xml\" is not one of "),
            ("BEYLA_PROMETHEUS_PORT=65536", "BEYLA_PROMETHEUS_PORT=65536: not a port"),
            ("BEYLA_ROUTES_UNMATCHED=all", "BEYLA_ROUTES_UNMATCHED=all: "),
            ("OTEL_EXPORTER_OTLP_ENDPOINT=c:4317", "OTEL_EXPORTER_OTLP_ENDPOINT=c:4317: not a URL"),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT=http://c OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
                "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: ",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS=secret", "OTEL_EXPORTER_OTLP_HEADERS: not a list"),
        ] {
            let error = layer(variables).err().unwrap().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }
}
