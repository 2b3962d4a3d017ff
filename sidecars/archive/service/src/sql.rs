//! SQL over the indexes, answered by a process of its own: `fep-archive-sql`.
//!
//! A query sees the tables `frames` and `packets` as they are at that moment: the index files of the sealed segments that the
//! catalogue has, and the open tail, every row once. Each query has a process for itself. A query that takes too long, or
//! whose caller has gone, is ended by ending the process; one that eats its memory ends itself. The archive notices neither.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use fep_archive_query::Unit;
use fep_archive_query::sql::{
    ORDER_END, SqlColumn, SqlFile, SqlForm, SqlOrder, SqlRefusal, SqlReply, SqlTable, read_head, write_head,
};
use fep_catalogue::{
    Colour, FrameRow, IndexFile, PacketRow, Segment, SegmentFilter, SegmentState, StoreConfig, TailPiece,
};
use fep_segments::Stream;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::config::SqlConfig;
use crate::retrieval::unindexed::{self, CATCH_UP_WITHIN};
use crate::retrieval::{Archive, object_path};

/// A longer text is no query of a person.
pub const SQL_TEXT_MAX: usize = 16 << 10;
/// The program that answers.
const PROGRAM: &str = "fep-archive-sql";

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The process refused it.
    #[error("{detail}")]
    Refused {
        /// The kind of the reason.
        kind: SqlRefusal,
        /// The reason.
        detail: String,
    },
    /// It took too long and was ended.
    #[error("the query was cancelled after {} s, its time limit", .0.as_secs())]
    TimedOut(Duration),
    /// There is no such program.
    #[error("{} does not exist", .0.display())]
    NotInstalled(PathBuf),
    /// A fault of the process or this one.
    #[error("{0}")]
    Fault(String),
}

fn fault(error: impl std::fmt::Display) -> SqlError {
    SqlError::Fault(error.to_string())
}

/// An answer.
#[derive(Debug, Clone)]
pub struct SqlAnswer {
    /// Names and types of its columns.
    pub columns: Vec<SqlColumn>,
    /// Its rows, in the form that was asked for.
    pub rows: Vec<u8>,
    /// Whether there were more rows than the limit.
    pub truncated: bool,
    /// How long it took.
    pub took_ms: u64,
    /// What is missing because it is in no index yet, in words.
    pub incomplete: Vec<String>,
}

/// Has queries answered.
pub struct Engine {
    archive: Archive,
    store: StoreConfig,
    config: SqlConfig,
    colours: Vec<Colour>,
    program: PathBuf,
    /// A process that waits for the next order, so that nobody waits for its start.
    spare: Mutex<Option<Child>>,
}

impl Engine {
    /// Of these parts; nothing is started yet. `serve_red`: whether red rows can be asked for.
    #[must_use]
    pub fn new(archive: Archive, store: StoreConfig, config: &SqlConfig, serve_red: bool) -> Engine {
        let colours = if serve_red { vec![Colour::Black, Colour::Red] } else { vec![Colour::Black] };
        let program = config.program.clone().unwrap_or_else(|| {
            let own = std::env::current_exe().unwrap_or_default();
            own.with_file_name(PROGRAM)
        });
        Engine { archive, store, config: config.clone(), colours, program, spare: Mutex::default() }
    }

