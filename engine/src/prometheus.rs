//! Histograms of requests in the Prometheus text format, version 0.0.4.
//!
//! An [`Exposition`] takes requests as the engine settles them, for a live `/metrics` or for the snapshot of a
//! file. The same requests always give the same bytes: sums are integers until they are written.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

use beyla_schema::request::{Kind, Protocol, Request};
use rustc_hash::FxHashMap;

use crate::Sink;
use crate::intern::Interner;

/// What metrics and labels are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The stable OpenTelemetry conventions, as Beyla has used them since 2024.
    Otel,
    /// The first public beta of Beyla, which dashboard 19077 reads.
    Beyla2023,
}

/// Upper bounds of the duration buckets, nanoseconds.
const DURATIONS: [u64; 15] = [
    0,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Upper bounds of the body size buckets, bytes.
const SIZES: [u64; 10] = [0, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

/// Methods that are labels of their own; others are `_OTHER`, so that a client cannot make up series.
const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// Series of a metric where nothing else is said: the limit that OpenTelemetry recommends.
pub const MAX_SERIES: usize = 2000;

/// Collects requests for one exposition.
#[derive(Debug)]
pub struct Exposition {
    names: Names,
    instance: String,
    routes_shown: bool,
    max_series: usize,
    services: Interner,
    routes: Interner,
    series: FxHashMap<Key, Series>,
    /// Those of each kind, without the overflow.
    counts: FxHashMap<Group, usize>,
    /// What had no series left.
    overflow: FxHashMap<Group, Series>,
}

/// Metrics that have their series in common: those of HTTP, or of gRPC, of servers or clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Group {
    kind: Kind,
    rpc: bool,
}

impl Group {
    fn of(request: &Request<'_>) -> Self {
        Self { kind: request.kind, rpc: matches!(request.protocol, Protocol::Grpc | Protocol::GrpcWeb) }
    }
}

/// The labels of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    group: Group,
    service: u32,
    /// That of the empty text when there is no route. Of gRPC, the full method.
    route: u32,
    method: &'static str,
    /// Of HTTP or gRPC.
    status: Option<u32>,
    https: bool,
    server: Option<SocketAddr>,
}

#[derive(Debug, Default)]
struct Series {
    duration: Histogram<{ DURATIONS.len() }>,
    request_size: Histogram<{ SIZES.len() }>,
    response_size: Histogram<{ SIZES.len() }>,
}

/// Counts of values up to each of `N` bounds.
#[derive(Debug)]
struct Histogram<const N: usize> {
    /// Not cumulative.
    buckets: [u64; N],
    count: u64,
    sum: u128,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: [0; N], count: 0, sum: 0 }
    }
}

impl<const N: usize> Histogram<N> {
    fn observe(&mut self, bounds: &[u64; N], value: Option<u64>) {
        let Some(value) = value else { return };
        if let Some(bucket) = self.buckets.get_mut(bounds.partition_point(|&bound| bound < value)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += u128::from(value);
    }

    /// Writes the samples of one series. The exposed unit is `unit` times the counted one.
    fn render(
        &self,
        f: &mut Formatter<'_>,
        name: &str,
        labels: &str,
        bounds: &[u64; N],
        unit: f64,
    ) -> fmt::Result {
        let mut up_to = 0;
        for (&bound, count) in bounds.iter().zip(self.buckets) {
            up_to += count;
            writeln!(f, "{name}_bucket{{{labels},le=\"{}\"}} {up_to}", bound as f64 / unit)?;
        }
        writeln!(f, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count)?;
        writeln!(f, "{name}_sum{{{labels}}} {}", self.sum as f64 / unit)?;
        writeln!(f, "{name}_count{{{labels}}} {}", self.count)
    }
}

impl Sink for Exposition {
    fn request(&mut self, request: &Request<'_>) {
        let series = match self.key(request) {
            Some(key) => self.series.entry(key).or_default(),
            None => self.overflow.entry(Group::of(request)).or_default(),
        };
        series.duration.observe(&DURATIONS, request.duration_ns);
        series.request_size.observe(&SIZES, request.request_bytes);
        series.response_size.observe(&SIZES, request.response_bytes);
    }
}

impl Exposition {
    /// Collects for metrics called by `names`; `instance` is the label of that name on every series.
    ///
    /// Series have the route as a label by the names of today, not by those of 2023; each metric has at most
    /// [`MAX_SERIES`].
    pub fn new(names: Names, instance: String) -> Self {
        Self {
            names,
            instance,
            routes_shown: names == Names::Otel,
            max_series: MAX_SERIES,
            services: Interner::default(),
            routes: Interner::default(),
            series: FxHashMap::default(),
            counts: FxHashMap::default(),
            overflow: FxHashMap::default(),
        }
    }

