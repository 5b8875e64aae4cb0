//! Files of checks: YAML, or SQL of which every query is an assertion.

use std::{fs, path::Path, time::Duration};

use beyla_engine::route::config::Fault;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Assertion, Bound, Checks, Limit};
use crate::{Error, diff::Figure, sql::rows};

/// The file as it is written. A key that nobody knows is an error: it could be a check that is never made.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    complete: bool,
    #[serde(default)]
    checks: Vec<Written>,
    #[serde(default)]
    limits: Vec<WrittenLimit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    assert: Spanned<String>,
    message: Option<String>,
    show: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLimit {
    service: Option<String>,
    method: Option<String>,
    route: Option<String>,
    #[serde(default)]
    min_requests: u64,
    avg: Option<Spanned<String>>,
    p50: Option<Spanned<String>>,
    p90: Option<Spanned<String>>,
    p95: Option<Spanned<String>>,
    p99: Option<Spanned<String>>,
    max: Option<Spanned<String>>,
    error_rate: Option<Spanned<String>>,
}

/// Reads a file of checks: SQL when its name ends so, else YAML.
pub fn read(path: &Path) -> Result<Checks, Error> {
    let file = path.display().to_string();
    let fault = |line: u64, reason: String| {
        let place = if line == 0 { file.clone() } else { format!("{file}:{line}") };
        Error::Config { place, reason }
    };
    let text = fs::read_to_string(path).map_err(|error| fault(0, error.to_string()))?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql")) {
        let queries = rows::queries(&text).map_err(|error| fault(0, error.to_string()))?;
        let assertions = queries.into_iter().map(|query| Assertion {
            name: query.to_string(),
            assert: query,
            message: None,
            show: None,
        });
        return Ok(Checks { assertions: assertions.collect(), ..Checks::default() });
    }
    parse(&text).map_err(|Fault { line, reason }| fault(line, reason))
}

fn parse(text: &str) -> Result<Checks, Fault> {
    let document: Option<Document> = serde_saphyr::from_str(text)?;
    let Document { complete, checks, limits } = document.unwrap_or_default();
    let assertions = checks.into_iter().map(|Written { name, assert, message, show }| {
        let named = |name: String| Assertion::named(name, &assert.value, message, show.as_deref());
        let made = match name {
            Some(name) => named(name),
            None => named(assert.value.split_whitespace().collect::<Vec<_>>().join(" ")),
        };
        made.map_err(|error| Fault::of(&assert, error.to_string()))
    });
    let assertions = assertions.collect::<Result<_, _>>()?;
    let limits = limits.into_iter().map(WrittenLimit::limit).collect::<Result<_, _>>()?;
    Ok(Checks { complete, assertions, limits })
}

impl WrittenLimit {
    fn limit(self) -> Result<Limit, Fault> {
        let Self { service, method, route, min_requests, avg, p50, p90, p95, p99, max, error_rate } = self;
        let durations = [
            (Figure::Avg, avg),
            (Figure::Percentile(50), p50),
            (Figure::Percentile(90), p90),
            (Figure::Percentile(95), p95),
            (Figure::Percentile(99), p99),
            (Figure::Max, max),
        ];
        let mut bounds = Vec::new();
        for (figure, text) in durations {
            let Some(text) = text else { continue };
            let most: Duration = humantime::parse_duration(&text.value).map_err(|error| {
                Fault::of(&text, format!("{}: {:?}: {error}, wanted is 50ms", figure.name(), text.value))
            })?;
            bounds.push(Bound { figure, most: most.as_secs_f64() * 1e3 });
        }
        if let Some(text) = error_rate {
            let share =
                text.value.trim().strip_suffix('%').and_then(|share| share.trim().parse::<f64>().ok());
            let Some(share) = share.filter(|share| (0.0..=100.0).contains(share)) else {
                let reason = format!("error_rate: {:?} is no share, wanted is 0.5%", text.value);
                return Err(Fault::of(&text, reason));
            };
            bounds.push(Bound { figure: Figure::ErrorRate, most: share / 100.0 });
        }
        Ok(Limit { service, method, route, min_requests, bounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_and_limits_are_read() {
        let text = "
complete: true
checks:
  - name: nothing failed
    assert: select count(*) = 0 from requests where error
    message: the service failed
    show: select path from requests where error
  - assert: select   true
limits:
  - route: /pay
    p99: 50ms
    error_rate: 0.5%
    min_requests: 10
";
        let checks = parse(text).ok().unwrap();
        assert!(checks.complete);
        let names: Vec<_> = checks.assertions.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names, ["nothing failed", "select true"]);
        let bounds = vec![
            Bound { figure: Figure::Percentile(99), most: 50.0 },
            Bound { figure: Figure::ErrorRate, most: 0.005 },
        ];
        let limit = Limit { route: Some("/pay".into()), min_requests: 10, bounds, ..Limit::default() };
        assert_eq!(checks.limits, [limit]);
        assert!(parse("").ok().unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, reason) in [
            ("checks:\n  - asert: select true\n", 2, "asert"),
            ("checks:\n  - name: x\n    assert: selec true\n", 3, "check \"x\""),
            ("checks:\n  - assert: select true; select true\n", 2, "one query is wanted, there are 2"),
            ("checks:\n  - assert: drop table requests\n", 2, "is no query"),
            ("limits:\n  - p99: fast\n", 2, "p99: \"fast\""),
            ("limits:\n  - error_rate: 2\n", 2, "error_rate: \"2\" is no share"),
        ] {
            let fault = parse(text).err().unwrap();
            assert!(fault.line == line && fault.reason.contains(reason), "{text}: {fault:?}");
        }
    }
}
