//! Every offset of a segment file, in octets. `docs/segments.md` draws the same numbers; a test holds the two together.

/// Octets of a page: everything in a segment starts on one, so that it can be written past the page cache.
pub const PAGE_LEN: usize = 4096;
/// Octets of a block's header.
pub const BLOCK_HEADER_LEN: usize = 128;
/// Octets of a record's header, as in the ring.
pub(crate) const RECORD_HEADER_LEN: usize = 64;
/// Version of the format; raised on every change that a reader could notice.
pub const FORMAT_VERSION: u32 = 1;
/// Version of footers whose content is hashed with SHA-256.
pub(crate) const FOOTER_SHA256: u32 = 1;
/// Version of footers whose content is hashed with BLAKE3.
pub(crate) const FOOTER_BLAKE3: u32 = 2;
/// Room of a name, zero-filled, never without at least one zero.
pub(crate) const NAME_LEN: usize = 32;
/// First octets of a segment.
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"FEPSEGM1";
/// First octets of a block.
pub(crate) const BLOCK_MAGIC: [u8; 8] = *b"FEPBLOK1";
/// First octets of the footer page.
pub(crate) const FOOTER_MAGIC: [u8; 8] = *b"FEPFOOT1";
/// First octets of the block table.
pub(crate) const TABLE_MAGIC: [u8; 8] = *b"FEPTABL1";

/// Header page.
pub(crate) mod head {
    pub(crate) const MAGIC: usize = 0x000;
    pub(crate) const VERSION: usize = 0x008; // u32
    pub(crate) const COLOUR: usize = 0x00C; // u32: 0 black, 1 red
    pub(crate) const ID: usize = 0x010;
    pub(crate) const INSTANCE: usize = 0x018;
    pub(crate) const SERIES: usize = 0x020;
    pub(crate) const BASE_SEQ: usize = 0x028;
    pub(crate) const BASE_POS: usize = 0x030;
    pub(crate) const BASE_PAYLOAD: usize = 0x038;
    pub(crate) const CREATED_UNIX_NS: usize = 0x040;
    pub(crate) const HAS_PREVIOUS: usize = 0x048; // u64: 0 first of the stream, 1 a segment came before
    pub(crate) const PREVIOUS_SERIES: usize = 0x050;
    pub(crate) const PREVIOUS_BASE_POS: usize = 0x058;
    pub(crate) const RING_NAME: usize = 0x060; // u8[32]
    pub(crate) const SCHEMA: usize = 0x080; // u8[32]
    pub(crate) const CRC: usize = 0x0A0; // u32
    pub(crate) const END: usize = 0x0A4;
}

/// Block header.
pub(crate) mod block {
    pub(crate) const MAGIC: usize = 0x00;
    pub(crate) const KIND: usize = 0x08; // u32: 1 records, 2 loss
    pub(crate) const CAUSE: usize = 0x0C; // u32: of a loss
    pub(crate) const ID: usize = 0x10;
    pub(crate) const OFFSET: usize = 0x18;
    pub(crate) const BEGIN_SEQ: usize = 0x20;
    pub(crate) const BEGIN_POS: usize = 0x28;
    pub(crate) const BEGIN_PAYLOAD: usize = 0x30;
    pub(crate) const END_SEQ: usize = 0x38;
    pub(crate) const END_POS: usize = 0x40;
    pub(crate) const END_PAYLOAD: usize = 0x48;
    pub(crate) const RX_FIRST_TAI_NS: usize = 0x50;
    pub(crate) const RX_MIN_TAI_NS: usize = 0x58;
    pub(crate) const RX_MAX_TAI_NS: usize = 0x60;
    pub(crate) const CONTENT_LEN: usize = 0x68; // u32
    pub(crate) const CONTENT_CRC: usize = 0x6C; // u32
    pub(crate) const WRITTEN_UNIX_NS: usize = 0x70;
    pub(crate) const CRC: usize = 0x7C; // u32
    pub(crate) const END: usize = 0x80;

    /// Values of [`KIND`].
    pub(crate) const RECORDS: u32 = 1;
    pub(crate) const LOSS: u32 = 2;
}

/// Block table: this head, then one block header a block, then zeros to the end of the page.
pub(crate) mod table {
    pub(crate) const MAGIC: usize = 0x00;
    pub(crate) const ID: usize = 0x08;
    pub(crate) const COUNT: usize = 0x10;
    pub(crate) const CRC: usize = 0x18; // u32: over all block headers
    pub(crate) const END: usize = 0x80;
}

