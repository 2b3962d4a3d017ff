//! Records into index rows and summary, one pass over a segment.

use std::sync::Arc;

use arrow::array::RecordBatch;
use fep_ccsds::FrameKind;
use fep_record::{BadReason, FrameFlags, FrameRecord, KIND_EVENT, KIND_FRAME, KIND_PACKET, PacketRecord};
use fep_time::LeapSeconds;

use super::columns::{FrameColumns, PacketColumns};
use super::parquet_file::{ParquetBytes, ParquetWriter, ROWS_PER_GROUP};
use super::row::{PacketOwn, Placed, UtcClock, frame_counter, frame_row, octets_digest, packet_row};
use super::summary::{Seen, Summariser, Summary};
use crate::Error;
use crate::model::Channel;
use crate::packet_layout::PacketLayouts;
use crate::quality::Quality;

/// A record of a segment or ring.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Ring sequence number.
    pub seq: u64,
    /// Octets before its 64-octet header in the segment file.
    pub offset: u64,
    /// What it is: see `fep_record`.
    pub kind: u16,
    /// Flags of the descriptor.
    pub flags: u16,
    /// Reception.
    pub rx_tai_ns: i64,
    /// User words of the descriptor.
    pub words: [u64; 2],
    /// Frame or packet.
    pub payload: &'a [u8],
}

/// What was made of a segment.
pub(crate) struct BuiltIndex {
    pub(crate) frames: Option<ParquetBytes>,
    pub(crate) packets: Option<ParquetBytes>,
    pub(crate) summary: Summary,
    /// Records that are no frames, packets or events of this version.
    pub(crate) skipped: u64,
}

/// Reads records into columns. What becomes of the columns is the caller's affair.
pub(super) struct RowMaker {
    series: i64,
    segment: i64,
    layouts: Arc<PacketLayouts>,
    leap_seconds: LeapSeconds,
    utc: UtcClock,
    summariser: Summariser,
    pub(super) frames: FrameColumns,
    pub(super) packets: PacketColumns,
    skipped: u64,
}

impl RowMaker {
    pub(super) fn new(series: u64, base_pos: u64, layouts: Arc<PacketLayouts>) -> RowMaker {
        RowMaker {
            series: series as i64,
            segment: base_pos as i64,
            layouts,
            leap_seconds: LeapSeconds::builtin(),
            utc: UtcClock::default(),
            summariser: Summariser::default(),
            frames: FrameColumns::default(),
            packets: PacketColumns::default(),
            skipped: 0,
        }
    }

    pub(super) fn push(&mut self, record: &Record<'_>) {
        match record.kind {
            KIND_FRAME => match FrameRecord::from_words(record.flags, record.words) {
                Some(frame) => self.push_frame(record, &frame),
                None => self.skipped += 1,
            },
            KIND_PACKET => match PacketRecord::from_words(record.flags, record.words) {
                Some(packet) => self.push_packet(record, &packet),
                None => self.skipped += 1,
            },
            // Events have no index; their segments are kept by time like any other.
            KIND_EVENT => self.summariser.note(record.rx_tai_ns, record.payload.len()),
            _ => self.skipped += 1,
        }
    }

    fn push_frame(&mut self, record: &Record<'_>, frame: &FrameRecord) {
        let count = frame_counter(frame, record.payload);
        let placed = self.placed(record);
        let row = frame_row(&placed, frame, count.expedited);
        self.frames.push(&row);
        let quality = Quality::of(frame.flags, frame.reason);
        let channel = Channel {
            link: frame.link_id,
            session: frame.session as u8,
            tfvn: frame.gvcid.tfvn,
            scid: frame.gvcid.scid,
            vcid: frame.gvcid.vcid,
            expedited: count.expedited,
            apid: None,
        };
        // Idle frames of AOS and USLP have no count that means anything; those of TM count like any other.
        let counts = quality != Quality::Bad
            && count.modulus > 1
            && !(row.idle && frame.gvcid.tfvn != FrameKind::Tm.tfvn());
        self.summariser.push(&Seen {
            seq: record.seq,
            rx_tai_ns: record.rx_tai_ns,
            link: frame.link_id,
            session: frame.session,
            scid: frame.gvcid.scid,
            quality,
            idle: row.idle,
            len: record.payload.len(),
            by_packet: false,
            counted: counts.then_some((channel, u64::from(frame.frame_count), count.modulus)),
            flags: frame.flags,
        });
    }

