//! Functions of SQL for what people ask about requests, beside those of DataFusion.

mod body_text;
mod histogram;
mod quantile;
mod route;
mod time_bucket;

use beyla_engine::route::Rules;
use datafusion::{
    execution::context::SessionContext,
    logical_expr::{AggregateUDF, ScalarUDF},
};

/// A function of ours, for people.
pub(super) struct Described {
    /// Its name.
    pub(super) name: &'static str,
    /// How it is called.
    pub(super) call: &'static str,
    /// What it gives.
    pub(super) gives: &'static str,
}

/// All of them, in the order in which they are listed.
pub(super) const FUNCTIONS: &[Described] = &[
    Described {
        name: "quantile",
        call: "quantile(x, q)",
        gives: "the smallest x that a share q of all do not exceed: nearest rank, exact",
    },
    Described { name: "p50", call: "p50(x)", gives: "quantile(x, 0.50)" },
    Described { name: "p90", call: "p90(x)", gives: "quantile(x, 0.90)" },
    Described { name: "p95", call: "p95(x)", gives: "quantile(x, 0.95)" },
    Described { name: "p99", call: "p99(x)", gives: "quantile(x, 0.99)" },
    Described {
        name: "time_bucket",
        call: "time_bucket(width, time)",
        gives: "the beginning of the span of this width, such as '10s', that time is in",
    },
    Described {
        name: "route",
        call: "route(path [, unmatched])",
        gives: "the route of a path: by the rules of the command line, or heuristic, path, wildcard, unset",
    },
    Described {
        name: "body_text",
        call: "body_text(bytes [, n])",
        gives: "bytes as text, of the first n; what is no text is escaped",
    },
];

/// Makes them known to `context`. Routes are found by `rules`.
pub(super) fn register(context: &SessionContext, rules: &Rules) {
    context.register_udf(ScalarUDF::from(route::Route::new(rules.clone())));
    context.register_udf(ScalarUDF::from(time_bucket::TimeBucket::new()));
    context.register_udf(ScalarUDF::from(body_text::BodyText::new()));
    context.register_udaf(AggregateUDF::from(quantile::Quantile::any()));
    for (name, percent) in [("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)] {
        context.register_udaf(AggregateUDF::from(quantile::Quantile::percent(name, percent)));
    }
}
