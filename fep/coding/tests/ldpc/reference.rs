//! Sum-product decoding in floating point, flooding, by the definition: what the fast decoder is measured against.

use fep_coding::ldpc::LdpcSpec;

use crate::permutations::quarter;

/// The checks of a code as lists of bits, made from the standard's tables as this file has them.
pub(crate) struct SumProduct {
    /// `bits[first[c]..first[c + 1]]` are those of check `c`.
    first: Vec<usize>,
    bits: Vec<u32>,
    /// Bits of a word, punctured ones included.
    len: usize,
    /// Virtual zeros in front of what is sent.
    zeros: usize,
}

const C2_ONES: [&str; 2] = [
    "0,176 12,239 0,352 24,431 0,392 151,409 0,351 9,359 0,307 53,329 0,207 18,281 0,399 202,457 0,247 36,261",
    "99,471 130,473 198,435 260,478 215,420 282,481 48,396 193,445 273,430 302,451 96,379 191,386 244,467 \
     364,470 51,382 192,414",
];

/// One permutation, or the identity, in a block of an AR4JA matrix.
pub(crate) struct Term {
    pub(crate) row: usize,
    pub(crate) column: usize,
    /// 1 to 26; 0 for the identity.
    pub(crate) permutation: usize,
}

impl Term {
    /// Column quarter and first column of row quarter `j`.
    pub(crate) fn quarter(&self, m: usize, j: usize) -> (usize, usize) {
        if self.permutation == 0 { (j, 0) } else { quarter(self.permutation, m, j) }
    }
}

/// M, and the blocks of an AR4JA matrix (131.0-B-5 7.4): the columns are those of the rate 4/5 matrix, of which lower rates
/// lack the first ones.
pub(crate) fn ar4ja(spec: LdpcSpec) -> (usize, Vec<Term>) {
    let rows: [&str; 3] = [
        "- | - | - | - | - | - | - | - | 0 | - | 0 1",
        "21 22 23 | 0 | 15 16 17 | 0 | 9 10 11 | 0 | 0 | 0 | - | 0 | 2 3 4",
        "0 | 24 25 26 | 0 | 18 19 20 | 0 | 12 13 14 | 0 | 5 6 | - | 7 8 | 0",
    ];
    let blocks = match spec.rate_name() {
        "1/2" => 2,
        "2/3" => 4,
        _ => 8,
    };
    let mut terms = Vec::new();
    for (row, text) in rows.iter().enumerate() {
        for (column, block) in text.split('|').skip(8 - blocks).enumerate() {
            let permutations = block.split_whitespace().filter_map(|term| term.parse().ok());
            terms.extend(permutations.map(|permutation| Term { row, column, permutation }));
        }
    }
    (spec.information_bits() / blocks, terms)
}

impl SumProduct {
    pub(crate) fn new(spec: LdpcSpec) -> SumProduct {
        let mut checks: Vec<Vec<usize>> = Vec::new();
        let (len, zeros) = match spec {
            LdpcSpec::C2 => {
                for row in C2_ONES {
                    for i in 0..511 {
                        let ones = row.split_whitespace().enumerate().flat_map(|(column, ones)| {
                            ones.split(',').map(move |one| {
                                511 * column + (one.parse::<usize>().expect("a number") + i) % 511
                            })
                        });
                        checks.push(ones.collect());
                    }
                }
                (8176, 18)
            }
            LdpcSpec::Ar4ja { .. } => {
                let (m, terms) = ar4ja(spec);
                checks.resize(3 * m, Vec::new());
                for term in &terms {
                    for j in 0..4 {
                        let (quarter, first) = term.quarter(m, j);
                        for i in 0..m / 4 {
                            let at = term.column * m + quarter * m / 4 + (first + i) % (m / 4);
                            checks[term.row * m + j * m / 4 + i].push(at);
                        }
                    }
                }
                (spec.codeword_bits() + m, 0)
            }
        };
        let mut first = vec![0];
        let mut bits = Vec::new();
        for check in checks {
            bits.extend(check.iter().map(|bit| *bit as u32));
            first.push(bits.len());
        }
        SumProduct { first, bits, len, zeros }
    }

    /// Bits of a word: punctured ones included, and virtual zeros in front.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Virtual zeros in front of a word.
    pub(crate) fn zeros(&self) -> usize {
        self.zeros
    }

    /// The bits that each check adds up.
    pub(crate) fn checks(&self) -> impl Iterator<Item = &[u32]> {
        self.first.windows(2).map(|check| &self.bits[check[0]..check[1]])
    }

    /// The bits of the word, or `None` if some check still fails after the last iteration. `received` are the values of
    /// the symbols, +1 and -1 in noise of standard deviation `sigma`; C2's fill bits may be among them.
    pub(crate) fn decode(&self, received: &[f32], sigma: f32, iterations: usize) -> Option<Vec<u8>> {
        let mut channel = vec![0f32; self.len];
        channel[..self.zeros].fill(100.0);
        for (likelihood, value) in channel[self.zeros..].iter_mut().zip(received) {
            *likelihood = 2.0 * value / (sigma * sigma);
        }
        // -ln tanh(x / 2), its own inverse.
        let phi = |x: f32| {
            let e = (-x.clamp(1e-6, 60.0)).exp();
            (2.0 * e / (1.0 - e)).ln_1p()
        };
        let mut messages = vec![0f32; self.bits.len()];
        let mut total = channel.clone();
        for iteration in 0..=iterations {
            if iteration > 0 {
                total.copy_from_slice(&channel);
                self.bits.iter().zip(&messages).for_each(|(bit, message)| total[*bit as usize] += message);
            }
            let holds = |check: &[usize]| {
                let bits = &self.bits[check[0]..check[1]];
                !bits.iter().fold(false, |sum, bit| sum ^ (total[*bit as usize] < 0.0))
            };
            if self.first.windows(2).all(holds) {
                return Some(total[self.zeros..].iter().map(|value| u8::from(*value < 0.0)).collect());
            }
            for check in self.first.windows(2) {
                let (bits, messages) = (&self.bits[check[0]..check[1]], &mut messages[check[0]..check[1]]);
                let (mut sum, mut negative) = (0f32, false);
                for (bit, message) in bits.iter().zip(&mut *messages) {
                    let incoming = total[*bit as usize] - *message;
                    negative ^= incoming.is_sign_negative();
                    // The sign rides on φ, which is never negative.
                    let magnitude = phi(incoming.abs());
                    sum += magnitude;
                    *message = magnitude.copysign(incoming);
                }
                for message in messages {
                    let magnitude = phi(sum - message.abs());
                    *message = if negative ^ message.is_sign_negative() { -magnitude } else { magnitude };
                }
            }
        }
        None
    }
}
