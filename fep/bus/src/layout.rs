//! Every offset of the shared files, in octets, and the shape of a ring derived from its static page.
//!
//! `docs/ring.md` draws the same numbers; a test holds the two together. All words are little-endian u64 unless a
//! narrower width is given; all are naturally aligned.

use crate::spec::{OnFull, RingSpec};

/// Octets of a cache line, of a descriptor, of a record header and of the alignment of records.
pub(crate) const LINE: u64 = 64;
/// Room of a name, zero-filled, never without at least one zero.
pub(crate) const NAME_LEN: usize = 32;
/// Entries of the gate table.
pub(crate) const GATE_MAX: usize = 16;
/// First octets of a ring file.
pub(crate) const RING_MAGIC: u64 = u64::from_le_bytes(*b"FEPRING1");
/// Version of the layout and of the protocol; raised on every change a reader could notice.
pub const ABI_VERSION: u32 = 2;
/// Kind of the filler at the end of an extent; never delivered.
pub const KIND_PAD: u16 = 0xFFFF;

/// Static page: written once, before the file has its name.
pub(crate) mod fixed {
    pub(crate) const PAGE: usize = 0x0000;
    pub(crate) const MAGIC: usize = 0x000;
    pub(crate) const ABI_VERSION: usize = 0x008; // u32
    pub(crate) const HEADER_LEN: usize = 0x00C; // u32: octets before the descriptors
    pub(crate) const LAYOUT_HASH: usize = 0x010;
    pub(crate) const INSTANCE: usize = 0x018;
    pub(crate) const REGION_LEN: usize = 0x020;
    pub(crate) const DESC_OFF: usize = 0x028;
    pub(crate) const DESC_LOG2: usize = 0x030; // u32
    pub(crate) const DESC_SIZE: usize = 0x034; // u32
    pub(crate) const DATA_OFF: usize = 0x038;
    pub(crate) const DATA_LEN: usize = 0x040;
    pub(crate) const EXTENT_LEN: usize = 0x048;
    pub(crate) const PAYLOAD_MAX: usize = 0x050; // u32
    pub(crate) const RESERVE_STRIDE: usize = 0x054; // u32
    pub(crate) const GATE_COUNT: usize = 0x058; // u32
    pub(crate) const ON_FULL: usize = 0x05C; // u32: 0 evict, 1 wait
    pub(crate) const CREATED_UNIX_NS: usize = 0x060;
    pub(crate) const SEQ0: usize = 0x068;
    pub(crate) const POS0: usize = 0x070;
    pub(crate) const PAYLOAD0: usize = 0x078;
    pub(crate) const RING_NAME: usize = 0x080; // u8[32]
    pub(crate) const SCHEMA: usize = 0x0A0; // u8[32]
    pub(crate) const COLOUR: usize = 0x0C0; // u32: 0 black, 1 red
    pub(crate) const END: usize = 0x0C8;
}

/// Producer page; offsets relative to its start. One line pair a writer and purpose.
pub(crate) mod page {
    pub(crate) const START: usize = 0x1000;
    pub(crate) const RESERVE_POS: usize = 0x000;
    pub(crate) const HEAD_SEQ: usize = 0x080;
    pub(crate) const HEAD_POS: usize = 0x088;
    pub(crate) const HEAD_PAYLOAD: usize = 0x090;
    pub(crate) const EPOCH: usize = 0x100;
    pub(crate) const EPOCH_SEQ: usize = 0x108;
    pub(crate) const STATE: usize = 0x110;
    pub(crate) const PID: usize = 0x118;
    pub(crate) const HEARTBEAT_MONOTONIC_NS: usize = 0x180;
    pub(crate) const LIMIT_SEQ: usize = 0x200;
    pub(crate) const LIMIT_POS: usize = 0x208;
    pub(crate) const END: usize = 0x280;
}

/// Values of [`page::STATE`].
pub(crate) mod state {
    pub(crate) const RUN: u64 = 1;
    pub(crate) const HALT: u64 = 2;
}

