//! The tables of the sets that look up 16 entries at a time (AVX2's PSHUFB, NEON's TBL): products in GF(16)^2.
//!
//! A product of two octets is three products of nibbles (Karatsuba), each a sum of logarithms: with
//! `a = a1 y + a0`, `a b = (a1^a0)(b1^b0) y + a0 b0 (y + 1) + nu a1 b1`. The three terms are looked up ready-made by the
//! logarithm's sum modulo 15. The logarithm of zero is so large that the sum keeps its top bit, and both instructions
//! answer an index with the top bit set with zero.

use super::representation::{TOWER_NU, nibble_product};

/// Stands for the logarithm of zero: with saturating sums it stays above 0x80 whatever is added and after 15 is taken off.
const LOG_OF_ZERO: u8 = 0xF0;

/// x generates the 15 nonzero nibbles.
const GENERATOR: u8 = 2;

/// A linear map of octets as the images of the low and the high nibbles.
#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
pub(super) struct NibbleMap {
    pub(super) low: [u8; 16],
    pub(super) high: [u8; 16],
}

/// All tables of the nibble arithmetic, each for one look-up.
#[derive(Debug, Clone, Copy)]
pub(super) struct NibbleTables {
    /// Logarithm of a nibble.
    pub(super) log: [u8; 16],
    /// By logarithm: `v y`, the cross term.
    pub(super) cross: [u8; 16],
    /// By logarithm: `v (y + 1)`, the term of the low nibbles.
    pub(super) low: [u8; 16],
    /// By logarithm: `nu v`, the term of the high nibbles.
    pub(super) high: [u8; 16],
    /// By logarithm: v itself.
    pub(super) plain: [u8; 16],
    /// By nibble: its square.
    pub(super) square: [u8; 16],
    /// By nibble: nu times its square.
    pub(super) nu_square: [u8; 16],
    /// By nibble: the logarithm of its inverse.
    pub(super) log_inverse: [u8; 16],
}

impl NibbleMap {
    pub(super) fn of_table(table: &[u8; 256]) -> NibbleMap {
        NibbleMap { low: std::array::from_fn(|i| table[i]), high: std::array::from_fn(|i| table[i << 4]) }
    }
}

impl NibbleTables {
    pub(super) fn new() -> NibbleTables {
        let mut power = [1u8; 15];
        for i in 1..15 {
            power[i] = nibble_product(power[i - 1], GENERATOR);
        }
        let log_of = |v: u8| power.iter().position(|p| *p == v);
        let by_log = |f: fn(u8) -> u8| std::array::from_fn(|i| power.get(i).map_or(0, |v| f(*v)));
        let by_nibble = |f: fn(u8) -> u8| std::array::from_fn(|i| f(i as u8));
        NibbleTables {
            log: std::array::from_fn(|v| log_of(v as u8).map_or(LOG_OF_ZERO, |log| log as u8)),
            cross: by_log(|v| v << 4),
            low: by_log(|v| v << 4 | v),
            high: by_log(|v| nibble_product(TOWER_NU, v)),
            plain: by_log(|v| v),
            square: by_nibble(|v| nibble_product(v, v)),
            nu_square: by_nibble(|v| nibble_product(TOWER_NU, nibble_product(v, v))),
            log_inverse: std::array::from_fn(|v| {
                log_of(v as u8).map_or(LOG_OF_ZERO, |log| (15 - log as u8) % 15)
            }),
        }
    }
}
