//! The layered kernel on AVX-512: 64 lanes. Wrappers only.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::kernel::LayeredKernel;
use super::lanes::Lanes;
use crate::isa::{Isa, IsaUnavailable};
use crate::ldpc::gang::{self, Job};

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
        gang::decode(kernel, job);
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
