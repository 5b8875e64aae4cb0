//! The options of a capture, by what they are about.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use beyla_engine::{
    prometheus::{MAX_SERIES, Names},
    redact::{Policy, PolicyError},
    route::{Pattern, Unmatched},
    trace_line::Form,
};
use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};

use super::values::{entries, form, header, pattern, ring_size, rotate, size, snaplen, unmatched};
use crate::{
    config::{endpoint, metrics_path, series_ttl},
    probe::{Choice, Settings, Sizes},
    target::{Cgroup, Executable, Ports, Selectors},
    writer::Rotate,
};

/// Whose events.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub(super) struct Selection {
    /// Record the processes that listen on these ports: 8080, or 80,443, or 9000-9010
    #[arg(short, long, value_name = "N[,N|A-B]")]
    port: Option<Ports>,

    /// Record the process with this id, and its children; may be given several times
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,

    /// Record processes whose executable matches: a name, or a path when the pattern has a slash
    #[arg(long, value_name = "GLOB")]
    exe: Vec<Executable>,

    /// Record the processes of this control group and of those below it, such as /system.slice/nginx.service
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<Cgroup>,

    /// Report all of them under this name instead of their own
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) service_name: Option<String>,
}

impl Selection {
    pub(super) fn selectors(self, command: Vec<String>) -> Selectors {
        Selectors {
            ports: self.port.unwrap_or_default(),
            pids: self.pid,
            executables: self.exe,
            cgroups: self.cgroup,
            command,
        }
    }
}

/// Where to.
#[derive(Debug, Args)]
#[command(next_help_heading = "File")]
pub(super) struct FileArgs {
    /// File to write; refused when it exists
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    /// Overwrite the file when it exists
    #[arg(long, requires = "output")]
    pub(super) force: bool,

    /// Stop when the file, or all parts of it together, has about this size, give or take a few megabytes:
    /// 500MB, 2GiB
    #[arg(long, value_name = "SIZE", requires = "output", value_parser = size)]
    pub(super) max_size: Option<u64>,

    /// Begin another file at this size or after this time: 256MB, 10m. Parts of run.parquet are run.0001.parquet
    /// and so on; each can be read alone, and all together are one capture
    #[arg(long, value_name = "SIZE|TIME", requires = "output", value_parser = rotate)]
    pub(super) rotate: Option<Rotate>,

    /// Delete the oldest parts of this capture when there are more than this many finished ones
    #[arg(long, value_name = "N", requires = "rotate", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) keep: Option<u32>,
}

/// What is shown meanwhile.
#[derive(Debug, Args)]
#[command(next_help_heading = "Live output")]
pub(super) struct LiveArgs {
    /// Print every request as it ends: line (that of the first Beyla, the default), text (with ports, route, sizes and
    /// span), json, json-indent, or counter
    #[arg(
        long,
        value_name = "FORM",
        value_parser = form(),
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "line"
    )]
    pub(super) print_traces: Option<Form>,

    /// Show a table of requests, their rates, errors and durations on the terminal
    #[arg(long, conflicts_with = "print_traces")]
    pub(super) top: bool,

    /// Serve metrics for Prometheus on this port; 0 for one that is free
    #[arg(long, value_name = "PORT")]
    pub(super) prometheus_port: Option<u16>,

    /// Under this path [default: /metrics]
    #[arg(long, value_name = "PATH", value_parser = metrics_path)]
    pub(super) prometheus_path: Option<String>,

    /// On this address; 127.0.0.1 for this machine alone
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(super) prometheus_address: IpAddr,

    /// Write metrics to this file again and again, for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE")]
    pub(super) prometheus_textfile: Option<PathBuf>,

    /// What the metrics are called [default: otel]
    #[arg(long, value_name = "NAMES")]
    pub(super) metric_names: Option<MetricNames>,

    /// The most series that a metric may have; what needs further ones is in one with otel_metric_overflow="true"
    #[arg(long, value_name = "N", default_value_t = MAX_SERIES as u64, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max_series: u64,

    /// Leave out series that had no request for this time: 5m; without, they stay
    #[arg(long, value_name = "TIME", value_parser = series_ttl)]
    pub(super) series_ttl: Option<Duration>,

    /// Send spans and metrics by OTLP over HTTP to URL/v1/traces and URL/v1/metrics: http://localhost:4318
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub(super) otlp_endpoint: Option<String>,

    /// Send spans to just this URL
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub(super) otlp_traces_endpoint: Option<String>,

    /// Send metrics to just this URL
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub(super) otlp_metrics_endpoint: Option<String>,

    /// Send this header field too; OTEL_EXPORTER_OTLP_HEADERS keeps secrets out of the list of processes
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    pub(super) otlp_header: Vec<(String, String)>,
}

