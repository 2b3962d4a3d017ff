//! Rows of the open tail as they wait in memory: the words of the descriptor and what only the payload says, 48 octets a frame
//! and 57 a packet. They become rows of the index, by the same code as the index files, when somebody asks for them.
//!
//! Numbers are little-endian. Both kinds begin alike:
//!
//! | octet | what |
//! |---|---|
//! | 0 | time of reception, 8 |
//! | 8 | user words of the descriptor, 16 |
//! | 24 | digest of the payload, 8 |
//! | 32 | sequence number, 8 |
//! | 40 | length of the payload, 4 |
//! | 44 | flags of the descriptor, 2 |
//! | 46 | bits, 1: what follows says which |
//!
//! A frame has one octet more, which is 0; a packet service, subtype (1 each) and on-board time (8).
//!
//! The row of a packet that was taken out of recorded frames has the sequence number of the frame in which it ended, and in
//! the descriptor the low 32 bits of that of the frame in which it began.

use arrow::array::RecordBatch;
use fep_downlink::Extracted;
use fep_record::{FrameRecord, KIND_FRAME, KIND_PACKET, PacketRecord};
use fep_time::LeapSeconds;

use super::builder::Record;
use super::columns::{FrameColumns, PacketColumns};
use super::extracted::FramePlace;
use super::row::{PacketOwn, Placed, UtcClock, frame_counter, frame_row, octets_digest, packet_row};
use super::tail::NOT_IN_A_SEGMENT;
use crate::Error;
use crate::packet_layout::{PacketLayouts, Secondary};

/// Frames or packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Frames,
    Packets,
}

const RX: usize = 0;
const WORDS: usize = 8;
const DIGEST: usize = 24;
const SEQ: usize = 32;
const LEN: usize = 40;
const FLAGS: usize = 44;
const BITS: usize = 46;
const FRAME_END: usize = 48;
const SERVICE: usize = 47;
const SUBTYPE: usize = 48;
const ONBOARD: usize = 49;
const PACKET_END: usize = 57;

const EXPEDITED: u8 = 1;
const TELECOMMAND: u8 = 1;
const IDLE: u8 = 2;
const HAS_SERVICE: u8 = 4;
const HAS_SUBTYPE: u8 = 8;
const HAS_ONBOARD: u8 = 16;
const EXTRACTED: u8 = 32;

impl Table {
    pub(super) const BOTH: [Table; 2] = [Table::Frames, Table::Packets];

    /// Octets of a row.
    pub(super) const fn row_len(self) -> usize {
        match self {
            Table::Frames => FRAME_END,
            Table::Packets => PACKET_END,
        }
    }
}

/// Rows collected from records, to be put into the tail together.
#[derive(Debug, Default)]
pub(crate) struct PackedRows {
    frames: Vec<u8>,
    packets: Vec<u8>,
}

impl PackedRows {
    /// Takes the row of a record; one that is neither frame nor packet of this version has none.
    pub(crate) fn push(&mut self, record: &Record<'_>, layouts: &PacketLayouts, leap_seconds: &LeapSeconds) {
        let mut row = [0; PACKET_END];
        let mut put = |at: usize, octets: &[u8]| row[at..at + octets.len()].copy_from_slice(octets);
        put(RX, &record.rx_tai_ns.to_le_bytes());
        put(WORDS, &record.words[0].to_le_bytes());
        put(WORDS + 8, &record.words[1].to_le_bytes());
        put(DIGEST, &octets_digest(record.payload).to_le_bytes());
        put(SEQ, &record.seq.to_le_bytes());
        put(LEN, &(record.payload.len() as u32).to_le_bytes());
        put(FLAGS, &record.flags.to_le_bytes());
        match record.kind {
            KIND_FRAME => {
                let Some(frame) = FrameRecord::from_words(record.flags, record.words) else { return };
                row[BITS] = if frame_counter(&frame, record.payload).expedited { EXPEDITED } else { 0 };
                self.frames.extend_from_slice(&row[..FRAME_END]);
            }
            KIND_PACKET => {
                let Some(packet) = PacketRecord::from_words(record.flags, record.words) else { return };
                put_own(&mut row, &PacketOwn::read(&packet, record.payload, layouts, leap_seconds));
                self.packets.extend_from_slice(&row);
            }
            _ => {}
        }
    }

