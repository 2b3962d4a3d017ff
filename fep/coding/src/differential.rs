//! Differential coding of the bits of a channel: NRZ-M and NRZ-S beside the plain NRZ-L.
//!
//! With NRZ-L a bit is a level. With NRZ-M (mark) a 1 is a change of level and a 0 none; with NRZ-S (space) it is the other
//! way round. The receiver then needs to know no polarity: a stream that arrives inverted decodes to the same bits, all
//! but the first. The price is that one wrong level makes two wrong bits.
//!
//! The conversion lies outside the channel codes of 131.0-B-5: in front of the encoder and behind the decoder. Behind the
//! convolutional code, which is transparent, it resolves the polarity; turbo and LDPC codes are not transparent and are
//! not combined with it. Without a convolutional code it is undone in front of the frame synchroniser.
//!
//! | what | |
//! |---|---|
//! | [`LineCode`] | which of the three a channel uses |
//! | [`DifferentialDecoder`] | levels to bits, hard: received bits, or what a Viterbi decoder gives |
//! | [`SoftDifferentialDecoder`] | levels to bits, soft symbols |
//! | [`DifferentialEncoder`] | bits to levels |
//!
//! All are state machines over a stream: the last level is kept from call to call, so that a stream may be cut anywhere.
//! A marker may lie at any bit of the octets, before and after; a bit keeps its place in the stream.
//!
//! ```
//! use fep_coding::differential::{DifferentialDecoder, DifferentialEncoder, LineCode};
//! let mut levels = Vec::new();
//! DifferentialEncoder::new(LineCode::NrzM).push(&[0x1A, 0xCF, 0xFC, 0x1D], &mut levels);
//! levels.iter_mut().for_each(|octet| *octet = !*octet); // the demodulator locked upside down
//! let mut bits = Vec::new();
//! let mut decoder = DifferentialDecoder::new(LineCode::NrzM);
//! decoder.push(&levels[..1], &mut bits);
//! decoder.push(&levels[1..], &mut bits);
//! assert_eq!(bits, [0x9A, 0xCF, 0xFC, 0x1D]); // all but the first bit are right
//! ```

mod hard;
mod soft;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use hard::{DifferentialDecoder, DifferentialEncoder};
pub use soft::SoftDifferentialDecoder;

/// How the bits of a channel become levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineCode {
    /// A bit is a level: no differential coding.
    #[default]
    NrzL,
    /// A 1 changes the level, a 0 keeps it.
    NrzM,
    /// A 0 changes the level, a 1 keeps it.
    NrzS,
}

/// A name that is none of `nrz_l`, `nrz_m`, `nrz_s`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no line code; the names are nrz_l, nrz_m, nrz_s")]
pub struct LineCodeUnknown(pub String);

impl LineCode {
    /// All three.
    pub const ALL: [LineCode; 3] = [LineCode::NrzL, LineCode::NrzM, LineCode::NrzS];

    /// The name in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            LineCode::NrzL => "nrz_l",
            LineCode::NrzM => "nrz_m",
            LineCode::NrzS => "nrz_s",
        }
    }

    /// Whether bits are changes of level: the polarity of the stream does not matter then.
    pub const fn is_differential(self) -> bool {
        !matches!(self, LineCode::NrzL)
    }
}

impl fmt::Display for LineCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for LineCode {
    type Err = LineCodeUnknown;

    fn from_str(name: &str) -> Result<LineCode, LineCodeUnknown> {
        let code = LineCode::ALL.into_iter().find(|code| code.name() == name);
        code.ok_or_else(|| LineCodeUnknown(name.to_owned()))
    }
}
