//! The comparison for programs. The schema is a contract, told in `docs/diff.md`.

use beyla_schema::request::Kind;
use serde::Serialize;

use super::{
    Change, Comparison, Presence, Row, Scope, Side, Status, Subject,
    show::{self, direction},
};
use crate::replay::Summary;

/// Name and version of the schema: the number changes when a field changes its meaning or goes away.
pub const SCHEMA: &str = "beyla-analyze/diff/1";

#[derive(Serialize)]
struct Document<'c> {
    schema: &'static str,
    failed: bool,
    complete: bool,
    warnings: Vec<String>,
    alpha: f64,
    min_requests: u64,
    significance: bool,
    base: SideOf<'c>,
    new: SideOf<'c>,
    rows: Vec<RowOf<'c>>,
    conditions: Vec<ConditionOf<'c>>,
}

#[derive(Serialize)]
struct SideOf<'c> {
    files: Vec<&'c str>,
    requests: u64,
    seconds: f64,
    blocks: usize,
    block_seconds: f64,
    lost: u64,
}

#[derive(Serialize)]
struct SubjectOf<'c> {
    direction: &'static str,
    scope: &'static str,
    service: Option<&'c str>,
    method: Option<&'c str>,
    route: Option<&'c str>,
}

#[derive(Serialize)]
struct RowOf<'c> {
    #[serde(flatten)]
    subject: SubjectOf<'c>,
    presence: &'static str,
    errors: [u64; 2],
    incomplete: [u64; 2],
    new_statuses: Vec<StatusOf>,
    vanished_statuses: Vec<StatusOf>,
    figures: Vec<FigureOf>,
}

#[derive(Serialize)]
struct StatusOf {
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc_status: Option<u32>,
}

#[derive(Serialize)]
struct FigureOf {
    figure: &'static str,
    #[serde(flatten)]
    values: ValuesOf,
    significant: Option<bool>,
}

/// A figure in both runs.
#[derive(Default, Serialize)]
struct ValuesOf {
    base: Option<f64>,
    new: Option<f64>,
    absolute: Option<f64>,
    relative: Option<f64>,
    p: Option<f64>,
    p_adjusted: Option<f64>,
}

#[derive(Serialize)]
struct ConditionOf<'c> {
    condition: String,
    verdict: &'static str,
    rows: Vec<FindingOf<'c>>,
}

#[derive(Serialize)]
struct FindingOf<'c> {
    #[serde(flatten)]
    subject: SubjectOf<'c>,
    verdict: &'static str,
    #[serde(flatten)]
    values: ValuesOf,
    statuses: Vec<StatusOf>,
}

impl<'c> From<&'c Subject> for SubjectOf<'c> {
    fn from(subject: &'c Subject) -> Self {
        let of = |scope, texts: [Option<&'c str>; 3]| {
            let [service, method, route] = texts;
            Self { direction: direction(subject.kind), scope, service, method, route }
        };
        match &subject.scope {
            Scope::Total => of("total", [None; 3]),
            Scope::Others => of("others", [None; 3]),
            Scope::Route { service, method, route } => {
                of("route", [service, method, route].map(Option::as_deref))
            }
        }
    }
}

impl From<Status> for StatusOf {
    fn from(Status { http: status, rpc: rpc_status }: Status) -> Self {
        Self { status, rpc_status }
    }
}

impl From<&Change> for ValuesOf {
    fn from(change: &Change) -> Self {
        let Change { base, new, p, p_adjusted, .. } = *change;
        Self { base, new, absolute: change.absolute(), relative: change.relative(), p, p_adjusted }
    }
}

impl<'c> From<&'c Side> for SideOf<'c> {
    fn from(side: &'c Side) -> Self {
        Self {
            files: side.files.iter().map(|file| file.file.as_str()).collect(),
            requests: side.requests,
            seconds: side.seconds,
            blocks: side.blocks,
            block_seconds: side.block_seconds,
            lost: side.files.iter().map(Summary::lost).sum(),
        }
    }
}

fn row(row: &Row, alpha: f64) -> RowOf<'_> {
    let statuses =
        |statuses: &[(Status, bool)]| statuses.iter().map(|(status, _)| (*status).into()).collect();
    RowOf {
        subject: (&row.subject).into(),
        presence: match row.presence {
            Presence::Both => "both",
            Presence::New => "new",
            Presence::Vanished => "vanished",
            Presence::Unknown => "unknown",
        },
        errors: row.errors,
        incomplete: row.incomplete,
        new_statuses: statuses(&row.new_statuses),
        vanished_statuses: statuses(&row.vanished_statuses),
        figures: row
            .changes
            .iter()
            .map(|change| FigureOf {
                figure: change.figure.name(),
                values: change.into(),
                significant: change.p.map(|_| change.is_significant(alpha)),
            })
            .collect(),
    }
}

/// The comparison as JSON, ended by a newline: all rows, inbound before outbound.
pub fn render(comparison: &Comparison) -> String {
    let of = |kind| comparison.rows.iter().filter(move |row| row.subject.kind == kind);
    let rows = of(Kind::Server).chain(of(Kind::Client));
    let document = Document {
        schema: SCHEMA,
        failed: comparison.failed(),
        complete: comparison.files().iter().all(Summary::complete),
        warnings: show::warnings(comparison),
        alpha: comparison.options.alpha,
        min_requests: comparison.options.min_requests,
        significance: !comparison.options.raw,
        base: (&comparison.base).into(),
        new: (&comparison.new).into(),
        rows: rows.map(|each| row(each, comparison.options.alpha)).collect(),
        conditions: comparison
            .judgements
            .iter()
            .map(|judgement| ConditionOf {
                condition: judgement.condition.to_string(),
                verdict: judgement.outcome().name(),
                rows: judgement
                    .findings
                    .iter()
                    .map(|found| FindingOf {
                        subject: (&found.subject).into(),
                        verdict: found.outcome.name(),
                        values: found.change.as_ref().map(ValuesOf::from).unwrap_or_default(),
                        statuses: found.statuses.iter().map(|status| (*status).into()).collect(),
                    })
                    .collect(),
            })
            .collect(),
    };
    // Only maps with keys that are no text, and types that refuse, can fail to serialise; there are none here.
    let mut json = serde_json::to_string_pretty(&document).unwrap_or_default();
    json.push('\n');
    json
}
