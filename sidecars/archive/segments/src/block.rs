//! Blocks: what is written, checked and read as one. A block of records holds a span of the ring's log as it lay in
//! memory; a block of loss says what is missing there.

use fep_bus::{KIND_PAD, Position, Record};

use crate::layout::{
    BLOCK_HEADER_LEN, BLOCK_MAGIC, RECORD_HEADER_LEN, block, half, pages, put_half, put_word, record_len,
    word,
};
use crate::loss::{Loss, LossCause};

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Records and fillers, as they lay in the log.
    Records,
    /// A loss record; no content.
    Loss(LossCause),
}

/// The head of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// What it holds.
    pub kind: BlockKind,
    /// The segment's id.
    pub id: u64,
    /// Where the block starts in the file, in octets; a multiple of a page.
    pub offset: u64,
    /// Where the stream stands before it.
    pub begin: Position,
    /// Where the stream stands after it.
    pub end: Position,
    /// Reception time of its first record, nanoseconds of TAI since 1958; 0 without records.
    pub rx_first_tai_ns: i64,
    /// Earliest reception time; 0 without records.
    pub rx_min_tai_ns: i64,
    /// Latest reception time; 0 without records.
    pub rx_max_tai_ns: i64,
    /// Octets of content, which follows the header at once.
    pub content_len: u32,
    /// CRC-32C of the content.
    pub content_crc: u32,
    /// When it was handed to the disk, nanoseconds since 1970 (UTC).
    pub written_unix_ns: u64,
}

impl BlockHeader {
    /// Records in it (none in a block of loss).
    pub fn records(&self) -> u64 {
        match self.kind {
            BlockKind::Records => self.end.seq.saturating_sub(self.begin.seq),
            BlockKind::Loss(_) => 0,
        }
    }

    /// The loss it records.
    pub fn loss(&self) -> Option<Loss> {
        match self.kind {
            BlockKind::Loss(cause) => Some(Loss { from: self.begin, to: self.end, cause }),
            BlockKind::Records => None,
        }
    }

    /// Octets it takes in the file: header, content, zeros to the end of the page.
    pub fn file_len(&self) -> u64 {
        pages(BLOCK_HEADER_LEN as u64 + u64::from(self.content_len))
    }

    /// Where the content starts in the file.
    pub fn content_offset(&self) -> u64 {
        self.offset + BLOCK_HEADER_LEN as u64
    }

    /// The header's octets.
    pub fn to_octets(&self) -> [u8; BLOCK_HEADER_LEN] {
        let mut octets = [0; BLOCK_HEADER_LEN];
        octets[..8].copy_from_slice(&BLOCK_MAGIC);
        let (kind, cause) = match self.kind {
            BlockKind::Records => (block::RECORDS, 0),
            BlockKind::Loss(cause) => (block::LOSS, cause as u32),
        };
        put_half(&mut octets, block::KIND, kind);
        put_half(&mut octets, block::CAUSE, cause);
        put_word(&mut octets, block::ID, self.id);
        put_word(&mut octets, block::OFFSET, self.offset);
        put_word(&mut octets, block::BEGIN_SEQ, self.begin.seq);
        put_word(&mut octets, block::BEGIN_POS, self.begin.pos);
        put_word(&mut octets, block::BEGIN_PAYLOAD, self.begin.payload);
        put_word(&mut octets, block::END_SEQ, self.end.seq);
        put_word(&mut octets, block::END_POS, self.end.pos);
        put_word(&mut octets, block::END_PAYLOAD, self.end.payload);
        put_word(&mut octets, block::RX_FIRST_TAI_NS, self.rx_first_tai_ns.cast_unsigned());
        put_word(&mut octets, block::RX_MIN_TAI_NS, self.rx_min_tai_ns.cast_unsigned());
        put_word(&mut octets, block::RX_MAX_TAI_NS, self.rx_max_tai_ns.cast_unsigned());
        put_half(&mut octets, block::CONTENT_LEN, self.content_len);
        put_half(&mut octets, block::CONTENT_CRC, self.content_crc);
        put_word(&mut octets, block::WRITTEN_UNIX_NS, self.written_unix_ns);
        let crc = crc32c::crc32c(&octets[..block::CRC]);
        put_half(&mut octets, block::CRC, crc);
        octets
    }

