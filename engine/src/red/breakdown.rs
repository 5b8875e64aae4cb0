//! A table by whatever is asked for: a group for every combination of values that requests have.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    net::IpAddr,
    str::FromStr,
};

use beyla_schema::request::{Kind, Request, TlsVersion};
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::{
    Row,
    aggregator::{FURTHER, MAX_GROUPS},
    group::Group,
};
use crate::intern::Interner;

/// What requests can be told apart by; named as the columns of the `requests` table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Service name.
    Service,
    /// Protocol and version.
    Protocol,
    /// Method as sent.
    Method,
    /// Host that was asked for.
    Authority,
    /// Path without the query.
    Path,
    /// Path after the route rules.
    Route,
    /// HTTP status.
    Status,
    /// gRPC service.
    RpcService,
    /// gRPC method.
    RpcMethod,
    /// gRPC status.
    RpcStatus,
    /// Whether it failed.
    Error,
    /// Why there is no more to it.
    EndReason,
    /// What the client calls itself.
    UserAgent,
    /// Address of the client, without its port.
    ClientAddress,
    /// Address of the server, without its port.
    ServerAddress,
    /// Port of the server.
    ServerPort,
    /// Process.
    Pid,
    /// Version of TLS.
    TlsVersion,
}

/// A name that is none of a [`Dimension`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of {}", Dimension::ALL.map(Dimension::name).join(", "))]
pub struct DimensionError;

/// A table by some dimensions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Breakdown {
    /// The names of the dimensions.
    pub by: Vec<&'static str>,
    /// The groups, most requests first, then by their values.
    pub rows: Vec<Row>,
}

/// The value that a request has in a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Value<T> {
    None,
    Text(T),
    Number(u64),
    Address(IpAddr),
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Service,
        Self::Protocol,
        Self::Method,
        Self::Authority,
        Self::Path,
        Self::Route,
        Self::Status,
        Self::RpcService,
        Self::RpcMethod,
        Self::RpcStatus,
        Self::Error,
        Self::EndReason,
        Self::UserAgent,
        Self::ClientAddress,
        Self::ServerAddress,
        Self::ServerPort,
        Self::Pid,
        Self::TlsVersion,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Protocol => "protocol",
            Self::Method => "method",
            Self::Authority => "authority",
            Self::Path => "path",
            Self::Route => "route",
            Self::Status => "status",
            Self::RpcService => "rpc_service",
            Self::RpcMethod => "rpc_method",
            Self::RpcStatus => "rpc_status",
            Self::Error => "error",
            Self::EndReason => "end_reason",
            Self::UserAgent => "user_agent",
            Self::ClientAddress => "client_address",
            Self::ServerAddress => "server_address",
            Self::ServerPort => "server_port",
            Self::Pid => "pid",
            Self::TlsVersion => "tls_version",
        }
    }

    fn of<'r>(self, request: &Request<'r>) -> Value<&'r str> {
        let text = |text: Option<&'r str>| text.map_or(Value::None, Value::Text);
        let number = |number: Option<u64>| number.map_or(Value::None, Value::Number);
        let address = |address: Option<IpAddr>| address.map_or(Value::None, Value::Address);
        match self {
            Self::Service => text(Some(request.service).filter(|name| !name.is_empty())),
            Self::Protocol => Value::Text(request.protocol.name()),
            Self::Method => text(request.method),
            Self::Authority => text(request.authority),
            Self::Path => text(request.path),
            Self::Route => text(request.route),
            Self::Status => number(request.status.map(u64::from)),
            Self::RpcService => text(request.rpc_service),
            Self::RpcMethod => text(request.rpc_method),
            Self::RpcStatus => number(request.rpc_status.map(u64::from)),
            Self::Error => Value::Text(if request.error { "true" } else { "false" }),
            Self::EndReason => Value::Text(request.end_reason.name()),
            Self::UserAgent => text(request.user_agent),
            Self::ClientAddress => address(request.client.map(|address| address.ip())),
            Self::ServerAddress => address(request.server.map(|address| address.ip())),
            Self::ServerPort => number(request.server.map(|address| address.port().into())),
            Self::Pid => number(Some(request.pid.into()).filter(|pid| *pid != 0)),
            Self::TlsVersion => text(request.tls_version.map(TlsVersion::name)),
        }
    }
}

impl Display for Dimension {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dimension {
    type Err = DimensionError;

    fn from_str(name: &str) -> Result<Self, DimensionError> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == name).ok_or(DimensionError)
    }
}

/// A value of a group before: that of the dimension before its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Step {
    before: Option<u32>,
    value: Value<u32>,
}

/// Collects groups. A combination of values is found step by step, so that none of them is copied for a request.
#[derive(Debug)]
pub(super) struct Collector {
    dimensions: Vec<Dimension>,
    texts: Interner,
    numbers: FxHashMap<Step, u32>,
    steps: Vec<Step>,
    groups: FxHashMap<(Kind, Option<u32>), Group>,
}

