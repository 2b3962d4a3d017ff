//! Polynomial products on PCLMULQDQ and VPCLMULQDQ.
//!
//! A *lane* is two words. With a = a₀ + a₁ x⁶⁴ and b likewise, a b = a₀b₀ + (a₀b₁ + a₁b₀) x⁶⁴ + a₁b₁ x¹²⁸; the three sums
//! are kept apart over all pairs of lanes whose product belongs to the same output lane, and put together once. Lanes
//! are taken around a circle that is either Q bits long or too long for a product to reach around it.
#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m128i, _mm_clmulepi64_si128, _mm_loadu_si128, _mm_setzero_si128, _mm_storeu_si128, _mm_xor_si128,
    _mm512_broadcast_i32x4, _mm512_clmulepi64_epi128, _mm512_loadu_si512, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use super::words;
use crate::isa::Isa;

/// Lanes of a vector.
const GROUP: usize = 4;

/// The instructions that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// PCLMULQDQ.
    One,
    /// VPCLMULQDQ with AVX-512 F.
    Four,
}

/// One lane sum: a₀b₀, a₀b₁ + a₁b₀ and a₁b₁.
type Sums = [[u64; 2 * GROUP]; 3];

/// The circulants, and which instructions multiply by them.
#[derive(Debug, Clone)]
pub(super) struct Multiplier {
    /// Invariant: this machine has the instructions.
    width: Width,
    inputs: usize,
    words: usize,
    /// Lanes of an input.
    lanes: usize,
    /// Lanes of the circle.
    circle: usize,
    /// `circulants[(output * inputs + input) * pitch..]`: the lanes of a first row, twice around the circle.
    circulants: Vec<[u64; 2]>,
    pitch: usize,
    /// The lanes of all inputs.
    vector: Vec<[u64; 2]>,
    sums: Vec<Sums>,
}

impl Multiplier {
    /// `rows[input][output]` as in [`super::CirculantMatrix::new`]; `None` where carry-less multiplication is no part of
    /// `isa` or of this machine.
    pub(super) fn new(q: usize, rows: &[Vec<Vec<u64>>], isa: Isa) -> Option<Multiplier> {
        let width = match isa {
            Isa::Avx512 if is_x86_feature_detected!("vpclmulqdq") => Width::Four,
            Isa::Avx2 | Isa::Avx512 if is_x86_feature_detected!("pclmulqdq") => Width::One,
            _ => return None,
        };
        let lanes = q.div_ceil(128);
        let circle = if q.is_multiple_of(128) { lanes } else { (2 * q - 1).div_ceil(128) };
        // Read from lane `lanes - 1 + p - t` on, p < circle rounded up to a group, t < lanes.
        let pitch = lanes - 1 + circle.next_multiple_of(GROUP);
        let mut circulants = Vec::new();
        for output in 0..rows.first().map_or(0, Vec::len) {
            for row in rows.iter().map(|row| &row[output]) {
                let word = |i: usize| row.get(i).copied().unwrap_or(0);
                let lane = |l: usize| [word(2 * l), word(2 * l + 1)];
                circulants.extend((0..pitch).map(|l| lane((l + circle * lanes + 1 - lanes) % circle)));
            }
        }
        Some(Multiplier {
            width,
            inputs: rows.len(),
            words: words(q),
            lanes,
            circle,
            circulants,
            pitch,
            vector: vec![[0; 2]; rows.len() * lanes],
            sums: vec![[[0; 2 * GROUP]; 3]; circle.div_ceil(GROUP)],
        })
    }