    /// Reads a header: `None` when these octets are none, or a damaged one.
    pub fn parse(octets: &[u8]) -> Option<BlockHeader> {
        let octets = octets.get(..BLOCK_HEADER_LEN)?;
        if octets[block::MAGIC..block::MAGIC + 8] != BLOCK_MAGIC
            || half(octets, block::CRC) != crc32c::crc32c(&octets[..block::CRC])
        {
            return None;
        }
        let position = |seq, pos, payload| Position {
            seq: word(octets, seq),
            pos: word(octets, pos),
            payload: word(octets, payload),
        };
        let header = BlockHeader {
            kind: match half(octets, block::KIND) {
                block::RECORDS => BlockKind::Records,
                block::LOSS => BlockKind::Loss(LossCause::of_code(half(octets, block::CAUSE))),
                _ => return None,
            },
            id: word(octets, block::ID),
            offset: word(octets, block::OFFSET),
            begin: position(block::BEGIN_SEQ, block::BEGIN_POS, block::BEGIN_PAYLOAD),
            end: position(block::END_SEQ, block::END_POS, block::END_PAYLOAD),
            rx_first_tai_ns: word(octets, block::RX_FIRST_TAI_NS).cast_signed(),
            rx_min_tai_ns: word(octets, block::RX_MIN_TAI_NS).cast_signed(),
            rx_max_tai_ns: word(octets, block::RX_MAX_TAI_NS).cast_signed(),
            content_len: half(octets, block::CONTENT_LEN),
            content_crc: half(octets, block::CONTENT_CRC),
            written_unix_ns: word(octets, block::WRITTEN_UNIX_NS),
        };
        // A checksum that holds over nonsense: not written by this format.
        let forward = header.begin.seq <= header.end.seq && header.begin.pos <= header.end.pos;
        let within = header.end.pos <= 1 << 62 && header.offset <= 1 << 62;
        (forward && within).then_some(header)
    }
}

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The file ends within it.
    #[error("the file ends within the block")]
    Short,
    /// CRC-32C of the content does not hold.
    #[error("the checksum of the content does not hold")]
    Checksum,
    /// The checksum holds, and the records do not follow each other as the header says.
    #[error("the record headers do not continue each other at octet {at} of the content")]
    Records {
        /// Octet of the content.
        at: usize,
    },
}

/// One record within a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Sequence number, log position, length, tag.
    pub record: Record,
    /// Where its 64-octet header starts in the segment file; the payload follows at once.
    pub offset: u64,
    /// Its payload.
    pub payload: &'a [u8],
}

/// A block that was read: its header and content.
#[derive(Debug, Clone, Default)]
pub struct BlockContent {
    pub(crate) header: Option<BlockHeader>,
    pub(crate) octets: Vec<u8>,
}

impl BlockContent {
    /// The header; `None` before anything was read into it.
    pub fn header(&self) -> Option<&BlockHeader> {
        self.header.as_ref()
    }

    /// The content as it lay in the ring's log.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Its records in order, fillers left out.
    pub fn records(&self) -> Records<'_> {
        let (begin, offset) =
            self.header.map_or((Position::default(), 0), |header| (header.begin, header.content_offset()));
        Records::new(&self.octets, begin, offset)
    }
}

/// Walks the records of a span of the log; ends early, with [`Records::error`], where headers do not continue each other.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    content: &'a [u8],
    content_offset: u64,
    at: usize,
    begin_pos: u64,
    next: Position,
    failed: bool,
}

impl<'a> Records<'a> {
    /// Records of `content`, which starts at `begin` in the stream and at `content_offset` in a file.
    pub fn new(content: &'a [u8], begin: Position, content_offset: u64) -> Records<'a> {
        Records { content, content_offset, at: 0, begin_pos: begin.pos, next: begin, failed: false }
    }

    /// Where the stream stands after what was yielded so far.
    pub fn position(&self) -> Position {
        self.next
    }

    /// Octet of the content where the next header is.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes on at a place that an earlier walk over the same content had reached.
    pub(crate) fn resume(mut self, at: usize, next: Position) -> Records<'a> {
        self.at = at;
        self.next = next;
        self
    }

    /// What stopped the walk early.
    pub fn error(&self) -> Option<BlockError> {
        self.failed.then_some(BlockError::Records { at: self.at })
    }

