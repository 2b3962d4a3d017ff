//! The sequences and their generator.
//!
//! Squaring the generator polynomial six times gives the same recurrence over distances 64 times as long: with words of
//! 64 bits, word(t) = word(t-k) ^ word(t-n). A step of the generator is one xor for 64 bits.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Words of the longest register.
pub(super) const REGISTER_MAX: usize = 23;

/// A pseudo-random sequence of period 2ⁿ-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pn {
    /// Period 511.
    Pn9,
    /// Period 32 767.
    Pn15,
    /// Period 1 048 575.
    Pn20,
    /// Period 8 388 607.
    Pn23,
}

impl Pn {
    /// All of them.
    pub const ALL: [Pn; 4] = [Pn::Pn9, Pn::Pn15, Pn::Pn20, Pn::Pn23];

    /// Stages of the register.
    pub const fn stages(self) -> u32 {
        match self {
            Pn::Pn9 => 9,
            Pn::Pn15 => 15,
            Pn::Pn20 => 20,
            Pn::Pn23 => 23,
        }
    }

    /// The other stage that is fed back.
    pub const fn tap(self) -> u32 {
        match self {
            Pn::Pn9 => 5,
            Pn::Pn15 => 14,
            Pn::Pn20 => 3,
            Pn::Pn23 => 18,
        }
    }

    /// Whether O.150 sends the complement of the register's output.
    pub const fn is_inverted(self) -> bool {
        matches!(self, Pn::Pn15 | Pn::Pn23)
    }

    /// Bits until it repeats.
    pub const fn period(self) -> u64 {
        (1 << self.stages()) - 1
    }

    /// The bit that follows upon the last bits, the most recent in bit 0.
    #[inline]
    pub(super) fn next_bit(self, last: u32) -> u32 {
        (last >> (self.stages() - 1) ^ last >> (self.tap() - 1)) & 1
    }

    pub(super) const fn mask(self) -> u32 {
        (1 << self.stages()) - 1
    }
}

impl fmt::Display for Pn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PN{}", self.stages())
    }
}

/// The sequence in words of 64 bits, first bit highest, never inverted.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pn: Pn,
    /// The last `stages` words, the next to be replaced at `at`.
    ring: [u64; REGISTER_MAX],
    at: usize,
}

impl Words {
    /// Goes on behind `last`, the last bits with the most recent in bit 0.
    pub(super) fn after(pn: Pn, last: u32) -> Words {
        let mut words = Words { pn, ring: [0; REGISTER_MAX], at: 0 };
        // The words before the first are those of the sequence run backwards; run forwards from as far ahead instead.
        let mut register = last & pn.mask();
        for _ in 0..64 * pn.stages() {
            register = step_back(pn, register);
        }
        for word in &mut words.ring[..pn.stages() as usize] {
            for _ in 0..64 {
                let bit = pn.next_bit(register);
                register = (register << 1 | bit) & pn.mask();
                *word = *word << 1 | u64::from(bit);
            }
        }
        debug_assert_eq!(register, last & pn.mask());
        words
    }

    /// The next 64 bits.
    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        let (stages, tap) = (self.pn.stages() as usize, self.pn.tap() as usize);
        let tapped = if self.at >= tap { self.at - tap } else { self.at + stages - tap };
        let word = self.ring[self.at] ^ self.ring[tapped];
        self.ring[self.at] = word;
        self.at = if self.at + 1 == stages { 0 } else { self.at + 1 };
        word
    }

    /// The last bits, the most recent in bit 0.
    pub(super) fn register(&self) -> u32 {
        let stages = self.pn.stages() as usize;
        self.ring[(self.at + stages - 1) % stages] as u32 & self.pn.mask()
    }

    /// Calls `each` with the next word for every item. The register is walked in whole rounds with its length known, so
    /// that nothing is looked up and compared for each word.
    #[inline]
    pub(super) fn zip<T>(&mut self, items: impl IntoIterator<Item = T>, mut each: impl FnMut(T, u64)) {
        match self.pn {
            Pn::Pn9 => self.zip_fixed::<9, 5, T>(items, &mut each),
            Pn::Pn15 => self.zip_fixed::<15, 14, T>(items, &mut each),
            Pn::Pn20 => self.zip_fixed::<20, 3, T>(items, &mut each),
            Pn::Pn23 => self.zip_fixed::<23, 18, T>(items, &mut each),
        }
    }

    #[inline(always)]
    fn zip_fixed<const STAGES: usize, const TAP: usize, T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        each: &mut impl FnMut(T, u64),
    ) {
        let mut items = items.into_iter();
        while self.at != 0 {
            let Some(item) = items.next() else { return };
            each(item, self.next());
        }
        let mut ring = [0; STAGES];
        ring.copy_from_slice(&self.ring[..STAGES]);
        'rounds: loop {
            for at in 0..STAGES {
                let Some(item) = items.next() else {
                    self.at = at;
                    break 'rounds;
                };
                ring[at] ^= ring[(at + STAGES - TAP) % STAGES];
                each(item, ring[at]);
            }
        }
        self.ring[..STAGES].copy_from_slice(&ring);
    }
}

/// The register one bit earlier.
pub(super) fn step_back(pn: Pn, register: u32) -> u32 {
    // The newest bit was s(t-n) + s(t-k); s(t-k) is still there, in what will be bit k-1 of the earlier register.
    let earlier = register >> 1;
    let oldest = (register & 1) ^ (earlier >> (pn.tap() - 1) & 1);
    earlier | oldest << (pn.stages() - 1)
}

/// Generates a sequence as octets, first bit highest.
///
/// It starts where O.150 5.1 starts the sequence of 511 bits, and all others likewise: with as many ones as there are
/// stages (of inverted sequences: zeros).
///
/// ```
/// use fep_coding::bert::{Pn, PnGenerator};
/// let mut octets = [0; 4];
/// PnGenerator::new(Pn::Pn9).fill(&mut octets);
/// assert_eq!(octets, [0xFF, 0x83, 0xDF, 0x17]);
/// ```
#[derive(Debug, Clone)]
pub struct PnGenerator {
    words: Words,
    /// Octets of the current word that were not given out, at its upper end.
    rest: u64,
    rest_octets: usize,
    flip: u64,
}

impl PnGenerator {
    /// A generator at the start of `pn`, inverted if O.150 says so.
    pub fn new(pn: Pn) -> PnGenerator {
        PnGenerator::with_polarity(pn, pn.is_inverted())
    }

    /// The same with the polarity chosen.
    pub fn with_polarity(pn: Pn, inverted: bool) -> PnGenerator {
        let mut start = pn.mask();
        for _ in 0..pn.stages() {
            start = step_back(pn, start);
        }
        PnGenerator {
            words: Words::after(pn, start),
            rest: 0,
            rest_octets: 0,
            flip: if inverted { u64::MAX } else { 0 },
        }
    }

    /// Writes the next octets.
    pub fn fill(&mut self, octets: &mut [u8]) {
        let from_rest = self.rest_octets.min(octets.len());
        let (head, body) = octets.split_at_mut(from_rest);
        self.take_rest(head);
        let (words, tail) = body.as_chunks_mut::<8>();
        let flip = self.flip;
        self.words.zip(words, |out, word| *out = (word ^ flip).to_be_bytes());
        if !tail.is_empty() {
            self.rest = self.words.next() ^ flip;
            self.rest_octets = 8;
            self.take_rest(tail);
        }
    }

    fn take_rest(&mut self, out: &mut [u8]) {
        for octet in out {
            *octet = (self.rest >> 56) as u8;
            self.rest <<= 8;
            self.rest_octets -= 1;
        }
    }
}
