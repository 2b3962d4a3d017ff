//! Hard decisions of a block, packed, and whether all parity checks hold of them: what is looked at first, so that a
//! block without errors costs no iteration.
//!
//! The checks of a layer are the sum of rotated columns ([`super::code`]); Q of them take a few words. Columns that are
//! not sent follow from the first layers, each of which looks at one of them, unrotated, besides columns that are sent.

mod quarters;
mod rotations;

use std::fmt::Debug;

use super::LdpcSpec;
use super::code::ParityChecks;
use super::polynomial::words;
use quarters::{Of32, Of64, Of128, Quarters};
use rotations::{BEHIND, Rotations};

/// What packed bits ask of an instruction set; a value is the proof that the machine has the instructions.
pub(super) trait Words: Copy + Debug {
    /// Words of a vector, at most 8.
    const WORDS: usize;

    /// A vector.
    type W: Copy;

    /// Bit `i` is the sign of symbol `i`.
    fn signs(self, symbols: &[i8; 64]) -> u64;
    /// The same as eight octets, the first sign in the highest bit of the first.
    fn octets(self, symbols: &[i8; 64]) -> [u8; 8];
    /// Bit `i` says that symbol `i` is not zero and its sign not that of belief `i`.
    fn wrong(self, symbols: &[i8; 64], beliefs: &[i8; 64]) -> u64;
    /// The sum of the magnitudes.
    fn magnitudes(self, symbols: &[i8; 64]) -> u32;
    /// As many consecutive bits as a vector has, from bit `64 at + shift` of `bits` on; `shift` is less than 64. Panics
    /// when `bits` does not have one word more than a vector behind word `at`.
    fn window(self, bits: &[u64], at: usize, shift: u64) -> Self::W;
    /// Bit by bit, modulo 2.
    fn sum(self, a: Self::W, b: Self::W) -> Self::W;
    /// Writes the words of a vector to `to[at..]`; panics if there is no room.
    fn put(self, to: &mut [u64], at: usize, w: Self::W);
    /// Whether a bit of the vector is one where the mask is.
    fn any(self, w: Self::W, mask: &[u64; 8]) -> bool;
}

/// Words in portable Rust.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Words for Portable {
    const WORDS: usize = 1;

    type W = u64;

    fn signs(self, symbols: &[i8; 64]) -> u64 {
        let (eights, _) = symbols.as_chunks::<8>();
        eights.iter().rev().fold(0, |word, eight| {
            let signs = u64::from_le_bytes(eight.map(|symbol| symbol as u8)) >> 7 & 0x0101_0101_0101_0101;
            // Moves the lowest bits of eight octets side by side, that of the first octet lowest.
            word << 8 | signs.wrapping_mul(0x0102_0408_1020_4080) >> 56
        })
    }

    fn octets(self, symbols: &[i8; 64]) -> [u8; 8] {
        self.signs(symbols).reverse_bits().to_be_bytes()
    }

    fn wrong(self, symbols: &[i8; 64], beliefs: &[i8; 64]) -> u64 {
        let wrong = |i: usize| u64::from(symbols[i] != 0 && (symbols[i] ^ beliefs[i]) < 0) << i;
        (0..64).map(wrong).sum()
    }

    fn magnitudes(self, symbols: &[i8; 64]) -> u32 {
        symbols.iter().map(|symbol| u32::from(symbol.unsigned_abs())).sum()
    }

    fn window(self, bits: &[u64], at: usize, shift: u64) -> u64 {
        // In two steps: a word moved by 64 bits is none.
        bits[at] >> shift | bits[at + 1] << 1 << (63 - shift)
    }

    fn sum(self, a: u64, b: u64) -> u64 {
        a ^ b
    }

    fn put(self, to: &mut [u64], at: usize, w: u64) {
        to[at] = w;
    }

    fn any(self, w: u64, mask: &[u64; 8]) -> bool {
        w & mask[0] != 0
    }
}

/// What looks at the checks.
#[derive(Debug, Clone)]
enum Checks {
    Short32(Quarters<Of32>),
    Short64(Quarters<Of64>),
    Short128(Quarters<Of128>),
    Long(Rotations),
}

/// The hard decisions of one block after the other.
#[derive(Debug, Clone)]
pub(super) struct HardDecisions {
    /// A word of zeros, the bits received, and zeros.
    received: Vec<u64>,
    checks: Checks,
}

