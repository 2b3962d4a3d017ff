//! The checker: synchronises to a sequence at any bit alignment and in either polarity, and compares.
//!
//! * **Searching**: the sequence's own recurrence is tried on the received bits. When it (or its complement) has held for
//!   48 bits up to the end of a word of 64, the last bits are the register of a reference, and the checker is
//!   on trial: if more than a quarter of the next 1024 bits is wrong, that was chance, and the search goes on. A line
//!   that stands still fulfils every recurrence; it is refused.
//! * **Synchronised**: every bit is compared with the reference, which runs on its own, so that a wrong bit is one error.
//!   When more than a quarter of a window of 1024 bits is wrong, synchronism is lost. The bits from the place on where
//!   that began (the likeliest place where the rate changed) are not counted as checked, nor their errors.
//! * **Again synchronised**: the old reference has run on. If the new one agrees with it there was a burst of errors; if it
//!   agrees but for some bits, the stream has slipped by so many.

use serde::{Deserialize, Serialize};

use super::interval::{BerInterval, Confidence, ber_interval};
use super::sequence::{Pn, Words, step_back};

const WORD_BITS: u64 = 64;
/// Bits for which the recurrence must hold.
const SYNC_BITS: u64 = 48;
/// Words of a window.
const WINDOW: usize = 16;
/// Words compared in one go.
const BATCH: usize = 32 * WINDOW;
/// The longest slip that is told by its length, bits.
const SLIP_MAX: u32 = 2048;

/// How a synchronism relates to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resync {
    /// There was none.
    First,
    /// Same place in the sequence: errors came in a burst.
    SamePlace,
    /// Bits were inserted (+) or lost (-); of PN9 up to half its period can be told.
    Slip {
        /// How many.
        bits: i32,
    },
    /// Another place, too far away to be called a slip.
    Elsewhere,
}

/// What happens to the synchronism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BertEvent {
    /// Synchronised: bits from `stream_bit` on are checked. Said when the first window has confirmed it.
    Synchronised {
        /// Bit position since the checker was made or reset.
        stream_bit: u64,
        /// The stream is the complement of what O.150 sends.
        inverted: bool,
        /// How this relates to the synchronism before.
        resync: Resync,
    },
    /// Synchronism was lost: bits from `stream_bit` on are not counted as checked.
    Lost {
        /// Bit position since the checker was made or reset.
        stream_bit: u64,
    },
}

/// What has been checked since the checker was made; resets do not clear it.
///
/// Every bit is accounted for: `bits_in = bits_checked + bits_unsynchronised + bits_held`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BertCounters {
    /// Bits pushed.
    pub bits_in: u64,
    /// Bits compared with the reference.
    pub bits_checked: u64,
    /// Of these, wrong ones.
    pub errors: u64,
    /// Bits received without synchronism.
    pub bits_unsynchronised: u64,
    /// Bits that are not yet a whole word.
    pub bits_held: u64,
    /// Times synchronism was found.
    pub sync_acquired: u64,
    /// Times it was lost.
    pub sync_lost: u64,
    /// Times it was found at another place of the sequence.
    pub slips: u64,
    /// Times it was found in the other polarity.
    pub inversions: u64,
}

impl BertCounters {
    /// The bit error rate with its bounds (Wilson score interval), `None` before any bit was checked.
    pub fn rate(&self, confidence: Confidence) -> Option<BerInterval> {
        ber_interval(self.errors, self.bits_checked, confidence)
    }
}

/// Checks one stream.
///
/// ```
/// use fep_coding::bert::{BertChecker, Confidence, Pn, PnGenerator};
/// let mut octets = [0; 1000];
/// PnGenerator::new(Pn::Pn23).fill(&mut octets);
/// octets[500] ^= 0x18;
/// let mut checker = BertChecker::new(Pn::Pn23);
/// checker.push(&octets, &mut |_| ());
/// assert_eq!(checker.counters().errors, 2);
/// let rate = checker.counters().rate(Confidence::P95).expect("bits were checked");
/// assert!(rate.low < rate.rate && rate.rate < rate.high);
/// ```
#[derive(Debug, Clone)]
pub struct BertChecker {
    pn: Pn,
    phase: Phase,
    /// Octets that are not yet a word.
    partial: [u8; 8],
    partial_len: usize,
    /// Position of the next word.
    at: u64,
    counters: BertCounters,
    errors: Vec<u64>,
}

