//! Parameters of a convolutional channel.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::isa::IsaUnavailable;

/// The latency that [`ConvSpec::ccsds`] sets, in bits.
const LATENCY_BITS_DEFAULT: u32 = 640;
/// The largest latency that a decoder takes, in bits: beyond it nothing is gained.
const LATENCY_BITS_MAX: u32 = 4096;
/// The fewest bits of a window.
const WINDOW_BITS_MIN: usize = 64;
/// The fewest bits of a probe.
pub(super) const PROBE_BITS_MIN: u32 = 256;

/// The rate of the code: information bits to channel symbols (131.0-B-5 3.3, 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConvRate {
    /// Not punctured.
    #[serde(rename = "1/2")]
    R1_2,
    /// Three symbols for two bits.
    #[serde(rename = "2/3")]
    R2_3,
    /// Four symbols for three bits.
    #[serde(rename = "3/4")]
    R3_4,
    /// Six symbols for five bits.
    #[serde(rename = "5/6")]
    R5_6,
    /// Eight symbols for seven bits.
    #[serde(rename = "7/8")]
    R7_8,
}

/// One convolutional channel: the configuration's form, and what builds encoders, decoders and receivers.
///
/// ```
/// use fep_coding::conv::{ConvRate, ConvSpec};
/// let spec: ConvSpec = serde_json::from_str(r#"{ "rate": "7/8", "latency_bits": 1184 }"#)?;
/// assert_eq!(spec, ConvSpec { latency_bits: 1184, ..ConvSpec::ccsds(ConvRate::R7_8) });
/// assert_eq!((spec.overlap_bits(), spec.window_bits()), (160, 1024));
/// assert!(!spec.g2_is_inverted());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvSpec {
    /// Information bits to channel symbols.
    pub rate: ConvRate,
    /// Whether the symbols of G2 are inverted. Left out, as the standard says: at rate 1/2 they are, at punctured rates
    /// they are not (131.0-B-5 3.3.2, 3.4.1).
    #[serde(default)]
    pub invert_g2: Option<bool>,
    /// G2 comes first in every pair: not the standard's order, but found on older spacecraft.
    #[serde(default)]
    pub g2_first: bool,
    /// A bit leaves the decoder at the latest when the symbols of this many bits behind it have come: from
    /// `64 + overlap` to 4096. Windows grow with it: less of them overlaps, until they outgrow the caches.
    #[serde(default = "latency_bits_default")]
    pub latency_bits: u32,
    /// How a receiver finds and watches the phase.
    #[serde(default)]
    pub node_sync: NodeSync,
}

fn latency_bits_default() -> u32 {
    LATENCY_BITS_DEFAULT
}

/// How a receiver finds the node (which symbol is the first of a pair, or of a puncture period) and, on quadrature
/// modulations, the rotation; and how it watches them.
///
/// The measure is the *symbol error rate*: how many received symbols differ from the decoded bits encoded again. Under a
/// wrong hypothesis it is near that of random symbols, which every rate has its own value of
/// ([`ConvRate::random_error_ppm`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeSync {
    /// Whether consecutive symbols are the two axes of one modulation symbol, and what may have become of them.
    pub quadrature: Quadrature,
    /// Bits that are decoded under every hypothesis before one is chosen: 256 to 65 536. Rounded up to whole windows.
    pub probe_bits: u32,
    /// Bits over which the error rate of a locked receiver is watched: 256 to 1 048 576. Rounded up to whole windows.
    pub watch_bits: u32,
    /// Lock while the symbol error rate is at most this share of that of random symbols, in percent: 10 to 95.
    pub threshold_percent: u8,
}

/// What a receiver searches besides the phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quadrature {
    /// Nothing: BPSK, or a demodulator that resolves its quadrants.
    #[default]
    Off,
    /// The axes may be turned by 90 degrees (QPSK, OQPSK).
    Turns,
    /// They may also be exchanged or mirrored, as by an inverted spectrum. Not at rate 5/6, where the mirrored symbols
    /// are a codeword too.
    TurnsAndMirrors,
}

