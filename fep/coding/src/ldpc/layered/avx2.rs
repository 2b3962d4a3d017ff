//! The layered kernel on AVX2: 32 lanes. Wrappers only.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::kernel::LayeredKernel;
use super::lanes::Lanes;
use crate::isa::{Isa, IsaUnavailable};
use crate::ldpc::gang::{self, Job};
use crate::ldpc::hard::Words;

/// Proof that the machine has every instruction of [`Isa::Avx2`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn new() -> Result<Avx2, IsaUnavailable> {
        Isa::Avx2.require().map(|_| Avx2(()))
    }
}

/// [`gang::decode`], compiled for this set.
pub(super) fn decode(kernel: &mut LayeredKernel<Avx2>, job: Job<'_>) {
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    fn compiled(kernel: &mut LayeredKernel<Avx2>, job: Job<'_>) {
        gang::decode(kernel, kernel.lanes(), job);
    }
    // SAFETY: the kernel holds an `Avx2`, which exists only on machines with these features.
    unsafe { compiled(kernel, job) }
}

/// The numbers of the lanes.
const NUMBERS: [i8; 32] = {
    let mut numbers = [0; 32];
    let mut i = 0;
    while i < 32 {
        numbers[i] = i as i8;
        i += 1;
    }
    numbers
};

impl Lanes for Avx2 {
    const N: usize = 32;

    type V = __m256i;

    #[inline(always)]
    fn load(self, from: &[i8], at: usize) -> __m256i {
        let octets = &from[at..at + 32];
        // SAFETY: 32 octets are there.
        unsafe { _mm256_loadu_si256(octets.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [i8], at: usize, v: __m256i) {
        let octets = &mut to[at..at + 32];
        // SAFETY: 32 octets of room are there.
        unsafe { _mm256_storeu_si256(octets.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn splat(self, octet: u8) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_set1_epi8(octet as i8) }
    }

    #[inline(always)]
    fn first(self, count: usize) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_cmpgt_epi8(self.splat(count as u8), self.load(&NUMBERS, 0)) }
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_adds_epi8(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_subs_epi8(a, b) }
    }

    #[inline(always)]
    fn magnitude(self, v: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_abs_epi8(v) }
    }

    #[inline(always)]
    fn min(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_min_epu8(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_max_epu8(a, b) }
    }

    #[inline(always)]
    fn less(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_subs_epu8(a, b) }
    }

    #[inline(always)]
    fn quarter(self, v: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_and_si256(_mm256_srli_epi16::<2>(v), self.splat(0x3F)) }
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn if_equal(self, a: __m256i, b: __m256i, yes: __m256i, no: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_blendv_epi8(no, yes, _mm256_cmpeq_epi8(a, b)) }
    }

    #[inline(always)]
    fn negate_if(self, v: __m256i, sign: __m256i) -> __m256i {
        // VPSIGNB clears lanes whose sign is that of zero: a one in the lowest bit changes no sign and makes none zero.
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_sign_epi8(v, _mm256_or_si256(sign, _mm256_set1_epi8(1))) }
    }

    #[inline(always)]
    fn any_negative(self, v: __m256i) -> bool {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_movemask_epi8(v) != 0 }
    }
}

impl Words for Avx2 {
    const WORDS: usize = 4;

    type W = __m256i;

    #[inline(always)]
    fn signs(self, symbols: &[i8; 64]) -> u64 {
        let half = |at| {
            // SAFETY: `self` proves the instructions.
            unsafe { _mm256_movemask_epi8(self.load(symbols, at)) as u32 }
        };
        u64::from(half(0)) | u64::from(half(32)) << 32
    }

    #[inline(always)]
    fn octets(self, symbols: &[i8; 64]) -> [u8; 8] {
        let half = |at| {
            // SAFETY: `self` proves the instructions.
            unsafe {
                let turned = _mm_set_epi64x(0x0809_0A0B_0C0D_0E0F, 0x0001_0203_0405_0607);
                let turned = _mm256_broadcastsi128_si256(turned);
                _mm256_movemask_epi8(_mm256_shuffle_epi8(self.load(symbols, at), turned)) as u32
            }
        };
        (u64::from(half(0)) | u64::from(half(32)) << 32).to_le_bytes()
    }

    #[inline(always)]
    fn wrong(self, symbols: &[i8; 64], beliefs: &[i8; 64]) -> u64 {
        let half = |at| {
            let symbols = self.load(symbols, at);
            // SAFETY: `self` proves the instructions.
            unsafe {
                let differ = _mm256_xor_si256(symbols, self.load(beliefs, at));
                let erased = _mm256_cmpeq_epi8(symbols, _mm256_setzero_si256());
                _mm256_movemask_epi8(_mm256_andnot_si256(erased, differ)) as u32
            }
        };
        u64::from(half(0)) | u64::from(half(32)) << 32
    }

    #[inline(always)]
    fn magnitudes(self, symbols: &[i8; 64]) -> u32 {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let zero = _mm256_setzero_si256();
            let half = |at| _mm256_sad_epu8(self.magnitude(self.load(symbols, at)), zero);
            let sums = _mm256_add_epi64(half(0), half(32));
            let sums = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            (_mm_cvtsi128_si64(sums) + _mm_extract_epi64::<1>(sums)) as u32
        }
    }

    #[inline(always)]
    fn window(self, bits: &[u64], at: usize, shift: u64) -> __m256i {
        let words = &bits[at..at + 5];
        // SAFETY: five words are there, and `self` proves the instructions. A shift by 64 gives zeros.
        unsafe {
            let low = _mm256_loadu_si256(words.as_ptr().cast());
            let high = _mm256_loadu_si256(words.as_ptr().add(1).cast());
            let down = _mm_cvtsi64_si128(shift as i64);
            let up = _mm_cvtsi64_si128(64 - shift as i64);
            _mm256_or_si256(_mm256_srl_epi64(low, down), _mm256_sll_epi64(high, up))
        }
    }

    #[inline(always)]
    fn sum(self, a: __m256i, b: __m256i) -> __m256i {
        self.xor(a, b)
    }

    #[inline(always)]
    fn put(self, to: &mut [u64], at: usize, w: __m256i) {
        let words = &mut to[at..at + 4];
        // SAFETY: four words of room are there.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), w) }
    }

    #[inline(always)]
    fn any(self, w: __m256i, mask: &[u64; 8]) -> bool {
        // SAFETY: the mask has four words, and `self` proves the instructions.
        unsafe { _mm256_testz_si256(w, _mm256_loadu_si256(mask.as_ptr().cast())) == 0 }
    }
}