    /// Takes the row of a packet that ended in frame `seq` of its ring.
    pub(crate) fn push_extracted(
        &mut self,
        packet: &Extracted<'_, FramePlace>,
        seq: u64,
        layouts: &PacketLayouts,
        leap_seconds: &LeapSeconds,
    ) {
        let record = PacketRecord { frame_seq: packet.began.seq as u32, ..packet.record };
        let (flags, words) = record.to_words();
        let before = self.packets.len();
        let (rx_tai_ns, payload) = (packet.received.0, packet.octets);
        let offset = NOT_IN_A_SEGMENT;
        let record = Record { seq, offset, kind: KIND_PACKET, flags, rx_tai_ns, words, payload };
        self.push(&record, layouts, leap_seconds);
        if let Some(row) = self.packets.get_mut(before..).filter(|row| !row.is_empty()) {
            row[BITS] |= EXTRACTED;
        }
    }

    /// Rows collected.
    pub(crate) fn len(&self) -> usize {
        Table::BOTH.into_iter().map(|table| self.of(table).len() / table.row_len()).sum()
    }

    /// Forgets them; the memory stays for the next ones.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.packets.clear();
    }

    pub(super) fn of(&self, table: Table) -> &[u8] {
        match table {
            Table::Frames => &self.frames,
            Table::Packets => &self.packets,
        }
    }
}

fn put_own(row: &mut [u8; PACKET_END], own: &PacketOwn) {
    let Secondary { service, subtype, onboard_tai_ns } = own.secondary;
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    row[BITS] = bit(own.telecommand, TELECOMMAND)
        | bit(own.idle, IDLE)
        | bit(service.is_some(), HAS_SERVICE)
        | bit(subtype.is_some(), HAS_SUBTYPE)
        | bit(onboard_tai_ns.is_some(), HAS_ONBOARD);
    row[SERVICE] = service.unwrap_or(0);
    row[SUBTYPE] = subtype.unwrap_or(0);
    row[ONBOARD..].copy_from_slice(&onboard_tai_ns.unwrap_or(0).to_le_bytes());
}

fn eight(row: &[u8], at: usize) -> [u8; 8] {
    let mut octets = [0; 8];
    octets.copy_from_slice(&row[at..at + 8]);
    octets
}

/// Sequence number of a row.
pub(super) fn seq_of(row: &[u8]) -> u64 {
    u64::from_le_bytes(eight(row, SEQ))
}

/// Time of reception of a row.
pub(super) fn rx_of(row: &[u8]) -> i64 {
    i64::from_le_bytes(eight(row, RX))
}

/// The rows as rows of the index.
///
/// # Errors
/// When the columns make no batch: a mistake of the program.
pub(super) fn batch(table: Table, series: u64, octets: &[u8]) -> Result<RecordBatch, Error> {
    let mut utc = UtcClock::default();
    let rows = octets.len() / table.row_len();
    let made = match table {
        Table::Frames => {
            let mut columns = FrameColumns::with_capacity(rows);
            for row in octets.chunks_exact(FRAME_END) {
                let (placed, flags, words) = front(row, series, &mut utc);
                if let Some(frame) = FrameRecord::from_words(flags, words) {
                    columns.push(&frame_row(&placed, &frame, row[BITS] & EXPEDITED != 0));
                }
            }
            columns.into_batch()
        }
        Table::Packets => {
            let mut columns = PacketColumns::with_capacity(rows);
            for row in octets.chunks_exact(PACKET_END) {
                let (mut placed, flags, words) = front(row, series, &mut utc);
                if let Some(mut packet) = PacketRecord::from_words(flags, words) {
                    if row[BITS] & EXTRACTED != 0 {
                        let back = (placed.seq as u32).wrapping_sub(packet.frame_seq);
                        placed.offset = placed.seq.wrapping_sub(u64::from(back)) as i64;
                        packet.frame_seq = placed.seq as u32;
                    }
                    columns.push(&packet_row(&placed, &packet, &own_of(row)));
                }
            }
            columns.into_batch()
        }
    };
    made.map_err(|error| Error::parquet("open tail")(error.into()))
}