/// What metrics and labels are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum MetricNames {
    /// The stable conventions of OpenTelemetry
    Otel,
    /// The names of the first public beta of Beyla, which dashboard 19077 reads
    #[value(name = "beyla-2023")]
    Beyla2023,
}

impl From<MetricNames> for Names {
    fn from(names: MetricNames) -> Self {
        match names {
            MetricNames::Otel => Self::Otel,
            MetricNames::Beyla2023 => Self::Beyla2023,
        }
    }
}

/// How paths become routes in what is shown. The file has the paths.
#[derive(Debug, Args)]
#[command(next_help_heading = "Routes")]
pub(super) struct Routing {
    /// Make this the route of the paths that it matches: /users/{id}, /users/:id, /files/v:version, /static/*
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub(super) route: Vec<Pattern>,

    /// Leave out requests to the paths that this matches
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub(super) route_ignore: Vec<Pattern>,

    /// The route of other paths: heuristic (* for segments that look like ids), low-cardinality (the same, and for places
    /// with more than 10 different segments), path (as it is), wildcard (/** for all), unset (none) [default: heuristic]
    #[arg(long, value_name = "HOW", value_parser = unmatched(), hide_possible_values = true)]
    pub(super) unmatched: Option<Unmatched>,
}

/// How it is recorded.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recording")]
pub(super) struct Recording {
    /// Stop after this time: 30s, 5m, 1h
    #[arg(short, long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) duration: Option<Duration>,

    /// Stop after this many events, and a few that are in flight then
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max_events: Option<u64>,

    /// Keep at most this much of each message, from its beginning (up to 16KiB)
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = snaplen)]
    snaplen: u32,

    /// Size of the buffer between kernel and recorder: a power of two
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = ring_size)]
    ring_size: u32,

    /// Most processes that are recorded at a time
    #[arg(long, value_name = "N", default_value_t = Sizes::default().targets, value_parser = entries())]
    max_targets: u32,

    /// Most connections at a time, where bytes are seen at the exit of system calls
    #[arg(long, value_name = "N", default_value_t = Sizes::default().connections, value_parser = entries())]
    max_connections: u32,

    /// Record the unix sockets of the chosen processes too
    #[arg(long)]
    unix: bool,

    /// Record the UDP sockets of the chosen processes too: every datagram is a row, no request is made of them
    #[arg(long)]
    udp: bool,

    /// Leave TLS libraries alone: what HTTPS says is not seen then
    #[arg(long)]
    no_tls: bool,

    /// Where to see the bytes that processes move
    #[arg(long, value_name = "WHERE", value_enum, default_value_t)]
    probe: Choice,
}

impl Recording {
    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            ring_bytes: self.ring_size,
            snaplen: self.snaplen,
            targets: self.max_targets,
            connections: self.max_connections,
            cpus: None,
        }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings { probe: self.probe, udp: self.udp, unix: self.unix, no_tls: self.no_tls }
    }
}

/// What is masked, in the file and in what is shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Redaction")]
pub(super) struct RedactionArgs {
    /// What is masked before it is written or shown
    #[arg(long, value_name = "POLICY", default_value = "default")]
    redact: Redaction,

    /// Mask the values of this header field too
    #[arg(long, value_name = "NAME")]
    redact_header: Vec<String>,

    /// Mask the values of this query parameter too
    #[arg(long, value_name = "NAME")]
    redact_param: Vec<String>,
}

/// What `--redact` masks.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Redaction {
    /// Credentials in header fields, query parameters and command lines
    Default,
    /// Bodies too, and what is not HTTP
    HeadersOnly,
    /// Only what is named with --redact-header and --redact-param
    None,
}

impl RedactionArgs {
    pub(super) fn policy(&self) -> Result<Policy, PolicyError> {
        let policy = match self.redact {
            Redaction::Default => Policy::standard(),
            Redaction::HeadersOnly => Policy::standard().headers_only(),
            Redaction::None => Policy::none(),
        };
        policy.with_names(&self.redact_header, &self.redact_param)
    }
}
