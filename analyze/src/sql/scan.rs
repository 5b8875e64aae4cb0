//! Tables that are made while they are read: every scan runs on a thread of its own and hands batches over a bounded
//! channel, until it is done or nobody takes them any more.

use std::{
    fmt::{self, Formatter},
    sync::Arc,
};

use async_trait::async_trait;
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::{Session, TableProvider},
    common::tree_node::TreeNodeRecursion,
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        coop::make_cooperative,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        stream::RecordBatchReceiverStreamBuilder,
    },
};
use tokio::sync::mpsc::Sender;

/// Batches that may wait for the query.
const WAITING: usize = 4;

/// Makes the rows of a table.
pub(super) trait Make: fmt::Debug + Send + Sync + 'static {
    /// What its scan is called in plans.
    fn scan_name(&self) -> &'static str;

    /// All columns.
    fn schema(&self) -> SchemaRef;

    /// How many files it reads.
    fn files(&self) -> usize;

    /// Whether it leaves out every row for which `filter` is not true.
    fn applies(&self, filter: &Expr) -> bool {
        let _ = filter;
        false
    }

    /// Makes the rows that are asked for, until `rows` wants no more.
    fn make(&self, asked: &Asked, rows: Rows) -> Result<()>;
}

/// What a query asks of a table.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The columns, in their order.
    pub(super) schema: SchemaRef,
    /// Their numbers; none for all of them.
    pub(super) projection: Option<Vec<usize>>,
    /// What must be true of the rows. Only what the table applies.
    pub(super) filters: Vec<Expr>,
    /// The most rows that are wanted.
    limit: Option<usize>,
}

/// Where rows go.
pub(super) struct Rows {
    batches: Sender<Result<RecordBatch>>,
    left: usize,
}

impl Rows {
    /// How many more rows are wanted at most.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Whether nobody takes rows any more.
    pub(super) fn stopped(&self) -> bool {
        self.left == 0 || self.batches.is_closed()
    }

    /// Hands over rows, no more than are wanted, and waits until there is room for them.
    pub(super) fn send(&mut self, batch: RecordBatch) {
        let batch = if batch.num_rows() > self.left { batch.slice(0, self.left) } else { batch };
        self.left -= batch.num_rows();
        if self.batches.blocking_send(Ok(batch)).is_err() {
            self.left = 0;
        }
    }
}

/// A table whose rows are made by `M`.
#[derive(Debug)]
pub(super) struct MadeTable<M>(Arc<M>);

impl<M> MadeTable<M> {
    pub(super) fn new(make: M) -> Arc<Self> {
        Arc::new(Self(Arc::new(make)))
    }
}

#[async_trait]
impl<M: Make> TableProvider for MadeTable<M> {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let applies = |filter: &&Expr| {
            if self.0.applies(filter) {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(applies).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => Arc::new(self.0.schema().project(projection)?),
            None => self.0.schema(),
        };
        let asked = Asked { schema, projection: projection.cloned(), filters: filters.to_vec(), limit };
        Ok(Arc::new(Scan::new(Arc::clone(&self.0), asked)))
    }
}

/// One scan of a table.
#[derive(Debug)]
struct Scan<M> {
    make: Arc<M>,
    asked: Asked,
    properties: Arc<PlanProperties>,
}

impl<M> Scan<M> {
    fn new(make: Arc<M>, asked: Asked) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&asked.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = properties.with_scheduling_type(SchedulingType::Cooperative);
        Self { make, asked, properties: Arc::new(properties) }
    }
}

impl<M: Make> DisplayAs for Scan<M> {
    fn fmt_as(&self, form: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        let columns = self.asked.schema.fields().iter().map(|field| field.name().as_str());
        let columns = columns.collect::<Vec<_>>().join(", ");
        let filters = self.asked.filters.iter().map(|filter| filter.human_display().to_string());
        let filters = filters.collect::<Vec<_>>().join(", ");
        let files = self.make.files();
        if let DisplayFormatType::TreeRender = form {
            return write!(f, "columns={columns}\nfilters={filters}\nfiles={files}");
        }
        write!(f, "{}: columns=[{columns}], filters=[{filters}], files={files}", self.make.scan_name())?;
        self.asked.limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
    }
}

impl<M: Make> ExecutionPlan for Scan<M> {
    fn name(&self) -> &str {
        self.make.scan_name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn fetch(&self) -> Option<usize> {
        self.asked.limit
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let asked = Asked { limit, ..self.asked.clone() };
        Some(Arc::new(Self::new(Arc::clone(&self.make), asked)))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.asked.schema), WAITING);
        let (make, asked) = (Arc::clone(&self.make), self.asked.clone());
        let rows = Rows { batches: stream.tx(), left: asked.limit.unwrap_or(usize::MAX) };
        stream.spawn_blocking(move || make.make(&asked, rows));
        Ok(make_cooperative(stream.build()))
    }
}
