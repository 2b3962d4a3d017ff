//! A stretch of packed rows of one stream, in memory or spilled.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::packed::{self, Table, rx_of, seq_of};
use super::spill::{Spill, Spilled};
use crate::Error;

/// Rows of a chunk.
pub(super) const CHUNK_ROWS: usize = 4096;
/// Rows that a chunk has room for when it begins.
const FIRST_ROWS: usize = 64;
/// Octets of the largest chunk.
pub(super) const CHUNK_OCTETS: usize = CHUNK_ROWS * Table::Packets.row_len();

#[derive(Debug, Clone)]
enum Octets {
    Memory(Arc<Vec<u8>>),
    Disk(Arc<Spilled>),
}

/// Rows in order of their sequence numbers. Clones share the octets.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    table: Table,
    series: u64,
    octets: Octets,
    /// Rows in the octets; of these, `from` up to before `to` are meant.
    rows: usize,
    from: usize,
    to: usize,
    /// Sequence numbers of the first and last of `rows`.
    first_seq: u64,
    last_seq: u64,
    /// Earliest reception of `from` to `to`, or earlier.
    earliest_rx: i64,
}

impl Chunk {
    /// An empty one.
    pub(super) fn new(table: Table, series: u64) -> Chunk {
        Chunk {
            table,
            series,
            octets: Octets::Memory(Arc::new(Vec::new())),
            rows: 0,
            from: 0,
            to: 0,
            first_seq: 0,
            last_seq: 0,
            earliest_rx: i64::MAX,
        }
    }

    /// Takes whole rows from the front of `octets`, as many as there is room for; returns the rest.
    pub(super) fn take<'o>(&mut self, octets: &'o [u8]) -> &'o [u8] {
        let row_len = self.table.row_len();
        let Octets::Memory(held) = &mut self.octets else { return octets };
        let room = (CHUNK_ROWS - self.rows) * row_len;
        let (taken, rest) = octets.split_at(room.min(octets.len()));
        let Some(first) = taken.get(..row_len) else { return octets };
        // A snapshot may hold the rows so far: then it keeps them, and these go on in a copy.
        let held = Arc::make_mut(held);
        let needed = held.len() + taken.len();
        if needed > held.capacity() {
            let doubled = (2 * held.capacity()).max(FIRST_ROWS * row_len).max(needed);
            held.reserve_exact(doubled.min(CHUNK_ROWS * row_len) - held.len());
        }
        held.extend_from_slice(taken);
        if self.rows == 0 {
            self.first_seq = seq_of(first);
        }
        self.rows = needed / row_len;
        self.to = self.rows;
        self.last_seq = seq_of(&held[needed - row_len..]);
        let earliest = taken.chunks_exact(row_len).map(rx_of).min();
        self.earliest_rx = self.earliest_rx.min(earliest.unwrap_or(i64::MAX));
        rest
    }

    /// Whether more rows of this series can be added.
    pub(super) fn has_room(&self, series: u64) -> bool {
        self.series == series && self.rows < CHUNK_ROWS && self.is_in_memory()
    }

    /// Gives back what it reserved for more rows.
    pub(super) fn close(&mut self) {
        if let Octets::Memory(held) = &mut self.octets
            && let Some(held) = Arc::get_mut(held)
        {
            held.shrink_to_fit();
        }
    }

    /// Moves its octets to the disk; `false` when there is no room, and it stays as it is.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn spill(&mut self, spill: &Arc<Spill>) -> Result<bool, Error> {
        let Octets::Memory(held) = &self.octets else { return Ok(true) };
        let Some(spilled) = spill.write(held)? else { return Ok(false) };
        self.octets = Octets::Disk(Arc::new(spilled));
        Ok(true)
    }

    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.octets, Octets::Memory(_))
    }

    /// Octets of memory that it takes, reserved ones included.
    pub(super) fn memory(&self) -> usize {
        match &self.octets {
            Octets::Memory(held) => held.capacity(),
            Octets::Disk(_) => 0,
        }
    }

    pub(super) fn series(&self) -> u64 {
        self.series
    }

    pub(super) fn len(&self) -> usize {
        self.to - self.from
    }

    pub(super) fn earliest_rx(&self) -> i64 {
        self.earliest_rx
    }

    /// Sequence number of the last row that is meant.
    ///
    /// # Errors
    /// The disk's, where it was spilled.
    pub(super) fn last_seq(&self) -> Result<u64, Error> {
        if self.to == self.rows { Ok(self.last_seq) } else { self.seq_at(self.to.saturating_sub(1)) }
    }

    /// Leaves out the rows before sequence number `seq`.
    ///
    /// # Errors
    /// The disk's, where it was spilled.
    pub(super) fn drop_before(&mut self, seq: u64) -> Result<(), Error> {
        let from = self.row_from(seq)?.clamp(self.from, self.to);
        if from != self.from {
            self.from = from;
            if let Octets::Memory(held) = &self.octets {
                let row_len = self.table.row_len();
                let left = held[self.from * row_len..self.to * row_len].chunks_exact(row_len);
                self.earliest_rx = left.map(rx_of).min().unwrap_or(i64::MAX);
            }
        }
        Ok(())
    }

    /// Leaves out the rows from sequence number `seq` on.
    ///
    /// # Errors
    /// The disk's, where it was spilled.
    pub(super) fn drop_from(&mut self, seq: u64) -> Result<(), Error> {
        self.to = self.row_from(seq)?.clamp(self.from, self.to);
        Ok(())
    }

    /// The rows as rows of the index.
    ///
    /// # Errors
    /// The disk's, where it was spilled.
    pub(super) fn batch(&self) -> Result<RecordBatch, Error> {
        packed::batch(self.table, self.series, &self.read(self.from, self.to)?)
    }

    /// The first row whose sequence number is at least `seq`.
    fn row_from(&self, seq: u64) -> Result<usize, Error> {
        if self.rows == 0 || seq <= self.first_seq {
            return Ok(0);
        }
        if seq > self.last_seq {
            return Ok(self.rows);
        }
        if self.table == Table::Frames && self.last_seq - self.first_seq == self.rows as u64 - 1 {
            // None is missing between the first and the last: no row has to be looked at. Of packets, several may have the
            // number of the frame that they were taken out of.
            return Ok((seq - self.first_seq) as usize);
        }
        let octets = self.read(0, self.rows)?;
        let row_len = self.table.row_len();
        let rows: Vec<u64> = octets.chunks_exact(row_len).map(seq_of).collect();
        Ok(rows.partition_point(|of_row| *of_row < seq))
    }

    fn seq_at(&self, row: usize) -> Result<u64, Error> {
        Ok(seq_of(&self.read(row, row + 1)?))
    }

    fn read(&self, from: usize, to: usize) -> Result<Cow<'_, [u8]>, Error> {
        let row_len = self.table.row_len();
        match &self.octets {
            Octets::Memory(held) => Ok(Cow::Borrowed(&held[from * row_len..to * row_len])),
            Octets::Disk(spilled) => {
                debug_assert!(to * row_len <= spilled.len());
                spilled.read(from * row_len, to * row_len).map(Cow::Owned)
            }
        }
    }
}
