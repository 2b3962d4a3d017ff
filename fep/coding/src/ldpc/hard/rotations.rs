//! Whether the checks of codes with long circulants hold: a column is a run of words.
//!
//! A column lies twice, one copy behind the other, so that every rotation of it is Q consecutive bits.

use super::Words;
use crate::ldpc::LdpcSpec;
use crate::ldpc::code::{Edge, ParityChecks};
use crate::ldpc::polynomial::words;
use crate::ldpc::spec::C2_VIRTUAL_ZEROS;

/// A rotated column: its first bit is bit `shift` of word `at` of [`Rotations::columns`].
#[derive(Debug, Clone, Copy)]
struct Window {
    at: u32,
    shift: u32,
}

/// The columns that a layer looks at.
#[derive(Debug, Clone)]
struct Sum {
    windows: Vec<Window>,
    /// First word of the column that the sum is, where the layer looks at one that is not sent; elsewhere the sum is
    /// zero in a codeword.
    gives: Option<usize>,
}

/// The checks, and columns of one word after the other.
#[derive(Debug, Clone)]
pub(super) struct Rotations {
    /// Bits of a column.
    q: usize,
    /// Bits that are known to be zero in front of those received.
    virtual_zeros: usize,
    /// Columns that are sent, or known.
    received_columns: usize,
    /// Words from one column to the next.
    stride: usize,
    columns: Vec<u64>,
    sums: Vec<Sum>,
}

/// Words that may be read behind a column: a vector, and one for the bits that its last word lacks.
pub(super) const BEHIND: usize = 9;

impl Rotations {
    pub(super) fn new(spec: LdpcSpec, checks: &ParityChecks) -> Rotations {
        let q = checks.circulant;
        let (virtual_zeros, received_columns) = match spec {
            LdpcSpec::C2 => (C2_VIRTUAL_ZEROS, checks.columns),
            LdpcSpec::Ar4ja { .. } => (0, spec.codeword_bits() / q),
        };
        let stride = words(2 * q) + BEHIND;
        let mut known = vec![false; checks.columns];
        known[..received_columns].fill(true);
        let mut sum = |layer: &Vec<Edge>| {
            let gives = layer.iter().map(|edge| usize::from(edge.column)).find(|column| !known[*column]);
            let windows = layer.iter().filter(|edge| Some(usize::from(edge.column)) != gives).map(|edge| {
                assert!(known[usize::from(edge.column)], "{spec}: two unknown columns in a layer");
                let (skip, shift) = (usize::from(edge.shift) / 64, u32::from(edge.shift) % 64);
                Window { at: (usize::from(edge.column) * stride + skip) as u32, shift }
            });
            let windows = windows.collect();
            if let Some(column) = gives {
                let edges = layer.iter().filter(|edge| usize::from(edge.column) == column);
                assert!(edges.map(|edge| edge.shift).eq([0]), "{spec}: column {column} is rotated");
                known[column] = true;
            }
            Sum { windows, gives: gives.map(|column| column * stride) }
        };
        let sums = checks.layers.iter().map(&mut sum).collect();
        let columns = vec![0; checks.columns * stride];
        Rotations { q, virtual_zeros, received_columns, stride, columns, sums }
    }

    /// Whether all checks hold of the word of which `received` are the bits, behind a word of zeros.
    #[inline(always)]
    pub(super) fn hold<W: Words>(&mut self, words: W, received: &[u64]) -> bool {
        for column in 0..self.received_columns {
            let from = 64 + self.q * column - self.virtual_zeros;
            self.take_column(words, column, received, from);
        }
        let q = self.q;
        let used = q.div_ceil(64);
        let mut whole = [u64::MAX; 8];
        if W::WORDS > used {
            whole[used..].fill(0);
        }
        // Of the vector with a column's last bits.
        let mut last = whole;
        if !q.is_multiple_of(64) {
            last[(used - 1) % W::WORDS] = (1 << (q % 64)) - 1;
        }
        for sum in &self.sums {
            for at in (0..used).step_by(W::WORDS) {
                let (first, others) =
                    sum.windows.split_first().unwrap_or_else(|| unreachable!("empty layer"));
                let window = |window: &Window| {
                    words.window(&self.columns, window.at as usize + at, window.shift.into())
                };
                let total = others.iter().fold(window(first), |total, other| words.sum(total, window(other)));
                match sum.gives {
                    Some(column) => {
                        words.put(&mut self.columns, column + at, total);
                        words.put(&mut self.columns, column + used + at, total);
                    }
                    None if words.any(total, if at + W::WORDS >= used { &last } else { &whole }) => {
                        return false;
                    }
                    None => {}
                }
            }
        }
        true
    }

    /// Column number `column` becomes Q bits of `received`, from bit `from` on, twice.
    #[inline(always)]
    fn take_column<W: Words>(&mut self, words: W, column: usize, received: &[u64], from: usize) {
        let q = self.q;
        let to = &mut self.columns[column * self.stride..][..self.stride];
        let (len, bits) = (q / 64, q % 64);
        for at in (0..q.div_ceil(64)).step_by(W::WORDS) {
            let window = words.window(received, from / 64 + at, from as u64 % 64);
            words.put(to, at, window);
            if bits == 0 {
                words.put(to, len + at, window);
            }
        }
        if bits != 0 {
            to[len] = to[len] & ((1 << bits) - 1) | to[0] << bits;
            for i in 0..=len {
                to[len + 1 + i] = to[i] >> (64 - bits) | to[i + 1] << bits;
            }
        }
    }
}
