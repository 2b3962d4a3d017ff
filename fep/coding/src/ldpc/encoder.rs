//! The encoder.
//!
//! C2 multiplies by the generator's circulants as printed. AR4JA does not: its generator is dense, but two of the three
//! block rows of the parity-check matrix give a parity block each from the rest by a few rotations, so that only a third
//! needs a dense matrix, of 4 × 4 circulants, which the constructor inverts. With the information's contribution to the
//! second and third block row in b and a,
//!
//! ```text
//! p₃ = (1 + (P₇ + P₈)(P₂ + P₃ + P₄))⁻¹ (a + (P₇ + P₈) b)      not sent
//! p₂ = b + (P₂ + P₃ + P₄) p₃
//! p₁ = (1 + P₁) p₃
//! ```

use super::LdpcSpec;
use super::circulant::CirculantMatrix;
use super::code::{Term, ar4ja_rows};
use super::polynomial::{Polynomial, add_rotated, inverse, words};
use super::spec::C2_VIRTUAL_ZEROS;
use super::tables::C2_GENERATOR;
use crate::isa::{Isa, IsaUnavailable};

/// Encodes codewords of one code. Tables take at most 72 KiB.
#[derive(Debug, Clone)]
pub struct LdpcEncoder {
    spec: LdpcSpec,
    method: Method,
}

#[derive(Debug, Clone)]
enum Method {
    C2(Box<C2>),
    Ar4ja(Box<Ar4ja>),
}

impl LdpcEncoder {
    /// An encoder with the best kernels of this machine.
    pub fn new(spec: LdpcSpec) -> LdpcEncoder {
        match LdpcEncoder::with_isa(spec, Isa::best()) {
            Ok(encoder) => encoder,
            Err(unavailable) => unreachable!("the best set of this machine: {unavailable}"),
        }
    }

    /// The same with the kernels of `isa`.
    ///
    /// # Errors
    /// [`IsaUnavailable`] when this machine lacks it.
    pub fn with_isa(spec: LdpcSpec, isa: Isa) -> Result<LdpcEncoder, IsaUnavailable> {
        let method = match spec {
            LdpcSpec::C2 => Method::C2(Box::new(C2::new(isa)?)),
            LdpcSpec::Ar4ja { .. } => Method::Ar4ja(Box::new(Ar4ja::new(spec, isa)?)),
        };
        Ok(LdpcEncoder { spec, method })
    }

    /// Which code.
    pub fn spec(&self) -> LdpcSpec {
        self.spec
    }

    /// Writes what is sent behind `information`: the parity, and C2's two fill bits.
    ///
    /// # Panics
    /// When `information` is not [`LdpcSpec::information_len`] or `parity` not [`LdpcSpec::parity_len`] octets.
    pub fn parity(&mut self, information: &[u8], parity: &mut [u8]) {
        let (k, p) = (self.spec.information_len(), self.spec.parity_len());
        assert!(
            information.len() == k && parity.len() == p,
            "{}: {k} octets of information and {p} of parity, not {} and {}",
            self.spec,
            information.len(),
            parity.len()
        );
        match &mut self.method {
            Method::C2(c2) => c2.parity(information, parity),
            Method::Ar4ja(ar4ja) => ar4ja.parity(information, parity),
        }
    }

    /// Writes a whole codeword: `information` and what is sent behind it.
    ///
    /// # Panics
    /// When `information` is not [`LdpcSpec::information_len`] or `codeword` not [`LdpcSpec::codeword_len`] octets.
    pub fn encode(&mut self, information: &[u8], codeword: &mut [u8]) {
        let (k, n) = (self.spec.information_len(), self.spec.codeword_len());
        assert!(
            information.len() == k && codeword.len() == n,
            "{}: {k} octets of information and {n} of codeword, not {} and {}",
            self.spec,
            information.len(),
            codeword.len()
        );
        let (front, parity) = codeword.split_at_mut(k);
        front.copy_from_slice(information);
        self.parity(information, parity);
    }
}

