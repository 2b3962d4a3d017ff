//! The vector codec on AVX-512 with GFNI: 64 lanes, products by GF2P8MULB in the AES field. Wrappers only.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::codec::VectorCodec;
use super::lanes::Lanes;
use super::representation::aes_product;
use crate::isa::{Isa, IsaUnavailable};
use crate::rs::RsVerdict;

/// Proof that the machine has every instruction of [`Isa::Avx512`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn new() -> Result<Avx512, IsaUnavailable> {
        Isa::Avx512.require().map(|_| Avx512(()))
    }
}

/// [`VectorCodec::decode_batch`], compiled for this set.
pub(super) fn decode_batch(
    codec: &mut VectorCodec<Avx512>,
    codeblocks: &mut [u8],
    stride: usize,
    verdicts: &mut [RsVerdict],
) {
    #[target_feature(
        enable = "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,gfni"
    )]
    fn compiled(
        c: &mut VectorCodec<Avx512>,
        codeblocks: &mut [u8],
        stride: usize,
        verdicts: &mut [RsVerdict],
    ) {
        c.decode_batch(codeblocks, stride, verdicts);
    }
    // SAFETY: the codec holds an `Avx512`, which exists only on machines with these features.
    unsafe { compiled(codec, codeblocks, stride, verdicts) }
}

/// [`VectorCodec::encode`], compiled for this set.
pub(super) fn encode(codec: &mut VectorCodec<Avx512>, frame: &[u8], check: &mut [u8]) {
    #[target_feature(
        enable = "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,gfni"
    )]
    fn compiled(codec: &mut VectorCodec<Avx512>, frame: &[u8], check: &mut [u8]) {
        codec.encode(frame, check);
    }
    // SAFETY: the codec holds an `Avx512`, which exists only on machines with these features.
    unsafe { compiled(codec, frame, check) }
}

impl Lanes for Avx512 {
    const N: usize = 64;

    type V = __m512i;
    type Mask = __mmask64;
    type Map = u64;
    type Operand = __m512i;

    fn product(a: u8, b: u8) -> u8 {
        aes_product(a, b)
    }

    /// The bit matrix of GF2P8AFFINEQB: octet 7-i holds the input bits that make output bit i.
    fn map(table: &[u8; 256]) -> u64 {
        let mut matrix = 0;
        for output in 0..8 {
            let row = (0..8)
                .filter(|input| table[1 << input] >> output & 1 == 1)
                .fold(0u64, |row, input| row | 1 << input);
            matrix |= row << (8 * (7 - output));
        }
        matrix
    }

    #[inline(always)]
    fn load(self, from: &[u8], at: usize) -> __m512i {
        let octets = &from[at..at + 64];
        // SAFETY: 64 octets are there.
        unsafe { _mm512_loadu_si512(octets.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [u8], at: usize, v: __m512i) {
        let octets = &mut to[at..at + 64];
        // SAFETY: 64 octets of room are there.
        unsafe { _mm512_storeu_si512(octets.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn splat(self, octet: u8) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_set1_epi8(octet as i8) }
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_sub_epi8(a, b) }
    }

    #[inline(always)]
    fn apply(self, map: &u64, v: __m512i) -> __m512i {
        // SAFETY: `self` proves GFNI and AVX-512 F.
        unsafe { _mm512_gf2p8affine_epi64_epi8::<0>(v, _mm512_set1_epi64(*map as i64)) }
    }

    #[inline(always)]
    fn operand(self, v: __m512i) -> __m512i {
        v
    }

    #[inline(always)]
    fn multiply_add(self, sum: __m512i, a: &__m512i, b: &__m512i) -> __m512i {
        // SAFETY: `self` proves GFNI and AVX-512 F.
        unsafe { _mm512_xor_si512(sum, _mm512_gf2p8mul_epi8(*a, *b)) }
    }

    #[inline(always)]
    fn inverse(self, v: __m512i) -> __m512i {
        // The affine part is the identity: only the inversion is wanted.
        const IDENTITY: i64 = 0x0102_0408_1020_4080;
        // SAFETY: `self` proves GFNI and AVX-512 F.
        unsafe { _mm512_gf2p8affineinv_epi64_epi8::<0>(v, _mm512_set1_epi64(IDENTITY)) }
    }

    #[inline(always)]
    fn is_zero(self, v: __m512i) -> __mmask64 {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_testn_epi8_mask(v, v) }
    }

    #[inline(always)]
    fn at_most(self, a: __m512i, b: __m512i) -> __mmask64 {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_cmple_epu8_mask(a, b) }
    }

