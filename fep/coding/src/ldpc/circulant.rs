//! Products of a vector with a matrix of dense circulants: the expensive part of encoding.
//!
//! A row of Q bits times a circulant is a product of polynomials modulo x^Q - 1 (`super::polynomial` tells how rows lie
//! in words). Two ways to the same bits: a comb over nibbles, in portable Rust, and carry-less multiplication, 128 bits
//! or 512 at a time, where the processor has it.

#[cfg(target_arch = "x86_64")]
mod clmul;

use super::polynomial::words;
use crate::isa::{Isa, IsaUnavailable};

/// A matrix of dense circulants, ready to be multiplied by.
#[derive(Debug, Clone)]
pub(super) struct CirculantMatrix {
    q: usize,
    inputs: usize,
    outputs: usize,
    method: Method,
    /// Sums of one output before they are brought below x^Q.
    sum: Vec<u64>,
}

#[derive(Debug, Clone)]
enum Method {
    /// `rows[((output * inputs + input) * 16 + nibble) * (words + 1)..]`: the circulant's row times every nibble.
    Comb { rows: Vec<u64> },
    #[cfg(target_arch = "x86_64")]
    Clmul(clmul::Multiplier),
}

impl CirculantMatrix {
    /// `rows[input][output]`: the first row of the circulant, Q bits.
    ///
    /// # Errors
    /// [`IsaUnavailable`] when this machine lacks `isa`.
    pub(super) fn new(q: usize, rows: &[Vec<Vec<u64>>], isa: Isa) -> Result<CirculantMatrix, IsaUnavailable> {
        let isa = isa.require()?;
        let (inputs, outputs) = (rows.len(), rows.first().map_or(0, Vec::len));
        #[cfg(target_arch = "x86_64")]
        let clmul = clmul::Multiplier::new(q, rows, isa).map(Method::Clmul);
        #[cfg(not(target_arch = "x86_64"))]
        let (clmul, _) = (None, isa);
        let method = clmul.unwrap_or_else(|| Method::Comb { rows: comb_rows(q, rows) });
        Ok(CirculantMatrix { q, inputs, outputs, method, sum: vec![0; 2 * words(q) + 2] })
    }

    /// `product`, `outputs` rows of `words(Q)` words, becomes `vector`, `inputs` rows, times the matrix.
    #[inline]
    pub(super) fn multiply(&mut self, vector: &[u64], product: &mut [u64]) {
        let len = words(self.q);
        assert!(vector.len() == self.inputs * len && product.len() == self.outputs * len, "whole rows");
        for (output, product) in product.chunks_exact_mut(len).enumerate() {
            match &mut self.method {
                Method::Comb { rows } => {
                    let size = self.inputs * 16 * (len + 1);
                    let sum = &mut self.sum[..2 * len + 1];
                    comb(&rows[output * size..][..size], vector, len, sum);
                }
                #[cfg(target_arch = "x86_64")]
                Method::Clmul(multiplier) => multiplier.multiply(output, vector, &mut self.sum),
            }
            reduce(&self.sum, self.q, product);
        }
    }
}

/// `rows` of [`Method::Comb`].
fn comb_rows(q: usize, rows: &[Vec<Vec<u64>>]) -> Vec<u64> {
    let len = words(q);
    let outputs = rows.first().map_or(0, Vec::len);
    let mut table = Vec::with_capacity(rows.len() * outputs * 16 * (len + 1));
    for output in 0..outputs {
        for row in rows.iter().map(|row| &row[output]) {
            for nibble in 0..16u64 {
                let mut carry = 0;
                for word in row.iter().chain(&[0]) {
                    let product = |bit: u64| if nibble >> bit & 1 == 1 { word << bit } else { 0 };
                    table.push(carry ^ product(0) ^ product(1) ^ product(2) ^ product(3));
                    let over = |bit: u64| if nibble >> bit & 1 == 1 { word >> (64 - bit) } else { 0 };
                    carry = over(1) ^ over(2) ^ over(3);
                }
            }
        }
    }
    table
}

/// `sum` becomes Σ input × circulant, not yet reduced.
fn comb(rows: &[u64], vector: &[u64], len: usize, sum: &mut [u64]) {
    sum.fill(0);
    for nibble in (0..16).rev() {
        let mut carry = 0;
        for word in sum.iter_mut() {
            (*word, carry) = (*word << 4 | carry, *word >> 60);
        }
        for (input, rows) in vector.chunks_exact(len).zip(rows.chunks_exact(16 * (len + 1))) {
            for (at, word) in input.iter().enumerate() {
                let row = &rows[(word >> (4 * nibble) & 15) as usize * (len + 1)..][..len + 1];
                for (sum, row) in sum[at..].iter_mut().zip(row) {
                    *sum ^= row;
                }
            }
        }
    }
}

/// `row`, Q bits, becomes `sum`, of less than 2 Q bits, modulo x^Q - 1.
#[inline(always)]
fn reduce(sum: &[u64], q: usize, row: &mut [u64]) {
    let (skip, bits) = (q / 64, (q % 64) as u32);
    for (i, word) in row.iter_mut().enumerate() {
        let (low, high) = (sum[i + skip], sum.get(i + skip + 1).copied().unwrap_or(0));
        *word = sum[i] ^ if bits == 0 { low } else { low >> bits | high << (64 - bits) };
    }
    if let Some(last) = row.last_mut().filter(|_| bits != 0) {
        *last &= (1 << bits) - 1;
    }
}