    fn step(&mut self) -> Option<RecordView<'a>> {
        loop {
            let rest = &self.content[self.at..];
            if rest.is_empty() {
                return None;
            }
            let header = rest.first_chunk::<RECORD_HEADER_LEN>();
            let record = header.map(Record::from_header);
            let expected_pos = self.begin_pos.wrapping_add(self.at as u64);
            let Some(record) = record.filter(|record| {
                record_len(u64::from(record.len)) <= rest.len() as u64
                    && record.seq == self.next.seq
                    && record.pos == expected_pos
            }) else {
                self.failed = true;
                return None;
            };
            let taken = record_len(u64::from(record.len));
            if record.tag.kind == KIND_PAD {
                self.at += taken as usize;
                self.next.pos = expected_pos.wrapping_add(taken);
                continue;
            }
            if record.payload_before != self.next.payload {
                self.failed = true;
                return None;
            }
            let view = RecordView {
                record,
                offset: self.content_offset.wrapping_add(self.at as u64),
                payload: &rest[RECORD_HEADER_LEN..RECORD_HEADER_LEN + record.len as usize],
            };
            self.at += taken as usize;
            self.next = Position {
                seq: record.seq.wrapping_add(1),
                pos: expected_pos.wrapping_add(taken),
                payload: record.payload_before.wrapping_add(u64::from(record.len)),
            };
            return Some(view);
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordView<'a>;

    fn next(&mut self) -> Option<RecordView<'a>> {
        if self.failed { None } else { self.step() }
    }
}

/// Completes blocks in memory of the caller's own: room of [`BLOCK_HEADER_LEN`], the content, zeros to the end of the
/// page.
#[derive(Debug, Clone, Copy)]
pub struct BlockBuilder {
    /// The segment's id.
    pub id: u64,
    /// Where the block will start in the file.
    pub offset: u64,
    /// When it is handed to the disk, nanoseconds since 1970 (UTC).
    pub written_unix_ns: u64,
}

impl BlockBuilder {
    /// Completes a block of records. `block` holds room for the header, then `content_len` octets of the log from
    /// `begin` to `end`, and reaches to the end of the page or beyond. Every record header is checked on the way;
    /// `seen` is told each.
    ///
    /// # Errors
    /// The content is not what lies between `begin` and `end`: nothing was changed.
    ///
    /// # Panics
    /// When `block` does not reach to the end of the page, or the content is longer than 4 GiB.
    pub fn records(
        &self,
        block: &mut [u8],
        content_len: usize,
        begin: Position,
        end: Position,
        mut seen: impl FnMut(&Record),
    ) -> Result<BlockHeader, BlockError> {
        let content_end = BLOCK_HEADER_LEN + content_len;
        let file_len = pages(content_end as u64) as usize;
        assert!(block.len() >= file_len, "a block is written in whole pages");
        let content = &block[BLOCK_HEADER_LEN..content_end];
        let mut records = Records::new(content, begin, self.offset + BLOCK_HEADER_LEN as u64);
        let (mut rx_first, mut rx_min, mut rx_max) = (None, i64::MAX, i64::MIN);
        for view in records.by_ref() {
            let rx = view.record.tag.received.0;
            rx_first.get_or_insert(rx);
            rx_min = rx_min.min(rx);
            rx_max = rx_max.max(rx);
            seen(&view.record);
        }
        if let Some(error) = records.error() {
            return Err(error);
        }
        if records.position() != end {
            return Err(BlockError::Records { at: content_len });
        }
        let header = BlockHeader {
            kind: BlockKind::Records,
            id: self.id,
            offset: self.offset,
            begin,
            end,
            rx_first_tai_ns: rx_first.unwrap_or(0),
            rx_min_tai_ns: if rx_first.is_some() { rx_min } else { 0 },
            rx_max_tai_ns: if rx_first.is_some() { rx_max } else { 0 },
            content_len: u32::try_from(content_len).expect("a block is shorter than 4 GiB"),
            content_crc: crc32c::crc32c(content),
            written_unix_ns: self.written_unix_ns,
        };
        block[..BLOCK_HEADER_LEN].copy_from_slice(&header.to_octets());
        block[content_end..file_len].fill(0);
        Ok(header)
    }

    /// Completes a block of loss in the first page of `block`.
    ///
    /// # Panics
    /// When `block` is shorter than a page.
    pub fn loss(&self, block: &mut [u8], loss: &Loss) -> BlockHeader {
        let header = BlockHeader {
            kind: BlockKind::Loss(loss.cause),
            id: self.id,
            offset: self.offset,
            begin: loss.from,
            end: loss.to,
            rx_first_tai_ns: 0,
            rx_min_tai_ns: 0,
            rx_max_tai_ns: 0,
            content_len: 0,
            content_crc: crc32c::crc32c(&[]),
            written_unix_ns: self.written_unix_ns,
        };
        let page = &mut block[..pages(BLOCK_HEADER_LEN as u64) as usize];
        page.fill(0);
        page[..BLOCK_HEADER_LEN].copy_from_slice(&header.to_octets());
        header
    }
}
