//! Who calls whom: outbound requests by the service that made them and the one that was called.
//!
//! The service at an address is the one that answered inbound requests there, if the same captures have them; else
//! the callee is the address itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use beyla_schema::request::{Kind, Request};
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::Sink;
use crate::intern::Interner;
use crate::red::{Latencies, milliseconds};

/// Callers and addresses that are told apart; calls of further ones have no callee.
const MAX_EDGES: usize = 10_000;

/// Durations of one caller and address that are kept as they are.
const KEPT: usize = 16_384;

/// Collects calls.
#[derive(Debug, Default)]
pub struct Graph {
    services: Interner,
    /// By caller and address.
    edges: FxHashMap<(u32, Option<SocketAddr>), Edge>,
    /// Who answers there; none when there are several.
    servers: FxHashMap<SocketAddr, Option<u32>>,
}

#[derive(Debug, Default)]
struct Edge {
    requests: u64,
    errors: u64,
    durations: Latencies,
}

/// The calls of one service to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// The service that calls; empty when not known.
    pub caller: String,
    /// The service that is called, or its address; none when neither is known.
    pub callee: Option<String>,
    /// How often.
    pub requests: u64,
    /// How often it failed, as the caller sees it.
    pub errors: u64,
    /// Median of what the caller waited, milliseconds.
    pub p50_ms: Option<f64>,
    /// 95th percentile, milliseconds.
    pub p95_ms: Option<f64>,
}

impl Sink for Graph {
    fn request(&mut self, request: &Request<'_>) {
        let service = self.services.number(request.service);
        match (request.kind, request.server) {
            (Kind::Server, Some(address)) => {
                if self.servers.len() < MAX_EDGES || self.servers.contains_key(&address) {
                    let known = self.servers.entry(address).or_insert(Some(service));
                    *known = known.filter(|&before| before == service);
                }
            }
            (Kind::Server, None) => {}
            (Kind::Client, server) => {
                let full = self.edges.len() >= MAX_EDGES && !self.edges.contains_key(&(service, server));
                let edge = self.edges.entry((service, server.filter(|_| !full))).or_default();
                edge.requests += 1;
                edge.errors += u64::from(request.error);
                if edge.durations.kept() >= KEPT {
                    edge.durations.count_in_steps();
                }
                request.duration_ns.into_iter().for_each(|ns| edge.durations.add(ns));
            }
        }
    }
}

impl Graph {
    /// Every pair of services, most requests first, then by name.
    pub fn calls(&self) -> Vec<Call> {
        let mut merged = BTreeMap::<(&str, Option<String>), Edge>::new();
        for (&(caller, address), edge) in &self.edges {
            let name = address.and_then(|address| self.servers.get(&address).copied().flatten());
            let name = name.map(|number| self.services.text(number)).filter(|name| !name.is_empty());
            let callee = name.map(str::to_owned).or_else(|| address.map(|address| address.to_string()));
            let sum = merged.entry((self.services.text(caller), callee)).or_default();
            sum.requests += edge.requests;
            sum.errors += edge.errors;
            sum.durations.add_all(&edge.durations);
        }
        let mut calls: Vec<Call> = merged
            .into_iter()
            .map(|((caller, callee), Edge { requests, errors, durations })| {
                let mut durations = durations.ranked();
                Call {
                    caller: caller.to_owned(),
                    callee,
                    requests,
                    errors,
                    p50_ms: milliseconds(durations.percentile(50)),
                    p95_ms: milliseconds(durations.percentile(95)),
                }
            })
            .collect();
        calls.sort_by_key(|call| std::cmp::Reverse(call.requests));
        calls
    }
}
