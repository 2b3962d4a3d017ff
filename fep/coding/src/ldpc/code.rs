//! The parity-check matrices, as layers of circulant permutations.
//!
//! Every code here is quasi-cyclic. The permutations of AR4JA, of M rows, are four circulants of M / 4 each, so that all
//! ten codes have one form: *columns* (blocks of Q code bits) and *layers* (blocks of Q checks); an *edge* of a layer is
//! a column and a shift, and check `i` of the layer looks at bit `(shift + i) mod Q` of that column.

use super::tables::{AR4JA_PERMUTATIONS, C2_ONES};
use super::{Ar4jaInformation, Ar4jaRate, LdpcSpec};

/// One circulant permutation of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) column: u16,
    /// Less than the circulant's size.
    pub(super) shift: u16,
}

/// A parity-check matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParityChecks {
    /// Q, rows of a circulant: 32 to 2048, or 511.
    pub(super) circulant: usize,
    /// Blocks of Q code bits, punctured ones included.
    pub(super) columns: usize,
    /// In the order of decoding.
    pub(super) layers: Vec<Vec<Edge>>,
}

/// A block of M × M of an AR4JA matrix is a sum of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    Identity,
    /// P₁ to P₂₆.
    Permutation(u8),
}

use Term::{Identity as I, Permutation as P};

