//! A channel: noise on soft symbols, and small tools of the tests.

use fep_coding::Isa;
use fep_coding::conv::{ConvEncoder, ConvRate, ConvSpec, ViterbiDecoder};

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

    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Normal, of variance 1.
    pub(crate) fn gauss(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Standard deviation of the noise on symbols of amplitude 1 at `eb_n0_db`.
pub(crate) fn sigma(rate: ConvRate, eb_n0_db: f64) -> f64 {
    (1.0 / (2.0 * rate.ratio() * 10f64.powf(eb_n0_db / 10.0))).sqrt()
}

/// `data` encoded, every symbol +1 or -1.
pub(crate) fn encoded(spec: &ConvSpec, data: &[u8]) -> Vec<i8> {
    let mut encoder = ConvEncoder::new(spec).expect("a valid specification");
    let mut symbols = Vec::new();
    encoder.push_soft(data, 1, &mut symbols);
    encoder.finish_soft(1, &mut symbols);
    symbols
}

/// The symbols with Gaussian noise, 1.0 becoming `amplitude`.
pub(crate) fn noisy(symbols: &[i8], sigma: f64, amplitude: f64, noise: &mut Noise) -> Vec<i8> {
    symbols
        .iter()
        .map(|symbol| ((f64::from(*symbol) + sigma * noise.gauss()) * amplitude).round() as i8)
        .collect()
}

/// The whole stream decoded in one call, and the number of bits.
pub(crate) fn decoded(spec: &ConvSpec, isa: Isa, symbols: &[i8]) -> (Vec<u8>, u64) {
    let mut decoder = ViterbiDecoder::with_isa(spec, isa).expect("a valid specification");
    let mut bits = Vec::new();
    decoder.push(symbols, &mut bits);
    let count = decoder.finish(&mut bits);
    (bits, count)
}

/// In how many bits the octets differ.
pub(crate) fn bit_errors(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}
