//! The vector codec on NEON: pairs of registers as 32 lanes, products by nibble tables in GF(16)^2. Wrappers only.
#![allow(unsafe_code)]
// Whether a call needs `unsafe` depends on the features that the target has by default.
#![allow(unused_unsafe)]

use std::arch::aarch64::*;

use super::codec::VectorCodec;
use super::lanes::Lanes;
use super::nibbles::{NibbleMap, NibbleTables};
use super::representation::tower_product;
use crate::isa::{Isa, IsaUnavailable};
use crate::rs::RsVerdict;

/// Proof that the machine has every instruction of [`Isa::Neon`], with the tables of its products.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neon {
    tables: NibbleTables,
}

/// 32 lanes.
type Pair = [uint8x16_t; 2];

/// The logarithms of an octet's low nibble, high nibble and their sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logs {
    low: Pair,
    high: Pair,
    both: Pair,
}

impl Neon {
    pub(super) fn new() -> Result<Neon, IsaUnavailable> {
        Isa::Neon.require().map(|_| Neon { tables: NibbleTables::new() })
    }

    #[inline(always)]
    fn look_up(self, entries: &[u8; 16], index: Pair) -> Pair {
        // SAFETY: `self` proves NEON; 16 octets are read.
        unsafe {
            let table = vld1q_u8(entries.as_ptr());
            [vqtbl1q_u8(table, index[0]), vqtbl1q_u8(table, index[1])]
        }
    }

    /// Low and high nibbles.
    #[inline(always)]
    fn nibbles(self, v: Pair) -> (Pair, Pair) {
        // SAFETY: `self` proves NEON.
        unsafe {
            let nibble = vdupq_n_u8(15);
            let low = [vandq_u8(v[0], nibble), vandq_u8(v[1], nibble)];
            (low, [vshrq_n_u8::<4>(v[0]), vshrq_n_u8::<4>(v[1])])
        }
    }

    /// The logarithm of a product of nibbles: the sum modulo 15, or above 0x80 if a factor is zero.
    #[inline(always)]
    fn log_sum(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        unsafe {
            let fifteen = vdupq_n_u8(15);
            let (low, high) = (vqaddq_u8(a[0], b[0]), vqaddq_u8(a[1], b[1]));
            [vminq_u8(low, vsubq_u8(low, fifteen)), vminq_u8(high, vsubq_u8(high, fifteen))]
        }
    }
}

/// [`VectorCodec::decode_batch`], compiled for this set.
pub(super) fn decode_batch(
    codec: &mut VectorCodec<Neon>,
    codeblocks: &mut [u8],
    stride: usize,
    verdicts: &mut [RsVerdict],
) {
    #[target_feature(enable = "neon")]
    fn compiled(
        codec: &mut VectorCodec<Neon>,
        codeblocks: &mut [u8],
        stride: usize,
        verdicts: &mut [RsVerdict],
    ) {
        codec.decode_batch(codeblocks, stride, verdicts);
    }
    // SAFETY: the codec holds a `Neon`, which exists only on machines with this feature.
    unsafe { compiled(codec, codeblocks, stride, verdicts) }
}

/// [`VectorCodec::encode`], compiled for this set.
pub(super) fn encode(codec: &mut VectorCodec<Neon>, frame: &[u8], check: &mut [u8]) {
    #[target_feature(enable = "neon")]
    fn compiled(codec: &mut VectorCodec<Neon>, frame: &[u8], check: &mut [u8]) {
        codec.encode(frame, check);
    }
    // SAFETY: the codec holds a `Neon`, which exists only on machines with this feature.
    unsafe { compiled(codec, frame, check) }
}

impl Lanes for Neon {
    const N: usize = 32;

    type V = Pair;
    /// All ones or all zeros, lane by lane.
    type Mask = Pair;
    type Map = NibbleMap;
    type Operand = Logs;

    fn product(a: u8, b: u8) -> u8 {
        tower_product(a, b)
    }

    fn map(table: &[u8; 256]) -> NibbleMap {
        NibbleMap::of_table(table)
    }

    #[inline(always)]
    fn load(self, from: &[u8], at: usize) -> Pair {
        let octets = &from[at..at + 32];
        // SAFETY: 32 octets are there.
        unsafe { [vld1q_u8(octets.as_ptr()), vld1q_u8(octets.as_ptr().add(16))] }
    }

    #[inline(always)]
    fn store(self, to: &mut [u8], at: usize, v: Pair) {
        let octets = &mut to[at..at + 32];
        // SAFETY: 32 octets of room are there.
        unsafe {
            vst1q_u8(octets.as_mut_ptr(), v[0]);
            vst1q_u8(octets.as_mut_ptr().add(16), v[1]);
        }
    }

    #[inline(always)]
    fn splat(self, octet: u8) -> Pair {
        // SAFETY: `self` proves NEON.
        unsafe { [vdupq_n_u8(octet); 2] }
    }