/// A block row: block column and terms.
pub(super) type BlockRow = Vec<(usize, &'static [Term])>;

impl Term {
    /// Column quarter and shift in row quarter `j`, for permutations of `m` rows.
    pub(super) fn quarter(self, j: usize, m: usize) -> (usize, usize) {
        match self {
            I => (j, 0),
            P(k) => {
                let (theta, phi) = &AR4JA_PERMUTATIONS[usize::from(k) - 1];
                let size = m.trailing_zeros() as usize - 7;
                ((usize::from(*theta) + j) % 4, usize::from(phi[j][size]))
            }
        }
    }
}

/// The three block rows of an AR4JA matrix (131.0-B-5 7.4). Block columns: the information's, then three of parity, of
/// which the last is not sent.
pub(super) fn ar4ja_rows(rate: Ar4jaRate) -> [BlockRow; 3] {
    let k = rate.information_blocks();
    let mut rows: [BlockRow; 3] = [
        vec![(k, &[I]), (k + 2, &[I, P(1)])],
        vec![(k - 2, &[I]), (k - 1, &[I]), (k + 1, &[I]), (k + 2, &[P(2), P(3), P(4)])],
        vec![(k - 2, &[I]), (k - 1, &[P(5), P(6)]), (k + 1, &[P(7), P(8)]), (k + 2, &[I])],
    ];
    if k >= 4 {
        rows[1].extend([(k - 4, &[P(9), P(10), P(11)][..]), (k - 3, &[I])]);
        rows[2].extend([(k - 4, &[I][..]), (k - 3, &[P(12), P(13), P(14)])]);
    }
    if k >= 8 {
        rows[1].extend([
            (k - 8, &[P(21), P(22), P(23)][..]),
            (k - 7, &[I]),
            (k - 6, &[P(15), P(16), P(17)]),
            (k - 5, &[I]),
        ]);
        rows[2].extend([
            (k - 8, &[I][..]),
            (k - 7, &[P(24), P(25), P(26)]),
            (k - 6, &[I]),
            (k - 5, &[P(18), P(19), P(20)]),
        ]);
    }
    rows
}

impl ParityChecks {
    pub(super) fn new(spec: LdpcSpec) -> ParityChecks {
        match spec {
            LdpcSpec::C2 => ParityChecks::c2(),
            LdpcSpec::Ar4ja { information, rate } => ParityChecks::ar4ja(information, rate),
        }
    }

    /// 131.0-B-5 7.3.
    fn c2() -> ParityChecks {
        let layer = |row: &[[u16; 2]; 16]| {
            let edge = |(column, shift): (usize, &u16)| Edge { column: column as u16, shift: *shift };
            row.iter().enumerate().flat_map(|(c, ones)| ones.iter().map(move |s| edge((c, s)))).collect()
        };
        ParityChecks { circulant: 511, columns: 16, layers: C2_ONES.iter().map(layer).collect() }
    }

    /// 131.0-B-5 7.4. The third block row comes first: it is the only one with a single edge on every punctured bit, and
    /// so the only one that says something as long as nothing is known of them.
    fn ar4ja(information: Ar4jaInformation, rate: Ar4jaRate) -> ParityChecks {
        let m = information.bits() / rate.information_blocks();
        let [first, second, third] = ar4ja_rows(rate);
        let mut layers = Vec::new();
        for row in [third, second, first] {
            for j in 0..4 {
                let edges = row.iter().flat_map(|(column, terms)| {
                    terms.iter().map(move |term| {
                        let (quarter, shift) = term.quarter(j, m);
                        Edge { column: (4 * column + quarter) as u16, shift: shift as u16 }
                    })
                });
                layers.push(edges.collect());
            }
        }
        ParityChecks { circulant: m / 4, columns: 4 * (rate.information_blocks() + 3), layers }
    }

    /// Bits of a word, punctured ones included.
    pub(super) fn bits(&self) -> usize {
        self.circulant * self.columns
    }

    /// The word of AR4JA whose first `sent_bits` bits are `sent(i)`; each check of the first four layers gives a punctured
    /// one.
    pub(super) fn with_punctured(&self, sent_bits: usize, sent: impl Fn(usize) -> bool) -> Vec<bool> {
        let q = self.circulant;
        let mut word: Vec<bool> = (0..self.bits()).map(|i| i < sent_bits && sent(i)).collect();
        for layer in &self.layers[..4] {
            for row in 0..q {
                let place = |edge: &Edge| usize::from(edge.column) * q + (usize::from(edge.shift) + row) % q;
                let sum = layer.iter().fold(false, |sum, edge| sum ^ word[place(edge)]);
                if let Some(punctured) = layer.iter().map(place).find(|place| *place >= sent_bits) {
                    word[punctured] = sum;
                }
            }
        }
        word
    }

    /// Whether all checks hold; `bit(i)` is bit `i` of the word, punctured ones included.
    pub(super) fn hold(&self, bit: impl Fn(usize) -> bool) -> bool {
        let q = self.circulant;
        self.layers.iter().all(|layer| {
            (0..q).all(|row| {
                let of =
                    |edge: &Edge| bit(usize::from(edge.column) * q + (usize::from(edge.shift) + row) % q);
                !layer.iter().fold(false, |sum, edge| sum ^ of(edge))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_edges_of_a_layer_meet_in_any_64_consecutive_checks() {
        for spec in LdpcSpec::all() {
            let checks = ParityChecks::new(spec);
            let q = checks.circulant;
            for (a, b) in checks.layers.iter().flat_map(|layer| {
                layer.iter().enumerate().flat_map(move |(i, a)| layer[..i].iter().map(move |b| (a, b)))
            }) {
                if a.column == b.column {
                    let apart = usize::from(a.shift.abs_diff(b.shift));
                    assert!(apart.min(q - apart) >= 64, "{spec}: column {}, shifts {apart} apart", a.column);
                }
            }
        }
    }

    #[test]
    fn every_shift_lies_in_its_circulant_and_every_code_has_the_ones_of_its_matrix() {
        for spec in LdpcSpec::all() {
            let checks = ParityChecks::new(spec);
            let edges: Vec<&Edge> = checks.layers.iter().flatten().collect();
            assert!(edges.iter().all(|edge| usize::from(edge.shift) < checks.circulant
                && usize::from(edge.column) < checks.columns));
            assert_eq!(edges.len() * checks.circulant, spec.edges(), "{spec}");
        }
    }
}
