//! The 64-octet descriptor: what is known of a record before its payload is touched. Pure packing.

use fep_time::Tai;

use crate::layout::{LINE, Position, Shape, desc, record_len};
use crate::memory::{AtomicU64, Ordering};

/// Sequence number of a record: gapless, starting at 1, never reused.
pub type Seq = u64;

/// What a producer says about a record. The bus carries it and reads nothing into it but `kind != 0xFFFF`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tag {
    /// What the record is; 0xFFFF is reserved for the log's own filler.
    pub kind: u16,
    /// Flags of the kind.
    pub flags: u16,
    /// When it was received.
    pub received: Tai,
    /// When it was published.
    pub published: Tai,
    /// Sixteen octets of the user's own.
    pub words: [u64; 2],
}

/// A record as a consumer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its sequence number.
    pub seq: Seq,
    /// Position of its header in the log.
    pub pos: u64,
    /// Payload octets.
    pub len: u32,
    /// What the producer said.
    pub tag: Tag,
    /// Payload octets of all records before it.
    pub payload_before: u64,
}

impl Record {
    pub(crate) fn to_words(self) -> [u64; 8] {
        let mut words = [0; 8];
        words[desc::SEQ / 8] = self.seq;
        words[desc::POS / 8] = self.pos;
        words[desc::LEN / 8] =
            u64::from(self.len) | u64::from(self.tag.kind) << 32 | u64::from(self.tag.flags) << 48;
        words[desc::RX_TAI_NS / 8] = self.tag.received.0.cast_unsigned();
        words[desc::PUB_TAI_NS / 8] = self.tag.published.0.cast_unsigned();
        words[desc::WORD0 / 8] = self.tag.words[0];
        words[desc::WORD1 / 8] = self.tag.words[1];
        words[desc::PAYLOAD_BEFORE / 8] = self.payload_before;
        words
    }

    pub(crate) fn from_words(words: [u64; 8]) -> Record {
        let sizes = words[desc::LEN / 8];
        Record {
            seq: words[desc::SEQ / 8],
            pos: words[desc::POS / 8],
            len: sizes as u32,
            tag: Tag {
                kind: (sizes >> 32) as u16,
                flags: (sizes >> 48) as u16,
                received: Tai(words[desc::RX_TAI_NS / 8].cast_signed()),
                published: Tai(words[desc::PUB_TAI_NS / 8].cast_signed()),
                words: [words[desc::WORD0 / 8], words[desc::WORD1 / 8]],
            },
            payload_before: words[desc::PAYLOAD_BEFORE / 8],
        }
    }

    /// The 64-octet header as it stands before the payload in the log, and so in every copy of a span of it.
    pub fn to_header(&self) -> [u8; LINE as usize] {
        let mut header = [0; LINE as usize];
        for (octets, word) in header.chunks_exact_mut(8).zip(self.to_words()) {
            octets.copy_from_slice(&word.to_le_bytes());
        }
        header
    }

    /// Reads the 64-octet header of a copy. Nothing of it is checked: fillers have kind 0xFFFF.
    pub fn from_header(header: &[u8; LINE as usize]) -> Record {
        let mut words = [0; LINE as usize / 8];
        for (word, octets) in words.iter_mut().zip(header.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*octets);
        }
        Record::from_words(words)
    }

    /// Whether its payload lies wholly inside the log of `shape`: nothing else of a record is needed to be safe.
    pub(crate) fn fits(&self, shape: &Shape) -> bool {
        let within = self.pos & (shape.extent_len - 1);
        self.pos.is_multiple_of(LINE)
            && self.len <= shape.payload_max
            && within + record_len(u64::from(self.len)) <= shape.extent_len
            && self.pos <= 1 << 62
            && self.payload_before <= 1 << 62
    }

    /// Where the stream stands after it.
    pub(crate) fn end(&self) -> Position {
        Position {
            seq: self.seq.wrapping_add(1),
            pos: self.pos.wrapping_add(record_len(u64::from(self.len))),
            payload: self.payload_before.wrapping_add(u64::from(self.len)),
        }
    }

    /// Where the stream stands before it.
    pub(crate) fn begin(&self) -> Position {
        Position { seq: self.seq, pos: self.pos, payload: self.payload_before }
    }
}

/// The eight words of slot `seq`.
#[inline]
pub(crate) fn slot<'a>(descriptors: &'a [AtomicU64], shape: &Shape, seq: Seq) -> &'a [AtomicU64] {
    let start = ((seq & (shape.slots() - 1)) * 8) as usize;
    &descriptors[start..start + 8]
}

/// Stores `words` one by one, relaxed.
#[inline]
pub(crate) fn store_words(to: &[AtomicU64], words: &[u64]) {
    for (to, word) in to.iter().zip(words) {
        to.store(*word, Ordering::Relaxed);
    }
}
