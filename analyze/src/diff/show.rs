//! Words for what was compared, shared by all forms of the comparison.

use std::fmt::Write as _;

use beyla_schema::request::Kind;

use super::{
    Change, Comparison, Figure, Finding, Judgement, Outcome, Presence, Row, Scope, Side, Status, Subject,
    condition::What,
};
use crate::{
    replay::Summary,
    table::printable,
    units::{count, counted, duration, percent, three_digits},
    verdict::{Case, Verdict},
};

/// `inbound` or `outbound`.
pub(super) fn direction(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => "inbound",
        Kind::Client => "outbound",
    }
}

/// What a row is about, without its direction; the service where it tells rows apart.
pub(super) fn label(subject: &Subject, with_service: bool) -> String {
    match &subject.scope {
        Scope::Total => "all requests".to_owned(),
        Scope::Others => "further routes".to_owned(),
        Scope::Route { service, method, route } => {
            let text = |text: &Option<String>| text.as_deref().unwrap_or("-").to_owned();
            let name = format!("{} {}", text(method), text(route));
            printable(&if with_service { format!("{} {name}", text(service)) } else { name })
        }
    }
}

/// What a row is about, with its direction and service.
pub(crate) fn named(subject: &Subject) -> String {
    format!("{} {}", direction(subject.kind), label(subject, true))
}

/// A value in its unit; `-` when it is not known.
pub(crate) fn value(figure: Figure, value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    match figure {
        Figure::Requests => count(value as u64),
        Figure::Rate => three_digits(value),
        Figure::ErrorRate if value == 0.0 => "0".to_owned(),
        Figure::ErrorRate => percent(value),
        Figure::Avg | Figure::Percentile(_) | Figure::Max => duration(value),
    }
}

/// A difference as a share, of shares in percentage points.
pub(super) fn difference(change: &Change) -> String {
    match (change.figure, change.absolute(), change.relative()) {
        (_, None, _) => "-".to_owned(),
        (_, Some(0.0), _) => "=".to_owned(),
        (Figure::ErrorRate, Some(change), _) => format!("{:+.2}pp", change * 100.0),
        (_, _, Some(change)) => format!("{:+.1}%", change * 100.0),
        (_, _, None) => "from 0".to_owned(),
    }
}

/// A difference in the unit of the figure, with its sign.
fn absolute(change: &Change) -> Option<String> {
    let absolute = change.absolute()?;
    let sign = if absolute < 0.0 { '-' } else { '+' };
    Some(match change.figure {
        Figure::ErrorRate => format!("{:+.2}pp", absolute * 100.0),
        figure => format!("{sign}{}", value(figure, Some(absolute.abs()))),
    })
}

/// `p 0.0034`.
pub(super) fn probability(p: f64) -> String {
    if p < 0.0001 { "p <0.0001".to_owned() } else { format!("p {p:.4}") }
}

pub(super) fn status(status: Status) -> String {
    match status {
        Status { rpc: Some(rpc), .. } => format!("grpc {rpc}"),
        Status { http: Some(http), .. } => http.to_string(),
        Status { http: None, rpc: None } => "no response".to_owned(),
    }
}

/// Whether rows of several services are told apart.
pub(super) fn several_services(comparison: &Comparison) -> bool {
    let mut services = comparison.rows.iter().filter_map(|row| match &row.subject.scope {
        Scope::Route { service, .. } => Some(service),
        Scope::Total | Scope::Others => None,
    });
    let first = services.next();
    services.any(|service| Some(service) != first)
}

/// What stands between the files and completeness, each with its side.
pub(super) fn warnings(comparison: &Comparison) -> Vec<String> {
    let of = |name: &str, side: &Side| -> Vec<String> {
        let warnings = side.files.iter().filter_map(Summary::warning);
        warnings.map(|warning| format!("{name}: {}", printable(&warning))).collect()
    };
    let mut warnings = of("base", &comparison.base);
    warnings.extend(of("new", &comparison.new));
    if !warnings.is_empty() {
        warnings.push("counts and rates of incomplete captures are lower bounds".to_owned());
    }
    warnings
}

