//! Results of a single query for the program itself, instead of for somebody to read.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    error::DataFusionError,
    sql::{
        parser::{DFParser, Statement},
        sqlparser::ast::{Query, Statement as SqlStatement},
    },
};
use futures::StreamExt;

use super::{Format, Session, Show, guard, output};
use crate::Error;

/// The queries of a text, separated by semicolons. Other statements than queries are refused.
pub(crate) fn queries(sql: &str) -> Result<Vec<Query>, Error> {
    let refuse = |statement: &dyn std::fmt::Display| {
        let reason = format!("`{statement}` is no query: only SELECT can be true or false");
        Error::Sql(DataFusionError::Plan(reason))
    };
    DFParser::parse_sql(sql)?
        .into_iter()
        .map(|statement| match statement {
            Statement::Statement(inner) => match *inner {
                SqlStatement::Query(query) => Ok(*query),
                other => Err(refuse(&other)),
            },
            other => Err(refuse(&other)),
        })
        .collect()
}

impl Session {
    /// Runs a query. Its columns have to be accepted before it begins; its rows go to `each` until that returns false.
    pub(crate) fn query(
        &self,
        query: &Query,
        accept: impl FnOnce(&SchemaRef) -> Result<(), Error>,
        mut each: impl FnMut(&RecordBatch) -> bool,
    ) -> Result<SchemaRef, Error> {
        let statement = Statement::Statement(Box::new(SqlStatement::Query(Box::new(query.clone()))));
        guard(|| {
            self.runtime.block_on(async {
                let plan = self.context.state().statement_to_plan(statement).await?;
                let frame = self.context.execute_logical_plan(plan).await?;
                let schema = Arc::clone(frame.schema().inner());
                accept(&schema)?;
                let mut batches = frame.execute_stream().await?;
                while let Some(batch) = batches.next().await {
                    if !each(&batch?) {
                        break;
                    }
                }
                Ok(schema)
            })
        })
    }
}

/// Rows as lines of a table without colours.
pub(crate) fn table(schema: SchemaRef, batches: &[RecordBatch]) -> Result<Vec<String>, Error> {
    let show = Show { format: Format::Table, colour: false, progress: false, expanded: false };
    let mut output = output::encoder(schema, show)?;
    let mut bytes = Vec::new();
    for batch in batches {
        output.write(batch, &mut bytes)?;
    }
    output.finish(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}
