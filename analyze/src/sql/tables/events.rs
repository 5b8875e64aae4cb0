//! The `events` table: the files themselves, as one table with the columns of the format, and behind them those of the
//! file. Projections reach the Parquet decoder, filters its row group statistics; the columns of the file are constants of
//! its scan, so filters of them leave out whole files.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use beyla_schema::arrow::events;
use datafusion::{
    arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    catalog::{Session, TableProvider},
    common::ScalarValue,
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    error::Result,
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    object_store::{ObjectMeta, path::Path as Location},
    physical_plan::ExecutionPlan,
};

/// The columns behind those of the format.
pub(super) fn file_columns() -> Vec<FieldRef> {
    ["file", "host"].map(|name| Arc::new(Field::new(name, DataType::Utf8, false))).into()
}

/// All columns.
pub(super) fn schema() -> SchemaRef {
    let fields = events::schema().fields().iter().cloned().chain(file_columns()).collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

/// The files to scan.
#[derive(Debug)]
pub(in crate::sql) struct EventsTable {
    files: Vec<PartitionedFile>,
}

impl EventsTable {
    /// Of files and the hosts they were captured on.
    pub(in crate::sql) fn new<'f>(files: impl IntoIterator<Item = (&'f Path, &'f str)>) -> Result<Self> {
        // The paths are not parsed as URLs or globs: a file name may hold `*` or `%`.
        let file = |(path, host): (&Path, &str)| {
            let file = std::fs::metadata(path)?;
            let object = PartitionedFile::new_from_meta(ObjectMeta {
                location: Location::from_filesystem_path(path)?,
                last_modified: file.modified()?.into(),
                size: file.len(),
                e_tag: None,
                version: None,
            });
            let values = [path.display().to_string(), host.to_owned()];
            Ok(object.with_partition_values(values.map(ScalarValue::from).into()))
        };
        Ok(Self { files: files.into_iter().map(file).collect::<Result<_>>()? })
    }
}

#[async_trait]
impl TableProvider for EventsTable {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters rule out row groups; the plan above checks the rows that are left.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = Arc::new(ParquetSource::new(
            TableSchema::builder(events::schema()).with_table_partition_cols(file_columns()).build(),
        ));
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_group(FileGroup::new(self.files.clone()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_preserve_order(true)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}