/// The first bit of `octets` in the lowest bit of the first word; a last half word is completed with zeros.
fn to_words(octets: &[u8], words: &mut [u64]) {
    let (whole, rest) = octets.as_chunks::<8>();
    for (word, octets) in words.iter_mut().zip(whole) {
        *word = u64::from_be_bytes(*octets).reverse_bits();
    }
    if !rest.is_empty() {
        let mut octets = [0; 8];
        octets[..rest.len()].copy_from_slice(rest);
        words[whole.len()] = u64::from_be_bytes(octets).reverse_bits();
    }
}

/// The inverse of [`to_words`].
fn to_octets(words: &[u64], octets: &mut [u8]) {
    for (octets, word) in octets.chunks_mut(8).zip(words) {
        octets.copy_from_slice(&word.reverse_bits().to_be_bytes()[..octets.len()]);
    }
}

const C2_Q: usize = 511;
const C2_INPUTS: usize = 14;

#[derive(Debug, Clone)]
struct C2 {
    generator: CirculantMatrix,
    /// A word of zeros, the information, and zeros.
    stream: Vec<u64>,
    rows: Vec<u64>,
}

impl C2 {
    fn new(isa: Isa) -> Result<C2, IsaUnavailable> {
        // Printed with the first bit highest, and one bit that is not the row's in front.
        let row = |printed: &[u64; 8]| -> Vec<u64> {
            let reversed: Vec<u64> = printed.iter().map(|word| word.reverse_bits()).chain([0]).collect();
            reversed.windows(2).map(|pair| pair[0] >> 1 | pair[1] << 63).collect()
        };
        let rows: Vec<Vec<Vec<u64>>> =
            C2_GENERATOR.iter().map(|outputs| outputs.iter().map(row).collect()).collect();
        Ok(C2 {
            generator: CirculantMatrix::new(C2_Q, &rows, isa)?,
            stream: vec![0; 1 + words(LdpcSpec::C2.information_bits()) + 1],
            rows: vec![0; C2_INPUTS * words(C2_Q)],
        })
    }

    fn parity(&mut self, information: &[u8], parity: &mut [u8]) {
        to_words(information, &mut self.stream[1..]);
        for (i, row) in self.rows.chunks_exact_mut(words(C2_Q)).enumerate() {
            let from = 64 - C2_VIRTUAL_ZEROS + C2_Q * i;
            let (skip, bits) = (from / 64, (from % 64) as u32);
            for (word, pair) in row.iter_mut().zip(self.stream[skip..].windows(2)) {
                *word = if bits == 0 { pair[0] } else { pair[0] >> bits | pair[1] << (64 - bits) };
            }
            row[7] &= u64::MAX >> 1;
        }
        let mut rows = [0; 16];
        self.generator.multiply(&self.rows, &mut rows);
        // The second row begins where the first ends, one bit before a whole word.
        rows[7] |= rows[8] << 63;
        for i in 8..16 {
            rows[i] = rows[i] >> 1 | rows.get(i + 1).map_or(0, |next| next << 63);
        }
        to_octets(&rows, parity);
    }
}

/// `to ^= from` rotated: places are words of [`Ar4ja::rows`].
#[derive(Debug, Clone, Copy)]
struct Rotation {
    to: usize,
    from: usize,
    shift: usize,
}

#[derive(Debug, Clone)]
struct Ar4ja {
    /// Bits of a circulant.
    q: usize,
    /// Quarters of the information.
    information: usize,
    /// Before the dense product and behind it.
    before: Vec<Rotation>,
    behind: Vec<Rotation>,
    dense: CirculantMatrix,
    /// Quarters, `words(q)` words each: information, p₁, p₂, p₃, and the third block row's sum.
    rows: Vec<u64>,
    packed: Vec<u64>,
}

