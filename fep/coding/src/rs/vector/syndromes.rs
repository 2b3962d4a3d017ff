//! Syndromes of an interleaved codeblock, where it lies: no de-interleaving, no decoding.
//!
//! Symbol n = 17 a + b of a codeword adds r(n) X^(254-n) to the syndrome of root X = beta^j. Over a this is a 15-point
//! transform of rows of 17 symbols, the same for every octet column of the codeblock, hence for every codeword at once;
//! its 15 values serve all 32 roots, which differ only in j modulo 15. Transposed, the 15 values of one column lie side by
//! side, are spread over 32 lanes (one a root), weighted with X^(254-b) and summed.

use super::dft::Dft15;
use super::lanes::Lanes;
use super::representation::Representation;
use crate::rs::field;
use crate::rs::{Basis, CODEWORD_LEN, RsSpec};

/// Symbols of a row; there are 15 rows.
const ROW: usize = 17;
/// Lanes of a syndrome row: room for 32 roots, zero beyond the 2E that the code has.
pub(super) const ROOTS: usize = 32;
/// The largest interleaving depth.
pub(super) const INTERLEAVE_MAX: usize = 8;
/// Octets by which the vectors of the last row may reach past a codeblock.
pub(super) const OVERRUN: usize = 64;

/// Constants and scratch of the syndrome computation.
#[derive(Debug, Clone)]
pub(super) struct Syndromes<L: Lanes> {
    interleave: usize,
    /// From wire octet to kernel octet.
    of_wire: L::Map,
    dft: Dft15<L>,
    /// Which of the 15 values each root's lane takes.
    pattern: L::V,
    /// One vector a step: X^(254-b) for the columns that the step's lanes come from.
    weights: Vec<L::Operand>,
    /// 16 octets a column: its 15 transform values.
    columns: Box<[u8; COLUMNS]>,
    /// Steps further on, the lanes belong to the same codewords again.
    period: usize,
}

/// Octets for the transposed transform of the widest row (17 x 8 columns), in whole tiles of 64 columns.
const COLUMNS: usize = 16 * (ROW * INTERLEAVE_MAX).next_multiple_of(64);

impl<L: Lanes> Syndromes<L> {
    pub(super) fn new(l: L, spec: &RsSpec, representation: &Representation) -> Syndromes<L> {
        let interleave = spec.interleave as usize;
        let first_root = spec.e.first_root();
        let columns_a_step = L::N / ROOTS;
        let steps = (ROW * interleave).div_ceil(columns_a_step);
        let weight = |step: usize, lane: usize| {
            let (column, root) = (step * columns_a_step + lane / ROOTS, lane % ROOTS);
            let b = column / interleave;
            let used = b < ROW && root < spec.e.check_symbols();
            if used { representation.beta_power((first_root + root) * (CODEWORD_LEN - 1 - b)) } else { 0 }
        };
        let weights = (0..steps)
            .map(|step| {
                let mut octets = [0; 64];
                octets.iter_mut().enumerate().for_each(|(lane, octet)| *octet = weight(step, lane));
                l.operand(l.load(&octets, 0))
            })
            .collect();
        Syndromes {
            interleave,
            of_wire: L::map(&representation.of_wire(spec.basis)),
            dft: Dft15::new(representation),
            pattern: l.spread_pattern(|root| ((first_root + root) % 15) as u8),
            weights,
            columns: Box::new([0; COLUMNS]),
            period: if interleave.is_multiple_of(columns_a_step) {
                interleave / columns_a_step
            } else {
                interleave
            },
        }
    }

    /// Computes the syndromes, in kernel octets, of the codeblock (virtual fill included) at `from[at..]`, behind which
    /// [`OVERRUN`] more octets of any content lie, into 32 octets a codeword at the beginning of `rows`.
    #[inline(always)]
    pub(super) fn compute(&mut self, l: L, from: &[u8], at: usize, rows: &mut [u8]) {
        let row_len = ROW * self.interleave;
        for tile in (0..row_len).step_by(L::N) {
            let mut x = [l.splat(0); 15];
            for (a, x) in x.iter_mut().enumerate() {
                *x = l.apply(&self.of_wire, l.load(from, at + a * row_len + tile));
            }
            self.dft.transform(l, &mut x);
            let mut values = [l.splat(0); 16];
            values[..15].copy_from_slice(&x);
            l.transpose(&mut values);
            l.store_rows(&mut self.columns[..], 16 * tile, &values);
        }
        let columns_a_step = L::N / ROOTS;
        rows[..ROOTS * self.interleave].fill(0);
        for phase in 0..self.period {
            let mut sum = l.splat(0);
            for step in (phase..self.weights.len()).step_by(self.period) {
                let values = l.spread(&self.columns[..], 16 * columns_a_step * step, self.pattern);
                sum = l.multiply_add(sum, &l.operand(values), &self.weights[step]);
            }
            let mut halves = [0; 64];
            l.store(&mut halves, 0, sum);
            for half in 0..columns_a_step {
                let codeword = (columns_a_step * phase + half) % self.interleave;
                let row = &mut rows[ROOTS * codeword..ROOTS * (codeword + 1)];
                for (row, half) in row.iter_mut().zip(&halves[ROOTS * half..ROOTS * (half + 1)]) {
                    *row ^= half;
                }
            }
        }
    }
}