    /// Whether series have the route as a label.
    #[must_use]
    pub fn with_routes(self, routes_shown: bool) -> Self {
        Self { routes_shown, ..self }
    }

    /// The most series that a metric may have. The last one of them is for all requests that would need further ones.
    #[must_use]
    pub fn with_max_series(self, max_series: usize) -> Self {
        Self { max_series, ..self }
    }

    /// The series of a request; none when it would need one more than there may be. What has no series leaves no
    /// trace, so that memory is bounded.
    fn key(&mut self, request: &Request<'_>) -> Option<Key> {
        let otel = self.names == Names::Otel;
        let group = Group::of(request);
        let method = METHODS.iter().copied().find(|&known| Some(known) == request.method);
        // In 2023 only servers had the label.
        let has_route = self.routes_shown && (otel || request.kind == Kind::Server);
        let route = if group.rpc { request.path } else { request.route.filter(|_| has_route) }.unwrap_or("");
        let key = |service, route| Key {
            group,
            service,
            route,
            method: if group.rpc { "" } else { method.unwrap_or("_OTHER") },
            status: if group.rpc { request.rpc_status } else { request.status.map(u32::from) },
            https: otel && !group.rpc && request.scheme == Some("https"),
            server: request.server.filter(|_| otel),
        };
        let known = self.services.get(request.service).zip(self.routes.get(route));
        let known = known.map(|(service, route)| key(service, route));
        if let Some(known) = known.filter(|known| self.series.contains_key(known)) {
            return Some(known);
        }
        let count = self.counts.entry(group).or_default();
        if *count + 1 >= self.max_series {
            return None;
        }
        *count += 1;
        Some(key(self.services.number(request.service), self.routes.number(route)))
    }

    /// The exposition of what has come so far: families by name, series by labels.
    pub fn render(&self) -> String {
        self.to_string()
    }

