//! Repeatable random numbers.
#![allow(dead_code, reason = "each test binary uses what it needs")]

/// A cheap generator (SplitMix64), so that proptest shrinks what matters: the parameters.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn bit(&mut self) -> u8 {
        (self.next() >> 63) as u8
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Two independent normal values of variance 1 (Box and Muller).
    pub(crate) fn gauss_pair(&mut self) -> [f64; 2] {
        let (radius, angle) = ((-2.0 * self.uniform().ln()).sqrt(), std::f64::consts::TAU * self.uniform());
        [radius * angle.cos(), radius * angle.sin()]
    }

    /// One of them.
    pub(crate) fn gauss(&mut self) -> f64 {
        self.gauss_pair()[0]
    }
}
