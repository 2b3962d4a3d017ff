//! Symbols in Gaussian noise.

pub(crate) use crate::noise::Noise;

/// What a receiver with a gain of `level` says of these bits at an Es/N0 in dB.
pub(crate) fn received(bits: &[u8], es_n0_db: f64, level: f64, noise: &mut Noise) -> Vec<i8> {
    let sigma = (0.5 / 10f64.powf(es_n0_db / 10.0)).sqrt();
    let mut symbol = |bit: &u8| {
        let sent = 1.0 - 2.0 * f64::from(*bit);
        (level * (sent + sigma * noise.gauss())).round().clamp(-127.0, 127.0) as i8
    };
    bits.iter().map(&mut symbol).collect()
}
