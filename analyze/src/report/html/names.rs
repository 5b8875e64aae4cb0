//! What groups of requests are told apart by: names, and classes of status where there are too many of them.

use beyla_engine::intern::Interner;
use beyla_schema::request::{Kind, Request};
use serde::Serialize;

/// What requests of a group have in common. Texts are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Known {
        kind: Kind,
        service: u32,
        method: Option<u32>,
        route: Option<u32>,
        status: Option<u16>,
        rpc_status: Option<u32>,
        grpc: bool,
    },
    /// Beyond the limit.
    Rest { kind: Kind, class: Class },
}

/// What a status means, broadly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(super) enum Class {
    #[serde(rename = "1xx")]
    Informational,
    #[serde(rename = "2xx")]
    Success,
    #[serde(rename = "3xx")]
    Redirection,
    #[serde(rename = "4xx")]
    ClientError,
    #[serde(rename = "5xx")]
    ServerError,
    #[serde(rename = "grpc ok")]
    GrpcOk,
    #[serde(rename = "grpc error")]
    GrpcError,
    /// None was seen.
    #[serde(rename = "none")]
    Unknown,
    #[serde(rename = "other")]
    Other,
}

impl Class {
    pub(super) fn of(request: &Request<'_>) -> Self {
        match (request.rpc_status, request.status) {
            (Some(0), _) => Self::GrpcOk,
            (Some(_), _) => Self::GrpcError,
            (None, None) => Self::Unknown,
            (None, Some(100..=199)) => Self::Informational,
            (None, Some(200..=299)) => Self::Success,
            (None, Some(300..=399)) => Self::Redirection,
            (None, Some(400..=499)) => Self::ClientError,
            (None, Some(500..=599)) => Self::ServerError,
            (None, Some(_)) => Self::Other,
        }
    }
}

/// The texts of names, as numbers.
#[derive(Debug, Default)]
pub(super) struct Texts(Interner);

impl Texts {
    /// All of them, by number.
    pub(super) fn all(&self) -> Vec<&str> {
        self.0.texts().collect()
    }

    /// The name of a request, whose texts are numbered if they are not yet.
    pub(super) fn name(&mut self, request: &Request<'_>) -> Name {
        Name::Known {
            kind: request.kind,
            service: self.0.number(request.service),
            method: request.method.map(|text| self.0.number(text)),
            route: request.route.map(|text| self.0.number(text)),
            status: request.status,
            rpc_status: request.rpc_status,
            grpc: request.protocol.is_grpc(),
        }
    }

    /// The same if all of its texts have numbers.
    pub(super) fn known_name(&self, request: &Request<'_>) -> Option<Name> {
        let known = |text: &str| self.0.get(text);
        let maybe = |text: Option<&str>| text.map_or(Some(None), |text| known(text).map(Some));
        Some(Name::Known {
            kind: request.kind,
            service: known(request.service)?,
            method: maybe(request.method)?,
            route: maybe(request.route)?,
            status: request.status,
            rpc_status: request.rpc_status,
            grpc: request.protocol.is_grpc(),
        })
    }
}
