//! The batch kernel on AVX2, 32 codewords, and the single kernel on its 16-octet vectors. Wrappers only.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::batch::Batch;
use super::decoder::TurboDecoding;
use super::lanes::{Codewords, Lanes, States};
use super::schedule::Code;
use super::single::Single;
use super::siso::{self, Scratch};
use crate::isa::{Isa, IsaUnavailable};
use crate::soft::SoftVerdict;

/// Proof that the machine has every instruction of [`Isa::Avx2`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

/// The same, for vectors of 16 octets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2Short(());

impl Avx2 {
    pub(super) fn new() -> Result<Avx2, IsaUnavailable> {
        Isa::Avx2.require().map(|_| Avx2(()))
    }

    /// [`Batch::new`], compiled for this set.
    pub(super) fn batch(self, code: &Code) -> Batch<Avx2> {
        #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
        fn compiled(lanes: Avx2, code: &Code) -> Batch<Avx2> {
            Batch::new(lanes, code)
        }
        // SAFETY: `self` proves these features.
        unsafe { compiled(self, code) }
    }
}

impl Avx2Short {
    pub(super) fn new() -> Result<Avx2Short, IsaUnavailable> {
        Isa::Avx2.require().map(|_| Avx2Short(()))
    }

    /// [`Single::new`], compiled for this set.
    pub(super) fn single(self, code: &Code) -> Single<Avx2Short> {
        #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
        fn compiled(lanes: Avx2Short, code: &Code) -> Single<Avx2Short> {
            Single::new(lanes, code)
        }
        // SAFETY: `self` proves these features.
        unsafe { compiled(self, code) }
    }
}

/// [`siso::decode`] of a batch, compiled for this set.
pub(super) fn decode_batch(
    batch: &mut Batch<Avx2>,
    code: &Code,
    decoding: TurboDecoding,
    scratch: &mut Scratch,
    symbols: &[i8],
    frames: &mut [u8],
    verdicts: &mut [SoftVerdict],
) {
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    fn compiled(
        batch: &mut Batch<Avx2>,
        code: &Code,
        decoding: TurboDecoding,
        scratch: &mut Scratch,
        symbols: &[i8],
        frames: &mut [u8],
        verdicts: &mut [SoftVerdict],
    ) {
        siso::decode(batch, code, decoding, scratch, symbols, frames, verdicts);
    }
    // SAFETY: the batch holds an `Avx2`, which exists only on machines with these features.
    unsafe { compiled(batch, code, decoding, scratch, symbols, frames, verdicts) }
}

/// [`siso::decode`] of one codeword, compiled for this set.
pub(super) fn decode_single(
    single: &mut Single<Avx2Short>,
    code: &Code,
    decoding: TurboDecoding,
    scratch: &mut Scratch,
    symbols: &[i8],
    frame: &mut [u8],
    verdict: &mut [SoftVerdict],
) {
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    fn compiled(
        single: &mut Single<Avx2Short>,
        code: &Code,
        decoding: TurboDecoding,
        scratch: &mut Scratch,
        symbols: &[i8],
        frame: &mut [u8],
        verdict: &mut [SoftVerdict],
    ) {
        siso::decode(single, code, decoding, scratch, symbols, frame, verdict);
    }
    // SAFETY: the kernel holds an `Avx2Short`, which exists only on machines with these features.
    unsafe { compiled(single, code, decoding, scratch, symbols, frame, verdict) }
}

impl Lanes for Avx2 {
    const N: usize = 32;
    type V = __m256i;

    #[inline(always)]
    fn splat(self, value: u8) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_epi8(value as i8) }
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_adds_epu8(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_subs_epu8(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_min_epu8(a, b) }
    }

    #[inline(always)]
    fn mean(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_avg_epu8(a, b) }
    }

    #[inline(always)]
    fn add_symbols(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_adds_epi8(a, b) }
    }

    #[inline(always)]
    fn penalties(self, symbol: __m256i) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let zero = _mm256_setzero_si256();
            [_mm256_max_epi8(_mm256_subs_epi8(zero, symbol), zero), _mm256_max_epi8(symbol, zero)]
        }
    }

    #[inline(always)]
    fn difference(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let most = _mm256_set1_epi8(127);
            let above = _mm256_min_epu8(_mm256_subs_epu8(a, b), most);
            _mm256_sub_epi8(above, _mm256_min_epu8(_mm256_subs_epu8(b, a), most))
        }
    }

    #[inline(always)]
    fn three_quarters(self, symbol: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let magnitude = _mm256_abs_epi8(symbol);
            let rounded = _mm256_add_epi8(magnitude, _mm256_set1_epi8(2));
            // Shifted by pairs of octets: what comes from the neighbour is masked out.
            let shifted = _mm256_srli_epi16::<2>(rounded);
            let lost = _mm256_and_si256(shifted, _mm256_set1_epi8(0x3F));
            let less = _mm256_sub_epi8(magnitude, lost);
            _mm256_sign_epi8(less, symbol)
        }
    }

    #[inline(always)]
    fn negative(self, v: __m256i) -> u64 {
        // SAFETY: `self` proves AVX2.
        unsafe { u64::from(_mm256_movemask_epi8(v) as u32) }
    }

    #[inline(always)]
    fn zip_low(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_unpacklo_epi8(a, b) }
    }

    #[inline(always)]
    fn zip_high(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_unpackhi_epi8(a, b) }
    }
}

