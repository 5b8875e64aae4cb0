//! Limits of the figures of routes, as a file of checks gives them.

use crate::{
    Error,
    diff::{Figure, Measured, Scope, Subject, measure, named, valued},
    replay::{Input, Summary},
    units::counted,
    verdict::{Case, Verdict},
};

/// What the figures of some routes may be at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limit {
    /// Only this service.
    pub service: Option<String>,
    /// Only this method.
    pub method: Option<String>,
    /// Only this route; each route without it.
    pub route: Option<String>,
    /// So many requests at least, together.
    pub min_requests: u64,
    /// What is limited.
    pub bounds: Vec<Bound>,
}

/// A figure and its highest value, in its unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Which.
    pub figure: Figure,
    /// As in a report: milliseconds, share.
    pub most: f64,
}

/// Checks limits in one replay, for which there is none without limits.
pub(super) fn check(limits: &[Limit], input: &Input) -> Result<(Vec<Case>, Option<Vec<Summary>>), Error> {
    if limits.is_empty() {
        return Ok((Vec::new(), None));
    }
    let measured = measure(input)?;
    let cases = limits.iter().flat_map(|limit| cases(limit, &measured)).collect();
    Ok((cases, Some(measured.files)))
}

fn cases(limit: &Limit, measured: &Measured) -> Vec<Case> {
    let rows: Vec<_> = measured.rows.iter().filter(|(subject, _)| limit.covers(subject)).collect();
    let requests: u64 = rows.iter().map(|(_, values)| values.requests()).sum();
    let mut cases = Vec::new();
    let least = limit.min_requests.max(1);
    if requests < least || limit.min_requests > 0 {
        let says = counted(requests, "request");
        let verdict = if requests < least { Verdict::Failed(says) } else { Verdict::Passed(says) };
        cases.push(Case {
            name: format!("{}: requests >= {least}", limit.name()),
            verdict,
            details: Vec::new(),
        });
    }
    for (subject, values) in rows {
        for Bound { figure, most } in &limit.bounds {
            let name = format!("{}: {} <= {}", named(subject), figure.name(), valued(*figure, Some(*most)));
            let says = valued(*figure, values.of(*figure));
            let verdict = match values.of(*figure) {
                Some(value) if value > *most => Verdict::Failed(says),
                Some(_) => Verdict::Passed(says),
                None => Verdict::Failed("not known: no request has a duration".to_owned()),
            };
            cases.push(Case { name, verdict, details: Vec::new() });
        }
    }
    cases
}

impl Limit {
    fn covers(&self, subject: &Subject) -> bool {
        let (service, method, route) = match &subject.scope {
            Scope::Total => return false,
            Scope::Others => (None, None, None),
            Scope::Route { service, method, route } => (service.as_ref(), method.as_ref(), route.as_ref()),
        };
        let fits = |wanted: &Option<String>, have| wanted.is_none() || wanted.as_ref() == have;
        fits(&self.service, service) && fits(&self.method, method) && fits(&self.route, route)
    }

    /// What it is about.
    fn name(&self) -> String {
        let parts = [&self.service, &self.method, &self.route];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        if parts.is_empty() { "all routes".to_owned() } else { parts.join(" ") }
    }
}
