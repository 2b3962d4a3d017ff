//! The last page of a sealed segment: totals, the hash of everything before it, and the chain.

use fep_bus::Position;
use sha2::{Digest, Sha256};

use crate::block::{BlockHeader, BlockKind};
use crate::content::{ContentAlgorithm, ContentHash};
use crate::correct::correct_octet;
use crate::header::{SegmentHeader, colour_code, colour_of};
use crate::layout::{
    BLOCK_HEADER_LEN, FOOTER_MAGIC, PAGE_LEN, TABLE_MAGIC, foot, half, name_at, pages, put_half, put_name,
    put_word, table, word,
};
use crate::name::{SegmentName, Stream};

/// What the footer page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The recorded ring.
    pub stream: Stream,
    /// The segment's id.
    pub id: u64,
    /// The numbering, see [`SegmentName`].
    pub series: u64,
    /// Where the stream stood when the segment was begun.
    pub base: Position,
    /// Where it stands after the segment.
    pub end: Position,
    /// Octets of header page and blocks: where the block table starts.
    pub content_end: u64,
    /// Whole blocks.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
    /// Payload octets of these records.
    pub octets: u64,
    /// Records that blocks of loss say are missing.
    pub lost_records: u64,
    /// Payload octets of these.
    pub lost_octets: u64,
    /// Records that were in blocks found damaged when the segment was sealed after a death of the recorder.
    pub damaged_records: u64,
    /// Earliest reception time, nanoseconds of TAI since 1958; 0 without records.
    pub rx_min_tai_ns: i64,
    /// Latest reception time; 0 without records.
    pub rx_max_tai_ns: i64,
    /// When it was sealed, nanoseconds since 1970 (UTC).
    pub sealed_unix_ns: u64,
    /// Hash of the file's first `content_end` octets; it says the version of the footer.
    pub content_hash: ContentHash,
    /// Chain hash of the segment before; zeros for the first.
    pub previous_chain: [u8; 32],
    /// SHA-256 of the footer page up to this field, `previous_chain` included.
    pub chain: [u8; 32],
}

impl Footer {
    /// The segment's name.
    pub fn name(&self) -> SegmentName {
        SegmentName { series: self.series, base_pos: self.base.pos }
    }

    /// The footer of a segment with these blocks; hashes as given, `chain` computed.
    pub fn of_blocks(
        header: &SegmentHeader,
        blocks: &[BlockHeader],
        content_end: u64,
        content_hash: ContentHash,
        previous_chain: [u8; 32],
        sealed_unix_ns: u64,
    ) -> Footer {
        let mut footer = Footer {
            stream: header.stream.clone(),
            id: header.id,
            series: header.series,
            base: header.base,
            end: header.base,
            content_end,
            blocks: blocks.len() as u64,
            records: 0,
            octets: 0,
            lost_records: 0,
            lost_octets: 0,
            damaged_records: 0,
            rx_min_tai_ns: 0,
            rx_max_tai_ns: 0,
            sealed_unix_ns,
            content_hash,
            previous_chain,
            chain: [0; 32],
        };
        for block in blocks {
            footer.damaged_records += block.begin.seq.saturating_sub(footer.end.seq);
            footer.end = block.end;
            let octets = block.end.payload.saturating_sub(block.begin.payload);
            match block.kind {
                BlockKind::Records if block.records() > 0 => {
                    let first = footer.records == 0;
                    footer.rx_min_tai_ns = if first {
                        block.rx_min_tai_ns
                    } else {
                        footer.rx_min_tai_ns.min(block.rx_min_tai_ns)
                    };
                    footer.rx_max_tai_ns = if first {
                        block.rx_max_tai_ns
                    } else {
                        footer.rx_max_tai_ns.max(block.rx_max_tai_ns)
                    };
                    footer.records += block.records();
                    footer.octets += octets;
                }
                BlockKind::Records => {}
                BlockKind::Loss(_) => {
                    footer.lost_records += block.end.seq.saturating_sub(block.begin.seq);
                    footer.lost_octets += octets;
                }
            }
        }
        footer.chain = footer.chain_hash();
        footer
    }

    /// What `chain` must be.
    pub fn chain_hash(&self) -> [u8; 32] {
        Sha256::digest(&self.page_without_chain()[..foot::CHAIN]).into()
    }

    fn page_without_chain(&self) -> [u8; PAGE_LEN] {
        let mut page = [0; PAGE_LEN];
        page[..8].copy_from_slice(&FOOTER_MAGIC);
        put_half(&mut page, foot::VERSION, self.content_hash.algorithm.version());
        put_half(&mut page, foot::COLOUR, colour_code(self.stream.colour));
        for (offset, value) in [
            (foot::ID, self.id),
            (foot::SERIES, self.series),
            (foot::BASE_SEQ, self.base.seq),
            (foot::BASE_POS, self.base.pos),
            (foot::BASE_PAYLOAD, self.base.payload),
            (foot::END_SEQ, self.end.seq),
            (foot::END_POS, self.end.pos),
            (foot::END_PAYLOAD, self.end.payload),
            (foot::CONTENT_END, self.content_end),
            (foot::BLOCKS, self.blocks),
            (foot::RECORDS, self.records),
            (foot::OCTETS, self.octets),
            (foot::LOST_RECORDS, self.lost_records),
            (foot::LOST_OCTETS, self.lost_octets),
            (foot::DAMAGED_RECORDS, self.damaged_records),
            (foot::RX_MIN_TAI_NS, self.rx_min_tai_ns.cast_unsigned()),
            (foot::RX_MAX_TAI_NS, self.rx_max_tai_ns.cast_unsigned()),
            (foot::SEALED_UNIX_NS, self.sealed_unix_ns),
        ] {
            put_word(&mut page, offset, value);
        }
        put_name(&mut page, foot::RING_NAME, &self.stream.ring);
        page[foot::CONTENT_HASH..foot::CONTENT_HASH + 32].copy_from_slice(&self.content_hash.octets);
        page[foot::PREVIOUS_CHAIN..foot::PREVIOUS_CHAIN + 32].copy_from_slice(&self.previous_chain);
        page
    }

