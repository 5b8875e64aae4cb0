//! Series: which one a request belongs to, how many there may be, and what they are called.

use std::net::SocketAddr;

use beyla_schema::request::{Kind, Request};
use rustc_hash::FxHashMap;

use super::family::Label;
use super::histogram::{Counts, DURATION_BUCKETS, DURATIONS, SIZE_BUCKETS, SIZES, Wanted};
use super::{Histogram, Names, text};
use crate::intern::Interner;
use crate::method;

/// Series of a metric where nothing else is said: the limit that OpenTelemetry recommends.
pub const MAX_SERIES: usize = 2000;

/// What is kept of each series, by its labels.
#[derive(Debug)]
pub(super) struct Table<S> {
    pub(super) names: Names,
    instance: String,
    pub(super) routes_shown: bool,
    pub(super) max_series: usize,
    services: Interner,
    routes: Interner,
    series: FxHashMap<Key, S>,
    /// Those of each kind, without the overflow.
    counts: FxHashMap<Group, usize>,
    /// What had no series left.
    overflow: FxHashMap<Group, S>,
}

/// Metrics that have their series in common: those of HTTP, or of gRPC, of servers or clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) kind: Kind,
    pub(super) rpc: bool,
}

impl Group {
    pub(super) fn of(request: &Request<'_>) -> Self {
        Self { kind: request.kind, rpc: request.protocol.is_grpc() }
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

/// A series as it is written.
pub(super) struct Row<'a, S> {
    pub(super) labels: Vec<Label<'a>>,
    pub(super) group: Group,
    pub(super) series: &'a S,
}

impl<S: Default> Table<S> {
    pub(super) fn new(names: Names, instance: String) -> Self {
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

    /// The series of a request, that of the overflow when it would need one more than there may be.
    pub(super) fn of(&mut self, request: &Request<'_>) -> &mut S {
        match self.key(request) {
            Some(key) => self.series.entry(key).or_default(),
            None => self.overflow.entry(Group::of(request)).or_default(),
        }
    }

    /// The series of a request; none when it would need one more than there may be. What has no series leaves no
    /// trace, so that memory is bounded.
    fn key(&mut self, request: &Request<'_>) -> Option<Key> {
        let otel = self.names == Names::Otel;
        let group = Group::of(request);
        let method = request.method.and_then(method::known);
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

    /// Drops the series that are not to be kept, with their texts.
    pub(super) fn retain(&mut self, keep: impl Fn(&S) -> bool) {
        self.overflow.retain(|_, series| keep(series));
        if self.series.values().all(&keep) {
            return;
        }
        let (services, routes) = (std::mem::take(&mut self.services), std::mem::take(&mut self.routes));
        self.counts.clear();
        for (key, series) in std::mem::take(&mut self.series) {
            if keep(&series) {
                *self.counts.entry(key.group).or_default() += 1;
                let service = self.services.number(services.text(key.service));
                let route = self.routes.number(routes.text(key.route));
                self.series.insert(Key { service, route, ..key }, series);
            }
        }
    }

    /// What is kept of every series, in any order.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.series.values_mut().chain(self.overflow.values_mut())
    }

    /// The series, by their labels as they are written in text.
    pub(super) fn rows(&self) -> Vec<Row<'_, S>> {
        let rows = self.series.iter().map(|(key, series)| Row {
            labels: self.labels(key),
            group: key.group,
            series,
        });
        let mut rows: Vec<_> = rows.collect();
        rows.extend(self.overflow.iter().map(|(&group, series)| {
            let overflow = Label::new("otel_metric_overflow", "otel.metric.overflow", "true");
            Row { labels: vec![self.instance(), overflow], group, series }
        }));
        rows.sort_by_cached_key(|row| text::labels(row.labels.iter()));
        rows
    }

    /// The labels of each service that has series, by its name.
    pub(super) fn services(&self) -> Vec<Vec<Label<'_>>> {
        let mut services: Vec<_> = self.services.texts().collect();
        services.sort_unstable();
        services.into_iter().map(|service| vec![self.instance(), job(service), name(service)]).collect()
    }

    fn instance(&self) -> Label<'_> {
        Label::new("instance", "service.instance.id", &*self.instance)
    }

    fn labels(&self, key: &Key) -> Vec<Label<'_>> {
        let service = self.services.text(key.service);
        let route = self.routes.text(key.route);
        let status = key.status.map(|status| status.to_string()).unwrap_or_default();
        let address = key.server.map(|server| server.ip().to_string()).unwrap_or_default();
        let port = key.server.map(|server| server.port().to_string()).unwrap_or_default();
        let mut labels = match self.names {
            _ if key.group.rpc => vec![
                self.instance(),
                job(service),
                Label::new("rpc_grpc_status_code", "rpc.grpc.status_code", status),
                Label::new("rpc_method", "rpc.method", route),
                Label::new("rpc_system", "rpc.system", "grpc"),
                Label::new("server_address", "server.address", address),
                Label::new("server_port", "server.port", port),
                name(service),
            ],
            Names::Otel => vec![
                Label::new("http_request_method", "http.request.method", key.method),
                Label::new("http_response_status_code", "http.response.status_code", status),
                Label::new("http_route", "http.route", route),
                self.instance(),
                job(service),
                Label::new("server_address", "server.address", address),
                Label::new("server_port", "server.port", port),
                name(service),
                Label::new("url_scheme", "url.scheme", if key.https { "https" } else { "http" }),
            ],
            Names::Beyla2023 => vec![
                Label::new("http_method", "http.method", key.method),
                Label::new("http_route", "http.route", route),
                Label::new("http_status_code", "http.status_code", status),
                self.instance(),
                job(service),
                name(service),
            ],
        };
        labels.retain(|label| !label.value.is_empty());
        labels
    }
}

/// Prometheus' own name for the service, which is no attribute.
fn job(service: &str) -> Label<'_> {
    Label::new("job", "", service)
}

fn name(service: &str) -> Label<'_> {
    Label::new("service_name", "service.name", service)
}

/// What was observed of the requests of one series.
#[derive(Debug, Default)]
pub(super) struct Series {
    duration: Counts<DURATION_BUCKETS>,
    request_size: Counts<SIZE_BUCKETS>,
    response_size: Counts<SIZE_BUCKETS>,
}

impl Series {
    pub(super) fn observe(&mut self, request: &Request<'_>, wanted: Wanted) {
        self.duration.observe(&DURATIONS, request.duration_ns, request, wanted);
        self.request_size.observe(&SIZES, request.request_bytes, request, wanted);
        self.response_size.observe(&SIZES, request.response_bytes, request, wanted);
    }

    /// Adds what another one counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.duration.add(&other.duration);
        self.request_size.add(&other.request_size);
        self.response_size.add(&other.response_size);
    }

    pub(super) fn duration(&self) -> Histogram<'_> {
        self.duration.view(&DURATIONS)
    }

    pub(super) fn request_size(&self) -> Histogram<'_> {
        self.request_size.view(&SIZES)
    }

    pub(super) fn response_size(&self) -> Histogram<'_> {
        self.response_size.view(&SIZES)
    }
}
