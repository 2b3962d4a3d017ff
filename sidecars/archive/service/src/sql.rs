//! SQL over the indexes: the tables `frames` and `packets`, read-only, with limits.
//!
//! The columns are those of the index ([`fep_catalogue::FrameRow`], [`fep_catalogue::PacketRow`]) after `colour` and
//! `ring`. A query sees the sealed segments that the catalogue has at that moment and the open tail, every row once.
//! Queries run on threads of their own, share one budget of memory, write nothing to disk, and are cancelled at their
//! time limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DataFusionError, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use fep_catalogue::{Colour, FrameRow, PacketRow, Segment, SegmentFilter, SegmentState, TailPiece};
use futures::StreamExt;

use crate::config::SqlConfig;
use crate::retrieval::{Archive, object_path};

/// A longer text is no query of a person.
pub const SQL_TEXT_MAX: usize = 16 << 10;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The text is no query, or names what is not there.
    #[error("{0}")]
    Query(String),
    /// It wants to change something.
    #[error("only queries are taken: {0}")]
    NotReadOnly(String),
    /// It took too long and was cancelled.
    #[error("the query was cancelled after {} s, its time limit", .0.as_secs())]
    TimedOut(Duration),
    /// It needs more memory than all queries may have together.
    #[error("the query needs more memory than sql.memory_mib allows: {0}")]
    Memory(String),
    /// A fault of this program or the disk.
    #[error("{0}")]
    Fault(String),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct SqlAnswer {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
    /// Whether there were more rows than the limit.
    pub truncated: bool,
    /// How long it took.
    pub took: Duration,
}

/// Runs queries.
pub struct Engine {
    archive: Archive,
    colours: Vec<Colour>,
    environment: Arc<RuntimeEnv>,
    url: ObjectStoreUrl,
    threads: usize,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Engine {
    /// Makes the threads and the budget. `serve_red`: whether red rows can be asked for.
    ///
    /// # Errors
    /// When threads cannot be had.
    pub fn new(archive: Archive, config: &SqlConfig, serve_red: bool) -> Result<Engine, SqlError> {
        let fault = |error: &dyn std::fmt::Display| SqlError::Fault(error.to_string());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads)
            .thread_name("sql")
            .enable_all()
            .build()
            .map_err(|error| fault(&error))?;
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(config.memory_mib << 20)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(|error| fault(&error))?;
        let url = ObjectStoreUrl::parse("archive://store").map_err(|error| fault(&error))?;
        environment.register_object_store(url.as_ref(), archive.store.objects());
        let colours = if serve_red { vec![Colour::Black, Colour::Red] } else { vec![Colour::Black] };
        Ok(Engine { archive, colours, environment, url, threads: config.threads, runtime: Some(runtime) })
    }

