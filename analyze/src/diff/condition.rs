//! What a comparison is to fail for, as it is written on the command line.

use std::{fmt, str::FromStr};

use super::{
    figure::Figure,
    group::{Scope, Subject},
};

/// How conditions are written, for those who wrote one otherwise.
pub(super) const GRAMMAR: &str = "\
a condition is [SCOPE: ]FIGURE>+CHANGE[!] or [SCOPE: ]FIGURE<-CHANGE[!], or one of new_errors, new_routes, vanished_routes; \
FIGURE is requests, rate, error_rate, avg, p50, p90, p95, p99 or max; CHANGE is 10%, for error_rate also 0.5pp, for durations \
also 5ms, for requests and rate also a number; SCOPE is route=/pay, service=shop or total, each route is looked at \
without it; ! leaves out the test of significance. Examples: 'p99>+10%', 'error_rate>+0.5pp', 'route=/pay: p95>+5ms'";

/// Something that makes a comparison fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    scope: Selector,
    pub(super) what: What,
    /// It counts whether or not the difference is significant.
    pub(super) forced: bool,
}

/// Which rows it looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    Routes,
    Route(String),
    Service(String),
    Total,
}

/// What it looks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    /// A figure that changes by more than a threshold, which is negative for one that falls.
    Change(Figure, Threshold),
    /// A status that is an error and was not there.
    NewErrors,
    NewRoutes,
    VanishedRoutes,
}

/// How much a figure may change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Threshold {
    /// Of its value in the base.
    Relative(f64),
    /// In its own unit: milliseconds, share, requests, requests per second.
    Absolute(f64),
}

/// A text that is no [`Condition`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {GRAMMAR}")]
pub struct ConditionError {
    reason: String,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let wrong = |reason: String| ConditionError { reason };
        let text = text.trim();
        // A route may have a colon, a condition has none.
        let (scope, condition) = match text.rsplit_once(": ") {
            Some((scope, condition)) => (selector(scope.trim()).map_err(wrong)?, condition.trim()),
            None => (Selector::Routes, text),
        };
        let (condition, forced) = match condition.strip_suffix('!') {
            Some(condition) => (condition.trim_end(), true),
            None => (condition, false),
        };
        let what = match condition {
            "new_errors" => What::NewErrors,
            "new_routes" => What::NewRoutes,
            "vanished_routes" => What::VanishedRoutes,
            _ => change(condition).map_err(wrong)?,
        };
        if scope == Selector::Total && !matches!(what, What::Change(..)) {
            return Err(wrong(format!("{condition} is about routes, not about their total")));
        }
        Ok(Self { text: text.to_owned(), scope, what, forced })
    }
}

fn selector(text: &str) -> Result<Selector, String> {
    match text.split_once('=') {
        None if text == "total" => Ok(Selector::Total),
        Some(("route", route)) => Ok(Selector::Route(route.to_owned())),
        Some(("service", service)) => Ok(Selector::Service(service.to_owned())),
        _ => Err(format!("{text:?} is no scope")),
    }
}

fn change(text: &str) -> Result<What, String> {
    let at = text.find(['>', '<']).ok_or_else(|| format!("{text:?} compares nothing"))?;
    let (name, comparison) = text.split_at(at);
    let figure = Figure::named(name.trim()).ok_or_else(|| format!("{:?} is no figure", name.trim()))?;
    let (sign, change) = match (comparison.strip_prefix(">"), comparison.strip_prefix("<")) {
        (Some(rest), _) => (1.0, rest.trim_start().strip_prefix('+')),
        (_, Some(rest)) => (-1.0, rest.trim_start().strip_prefix('-')),
        _ => (1.0, None),
    };
    let Some(change) = change else {
        return Err(format!(
            "{comparison:?} is no change: it goes >+ or <-, limits of one run are for `check`"
        ));
    };
    let change = change.trim();
    let unit_at = change.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(change.len());
    let (number, unit) = change.split_at(unit_at);
    let number: f64 = number.parse().map_err(|_| format!("{change:?} begins with no number"))?;
    let number = sign * number;
    let threshold = match (unit.trim(), figure) {
        ("%", _) => Threshold::Relative(number / 100.0),
        ("pp", Figure::ErrorRate) => Threshold::Absolute(number / 100.0),
        ("us" | "µs", figure) if figure.is_duration() => Threshold::Absolute(number / 1e3),
        ("ms", figure) if figure.is_duration() => Threshold::Absolute(number),
        ("s", figure) if figure.is_duration() => Threshold::Absolute(number * 1e3),
        ("", Figure::Requests | Figure::Rate) => Threshold::Absolute(number),
        (unit, _) => return Err(format!("{unit:?} is no unit of {}", figure.name())),
    };
    Ok(What::Change(figure, threshold))
}