impl Codewords for Avx2 {
    #[inline(always)]
    fn load_sixteens(self, from: &[i8], at: usize, pitch: usize) -> __m256i {
        let sixteen = |k: usize| {
            let octets = &from[at + k * pitch..][..16];
            // SAFETY: 16 octets are there.
            unsafe { _mm_loadu_si128(octets.as_ptr().cast()) }
        };
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(sixteen(0)), sixteen(1)) }
    }

    #[inline(always)]
    fn contradicted(self, symbols: __m256i, ones: u64) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            // Octet k of the word to the lanes 8k to 8k+7, and of each its own bit.
            let octet =
                _mm256_set_epi64x(0x0303_0303_0303_0303, 0x0202_0202_0202_0202, 0x0101_0101_0101_0101, 0);
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let word = _mm256_shuffle_epi8(_mm256_set1_epi32(ones as u32 as i32), octet);
            let ones = _mm256_cmpeq_epi8(_mm256_and_si256(word, bit), bit);
            let zero = _mm256_setzero_si256();
            let zeros_said = _mm256_cmpgt_epi8(symbols, zero);
            let ones_said = _mm256_cmpgt_epi8(zero, symbols);
            _mm256_blendv_epi8(ones_said, zeros_said, ones)
        }
    }

    #[inline(always)]
    fn lanes(self, v: __m256i) -> [u8; 64] {
        let mut lanes = [0; 64];
        // SAFETY: `self` proves AVX2; 32 octets of room are there.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), v) };
        lanes
    }
}

impl Lanes for Avx2Short {
    const N: usize = 16;
    type V = __m128i;

    #[inline(always)]
    fn splat(self, value: u8) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_set1_epi8(value as i8) }
    }

    #[inline(always)]
    fn add(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_adds_epu8(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_subs_epu8(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_min_epu8(a, b) }
    }

    #[inline(always)]
    fn mean(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_avg_epu8(a, b) }
    }

    #[inline(always)]
    fn add_symbols(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_adds_epi8(a, b) }
    }

    #[inline(always)]
    fn penalties(self, symbol: __m128i) -> [__m128i; 2] {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let zero = _mm_setzero_si128();
            [_mm_max_epi8(_mm_subs_epi8(zero, symbol), zero), _mm_max_epi8(symbol, zero)]
        }
    }

    #[inline(always)]
    fn difference(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let most = _mm_set1_epi8(127);
            let above = _mm_min_epu8(_mm_subs_epu8(a, b), most);
            _mm_sub_epi8(above, _mm_min_epu8(_mm_subs_epu8(b, a), most))
        }
    }

    #[inline(always)]
    fn three_quarters(self, symbol: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let magnitude = _mm_abs_epi8(symbol);
            let rounded = _mm_add_epi8(magnitude, _mm_set1_epi8(2));
            // Shifted by pairs of octets: what comes from the neighbour is masked out.
            let shifted = _mm_srli_epi16::<2>(rounded);
            let lost = _mm_and_si128(shifted, _mm_set1_epi8(0x3F));
            let less = _mm_sub_epi8(magnitude, lost);
            _mm_sign_epi8(less, symbol)
        }
    }

    #[inline(always)]
    fn negative(self, v: __m128i) -> u64 {
        // SAFETY: `self` proves AVX2.
        unsafe { u64::from(_mm_movemask_epi8(v) as u16) }
    }

    #[inline(always)]
    fn zip_low(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_unpacklo_epi8(a, b) }
    }

    #[inline(always)]
    fn zip_high(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_unpackhi_epi8(a, b) }
    }
}

impl States for Avx2Short {
    #[inline(always)]
    fn load(self, from: &[u8; 16]) -> __m128i {
        // SAFETY: 16 octets are there.
        unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn lanes(self, v: __m128i) -> [u8; 16] {
        let mut lanes = [0; 16];
        // SAFETY: 16 octets of room are there.
        unsafe { _mm_storeu_si128(lanes.as_mut_ptr().cast(), v) };
        lanes
    }

    #[inline(always)]
    fn pick(self, v: __m128i, places: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_shuffle_epi8(v, places) }
    }

    #[inline(always)]
    fn choose(self, choice: __m128i, zero: __m128i, one: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_blendv_epi8(zero, one, choice) }
    }
}