impl HardDecisions {
    pub(super) fn new(spec: LdpcSpec, checks: &ParityChecks) -> HardDecisions {
        let received = vec![0; 1 + words(spec.codeword_bits()) + BEHIND];
        let checks = match checks.circulant {
            32 => Checks::Short32(Quarters::new(checks)),
            64 => Checks::Short64(Quarters::new(checks)),
            128 => Checks::Short128(Quarters::new(checks)),
            _ => Checks::Long(Rotations::new(spec, checks)),
        };
        HardDecisions { received, checks }
    }

    /// Takes the signs of a block of symbols.
    #[inline(always)]
    pub(super) fn receive<W: Words>(&mut self, words: W, symbols: &[i8]) {
        let (whole, rest) = symbols.as_chunks::<64>();
        for (word, symbols) in self.received[1..].iter_mut().zip(whole) {
            *word = words.signs(symbols);
        }
        if !rest.is_empty() {
            self.received[1 + whole.len()] = words.signs(&padded(rest));
        }
    }

    /// Whether no bit received is a one.
    #[inline(always)]
    pub(super) fn are_zeros(&self) -> bool {
        self.received.iter().all(|word| *word == 0)
    }

    /// The first bits received, as many as `octets` takes.
    #[inline(always)]
    pub(super) fn write(&self, octets: &mut [u8]) {
        write_octets(&self.received[1..], octets);
    }

    /// Whether all checks hold.
    #[inline(always)]
    pub(super) fn hold<W: Words>(&mut self, words: W) -> bool {
        match &mut self.checks {
            Checks::Short32(quarters) => quarters.hold(&self.received[1..]),
            Checks::Short64(quarters) => quarters.hold(&self.received[1..]),
            Checks::Short128(quarters) => quarters.hold(&self.received[1..]),
            Checks::Long(rotations) => rotations.hold(words, &self.received),
        }
    }
}

/// The first bits of `words`, as many as `octets` takes; the lowest bit of the first word is the first of the first octet.
#[inline(always)]
fn write_octets(words: &[u64], octets: &mut [u8]) {
    let (whole, rest) = octets.as_chunks_mut::<8>();
    for (octets, word) in whole.iter_mut().zip(words) {
        *octets = word.reverse_bits().to_be_bytes();
    }
    let last = words.get(whole.len()).map_or([0; 8], |word| word.reverse_bits().to_be_bytes());
    rest.copy_from_slice(&last[..rest.len()]);
}

/// The first 64 symbols; zeros where there are fewer.
#[inline(always)]
fn padded(symbols: &[i8]) -> [i8; 64] {
    let mut whole = [0; 64];
    let len = symbols.len().min(64);
    whole[..len].copy_from_slice(&symbols[..len]);
    whole
}

/// The signs of the first symbols, eight an octet, first bit first; `octets` says how many.
#[inline(always)]
pub(super) fn pack_signs<W: Words>(words: W, symbols: &[i8], octets: &mut [u8]) {
    let (whole, rest) = octets.as_chunks_mut::<8>();
    let (sixty_fours, _) = symbols.as_chunks::<64>();
    for (octets, symbols) in whole.iter_mut().zip(sixty_fours) {
        *octets = words.octets(symbols);
    }
    let last = words.octets(&padded(symbols.get(64 * whole.len()..).unwrap_or_default()));
    rest.copy_from_slice(&last[..rest.len()]);
}

/// Symbols whose sign is not that of the belief; an erased symbol has none, and symbols behind the beliefs do not count.
#[inline(always)]
pub(super) fn corrected<W: Words>(words: W, symbols: &[i8], beliefs: &[i8]) -> u32 {
    let symbols = &symbols[..symbols.len().min(beliefs.len())];
    let (whole, rest) = symbols.as_chunks::<64>();
    let (believed, rest_believed) = (beliefs.as_chunks::<64>().0, &beliefs[64 * whole.len()..]);
    let counts =
        whole.iter().zip(believed).map(|(symbols, beliefs)| words.wrong(symbols, beliefs).count_ones());
    counts.sum::<u32>() + words.wrong(&padded(rest), &padded(rest_believed)).count_ones()
}

/// The sum of the magnitudes of `symbols`.
#[inline(always)]
pub(super) fn magnitudes<W: Words>(words: W, symbols: &[i8]) -> u32 {
    let (whole, rest) = symbols.as_chunks::<64>();
    whole.iter().map(|symbols| words.magnitudes(symbols)).sum::<u32>() + words.magnitudes(&padded(rest))
}
