//! A channel: octets to soft symbols, with Gaussian noise.

use fep_coding::ldpc::{LdpcEncoder, LdpcSpec};

pub(crate) use crate::noise::Noise;

/// Two independent normal values of variance 1, fast.
fn gauss(noise: &mut Noise) -> [f32; 2] {
    let mut uniform = || ((noise.next() >> 40) as f32 + 0.5) / (1u32 << 24) as f32;
    let radius = (-2.0 * uniform().ln()).sqrt();
    let (sine, cosine) = (std::f32::consts::TAU * uniform()).sin_cos();
    [radius * cosine, radius * sine]
}

pub(crate) fn codeword(spec: LdpcSpec, information: &[u8]) -> Vec<u8> {
    let mut codeword = vec![0; spec.codeword_len()];
    LdpcEncoder::new(spec).encode(information, &mut codeword);
    codeword
}

pub(crate) fn bit(octets: &[u8], i: usize) -> u8 {
    octets[i / 8] >> (7 - i % 8) & 1
}

/// Every bit as a soft symbol of this magnitude.
pub(crate) fn symbols(octets: &[u8], magnitude: i8) -> Vec<i8> {
    (0..8 * octets.len()).map(|i| if bit(octets, i) == 0 { magnitude } else { -magnitude }).collect()
}

/// What a receiver sees of `octets` sent as ±1 in noise of standard deviation `sigma`.
pub(crate) fn received(octets: &[u8], sigma: f32, noise: &mut Noise) -> Vec<f32> {
    let mut received = Vec::with_capacity(8 * octets.len());
    for i in (0..8 * octets.len()).step_by(2) {
        let gauss = gauss(noise);
        received.extend([0, 1].map(|j| 1.0 - 2.0 * f32::from(bit(octets, i + j)) + sigma * gauss[j]));
    }
    received
}

/// Standard deviation of the noise per symbol at an Eb/N0 in decibels.
pub(crate) fn sigma(spec: LdpcSpec, eb_n0_db: f64) -> f64 {
    let rate = spec.information_bits() as f64 / spec.codeword_bits() as f64;
    (0.5 / (rate * 10f64.powf(eb_n0_db / 10.0))).sqrt()
}

/// As a demodulator quantises: 8 bits, 1.0 at `scale`.
pub(crate) fn quantised(received: &[f32], scale: f32) -> Vec<i8> {
    received.iter().map(|value| (value * scale).round().clamp(-127.0, 127.0) as i8).collect()
}
