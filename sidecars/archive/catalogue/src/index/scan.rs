//! The rows of a sealed segment without its index: record by record, by the same code.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use fep_segments::{LossCause, Piece, SegmentEntry, SegmentReader, Stream};

use super::builder::{Record, RowMaker};
use crate::Error;
use crate::packet_layout::PacketLayouts;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// Which rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanOf {
    /// Those of [`crate::FrameRow`].
    Frames,
    /// Those of [`crate::PacketRow`].
    Packets,
}

/// Reads a sealed segment that is not indexed yet; the rows are those that its index will have. Blocking.
pub struct SegmentScan {
    reader: SegmentReader<File>,
    rows: RowMaker,
    of: ScanOf,
    damaged_records: u64,
}

impl SegmentScan {
    /// Opens it where it is now; `None`: it was removed since it was listed.
    ///
    /// # Errors
    /// The disk; no sealed segment.
    pub fn open(
        archive: &Path,
        stream: &Stream,
        entry: &SegmentEntry,
        layouts: Arc<PacketLayouts>,
        of: ScanOf,
    ) -> Result<Option<SegmentScan>, Error> {
        let Some(mut reader) = fep_segments::open_listed(archive, stream, entry)? else { return Ok(None) };
        // Nobody writes it any more: what does not hold is damaged.
        reader.settle()?;
        let rows = RowMaker::new(entry.name.series, entry.name.base_pos, layouts);
        Ok(Some(SegmentScan { reader, rows, of, damaged_records: 0 }))
    }

    /// The next rows, at most some thousand; `None` at the end.
    ///
    /// # Errors
    /// The disk.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        while self.len() < BATCH_ROWS {
            match self.reader.next()? {
                Some(Piece::Record(view)) => self.rows.push(&Record {
                    seq: view.record.seq,
                    offset: view.offset,
                    kind: view.record.tag.kind,
                    flags: view.record.tag.flags,
                    rx_tai_ns: view.record.tag.received.0,
                    words: view.record.tag.words,
                    payload: view.payload,
                }),
                Some(Piece::Loss(loss)) if loss.cause == LossCause::DamagedBlock => {
                    self.damaged_records += loss.records();
                }
                Some(Piece::Loss(_)) => {}
                None => break,
            }
        }
        if self.len() == 0 {
            return Ok(None);
        }
        let frames = std::mem::take(&mut self.rows.frames);
        let packets = std::mem::take(&mut self.rows.packets);
        let batch = match self.of {
            ScanOf::Frames => frames.into_batch(),
            ScanOf::Packets => packets.into_batch(),
        };
        let path = self.reader.path().display().to_string();
        batch.map(Some).map_err(|error| Error::parquet(&path)(error.into()))
    }

    /// What did not hold its checksum so far, and was not damaged before it was sealed.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        let before = self.reader.footer().map_or(0, |footer| footer.damaged_records);
        let records = self.damaged_records.saturating_sub(before);
        (records > 0).then(|| format!("{records} records are in blocks that do not hold"))
    }

    fn len(&self) -> usize {
        match self.of {
            ScanOf::Frames => self.rows.frames.len(),
            ScanOf::Packets => self.rows.packets.len(),
        }
    }
}