/// Gate table; offsets relative to an entry.
pub(crate) mod gate {
    pub(crate) const START: usize = 0x2000;
    pub(crate) const STRIDE: usize = 0x80;
    pub(crate) const STATE: usize = 0x00;
    pub(crate) const ACK_GEN: usize = 0x08;
    pub(crate) const EVICTED_AT_SEQ: usize = 0x10;
    pub(crate) const EVICTIONS: usize = 0x18;
    pub(crate) const CREDIT_PERMILLE: usize = 0x20;
    pub(crate) const CURSOR_SEQ: usize = 0x28;
    pub(crate) const CURSOR_POS: usize = 0x30;
    pub(crate) const LOST_RECORDS: usize = 0x38;
    pub(crate) const NAME: usize = 0x40; // u8[32]
    pub(crate) const END: usize = 0x60;

    /// Values of [`STATE`]: never armed, watched, given up, gone in an orderly way.
    pub(crate) const NONE: u64 = 0;
    pub(crate) const GATED: u64 = 1;
    pub(crate) const EVICTED: u64 = 2;
    pub(crate) const DETACHED: u64 = 3;
}

/// Descriptor, and equally the header of the record in the byte log; offsets relative to its start.
pub(crate) mod desc {
    pub(crate) const SEQ: usize = 0x00;
    pub(crate) const POS: usize = 0x08;
    pub(crate) const LEN: usize = 0x10; // u32
    pub(crate) const KIND: usize = 0x14; // u16
    pub(crate) const FLAGS: usize = 0x16; // u16
    pub(crate) const RX_TAI_NS: usize = 0x18; // i64
    pub(crate) const PUB_TAI_NS: usize = 0x20; // i64
    pub(crate) const WORD0: usize = 0x28;
    pub(crate) const WORD1: usize = 0x30;
    pub(crate) const PAYLOAD_BEFORE: usize = 0x38;
    pub(crate) const END: usize = 0x40;
}

/// Where the descriptors start: after static page, producer page and gate table.
pub(crate) const DESC_OFF: u64 = 0x4000;
/// Largest step by which the producer raises `reserve_pos`.
pub(crate) const RESERVE_STRIDE_MAX: u64 = 256 << 10;

/// Records between two refreshes of the head hints, at most.
pub(crate) const HINT_EVERY: u64 = 64;

/// Where the byte log starts.
pub(crate) const fn data_off(desc_log2: u32) -> u64 {
    (DESC_OFF + (LINE << desc_log2)).next_multiple_of(4096)
}

/// Octets of the whole file.
pub(crate) const fn region_len(desc_log2: u32, data_len: u64) -> u64 {
    data_off(desc_log2).saturating_add(data_len)
}

