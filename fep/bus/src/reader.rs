//! A consumer's side of the protocol on bare memory: look, read, skip, resynchronise, count. No files, no clock.
//!
//! The memory may hold anything: another process writes it, and may be broken. Every number taken from it is checked
//! before it is used as an offset, every search is bounded, and the worst a bad ring can do is a wrong count.

use crate::copy::{Copier, prefetch};
use crate::descriptor::{Record, Seq, slot};
use crate::layout::{HINT_EVERY, LINE, Position, Shape, page};
use crate::memory::{AtomicU64, Memory, Ordering, fence, load_acquire};

/// Why records were lost on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapCause {
    /// The producer was a whole ring ahead before the record was looked at.
    Lapped,
    /// The producer overwrote the payload while it was being read.
    Torn,
    /// As lapped, and the warden had given this gate up.
    Evicted,
    /// The ring was laid out anew while this consumer was away.
    Recreated,
    /// The descriptor makes no sense: the ring has been damaged.
    Corrupt,
}

/// Records that this consumer will never see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First lost record.
    pub from_seq: Seq,
    /// First record after the gap.
    pub to_seq: Seq,
    /// Records lost: exactly `to_seq - from_seq`.
    pub records: u64,
    /// Payload octets lost, exact.
    pub bytes: u64,
    /// Why.
    pub cause: GapCause,
}

/// What a consumer has seen and missed since its cursor was first set.
/// `consumed + lost` is always what was published between the start and the cursor, to the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Records read or skipped.
    pub consumed_records: u64,
    /// Their payload octets.
    pub consumed_bytes: u64,
    /// Records lost.
    pub lost_records: u64,
    /// Their payload octets.
    pub lost_bytes: u64,
    /// Gaps reported.
    pub gaps: u64,
}

/// What lies at the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Record(Record),
    Empty,
    Gap(Gap),
}

/// What one slot holds.
enum Slot {
    Valid(Record),
    NotYet,
    /// At least this record had been started when we looked.
    Newer(Seq),
    Nonsense,
}

/// One reader of a ring.
pub(crate) struct Reader<M> {
    memory: M,
    shape: Shape,
    copier: Copier,
    /// First record not yet accounted for, and where the log continues.
    next: Position,
    /// Where to look; ahead of `next.seq` only while `missing` says why the ones between are lost.
    probe: Seq,
    missing: Option<GapCause>,
    ledger: Ledger,
}

impl<M: Memory> Reader<M> {
    pub(crate) fn new(memory: M, shape: Shape, next: Position, ledger: Ledger) -> Reader<M> {
        // Cursor files and head hints are not believed blindly: a log position is always a line's.
        let next = Position { pos: next.pos.min(1 << 62) / LINE * LINE, ..next };
        Reader { memory, shape, copier: Copier::best(), next, probe: next.seq, missing: None, ledger }
    }

    /// Goes on in a ring laid out anew, whose numbers continue those of the ring that `next` belongs to.
    pub(crate) fn after_recreation(memory: M, shape: Shape, next: Position, ledger: Ledger) -> Reader<M> {
        let start = shape.start();
        let mut reader = Reader::new(memory, shape, next, ledger);
        if next.seq < start.seq || next.payload != start.payload {
            reader.miss(GapCause::Recreated, start.seq);
        } else {
            reader.next = start;
        }
        reader
    }

    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(crate) fn next(&self) -> Position {
        self.next
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger
    }

    #[inline]
    fn page_word(&self, offset: usize) -> u64 {
        load_acquire(&self.memory.page()[offset / 8])
    }

    /// The record at the cursor, without touching its payload. Does not move past it.
    #[inline]
    pub(crate) fn look(&mut self) -> Look {
        match self.slot(self.probe) {
            Slot::Valid(record) if self.missing.is_none() && record.payload_before == self.next.payload => {
                Look::Record(record)
            }
            Slot::NotYet => Look::Empty,
            other => self.recover(other),
        }
    }

