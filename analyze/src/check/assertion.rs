//! Whether a query is true: every value of every row is, and there is a row.

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, cast::AsArray},
    compute::filter_record_batch,
    datatypes::{DataType, SchemaRef},
};
use datafusion::{error::DataFusionError, sql::sqlparser::ast::Query};

use super::{Assertion, operands};
use crate::{
    Error,
    sql::{Session, rows},
    units::{count, counted},
    verdict::{Case, Verdict},
};

/// Rows that are shown of what failed.
const SHOWN: usize = 20;

pub(super) fn check(session: &Session, assertion: &Assertion) -> Result<Case, Error> {
    let (mut rows, mut bad_rows, mut first) = (0, 0, None);
    let schema = session.query(&assertion.assert, only_booleans, |batch| {
        for row in 0..batch.num_rows() {
            let bad = batch.columns().iter().position(|column| !is_true(column, row));
            if let Some(column) = bad {
                bad_rows += 1;
                first.get_or_insert((rows, column, !is_false(batch.column(column), row)));
            }
            rows += 1;
        }
        true
    })?;
    let reason = match first {
        None if rows == 0 => "the query has no row that could be true".to_owned(),
        None => {
            return Ok(Case {
                name: assertion.name.clone(),
                verdict: Verdict::Passed(String::new()),
                details: Vec::new(),
            });
        }
        // The name says all of a single value.
        Some((_, column, null)) => {
            let what = if null { "null" } else { "false" };
            if rows == 1 && schema.fields().len() == 1 {
                format!("it is {what}")
            } else {
                let written = operands::names(&assertion.assert).into_iter().nth(column);
                let column = written.or_else(|| Some(schema.fields().get(column)?.name().clone()));
                let column = column.unwrap_or_default();
                format!(
                    "{} of {} not true; the first: {column} is {what}",
                    count(bad_rows),
                    counted(rows, "row")
                )
            }
        }
    };
    let reason = match &assertion.message {
        Some(message) => format!("{message} ({reason})"),
        None => reason,
    };
    let details = match &assertion.show {
        Some(query) => shown(session, query, |_| None)?,
        // What is made up here is a help; where it cannot be had, the verdict stands without.
        None => operands::of(&assertion.assert)
            .and_then(|(query, added)| shown(session, &query, |batch| Some(not_true(batch, added))).ok())
            .unwrap_or_default(),
    };
    Ok(Case { name: assertion.name.clone(), verdict: Verdict::Failed(reason), details })
}

/// Null is neither true nor false, but may come of a query of booleans.
fn only_booleans(schema: &SchemaRef) -> Result<(), Error> {
    let other = |field: &&std::sync::Arc<arrow::datatypes::Field>| {
        !matches!(field.data_type(), DataType::Boolean | DataType::Null)
    };
    match schema.fields().iter().find(other) {
        None => Ok(()),
        Some(field) => {
            let reason = format!(
                "every column has to be true or false, but {} is of type {}: compare it with something",
                field.name(),
                field.data_type()
            );
            Err(DataFusionError::Plan(reason).into())
        }
    }
}

fn is_true(column: &ArrayRef, row: usize) -> bool {
    column.as_boolean_opt().is_some_and(|values| values.is_valid(row) && values.value(row))
}

fn is_false(column: &ArrayRef, row: usize) -> bool {
    column.as_boolean_opt().is_some_and(|values| values.is_valid(row) && !values.value(row))
}

/// Which rows have something else than true after the first `added` columns.
fn not_true(batch: &RecordBatch, added: usize) -> BooleanArray {
    let columns = || batch.columns().iter().skip(added);
    (0..batch.num_rows()).map(|row| Some(!columns().all(|column| is_true(column, row)))).collect()
}

/// The first rows of a query that are wanted, as a table.
fn shown(
    session: &Session,
    query: &Query,
    wanted: impl Fn(&RecordBatch) -> Option<BooleanArray>,
) -> Result<Vec<String>, Error> {
    let (mut batches, mut left, mut more, mut result) = (Vec::new(), SHOWN, false, Ok(()));
    let schema = session.query(
        query,
        |_| Ok(()),
        |batch| {
            let filtered = match wanted(batch).map(|wanted| filter_record_batch(batch, &wanted)) {
                None => batch.clone(),
                Some(Ok(batch)) => batch,
                Some(Err(error)) => {
                    result = Err(DataFusionError::from(error));
                    return false;
                }
            };
            more |= filtered.num_rows() > left;
            let taken = filtered.slice(0, filtered.num_rows().min(left));
            left -= taken.num_rows();
            batches.push(taken);
            !more
        },
    )?;
    result?;
    let mut lines = rows::table(schema, &batches)?;
    if more {
        lines.push(format!("… the first {SHOWN} rows"));
    }
    Ok(lines)
}