    #[inline(always)]
    fn xor(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        unsafe { [veorq_u8(a[0], b[0]), veorq_u8(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        unsafe { [vsubq_u8(a[0], b[0]), vsubq_u8(a[1], b[1])] }
    }

    #[inline(always)]
    fn apply(self, map: &NibbleMap, v: Pair) -> Pair {
        let (low, high) = self.nibbles(v);
        self.xor(self.look_up(&map.low, low), self.look_up(&map.high, high))
    }

    #[inline(always)]
    fn operand(self, v: Pair) -> Logs {
        let (low, high) = self.nibbles(v);
        let log = &self.tables.log;
        Logs {
            low: self.look_up(log, low),
            high: self.look_up(log, high),
            both: self.look_up(log, self.xor(low, high)),
        }
    }

    #[inline(always)]
    fn multiply_add(self, sum: Pair, a: &Logs, b: &Logs) -> Pair {
        let low = self.look_up(&self.tables.low, self.log_sum(a.low, b.low));
        let high = self.look_up(&self.tables.high, self.log_sum(a.high, b.high));
        let cross = self.look_up(&self.tables.cross, self.log_sum(a.both, b.both));
        self.xor(self.xor(sum, low), self.xor(high, cross))
    }

    #[inline(always)]
    fn inverse(self, v: Pair) -> Pair {
        // (a1 y + a0)^-1 = (a1 y + a1 + a0) / (nu a1^2 + a1 a0 + a0^2).
        let (low, high) = self.nibbles(v);
        let logs = self.operand(v);
        let squares =
            self.xor(self.look_up(&self.tables.square, low), self.look_up(&self.tables.nu_square, high));
        let norm = self.xor(squares, self.look_up(&self.tables.plain, self.log_sum(logs.high, logs.low)));
        let divide = self.look_up(&self.tables.log_inverse, norm);
        let y_term = self.look_up(&self.tables.cross, self.log_sum(logs.high, divide));
        self.xor(y_term, self.look_up(&self.tables.plain, self.log_sum(logs.both, divide)))
    }

    #[inline(always)]
    fn is_zero(self, v: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        unsafe { [vceqq_u8(v[0], vdupq_n_u8(0)), vceqq_u8(v[1], vdupq_n_u8(0))] }
    }

    #[inline(always)]
    fn at_most(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        unsafe { [vcleq_u8(a[0], b[0]), vcleq_u8(a[1], b[1])] }
    }

    #[inline(always)]
    fn and_not(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        unsafe { [vbicq_u8(a[0], b[0]), vbicq_u8(a[1], b[1])] }
    }

    #[inline(always)]
    fn bits(self, mask: Pair) -> u64 {
        const WEIGHTS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
        let mut bits = 0;
        for (register, mask) in mask.into_iter().enumerate() {
            // SAFETY: `self` proves NEON; 16 octets are read.
            let (low, high) = unsafe {
                let weighed = vandq_u8(mask, vld1q_u8(WEIGHTS.as_ptr()));
                (vaddv_u8(vget_low_u8(weighed)), vaddv_u8(vget_high_u8(weighed)))
            };
            bits |= (u64::from(low) | u64::from(high) << 8) << (16 * register);
        }
        bits
    }

    #[inline(always)]
    fn select(self, mask: Pair, yes: Pair, no: Pair) -> Pair {
        // SAFETY: `self` proves NEON.
        unsafe { [vbslq_u8(mask[0], yes[0], no[0]), vbslq_u8(mask[1], yes[1], no[1])] }
    }

    #[inline(always)]
    fn select_operand(self, mask: Pair, yes: &Logs, no: &Logs) -> Logs {
        Logs {
            low: self.select(mask, yes.low, no.low),
            high: self.select(mask, yes.high, no.high),
            both: self.select(mask, yes.both, no.both),
        }
    }

    #[inline(always)]
    fn transpose(self, v: &mut [Pair; 16]) {
        // Four perfect shuffles: after each, vectors 2i and 2i+1 are the interleaved halves of i and i+8.
        for _ in 0..4 {
            let before = *v;
            for i in 0..8 {
                let (a, b) = (before[i], before[i + 8]);
                // SAFETY: `self` proves NEON.
                unsafe {
                    v[2 * i] = [vzip1q_u8(a[0], b[0]), vzip1q_u8(a[1], b[1])];
                    v[2 * i + 1] = [vzip2q_u8(a[0], b[0]), vzip2q_u8(a[1], b[1])];
                }
            }
        }
    }

    #[inline(always)]
    fn load_rows(self, from: &[u8], at: usize, pitch: usize) -> [Pair; 16] {
        let mut rows = [self.splat(0); 16];
        for (k, row) in rows.iter_mut().enumerate() {
            for (g, column) in row.iter_mut().enumerate() {
                let octets = &from[at + (16 * g + k) * pitch..][..16];
                // SAFETY: 16 octets are there.
                *column = unsafe { vld1q_u8(octets.as_ptr()) };
            }
        }
        rows
    }

    #[inline(always)]
    fn store_rows(self, to: &mut [u8], at: usize, v: &[Pair; 16]) {
        for (k, v) in v.iter().enumerate() {
            for (g, column) in v.iter().enumerate() {
                let octets = &mut to[at + 16 * (16 * g + k)..][..16];
                // SAFETY: 16 octets of room are there.
                unsafe { vst1q_u8(octets.as_mut_ptr(), *column) };
            }
        }
    }

    #[inline(always)]
    fn spread(self, from: &[u8], at: usize, pattern: Pair) -> Pair {
        let octets = &from[at..at + 16];
        // SAFETY: `self` proves NEON; 16 octets are there, and the pattern's octets are below 16.
        unsafe {
            let v = vld1q_u8(octets.as_ptr());
            [vqtbl1q_u8(v, pattern[0]), vqtbl1q_u8(v, pattern[1])]
        }
    }
}