    #[inline(always)]
    fn and_not(self, a: __mmask64, b: __mmask64) -> __mmask64 {
        a & !b
    }

    #[inline(always)]
    fn bits(self, mask: __mmask64) -> u64 {
        mask
    }

    #[inline(always)]
    fn select(self, mask: __mmask64, yes: __m512i, no: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_mask_blend_epi8(mask, no, yes) }
    }

    #[inline(always)]
    fn select_operand(self, mask: __mmask64, yes: &__m512i, no: &__m512i) -> __m512i {
        self.select(mask, *yes, *no)
    }

    #[inline(always)]
    fn transpose(self, v: &mut [__m512i; 16]) {
        // Four perfect shuffles: after each, vectors 2i and 2i+1 are the interleaved halves of i and i+8.
        for _ in 0..4 {
            let before = *v;
            for i in 0..8 {
                // SAFETY: `self` proves AVX-512 BW.
                unsafe {
                    v[2 * i] = _mm512_unpacklo_epi8(before[i], before[i + 8]);
                    v[2 * i + 1] = _mm512_unpackhi_epi8(before[i], before[i + 8]);
                }
            }
        }
    }

    #[inline(always)]
    fn load_rows(self, from: &[u8], at: usize, pitch: usize) -> [__m512i; 16] {
        let mut rows = [self.splat(0); 16];
        for (k, row) in rows.iter_mut().enumerate() {
            let column = |g: usize| {
                let octets = &from[at + (16 * g + k) * pitch..][..16];
                // SAFETY: 16 octets are there.
                unsafe { _mm_loadu_si128(octets.as_ptr().cast()) }
            };
            // SAFETY: `self` proves AVX-512 F.
            *row = unsafe {
                let low = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(column(0)), column(1));
                _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(low, column(2)), column(3))
            };
        }
        rows
    }

    #[inline(always)]
    fn store_rows(self, to: &mut [u8], at: usize, v: &[__m512i; 16]) {
        let rows = &mut to[at..at + 1024];
        for (k, v) in v.iter().enumerate() {
            // SAFETY: `self` proves AVX-512 F; the last row written, 16 * (48 + 15), ends at octet 1024 of `rows`.
            unsafe {
                let first = rows.as_mut_ptr().add(16 * k);
                _mm_storeu_si128(first.cast(), _mm512_castsi512_si128(*v));
                _mm_storeu_si128(first.add(256).cast(), _mm512_extracti32x4_epi32::<1>(*v));
                _mm_storeu_si128(first.add(512).cast(), _mm512_extracti32x4_epi32::<2>(*v));
                _mm_storeu_si128(first.add(768).cast(), _mm512_extracti32x4_epi32::<3>(*v));
            }
        }
    }

    #[inline(always)]
    fn spread(self, from: &[u8], at: usize, pattern: __m512i) -> __m512i {
        let octets = &from[at..at + 32];
        // SAFETY: `self` proves AVX-512 VBMI; 32 octets are there. The pattern's octets are below 32.
        unsafe {
            let v = _mm256_loadu_si256(octets.as_ptr().cast());
            _mm512_permutexvar_epi8(pattern, _mm512_castsi256_si512(v))
        }
    }

    #[inline(always)]
    fn look_up(self, table: &[u8; 256], v: __m512i) -> __m512i {
        let quarter = |k: usize| self.load(table, 64 * k);
        // SAFETY: `self` proves AVX-512 VBMI and BW. VPERMI2B looks at the low seven bits, the eighth chooses the half.
        unsafe {
            let low = _mm512_permutex2var_epi8(quarter(0), v, quarter(1));
            let high = _mm512_permutex2var_epi8(quarter(2), v, quarter(3));
            _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), low, high)
        }
    }

    #[inline(always)]
    fn list_bits(self, mask: u64, first: u8, to: &mut [u8], at: usize) {
        const NUMBERS: [u8; 64] = {
            let mut numbers = [0; 64];
            let mut i = 0;
            while i < 64 {
                numbers[i] = i as u8;
                i += 1;
            }
            numbers
        };
        // SAFETY: `self` proves AVX-512 VBMI2 and BW.
        let list = unsafe {
            let numbers = _mm512_add_epi8(self.load(&NUMBERS, 0), self.splat(first));
            _mm512_maskz_compress_epi8(mask, numbers)
        };
        self.store(to, at, list);
    }
}