impl Collector {
    pub(super) fn new(dimensions: Vec<Dimension>) -> Self {
        Self {
            dimensions,
            texts: Interner::default(),
            numbers: FxHashMap::default(),
            steps: Vec::new(),
            groups: FxHashMap::default(),
        }
    }

    pub(super) fn add(&mut self, request: &Request<'_>, exact: bool) {
        let key = (request.kind, self.number(request));
        self.groups.entry(key).or_insert_with(|| Group::new(exact)).add(request);
    }

    pub(super) fn count_in_steps(&mut self) {
        self.groups.values_mut().for_each(|group| group.durations.count_in_steps());
    }

    /// The number of the combination of values that a request has; none when it is new and there are too many.
    fn number(&mut self, request: &Request<'_>) -> Option<u32> {
        let full = self.steps.len() >= MAX_GROUPS;
        let mut number = None;
        for dimension in &self.dimensions {
            let value = match dimension.of(request) {
                Value::Text(text) if full => Value::Text(self.texts.get(text)?),
                Value::Text(text) => Value::Text(self.texts.number(text)),
                Value::Number(number) => Value::Number(number),
                Value::Address(address) => Value::Address(address),
                Value::None => Value::None,
            };
            let step = Step { before: number, value };
            let known = self.numbers.get(&step).copied();
            if known.is_none() && full {
                return None;
            }
            number = Some(known.unwrap_or_else(|| {
                let new = self.steps.len() as u32;
                self.steps.push(step);
                self.numbers.insert(step, new);
                new
            }));
        }
        number
    }

    /// The values of a combination.
    fn values(&self, mut number: Option<u32>) -> Vec<Option<String>> {
        if number.is_none() {
            return vec![Some(FURTHER.to_owned())];
        }
        let mut values = Vec::new();
        while let Some(step) = number.and_then(|number| self.steps.get(number as usize)) {
            values.push(match step.value {
                Value::None => None,
                Value::Text(text) => Some(self.texts.text(text).to_owned()),
                Value::Number(number) => Some(number.to_string()),
                Value::Address(address) => Some(address.to_string()),
            });
            number = step.before;
        }
        values.reverse();
        values
    }

    /// The groups of `kind`, of a report about so many seconds.
    pub(super) fn table(&self, kind: Kind, seconds: f64) -> Breakdown {
        let groups = self.groups.iter().filter(|((of, _), _)| *of == kind);
        let mut merged = BTreeMap::<_, Group>::new();
        for ((_, number), group) in groups {
            merged.entry(self.values(*number)).or_default().add_all(group);
        }
        let row = |(values, group): (_, Group)| Row { group: Some(values), ..group.row(seconds) };
        let mut rows: Vec<_> = merged.into_iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.requests));
        Breakdown { by: self.dimensions.iter().map(|dimension| dimension.name()).collect(), rows }
    }
}

#[cfg(test)]
mod tests {
    use beyla_schema::request::EndReason;

    use super::*;

    #[test]
    fn names_are_read_back() {
        for dimension in Dimension::ALL {
            assert_eq!(dimension.name().parse(), Ok(dimension));
        }
        let error = "colour".parse::<Dimension>().unwrap_err().to_string();
        assert!(error.starts_with("not one of service, protocol, "), "{error}");
    }

    #[test]
    fn every_combination_of_values_is_a_group() {
        let mut collector =
            Collector::new(vec![Dimension::Method, Dimension::Status, Dimension::ClientAddress]);
        let client = Some("10.0.0.7:9".parse().unwrap());
        for (method, status, client) in [
            (Some("GET"), Some(200), client),
            (Some("GET"), None, None),
            (None, Some(200), client),
            (Some("GET"), Some(200), client),
        ] {
            let request =
                Request { method, status, client, ..Request::begun(Kind::Client, 0, EndReason::Closed) };
            collector.add(&request, true);
        }
        let Breakdown { by, rows } = collector.table(Kind::Client, 1.0);
        assert_eq!(by, ["method", "status", "client_address"]);
        let groups: Vec<_> = rows
            .iter()
            .map(|row| {
                let values = row.group.iter().flatten().map(|value| value.as_deref().unwrap_or("-"));
                (values.collect::<Vec<_>>().join(" "), row.requests)
            })
            .collect();
        let expected = [("GET 200 10.0.0.7", 2), ("- 200 10.0.0.7", 1), ("GET - -", 1)];
        assert_eq!(groups, expected.map(|(values, requests)| (values.to_owned(), requests)));
        assert!(collector.table(Kind::Server, 1.0).rows.is_empty());
    }

    #[test]
    fn further_combinations_are_one_group() {
        let mut collector = Collector::new(vec![Dimension::Path]);
        for n in 0..MAX_GROUPS + 7 {
            let path = format!("/{n}");
            let request = Request { path: Some(&path), ..Request::begun(Kind::Server, 0, EndReason::Closed) };
            collector.add(&request, true);
        }
        let rows = collector.table(Kind::Server, 1.0).rows;
        assert_eq!((rows.len(), rows[0].requests), (MAX_GROUPS + 1, 7));
        assert_eq!(rows[0].group, Some(vec![Some(FURTHER.to_owned())]));
    }
}
