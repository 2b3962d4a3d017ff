//! The layered kernel on AVX-512: 64 lanes. Wrappers only.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::kernel::LayeredKernel;
use super::lanes::Lanes;
use crate::isa::{Isa, IsaUnavailable};
use crate::ldpc::gang::{self, Job};
use crate::ldpc::hard::Words;

/// Proof that the machine has every instruction of [`Isa::Avx512`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn new() -> Result<Avx512, IsaUnavailable> {
        Isa::Avx512.require().map(|_| Avx512(()))
    }
}

/// [`gang::decode`], compiled for this set.
pub(super) fn decode(kernel: &mut LayeredKernel<Avx512>, job: Job<'_>) {
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,gfni,avx2,bmi1,bmi2,popcnt"
    )]
    fn compiled(kernel: &mut LayeredKernel<Avx512>, job: Job<'_>) {
        gang::decode(kernel, kernel.lanes(), job);
    }
    // SAFETY: the kernel holds an `Avx512`, which exists only on machines with these features.
    unsafe { compiled(kernel, job) }
}

/// The numbers of the lanes.
const NUMBERS: [i8; 64] = {
    let mut numbers = [0; 64];
    let mut i = 0;
    while i < 64 {
        numbers[i] = i as i8;
        i += 1;
    }
    numbers
};

impl Lanes for Avx512 {
    const N: usize = 64;

    type V = __m512i;

    #[inline(always)]
    fn load(self, from: &[i8], at: usize) -> __m512i {
        let octets = &from[at..at + 64];
        // SAFETY: 64 octets are there.
        unsafe { _mm512_loadu_si512(octets.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [i8], at: usize, v: __m512i) {
        let octets = &mut to[at..at + 64];
        // SAFETY: 64 octets of room are there.
        unsafe { _mm512_storeu_si512(octets.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn splat(self, octet: u8) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_set1_epi8(octet as i8) }
    }

    #[inline(always)]
    fn first(self, count: usize) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_movm_epi8(_mm512_cmplt_epi8_mask(self.load(&NUMBERS, 0), self.splat(count as u8))) }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_adds_epi8(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_subs_epi8(a, b) }
    }

    #[inline(always)]
    fn magnitude(self, v: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_abs_epi8(v) }
    }

    #[inline(always)]
    fn min(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_min_epu8(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_max_epu8(a, b) }
    }

    #[inline(always)]
    fn less(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_subs_epu8(a, b) }
    }

    #[inline(always)]
    fn quarter(self, v: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<2>(v), self.splat(0x3F)) }
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn if_equal(self, a: __m512i, b: __m512i, yes: __m512i, no: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_mask_blend_epi8(_mm512_cmpeq_epi8_mask(a, b), no, yes) }
    }

    #[inline(always)]
    fn negate_if(self, v: __m512i, sign: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_mask_sub_epi8(v, _mm512_movepi8_mask(sign), _mm512_setzero_si512(), v) }
    }

    #[inline(always)]
    fn any_negative(self, v: __m512i) -> bool {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_movepi8_mask(v) != 0 }
    }
}

impl Words for Avx512 {
    const WORDS: usize = 8;

    type W = __m512i;

    #[inline(always)]
    fn signs(self, symbols: &[i8; 64]) -> u64 {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_movepi8_mask(self.load(symbols, 0)) }
    }

    #[inline(always)]
    fn octets(self, symbols: &[i8; 64]) -> [u8; 8] {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let turned = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0809_0A0B_0C0D_0E0F, 0x0001_0203_0405_0607));
            _mm512_movepi8_mask(_mm512_shuffle_epi8(self.load(symbols, 0), turned)).to_le_bytes()
        }
    }

    #[inline(always)]
    fn wrong(self, symbols: &[i8; 64], beliefs: &[i8; 64]) -> u64 {
        let symbols = self.load(symbols, 0);
        let differ = self.xor(symbols, self.load(beliefs, 0));
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_movepi8_mask(differ) & _mm512_test_epi8_mask(symbols, symbols) }
    }

    #[inline(always)]
    fn magnitudes(self, symbols: &[i8; 64]) -> u32 {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let sums = _mm512_sad_epu8(self.magnitude(self.load(symbols, 0)), _mm512_setzero_si512());
            _mm512_reduce_add_epi64(sums) as u32
        }
    }

    #[inline(always)]
    fn window(self, bits: &[u64], at: usize, shift: u64) -> __m512i {
        let words = &bits[at..at + 9];
        // SAFETY: nine words are there, and `self` proves the instructions.
        unsafe {
            let low = _mm512_loadu_si512(words.as_ptr().cast());
            let high = _mm512_loadu_si512(words.as_ptr().add(1).cast());
            _mm512_shrdv_epi64(low, high, _mm512_set1_epi64(shift as i64))
        }
    }

    #[inline(always)]
    fn sum(self, a: __m512i, b: __m512i) -> __m512i {
        self.xor(a, b)
    }

    #[inline(always)]
    fn put(self, to: &mut [u64], at: usize, w: __m512i) {
        let words = &mut to[at..at + 8];
        // SAFETY: eight words of room are there.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), w) }
    }

    #[inline(always)]
    fn any(self, w: __m512i, mask: &[u64; 8]) -> bool {
        // SAFETY: the mask is a vector, and `self` proves the instructions.
        unsafe { _mm512_test_epi64_mask(w, _mm512_loadu_si512(mask.as_ptr().cast())) != 0 }
    }
}
