//! A channel: noise on soft symbols, and small tools of the tests.

use fep_coding::Isa;
use fep_coding::conv::{ConvEncoder, ConvRate, ConvSpec, ViterbiDecoder};

pub(crate) use crate::noise::Noise;

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
