//! The batch kernel on AVX-512: 64 codewords. Wrappers only.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::batch::Batch;
use super::decoder::TurboDecoding;
use super::lanes::{Codewords, Lanes};
use super::schedule::Code;
use super::siso::{self, Scratch};
use crate::isa::{Isa, IsaUnavailable};
use crate::soft::SoftVerdict;

/// Proof that the machine has every instruction of [`Isa::Avx512`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn new() -> Result<Avx512, IsaUnavailable> {
        Isa::Avx512.require().map(|_| Avx512(()))
    }

    /// [`Batch::new`], compiled for this set.
    pub(super) fn batch(self, code: &Code) -> Batch<Avx512> {
        #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
        fn compiled(lanes: Avx512, code: &Code) -> Batch<Avx512> {
            Batch::new(lanes, code)
        }
        // SAFETY: `self` proves these features.
        unsafe { compiled(self, code) }
    }
}

/// [`siso::decode`] of a batch, compiled for this set.
pub(super) fn decode(
    batch: &mut Batch<Avx512>,
    code: &Code,
    decoding: TurboDecoding,
    scratch: &mut Scratch,
    symbols: &[i8],
    frames: &mut [u8],
    verdicts: &mut [SoftVerdict],
) {
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
    fn compiled(
        batch: &mut Batch<Avx512>,
        code: &Code,
        decoding: TurboDecoding,
        scratch: &mut Scratch,
        symbols: &[i8],
        frames: &mut [u8],
        verdicts: &mut [SoftVerdict],
    ) {
        siso::decode(batch, code, decoding, scratch, symbols, frames, verdicts);
    }
    // SAFETY: the batch holds an `Avx512`, which exists only on machines with these features.
    unsafe { compiled(batch, code, decoding, scratch, symbols, frames, verdicts) }
}

impl Lanes for Avx512 {
    const N: usize = 64;
    type V = __m512i;

    #[inline(always)]
    fn splat(self, value: u8) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_set1_epi8(value as i8) }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_adds_epu8(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_subs_epu8(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_min_epu8(a, b) }
    }

    #[inline(always)]
    fn mean(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_avg_epu8(a, b) }
    }

    #[inline(always)]
    fn add_symbols(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_adds_epi8(a, b) }
    }

    #[inline(always)]
    fn penalties(self, symbol: __m512i) -> [__m512i; 2] {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe {
            let zero = _mm512_setzero_si512();
            [_mm512_max_epi8(_mm512_subs_epi8(zero, symbol), zero), _mm512_max_epi8(symbol, zero)]
        }
    }

    #[inline(always)]
    fn difference(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe {
            let most = _mm512_set1_epi8(127);
            let above = _mm512_min_epu8(_mm512_subs_epu8(a, b), most);
            _mm512_sub_epi8(above, _mm512_min_epu8(_mm512_subs_epu8(b, a), most))
        }
    }

    #[inline(always)]
    fn three_quarters(self, symbol: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe {
            let magnitude = _mm512_abs_epi8(symbol);
            let rounded = _mm512_add_epi8(magnitude, _mm512_set1_epi8(2));
            // Shifted by pairs of octets: what comes from the neighbour is masked out.
            let shifted = _mm512_srli_epi16::<2>(rounded);
            let lost = _mm512_and_si512(shifted, _mm512_set1_epi8(0x3F));
            let less = _mm512_sub_epi8(magnitude, lost);
            _mm512_mask_sub_epi8(less, _mm512_movepi8_mask(symbol), _mm512_setzero_si512(), less)
        }
    }

    #[inline(always)]
    fn negative(self, v: __m512i) -> u64 {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_movepi8_mask(v) }
    }

    #[inline(always)]
    fn zip_low(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_unpacklo_epi8(a, b) }
    }

    #[inline(always)]
    fn zip_high(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_unpackhi_epi8(a, b) }
    }
}

impl Codewords for Avx512 {
    #[inline(always)]
    fn load_sixteens(self, from: &[i8], at: usize, pitch: usize) -> __m512i {
        let sixteen = |k: usize| {
            let octets = &from[at + k * pitch..][..16];
            // SAFETY: 16 octets are there.
            unsafe { _mm_loadu_si128(octets.as_ptr().cast()) }
        };
        // SAFETY: `self` proves AVX-512 F.
        unsafe {
            let low = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(sixteen(0)), sixteen(1));
            _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(low, sixteen(2)), sixteen(3))
        }
    }

    #[inline(always)]
    fn contradicted(self, symbols: __m512i, ones: u64) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe {
            let zeros_said = _mm512_cmpgt_epi8_mask(symbols, _mm512_setzero_si512());
            let ones_said = _mm512_movepi8_mask(symbols);
            _mm512_movm_epi8(zeros_said & ones | ones_said & !ones)
        }
    }

    #[inline(always)]
    fn lanes(self, v: __m512i) -> [u8; 64] {
        let mut lanes = [0; 64];
        // SAFETY: `self` proves AVX-512 F; 64 octets of room are there.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), v) };
        lanes
    }
}