impl Ar4ja {
    fn new(spec: LdpcSpec, isa: Isa) -> Result<Ar4ja, IsaUnavailable> {
        let LdpcSpec::Ar4ja { information, rate } = spec else { unreachable!("an AR4JA code") };
        let k = rate.information_blocks();
        let m = information.bits() / k;
        let (q, len) = (m / 4, words(m / 4));
        let [first, second, third] = ar4ja_rows(rate);
        let (p1, p2, p3, sum) = (k, k + 1, k + 2, k + 3);
        let rotations = |row: &[(usize, &'static [Term])], columns: std::ops::Range<usize>, to: usize| {
            let terms = row.iter().filter(|(column, _)| columns.contains(column));
            let terms = terms.flat_map(|(column, terms)| terms.iter().map(move |term| (*column, *term)));
            let quarters = terms.flat_map(|(column, term)| {
                (0..4).map(move |j| {
                    let (quarter, shift) = term.quarter(j, m);
                    Rotation { to: (4 * to + j) * len, from: (4 * column + quarter) * len, shift }
                })
            });
            quarters.collect::<Vec<_>>()
        };
        let mut before = rotations(&second, 0..k, p2);
        before.extend(rotations(&third, 0..k, sum));
        before.extend(rotations(&third, p2..p2 + 1, sum));
        let mut behind = rotations(&second, p3..p3 + 1, p2);
        behind.extend(rotations(&first, p3..p3 + 1, p1));

        let matrix = |row: &[(usize, &'static [Term])], column: usize| {
            let mut matrix = vec![vec![Polynomial::zero(q); 4]; 4];
            for term in row.iter().filter(|(c, _)| *c == column).flat_map(|(_, terms)| *terms) {
                for (j, row) in matrix.iter_mut().enumerate() {
                    let (quarter, shift) = term.quarter(j, m);
                    row[quarter].add_power((q - shift) % q);
                }
            }
            matrix
        };
        let (left, right) = (matrix(&third, p2), matrix(&second, p3));
        let mut reduced = matrix(&third, p3);
        for (i, row) in reduced.iter_mut().enumerate() {
            for (j, element) in row.iter_mut().enumerate() {
                (0..4).for_each(|c| element.add_product(&left[i][c], &right[c][j]));
            }
        }
        let Some(solved) = inverse(reduced) else { unreachable!("{spec} can be encoded") };
        let by_input: Vec<Vec<Vec<u64>>> = (0..4)
            .map(|input| solved.iter().map(|outputs| outputs[input].words().to_vec()).collect())
            .collect();
        Ok(Ar4ja {
            q,
            information: 4 * k,
            before,
            behind,
            dense: CirculantMatrix::new(q, &by_input, isa)?,
            rows: vec![0; 4 * (k + 4) * len],
            packed: vec![0; words(information.bits()).max(words(2 * m))],
        })
    }

    fn parity(&mut self, information: &[u8], parity: &mut [u8]) {
        let len = words(self.q);
        let (front, rest) = self.rows.split_at_mut(self.information * len);
        if self.q == 32 {
            // Two quarters lie in a word of the stream, one in a word here.
            to_words(information, &mut self.packed);
            for (pair, word) in front.chunks_exact_mut(2).zip(&self.packed) {
                pair[0] = word & 0xFFFF_FFFF;
                pair[1] = word >> 32;
            }
        } else {
            to_words(information, front);
        }
        rest.fill(0);
        self.rotate_all(true);
        let (rest, sum) = self.rows.split_at_mut((self.information + 12) * len);
        self.dense.multiply(sum, &mut rest[(self.information + 8) * len..]);
        self.rotate_all(false);
        let sent = &self.rows[self.information * len..][..8 * len];
        if self.q == 32 {
            for (word, pair) in self.packed.iter_mut().zip(sent.chunks_exact(2)) {
                *word = pair[0] | pair[1] << 32;
            }
            to_octets(&self.packed, parity);
        } else {
            to_octets(sent, parity);
        }
    }

    fn rotate_all(&mut self, before: bool) {
        let len = words(self.q);
        for rotation in if before { &self.before } else { &self.behind } {
            let (to, from) = if rotation.to < rotation.from {
                let (low, high) = self.rows.split_at_mut(rotation.from);
                (&mut low[rotation.to..][..len], &high[..len])
            } else {
                let (low, high) = self.rows.split_at_mut(rotation.to);
                (&mut high[..len], &low[rotation.from..][..len])
            };
            add_rotated(to, from, rotation.shift, self.q);
        }
    }
}
