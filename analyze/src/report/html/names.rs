//! What groups of requests are told apart by: names, and classes of status where there are too many of them.

use beyla_schema::request::{Kind, Request};
use rustc_hash::FxHashMap;
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

/// Texts as numbers, in the order they are first seen.
#[derive(Debug, Default)]
pub(super) struct Texts {
    numbers: FxHashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
}

impl Texts {
    /// All of them, by number.
    pub(super) fn all(&self) -> &[Box<str>] {
        &self.texts
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.into(), number);
        self.texts.push(text.into());
        number
    }

    /// The name of a request, whose texts are numbered if they are not yet.
    pub(super) fn name(&mut self, request: &Request<'_>) -> Name {
        Name::Known {
            kind: request.kind,
            service: self.number(request.service),
            method: request.method.map(|text| self.number(text)),
            route: request.route.map(|text| self.number(text)),
            status: request.status,
            rpc_status: request.rpc_status,
            grpc: request.protocol.is_grpc(),
        }
    }

    /// The same if all of its texts have numbers.
    pub(super) fn known_name(&self, request: &Request<'_>) -> Option<Name> {
        let known = |text: &str| self.numbers.get(text).copied();
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