// A checker has one of these: what the smaller variant leaves unused costs nothing.
#[expect(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
enum Phase {
    Search(Search),
    Sync(Sync),
}

#[derive(Debug, Clone)]
struct Search {
    /// The word before, and whether there was one.
    last: u64,
    any: bool,
    /// Bits for which the recurrence and its complement have held.
    upright: u64,
    complement: u64,
    /// The reference of the synchronism before, which runs on.
    before: Option<Reference>,
}

/// The sequence as it would be received without error.
#[derive(Debug, Clone)]
struct Reference {
    words: Words,
    /// All ones if it is received complemented.
    flip: u64,
}

#[derive(Debug, Clone)]
struct Sync {
    reference: Reference,
    /// The first window was right: until then it is on trial.
    confirmed: bool,
    found: Found,
    /// The reference of the synchronism before, as it was when this one was found.
    before: Option<Reference>,
    /// Wrong bits of the window before, if there was one, and of this one so far.
    recent: [u64; 2 * WINDOW],
    recent_from: usize,
    recent_to: usize,
}

/// A synchronism as it was found.
#[derive(Debug, Clone, Copy)]
struct Found {
    stream_bit: u64,
    resync: Resync,
    /// The polarity is not that of the synchronism before.
    turned: bool,
}

impl Search {
    fn new(before: Option<Reference>) -> Search {
        Search { last: 0, any: false, upright: 0, complement: 0, before }
    }

    /// Takes the next word; the reference behind it if that made the checker synchronous.
    fn word(&mut self, pn: Pn, word: u64) -> Option<(Reference, u32)> {
        let both = u128::from(self.last) << 64 | u128::from(word);
        let differs = word ^ (both >> pn.stages()) as u64 ^ (both >> pn.tap()) as u64;
        let known = if self.any { WORD_BITS } else { WORD_BITS - u64::from(pn.stages()) };
        let run = |before: u64, zeros: u32| {
            if u64::from(zeros) < WORD_BITS { u64::from(zeros).min(known) } else { before + known }
        };
        self.upright = run(self.upright, differs.trailing_zeros());
        self.complement = run(self.complement, differs.trailing_ones());
        self.last = word;
        self.any = true;
        if let Some(before) = &mut self.before {
            before.words.next();
        }
        let flip = match (self.upright >= SYNC_BITS, self.complement >= SYNC_BITS) {
            (true, _) => 0,
            (_, true) => u64::MAX,
            _ => return None,
        };
        let register = (word ^ flip) as u32 & pn.mask();
        (register != 0).then(|| (Reference { words: Words::after(pn, register), flip }, register))
    }

    /// How a reference with this register relates to the one before.
    fn relate(&self, pn: Pn, register: u32) -> Resync {
        let Some(before) = &self.before else { return Resync::First };
        let expected = before.words.register();
        if register == expected {
            return Resync::SamePlace;
        }
        let furthest = SLIP_MAX.min((pn.period() / 2) as u32) as i32;
        let (mut ahead, mut behind) = (expected, expected);
        for bits in 1..=furthest {
            ahead = (ahead << 1 | pn.next_bit(ahead)) & pn.mask();
            behind = step_back(pn, behind);
            // The stream is ahead of what was due where bits were lost.
            if register == ahead {
                return Resync::Slip { bits: -bits };
            }
            if register == behind {
                return Resync::Slip { bits };
            }
        }
        Resync::Elsewhere
    }
}

impl Sync {
    /// Takes the wrong bits of the next words as far as to the end of a window at most. Returns how many words it took
    /// and, if synchronism is lost there, how many bits back.
    fn window(&mut self, errors: &[u64]) -> (usize, Option<u64>) {
        let count = errors.len().min(self.recent_from + WINDOW - self.recent_to);
        self.recent[self.recent_to..][..count].copy_from_slice(&errors[..count]);
        self.recent_to += count;
        if self.recent_to < self.recent_from + WINDOW {
            return (count, None);
        }
        let lost = self.is_lost();
        if lost.is_none() {
            self.recent.copy_within(self.recent_from..self.recent_to, 0);
            self.recent_from = WINDOW;
            self.recent_to = WINDOW;
        }
        (count, lost)
    }

