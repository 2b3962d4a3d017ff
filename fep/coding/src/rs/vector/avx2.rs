//! The vector codec on AVX2: 32 lanes, products by nibble tables in GF(16)^2. Wrappers only.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::codec::VectorCodec;
use super::lanes::Lanes;
use super::nibbles::{NibbleMap, NibbleTables};
use super::representation::tower_product;
use crate::isa::{Isa, IsaUnavailable};
use crate::rs::RsVerdict;

/// Proof that the machine has every instruction of [`Isa::Avx2`], with the tables of its products.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2 {
    tables: NibbleTables,
}

/// The logarithms of an octet's low nibble, high nibble and their sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logs {
    low: __m256i,
    high: __m256i,
    both: __m256i,
}

impl Avx2 {
    pub(super) fn new() -> Result<Avx2, IsaUnavailable> {
        Isa::Avx2.require().map(|_| Avx2 { tables: NibbleTables::new() })
    }

    /// The 16 entries in both halves, as VPSHUFB looks them up.
    #[inline(always)]
    fn table(self, entries: &[u8; 16]) -> __m256i {
        // SAFETY: `self` proves AVX2; 16 octets are read.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(entries.as_ptr().cast())) }
    }

    #[inline(always)]
    fn look_up(self, entries: &[u8; 16], index: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_shuffle_epi8(self.table(entries), index) }
    }

    /// Low and high nibbles.
    #[inline(always)]
    fn nibbles(self, v: __m256i) -> (__m256i, __m256i) {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let nibble = _mm256_set1_epi8(15);
            (_mm256_and_si256(v, nibble), _mm256_and_si256(_mm256_srli_epi16::<4>(v), nibble))
        }
    }

    /// The logarithm of a product of nibbles: the sum modulo 15, or above 0x80 if a factor is zero.
    #[inline(always)]
    fn log_sum(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let sum = _mm256_adds_epu8(a, b);
            _mm256_min_epu8(sum, _mm256_sub_epi8(sum, _mm256_set1_epi8(15)))
        }
    }
}

/// [`VectorCodec::decode_batch`], compiled for this set.
pub(super) fn decode_batch(
    codec: &mut VectorCodec<Avx2>,
    codeblocks: &mut [u8],
    stride: usize,
    verdicts: &mut [RsVerdict],
) {
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    fn compiled(
        codec: &mut VectorCodec<Avx2>,
        codeblocks: &mut [u8],
        stride: usize,
        verdicts: &mut [RsVerdict],
    ) {
        codec.decode_batch(codeblocks, stride, verdicts);
    }
    // SAFETY: the codec holds an `Avx2`, which exists only on machines with these features.
    unsafe { compiled(codec, codeblocks, stride, verdicts) }
}

/// [`VectorCodec::encode`], compiled for this set.
pub(super) fn encode(codec: &mut VectorCodec<Avx2>, frame: &[u8], check: &mut [u8]) {
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    fn compiled(codec: &mut VectorCodec<Avx2>, frame: &[u8], check: &mut [u8]) {
        codec.encode(frame, check);
    }
    // SAFETY: the codec holds an `Avx2`, which exists only on machines with these features.
    unsafe { compiled(codec, frame, check) }
}

impl Lanes for Avx2 {
    const N: usize = 32;

    type V = __m256i;
    /// All ones or all zeros, lane by lane.
    type Mask = __m256i;
    type Map = NibbleMap;
    type Operand = Logs;

    fn product(a: u8, b: u8) -> u8 {
        tower_product(a, b)
    }

    fn map(table: &[u8; 256]) -> NibbleMap {
        NibbleMap::of_table(table)
    }

