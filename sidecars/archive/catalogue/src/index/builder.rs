//! Records into index rows and summary, one pass over a segment.

use std::sync::Arc;

use arrow::array::RecordBatch;
use fep_ccsds::{FrameKind, SpacePacketHeader};
use fep_record::{BadReason, FrameFlags, FrameRecord, KIND_EVENT, KIND_FRAME, KIND_PACKET, PacketRecord};
use fep_time::{LeapSeconds, Tai};
use twox_hash::XxHash3_64;

use super::columns::{FrameColumns, FrameRow, PacketColumns, PacketRow, UtcUs};
use super::parquet_file::{ParquetBytes, ParquetWriter, ROWS_PER_GROUP};
use super::summary::{Seen, Summariser, Summary};
use crate::Error;
use crate::model::Channel;
use crate::packet_layout::{PacketLayouts, Secondary, read_secondary};
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
    /// The hour of the last reception and its leap seconds: the list is asked once an hour.
    hour: Option<(i64, i64)>,
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
            hour: None,
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
        let quality = Quality::of(frame.flags, frame.reason);
        let idle = frame.flags.contains(FrameFlags::IDLE);
        let count = frame_counter(frame, record.payload);
        let rx_utc = self.utc(record.rx_tai_ns);
        self.frames.push(&FrameRow {
            seq: record.seq as i64,
            rx_tai_ns: record.rx_tai_ns,
            rx_utc,
            link: i32::from(frame.link_id),
            session: frame.session as i32,
            tfvn: i32::from(frame.gvcid.tfvn),
            scid: i32::from(frame.gvcid.scid),
            vcid: i32::from(frame.gvcid.vcid),
            expedited: count.expedited,
            frame_count: i64::from(frame.frame_count),
            flags: i32::from(frame.flags.0),
            quality: quality as i32,
            reason: frame.reason as i32,
            idle,
            marker_bit_errors: i32::from(frame.marker_bit_errors),
            symbols_corrected: i32::from(frame.symbols_corrected),
            codewords_failed: i32::from(frame.codewords_failed),
            series: self.series,
            segment: self.segment,
            offset: record.offset as i64,
            len: record.payload.len() as i32,
            digest: digest(record.payload),
        });
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
            && !(idle && frame.gvcid.tfvn != FrameKind::Tm.tfvn());
        self.summariser.push(&Seen {
            seq: record.seq,
            rx_tai_ns: record.rx_tai_ns,
            link: frame.link_id,
            session: frame.session,
            scid: frame.gvcid.scid,
            quality,
            idle,
            len: record.payload.len(),
            by_packet: false,
            counted: counts.then_some((channel, u64::from(frame.frame_count), count.modulus)),
            flags: frame.flags,
        });
    }

    fn push_packet(&mut self, record: &Record<'_>, packet: &PacketRecord) {
        let space = (packet.pvn == 0).then(|| SpacePacketHeader::parse(record.payload).ok()).flatten();
        let idle = packet.flags.contains(FrameFlags::IDLE) || space.is_some_and(|header| header.is_idle());
        let secondary = match space {
            Some(header) if header.secondary_header && !idle => {
                let layout = self.layouts.of(packet.gvcid.scid, packet.apid);
                let data_field = record.payload.get(fep_ccsds::packet::SPACE_PACKET_HEADER_LEN..);
                read_secondary(layout, data_field.unwrap_or_default(), &self.leap_seconds)
            }
            _ => Secondary::default(),
        };
        let quality = Quality::of(packet.flags, BadReason::None);
        let count = packet.sequence & 0x3FFF;
        let rx_utc = self.utc(record.rx_tai_ns);
        self.packets.push(&PacketRow {
            seq: record.seq as i64,
            rx_tai_ns: record.rx_tai_ns,
            rx_utc,
            link: i32::from(packet.link_id),
            session: packet.session as i32,
            tfvn: i32::from(packet.gvcid.tfvn),
            scid: i32::from(packet.gvcid.scid),
            vcid: i32::from(packet.gvcid.vcid),
            pvn: i32::from(packet.pvn),
            apid: i32::from(packet.apid),
            telecommand: space.is_some_and(|header| header.packet_type == fep_ccsds::PacketType::Telecommand),
            sequence_flags: i32::from(packet.sequence >> 14),
            sequence_count: i32::from(count),
            service: secondary.service.map(i32::from),
            subtype: secondary.subtype.map(i32::from),
            onboard_tai_ns: secondary.onboard_tai_ns,
            frame_seq: i64::from(packet.frame_seq),
            flags: i32::from(packet.flags.0),
            quality: quality as i32,
            idle,
            series: self.series,
            segment: self.segment,
            offset: record.offset as i64,
            len: record.payload.len() as i32,
            digest: digest(record.payload),
        });
        let channel = Channel {
            link: packet.link_id,
            session: packet.session as u8,
            tfvn: packet.gvcid.tfvn,
            scid: packet.gvcid.scid,
            vcid: packet.gvcid.vcid,
            expedited: false,
            apid: Some(packet.apid),
        };
        self.summariser.push(&Seen {
            seq: record.seq,
            rx_tai_ns: record.rx_tai_ns,
            link: packet.link_id,
            session: packet.session,
            scid: packet.gvcid.scid,
            quality,
            idle,
            len: record.payload.len(),
            by_packet: true,
            counted: (packet.pvn == 0 && !idle).then_some((channel, u64::from(count), 1 << 14)),
            // The flags are those of the frame: they say nothing of the packet's own counter.
            flags: FrameFlags::empty(),
        });
    }

    fn utc(&mut self, tai_ns: i64) -> UtcUs {
        const HOUR_NS: i64 = 3_600_000_000_000;
        const SECOND_NS: i64 = 1_000_000_000;
        let hour = tai_ns.div_euclid(HOUR_NS);
        let offset_s = match self.hour {
            Some((of, offset_s)) if of == hour => offset_s,
            _ => {
                let at = |tai_ns| i64::from(self.leap_seconds.tai_minus_utc(Tai(tai_ns)));
                let (first, last) = (
                    at(hour.saturating_mul(HOUR_NS)),
                    at(hour.saturating_mul(HOUR_NS).saturating_add(HOUR_NS - 1)),
                );
                if first == last {
                    self.hour = Some((hour, first));
                    first
                } else {
                    // A leap second is put in within this hour.
                    at(tai_ns)
                }
            }
        };
        let unix_ns = tai_ns.saturating_sub(Tai::UNIX_EPOCH.0).saturating_sub(offset_s * SECOND_NS);
        UtcUs(unix_ns.div_euclid(1000))
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

/// XXH3 of a payload, as index rows hold it.
pub(crate) fn digest(payload: &[u8]) -> i64 {
    XxHash3_64::oneshot(payload) as i64
}

struct FrameCounter {
    modulus: u64,
    expedited: bool,
}

/// Width of the frame's counter. TM has 8 bits (132.0-B-3 4.1.2.6), AOS 24 or with its cycle 28 (732.0-B-4 4.1.2.4, 4.1.2.5),
/// USLP says it in its header (732.1-B-2 4.1.2.9 ff); of more than 32 bits the record keeps the low 32.
fn frame_counter(frame: &FrameRecord, octets: &[u8]) -> FrameCounter {
    const AOS: u8 = FrameKind::Aos.tfvn();
    const USLP: u8 = FrameKind::Uslp.tfvn();
    match frame.gvcid.tfvn {
        AOS => {
            let cycle_used = octets.get(5).is_some_and(|octet| octet & 0x40 != 0);
            FrameCounter { modulus: if cycle_used { 1 << 28 } else { 1 << 24 }, expedited: false }
        }
        USLP => {
            let truncated = octets.get(3).is_some_and(|octet| octet & 1 != 0);
            let field = if truncated { 0 } else { octets.get(6).copied().unwrap_or(0) };
            let bits = 8 * u32::from(field & 7);
            FrameCounter { modulus: 1 << bits.min(32), expedited: field & 0x80 != 0 }
        }
        _ => FrameCounter { modulus: 1 << 8, expedited: false },
    }
}