fn front(row: &[u8], series: u64, utc: &mut UtcClock) -> (Placed, u16, [u64; 2]) {
    let rx_tai_ns = rx_of(row);
    let placed = Placed {
        seq: seq_of(row),
        rx_tai_ns,
        rx_utc: utc.of(rx_tai_ns),
        series: series as i64,
        segment: NOT_IN_A_SEGMENT as i64,
        offset: NOT_IN_A_SEGMENT as i64,
        len: u32::from_le_bytes([row[LEN], row[LEN + 1], row[LEN + 2], row[LEN + 3]]) as i32,
        digest: i64::from_le_bytes(eight(row, DIGEST)),
    };
    let words = [u64::from_le_bytes(eight(row, WORDS)), u64::from_le_bytes(eight(row, WORDS + 8))];
    (placed, u16::from_le_bytes([row[FLAGS], row[FLAGS + 1]]), words)
}

fn own_of(row: &[u8]) -> PacketOwn {
    let has = |bit: u8| row[BITS] & bit != 0;
    PacketOwn {
        telecommand: has(TELECOMMAND),
        idle: has(IDLE),
        secondary: Secondary {
            service: has(HAS_SERVICE).then_some(row[SERVICE]),
            subtype: has(HAS_SUBTYPE).then_some(row[SUBTYPE]),
            onboard_tai_ns: has(HAS_ONBOARD).then(|| i64::from_le_bytes(eight(row, ONBOARD))),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::builder::RowMaker;
    use super::*;
    use proptest::prelude::*;

    fn layouts() -> PacketLayouts {
        let layout =
            r#"{"all": {"kind": "pus_c", "time": {"code": "cuc", "coarse_octets": 4, "fine_octets": 3}}}"#;
        let layout: fep_mission::PacketLayout = serde_json::from_str(layout).expect("a layout");
        PacketLayouts::from((0..4).map(|scid| (scid, layout.clone())).collect::<BTreeMap<_, _>>())
    }

    proptest! {
        // REQ: FEP-ARC-406
        #[test]
        fn a_row_of_the_tail_is_the_row_that_the_index_file_will_have(
            records in prop::collection::vec(
                (any::<bool>(), any::<u16>(), any::<[u64; 2]>(), 0..i64::MAX / 4, 0..u64::MAX / 4,
                 prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 1..20),
        ) {
            let layouts = layouts();
            let mut rows = PackedRows::default();
            let mut maker = RowMaker::new(9, NOT_IN_A_SEGMENT, Arc::new(layouts.clone()));
            for (frame, flags, mut words, rx_tai_ns, seq, mut payload, telemetry) in records {
                // Session and version are numbers that only a few values have; spacecraft of the layout come up, too.
                words[0] &= 0x0FFF_FFFF_FFFF_FFFF;
                if telemetry && payload.len() > 6 {
                    payload[0] = 0x08;
                    payload[4] = 0;
                    payload[5] = (payload.len() - 7) as u8;
                }
                let kind = if frame { KIND_FRAME } else { KIND_PACKET };
                let record =
                    Record { seq, offset: NOT_IN_A_SEGMENT, kind, flags, rx_tai_ns, words, payload: &payload };
                rows.push(&record, &layouts, &LeapSeconds::builtin());
                maker.push(&record);
            }
            let of_index = std::mem::take(&mut maker.frames).into_batch().expect("a batch");
            prop_assert_eq!(batch(Table::Frames, 9, rows.of(Table::Frames)).expect("a batch"), of_index);
            let of_index = std::mem::take(&mut maker.packets).into_batch().expect("a batch");
            prop_assert_eq!(batch(Table::Packets, 9, rows.of(Table::Packets)).expect("a batch"), of_index);
        }
    }
}