impl Condition {
    /// Whether it looks at these requests.
    pub(super) fn covers(&self, subject: &Subject) -> bool {
        let (service, route) = match &subject.scope {
            Scope::Total => return self.scope == Selector::Total,
            Scope::Others => (None, None),
            Scope::Route { service, route, .. } => (service.as_deref(), route.as_deref()),
        };
        match &self.scope {
            Selector::Routes => true,
            Selector::Route(wanted) => route == Some(wanted),
            Selector::Service(wanted) => service == Some(wanted),
            Selector::Total => false,
        }
    }
}

impl Threshold {
    /// Whether a figure changed by more.
    pub(super) fn exceeded(self, base: f64, new: f64) -> bool {
        let (change, limit) = match self {
            Self::Relative(share) => (new - base, share * base),
            Self::Absolute(limit) => (new - base, limit),
        };
        if self.rises() { change > limit } else { change < limit }
    }

    fn rises(self) -> bool {
        let (Self::Relative(limit) | Self::Absolute(limit)) = self;
        limit.is_sign_positive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Condition {
        text.parse().unwrap()
    }

    #[test]
    fn figures_change_by_shares_or_in_their_unit() {
        let what = |text| parsed(text).what;
        assert_eq!(what("p99>+10%"), What::Change(Figure::Percentile(99), Threshold::Relative(0.1)));
        assert_eq!(what("error_rate>+0.5pp"), What::Change(Figure::ErrorRate, Threshold::Absolute(0.005)));
        assert_eq!(what("rate < -5%"), What::Change(Figure::Rate, Threshold::Relative(-0.05)));
        assert_eq!(what("max>+1.5s"), What::Change(Figure::Max, Threshold::Absolute(1500.0)));
        assert_eq!(what("requests<-100"), What::Change(Figure::Requests, Threshold::Absolute(-100.0)));
        assert_eq!((what("new_errors"), what("vanished_routes!")), (What::NewErrors, What::VanishedRoutes));
        assert!(parsed("avg>+5ms!").forced && !parsed("avg>+5ms").forced);
    }

    #[test]
    fn a_scope_is_a_route_a_service_or_the_total() {
        let route = |route: &str| Subject {
            kind: beyla_schema::request::Kind::Server,
            scope: Scope::Route {
                service: Some("shop".into()),
                method: Some("GET".into()),
                route: Some(route.into()),
            },
        };
        let total = Subject { scope: Scope::Total, ..route("/") };
        let one = parsed("route=/a: b/:id: p50>+1%");
        assert!(one.covers(&route("/a: b/:id")) && !one.covers(&route("/a")) && !one.covers(&total));
        let service = parsed("service=shop: new_errors");
        assert!(service.covers(&route("/a")) && !service.covers(&total));
        let all = parsed("total: rate<-5%");
        assert!(all.covers(&total) && !all.covers(&route("/a")));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_grammar() {
        for (text, reason) in [
            ("", "compares nothing"),
            ("p99", "compares nothing"),
            ("p98>+1%", "\"p98\" is no figure"),
            ("p99>10%", "\">10%\" is no change"),
            ("p99<+10%", "is no change"),
            ("p99>+fast", "begins with no number"),
            ("p99>+1pp", "\"pp\" is no unit of p99"),
            ("rate>+5ms", "\"ms\" is no unit of rate"),
            ("path=/a: p99>+1%", "\"path=/a\" is no scope"),
            ("total: new_errors", "is about routes"),
        ] {
            let error = text.parse::<Condition>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("Examples: 'p99>+10%'"), "{text}: {error}");
        }
    }

    #[test]
    fn thresholds_are_exceeded_not_met() {
        let relative = Threshold::Relative(0.1);
        assert!(relative.exceeded(100.0, 110.1) && !relative.exceeded(100.0, 109.9));
        assert!(relative.exceeded(0.0, 0.1) && !relative.exceeded(0.0, 0.0));
        let falls = Threshold::Relative(-0.05);
        assert!(falls.exceeded(100.0, 94.0) && !falls.exceeded(100.0, 96.0) && !falls.exceeded(0.0, 1.0));
        assert!(Threshold::Absolute(5.0).exceeded(1.0, 6.5) && !Threshold::Absolute(5.0).exceeded(1.0, 5.5));
    }
}
