//! Error places and values for up to 64 damaged codewords at once, one a lane: Berlekamp-Massey, Chien, Forney.
//!
//! Takes syndromes, gives corrections; knows nothing of codeblocks. All codewords share every instruction, so the work is
//! that of the worst codeword of the group, for all of them together.

use super::dft::Dft15;
use super::lanes::Lanes;
use super::representation::Representation;
use super::syndromes::ROOTS;
use crate::rs::field;
use crate::rs::{CODEWORD_LEN, E_MAX, RsSpec};

/// Codewords of a group.
pub(super) const GROUP: usize = 64;
/// Words of 64 positions that a codeword's set of error places takes.
const WORDS: usize = CODEWORD_LEN.div_ceil(64);
/// Octets of a table with 16 entries a codeword, plus what `list_bits` may overrun.
const ENTRIES: usize = GROUP * E_MAX + 64;

/// Constants and scratch of the search.
#[derive(Debug, Clone)]
pub(super) struct Locator<L: Lanes> {
    correctable: usize,
    fill: usize,
    dft: Dft15<L>,
    /// `twist[17 (b) + i]`: times beta^(i (b + 1)), for the row position b and the coefficient i of Lambda.
    twist: Vec<L::Map>,
    to_wire: L::Map,
    /// By position: the inverse of its locator, and that to the power of the first root less one.
    inverses: [u8; 256],
    scales: [u8; 256],
    work: Box<Work>,
}

/// What one group's search leaves between its steps; lanes are the inner index.
#[derive(Debug, Clone)]
struct Work {
    /// One more than E + 1, so that they pair up.
    lambda: [[u8; GROUP]; E_MAX + 2],
    omega: [[u8; GROUP]; E_MAX],
    lengths: [u8; GROUP],
    /// By position: the lanes whose Lambda vanishes there.
    roots: [u64; 64 * WORDS],
    /// 16 octets a lane.
    positions: [u8; ENTRIES],
    values: [u8; ENTRIES],
}

/// The corrections of one codeword.
#[derive(Debug, Clone, Copy)]
pub(super) struct Corrections<'a> {
    /// Positions in the codeword, virtual fill included.
    pub(super) positions: &'a [u8],
    /// What to add at each, as wire octets.
    pub(super) values: &'a [u8],
}

impl<L: Lanes> Locator<L> {
    pub(super) fn new(spec: &RsSpec, representation: &Representation) -> Locator<L> {
        let twist = (0..17 * 17)
            .map(|at| L::map(&representation.times(field::beta_power((at / 17 + 1) * (at % 17)))));
        // Position n has the locator beta^(254-n), whose inverse is beta^(n+1).
        let power = |exponent: usize| representation.beta_power(exponent);
        Locator {
            correctable: spec.e.correctable(),
            fill: spec.virtual_fill as usize,
            dft: Dft15::new(representation),
            twist: twist.collect(),
            to_wire: L::map(&representation.wire(spec.basis)),
            inverses: std::array::from_fn(|n| power(n + 1)),
            scales: std::array::from_fn(|n| power((n + 1) * (spec.e.first_root() - 1))),
            work: Box::new(Work {
                lambda: [[0; GROUP]; E_MAX + 2],
                omega: [[0; GROUP]; E_MAX],
                lengths: [0; GROUP],
                roots: [0; 64 * WORDS],
                positions: [0; ENTRIES],
                values: [0; ENTRIES],
            }),
        }
    }

