//! A query: planned, checked to change nothing, computed within its memory.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use datafusion::common::DataFusionError;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use fep_archive_query::sql::{SqlColumn, SqlForm, SqlOrder};
use fep_catalogue::{Store, StoreConfig};
use futures::StreamExt;

use crate::table::IndexTable;

/// Columns that every table has behind those of its files: `colour` and `ring`, from a file's place.
const ORIGIN_COLUMNS: usize = 2;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    /// The text is no query, or names what does not exist.
    #[error("{0}")]
    Query(String),
    /// It wants to change something.
    #[error("only queries are taken: {0}")]
    NotReadOnly(String),
    /// It needs more memory than it may have.
    #[error("the query needs more memory than sql.memory_mib allows: {0}")]
    Memory(String),
    /// A fault of this program or the store.
    #[error("{0}")]
    Fault(String),
}

/// An answer, its rows in the form that was ordered.
pub(crate) struct Answer {
    pub(crate) columns: Vec<SqlColumn>,
    pub(crate) rows: Vec<u8>,
    pub(crate) truncated: bool,
    pub(crate) took_ms: u64,
}

/// Answers an order; `tails` are those of its tables.
pub(crate) fn answer(order: &SqlOrder<StoreConfig>, tails: Vec<Tail>) -> Result<Answer, SqlError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(order.threads.max(1))
        .thread_name("sql")
        .enable_all()
        .build()
        .map_err(fault)?;
    runtime.block_on(async {
        let context = context(order, tails)?;
        // On a thread of the runtime: this one only waits.
        let (sql, rows_max) = (order.sql.clone(), order.rows_max);
        let rows = tokio::spawn(async move { rows(&context, &sql, rows_max).await });
        rows.await.map_err(fault)??.written(order.form)
    })
}

fn fault(error: impl std::fmt::Display) -> SqlError {
    SqlError::Fault(error.to_string())
}

fn context(order: &SqlOrder<StoreConfig>, tails: Vec<Tail>) -> Result<SessionContext, SqlError> {
    let environment = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(order.memory_mib << 20)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()
        .map_err(fault)?;
    let url = ObjectStoreUrl::parse("archive://store").map_err(fault)?;
    let store = Store::open(&order.store).map_err(fault)?;
    environment.register_object_store(url.as_ref(), store.objects());
    let config = SessionConfig::new()
        .with_target_partitions(order.threads.max(1))
        .with_information_schema(true)
        .set_bool("datafusion.execution.parquet.pushdown_filters", true)
        .set_bool("datafusion.execution.collect_statistics", true);
    let context = SessionContext::new_with_config_rt(config, environment);
    for (table, tail) in order.tables.iter().zip(tails) {
        let Tail { schema, batches } = tail;
        let own = schema.fields().len().saturating_sub(ORIGIN_COLUMNS);
        let (own, origin) = schema.fields().split_at(own);
        let index = IndexTable {
            url: url.clone(),
            schema: TableSchema::builder(Arc::new(Schema::new(own.to_vec())))
                .with_table_partition_cols(origin.to_vec())
                .build(),
            files: table.files.clone(),
            tail: batches,
        };
        context.register_table(table.name.as_str(), Arc::new(index)).map_err(fault)?;
    }
    Ok(context)
}

/// The open tail of a table.
pub(crate) struct Tail {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Tail {
    /// Reads an Arrow IPC stream to its end, and nothing behind it.
    pub(crate) fn read(input: &mut impl Read) -> Result<Tail, arrow::error::ArrowError> {
        let reader = StreamReader::try_new(input, None)?;
        let schema = reader.schema();
        Ok(Tail { schema, batches: reader.collect::<Result<_, _>>()? })
    }
}

struct Rows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    truncated: bool,
    took_ms: u64,
}

async fn rows(context: &SessionContext, sql: &str, rows_max: u64) -> Result<Rows, SqlError> {
    let began = Instant::now();
    let plan = context.state().create_logical_plan(sql).await.map_err(refusal)?;
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan).map_err(|error| SqlError::NotReadOnly(first_line(&error)))?;
    let frame = context.execute_logical_plan(plan).await.map_err(refusal)?;
    let mut stream = frame.execute_stream().await.map_err(refusal)?;
    let schema = stream.schema();
    let (mut batches, mut rows) = (Vec::new(), 0);
    let mut truncated = false;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(refusal)?;
        let left = rows_max - rows;
        if batch.num_rows() as u64 > left {
            truncated = true;
            batches.push(batch.slice(0, left as usize));
            break;
        }
        rows += batch.num_rows() as u64;
        batches.push(batch);
    }
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Rows { schema, batches, truncated, took_ms })
}

impl Rows {
    fn written(self, form: SqlForm) -> Result<Answer, SqlError> {
        let column = |field: &Arc<arrow::datatypes::Field>| SqlColumn {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
        };
        let columns: Vec<SqlColumn> = self.schema.fields().iter().map(column).collect();
        let mut rows = Vec::new();
        match form {
            SqlForm::Csv if self.batches.is_empty() => {
                let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                rows = (names.join(",") + "\n").into_bytes();
            }
            SqlForm::Csv => {
                let mut writer = arrow::csv::Writer::new(&mut rows);
                self.batches.iter().try_for_each(|batch| writer.write(batch)).map_err(fault)?;
            }
            SqlForm::Json => {
                let mut writer = arrow::json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build::<_, arrow::json::writer::JsonArray>(&mut rows);
                self.batches.iter().try_for_each(|batch| writer.write(batch)).map_err(fault)?;
                writer.finish().map_err(fault)?;
                drop(writer);
                if rows.is_empty() {
                    rows = b"[]".to_vec();
                }
            }
        }
        Ok(Answer { columns, rows, truncated: self.truncated, took_ms: self.took_ms })
    }
}

fn first_line(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    text.lines().next().unwrap_or_default().to_owned()
}

fn refusal(error: DataFusionError) -> SqlError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => SqlError::Memory(first_line(&error)),
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Execution(_)
        | DataFusionError::ArrowError(..)
        | DataFusionError::Diagnostic(..) => SqlError::Query(first_line(&error)),
        _ => SqlError::Fault(first_line(&error)),
    }
}