    /// Whether the program that answers exists.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.program.is_file()
    }

    /// Answers a query with at most `rows_max` rows within `timeout`, over the rows of these colours, as far as the service has
    /// them.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub async fn run(
        &self,
        sql: &str,
        rows_max: u64,
        timeout: Duration,
        form: SqlForm,
        colours: &[Colour],
    ) -> Result<SqlAnswer, SqlError> {
        if sql.len() > SQL_TEXT_MAX {
            let detail = format!("the text is longer than {SQL_TEXT_MAX} octets");
            return Err(SqlError::Refused { kind: SqlRefusal::Query, detail });
        }
        if !self.is_installed() {
            return Err(SqlError::NotInstalled(self.program.clone()));
        }
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A spare that has ended meanwhile is no use.
        let spare = spare.and_then(|mut child| matches!(child.try_wait(), Ok(None)).then_some(child));
        let child = spare.map_or_else(|| start(&self.program), Ok)?;
        let work = async {
            let (order, incomplete) = self.order(sql, rows_max, form, colours).await?;
            Ok(SqlAnswer { incomplete, ..exchange(child, order).await? })
        };
        // What is dropped here, or because the caller has gone, takes its process with it.
        let answer = tokio::time::timeout(timeout, work).await.map_err(|_| SqlError::TimedOut(timeout))?;
        if let Ok(next) = start(&self.program) {
            *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        }
        answer
    }

    async fn order(
        &self,
        sql: &str,
        rows_max: u64,
        form: SqlForm,
        colours: &[Colour],
    ) -> Result<(Order, Vec<String>), SqlError> {
        let colours: Vec<Colour> =
            self.colours.iter().copied().filter(|colour| colours.contains(colour)).collect();
        let caught_up = self.archive.tail.catch_up(CATCH_UP_WITHIN).await;
        let mut tail = self.archive.tail.snapshot();
        let segments = self.archive.catalogue.segments(&SegmentFilter::default()).await.map_err(fault)?;
        for segment in &segments {
            let facts = &segment.facts;
            tail.drop_before(facts.colour, &facts.ring, facts.series, facts.end_seq);
            tail.set_indexed(&facts.id());
        }
        let (directory, looked_at) = (self.archive.segments.clone(), colours.clone());
        let mut looked = tail.clone();
        let look = move || {
            let wanted = |stream: &Stream| looked_at.contains(&stream.colour);
            unindexed::look(&directory, &mut looked, caught_up, wanted, Unit::Frames, [None, None])
        };
        let remainder = tokio::task::spawn_blocking(look).await.map_err(fault)?.map_err(fault)?;
        let mut incomplete = remainder.missing;
        if let Some(first) = remainder.scans.first() {
            let (count, id) = (remainder.scans.len(), &first.id);
            incomplete.push(format!("{count} sealed segments are not indexed yet, from {id} on"));
        }
        let frames_alone: Vec<&Segment> = segments
            .iter()
            .filter(|segment| {
                colours.contains(&segment.facts.colour)
                    && segment.state != SegmentState::Deleted
                    && segment.frames > 0
                    && segment.packets_index.is_none()
            })
            .collect();
        incomplete.extend(unindexed::not_extracted(&tail, &frames_alone, &segments));
        let is_seen =
            |segment: &&Segment| segment.state == SegmentState::Ok && colours.contains(&segment.facts.colour);
        let files = |index: fn(&Segment) -> &Option<IndexFile>| -> Vec<SqlFile> {
            let of = |segment: &Segment| self.file(segment, index(segment).as_ref()?);
            segments.iter().filter(is_seen).filter_map(of).collect()
        };
        let tails = [
            Tail::new(&FrameRow::schema(), tail.frames(), &colours),
            Tail::new(&PacketRow::schema(), tail.packets(), &colours),
        ];
        let table = |name: &str, files, tail: &Tail| SqlTable {
            name: name.to_owned(),
            files,
            tail_rows: tail.pieces.iter().map(|(.., piece)| piece.rows() as u64).sum(),
        };
        let head = SqlOrder {
            sql: sql.to_owned(),
            rows_max,
            form,
            threads: self.config.threads,
            memory_mib: self.config.memory_mib,
            store: self.store.clone(),
            tables: vec![
                table("frames", files(|segment| &segment.frames_index), &tails[0]),
                table("packets", files(|segment| &segment.packets_index), &tails[1]),
            ],
        };
        Ok((Order { head, tails }, incomplete))
    }

    fn file(&self, segment: &Segment, index: &IndexFile) -> Option<SqlFile> {
        Some(SqlFile {
            path: object_path(&self.archive.store, &index.key).to_string(),
            octets: index.octets,
            rows: index.rows,
            rx_tai_ns: (segment.first_rx_tai_ns?, segment.last_rx_tai_ns?),
            colour: segment.facts.colour.name().to_owned(),
            ring: segment.facts.ring.clone(),
        })
    }
}

