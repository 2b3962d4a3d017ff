//! Rows of records that are in no sealed segment yet: recent data can be asked for before their segment is sealed.
//!
//! The rows live in memory only. They are made from the same records by the same code as the index files, and go when the
//! segment that holds them is in the catalogue. A reader takes a [`TailSnapshot`] first, asks the catalogue then, and drops
//! from the snapshot what the catalogue has: so it sees every row once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, Int64Array, RecordBatch};

use super::builder::{Record, RowMaker};
use crate::Error;
use crate::model::Colour;
use crate::packet_layout::PacketLayouts;

/// `segment` and `offset` of a row whose record was read from the ring: it has no place in a file yet.
pub const NOT_IN_A_SEGMENT: u64 = u64::MAX;

type StreamKey = (Colour, String);

#[derive(Debug, Clone)]
struct Piece {
    series: u64,
    batch: RecordBatch,
}

#[derive(Debug, Clone, Default)]
struct StreamTail {
    frames: Vec<Piece>,
    packets: Vec<Piece>,
}

/// The open tails of all streams; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    streams: Arc<Mutex<BTreeMap<StreamKey, StreamTail>>>,
}

/// The open tails at one moment. Batches have the schemas of [`crate::FrameRow`] and [`crate::PacketRow`].
#[derive(Debug, Clone, Default)]
pub struct TailSnapshot {
    streams: BTreeMap<StreamKey, StreamTail>,
}

impl Tail {
    /// What is there now. Cheap: the rows are shared, not copied.
    #[must_use]
    pub fn snapshot(&self) -> TailSnapshot {
        TailSnapshot { streams: self.lock().clone() }
    }

    /// Rows that are held, frames and packets together.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lock().values().flat_map(StreamTail::pieces).map(|piece| piece.batch.num_rows()).sum()
    }

    pub(crate) fn add(&self, colour: Colour, ring: &str, series: u64, rows: Finished) {
        let mut streams = self.lock();
        let stream = streams.entry((colour, ring.to_owned())).or_default();
        stream.frames.extend(rows.frames.map(|batch| Piece { series, batch }));
        stream.packets.extend(rows.packets.map(|batch| Piece { series, batch }));
    }

    pub(crate) fn forget(&self, colour: Colour, ring: &str, series: u64, end_seq: u64) {
        if let Some(stream) = self.lock().get_mut(&(colour, ring.to_owned())) {
            stream.drop_before(series, end_seq);
        }
    }

    // A thread that panicked while it held the lock left whole batches behind: they can be used.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamKey, StreamTail>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamTail {
    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.frames.iter().chain(&self.packets)
    }

    fn drop_before(&mut self, series: u64, end_seq: u64) {
        for pieces in [&mut self.frames, &mut self.packets] {
            pieces.retain_mut(|piece| {
                if piece.series != series {
                    return piece.series > series;
                }
                let keep_from = first_row_from(&piece.batch, end_seq);
                piece.batch = piece.batch.slice(keep_from, piece.batch.num_rows() - keep_from);
                piece.batch.num_rows() > 0
            });
        }
    }
}

impl TailSnapshot {
    /// Drops the rows of a stream that the catalogue has: those before `end_seq` of `series`, and older series.
    pub fn drop_before(&mut self, colour: Colour, ring: &str, series: u64, end_seq: u64) {
        if let Some(stream) = self.streams.get_mut(&(colour, ring.to_owned())) {
            stream.drop_before(series, end_seq);
        }
    }

    /// Rows of frames: colour, ring and batch.
    pub fn frames(&self) -> impl Iterator<Item = (Colour, &str, &RecordBatch)> {
        self.streams.iter().flat_map(|((colour, ring), stream)| {
            stream.frames.iter().map(move |piece| (*colour, ring.as_str(), &piece.batch))
        })
    }

    /// Rows of packets: colour, ring and batch.
    pub fn packets(&self) -> impl Iterator<Item = (Colour, &str, &RecordBatch)> {
        self.streams.iter().flat_map(|((colour, ring), stream)| {
            stream.packets.iter().map(move |piece| (*colour, ring.as_str(), &piece.batch))
        })
    }
}

/// First row whose sequence number is at least `seq`; rows are in order of sequence.
fn first_row_from(batch: &RecordBatch, seq: u64) -> usize {
    let column = batch.column_by_name("seq").and_then(|column| column.as_any().downcast_ref::<Int64Array>());
    column.map_or(0, |column| column.values().partition_point(|value| (*value as u64) < seq))
}

/// Batches on their way into the tail.
pub(crate) struct Finished {
    frames: Option<RecordBatch>,
    packets: Option<RecordBatch>,
}

/// Collects the rows of one stream for the tail.
pub(crate) struct TailRows {
    series: u64,
    layouts: Arc<PacketLayouts>,
    rows: RowMaker,
}

impl TailRows {
    pub(crate) fn new(series: u64, layouts: Arc<PacketLayouts>) -> TailRows {
        let rows = RowMaker::new(series, NOT_IN_A_SEGMENT, Arc::clone(&layouts));
        TailRows { series, layouts, rows }
    }

    pub(crate) fn series(&self) -> u64 {
        self.series
    }

    pub(crate) fn push(&mut self, record: &Record<'_>) {
        self.rows.push(record);
    }

    /// Rows collected and not yet taken.
    pub(crate) fn len(&self) -> usize {
        self.rows.frames.len() + self.rows.packets.len()
    }

    /// Takes what was collected.
    pub(crate) fn take(&mut self) -> Result<Finished, Error> {
        // A new maker each time: the summary of unsealed records is not needed and would grow.
        let fresh = RowMaker::new(self.series, NOT_IN_A_SEGMENT, Arc::clone(&self.layouts));
        let RowMaker { frames, packets, .. } = std::mem::replace(&mut self.rows, fresh);
        let batch = |name: &'static str, batch: Result<RecordBatch, arrow::error::ArrowError>| {
            batch.map_err(|error| Error::parquet(name)(error.into()))
        };
        Ok(Finished {
            frames: (frames.len() > 0).then(|| batch("tail of frames", frames.into_batch())).transpose()?,
            packets: (packets.len() > 0)
                .then(|| batch("tail of packets", packets.into_batch()))
                .transpose()?,
        })
    }
}
