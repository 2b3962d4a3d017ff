//! Cursor files: what a consumer leaves behind so that it, and the warden, know where it stood.
//!
//! A plain file, written with `pwrite` and read with `pread`, never mapped: a file that its owner truncates or fills
//! with nonsense is then only a file that is ignored. Two slots are written in turn, each with a check word, so that a
//! consumer killed in the middle of a write loses one update and never its place.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::layout::{NAME_LEN, Position};
use crate::reader::Ledger;

/// First octets of a cursor file.
pub(crate) const CURSOR_MAGIC: u64 = u64::from_le_bytes(*b"FEPCURS1");
/// Version of the layout. Version 1 had wall-clock heartbeats.
pub(crate) const CURSOR_VERSION: u64 = 2;
/// Octets of the file.
pub(crate) const CURSOR_FILE_LEN: usize = 512;

/// Offsets in the file, in octets.
pub(crate) mod head {
    pub(crate) const MAGIC: usize = 0x000;
    pub(crate) const VERSION: usize = 0x008;
    pub(crate) const NAME: usize = 0x010; // u8[32]
    pub(crate) const SLOT_A: usize = 0x080;
    pub(crate) const SLOT_B: usize = 0x100;
    pub(crate) const SLOT_LEN: usize = 0x80;
}

/// Offsets in a slot, in octets.
pub(crate) mod cursor_slot {
    pub(crate) const GENERATION: usize = 0x00;
    pub(crate) const INSTANCE: usize = 0x08;
    pub(crate) const NEXT_SEQ: usize = 0x10;
    pub(crate) const NEXT_POS: usize = 0x18;
    pub(crate) const NEXT_PAYLOAD: usize = 0x20;
    pub(crate) const DURABLE_POS: usize = 0x28;
    pub(crate) const HEARTBEAT_MONOTONIC_NS: usize = 0x30;
    pub(crate) const CONSUMED_RECORDS: usize = 0x38;
    pub(crate) const CONSUMED_BYTES: usize = 0x40;
    pub(crate) const LOST_RECORDS: usize = 0x48;
    pub(crate) const LOST_BYTES: usize = 0x50;
    pub(crate) const GAPS: usize = 0x58;
    pub(crate) const WANT_GEN: usize = 0x60;
    pub(crate) const PID: usize = 0x68;
    pub(crate) const CHECK: usize = 0x78;
    pub(crate) const END: usize = 0x80;
}

/// One state of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CursorState {
    /// Counts the writes; the newer valid slot wins.
    pub(crate) generation: u64,
    /// Ring file it speaks of.
    pub(crate) instance: u64,
    pub(crate) next: Position,
    /// Everything before this log position has been made durable by the consumer.
    pub(crate) durable_pos: u64,
    /// Word of the last sign of life, as [`crate::heartbeat`] reads it.
    pub(crate) heartbeat: u64,
    pub(crate) ledger: Ledger,
    /// Odd: the consumer wants to be watched; even: it does not. A new odd number asks again after an eviction.
    pub(crate) want_gen: u64,
    pub(crate) pid: u64,
}

const WORDS: usize = cursor_slot::END / 8;

impl CursorState {
    fn to_words(self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        words[cursor_slot::GENERATION / 8] = self.generation;
        words[cursor_slot::INSTANCE / 8] = self.instance;
        words[cursor_slot::NEXT_SEQ / 8] = self.next.seq;
        words[cursor_slot::NEXT_POS / 8] = self.next.pos;
        words[cursor_slot::NEXT_PAYLOAD / 8] = self.next.payload;
        words[cursor_slot::DURABLE_POS / 8] = self.durable_pos;
        words[cursor_slot::HEARTBEAT_MONOTONIC_NS / 8] = self.heartbeat;
        words[cursor_slot::CONSUMED_RECORDS / 8] = self.ledger.consumed_records;
        words[cursor_slot::CONSUMED_BYTES / 8] = self.ledger.consumed_bytes;
        words[cursor_slot::LOST_RECORDS / 8] = self.ledger.lost_records;
        words[cursor_slot::LOST_BYTES / 8] = self.ledger.lost_bytes;
        words[cursor_slot::GAPS / 8] = self.ledger.gaps;
        words[cursor_slot::WANT_GEN / 8] = self.want_gen;
        words[cursor_slot::PID / 8] = self.pid;
        words[cursor_slot::CHECK / 8] = check_word(&words[..cursor_slot::CHECK / 8]);
        words
    }

