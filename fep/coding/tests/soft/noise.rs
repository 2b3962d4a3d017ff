//! Repeatable random numbers, and symbols in Gaussian noise.

/// A 64-bit mixer (SplitMix64): small, and good enough for noise.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Noise {
        Noise(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn bit(&mut self) -> u8 {
        (self.next() >> 63) as u8
    }

    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub(crate) fn gaussian(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// What a receiver with a gain of `level` says of these bits at an Es/N0 in dB.
    pub(crate) fn symbols(&mut self, bits: &[u8], es_n0_db: f64, level: f64) -> Vec<i8> {
        let sigma = (0.5 / 10f64.powf(es_n0_db / 10.0)).sqrt();
        let mut symbol = |bit: &u8| {
            let sent = 1.0 - 2.0 * f64::from(*bit);
            (level * (sent + sigma * self.gaussian())).round().clamp(-127.0, 127.0) as i8
        };
        bits.iter().map(&mut symbol).collect()
    }
}
