//! How sure a measured bit error rate is.

use serde::{Deserialize, Serialize};

/// Two-sided confidence levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// 90 %.
    P90,
    /// 95 %.
    #[default]
    P95,
    /// 99 %.
    P99,
}

impl Confidence {
    /// How many standard deviations of a normal distribution that is.
    const fn deviations(self) -> f64 {
        match self {
            Confidence::P90 => 1.644_853_626_951_472_2,
            Confidence::P95 => 1.959_963_984_540_054,
            Confidence::P99 => 2.575_829_303_548_900_4,
        }
    }
}

/// A bit error rate with the bounds between which the true rate lies with the confidence asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BerInterval {
    /// Errors divided by bits.
    pub rate: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound; above 0 even without any error.
    pub high: f64,
}

/// The Wilson score interval of `errors` among `bits`, or `None` without bits (errors beyond bits count as bits).
///
/// Errors are taken to be independent; where they come in bursts the true interval is wider.
pub fn ber_interval(errors: u64, bits: u64, confidence: Confidence) -> Option<BerInterval> {
    if bits == 0 {
        return None;
    }
    let n = bits as f64;
    let rate = errors.min(bits) as f64 / n;
    let z = confidence.deviations();
    let spread = z * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
    let (centre, scale) = (rate + z * z / (2.0 * n), 1.0 + z * z / n);
    // At the ends the bound is the rate itself, which rounding would miss.
    let low = if errors == 0 { 0.0 } else { (centre - spread) / scale };
    let high = if errors >= bits { 1.0 } else { (centre + spread) / scale };
    Some(BerInterval { rate, low, high })
}