impl Default for NodeSync {
    fn default() -> NodeSync {
        NodeSync { quadrature: Quadrature::Off, probe_bits: 2048, watch_bits: 4096, threshold_percent: 85 }
    }
}

/// A convolutional channel that cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConvSpecError {
    /// Too little or too much latency.
    #[error(
        "latency_bits = {given}: rate {rate} takes {least} to 4096 (a window of at least 64 bits and {overlap} more)"
    )]
    Latency {
        /// What was asked for.
        given: u32,
        /// At which rate.
        rate: ConvRate,
        /// The least.
        least: u32,
        /// See [`ConvSpec::overlap_bits`].
        overlap: u32,
    },
    /// A parameter of the node synchronisation outside its range.
    #[error("node_sync.{name} = {given}: from {least} to {most}")]
    NodeSync {
        /// Which parameter.
        name: &'static str,
        /// What was asked for.
        given: u32,
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
    /// A search whose answer would be a guess.
    #[error(
        "node_sync.quadrature = turns_and_mirrors: at rate 5/6 mirrored symbols are a codeword too, nothing could tell \
         them; off and turns are allowed"
    )]
    MirrorsUntold,
    /// Kernels were asked for that this machine does not have.
    #[error(transparent)]
    Isa(#[from] IsaUnavailable),
}

/// A text that names no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rate of the convolutional code; the rates are 1/2, 2/3, 3/4, 5/6, 7/8")]
pub struct ConvRateUnknown(pub String);

impl ConvRate {
    /// All rates, strongest first.
    pub const ALL: [ConvRate; 5] =
        [ConvRate::R1_2, ConvRate::R2_3, ConvRate::R3_4, ConvRate::R5_6, ConvRate::R7_8];

    /// Information bits of one puncture period.
    pub const fn period_bits(self) -> usize {
        match self {
            ConvRate::R1_2 => 1,
            ConvRate::R2_3 => 2,
            ConvRate::R3_4 => 3,
            ConvRate::R5_6 => 5,
            ConvRate::R7_8 => 7,
        }
    }

    /// Channel symbols of one puncture period.
    pub const fn period_symbols(self) -> usize {
        self.period_bits() + 1
    }

    /// As a number.
    pub fn ratio(self) -> f64 {
        self.period_bits() as f64 / self.period_symbols() as f64
    }

    /// Symbol errors per million that decoding finds in hard symbols that have nothing to do with the code; in soft ones
    /// it finds about a third more.
    pub const fn random_error_ppm(self) -> u64 {
        match self {
            ConvRate::R1_2 => 125_000,
            ConvRate::R2_3 => 72_000,
            ConvRate::R3_4 => 50_500,
            ConvRate::R5_6 => 31_500,
            ConvRate::R7_8 => 22_500,
        }
    }

    /// The name, as in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            ConvRate::R1_2 => "1/2",
            ConvRate::R2_3 => "2/3",
            ConvRate::R3_4 => "3/4",
            ConvRate::R5_6 => "5/6",
            ConvRate::R7_8 => "7/8",
        }
    }

    /// Which symbols of G1 and of G2 are sent; bit i is the i-th bit of the period (131.0-B-5 table 3-2).
    const fn patterns(self) -> [u8; 2] {
        match self {
            ConvRate::R1_2 => [0b1, 0b1],
            ConvRate::R2_3 => [0b01, 0b11],
            ConvRate::R3_4 => [0b101, 0b011],
            ConvRate::R5_6 => [0b10101, 0b01011],
            ConvRate::R7_8 => [0b101_0001, 0b010_1111],
        }
    }

    /// The places of a period's symbols among its `2 period_bits` symbols before puncturing, in the order of sending; the
    /// first `period_symbols` of the table.
    pub(super) const fn places(self, g2_first: bool) -> [u8; 8] {
        let patterns = self.patterns();
        let (mut places, mut count, mut k) = ([0; 8], 0, 0);
        while k < 2 * self.period_bits() {
            let (bit, which) = (k / 2, (k % 2) ^ g2_first as usize);
            if patterns[which] >> bit & 1 == 1 {
                places[count] = (2 * bit + which) as u8;
                count += 1;
            }
            k += 1;
        }
        places
    }

    const fn overlap_bits(self) -> usize {
        match self {
            ConvRate::R1_2 => 64,
            ConvRate::R2_3 => 80,
            ConvRate::R3_4 => 96,
            ConvRate::R5_6 => 128,
            ConvRate::R7_8 => 160,
        }
    }
}