/// Name, offset and width of every field: what the layout hash is made of and what `docs/ring.md` must list.
pub const FIELDS: &[(&str, usize, usize)] = &[
    ("static.magic", fixed::MAGIC, 8),
    ("static.abi_version", fixed::ABI_VERSION, 4),
    ("static.header_len", fixed::HEADER_LEN, 4),
    ("static.layout_hash", fixed::LAYOUT_HASH, 8),
    ("static.instance", fixed::INSTANCE, 8),
    ("static.region_len", fixed::REGION_LEN, 8),
    ("static.desc_off", fixed::DESC_OFF, 8),
    ("static.desc_log2", fixed::DESC_LOG2, 4),
    ("static.desc_size", fixed::DESC_SIZE, 4),
    ("static.data_off", fixed::DATA_OFF, 8),
    ("static.data_len", fixed::DATA_LEN, 8),
    ("static.extent_len", fixed::EXTENT_LEN, 8),
    ("static.payload_max", fixed::PAYLOAD_MAX, 4),
    ("static.reserve_stride", fixed::RESERVE_STRIDE, 4),
    ("static.gate_count", fixed::GATE_COUNT, 4),
    ("static.on_full", fixed::ON_FULL, 4),
    ("static.created_unix_ns", fixed::CREATED_UNIX_NS, 8),
    ("static.seq0", fixed::SEQ0, 8),
    ("static.pos0", fixed::POS0, 8),
    ("static.payload0", fixed::PAYLOAD0, 8),
    ("static.ring_name", fixed::RING_NAME, NAME_LEN),
    ("static.schema", fixed::SCHEMA, NAME_LEN),
    ("static.colour", fixed::COLOUR, 4),
    ("producer.reserve_pos", page::START + page::RESERVE_POS, 8),
    ("producer.head_seq", page::START + page::HEAD_SEQ, 8),
    ("producer.head_pos", page::START + page::HEAD_POS, 8),
    ("producer.head_payload", page::START + page::HEAD_PAYLOAD, 8),
    ("producer.epoch", page::START + page::EPOCH, 8),
    ("producer.epoch_seq", page::START + page::EPOCH_SEQ, 8),
    ("producer.state", page::START + page::STATE, 8),
    ("producer.pid", page::START + page::PID, 8),
    ("producer.heartbeat_monotonic_ns", page::START + page::HEARTBEAT_MONOTONIC_NS, 8),
    ("producer.limit_seq", page::START + page::LIMIT_SEQ, 8),
    ("producer.limit_pos", page::START + page::LIMIT_POS, 8),
    ("gate.state", gate::STATE, 8),
    ("gate.ack_gen", gate::ACK_GEN, 8),
    ("gate.evicted_at_seq", gate::EVICTED_AT_SEQ, 8),
    ("gate.evictions", gate::EVICTIONS, 8),
    ("gate.credit_permille", gate::CREDIT_PERMILLE, 8),
    ("gate.cursor_seq", gate::CURSOR_SEQ, 8),
    ("gate.cursor_pos", gate::CURSOR_POS, 8),
    ("gate.lost_records", gate::LOST_RECORDS, 8),
    ("gate.name", gate::NAME, NAME_LEN),
    ("desc.seq", desc::SEQ, 8),
    ("desc.pos", desc::POS, 8),
    ("desc.len", desc::LEN, 4),
    ("desc.kind", desc::KIND, 2),
    ("desc.flags", desc::FLAGS, 2),
    ("desc.rx_tai_ns", desc::RX_TAI_NS, 8),
    ("desc.pub_tai_ns", desc::PUB_TAI_NS, 8),
    ("desc.word0", desc::WORD0, 8),
    ("desc.word1", desc::WORD1, 8),
    ("desc.payload_before", desc::PAYLOAD_BEFORE, 8),
];

/// FNV-1a over [`FIELDS`]: two builds that lay anything out differently cannot attach to each other by mistake.
pub(crate) const LAYOUT_HASH: u64 = layout_hash(FIELDS);

const fn layout_hash(fields: &[(&str, usize, usize)]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut index = 0;
    while index < fields.len() {
        let (name, offset, width) = fields[index];
        let name = name.as_bytes();
        let mut octet = 0;
        while octet < name.len() {
            hash = fnv_step(hash, name[octet]);
            octet += 1;
        }
        let numbers = (offset as u32 as u64) << 32 | width as u64;
        let mut shift = 0;
        while shift < 64 {
            hash = fnv_step(hash, (numbers >> shift) as u8);
            shift += 8;
        }
        index += 1;
    }
    hash
}