/// What a finding says: figure, values, difference, and how sure it is.
pub(super) fn finding(judgement: &Judgement, finding: &Finding) -> String {
    let requests = |count| counted(count, "request");
    let Some(change) = &finding.change else {
        let [base, new] = finding.requests;
        return match judgement.condition.what {
            What::NewErrors if finding.statuses.is_empty() => "no new errors".to_owned(),
            What::NewErrors => {
                let statuses: Vec<_> = finding.statuses.iter().map(|seen| status(*seen)).collect();
                format!("new errors: {}", statuses.join(", "))
            }
            _ if base == 0 => format!("new, {}", requests(new)),
            _ if new == 0 => format!("vanished, {} before", requests(base)),
            _ => "in both runs".to_owned(),
        };
    };
    let figure = change.figure;
    let mut text =
        format!("{} {} -> {}", figure.name(), value(figure, change.base), value(figure, change.new));
    let differences = [absolute(change), Some(difference(change)).filter(|_| figure != Figure::ErrorRate)];
    let differences: Vec<_> = differences.into_iter().flatten().collect();
    let _ = write!(text, " ({})", differences.join(", "));
    match (change.p_adjusted, figure.is_testable()) {
        (Some(p), _) => text.extend([", ", &probability(p)]),
        (None, true) => text.push_str(", too few to tell"),
        (None, false) => {}
    }
    text
}

/// The conditions as cases of a test, one for each row that they look at.
pub(super) fn cases(comparison: &Comparison) -> Vec<Case> {
    let mut cases = Vec::new();
    for judgement in &comparison.judgements {
        let condition = printable(&judgement.condition.to_string());
        for found in &judgement.findings {
            let name = format!("{condition} {}", named(&found.subject));
            let says = finding(judgement, found);
            let verdict = match found.outcome {
                Outcome::Failed => Verdict::Failed(says),
                Outcome::Undecided => Verdict::Undecided(says),
                Outcome::Noise => Verdict::Passed(format!("{says}: within the fluctuation of the runs")),
                Outcome::Passed => Verdict::Passed(says),
            };
            cases.push(Case { name, verdict, details: Vec::new() });
        }
        if judgement.findings.is_empty() {
            let says = "no requests that it looks at".to_owned();
            cases.push(Case { name: condition, verdict: Verdict::Undecided(says), details: Vec::new() });
        }
    }
    cases
}

impl Comparison {
    /// The conditions as cases of a test, for the forms that continuous integration reads, and what stands between the
    /// files and completeness.
    pub fn cases(&self) -> (Vec<Case>, Vec<String>) {
        (cases(self), warnings(self))
    }
}

/// The last line: what came of all conditions.
pub(super) fn summary(comparison: &Comparison) -> String {
    let all = comparison.judgements.len() as u64;
    let failed = comparison.judgements.iter().filter(|judgement| judgement.failed()).count() as u64;
    match (all, failed) {
        (0, _) => "no conditions".to_owned(),
        (all, 0) => format!("passed: {}", counted(all, "condition")),
        (all, failed) => format!("failed: {} of {}", count(failed), counted(all, "condition")),
    }
}

/// Which rows are shown, and how many more there are: those that stand out first get a place.
pub(super) fn shown(comparison: &Comparison, kind: Kind, top: usize) -> (Vec<&Row>, usize) {
    let rows = || comparison.rows.iter().filter(move |row| row.subject.kind == kind);
    let total = rows().filter(|row| row.subject.scope == Scope::Total);
    let routes: Vec<_> = rows().filter(|row| row.subject.scope != Scope::Total).collect();
    let alpha = comparison.options.alpha;
    let failed = |row: &Row| {
        let findings = comparison.judgements.iter().flat_map(|judgement| &judgement.findings);
        findings.filter(|found| found.outcome == Outcome::Failed).any(|found| found.subject == row.subject)
    };
    let stands_out = |row: &Row| {
        row.presence != Presence::Both || row.changes.iter().any(|change| change.stands_out(alpha))
    };
    let mut order: Vec<usize> = (0..routes.len()).collect();
    let row = |at: usize| routes.get(at).copied();
    order.sort_by_key(|at| (!row(*at).is_some_and(failed), !row(*at).is_some_and(stands_out)));
    order.truncate(top);
    order.sort_unstable();
    let more = routes.len() - order.len();
    (total.chain(order.into_iter().filter_map(row)).collect(), more)
}

/// How blocks were cut, and what the marks mean.
pub(super) fn legend(comparison: &Comparison) -> Vec<String> {
    let routes = comparison.rows.iter().filter(|row| row.subject.scope != Scope::Total).count() as u64;
    let block =
        |side: &Side| format!("{} of {}", count(side.blocks as u64), duration(side.block_seconds * 1e3));
    vec![
        format!(
            "* differs by more than the runs fluctuate: p <= {} after Holm's adjustment for {}",
            comparison.options.alpha,
            counted(routes, "route"),
        ),
        format!(
            "? too few to tell: fewer than {} requests, {} blocks with requests, or 5 requests beyond the percentile",
            comparison.options.min_requests,
            super::permutation::MIN_BLOCKS,
        ),
        format!(
            "shuffled were blocks of time: base {}, new {}",
            block(&comparison.base),
            block(&comparison.new)
        ),
    ]
}