fn start(program: &Path) -> Result<Child, SqlError> {
    let mut command = Command::new(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    command.spawn().map_err(|error| SqlError::Fault(format!("cannot start {}: {error}", program.display())))
}

/// What a process is given.
struct Order {
    head: SqlOrder<StoreConfig>,
    tails: [Tail; 2],
}

/// The rows of an open tail that may be seen: shared with the archive, made into columns piece by piece as they are written.
struct Tail {
    schema: SchemaRef,
    pieces: Vec<(Colour, String, TailPiece)>,
}

impl Tail {
    /// `schema` is that of the table's files.
    fn new<'t>(
        schema: &Schema,
        pieces: impl Iterator<Item = (Colour, &'t str, TailPiece)>,
        colours: &[Colour],
    ) -> Tail {
        // Behind the columns of the files: where a row comes from.
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        for name in ["colour", "ring"] {
            fields.push(Arc::new(Field::new(name, DataType::Utf8, false)));
        }
        let pieces = pieces
            .filter(|(colour, ..)| colours.contains(colour))
            .map(|(colour, ring, piece)| (colour, ring.to_owned(), piece))
            .collect();
        Tail { schema: Arc::new(Schema::new(fields)), pieces }
    }

    fn write(&self, stream: &mut impl Write) -> Result<(), SqlError> {
        let mut writer = StreamWriter::try_new(stream, &self.schema).map_err(fault)?;
        for (colour, ring, piece) in &self.pieces {
            let batch = piece.batch().map_err(fault)?;
            let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
            for text in [colour.name(), ring] {
                columns.push(Arc::new(StringArray::from(vec![text; batch.num_rows()])));
            }
            let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(fault)?;
            writer.write(&rows).map_err(fault)?;
        }
        writer.finish().map_err(fault)
    }
}

impl Order {
    fn write(&self, stream: &mut impl Write) -> Result<(), SqlError> {
        write_head(stream, &self.head).map_err(fault)?;
        self.tails.iter().try_for_each(|tail| tail.write(stream))?;
        stream.write_all(&ORDER_END).and_then(|()| stream.flush()).map_err(fault)
    }
}

async fn exchange(mut child: Child, order: Order) -> Result<SqlAnswer, SqlError> {
    let (Some(input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(SqlError::Fault("the process has no pipes".to_owned()));
    };
    let input = input.into_owned_fd().map_err(fault)?;
    rustix::io::ioctl_fionbio(&input, false).map_err(fault)?;
    // Of the tail, what was spilled is read from disk. A process that is ended takes the pipe with it, and this thread ends.
    let writing = tokio::task::spawn_blocking(move || order.write(&mut BufWriter::new(File::from(input))));
    let mut reply = Vec::new();
    output.read_to_end(&mut reply).await.map_err(fault)?;
    let mut rest = reply.as_slice();
    match read_head::<SqlReply>(&mut rest) {
        Ok(Some(SqlReply::Answer { columns, truncated, took_ms })) => {
            let head = reply.len() - rest.len();
            let rows = reply.split_off(head);
            Ok(SqlAnswer { columns, rows, truncated, took_ms, incomplete: Vec::new() })
        }
        Ok(Some(SqlReply::Refusal { kind, detail })) => Err(SqlError::Refused { kind, detail }),
        Ok(None) | Err(_) => {
            let status = child.wait().await.map_err(fault)?;
            // It ends itself where an allocation is refused, and is the first to be ended where the machine has no memory.
            if status.code().is_none() {
                let detail = format!("the process of the query ended without an answer ({status})");
                return Err(SqlError::Refused { kind: SqlRefusal::Memory, detail });
            }
            writing.await.map_err(fault)??;
            Err(SqlError::Fault(format!("the process of the query ended without an answer ({status})")))
        }
    }
}