    /// Searches the errors of `count` codewords whose syndrome rows (32 kernel octets each, none all zero) stand in
    /// `rows`, and hands each codeword's corrections, or `None` if it is beyond correction, to `sink` in order.
    ///
    /// `rows` holds [`GROUP`] rows; those behind `count` are zero.
    #[inline(always)]
    pub(super) fn search(
        &mut self,
        l: L,
        rows: &[u8],
        count: usize,
        mut sink: impl FnMut(usize, Option<Corrections<'_>>),
    ) {
        let mut longest = 0;
        for base in (0..count).step_by(L::N) {
            longest = longest.max(self.find_polynomials(l, rows, base));
        }
        for base in (0..count).step_by(L::N) {
            self.find_roots(l, base, longest);
        }
        let found = self.list_roots(l, count);
        for base in (0..count).step_by(L::N) {
            self.find_values(l, base, longest);
        }
        for (lane, found) in found.iter().enumerate().take(count) {
            let entries = E_MAX * lane..E_MAX * lane + *found as usize;
            let corrections = Corrections {
                positions: &self.work.positions[entries.clone()],
                values: &self.work.values[entries],
            };
            sink(lane, (*found != 0).then_some(corrections));
        }
    }

    /// Berlekamp-Massey and Omega for the lanes from `base` on. Returns the greatest length of a Lambda, at most E.
    #[inline(always)]
    fn find_polynomials(&mut self, l: L, rows: &[u8], base: usize) -> usize {
        let e = self.correctable;
        let (zero, one) = (l.splat(0), l.splat(1));
        let none = l.operand(zero);
        let mut syndromes = [none; ROOTS];
        for half in 0..ROOTS / 16 {
            let mut v = l.load_rows(rows, ROOTS * base + 16 * half, ROOTS);
            l.transpose(&mut v);
            for (syndrome, v) in syndromes[16 * half..].iter_mut().zip(v) {
                *syndrome = l.operand(v);
            }
        }

        let mut lambda = [zero; E_MAX + 1];
        let mut factors = [none; E_MAX + 1];
        (lambda[0], factors[0]) = (one, l.operand(one));
        // The register before the last change of length. Its coefficient i in step r is previous[ROOTS - r + i]: one
        // multiplication by x a step without moving anything.
        let mut previous = [none; ROOTS + E_MAX + 2];
        previous[ROOTS + 1] = l.operand(one);
        let mut previous_inverse = one;
        let mut lengths = zero;
        let mut longest = 0;
        let all = u64::MAX >> (64 - L::N);
        for r in 0..2 * e {
            let shift = ROOTS - r;
            let mut discrepancy = zero;
            for (factor, syndrome) in factors[..=longest].iter().zip(syndromes[..=r].iter().rev()) {
                discrepancy = l.multiply_add(discrepancy, factor, syndrome);
            }
            let agrees = l.is_zero(discrepancy);
            if l.bits(agrees) == all {
                continue;
            }
            let change = l.and_not(l.at_most(lengths, l.splat((r / 2) as u8)), agrees);
            let factor = l.operand(l.multiply(&l.operand(discrepancy), &l.operand(previous_inverse)));
            if l.bits(change) == 0 {
                let known = lambda[..=longest].iter_mut().zip(&mut factors).zip(&previous[shift..]);
                for ((lambda, own), old) in known {
                    *lambda = l.multiply_add(*lambda, &factor, old);
                    *own = l.operand(*lambda);
                }
                continue;
            }
            lengths = l.select(change, l.sub(l.splat(r as u8 + 1), lengths), lengths);
            previous_inverse = l.select(change, l.inverse(discrepancy), previous_inverse);
            let mut octets = [0; GROUP];
            l.store(&mut octets, 0, lengths);
            // Longer ones are lost: their lanes go on with a Lambda cut off at E, and their length tells.
            longest = (octets.iter().fold(0, |max, length| max.max(*length)) as usize).min(e);
            let known = lambda[..=longest].iter_mut().zip(&mut factors).zip(&mut previous[shift..]);
            for ((lambda, own), old) in known {
                let (before, register) = (*own, *old);
                *lambda = l.multiply_add(*lambda, &factor, &register);
                *own = l.operand(*lambda);
                *old = l.select_operand(change, &before, &register);
            }
            for old in &mut previous[shift + longest + 1..=shift + e] {
                *old = l.select_operand(change, &none, old);
            }
        }

        l.store(&mut self.work.lengths, base, lengths);
        for (i, lambda) in lambda.iter().enumerate() {
            l.store(&mut self.work.lambda[i], base, *lambda);
        }
        // All coefficients: a neighbouring slice of the group may be longer than this one.
        for m in 0..e {
            let mut omega = zero;
            if m < longest {
                for (factor, syndrome) in factors.iter().zip(syndromes[..=m].iter().rev()) {
                    omega = l.multiply_add(omega, factor, syndrome);
                }
            }
            l.store(&mut self.work.omega[m], base, omega);
        }
        longest
    }

    /// Chien's search by transforms: Lambda at beta^(n+1) for every position n = 17 a + b that is sent.
    #[inline(always)]
    fn find_roots(&mut self, l: L, base: usize, longest: usize) {
        self.work.roots[CODEWORD_LEN..].fill(0);
        for b in 0..17 {
            let mut x = [l.splat(0); 15];
            x[0] = l.load(&self.work.lambda[0], base);
            for i in 1..=longest {
                let term = l.apply(&self.twist[17 * b + i], l.load(&self.work.lambda[i], base));
                x[i % 15] = if i < 15 { term } else { l.xor(x[i - 15], term) };
            }
            self.dft.transform(l, &mut x);
            for a in 0..15 {
                let n = 17 * a + b;
                // beta^(17 i a) = zeta^(-i a).
                let here = l.bits(l.is_zero(x[(15 - a) % 15]));
                // Lanes before `base` have been written already, lanes behind are stale or still to come.
                let others = if base == 0 { 0 } else { self.work.roots[n] };
                self.work.roots[n] = if n < self.fill { 0 } else { others | here << base };
            }
        }
    }

    /// Lists every lane's error places. Returns their number, 0 for a codeword that is beyond correction.
    #[inline(always)]
    fn list_roots(&mut self, l: L, count: usize) -> [u8; GROUP] {
        let work = &mut *self.work;
        for word in work.roots.as_chunks_mut::<64>().0 {
            transpose_bits(word);
        }
        let mut found = [0; GROUP];
        for (lane, found) in found.iter_mut().enumerate().take(count) {
            let roots: [u64; WORDS] = std::array::from_fn(|word| work.roots[64 * word + lane]);
            let number = roots.iter().map(|word| word.count_ones()).sum::<u32>() as usize;
            // As many distinct places among the sent symbols as Lambda is long, or no correction at all.
            if number > self.correctable || number != work.lengths[lane] as usize {
                continue;
            }
            *found = number as u8;
            let mut at = E_MAX * lane;
            for (word, &mask) in roots.iter().enumerate() {
                l.list_bits(mask, 64 * word as u8, &mut work.positions, at);
                at += mask.count_ones() as usize;
            }
        }
        found
    }

    /// Forney's values at the places listed, as wire octets.
    #[inline(always)]
    fn find_values(&mut self, l: L, base: usize, longest: usize) {
        let work = &mut *self.work;
        let mut positions = l.load_rows(&work.positions, E_MAX * base, E_MAX);
        l.transpose(&mut positions);
        let mut values = [l.splat(0); 16];
        for m in 0..longest {
            let x = l.operand(l.look_up(&self.inverses, positions[m]));
            let square = l.operand(l.multiply(&x, &x));
            let mut omega = l.splat(0);
            for coefficient in work.omega[..longest].iter().rev() {
                omega = l.multiply_add(l.load(coefficient, base), &l.operand(omega), &x);
            }
            // Lambda' keeps the odd terms only, since 2 = 0.
            let mut derivative = l.splat(0);
            for pair in work.lambda[..=longest | 1].as_chunks::<2>().0.iter().rev() {
                derivative = l.multiply_add(l.load(&pair[1], base), &l.operand(derivative), &square);
            }
            let scale = l.look_up(&self.scales, positions[m]);
            let quotient = l.multiply(&l.operand(omega), &l.operand(l.inverse(derivative)));
            values[m] = l.apply(&self.to_wire, l.multiply(&l.operand(quotient), &l.operand(scale)));
        }
        l.transpose(&mut values);
        l.store_rows(&mut work.values, E_MAX * base, &values);
    }
}

/// Transposes a 64 by 64 bit matrix in place.
#[inline(always)]
fn transpose_bits(rows: &mut [u64; 64]) {
    let mut width = 32;
    let mut low = u64::MAX >> 32;
    while width != 0 {
        for block in (0..64).step_by(2 * width) {
            for k in block..block + width {
                let swap = (rows[k] >> width ^ rows[k + width]) & low;
                rows[k + width] ^= swap;
                rows[k] ^= swap << width;
            }
        }
        width /= 2;
        low ^= low << width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_matrix_is_transposed() {
        let rows: [u64; 64] = std::array::from_fn(|i| (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut transposed = rows;
        transpose_bits(&mut transposed);
        for (i, row) in rows.iter().enumerate() {
            for (j, column) in transposed.iter().enumerate() {
                assert_eq!(row >> j & 1, column >> i & 1);
            }
        }
    }
}
