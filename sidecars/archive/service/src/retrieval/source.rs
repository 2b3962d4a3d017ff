//! The rows of one recorded ring, in order: from the index files of its segments, then from the open tail.

use std::collections::{HashMap, VecDeque};
use std::fs::File;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use fep_catalogue::{Catalogue, Colour, IndexFile, NOT_IN_A_SEGMENT, SegmentState, Store, TailPiece};
use fep_segments::SegmentName;
use futures::TryStreamExt;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderBuilder, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowFilter as ParquetFilter,
};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use tokio::runtime::Handle;

use super::Error;
use super::filter::RowFilter;
use super::index_object::IndexObject;
use super::octets::id_of;
use super::plan::Archive;
use super::row::{Columns, Row};

/// Rows decoded at a time: what a source holds in memory.
const BATCH_ROWS: usize = 8192;

/// What a source reads, decided before it begins.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// Red or black.
    pub colour: Colour,
    /// Name of the ring.
    pub ring: String,
    /// Index files in the order of the ring.
    pub files: Vec<IndexFile>,
    /// Rows of the open tail, after the files.
    pub tail: Vec<TailPiece>,
    /// Rows of packets that lie in recorded frames: one may begin in an earlier segment than that of its index.
    pub of_frames: bool,
}

/// Rows of one ring that a selection takes. Blocking: for a thread outside of the runtime.
pub struct Source {
    store: Store,
    runtime: Handle,
    columns: Columns,
    filter: RowFilter,
    files: VecDeque<IndexFile>,
    tail: VecDeque<TailPiece>,
    reader: Option<Reader>,
    /// Of packets that lie in recorded frames: the ring, and whether segments can be read that some of them begin in.
    of_frames: Option<(Catalogue, Colour, String, HashMap<SegmentName, bool>)>,
}

/// The wanted rows of an index file.
enum Reader {
    /// Of a directory: read where it lies, page by page.
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
            of_frames,
            runtime,
            columns: columns.clone(),
            filter: filter.clone(),
            files: spec.files.into(),
            tail: spec.tail.into(),
            reader: None,
        }
    }

    /// The next rows, never none; `None` at the end.
    ///
    /// # Errors
    /// An index file that cannot be read.
    pub fn next_rows(&mut self) -> Result<Option<Vec<Row>>, Error> {
        loop {
            let rows = if let Some(reader) = &mut self.reader {
                let batch = match reader {
                    Reader::File(reader) => reader.next().transpose()?,
                    Reader::Object(reader) => self.runtime.block_on(reader.try_next())?,
                };
                match batch {
                    Some(batch) => self.columns.rows(&batch)?,
                    None => {
                        self.reader = None;
                        continue;
                    }
                }
            } else if let Some(file) = self.files.pop_front() {
                self.reader = self.open(&file)?;
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
        if let Some(path) = self.store.file(&file.key) {
            let opened = File::open(&path).map_err(|source| Error::Io { path, source })?;
            let wanted = self.wanted(ParquetRecordBatchReaderBuilder::try_new(opened)?);
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

/// Where a key of the catalogue is in the object store.
#[must_use]
pub fn object_path(store: &Store, key: &str) -> Path {
    store.prefix().parts().chain(Path::from(key).parts()).collect()
}
