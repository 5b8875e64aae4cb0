//! Checks of captures: assertions in SQL, limits of figures, completeness. The verdicts go to [`verdict`](crate::verdict).
//!
//! An assertion is a query whose every value is true (`assertion.rs`). Checks come from the command line or from a file
//! ([`mod@file`]).

mod assertion;
pub mod file;
mod limit;
mod operands;

use datafusion::sql::sqlparser::ast::Query;

pub use self::limit::{Bound, Limit};

use crate::{
    Error,
    replay::{Input, Summary},
    sql::{Format, Session, Show, rows},
    table::printable,
    verdict::{Case, Verdict},
};

/// What is checked.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// Nothing was lost, and every capture ended cleanly.
    pub complete: bool,
    /// Assertions in SQL.
    pub assertions: Vec<Assertion>,
    /// Limits of figures.
    pub limits: Vec<Limit>,
}

/// A query that has to be true.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// What it is called.
    pub name: String,
    assert: Query,
    /// What it means when it is not true.
    message: Option<String>,
    /// What is shown then.
    show: Option<Query>,
}

impl Assertion {
    /// An assertion that is called as it is written.
    pub fn new(sql: &str) -> Result<Self, Error> {
        Self::named(sql.split_whitespace().collect::<Vec<_>>().join(" "), sql, None, None)
    }

    /// An assertion with a name, what it means when it is not true, and a query of what is shown then.
    pub fn named(
        name: String,
        sql: &str,
        message: Option<String>,
        show: Option<&str>,
    ) -> Result<Self, Error> {
        let show = show.map(|sql| single(&name, sql)).transpose()?;
        Ok(Self { assert: single(&name, sql)?, name, message, show })
    }
}

fn single(name: &str, sql: &str) -> Result<Query, Error> {
    let queries = rows::queries(sql).map_err(|error| wrong(name, &error.to_string()))?;
    let count = queries.len();
    match <[Query; 1]>::try_from(queries) {
        Ok([query]) => Ok(query),
        Err(_) => Err(wrong(name, &format!("one query is wanted, there are {count}"))),
    }
}

/// A check that means nothing.
fn wrong(name: &str, reason: &str) -> Error {
    Error::Config { place: format!("check {:?}", printable(name)), reason: reason.to_owned() }
}

impl Checks {
    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        !self.complete && self.assertions.is_empty() && self.limits.is_empty()
    }

    /// Runs all checks; completeness first, then assertions and limits in their order. A check that cannot be run is an error,
    /// not a failure.
    pub fn run(&self, input: &Input) -> Result<(Vec<Case>, Vec<Summary>), Error> {
        let show = Show { format: Format::Table, colour: false, progress: true, expanded: false };
        let session = Session::new(input.clone(), show)?;
        let mut cases = Vec::new();
        for assertion in &self.assertions {
            cases.push(assertion::check(&session, assertion).map_err(|error| match error {
                Error::Sql(_) => wrong(&assertion.name, &error.to_string()),
                other => other,
            })?);
        }
        let (limits, measured) = limit::check(&self.limits, input)?;
        cases.extend(limits);
        let summaries = match measured {
            Some(summaries) => summaries,
            None => session.summaries()?,
        };
        if self.complete {
            cases.splice(0..0, summaries.iter().map(complete));
        }
        Ok((cases, summaries))
    }
}

fn complete(summary: &Summary) -> Case {
    let verdict = match summary.warning() {
        None => Verdict::Passed("nothing was lost, ended cleanly".to_owned()),
        Some(warning) => {
            let prefix = format!("{}: ", summary.file);
            Verdict::Failed(warning.strip_prefix(&prefix).unwrap_or(&warning).to_owned())
        }
    };
    Case { name: format!("complete {}", summary.file), verdict, details: Vec::new() }
}
