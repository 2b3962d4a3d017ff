//! The producer's side of the protocol on bare memory: claim, fill, commit, recover. No files, no clock.
//!
//! Nothing here reads a word that a consumer writes; on rings that wait, the limit is read that the warden writes.
//! The pairs of ordering are named R1 and R2 in `docs/ring.md`.

use fep_time::Monotonic;

use crate::copy::Copier;
use crate::descriptor::{Record, Seq, Tag, slot, store_words};
use crate::error::ClaimError;
use crate::heartbeat;
use crate::layout::{KIND_PAD, LINE, Position, Shape, page, record_len, state};
use crate::memory::{AtomicU64, Memory, Ordering, fence};

/// The one writer of a ring.
pub(crate) struct Writer<M> {
    memory: M,
    shape: Shape,
    copier: Copier,
    /// Where the next record goes; nobody else needs it exactly.
    next: Position,
    /// Copy of `reserve_pos`, which only we write.
    reserved: u64,
    /// Copies of the warden's limits, refreshed only when they are reached.
    limit_seq: u64,
    limit_pos: u64,
}

/// Space for one record: private until committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    pos: u64,
    len: u32,
}

impl Space {
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }
}

impl<M: Memory> Writer<M> {
    /// Takes over a ring in whatever state the last writer left it and opens a new epoch.
    pub(crate) fn recover(memory: M, shape: Shape) -> Writer<M> {
        let next = recover_head(&memory, &shape);
        let reserved = memory.page()[page::RESERVE_POS / 8].load(Ordering::Relaxed).max(next.pos);
        let writer =
            Writer { memory, shape, copier: Copier::best(), next, reserved, limit_seq: 0, limit_pos: 0 };
        writer.hint();
        let epoch = writer.word(page::EPOCH).load(Ordering::Relaxed).wrapping_add(1);
        // The last sign of life was that of another process, perhaps of another boot.
        writer.word(page::HEARTBEAT_MONOTONIC_NS).store(heartbeat::NONE, Ordering::Relaxed);
        writer.word(page::EPOCH_SEQ).store(next.seq, Ordering::Relaxed);
        writer.word(page::EPOCH).store(epoch, Ordering::Release);
        writer.word(page::STATE).store(state::RUN, Ordering::Release);
        writer
    }

    #[inline]
    pub(crate) fn next(&self) -> Position {
        self.next
    }

    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    #[inline]
    fn word(&self, offset: usize) -> &AtomicU64 {
        &self.memory.page()[offset / 8]
    }

    /// Takes the space of the next record. Claiming again without a commit gives the same space again.
    #[inline]
    pub(crate) fn claim(&mut self, len: usize) -> Result<Space, ClaimError> {
        if len > self.shape.payload_max as usize {
            return Err(ClaimError::TooLong { len, payload_max: self.shape.payload_max });
        }
        let need = record_len(len as u64);
        let mut pos = self.next.pos;
        let left = self.shape.extent_len - (pos & (self.shape.extent_len - 1));
        let pad = if need > left { left } else { 0 };
        pos += pad;
        let end = pos + need;
        if self.shape.wait && !self.has_room(end) {
            return Err(ClaimError::Full);
        }
        if end > self.reserved {
            self.reserve(end);
        }
        if pad > 0 {
            let filler = Record {
                seq: self.next.seq,
                pos: self.next.pos,
                len: (pad - LINE) as u32,
                tag: Tag { kind: KIND_PAD, ..Tag::default() },
                payload_before: self.next.payload,
            };
            store_words(self.log(filler.pos, 8), &filler.to_words());
        }
        Ok(Space { pos, len: len as u32 })
    }

    /// R2, writer's half: `reserve_pos` is raised before any octet below it is touched.
    #[cold]
    fn reserve(&mut self, end: u64) {
        self.reserved = end.next_multiple_of(self.shape.reserve_stride);
        self.word(page::RESERVE_POS).store(self.reserved, Ordering::Relaxed);
        fence(Ordering::Release);
    }

    fn has_room(&mut self, end: u64) -> bool {
        let reserve = end.next_multiple_of(self.shape.reserve_stride);
        let fits = |seq: u64, pos: u64, writer: &Self| writer.next.seq < seq && reserve <= pos;
        if fits(self.limit_seq, self.limit_pos, self) {
            return true;
        }
        // The warden has read the cursors before it raised the limit: acquire keeps our overwriting after that.
        self.limit_seq = self.word(page::LIMIT_SEQ).load(Ordering::Acquire);
        self.limit_pos = self.word(page::LIMIT_POS).load(Ordering::Acquire);
        fits(self.limit_seq, self.limit_pos, self)
    }

    /// `count` words of the log from position `pos`.
    #[inline]
    fn log(&self, pos: u64, count: u64) -> &[AtomicU64] {
        let start = (pos & (self.shape.data_len - 1)) / 8;
        &self.memory.data()[start as usize..(start + count) as usize]
    }

    #[inline]
    fn payload(&self, space: Space) -> &[AtomicU64] {
        self.log(space.pos + LINE, (u64::from(space.len)).next_multiple_of(LINE) / 8)
    }

