//! The CRC engine on PCLMULQDQ: 64 octets a step folded in four 128-bit lanes.
//!
//! A lane A = H·x⁶⁴ + L is moved up by D bits as H·(x^(64+D) mod P) + L·(x^D mod P), which keeps its remainder. The
//! message is put behind zeros to a multiple of 16 octets: leading zeros change no remainder once the preset is xor-ed
//! over the first four octets.
#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m128i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_set_epi8, _mm_set_epi64x,
    _mm_shuffle_epi8, _mm_srli_si128, _mm_xor_si128,
};

use super::table::Polynomial;

/// Below this a fold costs more than the tables.
const SHORTEST: usize = 32;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("ssse3")
}

/// The register after `data`, started at `preset`. Only called where [`is_available`].
pub(super) fn checksum(polynomial: &Polynomial, preset: u32, data: &[u8]) -> u32 {
    debug_assert!(is_available());
    if data.len() < SHORTEST {
        return polynomial.update(preset, data);
    }
    // SAFETY: `Kernel::Clmul` is only made where `is_available()` held.
    let remainder = unsafe { fold(polynomial, preset, data) };
    polynomial.reduce(remainder)
}

/// A 64-bit value with the same remainder as `data` whose first four octets are xor-ed with `preset`.
#[target_feature(enable = "pclmulqdq,ssse3")]
fn fold(polynomial: &Polynomial, preset: u32, data: &[u8]) -> u64 {
    // The first, ragged octets and 16 more, right-aligned behind zeros.
    let ragged = data.len() % 16;
    let mut head = [0u8; 32];
    head[16 - ragged..].copy_from_slice(&data[..16 + ragged]);
    for (octet, preset) in head[16 - ragged..].iter_mut().zip(preset.to_be_bytes()) {
        *octet ^= preset;
    }
    let by_128 = constants(polynomial.folding.by_128);
    let by_512 = constants(polynomial.folding.by_512);
    let mut sum = _mm_xor_si128(move_up(load(&head, 0), by_128), load(&head, 16));

    let body = &data[16 + ragged..];
    let blocks = body.chunks_exact(64);
    let rest = blocks.remainder();
    if body.len() >= 64 {
        let zero = _mm_set_epi64x(0, 0);
        // The lanes of the first step are: nothing, nothing, nothing, the head.
        let mut lanes = [zero, zero, zero, sum];
        for block in blocks {
            for (k, lane) in lanes.iter_mut().enumerate() {
                *lane = _mm_xor_si128(move_up(*lane, by_512), load(block, 16 * k));
            }
        }
        sum = lanes[0];
        for lane in &lanes[1..] {
            sum = _mm_xor_si128(move_up(sum, by_128), *lane);
        }
    }
    for offset in (0..rest.len()).step_by(16) {
        sum = _mm_xor_si128(move_up(sum, by_128), load(rest, offset));
    }

    // 128 bits to 96, then to 64.
    let x64 = constants([polynomial.folding.x64, 0]);
    let low = |value: __m128i| _mm_set_epi64x(0, _mm_cvtsi128_si64(value));
    let high = |value: __m128i| _mm_srli_si128::<8>(value);
    let sum = _mm_xor_si128(_mm_clmulepi64_si128::<0x00>(high(sum), x64), low(sum));
    let sum = _mm_xor_si128(_mm_clmulepi64_si128::<0x00>(high(sum), x64), low(sum));
    _mm_cvtsi128_si64(sum) as u64
}

#[target_feature(enable = "pclmulqdq,ssse3")]
fn constants([low, high]: [u64; 2]) -> __m128i {
    _mm_set_epi64x(high as i64, low as i64)
}

/// Moves `lane` up by the distance that `by` stands for.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn move_up(lane: __m128i, by: __m128i) -> __m128i {
    _mm_xor_si128(_mm_clmulepi64_si128::<0x11>(lane, by), _mm_clmulepi64_si128::<0x00>(lane, by))
}

/// Sixteen octets, the first one in the highest place.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn load(octets: &[u8], offset: usize) -> __m128i {
    let octets: &[u8] = &octets[offset..offset + 16];
    // SAFETY: the slice has 16 octets; the load needs no alignment.
    let value = unsafe { _mm_loadu_si128(octets.as_ptr().cast()) };
    _mm_shuffle_epi8(value, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
}