    /// `sum`, of at least two words more than twice a row, becomes output `output` of the product, not yet reduced if a
    /// product does not reach around the circle, else reduced with zeros behind.
    pub(super) fn multiply(&mut self, output: usize, vector: &[u64], sum: &mut [u64]) {
        if output == 0 {
            for (lanes, row) in self.vector.chunks_exact_mut(self.lanes).zip(vector.chunks_exact(self.words))
            {
                let word = |i: usize| row.get(i).copied().unwrap_or(0);
                lanes.iter_mut().enumerate().for_each(|(l, lane)| *lane = [word(2 * l), word(2 * l + 1)]);
            }
        }
        let size = self.inputs * self.pitch;
        let circulants = &self.circulants[output * size..][..size];
        for (group, sums) in self.sums.iter_mut().enumerate() {
            let first = self.lanes - 1 + GROUP * group;
            *sums = match self.width {
                // SAFETY: the machine has the instructions, by the invariant of `width`.
                Width::Four => unsafe { four(&self.vector, circulants, self.lanes, self.pitch, first) },
                // SAFETY: as above.
                Width::One => unsafe { one(&self.vector, circulants, self.lanes, self.pitch, first) },
            };
        }
        let part = |which: usize, lane: usize| {
            let sums = &self.sums[lane / GROUP][which];
            (sums[2 * (lane % GROUP)], sums[2 * (lane % GROUP) + 1])
        };
        sum.fill(0);
        for lane in 0..self.circle {
            let before = (lane + self.circle - 1) % self.circle;
            let (low, middle, high) = (part(0, lane), part(1, lane), part(2, before));
            sum[2 * lane] = low.0 ^ part(1, before).1 ^ high.0;
            sum[2 * lane + 1] = low.1 ^ middle.0 ^ high.1;
        }
    }
}

/// The sums of four output lanes; their products begin `first - t` lanes into each circulant, t counting the vector's.
#[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq")]
fn four(vector: &[[u64; 2]], circulants: &[[u64; 2]], lanes: usize, pitch: usize, first: usize) -> Sums {
    let zero = _mm512_setzero_si512();
    let (mut low, mut middle, mut high) = (zero, zero, zero);
    for (input, circulant) in vector.chunks_exact(lanes).zip(circulants.chunks_exact(pitch)) {
        let windows = circulant[first + 1 - lanes..first + GROUP].windows(GROUP).rev();
        for (a, b) in input.iter().zip(windows) {
            // SAFETY: `a` has 16 octets, `b` 64.
            let (a, b) = unsafe {
                let a = _mm_loadu_si128(a.as_ptr().cast::<__m128i>());
                (_mm512_broadcast_i32x4(a), _mm512_loadu_si512(b.as_ptr().cast()))
            };
            low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128::<0x00>(a, b));
            high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128::<0x11>(a, b));
            // The sum of three.
            middle = _mm512_ternarylogic_epi64::<0x96>(
                middle,
                _mm512_clmulepi64_epi128::<0x01>(a, b),
                _mm512_clmulepi64_epi128::<0x10>(a, b),
            );
        }
    }
    let mut sums = [[0; 2 * GROUP]; 3];
    for (sums, value) in sums.iter_mut().zip([low, middle, high]) {
        // SAFETY: a sum has 64 octets.
        unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), value) }
    }
    sums
}

/// [`four`] on 128-bit registers.
#[target_feature(enable = "pclmulqdq")]
fn one(vector: &[[u64; 2]], circulants: &[[u64; 2]], lanes: usize, pitch: usize, first: usize) -> Sums {
    let mut sums = [[0; 2 * GROUP]; 3];
    for lane in 0..GROUP {
        let zero = _mm_setzero_si128();
        let (mut low, mut middle, mut high) = (zero, zero, zero);
        for (input, circulant) in vector.chunks_exact(lanes).zip(circulants.chunks_exact(pitch)) {
            let reversed = circulant[first + lane + 1 - lanes..first + lane + 1].iter().rev();
            for (a, b) in input.iter().zip(reversed) {
                // SAFETY: both have 16 octets.
                let (a, b) = unsafe {
                    (
                        _mm_loadu_si128(a.as_ptr().cast::<__m128i>()),
                        _mm_loadu_si128(b.as_ptr().cast::<__m128i>()),
                    )
                };
                low = _mm_xor_si128(low, _mm_clmulepi64_si128::<0x00>(a, b));
                high = _mm_xor_si128(high, _mm_clmulepi64_si128::<0x11>(a, b));
                let cross =
                    _mm_xor_si128(_mm_clmulepi64_si128::<0x01>(a, b), _mm_clmulepi64_si128::<0x10>(a, b));
                middle = _mm_xor_si128(middle, cross);
            }
        }
        for (sums, value) in sums.iter_mut().zip([low, middle, high]) {
            let words = &mut sums[2 * lane..2 * lane + 2];
            // SAFETY: two words have 16 octets.
            unsafe { _mm_storeu_si128(words.as_mut_ptr().cast::<__m128i>(), value) }
        }
    }
    sums
}