/// Footer page: the last page of a sealed segment.
pub(crate) mod foot {
    pub(crate) const MAGIC: usize = 0x000;
    pub(crate) const VERSION: usize = 0x008; // u32
    pub(crate) const COLOUR: usize = 0x00C; // u32
    pub(crate) const ID: usize = 0x010;
    pub(crate) const SERIES: usize = 0x018;
    pub(crate) const BASE_SEQ: usize = 0x020;
    pub(crate) const BASE_POS: usize = 0x028;
    pub(crate) const BASE_PAYLOAD: usize = 0x030;
    pub(crate) const END_SEQ: usize = 0x038;
    pub(crate) const END_POS: usize = 0x040;
    pub(crate) const END_PAYLOAD: usize = 0x048;
    pub(crate) const CONTENT_END: usize = 0x050;
    pub(crate) const BLOCKS: usize = 0x058;
    pub(crate) const RECORDS: usize = 0x060;
    pub(crate) const OCTETS: usize = 0x068;
    pub(crate) const LOST_RECORDS: usize = 0x070;
    pub(crate) const LOST_OCTETS: usize = 0x078;
    pub(crate) const DAMAGED_RECORDS: usize = 0x080;
    pub(crate) const RX_MIN_TAI_NS: usize = 0x088;
    pub(crate) const RX_MAX_TAI_NS: usize = 0x090;
    pub(crate) const SEALED_UNIX_NS: usize = 0x098;
    pub(crate) const RING_NAME: usize = 0x0A0; // u8[32]
    pub(crate) const CONTENT_HASH: usize = 0x0C0; // u8[32]
    pub(crate) const PREVIOUS_CHAIN: usize = 0x0E0; // u8[32]
    pub(crate) const CHAIN: usize = 0x100; // u8[32]
    pub(crate) const CRC: usize = 0x120; // u32
    pub(crate) const END: usize = 0x124;
}

/// What is left of a removed segment: its footer page, in which this lies where a footer has nothing.
pub(crate) mod gone {
    /// Fields of the header page with their checksum, as they stood there.
    pub(crate) const HEADER: usize = 0x200;
    pub(crate) const END: usize = HEADER + super::head::END;
}

/// Name, offset and width of every field: what `docs/segments.md` must list.
pub const FIELDS: &[(&str, usize, usize)] = &[
    ("header.magic", head::MAGIC, 8),
    ("header.version", head::VERSION, 4),
    ("header.colour", head::COLOUR, 4),
    ("header.id", head::ID, 8),
    ("header.instance", head::INSTANCE, 8),
    ("header.series", head::SERIES, 8),
    ("header.base_seq", head::BASE_SEQ, 8),
    ("header.base_pos", head::BASE_POS, 8),
    ("header.base_payload", head::BASE_PAYLOAD, 8),
    ("header.created_unix_ns", head::CREATED_UNIX_NS, 8),
    ("header.has_previous", head::HAS_PREVIOUS, 8),
    ("header.previous_series", head::PREVIOUS_SERIES, 8),
    ("header.previous_base_pos", head::PREVIOUS_BASE_POS, 8),
    ("header.ring_name", head::RING_NAME, 32),
    ("header.schema", head::SCHEMA, 32),
    ("header.crc", head::CRC, 4),
    ("block.magic", block::MAGIC, 8),
    ("block.kind", block::KIND, 4),
    ("block.cause", block::CAUSE, 4),
    ("block.id", block::ID, 8),
    ("block.offset", block::OFFSET, 8),
    ("block.begin_seq", block::BEGIN_SEQ, 8),
    ("block.begin_pos", block::BEGIN_POS, 8),
    ("block.begin_payload", block::BEGIN_PAYLOAD, 8),
    ("block.end_seq", block::END_SEQ, 8),
    ("block.end_pos", block::END_POS, 8),
    ("block.end_payload", block::END_PAYLOAD, 8),
    ("block.rx_first_tai_ns", block::RX_FIRST_TAI_NS, 8),
    ("block.rx_min_tai_ns", block::RX_MIN_TAI_NS, 8),
    ("block.rx_max_tai_ns", block::RX_MAX_TAI_NS, 8),
    ("block.content_len", block::CONTENT_LEN, 4),
    ("block.content_crc", block::CONTENT_CRC, 4),
    ("block.written_unix_ns", block::WRITTEN_UNIX_NS, 8),
    ("block.crc", block::CRC, 4),
    ("table.magic", table::MAGIC, 8),
    ("table.id", table::ID, 8),
    ("table.count", table::COUNT, 8),
    ("table.crc", table::CRC, 4),
    ("footer.magic", foot::MAGIC, 8),
    ("footer.version", foot::VERSION, 4),
    ("footer.colour", foot::COLOUR, 4),
    ("footer.id", foot::ID, 8),
    ("footer.series", foot::SERIES, 8),
    ("footer.base_seq", foot::BASE_SEQ, 8),
    ("footer.base_pos", foot::BASE_POS, 8),
    ("footer.base_payload", foot::BASE_PAYLOAD, 8),
    ("footer.end_seq", foot::END_SEQ, 8),
    ("footer.end_pos", foot::END_POS, 8),
    ("footer.end_payload", foot::END_PAYLOAD, 8),
    ("footer.content_end", foot::CONTENT_END, 8),
    ("footer.blocks", foot::BLOCKS, 8),
    ("footer.records", foot::RECORDS, 8),
    ("footer.octets", foot::OCTETS, 8),
    ("footer.lost_records", foot::LOST_RECORDS, 8),
    ("footer.lost_octets", foot::LOST_OCTETS, 8),
    ("footer.damaged_records", foot::DAMAGED_RECORDS, 8),
    ("footer.rx_min_tai_ns", foot::RX_MIN_TAI_NS, 8),
    ("footer.rx_max_tai_ns", foot::RX_MAX_TAI_NS, 8),
    ("footer.sealed_unix_ns", foot::SEALED_UNIX_NS, 8),
    ("footer.ring_name", foot::RING_NAME, 32),
    ("footer.content_hash", foot::CONTENT_HASH, 32),
    ("footer.previous_chain", foot::PREVIOUS_CHAIN, 32),
    ("footer.chain", foot::CHAIN, 32),
    ("footer.crc", foot::CRC, 4),
];