    fn push_packet(&mut self, record: &Record<'_>, packet: &PacketRecord) {
        let own = PacketOwn::read(packet, record.payload, &self.layouts, &self.leap_seconds);
        let placed = self.placed(record);
        self.packets.push(&packet_row(&placed, packet, &own));
        let channel = Channel {
            link: packet.link_id,
            session: packet.session as u8,
            tfvn: packet.gvcid.tfvn,
            scid: packet.gvcid.scid,
            vcid: packet.gvcid.vcid,
            expedited: false,
            apid: Some(packet.apid),
        };
        let count = u64::from(packet.sequence & 0x3FFF);
        self.summariser.push(&Seen {
            seq: record.seq,
            rx_tai_ns: record.rx_tai_ns,
            link: packet.link_id,
            session: packet.session,
            scid: packet.gvcid.scid,
            quality: Quality::of(packet.flags, BadReason::None),
            idle: own.idle,
            len: record.payload.len(),
            by_packet: true,
            counted: (packet.pvn == 0 && !own.idle).then_some((channel, count, 1 << 14)),
            // The flags are those of the frame: they say nothing of the packet's own counter.
            flags: FrameFlags::empty(),
        });
    }

    fn placed(&mut self, record: &Record<'_>) -> Placed {
        Placed {
            seq: record.seq,
            rx_tai_ns: record.rx_tai_ns,
            rx_utc: self.utc.of(record.rx_tai_ns),
            series: self.series,
            segment: self.segment,
            offset: record.offset as i64,
            len: record.payload.len() as i32,
            digest: octets_digest(record.payload),
        }
    }

    pub(super) fn finish(self) -> (Summary, u64) {
        (self.summariser.finish(), self.skipped)
    }
}

/// Index files of one segment in the making.
pub(crate) struct IndexBuilder {
    rows: RowMaker,
    segment: String,
    frames: Option<ParquetWriter>,
    packets: Option<ParquetWriter>,
}

impl IndexBuilder {
    pub(crate) fn new(
        segment: &str,
        series: u64,
        base_pos: u64,
        layouts: Arc<PacketLayouts>,
    ) -> IndexBuilder {
        IndexBuilder {
            rows: RowMaker::new(series, base_pos, layouts),
            segment: segment.to_owned(),
            frames: None,
            packets: None,
        }
    }

    pub(crate) fn push(&mut self, record: &Record<'_>) -> Result<(), Error> {
        self.rows.push(record);
        if self.rows.frames.len() >= ROWS_PER_GROUP {
            self.write_frames()?;
        }
        if self.rows.packets.len() >= ROWS_PER_GROUP {
            self.write_packets()?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<BuiltIndex, Error> {
        if self.rows.frames.len() > 0 {
            self.write_frames()?;
        }
        if self.rows.packets.len() > 0 {
            self.write_packets()?;
        }
        let finish = |writer: Option<ParquetWriter>| {
            writer.map(ParquetWriter::finish).transpose().map_err(Error::parquet(&self.segment))
        };
        let (frames, packets) = (finish(self.frames)?, finish(self.packets)?);
        let (summary, skipped) = self.rows.finish();
        Ok(BuiltIndex { frames, packets, summary, skipped })
    }

    fn write_frames(&mut self) -> Result<(), Error> {
        let columns = std::mem::replace(&mut self.rows.frames, FrameColumns::with_capacity(ROWS_PER_GROUP));
        write_group(&mut self.frames, &self.segment, columns.into_batch())
    }

    fn write_packets(&mut self) -> Result<(), Error> {
        let columns = std::mem::replace(&mut self.rows.packets, PacketColumns::with_capacity(ROWS_PER_GROUP));
        write_group(&mut self.packets, &self.segment, columns.into_batch())
    }
}

fn write_group(
    writer: &mut Option<ParquetWriter>,
    segment: &str,
    batch: Result<RecordBatch, arrow::error::ArrowError>,
) -> Result<(), Error> {
    let write = || {
        let batch = batch?;
        let writer = match writer {
            Some(writer) => writer,
            empty => empty.insert(ParquetWriter::new(batch.schema(), segment)?),
        };
        writer.write(&batch)
    };
    write().map_err(Error::parquet(segment))
}