/// The matrix that makes check symbols of syndromes: a frame followed by zeros has the syndromes of its check symbols.
///
/// Row t, column j is the coefficient of x^(2E-1-t) in the polynomial that is 1 at root j and 0 at the other roots.
pub(super) fn check_matrix(spec: &RsSpec) -> Vec<Vec<u8>> {
    let count = spec.e.check_symbols();
    let roots: Vec<u8> = (0..count).map(|j| field::beta_power(spec.e.first_root() + j)).collect();
    let mut matrix = vec![vec![0; count]; count];
    for (j, own) in roots.iter().enumerate() {
        // Lowest power first.
        let mut polynomial = vec![1u8];
        for other in roots.iter().filter(|other| *other != own) {
            let scale = field::div(1, own ^ other);
            polynomial.push(0);
            for i in (0..polynomial.len()).rev() {
                let lower = if i == 0 { 0 } else { polynomial[i - 1] };
                polynomial[i] = field::mul(scale, lower ^ field::mul(*other, polynomial[i]));
            }
        }
        for (t, row) in matrix.iter_mut().enumerate() {
            row[j] = polynomial[count - 1 - t];
        }
    }
    matrix
}

/// The check matrix and the change of basis, ready for the encoder.
#[derive(Debug, Clone)]
pub(super) struct Checks<L: Lanes> {
    /// Column j of the matrix, once for each codeword that a vector holds.
    columns: Vec<L::Operand>,
    to_wire: L::Map,
    /// The pattern for [`Lanes::spread`] that picks one octet for all lanes.
    picks: Vec<L::V>,
}

impl<L: Lanes> Checks<L> {
    pub(super) fn new(l: L, spec: &RsSpec, representation: &Representation) -> Checks<L> {
        let matrix = check_matrix(spec);
        let column = |j: usize| {
            let mut octets = [0; 64];
            for (lane, octet) in octets.iter_mut().enumerate() {
                *octet = matrix.get(lane % ROOTS).map_or(0, |row| representation.of[row[j] as usize]);
            }
            l.operand(l.load(&octets, 0))
        };
        Checks {
            columns: (0..matrix.len()).map(column).collect(),
            to_wire: L::map(&representation.wire(spec.basis)),
            picks: (0..16).map(|octet| l.spread_pattern(|_| octet)).collect(),
        }
    }

    /// Turns syndrome rows (32 octets a codeword, an even number of codewords of room) into rows of check symbols as
    /// they go on the wire.
    #[inline(always)]
    pub(super) fn compute(&self, l: L, rows: &mut [u8], codewords: usize) {
        let at_once = L::N / ROOTS;
        for first in (0..codewords).step_by(at_once) {
            // The low and the high 16 syndromes of each codeword, apart, as `spread` wants them.
            let mut halves = [[0u8; 32]; 2];
            for codeword in 0..at_once {
                for (half, octets) in halves.iter_mut().enumerate() {
                    let from = ROOTS * (first + codeword) + 16 * half;
                    octets[16 * codeword..16 * (codeword + 1)].copy_from_slice(&rows[from..from + 16]);
                }
            }
            let mut sum = l.splat(0);
            for (j, column) in self.columns.iter().enumerate() {
                let syndrome = l.spread(&halves[j / 16], 0, self.picks[j % 16]);
                sum = l.multiply_add(sum, &l.operand(syndrome), column);
            }
            l.store(rows, ROOTS * first, l.apply(&self.to_wire, sum));
        }
    }
}

/// Scalar tables for one symbol at a time.
#[derive(Debug, Clone)]
pub(super) struct SymbolTables {
    /// Logarithm to the base beta of a kernel octet; of 0, nothing.
    pub(super) log: [u8; 256],
    /// Kernel octet of beta^i.
    pub(super) power: [u8; 255],
    /// Wire octet of beta^i.
    pub(super) wire_power: [u8; 255],
}

impl SymbolTables {
    pub(super) fn new(representation: &Representation, basis: Basis) -> SymbolTables {
        let mut tables = SymbolTables { log: [0; 256], power: [0; 255], wire_power: [0; 255] };
        let wire = representation.wire(basis);
        for i in 0..255 {
            let octet = representation.beta_power(i);
            tables.power[i] = octet;
            tables.wire_power[i] = wire[octet as usize];
            tables.log[octet as usize] = i as u8;
        }
        tables
    }
}
