//! The rows of one recorded ring, in order: from the index files of its segments, then from the open tail.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use fep_archive_query::Unit;
use fep_catalogue::{
    Catalogue, Colour, IndexFile, Indexes, NOT_IN_A_SEGMENT, PacketLayouts, ScanOf, SegmentId, SegmentScan,
    SegmentState, Store, TailPiece,
};
use fep_segments::SegmentName;
use futures::TryStreamExt;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderBuilder, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowFilter as ParquetFilter,
};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use tokio::runtime::Handle;

use super::Error;
use super::filter::RowFilter;
use super::index_object::IndexObject;
use super::octets::id_of;
use super::plan::Archive;
use super::row::{Columns, Row};
use super::unindexed::Scan;

/// Rows decoded at a time: what a source holds in memory.
const BATCH_ROWS: usize = 8192;

/// An index file and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexOf {
    /// The segment.
    pub segment: SegmentId,
    /// Its index file.
    pub file: IndexFile,
}

/// What a source reads, decided before it begins.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// Red or black.
    pub colour: Colour,
    /// Name of the ring.
    pub ring: String,
    /// Index files in the order of the ring.
    pub files: Vec<IndexOf>,
    /// Segments that are in no index yet, in the order of the ring, each between its files.
    pub scans: Vec<Scan>,
    /// Rows of the open tail, after the files.
    pub tail: Vec<TailPiece>,
    /// Rows of packets that lie in recorded frames: one may begin in an earlier segment than that of its index.
    pub of_frames: bool,
}

/// Rows of one ring that a selection takes. Of an index file that is not what was stored, the rows are made of the segment.
/// Blocking: for a thread outside of the runtime.
pub struct Source {
    store: Store,
    indexes: Indexes,
    runtime: Handle,
    columns: Columns,
    filter: RowFilter,
    files: VecDeque<IndexOf>,
    tail: VecDeque<TailPiece>,
    reading: Option<Reading>,
    unindexed: Unindexed,
    /// Of packets that lie in recorded frames: the ring, and whether segments can be read that some of them begin in.
    of_frames: Option<(Catalogue, Colour, String, HashMap<SegmentName, bool>)>,
}

/// An index file that is being read.
struct Reading {
    of: IndexOf,
    /// `None` where no row group can hold a wanted row.
    reader: Option<Reader>,
    /// Wanted rows read so far.
    rows: usize,
    /// Rows that were given before the segment had to be turned to.
    given_before: usize,
    is_of_segment: bool,
}

/// Segments that are read record by record.
struct Unindexed {
    archive: PathBuf,
    layouts: Arc<PacketLayouts>,
    of: ScanOf,
    waiting: VecDeque<Scan>,
    files_read: usize,
    reading: Option<(SegmentId, SegmentScan)>,
}

impl Unindexed {
    /// Whether one is to be read before the next index file.
    fn begin(&mut self) -> Result<bool, Error> {
        let Some(scan) = self.waiting.pop_front_if(|scan| scan.files_before <= self.files_read) else {
            return Ok(false);
        };
        let layouts = Arc::clone(&self.layouts);
        let opened = SegmentScan::open(&self.archive, &scan.stream, &scan.entry, layouts, self.of)?;
        let Some(opened) = opened else {
            return Err(Error::Damaged {
                id: scan.id,
                problem: "it was here and is not here any more".to_owned(),
            });
        };
        self.reading = Some((scan.id, opened));
        Ok(true)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let Some((id, scan)) = &mut self.reading else { return Ok(None) };
        if let Some(batch) = scan.next_batch()? {
            return Ok(Some(batch));
        }
        if let Some(problem) = scan.damage() {
            return Err(Error::Damaged { id: id.clone(), problem });
        }
        self.reading = None;
        Ok(None)
    }
}

/// The wanted rows of an index file.
enum Reader {
    /// Of a directory, or of memory: read where it lies, page by page.
    File(ParquetRecordBatchReader),
    /// Of a server: the pages that are needed, by ranges.
    Object(Box<ParquetRecordBatchStream<IndexObject>>),
}

