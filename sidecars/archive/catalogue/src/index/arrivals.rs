//! Rows of the open tail as they come, for those who look on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use super::packed::{self, PackedRows, Table};
use crate::Error;
use crate::model::Colour;

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
    pub(super) fn of(colour: Colour, ring: &str, series: u64, rows: &PackedRows) -> Result<Arrival, Error> {
        let batch = |table| {
            let octets = rows.of(table);
            (!octets.is_empty()).then(|| packed::batch(table, series, octets)).transpose()
        };
        let (frames, packets) = (batch(Table::Frames)?, batch(Table::Packets)?);
        Ok(Arrival { colour, ring: ring.to_owned(), frames, packets })
    }

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
pub(super) struct Watcher {
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
    pub(super) fn new() -> (Watcher, Arrivals) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let backlog = Arc::<Backlog>::default();
        (Watcher { sender, backlog: Arc::clone(&backlog) }, Arrivals { receiver, backlog })
    }

    /// Hands it on; `false` when nobody reads any more.
    pub(super) fn hand(&self, arrival: &Arrival) -> bool {
        let rows = arrival.rows();
        if self.backlog.waiting_rows.load(Ordering::Relaxed) + rows > WAITING_ROWS_MAX {
            self.backlog.missed_rows.fetch_add(rows as u64, Ordering::Relaxed);
            return !self.sender.is_closed();
        }
        self.backlog.waiting_rows.fetch_add(rows, Ordering::Relaxed);
        self.sender.send(arrival.clone()).is_ok()
    }
}