    /// Fills the payload from `offset` on, front to back: the rest of the last line touched becomes zero.
    #[inline]
    pub(crate) fn write(&self, space: Space, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= space.len());
        let payload = self.payload(space);
        let head = if offset.is_multiple_of(LINE as usize) {
            0
        } else {
            (LINE as usize - offset % LINE as usize).min(bytes.len())
        };
        for (index, octet) in bytes[..head].iter().enumerate() {
            // Our own words: nobody else writes them, so reading back and merging loses nothing.
            let word = &payload[(offset + index) / 8];
            let mut octets = word.load(Ordering::Relaxed).to_le_bytes();
            octets[(offset + index) % 8] = *octet;
            word.store(u64::from_le_bytes(octets), Ordering::Relaxed);
        }
        if head < bytes.len() {
            self.copier.write(&bytes[head..], &payload[(offset + head) / 8..]);
        }
    }

    /// Zeroes the payload from `offset` on: what a claim left unfilled must not show what lay there before.
    pub(crate) fn clear(&self, space: Space, offset: usize) {
        const ZEROS: [u8; 1024] = [0; 1024];
        let mut offset = offset;
        while offset < space.len() {
            let step = (space.len() - offset).min(ZEROS.len() - offset % LINE as usize);
            self.write(space, offset, &ZEROS[..step]);
            offset += step;
        }
    }

    /// Makes the claimed record visible.
    #[inline]
    pub(crate) fn commit(&mut self, space: Space, tag: Tag) -> Seq {
        let record = Record {
            seq: self.next.seq,
            pos: space.pos,
            len: space.len,
            tag,
            payload_before: self.next.payload,
        };
        debug_assert!(record.fits(&self.shape), "a claim never leaves its extent");
        let words = record.to_words();
        store_words(self.log(space.pos, 8), &words);
        // R1, writer's half: the slot is marked as being rewritten before its fields change, and carries the new
        // sequence number only after fields and payload are complete.
        let slot = slot(self.memory.descriptors(), &self.shape, record.seq);
        slot[0].store(record.seq - 1, Ordering::Relaxed);
        fence(Ordering::Release);
        store_words(&slot[1..], &words[1..]);
        slot[0].store(record.seq, Ordering::Release);
        self.next = record.end();
        if self.next.seq & (self.shape.hint_every() - 1) == 0 {
            self.hint();
        }
        record.seq
    }

    /// Claim, fill and commit at once.
    #[inline]
    pub(crate) fn publish(&mut self, tag: Tag, payload: &[u8]) -> Result<Seq, ClaimError> {
        let space = self.claim(payload.len())?;
        self.write(space, 0, payload);
        Ok(self.commit(space, tag))
    }

    /// Refreshes the lazy head words. Everything below `head_seq` is complete for whoever reads it with acquire.
    pub(crate) fn hint(&self) {
        self.word(page::HEAD_POS).store(self.next.pos, Ordering::Relaxed);
        self.word(page::HEAD_PAYLOAD).store(self.next.payload, Ordering::Relaxed);
        self.word(page::HEAD_SEQ).store(self.next.seq, Ordering::Release);
    }

    pub(crate) fn heartbeat(&self, now: Monotonic) {
        self.word(page::HEARTBEAT_MONOTONIC_NS).store(heartbeat::word(now), Ordering::Release);
    }

    /// Says that nothing more will come in this epoch.
    pub(crate) fn halt(&self) {
        self.hint();
        self.word(page::STATE).store(state::HALT, Ordering::Release);
    }
}

/// The first position that was never committed. Runs alone: the caller holds the producer's lock.
fn recover_head<M: Memory>(memory: &M, shape: &Shape) -> Position {
    let complete = |seq: Seq| {
        let slot = slot(memory.descriptors(), shape, seq);
        if slot[0].load(Ordering::Acquire) != seq {
            return None;
        }
        let mut words = [0; 8];
        for (word, from) in words.iter_mut().zip(slot) {
            *word = from.load(Ordering::Relaxed);
        }
        let record = Record::from_words(words);
        record.fits(shape).then_some(record)
    };
    let hinted = memory.page()[page::HEAD_SEQ / 8].load(Ordering::Acquire).max(shape.seq0);
    let mut head = shape.start();
    // The hint is only some records old, and the record before it anchors positions; at the very start the first record
    // does. Where the anchor is gone (the hint was damaged), every slot is looked at.
    let anchor = if hinted > shape.seq0 { complete(hinted - 1) } else { complete(shape.seq0) };
    if let Some(record) = anchor.or_else(|| newest(memory, shape, complete)) {
        head = record.end();
    }
    let mut seq = head.seq;
    while let Some(record) = complete(seq) {
        head = record.end();
        seq += 1;
    }
    head
}

/// The newest complete record, found slot by slot: only when the hints are useless.
fn newest<M: Memory>(memory: &M, shape: &Shape, complete: impl Fn(Seq) -> Option<Record>) -> Option<Record> {
    (0..shape.slots())
        .filter_map(|index| {
            let seq = slot(memory.descriptors(), shape, index)[0].load(Ordering::Acquire);
            let own_slot = seq & (shape.slots() - 1) == index && seq >= shape.seq0 && seq < 1 << 62;
            own_slot.then(|| complete(seq)).flatten()
        })
        .max_by_key(|record| record.seq)
}
