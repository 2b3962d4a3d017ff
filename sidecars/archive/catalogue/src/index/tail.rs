//! Rows of records that are in no sealed segment yet: recent data can be asked for before their segment is sealed.
//!
//! The rows live in memory only. They are made from the same records by the same code as the index files, and go when the
//! segment that holds them is in the catalogue. A reader takes a [`TailSnapshot`] first, asks the catalogue then, and drops
//! from the snapshot what the catalogue has: so it sees every row once. Who wants to see them come takes [`Arrivals`]: every
//! row passes by there, however soon its segment is sealed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, Int64Array, RecordBatch};
use tokio::sync::mpsc;

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
    /// Series, and the sequence number before which the catalogue has everything.
    catalogued: (u64, u64),
}

/// The open tails of all streams; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    streams: BTreeMap<StreamKey, StreamTail>,
    watchers: Vec<Watcher>,
}

/// Rows that wait for a reader of [`Arrivals`]; what comes while so many wait passes it by, and is counted.
const WAITING_ROWS_MAX: usize = 1 << 18;

/// Rows that came, of one stream.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Red or black.
    pub colour: Colour,
    /// Ring.
    pub ring: String,
    /// Rows with the schema of [`crate::FrameRow`].
    pub frames: Option<RecordBatch>,
    /// Rows with the schema of [`crate::PacketRow`].
    pub packets: Option<RecordBatch>,
}

impl Arrival {
    fn rows(&self) -> usize {
        [&self.frames, &self.packets].into_iter().flatten().map(RecordBatch::num_rows).sum()
    }
}

/// Rows as they come, from when it was asked for, every one once and those of a stream in order.
#[derive(Debug)]
pub struct Arrivals {
    receiver: mpsc::UnboundedReceiver<Arrival>,
    backlog: Arc<Backlog>,
}

#[derive(Debug, Default)]
struct Backlog {
    waiting_rows: AtomicUsize,
    missed_rows: AtomicU64,
}

/// The other end of [`Arrivals`].
#[derive(Debug)]
struct Watcher {
    sender: mpsc::UnboundedSender<Arrival>,
    backlog: Arc<Backlog>,
}

impl Arrivals {
    /// The next rows; `None` when none will come any more.
    pub async fn next(&mut self) -> Option<Arrival> {
        let arrival = self.receiver.recv().await?;
        self.backlog.waiting_rows.fetch_sub(arrival.rows(), Ordering::Relaxed);
        Some(arrival)
    }

    /// Rows that this reader was too slow for since it last asked.
    #[must_use]
    pub fn take_missed(&self) -> u64 {
        self.backlog.missed_rows.swap(0, Ordering::Relaxed)
    }
}

impl Watcher {
    /// Hands it on; `false` when nobody reads any more.
    fn hand(&self, arrival: &Arrival) -> bool {
        let rows = arrival.rows();
        if self.backlog.waiting_rows.load(Ordering::Relaxed) + rows > WAITING_ROWS_MAX {
            self.backlog.missed_rows.fetch_add(rows as u64, Ordering::Relaxed);
            return !self.sender.is_closed();
        }
        self.backlog.waiting_rows.fetch_add(rows, Ordering::Relaxed);
        self.sender.send(arrival.clone()).is_ok()
    }
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
        TailSnapshot { streams: self.lock().streams.clone() }
    }

    /// Rows as they come from now on.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        let (sender, receiver) = mpsc::unbounded_channel();
        let backlog = Arc::<Backlog>::default();
        self.lock().watchers.push(Watcher { sender, backlog: Arc::clone(&backlog) });
        Arrivals { receiver, backlog }
    }

    /// Rows that are held, frames and packets together.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lock().streams.values().flat_map(StreamTail::pieces).map(|piece| piece.batch.num_rows()).sum()
    }

    /// When the first of the rows that are held was received, if there is one: the catalogue knows everything before it.
    #[must_use]
    pub fn earliest_rx_tai_ns(&self) -> Option<i64> {
        let inner = self.lock();
        let pieces = inner.streams.values().flat_map(StreamTail::pieces);
        pieces.filter_map(|piece| column(&piece.batch, "rx_tai_ns")?.values().iter().min().copied()).min()
    }

    pub(crate) fn add(&self, colour: Colour, ring: &str, series: u64, rows: Finished) {
        let arrival = Arrival { colour, ring: ring.to_owned(), frames: rows.frames, packets: rows.packets };
        let mut inner = self.lock();
        inner.watchers.retain(|watcher| watcher.hand(&arrival));
        let stream = inner.streams.entry((colour, arrival.ring)).or_default();
        stream.frames.extend(arrival.frames.map(|batch| Piece { series, batch }));
        stream.packets.extend(arrival.packets.map(|batch| Piece { series, batch }));
        // A segment may be in the catalogue before its last records have come by here.
        let (series, end_seq) = stream.catalogued;
        stream.drop_before(series, end_seq);
    }

    pub(crate) fn forget(&self, colour: Colour, ring: &str, series: u64, end_seq: u64) {
        let mut inner = self.lock();
        let stream = inner.streams.entry((colour, ring.to_owned())).or_default();
        stream.catalogued = stream.catalogued.max((series, end_seq));
        stream.drop_before(series, end_seq);
    }

    // A thread that panicked while it held the lock left whole batches behind: they can be used.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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
    column(batch, "seq").map_or(0, |column| column.values().partition_point(|value| (*value as u64) < seq))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a Int64Array> {
    batch.column_by_name(name)?.as_any().downcast_ref::<Int64Array>()
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