    /// The page.
    pub fn to_page(&self) -> [u8; PAGE_LEN] {
        let mut page = self.page_without_chain();
        page[foot::CHAIN..foot::CHAIN + 32].copy_from_slice(&self.chain);
        let crc = crc32c::crc32c(&page[..foot::CRC]);
        put_half(&mut page, foot::CRC, crc);
        page
    }

    /// The footer of segment `name` as the page says it, or as it must have been when one octet of the page is wrong; and
    /// the page itself, put right.
    pub(crate) fn legible(
        page: &[u8; PAGE_LEN],
        stream: &Stream,
        name: SegmentName,
    ) -> Option<([u8; PAGE_LEN], Footer)> {
        let fits = |footer: &Footer| footer.stream == *stream && footer.name() == name;
        if let Some(footer) = Footer::parse(page).ok().filter(fits) {
            return Some((*page, footer));
        }
        let right = correct_octet(page, foot::CRC, |page| {
            Footer::parse(page).is_ok_and(|footer| fits(&footer) && footer.chain == footer.chain_hash())
        })?;
        Some((right, Footer::parse(&right).ok()?))
    }

    /// Reads the page; says what is wrong with it. Whether `chain` is right is for [`crate::verify`].
    pub fn parse(page: &[u8; PAGE_LEN]) -> Result<Footer, String> {
        if page[foot::MAGIC..foot::MAGIC + 8] != FOOTER_MAGIC {
            return Err("the last page is no footer".to_owned());
        }
        let version = half(page, foot::VERSION);
        let Some(algorithm) = ContentAlgorithm::of_version(version) else {
            return Err(format!("footer of version {version}, this program reads 1 and 2"));
        };
        if crc32c::crc32c(&page[..foot::CRC]) != half(page, foot::CRC) {
            return Err("the checksum of the footer page does not hold".to_owned());
        }
        let hash = |offset: usize| {
            let mut hash = [0; 32];
            hash.copy_from_slice(&page[offset..offset + 32]);
            hash
        };
        let position = |seq, pos, payload| Position {
            seq: word(page, seq),
            pos: word(page, pos),
            payload: word(page, payload),
        };
        let ring = name_at(page, foot::RING_NAME)
            .ok_or_else(|| "the name of the ring is not zero-filled ASCII".to_owned())?;
        Ok(Footer {
            stream: Stream::new(colour_of(half(page, foot::COLOUR))?, ring),
            id: word(page, foot::ID),
            series: word(page, foot::SERIES),
            base: position(foot::BASE_SEQ, foot::BASE_POS, foot::BASE_PAYLOAD),
            end: position(foot::END_SEQ, foot::END_POS, foot::END_PAYLOAD),
            content_end: word(page, foot::CONTENT_END),
            blocks: word(page, foot::BLOCKS),
            records: word(page, foot::RECORDS),
            octets: word(page, foot::OCTETS),
            lost_records: word(page, foot::LOST_RECORDS),
            lost_octets: word(page, foot::LOST_OCTETS),
            damaged_records: word(page, foot::DAMAGED_RECORDS),
            rx_min_tai_ns: word(page, foot::RX_MIN_TAI_NS).cast_signed(),
            rx_max_tai_ns: word(page, foot::RX_MAX_TAI_NS).cast_signed(),
            sealed_unix_ns: word(page, foot::SEALED_UNIX_NS),
            content_hash: ContentHash { algorithm, octets: hash(foot::CONTENT_HASH) },
            previous_chain: hash(foot::PREVIOUS_CHAIN),
            chain: hash(foot::CHAIN),
        })
    }
}

/// The block table: its head, every block's header, zeros to the end of the page.
pub(crate) fn table_octets(id: u64, blocks: &[BlockHeader]) -> Vec<u8> {
    let len = table::END + blocks.len() * BLOCK_HEADER_LEN;
    let mut octets = Vec::with_capacity(pages(len as u64) as usize);
    octets.resize(table::END, 0);
    blocks.iter().for_each(|block| octets.extend_from_slice(&block.to_octets()));
    let crc = crc32c::crc32c(&octets[table::END..]);
    octets[table::MAGIC..table::MAGIC + 8].copy_from_slice(&TABLE_MAGIC);
    put_word(&mut octets, table::ID, id);
    put_word(&mut octets, table::COUNT, blocks.len() as u64);
    put_half(&mut octets, table::CRC, crc);
    octets.resize(pages(len as u64) as usize, 0);
    octets
}

/// Reads a block table; `None` when it is damaged or of another segment.
pub(crate) fn parse_table(octets: &[u8], id: u64) -> Option<Vec<BlockHeader>> {
    let head = octets.get(..table::END)?;
    if head[table::MAGIC..table::MAGIC + 8] != TABLE_MAGIC || word(head, table::ID) != id {
        return None;
    }
    let len = usize::try_from(word(head, table::COUNT)).ok()?.checked_mul(BLOCK_HEADER_LEN)?;
    let entries = octets.get(table::END..table::END.checked_add(len)?)?;
    if crc32c::crc32c(entries) != half(head, table::CRC) {
        return None;
    }
    entries.chunks_exact(BLOCK_HEADER_LEN).map(BlockHeader::parse).collect()
}