const _: () = {
    // Fields are naturally aligned, and consecutive ones of a group do not overlap.
    let mut index = 0;
    while index < FIELDS.len() {
        let (_, offset, width) = FIELDS[index];
        let alignment = if width > 8 { 8 } else { width };
        assert!(offset % alignment == 0);
        index += 1;
    }
    assert!(head::END <= PAGE_LEN);
    assert!(foot::END <= gone::HEADER && gone::END <= PAGE_LEN);
    assert!(block::END == BLOCK_HEADER_LEN);
    assert!(table::END == BLOCK_HEADER_LEN);
};

/// The smallest multiple of a page that holds `len` octets.
pub(crate) const fn pages(len: u64) -> u64 {
    len.next_multiple_of(PAGE_LEN as u64)
}

/// Octets of log that a record of `len` payload octets takes: header and payload, whole lines of 64.
pub(crate) const fn record_len(len: u64) -> u64 {
    (RECORD_HEADER_LEN as u64 + len).next_multiple_of(RECORD_HEADER_LEN as u64)
}

/// A little-endian field of a page; the caller's page is long enough by its type.
pub(crate) fn word(page: &[u8], offset: usize) -> u64 {
    let mut octets = [0; 8];
    octets.copy_from_slice(&page[offset..offset + 8]);
    u64::from_le_bytes(octets)
}

/// As [`word`], four octets.
pub(crate) fn half(page: &[u8], offset: usize) -> u32 {
    let mut octets = [0; 4];
    octets.copy_from_slice(&page[offset..offset + 4]);
    u32::from_le_bytes(octets)
}

pub(crate) fn put_word(page: &mut [u8], offset: usize, value: u64) {
    page[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_half(page: &mut [u8], offset: usize, value: u32) {
    page[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// A zero-filled name; `None` when it is not ASCII or has no zero.
pub(crate) fn name_at(page: &[u8], offset: usize) -> Option<String> {
    let field = &page[offset..offset + NAME_LEN];
    let len = field.iter().position(|octet| *octet == 0)?;
    if field[..len].iter().all(u8::is_ascii_graphic) && field[len..].iter().all(|octet| *octet == 0) {
        String::from_utf8(field[..len].to_vec()).ok()
    } else {
        None
    }
}

pub(crate) fn put_name(page: &mut [u8], offset: usize, name: &str) {
    let len = name.len().min(NAME_LEN - 1);
    page[offset..offset + len].copy_from_slice(&name.as_bytes()[..len]);
}