    /// Answers a query with at most `rows_max` rows within `timeout`.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub async fn run(&self, sql: &str, rows_max: u64, timeout: Duration) -> Result<SqlAnswer, SqlError> {
        if sql.len() > SQL_TEXT_MAX {
            return Err(SqlError::Query(format!("the text is longer than {SQL_TEXT_MAX} octets")));
        }
        let Some(runtime) = &self.runtime else { return Err(SqlError::Fault("stopping".to_owned())) };
        let context = self.context().await?;
        let sql = sql.to_owned();
        let work = async move { tokio::time::timeout(timeout, answer(&context, &sql, rows_max)).await };
        let handle = runtime.spawn(work);
        // Whoever asked may go away: then the query goes too.
        let _guard = AbortOnDrop(handle.abort_handle());
        match handle.await {
            Ok(Ok(result)) => result,
            Ok(Err(_elapsed)) => Err(SqlError::TimedOut(timeout)),
            Err(error) => Err(SqlError::Fault(format!("the query ended early: {error}"))),
        }
    }

    async fn context(&self) -> Result<SessionContext, SqlError> {
        let fault = |error: &dyn std::fmt::Display| SqlError::Fault(error.to_string());
        let mut tail = self.archive.tail.snapshot();
        let segments = self
            .archive
            .catalogue
            .segments(&SegmentFilter::default())
            .await
            .map_err(|error| fault(&error))?;
        for segment in &segments {
            let facts = &segment.facts;
            tail.drop_before(facts.colour, &facts.ring, facts.series, facts.end_seq);
        }
        let segments: Vec<Segment> = segments
            .into_iter()
            .filter(|segment| {
                segment.state == SegmentState::Ok && self.colours.contains(&segment.facts.colour)
            })
            .collect();
        let config = SessionConfig::new()
            .with_target_partitions(self.threads)
            .with_information_schema(true)
            .set_bool("datafusion.execution.parquet.pushdown_filters", true)
            .set_bool("datafusion.execution.collect_statistics", true);
        let context = SessionContext::new_with_config_rt(config, Arc::clone(&self.environment));
        let seen = |pieces: Vec<(Colour, &str, TailPiece)>| {
            let mut batches = Vec::with_capacity(pieces.len());
            for (colour, ring, piece) in pieces {
                if self.colours.contains(&colour) {
                    let batch = piece.batch().map_err(|error| fault(&error))?;
                    batches.push(with_origin(&batch, colour, ring).map_err(|error| fault(&error))?);
                }
            }
            Ok::<_, SqlError>(batches)
        };
        let frames = seen(tail.frames().collect())?;
        let packets = seen(tail.packets().collect())?;
        let files = |index: fn(&Segment) -> &Option<fep_catalogue::IndexFile>| -> Vec<File> {
            let of = |segment: &Segment| File::of(&self.archive, segment, index(segment).as_ref()?);
            segments.iter().filter_map(of).collect()
        };
        for (name, schema, files, tail) in [
            ("frames", FrameRow::schema(), files(|segment| &segment.frames_index), frames),
            ("packets", PacketRow::schema(), files(|segment| &segment.packets_index), packets),
        ] {
            let table = IndexTable {
                url: self.url.clone(),
                schema: TableSchema::builder(schema).with_table_partition_cols(origin_fields()).build(),
                files,
                tail,
            };
            context.register_table(name, Arc::new(table)).map_err(|error| fault(&error))?;
        }
        Ok(context)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A runtime must not wait for its threads inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn answer(context: &SessionContext, sql: &str, rows_max: u64) -> Result<SqlAnswer, SqlError> {
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
    Ok(SqlAnswer { schema, batches, truncated, took: began.elapsed() })
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

fn origin_fields() -> Vec<Arc<Field>> {
    vec![
        Arc::new(Field::new("colour", DataType::Utf8, false)),
        Arc::new(Field::new("ring", DataType::Utf8, false)),
    ]
}

/// A batch of the tail with the columns that files have from their place.
fn with_origin(
    batch: &RecordBatch,
    colour: Colour,
    ring: &str,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
    fields.extend(origin_fields());
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    for text in [colour.name(), ring] {
        columns.push(Arc::new(StringArray::from(vec![text; batch.num_rows()])));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// An index file and what the catalogue knows of it.
#[derive(Debug, Clone)]
struct File {
    path: String,
    octets: u64,
    rows: u64,
    rx: (i64, i64),
    colour: Colour,
    ring: String,
}

impl File {
    fn of(archive: &Archive, segment: &Segment, index: &fep_catalogue::IndexFile) -> Option<File> {
        Some(File {
            path: object_path(&archive.store, &index.key).to_string(),
            octets: index.octets,
            rows: index.rows,
            rx: (segment.first_rx_tai_ns?, segment.last_rx_tai_ns?),
            colour: segment.facts.colour,
            ring: segment.facts.ring.clone(),
        })
    }

    /// Rows are exact; the span is that of the whole segment and only bounds the file's own.
    fn statistics(&self, schema: &Schema, rx_column: Option<usize>) -> Statistics {
        let mut columns = vec![ColumnStatistics::new_unknown(); schema.fields().len()];
        if let Some(rx) = rx_column.and_then(|column| columns.get_mut(column)) {
            rx.min_value = Precision::Inexact(ScalarValue::Int64(Some(self.rx.0)));
            rx.max_value = Precision::Inexact(ScalarValue::Int64(Some(self.rx.1)));
        }
        Statistics {
            num_rows: Precision::Exact(self.rows as usize),
            total_byte_size: Precision::Absent,
            column_statistics: columns,
        }
    }
}

/// A table over index files and the open tail, as they were when the query began.
#[derive(Debug)]
struct IndexTable {
    url: ObjectStoreUrl,
    schema: TableSchema,
    files: Vec<File>,
    tail: Vec<RecordBatch>,
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
                    ScalarValue::from(file.colour.name()),
                    ScalarValue::from(file.ring.as_str()),
                ])
                .with_statistics(Arc::new(file.statistics(file_schema, rx)));
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
