//! The layered kernel on AVX2: 32 lanes. Wrappers only.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::kernel::LayeredKernel;
use super::lanes::Lanes;
use crate::isa::{Isa, IsaUnavailable};
use crate::ldpc::gang::{self, Job};

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
        gang::decode(kernel, job);
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