    fn labels(&self, key: &Key) -> Labels {
        let service = self.services.text(key.service);
        let route = self.routes.text(key.route);
        let mut labels = Labels::default();
        match self.names {
            _ if key.group.rpc => {
                labels.add("instance", &self.instance);
                labels.add("job", service);
                labels.add_some("rpc_grpc_status_code", key.status);
                labels.add("rpc_method", route);
                labels.add("rpc_system", "grpc");
                labels.add_some("server_address", key.server.map(|server| server.ip()));
                labels.add_some("server_port", key.server.map(|server| server.port()));
                labels.add("service_name", service);
            }
            Names::Otel => {
                labels.add("http_request_method", key.method);
                labels.add_some("http_response_status_code", key.status);
                labels.add("http_route", route);
                labels.add("instance", &self.instance);
                labels.add("job", service);
                labels.add_some("server_address", key.server.map(|server| server.ip()));
                labels.add_some("server_port", key.server.map(|server| server.port()));
                labels.add("service_name", service);
                labels.add("url_scheme", if key.https { "https" } else { "http" });
            }
            Names::Beyla2023 => {
                labels.add("http_method", key.method);
                labels.add("http_route", route);
                labels.add_some("http_status_code", key.status);
                labels.add("instance", &self.instance);
                labels.add("job", service);
                labels.add("service_name", service);
            }
        }
        labels
    }
}

impl Display for Exposition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut overflow = Labels::default();
        overflow.add("instance", &self.instance);
        overflow.add("otel_metric_overflow", "true");
        let overflow = self.overflow.iter().map(|(&group, series)| (overflow.clone(), group, series));
        let mut series: Vec<_> =
            self.series.iter().map(|(key, series)| (self.labels(key), key.group, series)).collect();
        series.extend(overflow);
        series.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        let sides = [(Kind::Client, "client", "made by"), (Kind::Server, "server", "served by")];
        let of = |group: Group| {
            let series = series.iter().filter(move |(_, of, _)| *of == group);
            series.map(|(labels, _, series)| (&*labels.0, *series))
        };
        for (kind, side, whose) in sides {
            let series = || of(Group { kind, rpc: false });
            let durations = series().map(|(labels, series)| (labels, &series.duration));
            let requests = series().map(|(labels, series)| (labels, &series.request_size));
            let responses = series().map(|(labels, series)| (labels, &series.response_size));
            let duration_help = format!("Duration of HTTP requests {whose} the captured processes.");
            let request_help = format!("Body size of HTTP requests {whose} the captured processes.");
            let response_help =
                format!("Body size of responses to HTTP requests {whose} the captured processes.");
            match self.names {
                Names::Otel => {
                    let name = |of: &str| format!("http_{side}_{of}");
                    family(f, &name("request_body_size_bytes"), &request_help, requests, &SIZES, 1.0)?;
                    family(f, &name("request_duration_seconds"), &duration_help, durations, &DURATIONS, 1e9)?;
                    family(f, &name("response_body_size_bytes"), &response_help, responses, &SIZES, 1.0)?;
                }
                Names::Beyla2023 => {
                    let name = |of: &str| format!("http_{side}_{of}");
                    family(f, &name("duration_seconds"), &duration_help, durations, &DURATIONS, 1e9)?;
                    family(f, &name("request_size_bytes"), &request_help, requests, &SIZES, 1.0)?;
                }
            }
        }

        for (kind, side, whose) in sides {
            let series = of(Group { kind, rpc: true });
            let durations = series.map(|(labels, series)| (labels, &series.duration));
            let help = format!("Duration of gRPC calls {whose} the captured processes.");
            family(f, &format!("rpc_{side}_duration_seconds"), &help, durations, &DURATIONS, 1e9)?;
        }

        let mut services: Vec<_> = self.services.texts().collect();
        services.sort_unstable();
        if !services.is_empty() {
            header(f, "target_info", "A captured service.", "gauge")?;
        }
        for service in services {
            let mut labels = Labels::default();
            labels.add("instance", &self.instance);
            labels.add("job", service);
            labels.add("service_name", service);
            writeln!(f, "target_info{{{}}} 1", labels.0)?;
        }
        Ok(())
    }
}

fn header(f: &mut Formatter<'_>, name: &str, help: &str, kind: &str) -> fmt::Result {
    writeln!(f, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Writes a histogram family; series and families in which nothing was observed are left out.
fn family<'a, const N: usize>(
    f: &mut Formatter<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (&'a str, &'a Histogram<N>)>,
    bounds: &[u64; N],
    unit: f64,
) -> fmt::Result {
    let mut series = series.filter(|(_, histogram)| histogram.count > 0).peekable();
    if series.peek().is_some() {
        header(f, name, help, "histogram")?;
    }
    series.try_for_each(|(labels, histogram)| histogram.render(f, name, labels, bounds, unit))
}

/// The labels of a series as text, without braces. An empty value is the same as no label.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Labels(String);

impl Labels {
    fn add(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        for char in value.chars() {
            match char {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                _ => self.0.push(char),
            }
        }
        self.0.push('"');
    }

    fn add_some(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.add(name, &value.to_string());
        }
    }
}
