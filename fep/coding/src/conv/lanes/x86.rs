//! The lanes of AVX2 (two vectors of 32) and of AVX-512 (one of 64). Wrappers only.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Lanes, Octets};

/// One instruction of a set: safe, since a `self` exists only where the set does.
macro_rules! instruction {
    ($call:expr) => {
        // SAFETY: a value of the type is made only in `decode`, on a machine that has the instructions; it touches
        // nothing but its operands.
        unsafe { $call }
    };
}

/// [`super::batch::Batch::decode`], compiled for one set.
macro_rules! entry {
    ($lanes:expr, $features:literal) => {
        pub(in crate::conv::lanes) fn decode(
            batch: &mut crate::conv::lanes::batch::Batch,
            pairs: &[i8],
            stride: usize,
            words: &mut [u64],
            tallies: &mut [crate::conv::window::Tally],
        ) {
            #[target_feature(enable = $features)]
            fn compiled(
                batch: &mut crate::conv::lanes::batch::Batch,
                pairs: &[i8],
                stride: usize,
                words: &mut [u64],
                tallies: &mut [crate::conv::window::Tally],
            ) {
                batch.decode($lanes, pairs, stride, words, tallies);
            }
            // SAFETY: only reached through a `Lanes64`, whose `isa` was found on this machine.
            unsafe { compiled(batch, pairs, stride, words, tallies) }
        }
    };
}

pub(super) mod avx2 {
    use super::*;

    #[derive(Debug, Clone, Copy)]
    struct Avx2;

    entry!(Avx2, "avx2,bmi1,bmi2,popcnt");

    impl Lanes for Avx2 {
        const N: usize = 32;
        type V = __m256i;

        #[inline(always)]
        fn load(self, from: &Octets, part: usize) -> __m256i {
            let lanes = &from.0[part % 2 * 32..][..32];
            instruction!(_mm256_load_si256(lanes.as_ptr().cast()))
        }
        #[inline(always)]
        fn store(self, to: &mut Octets, part: usize, v: __m256i) {
            let lanes = &mut to.0[part % 2 * 32..][..32];
            instruction!(_mm256_store_si256(lanes.as_mut_ptr().cast(), v))
        }
        #[inline(always)]
        fn zero(self) -> __m256i {
            instruction!(_mm256_setzero_si256())
        }
        #[inline(always)]
        fn add(self, a: __m256i, b: __m256i) -> __m256i {
            instruction!(_mm256_add_epi8(a, b))
        }
        #[inline(always)]
        fn sub(self, a: __m256i, b: __m256i) -> __m256i {
            instruction!(_mm256_sub_epi8(a, b))
        }
        #[inline(always)]
        fn max_signed(self, a: __m256i, b: __m256i) -> __m256i {
            instruction!(_mm256_max_epi8(a, b))
        }
        #[inline(always)]
        fn min(self, a: __m256i, b: __m256i) -> __m256i {
            instruction!(_mm256_min_epu8(a, b))
        }
        #[inline(always)]
        fn select(self, a: __m256i, b: __m256i) -> (__m256i, u64) {
            let smaller = self.min(a, b);
            let first = instruction!(_mm256_movemask_epi8(_mm256_cmpeq_epi8(smaller, a)));
            (smaller, u64::from(!first as u32))
        }
        #[inline(always)]
        fn negative(self, v: __m256i) -> u64 {
            u64::from(instruction!(_mm256_movemask_epi8(v)) as u32)
        }
        #[inline(always)]
        fn nonzero(self, v: __m256i) -> u64 {
            u64::from(!instruction!(_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, self.zero()))) as u32)
        }
    }
}

pub(super) mod avx512 {
    use super::*;

    #[derive(Debug, Clone, Copy)]
    struct Avx512;

    entry!(Avx512, "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,gfni");

    impl Lanes for Avx512 {
        const N: usize = 64;
        type V = __m512i;

        #[inline(always)]
        fn load(self, from: &Octets, _part: usize) -> __m512i {
            instruction!(_mm512_load_si512(from.0.as_ptr().cast()))
        }
        #[inline(always)]
        fn store(self, to: &mut Octets, _part: usize, v: __m512i) {
            instruction!(_mm512_store_si512(to.0.as_mut_ptr().cast(), v))
        }
        #[inline(always)]
        fn zero(self) -> __m512i {
            instruction!(_mm512_setzero_si512())
        }
        #[inline(always)]
        fn add(self, a: __m512i, b: __m512i) -> __m512i {
            instruction!(_mm512_add_epi8(a, b))
        }
        #[inline(always)]
        fn sub(self, a: __m512i, b: __m512i) -> __m512i {
            instruction!(_mm512_sub_epi8(a, b))
        }
        #[inline(always)]
        fn max_signed(self, a: __m512i, b: __m512i) -> __m512i {
            instruction!(_mm512_max_epi8(a, b))
        }
        #[inline(always)]
        fn min(self, a: __m512i, b: __m512i) -> __m512i {
            instruction!(_mm512_min_epu8(a, b))
        }
        #[inline(always)]
        fn select(self, a: __m512i, b: __m512i) -> (__m512i, u64) {
            (self.min(a, b), instruction!(_mm512_cmplt_epu8_mask(b, a)))
        }
        #[inline(always)]
        fn negative(self, v: __m512i) -> u64 {
            instruction!(_mm512_movepi8_mask(v))
        }
        #[inline(always)]
        fn nonzero(self, v: __m512i) -> u64 {
            instruction!(_mm512_test_epi8_mask(v, v))
        }
    }
}
