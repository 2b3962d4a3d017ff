//! A table over index files and an open tail, as they were when the query began.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DataFusionError, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use fep_archive_query::sql::SqlFile;

/// A table over index files and the open tail, as they were when the query began.
#[derive(Debug)]
pub(crate) struct IndexTable {
    pub(crate) url: ObjectStoreUrl,
    pub(crate) schema: TableSchema,
    pub(crate) files: Vec<SqlFile>,
    pub(crate) tail: Vec<RecordBatch>,
}

impl IndexTable {
    fn sealed(
        &self,
        threads: usize,
        projection: Option<&Vec<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let file_schema = self.schema.file_schema();
        let rx = file_schema.index_of("rx_tai_ns").ok();
        let mut groups: Vec<Vec<PartitionedFile>> =
            vec![Vec::new(); threads.clamp(1, self.files.len().max(1))];
        let count = groups.len();
        for (number, file) in self.files.iter().enumerate() {
            let part = PartitionedFile::new(file.path.clone(), file.octets)
                .with_partition_values(vec![
                    ScalarValue::from(file.colour.as_str()),
                    ScalarValue::from(file.ring.as_str()),
                ])
                .with_statistics(Arc::new(statistics(file, file_schema, rx)));
            groups[number % count].push(part);
        }
        let rows = self.files.iter().map(|file| file.rows as usize).sum();
        let statistics = Statistics {
            num_rows: Precision::Exact(rows),
            total_byte_size: Precision::Absent,
            column_statistics: vec![
                ColumnStatistics::new_unknown();
                self.schema.table_schema().fields().len()
            ],
        };
        let source = Arc::new(ParquetSource::new(self.schema.clone()).with_pushdown_filters(true));
        let config = FileScanConfigBuilder::new(self.url.clone(), source)
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

#[async_trait::async_trait]
impl TableProvider for IndexTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let threads = state.config().target_partitions();
        let memory = || {
            MemorySourceConfig::try_new_exec(
                std::slice::from_ref(&self.tail),
                self.schema(),
                projection.cloned(),
            )
        };
        if self.files.is_empty() {
            return Ok(memory()?);
        }
        let sealed = self.sealed(threads, projection)?;
        if self.tail.is_empty() {
            return Ok(sealed);
        }
        let open: Arc<dyn ExecutionPlan> = memory()?;
        UnionExec::try_new(vec![sealed, open])
    }
}

/// Rows are exact; the span is that of the whole segment and only bounds the file's own.
fn statistics(file: &SqlFile, schema: &Schema, rx_column: Option<usize>) -> Statistics {
    let mut columns = vec![ColumnStatistics::new_unknown(); schema.fields().len()];
    if let Some(rx) = rx_column.and_then(|column| columns.get_mut(column)) {
        rx.min_value = Precision::Inexact(ScalarValue::Int64(Some(file.rx_tai_ns.0)));
        rx.max_value = Precision::Inexact(ScalarValue::Int64(Some(file.rx_tai_ns.1)));
    }
    Statistics {
        num_rows: Precision::Exact(file.rows as usize),
        total_byte_size: Precision::Absent,
        column_statistics: columns,
    }
}