const fn fnv_step(hash: u64, octet: u8) -> u64 {
    (hash ^ octet as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

const _: () = {
    // Fields are naturally aligned, and consecutive ones of a group do not overlap.
    let mut index = 0;
    while index < FIELDS.len() {
        let (_, offset, width) = FIELDS[index];
        let alignment = if width > 8 { 8 } else { width };
        assert!(offset % alignment == 0);
        index += 1;
    }
    assert!(fixed::END <= page::START);
    assert!(page::START + page::END <= gate::START);
    assert!(gate::END <= gate::STRIDE);
    assert!(gate::START + GATE_MAX * gate::STRIDE <= DESC_OFF as usize);
    assert!(desc::END == LINE as usize);
    assert!(desc::PAYLOAD_BEFORE + 8 == desc::END);
    assert!(DESC_OFF.is_multiple_of(LINE));
    // The hot word, the lazy hints, the rare words, the heartbeat and the warden's words lie 128 octets apart.
    assert!(page::RESERVE_POS / 128 != page::HEAD_SEQ / 128);
    assert!(page::HEAD_SEQ / 128 != page::EPOCH / 128);
    assert!(page::EPOCH / 128 != page::HEARTBEAT_MONOTONIC_NS / 128);
    assert!(page::HEARTBEAT_MONOTONIC_NS / 128 != page::LIMIT_SEQ / 128);
};

/// The numbers both sides compute with. Only made by [`Shape::checked`], so every one of its promises holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) desc_log2: u32,
    pub(crate) data_len: u64,
    pub(crate) extent_len: u64,
    pub(crate) payload_max: u32,
    pub(crate) reserve_stride: u64,
    pub(crate) wait: bool,
    pub(crate) seq0: u64,
    pub(crate) pos0: u64,
    pub(crate) payload0: u64,
}

impl Shape {
    /// The shape of a specification whose sequence starts at `start`.
    pub(crate) fn of_spec(spec: &RingSpec, start: Position) -> Result<Shape, String> {
        Shape {
            desc_log2: spec.desc_log2,
            data_len: spec.data_len,
            extent_len: spec.extent_len,
            payload_max: spec.payload_max,
            reserve_stride: RESERVE_STRIDE_MAX.min(spec.data_len / 16).max(LINE),
            wait: spec.on_full == OnFull::Wait,
            seq0: start.seq,
            pos0: start.pos.next_multiple_of(spec.extent_len.max(1)),
            payload0: start.payload,
        }
        .checked()
    }

    /// Refuses numbers with which either side could leave the region or misread a sequence.
    pub(crate) fn checked(self) -> Result<Shape, String> {
        let Shape { desc_log2, data_len, extent_len, payload_max, reserve_stride, .. } = self;
        // One slot would make "in progress" and "one lap ago" the same number.
        if !(1..=28).contains(&desc_log2) {
            return Err(format!("desc_log2 is {desc_log2}, expected 1..=28"));
        }
        if !data_len.is_power_of_two() || !extent_len.is_power_of_two() || !reserve_stride.is_power_of_two() {
            return Err(format!("lengths {data_len}, {extent_len}, {reserve_stride} are not powers of two"));
        }
        if extent_len < 2 * LINE || data_len < 2 * extent_len || data_len > 1 << 40 {
            return Err(format!("data_len {data_len} does not hold two or more extents of {extent_len}"));
        }
        if reserve_stride < LINE || reserve_stride > data_len / 4 {
            return Err(format!("reserve_stride {reserve_stride} does not fit data_len {data_len}"));
        }
        if payload_max == 0 || record_len(u64::from(payload_max)) > extent_len {
            return Err(format!("payload_max {payload_max} does not fit extent_len {extent_len}"));
        }
        if !self.pos0.is_multiple_of(extent_len)
            || self.pos0 > 1 << 62
            || self.seq0 > 1 << 62
            || self.payload0 > 1 << 62
        {
            return Err(format!("start {}/{}/{} is out of range", self.seq0, self.pos0, self.payload0));
        }
        Ok(self)
    }

    pub(crate) const fn slots(&self) -> u64 {
        1 << self.desc_log2
    }

    /// Records between two refreshes of the head hints: few enough that the newest hinted record is still there.
    pub(crate) const fn hint_every(&self) -> u64 {
        if self.slots() / 2 < HINT_EVERY { self.slots() / 2 } else { HINT_EVERY }
    }

    pub(crate) const fn start(&self) -> Position {
        Position { seq: self.seq0, pos: self.pos0, payload: self.payload0 }
    }
}

/// Octets of log that a record of `len` payload octets takes: header and payload, whole lines.
pub(crate) const fn record_len(len: u64) -> u64 {
    (LINE + len).next_multiple_of(LINE)
}

/// A point in the stream: the next record, where it will lie in the log, and all payload octets before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Sequence number of the next record.
    pub seq: u64,
    /// Monotone log position in octets at which it (or the filler before it) starts.
    pub pos: u64,
    /// Payload octets of all records before it.
    pub payload: u64,
}