    /// If more than a quarter of this window is wrong: how many bits ago it most likely began, which is where the wrong
    /// bits exceed a quarter by most.
    fn is_lost(&self) -> Option<u64> {
        let window = &self.recent[self.recent_from..self.recent_to];
        if 4 * count_ones(window) <= WORD_BITS * window.len() as u64 {
            return None;
        }
        let (mut excess, mut most, mut bits, mut best) = (0i64, i64::MIN, 0, 0);
        for word in self.recent[..self.recent_to].iter().rev() {
            for bit in 0..WORD_BITS {
                excess += if word >> bit & 1 == 1 { 3 } else { -1 };
                bits += 1;
                if excess > most {
                    (most, best) = (excess, bits);
                }
            }
        }
        Some(best)
    }

    /// Wrong bits among the last `bits`.
    fn errors_among_last(&self, bits: u64) -> u64 {
        let recent = &self.recent[..self.recent_to];
        let whole = (bits / WORD_BITS) as usize;
        let (earlier, whole) = recent.split_at(recent.len() - whole);
        let rest = earlier.last().map_or(0, |word| word & ((1 << (bits % WORD_BITS)) - 1));
        count_ones(whole) + u64::from(rest.count_ones())
    }
}

fn count_ones(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

impl BertChecker {
    /// A checker that is not synchronised.
    pub fn new(pn: Pn) -> BertChecker {
        BertChecker {
            pn,
            phase: Phase::Search(Search::new(None)),
            partial: [0; 8],
            partial_len: 0,
            at: 0,
            counters: BertCounters::default(),
            errors: vec![0; BATCH],
        }
    }

    /// Which sequence it looks for.
    pub fn pn(&self) -> Pn {
        self.pn
    }

    /// What was checked so far.
    pub fn counters(&self) -> &BertCounters {
        &self.counters
    }

    /// Whether synchronism was found and not lost.
    pub fn is_synchronised(&self) -> bool {
        matches!(&self.phase, Phase::Sync(sync) if sync.confirmed)
    }

    /// Takes the next octets, first bit first.
    pub fn push(&mut self, input: &[u8], sink: &mut impl FnMut(BertEvent)) {
        self.counters.bits_in += 8 * input.len() as u64;
        let mut input = input;
        if self.partial_len > 0 {
            let missing = (8 - self.partial_len).min(input.len());
            self.partial[self.partial_len..][..missing].copy_from_slice(&input[..missing]);
            self.partial_len += missing;
            input = &input[missing..];
            if self.partial_len == 8 {
                self.partial_len = 0;
                self.words(&[self.partial], sink);
            }
        }
        let (words, rest) = input.as_chunks::<8>();
        self.words(words, sink);
        if !rest.is_empty() {
            self.partial[..rest.len()].copy_from_slice(rest);
            self.partial_len = rest.len();
        }
        self.counters.bits_held = 8 * self.partial_len as u64;
    }

    /// The stream ends here: checks what is held, and is no longer synchronised. Counters stay, positions start at 0.
    pub fn finish(&mut self, sink: &mut impl FnMut(BertEvent)) {
        let bits = 8 * self.partial_len as u64;
        if let Phase::Sync(sync) = &mut self.phase {
            if let Some(back) = sync.is_lost() {
                self.lose(back, sink);
            } else {
                if !sync.confirmed {
                    announce(self.pn, sync, &mut self.counters, sink);
                }
                if bits > 0 {
                    self.partial[self.partial_len..].fill(0);
                    let reference = sync.reference.words.next() ^ sync.reference.flip;
                    let wrong = (u64::from_be_bytes(self.partial) ^ reference) >> (WORD_BITS - bits);
                    self.counters.errors += u64::from(wrong.count_ones());
                    self.counters.bits_checked += bits;
                    self.partial_len = 0;
                }
            }
        }
        self.reset();
    }

    /// Forgets the stream. Counters stay, positions start at 0.
    pub fn reset(&mut self) {
        self.counters.bits_unsynchronised += 8 * self.partial_len as u64;
        self.counters.bits_held = 0;
        self.partial_len = 0;
        self.at = 0;
        self.phase = Phase::Search(Search::new(None));
    }

    fn words(&mut self, words: &[[u8; 8]], sink: &mut impl FnMut(BertEvent)) {
        let mut words = words;
        while !words.is_empty() {
            let taken = match &self.phase {
                Phase::Search(_) => self.search(words),
                Phase::Sync(_) => self.compare(words, sink),
            };
            words = &words[taken..];
        }
    }

    /// Searches through `words`, to their end or to where it is synchronised; returns how many it took.
    fn search(&mut self, words: &[[u8; 8]]) -> usize {
        let Phase::Search(search) = &mut self.phase else { return 0 };
        for (index, word) in words.iter().enumerate() {
            self.at += WORD_BITS;
            self.counters.bits_unsynchronised += WORD_BITS;
            let Some((reference, register)) = search.word(self.pn, u64::from_be_bytes(*word)) else {
                continue;
            };
            let resync = search.relate(self.pn, register);
            let turned = search.before.as_ref().is_some_and(|before| before.flip != reference.flip);
            self.phase = Phase::Sync(Sync {
                reference,
                confirmed: false,
                found: Found { stream_bit: self.at, resync, turned },
                before: search.before.take(),
                recent: [0; 2 * WINDOW],
                recent_from: 0,
                recent_to: 0,
            });
            return index + 1;
        }
        words.len()
    }

    /// Compares some of `words`; returns how many it took.
    fn compare(&mut self, words: &[[u8; 8]], sink: &mut impl FnMut(BertEvent)) -> usize {
        let Phase::Sync(sync) = &mut self.phase else { return 0 };
        let words = &words[..words.len().min(BATCH)];
        let errors = &mut self.errors[..words.len()];
        let start = sync.reference.words.clone();
        let flip = sync.reference.flip;
        sync.reference.words.zip(words.iter().zip(&mut *errors), |(word, error), reference| {
            *error = u64::from_be_bytes(*word) ^ reference ^ flip;
        });
        let mut taken = 0;
        while taken < words.len() {
            let (count, lost) = sync.window(&errors[taken..]);
            if !sync.confirmed && sync.recent_from > 0 {
                sync.confirmed = true;
                announce(self.pn, sync, &mut self.counters, sink);
            }
            let wrong = &errors[taken..taken + count];
            taken += count;
            self.at += WORD_BITS * count as u64;
            self.counters.bits_checked += WORD_BITS * count as u64;
            if wrong.iter().any(|word| *word != 0) {
                self.counters.errors += count_ones(wrong);
            }
            if let Some(back) = lost {
                // The reference has run on to the end of the batch: once more, to here only.
                sync.reference.words = start;
                for _ in 0..taken {
                    sync.reference.words.next();
                }
                self.lose(back, sink);
                return taken;
            }
        }
        taken
    }

    /// Synchronism was lost `back` bits ago, or never was.
    fn lose(&mut self, back: u64, sink: &mut impl FnMut(BertEvent)) {
        let Phase::Sync(sync) = &mut self.phase else { return };
        let mut reference = Some(sync.reference.clone());
        let mut back = back;
        if !sync.confirmed {
            back = WORD_BITS * sync.recent_to as u64;
            reference = sync.before.take();
            if let Some(before) = &mut reference {
                (0..sync.recent_to).for_each(|_| {
                    before.words.next();
                });
            }
        }
        self.counters.bits_checked -= back;
        self.counters.errors -= sync.errors_among_last(back);
        self.counters.bits_unsynchronised += back;
        if sync.confirmed {
            self.counters.sync_lost += 1;
            sink(BertEvent::Lost { stream_bit: self.at - back });
        }
        self.phase = Phase::Search(Search::new(reference));
    }
}

/// A synchronism has stood its trial.
fn announce(pn: Pn, sync: &Sync, counters: &mut BertCounters, sink: &mut impl FnMut(BertEvent)) {
    let Found { stream_bit, resync, turned } = sync.found;
    counters.sync_acquired += 1;
    counters.slips += u64::from(matches!(resync, Resync::Slip { .. } | Resync::Elsewhere));
    counters.inversions += u64::from(turned);
    let inverted = (sync.reference.flip != 0) != pn.is_inverted();
    sink(BertEvent::Synchronised { stream_bit, inverted, resync });
}
