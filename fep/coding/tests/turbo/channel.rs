//! Frames, noise, and what a demodulator makes of codewords.

use fep_coding::turbo::{TurboEncoder, TurboSpec};

pub(crate) use crate::noise::Noise;

pub(crate) fn codeword(spec: TurboSpec, frame: &[u8]) -> Vec<u8> {
    let mut codeword = vec![0; spec.codeword_len()];
    TurboEncoder::new(spec).expect("a code of the standard").encode(frame, &mut codeword);
    codeword
}

pub(crate) fn bit(octets: &[u8], i: usize) -> u8 {
    octets[i / 8] >> (7 - i % 8) & 1
}

/// Standard deviation of the noise on symbols of amplitude 1 at an Eb/N0; the tail counts as overhead.
pub(crate) fn deviation(spec: TurboSpec, eb_n0_db: f64) -> f64 {
    let rate = spec.information_bits as f64 / spec.codeword_bits() as f64;
    (1.0 / (2.0 * rate * 10f64.powf(eb_n0_db / 10.0))).sqrt()
}

/// What is received of a codeword: a 0 as 1, a 1 as -1, with noise.
pub(crate) fn received(spec: TurboSpec, codeword: &[u8], deviation: f64, noise: &mut Noise) -> Vec<f64> {
    let mut pairs = std::iter::repeat_with(|| noise.gauss_pair()).flatten();
    (0..spec.codeword_bits())
        .map(|i| 1.0 - 2.0 * f64::from(bit(codeword, i)) + deviation * pairs.next().unwrap_or(0.0))
        .collect()
}

/// Soft symbols as a demodulator gives them: 24 for the amplitude.
pub(crate) fn quantised(received: &[f64]) -> Vec<i8> {
    received.iter().map(|value| (24.0 * value).round().clamp(-127.0, 127.0) as i8).collect()
}

pub(crate) fn hard(octets: &[u8], bits: usize, magnitude: i8) -> Vec<i8> {
    (0..bits).map(|i| if bit(octets, i) == 0 { magnitude } else { -magnitude }).collect()
}
