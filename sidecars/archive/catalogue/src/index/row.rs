//! From a record's descriptor and payload to its row of the index: one way for the index files and for the open tail.

use fep_ccsds::{FrameKind, PacketType, SpacePacketHeader};
use fep_record::{BadReason, FrameFlags, FrameRecord, PacketRecord};
use fep_time::{LeapSeconds, Tai};
use twox_hash::XxHash3_64;

use super::columns::{FrameRow, PacketRow, UtcUs};
use crate::packet_layout::{PacketLayouts, Secondary, read_secondary};
use crate::quality::Quality;

/// What every row has of its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) seq: u64,
    pub(super) rx_tai_ns: i64,
    pub(super) rx_utc: UtcUs,
    pub(super) series: i64,
    pub(super) segment: i64,
    pub(super) offset: i64,
    pub(super) len: i32,
    pub(super) digest: i64,
}

/// What only the octets of a packet say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PacketOwn {
    pub(super) telecommand: bool,
    pub(super) idle: bool,
    pub(super) secondary: Secondary,
}

impl PacketOwn {
    pub(super) fn read(
        packet: &PacketRecord,
        payload: &[u8],
        layouts: &PacketLayouts,
        leap_seconds: &LeapSeconds,
    ) -> PacketOwn {
        let space = (packet.pvn == 0).then(|| SpacePacketHeader::parse(payload).ok()).flatten();
        let idle = packet.flags.contains(FrameFlags::IDLE) || space.is_some_and(|header| header.is_idle());
        let secondary = match space {
            Some(header) if header.secondary_header && !idle => {
                let layout = layouts.of(packet.gvcid.scid, packet.apid);
                let data_field = payload.get(fep_ccsds::packet::SPACE_PACKET_HEADER_LEN..);
                read_secondary(layout, data_field.unwrap_or_default(), leap_seconds)
            }
            _ => Secondary::default(),
        };
        let telecommand = space.is_some_and(|header| header.packet_type == PacketType::Telecommand);
        PacketOwn { telecommand, idle, secondary }
    }
}

/// The row of a frame. `expedited`: see [`frame_counter`].
pub(super) fn frame_row(placed: &Placed, frame: &FrameRecord, expedited: bool) -> FrameRow {
    FrameRow {
        seq: placed.seq as i64,
        rx_tai_ns: placed.rx_tai_ns,
        rx_utc: placed.rx_utc,
        link: i32::from(frame.link_id),
        session: frame.session as i32,
        tfvn: i32::from(frame.gvcid.tfvn),
        scid: i32::from(frame.gvcid.scid),
        vcid: i32::from(frame.gvcid.vcid),
        expedited,
        frame_count: i64::from(frame.frame_count),
        flags: i32::from(frame.flags.0),
        quality: Quality::of(frame.flags, frame.reason) as i32,
        reason: frame.reason as i32,
        idle: frame.flags.contains(FrameFlags::IDLE),
        marker_bit_errors: i32::from(frame.marker_bit_errors),
        symbols_corrected: i32::from(frame.symbols_corrected),
        codewords_failed: i32::from(frame.codewords_failed),
        series: placed.series,
        segment: placed.segment,
        offset: placed.offset,
        len: placed.len,
        digest: placed.digest,
    }
}

/// The row of a packet.
pub(super) fn packet_row(placed: &Placed, packet: &PacketRecord, own: &PacketOwn) -> PacketRow {
    PacketRow {
        seq: placed.seq as i64,
        rx_tai_ns: placed.rx_tai_ns,
        rx_utc: placed.rx_utc,
        link: i32::from(packet.link_id),
        session: packet.session as i32,
        tfvn: i32::from(packet.gvcid.tfvn),
        scid: i32::from(packet.gvcid.scid),
        vcid: i32::from(packet.gvcid.vcid),
        pvn: i32::from(packet.pvn),
        apid: i32::from(packet.apid),
        telecommand: own.telecommand,
        sequence_flags: i32::from(packet.sequence >> 14),
        sequence_count: i32::from(packet.sequence & 0x3FFF),
        service: own.secondary.service.map(i32::from),
        subtype: own.secondary.subtype.map(i32::from),
        onboard_tai_ns: own.secondary.onboard_tai_ns,
        frame_seq: i64::from(packet.frame_seq),
        flags: i32::from(packet.flags.0),
        quality: Quality::of(packet.flags, BadReason::None) as i32,
        idle: own.idle,
        series: placed.series,
        segment: placed.segment,
        offset: placed.offset,
        len: placed.len,
        digest: placed.digest,
    }
}

/// XXH3 of a payload, as index rows hold it.
pub fn octets_digest(payload: &[u8]) -> i64 {
    XxHash3_64::oneshot(payload) as i64
}

/// The counter of a frame's channel.
pub(super) struct FrameCounter {
    pub(super) modulus: u64,
    pub(super) expedited: bool,
}

/// Width of the frame's counter. TM has 8 bits (132.0-B-3 4.1.2.6), AOS 24 or with its cycle 28 (732.0-B-4 4.1.2.4, 4.1.2.5),
/// USLP says it in its header (732.1-B-2 4.1.2.9 ff); of more than 32 bits the record keeps the low 32.
pub(super) fn frame_counter(frame: &FrameRecord, octets: &[u8]) -> FrameCounter {
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

/// TAI to UTC, asking the list of leap seconds once an hour of data.
pub(super) struct UtcClock {
    leap_seconds: LeapSeconds,
    /// The hour of the last reception and its leap seconds.
    hour: Option<(i64, i64)>,
}

impl Default for UtcClock {
    fn default() -> UtcClock {
        UtcClock { leap_seconds: LeapSeconds::builtin(), hour: None }
    }
}

impl UtcClock {
    pub(super) fn of(&mut self, tai_ns: i64) -> UtcUs {
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
}
