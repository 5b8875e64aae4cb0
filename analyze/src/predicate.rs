//! An expression of SQL that is true or not of each row of a table.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, RecordBatch, RecordBatchOptions, cast::AsArray, new_null_array},
        compute::cast,
        datatypes::{DataType, FieldRef, Schema, SchemaRef},
    },
    common::{DFSchema, ScalarValue},
    error::DataFusionError,
    execution::context::SessionContext,
    logical_expr::ColumnarValue,
    physical_expr::{
        PhysicalExpr,
        expressions::Column,
        utils::{collect_columns, reassign_expr_columns},
    },
};

/// A parsed expression, and the columns it reads.
pub(crate) struct Predicate {
    expression: Arc<dyn PhysicalExpr>,
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl Predicate {
    /// Of the rows of a table with the columns of `table`. An expression that is neither true nor false is an error.
    pub(crate) fn new(text: &str, table: &SchemaRef) -> Result<Self, DataFusionError> {
        let (context, whole) = (SessionContext::new(), DFSchema::try_from(Arc::clone(table))?);
        let expression = context.parse_sql_expr(text, &whole)?;
        let expression = context.create_physical_expr(expression, &whole)?;
        if expression.data_type(table)? != DataType::Boolean {
            return Err(DataFusionError::Plan(format!("`{text}` is neither true nor false")));
        }
        let mut columns: Vec<usize> = collect_columns(&expression).iter().map(Column::index).collect();
        columns.sort_unstable();
        // A batch has to have a column to have rows.
        if columns.is_empty() {
            columns.push(0);
        }
        let schema = Arc::new(table.project(&columns)?);
        let expression = reassign_expr_columns(expression, &schema)?;
        Ok(Self { expression, columns, schema })
    }

    /// The numbers of the columns it reads, in the order of the table.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Tells `each` for every row of a batch of these columns whether it is true; an unknown answer is not.
    pub(crate) fn ask(&self, batch: &RecordBatch, mut each: impl FnMut(bool)) -> Result<(), DataFusionError> {
        let rows = batch.num_rows();
        match self.expression.evaluate(batch)? {
            ColumnarValue::Array(answers) => {
                let answers = answers.as_boolean();
                (0..rows).for_each(|row| each(answers.is_valid(row) && answers.value(row)));
            }
            ColumnarValue::Scalar(answer) => {
                let answer = answer == ScalarValue::Boolean(Some(true));
                (0..rows).for_each(|_| each(answer));
            }
        }
        Ok(())
    }

    /// The same of a batch with any columns: what it lacks is null.
    pub(crate) fn ask_of_any(
        &self,
        batch: &RecordBatch,
        each: impl FnMut(bool),
    ) -> Result<(), DataFusionError> {
        let rows = batch.num_rows();
        let column = |field: &FieldRef| match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), rows)),
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        // A column that is never null may be absent from a file that is not ours.
        let fields = self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        self.ask(&RecordBatch::try_new_with_options(schema, columns, &options)?, each)
    }
}
