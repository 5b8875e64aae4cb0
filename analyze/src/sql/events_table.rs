//! The `events` table: the files themselves, as one table with the columns of the format. Projections reach
//! the Parquet decoder, filters its row group statistics.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use beyla_schema::arrow::events::schema;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
    },
    error::Result,
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    object_store::{ObjectMeta, path::Path},
    physical_plan::ExecutionPlan,
};

/// The files to scan.
#[derive(Debug)]
pub(super) struct EventsTable {
    files: Vec<PartitionedFile>,
}

impl EventsTable {
    pub(super) fn new(paths: &[PathBuf]) -> Result<Self> {
        // The paths are not parsed as URLs or globs: a file name may hold `*` or `%`.
        let file = |path: &PathBuf| {
            let file = std::fs::metadata(path)?;
            Ok(PartitionedFile::new_from_meta(ObjectMeta {
                location: Path::from_filesystem_path(path)?,
                last_modified: file.modified()?.into(),
                size: file.len(),
                e_tag: None,
                version: None,
            }))
        };
        Ok(Self { files: paths.iter().map(file).collect::<Result<_>>()? })
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
        let source = Arc::new(ParquetSource::new(schema()));
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_group(FileGroup::new(self.files.clone()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_preserve_order(true)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}