    fn from_octets(octets: &[u8]) -> Option<CursorState> {
        let mut words = [0_u64; WORDS];
        for (word, chunk) in words.iter_mut().zip(octets.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().ok()?);
        }
        if words[cursor_slot::CHECK / 8] != check_word(&words[..cursor_slot::CHECK / 8]) {
            return None;
        }
        Some(CursorState {
            generation: words[cursor_slot::GENERATION / 8],
            instance: words[cursor_slot::INSTANCE / 8],
            next: Position {
                seq: words[cursor_slot::NEXT_SEQ / 8],
                pos: words[cursor_slot::NEXT_POS / 8],
                payload: words[cursor_slot::NEXT_PAYLOAD / 8],
            },
            durable_pos: words[cursor_slot::DURABLE_POS / 8],
            heartbeat: words[cursor_slot::HEARTBEAT_MONOTONIC_NS / 8],
            ledger: Ledger {
                consumed_records: words[cursor_slot::CONSUMED_RECORDS / 8],
                consumed_bytes: words[cursor_slot::CONSUMED_BYTES / 8],
                lost_records: words[cursor_slot::LOST_RECORDS / 8],
                lost_bytes: words[cursor_slot::LOST_BYTES / 8],
                gaps: words[cursor_slot::GAPS / 8],
            },
            want_gen: words[cursor_slot::WANT_GEN / 8],
            pid: words[cursor_slot::PID / 8],
        })
    }
}

/// Not zero for all-zero words, and different when words are swapped.
fn check_word(words: &[u64]) -> u64 {
    words
        .iter()
        .fold(CURSOR_MAGIC, |check, word| (check.rotate_left(13) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Writes the file's head: magic and name.
pub(crate) fn write_header(file: &File, name: &str) -> io::Result<()> {
    let mut octets = [0; head::SLOT_A];
    octets[head::MAGIC..head::MAGIC + 8].copy_from_slice(&CURSOR_MAGIC.to_le_bytes());
    octets[head::VERSION..head::VERSION + 8].copy_from_slice(&CURSOR_VERSION.to_le_bytes());
    let name = &name.as_bytes()[..name.len().min(NAME_LEN - 1)];
    octets[head::NAME..head::NAME + name.len()].copy_from_slice(name);
    file.write_all_at(&octets, 0)
}

/// Stores a state in the slot its generation falls to.
pub(crate) fn write_state(file: &File, state: CursorState) -> io::Result<()> {
    let mut octets = [0; head::SLOT_LEN];
    for (chunk, word) in octets.chunks_exact_mut(8).zip(state.to_words()) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let slot = if state.generation.is_multiple_of(2) { head::SLOT_A } else { head::SLOT_B };
    file.write_all_at(&octets, slot as u64)
}

/// Reads the newest whole state. `Ok(None)`: the file is there but holds nothing believable (yet).
pub(crate) fn read_state(file: &File) -> io::Result<Option<CursorState>> {
    let mut octets = [0; CURSOR_FILE_LEN];
    let mut filled = 0;
    while filled < octets.len() {
        match file.read_at(&mut octets[filled..], filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(newest_state(&octets[..filled]))
}

/// As [`read_state`], from octets.
pub(crate) fn newest_state(octets: &[u8]) -> Option<CursorState> {
    let magic = octets.get(head::MAGIC..head::MAGIC + 8)?;
    let version = octets.get(head::VERSION..head::VERSION + 8)?;
    if magic != CURSOR_MAGIC.to_le_bytes() || version != CURSOR_VERSION.to_le_bytes() {
        return None;
    }
    [head::SLOT_A, head::SLOT_B]
        .into_iter()
        .filter_map(|slot| octets.get(slot..slot + head::SLOT_LEN))
        .filter_map(CursorState::from_octets)
        .max_by_key(|state| state.generation)
}
