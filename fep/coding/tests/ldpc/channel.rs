//! A channel: octets to soft symbols, with Gaussian noise.

use fep_coding::ldpc::{LdpcEncoder, LdpcSpec};

/// A cheap generator, so that proptest shrinks what matters: the parameters.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Two independent normal values of variance 1.
    pub(crate) fn gauss(&mut self) -> [f32; 2] {
        let mut uniform = || ((self.next() >> 40) as f32 + 0.5) / (1u32 << 24) as f32;
        let radius = (-2.0 * uniform().ln()).sqrt();
        let (sine, cosine) = (std::f32::consts::TAU * uniform()).sin_cos();
        [radius * cosine, radius * sine]
    }
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
        let gauss = noise.gauss();
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