    /// R1, reader's half: the sequence number is the same before and after the fields were copied.
    #[inline]
    fn slot(&self, seq: Seq) -> Slot {
        let slot = slot(self.memory.descriptors(), &self.shape, seq);
        let before = load_acquire(&slot[0]);
        if before != seq {
            return if seq.wrapping_sub(before).cast_signed() > 0 {
                Slot::NotYet
            } else {
                Slot::Newer(before)
            };
        }
        let mut words = [before, 0, 0, 0, 0, 0, 0, 0];
        for (word, from) in words[1..].iter_mut().zip(&slot[1..]) {
            *word = from.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        let after = slot[0].load(Ordering::Relaxed);
        if after != seq {
            return Slot::Newer(after);
        }
        let record = Record::from_words(words);
        if record.fits(&self.shape) { Slot::Valid(record) } else { Slot::Nonsense }
    }

    /// Everything but the plain next record: decides where to go on, and reports the gap once both its ends are known.
    #[cold]
    fn recover(&mut self, first: Slot) -> Look {
        let mut found = first;
        // A producer that laps us again between two steps costs another step; after a few it is "nothing yet".
        for _ in 0..8 {
            match found {
                Slot::Valid(record) => match self.missing.take() {
                    Some(cause) => return Look::Gap(self.close_gap(record, cause)),
                    None if record.payload_before == self.next.payload => return Look::Record(record),
                    // The octet counts do not join up although no record is missing.
                    None => self.miss(GapCause::Corrupt, self.probe.wrapping_add(1)),
                },
                Slot::NotYet => return Look::Empty,
                Slot::Newer(seen) => {
                    let target = self.oldest_safe(seen);
                    self.miss(GapCause::Lapped, target);
                }
                Slot::Nonsense => self.miss(GapCause::Corrupt, self.probe.wrapping_add(1)),
            }
            found = self.slot(self.probe);
        }
        Look::Empty
    }

    /// Gives up everything before `target`; the first reason stands until the gap is closed.
    fn miss(&mut self, cause: GapCause, target: Seq) {
        self.missing.get_or_insert(cause);
        self.probe = target;
    }

    fn close_gap(&mut self, first_after: Record, cause: GapCause) -> Gap {
        let gap = Gap {
            from_seq: self.next.seq,
            to_seq: first_after.seq,
            records: first_after.seq.wrapping_sub(self.next.seq),
            bytes: first_after.payload_before.wrapping_sub(self.next.payload),
            cause,
        };
        self.ledger.lost_records = self.ledger.lost_records.wrapping_add(gap.records);
        self.ledger.lost_bytes = self.ledger.lost_bytes.wrapping_add(gap.bytes);
        self.ledger.gaps = self.ledger.gaps.wrapping_add(1);
        self.next = first_after.begin();
        gap
    }

    /// The oldest record that will not be overwritten at once: an eighth of the ring is left as a margin, except on rings
    /// that wait, where nothing unread is overwritten at all.
    /// `seen` is a record that had been started. Always after `probe`.
    fn oldest_safe(&self, seen: Seq) -> Seq {
        let floor = self.probe.wrapping_add(1);
        // The hint is never more than HINT_EVERY records old, which keeps a damaged slot from throwing us far ahead.
        let hint = self.page_word(page::HEAD_SEQ);
        let head = seen.saturating_add(1).min(hint.saturating_add(HINT_EVERY)).max(hint);
        let reserve = self.page_word(page::RESERVE_POS);
        let margin = if self.shape.wait { u64::MAX } else { 8 };
        let window = self.shape.slots() - self.shape.slots() / margin;
        let oldest_pos = reserve.saturating_sub(self.shape.data_len - self.shape.data_len / margin);
        let safe = |seq: Seq| match self.slot(seq) {
            Slot::Valid(record) => record.pos >= oldest_pos,
            // Ahead of what is written: nothing newer can be safer.
            Slot::NotYet => true,
            Slot::Newer(_) | Slot::Nonsense => false,
        };
        // Positions grow with sequence numbers, so "safe" turns true once: at most 28 halvings.
        let (mut low, mut high) = (head.saturating_sub(window).max(floor), head.saturating_sub(1).max(floor));
        while low < high {
            let middle = low + (high - low) / 2;
            if safe(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// Hands the payload of `record` to `visit`, then says whether it was intact all the while and moves on.
    /// `None`: it was torn; the visitor's result is void and the gap follows.
    #[inline]
    pub(crate) fn read<R>(&mut self, record: &Record, visit: impl FnOnce(Payload<'_>) -> R) -> Option<R> {
        // `fits` was checked by whoever made the record; the slice checks again, against the memory itself.
        let words = &self.log_words(record.pos, record.end().pos)[LINE as usize / 8..];
        let result = visit(Payload { words, len: record.len as usize, copier: self.copier });
        if self.is_intact(record.pos) {
            self.advance(record);
            Some(result)
        } else {
            let target = self.oldest_safe(self.probe);
            self.miss(GapCause::Torn, target);
            None
        }
    }

    /// R2, reader's half: nothing at or after `pos` had been given to a later lap when the reading was done.
    #[inline]
    pub(crate) fn is_intact(&self, pos: u64) -> bool {
        fence(Ordering::Acquire);
        let reserve = self.memory.page()[page::RESERVE_POS / 8].load(Ordering::Relaxed);
        reserve <= pos.wrapping_add(self.shape.data_len)
    }

    /// Moves past a record whose payload is not wanted: it counts as consumed.
    #[inline]
    pub(crate) fn advance(&mut self, record: &Record) {
        self.ledger.consumed_records = self.ledger.consumed_records.wrapping_add(1);
        self.ledger.consumed_bytes = self.ledger.consumed_bytes.wrapping_add(u64::from(record.len));
        self.stand_at(record.end());
    }

    /// Asks the caches for the descriptor and the first payload line some records ahead.
    #[inline]
    pub(crate) fn prefetch_ahead(&self, record: &Record) {
        prefetch(&slot(self.memory.descriptors(), &self.shape, record.seq.wrapping_add(8))[0]);
    }

    /// The descriptor of any record still in the ring, for spans and searches.
    pub(crate) fn descriptor(&self, seq: Seq) -> Option<Record> {
        match self.slot(seq) {
            Slot::Valid(record) => Some(record),
            _ => None,
        }
    }

    /// Counts everything from the cursor to `to` as consumed: for consumers that take whole spans of the log.
    pub(crate) fn advance_to(&mut self, to: Position) {
        self.ledger.consumed_records =
            self.ledger.consumed_records.wrapping_add(to.seq.wrapping_sub(self.next.seq));
        self.ledger.consumed_bytes =
            self.ledger.consumed_bytes.wrapping_add(to.payload.wrapping_sub(self.next.payload));
        self.stand_at(to);
    }

    /// What was taken for lost while the cursor stood before has been read after all: the next look finds out anew.
    #[inline]
    fn stand_at(&mut self, next: Position) {
        self.next = next;
        self.probe = next.seq;
        self.missing = None;
    }

    /// The log from `begin` to `end`, which the caller keeps within one lap.
    #[inline]
    pub(crate) fn log_words(&self, begin: u64, end: u64) -> &[AtomicU64] {
        let start = begin & (self.shape.data_len - 1);
        &self.memory.data()[(start / 8) as usize..((start + (end - begin)) / 8) as usize]
    }

    pub(crate) fn copy_log(&self, begin: u64, end: u64, out: &mut [u8]) {
        self.copier.read(self.log_words(begin, end), out);
    }

    /// Gives up the cursor's record (found torn from outside); the gap is reported by a later look.
    pub(crate) fn give_up(&mut self) {
        let target = self.oldest_safe(self.probe);
        self.miss(GapCause::Torn, target);
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.page_word(page::EPOCH)
    }

    pub(crate) fn epoch_seq(&self) -> Seq {
        self.page_word(page::EPOCH_SEQ)
    }

    pub(crate) fn producer_state(&self) -> u64 {
        self.page_word(page::STATE)
    }

    /// The word of the heartbeat, as [`crate::heartbeat`] reads it.
    pub(crate) fn producer_heartbeat(&self) -> u64 {
        self.page_word(page::HEARTBEAT_MONOTONIC_NS)
    }

    pub(crate) fn head_hint(&self) -> Seq {
        self.page_word(page::HEAD_SEQ)
    }
}

/// Where a consumer without a usable cursor starts.
pub(crate) fn oldest<M: Memory>(memory: &M, shape: &Shape) -> Position {
    let head = newest(memory, shape);
    let mut probe = Reader::new(memory_ref(memory), *shape, shape.start(), Ledger::default());
    if head.seq.saturating_sub(shape.seq0) < shape.slots() && probe.is_intact(shape.pos0) {
        return shape.start();
    }
    probe.probe = head.seq.saturating_sub(shape.slots() + 1).max(shape.seq0.saturating_sub(1));
    let seq = probe.oldest_safe(head.seq.saturating_sub(1));
    probe.descriptor(seq).map_or(head, |record| record.begin())
}

/// The end of what is published: the hint, then a bounded walk.
pub(crate) fn newest<M: Memory>(memory: &M, shape: &Shape) -> Position {
    let page = memory.page();
    let reader = Reader::new(memory_ref(memory), *shape, shape.start(), Ledger::default());
    // The three hints are not written at once: take a record near the head as the anchor instead.
    let mut head = shape.start();
    let hinted = load_acquire(&page[page::HEAD_SEQ / 8]).max(shape.seq0);
    let mut seq = hinted;
    if hinted > shape.seq0 {
        match reader.descriptor(hinted - 1) {
            Some(record) => head = record.end(),
            None => {
                head = Position {
                    seq: hinted,
                    pos: page[page::HEAD_POS / 8].load(Ordering::Relaxed),
                    payload: page[page::HEAD_PAYLOAD / 8].load(Ordering::Relaxed),
                }
            }
        }
    }
    for _ in 0..shape.slots() {
        let Some(record) = reader.descriptor(seq) else { break };
        head = record.end();
        seq = seq.wrapping_add(1);
    }
    head
}

struct Borrowed<'a, M>(&'a M);

fn memory_ref<M: Memory>(memory: &M) -> Borrowed<'_, M> {
    Borrowed(memory)
}

impl<M: Memory> Memory for Borrowed<'_, M> {
    fn page(&self) -> &[AtomicU64] {
        self.0.page()
    }
    fn descriptors(&self) -> &[AtomicU64] {
        self.0.descriptors()
    }
    fn data(&self) -> &[AtomicU64] {
        self.0.data()
    }
}

/// A payload where it lies in the ring. The producer may overwrite it at any moment, so what is read only counts when
/// the visit is reported as done; nothing read here may be believed before.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    words: &'a [AtomicU64],
    len: usize,
    copier: Copier,
}

impl Payload<'_> {
    /// Octets.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the first `out.len()` octets.
    ///
    /// # Panics
    /// When `out` is longer than the payload.
    #[inline]
    pub fn copy_to(&self, out: &mut [u8]) {
        assert!(out.len() <= self.len, "{} octets asked of a payload of {}", out.len(), self.len);
        self.copier.read(self.words, out);
    }

    /// Octets `8 * index ..` as a little-endian word; octets past the end are zero.
    ///
    /// # Panics
    /// When the word starts at or after the end.
    #[inline]
    pub fn word(&self, index: usize) -> u64 {
        assert!(index * 8 < self.len, "word {index} of a payload of {} octets", self.len);
        self.words[index].load(Ordering::Relaxed)
    }

    /// The words in order, the last one padded with zeros.
    #[inline]
    pub fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.words[..self.len.div_ceil(8)].iter().map(|word| word.load(Ordering::Relaxed))
    }
}
