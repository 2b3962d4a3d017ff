//! The index of packets of a segment of frames, where the packets themselves were not recorded: they are taken out of the frames
//! by the code that takes them out in the daemon ([`Extraction`]).
//!
//! A packet belongs to the segment in which it ends. Where it begins in an earlier one, extraction has to begin there: the
//! footer of the index file says up to where the next segment has to go back.

use std::sync::Arc;

use bytes::Bytes;
use fep_downlink::{Extracted, Extraction, RecordedFrame};
use fep_record::{FrameRecord, KIND_FRAME, PacketRecord};
use fep_time::{LeapSeconds, Tai};

use super::builder::Record;
use super::columns::{PacketColumns, PacketRow};
use super::parquet_file::{ParquetBytes, ParquetWriter, ROWS_PER_GROUP, note_of};
use super::row::{PacketOwn, Placed, UtcClock, octets_digest, packet_row};
use crate::Error;
use crate::packet_layout::PacketLayouts;

/// Key of the note in the footer that says where the earliest packet in progress at the end of the segment began.
const RESUME: &str = "fep.resume";

/// Where a recorded frame is. In the order of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FramePlace {
    /// Base position of its segment; [`super::NOT_IN_A_SEGMENT`] for one that was read from the ring.
    pub segment: u64,
    /// Ring sequence number.
    pub seq: u64,
    /// Octets before the header of its record in the segment file.
    pub offset: u64,
}

/// Takes the packets out of the frames of one segment.
pub(crate) struct ExtractedRows {
    segment: String,
    series: u64,
    base_pos: u64,
    layouts: Arc<PacketLayouts>,
    leap_seconds: LeapSeconds,
    utc: UtcClock,
    extraction: Extraction<FramePlace>,
    columns: PacketColumns,
    writer: ParquetWriter,
}

impl ExtractedRows {
    /// Begins; `segment` is the segment's name for the file.
    pub(crate) fn new(
        segment: &str,
        series: u64,
        base_pos: u64,
        layouts: Arc<PacketLayouts>,
    ) -> Result<ExtractedRows, Error> {
        Ok(ExtractedRows {
            segment: segment.to_owned(),
            series,
            base_pos,
            leap_seconds: LeapSeconds::builtin(),
            utc: UtcClock::default(),
            extraction: Extraction::new(Arc::clone(layouts.fleet())),
            layouts,
            columns: PacketColumns::default(),
            writer: ParquetWriter::new(PacketRow::schema(), segment).map_err(Error::parquet(segment))?,
        })
    }

    /// A record of an earlier segment: what begins in it may end in this one.
    pub(crate) fn push_before(&mut self, base_pos: u64, record: &Record<'_>) {
        if let Some(frame) = recorded(base_pos, record) {
            self.extraction.frame(&frame, &mut |_| {});
        }
    }

    /// A record of the segment.
    pub(crate) fn push(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let Some(frame) = recorded(self.base_pos, record) else { return Ok(()) };
        let ExtractedRows { series, layouts, leap_seconds, utc, extraction, columns, .. } = self;
        extraction.frame(&frame, &mut |packet| {
            let placed = Placed {
                seq: record.seq,
                rx_tai_ns: record.rx_tai_ns,
                rx_utc: utc.of(record.rx_tai_ns),
                series: *series as i64,
                segment: packet.began.segment as i64,
                offset: packet.began.offset as i64,
                len: packet.octets.len() as i32,
                digest: octets_digest(packet.octets),
            };
            let of_frame = PacketRecord { frame_seq: record.seq as u32, ..packet.record };
            let own = PacketOwn::read(&of_frame, packet.octets, layouts, leap_seconds);
            columns.push(&packet_row(&placed, &of_frame, &own));
        });
        if self.columns.len() >= ROWS_PER_GROUP {
            self.write()?;
        }
        Ok(())
    }

    /// Records are missing here.
    pub(crate) fn interrupted(&mut self) {
        self.extraction.interrupted();
    }

    fn write(&mut self) -> Result<(), Error> {
        let columns = std::mem::take(&mut self.columns);
        let batch = columns.into_batch().map_err(|error| Error::parquet(&self.segment)(error.into()))?;
        self.writer.write(&batch).map_err(Error::parquet(&self.segment))
    }

    /// The index file: also where there is no packet, so that it is known that none is in the segment.
    pub(crate) fn finish(mut self) -> Result<ParquetBytes, Error> {
        if self.columns.len() > 0 {
            self.write()?;
        }
        let resume = match self.extraction.in_progress().map(|(_, began)| began).min() {
            Some(began) => format!("{:x} {:x}", began.segment, began.seq),
            None => String::new(),
        };
        self.writer.note(RESUME, resume);
        let ledger = self.extraction.ledger();
        if ledger.undescribed + ledger.unreadable > 0 {
            tracing::info!(
                "segment {}: {} frames are of channels that no mission describes, or several differently; {} do not have \
                 the parts that their mission says",
                self.segment,
                ledger.undescribed,
                ledger.unreadable
            );
        }
        self.writer.finish().map_err(Error::parquet(&self.segment))
    }
}

fn recorded<'a>(base_pos: u64, record: &Record<'a>) -> Option<RecordedFrame<'a, FramePlace>> {
    if record.kind != KIND_FRAME {
        return None;
    }
    Some(RecordedFrame {
        octets: record.payload,
        record: FrameRecord::from_words(record.flags, record.words)?,
        received: Tai(record.rx_tai_ns),
        place: FramePlace { segment: base_pos, seq: record.seq, offset: record.offset },
    })
}

/// Base position of the segment, and sequence number, at which extraction has to begin for what follows the segment of this
/// index file. The inner `None`: nothing was in progress at its end. The outer: it does not say.
pub(crate) fn resume_place(octets: Bytes, segment: &str) -> Result<Option<Option<(u64, u64)>>, Error> {
    let Some(note) = note_of(octets, RESUME).map_err(Error::parquet(segment))? else { return Ok(None) };
    if note.is_empty() {
        return Ok(Some(None));
    }
    let place = note.split_once(' ').and_then(|(base, seq)| {
        Some((u64::from_str_radix(base, 16).ok()?, u64::from_str_radix(seq, 16).ok()?))
    });
    Ok(place.map(Some))
}

/// Takes the packets out of the frames of an open tail.
pub(crate) struct TailExtraction {
    extraction: Extraction<FramePlace>,
}

impl TailExtraction {
    pub(crate) fn new(layouts: &PacketLayouts) -> TailExtraction {
        TailExtraction { extraction: Extraction::new(Arc::clone(layouts.fleet())) }
    }

    /// Records are missing here.
    pub(crate) fn interrupted(&mut self) {
        self.extraction.interrupted();
    }

    /// The next record of the ring; packets that end in it go to `sink`.
    pub(crate) fn push(&mut self, record: &Record<'_>, sink: &mut impl FnMut(&Extracted<'_, FramePlace>)) {
        if let Some(frame) = recorded(super::NOT_IN_A_SEGMENT, record) {
            self.extraction.frame(&frame, &mut |packet| sink(&packet));
        }
    }
}