impl fmt::Display for ConvRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ConvRate {
    type Err = ConvRateUnknown;

    fn from_str(name: &str) -> Result<ConvRate, ConvRateUnknown> {
        ConvRate::ALL
            .into_iter()
            .find(|rate| rate.name() == name)
            .ok_or_else(|| ConvRateUnknown(name.to_owned()))
    }
}

impl ConvSpec {
    /// The standard's code of that rate, no search for rotations, a latency of 640 bits.
    pub fn ccsds(rate: ConvRate) -> ConvSpec {
        ConvSpec {
            rate,
            invert_g2: None,
            g2_first: false,
            latency_bits: LATENCY_BITS_DEFAULT,
            node_sync: NodeSync::default(),
        }
    }

    /// Whether the symbols of G2 are inverted.
    pub fn g2_is_inverted(&self) -> bool {
        self.invert_g2.unwrap_or(self.rate == ConvRate::R1_2)
    }

    /// Bits before and behind a window that take part in decoding it, two and a half times six bits a redundant symbol
    /// and more: 64, 80, 96, 128, 160 at the five rates.
    pub fn overlap_bits(&self) -> usize {
        self.rate.overlap_bits()
    }

    /// Bits of a window: what the latency leaves behind the overlap, in whole multiples of 64.
    pub fn window_bits(&self) -> usize {
        (self.latency_bits as usize).saturating_sub(self.overlap_bits()) / 64 * 64
    }

    /// Bits whose symbols, all of them, are among the first `symbols` of a stream.
    pub fn complete_bits(&self, symbols: u64) -> u64 {
        let period = self.rate.period_symbols() as u64;
        let rest = (symbols % period) as usize;
        // The first symbol that has not come belongs to the first bit that is not complete.
        symbols / period * self.rate.period_bits() as u64
            + u64::from(self.rate.places(self.g2_first)[rest] / 2)
    }

    /// Index of the first symbol that belongs to `bit` of a stream.
    pub fn first_symbol(&self, bit: u64) -> u64 {
        let period = self.rate.period_bits() as u64;
        let rest = (bit % period) as u8;
        let places = self.rate.places(self.g2_first);
        let before = places[..period as usize + 1].iter().filter(|place| **place / 2 < rest).count();
        bit / period * self.rate.period_symbols() as u64 + before as u64
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`ConvSpecError`] says which parameter is impossible and what is allowed.
    pub fn validate(&self) -> Result<(), ConvSpecError> {
        let overlap = self.overlap_bits() as u32;
        let least = overlap + WINDOW_BITS_MIN as u32;
        if !(least..=LATENCY_BITS_MAX).contains(&self.latency_bits) {
            return Err(ConvSpecError::Latency { given: self.latency_bits, rate: self.rate, least, overlap });
        }
        let NodeSync { quadrature, probe_bits, watch_bits, threshold_percent } = self.node_sync;
        if (quadrature, self.rate) == (Quadrature::TurnsAndMirrors, ConvRate::R5_6) {
            return Err(ConvSpecError::MirrorsUntold);
        }
        for (name, given, least, most) in [
            ("probe_bits", probe_bits, PROBE_BITS_MIN, 65_536),
            ("watch_bits", watch_bits, 256, 1 << 20),
            ("threshold_percent", u32::from(threshold_percent), 10, 95),
        ] {
            if !(least..=most).contains(&given) {
                return Err(ConvSpecError::NodeSync { name, given, least, most });
            }
        }
        Ok(())
    }
}