    #[inline(always)]
    fn load(self, from: &[u8], at: usize) -> __m256i {
        let octets = &from[at..at + 32];
        // SAFETY: 32 octets are there.
        unsafe { _mm256_loadu_si256(octets.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [u8], at: usize, v: __m256i) {
        let octets = &mut to[at..at + 32];
        // SAFETY: 32 octets of room are there.
        unsafe { _mm256_storeu_si256(octets.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn splat(self, octet: u8) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_epi8(octet as i8) }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_sub_epi8(a, b) }
    }

    #[inline(always)]
    fn apply(self, map: &NibbleMap, v: __m256i) -> __m256i {
        let (low, high) = self.nibbles(v);
        self.xor(self.look_up(&map.low, low), self.look_up(&map.high, high))
    }

    #[inline(always)]
    fn operand(self, v: __m256i) -> Logs {
        let (low, high) = self.nibbles(v);
        let log = &self.tables.log;
        Logs {
            low: self.look_up(log, low),
            high: self.look_up(log, high),
            both: self.look_up(log, self.xor(low, high)),
        }
    }

    #[inline(always)]
    fn multiply_add(self, sum: __m256i, a: &Logs, b: &Logs) -> __m256i {
        let low = self.look_up(&self.tables.low, self.log_sum(a.low, b.low));
        let high = self.look_up(&self.tables.high, self.log_sum(a.high, b.high));
        let cross = self.look_up(&self.tables.cross, self.log_sum(a.both, b.both));
        self.xor(self.xor(sum, low), self.xor(high, cross))
    }

    #[inline(always)]
    fn inverse(self, v: __m256i) -> __m256i {
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
    fn is_zero(self, v: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_cmpeq_epi8(v, _mm256_setzero_si256()) }
    }

    #[inline(always)]
    fn at_most(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_cmpeq_epi8(_mm256_min_epu8(a, b), a) }
    }

    #[inline(always)]
    fn and_not(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_andnot_si256(b, a) }
    }

    #[inline(always)]
    fn bits(self, mask: __m256i) -> u64 {
        // SAFETY: `self` proves AVX2.
        u64::from(unsafe { _mm256_movemask_epi8(mask) } as u32)
    }

    #[inline(always)]
    fn select(self, mask: __m256i, yes: __m256i, no: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_blendv_epi8(no, yes, mask) }
    }

    #[inline(always)]
    fn select_operand(self, mask: __m256i, yes: &Logs, no: &Logs) -> Logs {
        Logs {
            low: self.select(mask, yes.low, no.low),
            high: self.select(mask, yes.high, no.high),
            both: self.select(mask, yes.both, no.both),
        }
    }

    #[inline(always)]
    fn transpose(self, v: &mut [__m256i; 16]) {
        // Four perfect shuffles: after each, vectors 2i and 2i+1 are the interleaved halves of i and i+8.
        for _ in 0..4 {
            let before = *v;
            for i in 0..8 {
                // SAFETY: `self` proves AVX2.
                unsafe {
                    v[2 * i] = _mm256_unpacklo_epi8(before[i], before[i + 8]);
                    v[2 * i + 1] = _mm256_unpackhi_epi8(before[i], before[i + 8]);
                }
            }
        }
    }

    #[inline(always)]
    fn load_rows(self, from: &[u8], at: usize, pitch: usize) -> [__m256i; 16] {
        let mut rows = [self.splat(0); 16];
        for (k, row) in rows.iter_mut().enumerate() {
            let first = &from[at + k * pitch..][..16];
            let second = &from[at + (16 + k) * pitch..][..16];
            // SAFETY: `self` proves AVX2; 16 octets are at each place.
            *row = unsafe {
                let low = _mm256_castsi128_si256(_mm_loadu_si128(first.as_ptr().cast()));
                _mm256_inserti128_si256::<1>(low, _mm_loadu_si128(second.as_ptr().cast()))
            };
        }
        rows
    }

    #[inline(always)]
    fn store_rows(self, to: &mut [u8], at: usize, v: &[__m256i; 16]) {
        let rows = &mut to[at..at + 512];
        for (k, v) in v.iter().enumerate() {
            // SAFETY: `self` proves AVX2; the last row written, 16 * (16 + 15), ends at octet 512 of `rows`.
            unsafe {
                let first = rows.as_mut_ptr().add(16 * k);
                _mm_storeu_si128(first.cast(), _mm256_castsi256_si128(*v));
                _mm_storeu_si128(first.add(256).cast(), _mm256_extracti128_si256::<1>(*v));
            }
        }
    }

    #[inline(always)]
    fn spread(self, from: &[u8], at: usize, pattern: __m256i) -> __m256i {
        let octets = &from[at..at + 16];
        // SAFETY: `self` proves AVX2; 16 octets are there.
        unsafe {
            let v = _mm256_broadcastsi128_si256(_mm_loadu_si128(octets.as_ptr().cast()));
            _mm256_shuffle_epi8(v, pattern)
        }
    }
}