impl Source {
    /// Begins to read; nothing is read yet.
    pub fn new(
        archive: &Archive,
        runtime: Handle,
        columns: &Columns,
        filter: &RowFilter,
        spec: SourceSpec,
    ) -> Source {
        let of_frames = spec
            .of_frames
            .then(|| (archive.catalogue.clone(), spec.colour, spec.ring.clone(), HashMap::new()));
        Source {
            store: archive.store.clone(),
            indexes: archive.indexes.clone(),
            of_frames,
            runtime,
            columns: columns.clone(),
            filter: filter.clone(),
            files: spec.files.into(),
            tail: spec.tail.into(),
            reading: None,
            unindexed: Unindexed {
                archive: archive.segments.clone(),
                layouts: Arc::default(),
                of: ScanOf::Frames,
                waiting: spec.scans.into(),
                files_read: 0,
                reading: None,
            },
        }
    }

    /// How the segments are read that are in no index.
    #[must_use]
    pub fn with_segments(mut self, layouts: Arc<PacketLayouts>, unit: Unit) -> Source {
        self.unindexed.layouts = layouts;
        self.unindexed.of = match unit {
            Unit::Frames => ScanOf::Frames,
            Unit::Packets => ScanOf::Packets,
        };
        self
    }

    /// The next rows, never none; `None` at the end. After an error the next call goes on behind what could not be read.
    ///
    /// # Errors
    /// An index file that cannot be read, of a segment that cannot be read either.
    pub fn next_rows(&mut self) -> Result<Option<Vec<Row>>, Error> {
        loop {
            let rows = if let Some(reading) = &mut self.reading {
                match next_of(reading, &self.runtime, &self.columns) {
                    Ok(Some(rows)) => rows,
                    Ok(None) => {
                        self.reading = None;
                        continue;
                    }
                    Err(error) => {
                        self.turn_to_segment(error)?;
                        continue;
                    }
                }
            } else if let Some(batch) = self.unindexed.next()? {
                self.columns.rows(&filter_record_batch(&batch, &self.filter.mask(&batch)?)?)?
            } else if self.unindexed.begin()? {
                continue;
            } else if let Some(of) = self.files.pop_front() {
                self.unindexed.files_read += 1;
                let opened = self.open(&of.file);
                let (reader, error) = match opened {
                    Ok(reader) => (reader, None),
                    Err(error) => (None, Some(error)),
                };
                self.reading = Some(Reading { of, reader, rows: 0, given_before: 0, is_of_segment: false });
                if let Some(error) = error {
                    self.turn_to_segment(error)?;
                }
                continue;
            } else if let Some(piece) = self.tail.pop_front() {
                let batch = piece.batch()?;
                self.columns.rows(&filter_record_batch(&batch, &self.filter.mask(&batch)?)?)?
            } else {
                return Ok(None);
            };
            let rows = self.whole(rows)?;
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
    }

    /// Reads on in the rows that are made of the segment, if it is the index file that is damaged.
    fn turn_to_segment(&mut self, error: Error) -> Result<(), Error> {
        let Some(reading) = self.reading.take() else { return Err(error) };
        if reading.is_of_segment || !self.is_damage(&error) {
            return Err(error);
        }
        let IndexOf { segment, file } = &reading.of;
        let problem = error.to_string();
        let made = self.runtime.block_on(self.indexes.make(segment, file, &problem))?;
        if let Some(damage) = made.damage {
            return Err(Error::Damaged { id: segment.clone(), problem: damage });
        }
        let wanted = self.wanted(ParquetRecordBatchReaderBuilder::try_new(made.octets)?);
        let reader = wanted.map(|wanted| wanted.build()).transpose()?.map(Reader::File);
        let given_before = reading.rows;
        self.reading = Some(Reading { reader, rows: 0, given_before, is_of_segment: true, ..reading });
        Ok(())
    }

    /// Whether it is this file that is not as it was stored, and not a server that does not answer.
    fn is_damage(&self, error: &Error) -> bool {
        let of_store = |error: &fep_catalogue::Error| error.is_of_object() || self.store.is_directory();
        match error {
            Error::Catalogue(error) => of_store(error),
            Error::Parquet(ParquetError::External(source)) => {
                source.downcast_ref::<fep_catalogue::Error>().is_none_or(of_store)
            }
            Error::Parquet(_) | Error::Arrow(_) | Error::IndexColumn(_) => true,
            _ => false,
        }
    }

    /// Leaves out packets that begin in a segment that was deleted or is in quarantine: they are not whole any more.
    fn whole(&mut self, mut rows: Vec<Row>) -> Result<Vec<Row>, Error> {
        let Some((catalogue, colour, ring, known)) = &mut self.of_frames else { return Ok(rows) };
        let at = &self.columns;
        let name_of = |row: &Row| SegmentName {
            series: row.number(at.series) as u64,
            base_pos: row.number(at.segment) as u64,
        };
        for name in rows.iter().map(name_of) {
            if name.base_pos != NOT_IN_A_SEGMENT && !known.contains_key(&name) {
                let segment = self.runtime.block_on(catalogue.segment(&id_of(*colour, ring, name)))?;
                known.insert(name, segment.is_none_or(|segment| segment.state == SegmentState::Ok));
            }
        }
        rows.retain(|row| known.get(&name_of(row)).copied().unwrap_or(true));
        Ok(rows)
    }

    /// `None` where no row group can hold a wanted row: then the footer is all that was read.
    fn open(&self, file: &IndexFile) -> Result<Option<Reader>, Error> {
        if let Some(opened) = self.indexes.open(file) {
            let wanted = self.wanted(ParquetRecordBatchReaderBuilder::try_new(opened?)?);
            return Ok(wanted.map(|wanted| wanted.build()).transpose()?.map(Reader::File));
        }
        let object = IndexObject::new(self.store.clone(), file.clone());
        let wanted = self.wanted(self.runtime.block_on(ParquetRecordBatchStreamBuilder::new(object))?);
        Ok(wanted.map(|wanted| wanted.build()).transpose()?.map(Box::new).map(Reader::Object))
    }

    /// Narrows reading down to the row groups that can hold wanted rows, and to the wanted rows of these.
    fn wanted<T>(&self, builder: ArrowReaderBuilder<T>) -> Option<ArrowReaderBuilder<T>> {
        let groups: Vec<usize> = builder
            .metadata()
            .row_groups()
            .iter()
            .enumerate()
            .filter(|(_, group)| self.may_hold(group))
            .map(|(number, _)| number)
            .collect();
        if groups.is_empty() {
            return None;
        }
        let looked_at = ProjectionMask::columns(builder.parquet_schema(), self.filter.looks_at());
        let filter = self.filter.clone();
        let predicate = ArrowPredicateFn::new(looked_at, move |batch: RecordBatch| {
            filter.mask(&batch).map_err(|error| arrow::error::ArrowError::ExternalError(Box::new(error)))
        });
        Some(
            builder
                .with_row_groups(groups)
                .with_row_filter(ParquetFilter::new(vec![Box::new(predicate)]))
                .with_batch_size(BATCH_ROWS),
        )
    }

    fn may_hold(&self, group: &RowGroupMetaData) -> bool {
        group.columns().iter().all(|chunk| {
            let range = match chunk.statistics() {
                Some(Statistics::Int32(values)) => {
                    values.min_opt().copied().map(i64::from).zip(values.max_opt().copied().map(i64::from))
                }
                Some(Statistics::Int64(values)) => values.min_opt().copied().zip(values.max_opt().copied()),
                _ => None,
            };
            range.is_none_or(|(least, greatest)| {
                self.filter.may_be_in(&chunk.column_path().string(), least, greatest)
            })
        })
    }
}

/// The next wanted rows of an index file; `None` at its end.
fn next_of(reading: &mut Reading, runtime: &Handle, columns: &Columns) -> Result<Option<Vec<Row>>, Error> {
    let batch = match &mut reading.reader {
        None => None,
        Some(Reader::File(reader)) => reader.next().transpose()?,
        Some(Reader::Object(reader)) => runtime.block_on(reader.try_next())?,
    };
    let Some(batch) = batch else { return Ok(None) };
    let mut rows = columns.rows(&batch)?;
    let given = reading.given_before.saturating_sub(reading.rows).min(rows.len());
    reading.rows += rows.len();
    rows.drain(..given);
    Ok(Some(rows))
}

/// Where a key of the catalogue is in the object store.
#[must_use]
pub fn object_path(store: &Store, key: &str) -> Path {
    store.prefix().parts().chain(Path::from(key).parts()).collect()
}
