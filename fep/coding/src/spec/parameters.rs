//! What is configured of turbo and LDPC channels: the code, and when its decoder gives up.

use serde::{Deserialize, Serialize};

use super::CodeSpecError;
use crate::ldpc::{self, LdpcSpec, LdpcSpecError};
use crate::sync::Marker;
use crate::turbo::{TurboDecoding, TurboRate, TurboSpec, TurboSpecError, TurboStop};

/// A turbo code and its decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurboCode {
    /// Bits of a frame: 1784, 3568, 7136 or 8920.
    pub information_bits: usize,
    /// Nominal rate: "1/2", "1/3", "1/4" or "1/6".
    pub rate: TurboRate,
    /// When the decoder gives up.
    #[serde(default = "turbo_iterations")]
    pub iterations_max: u8,
    /// When it ends earlier.
    #[serde(default)]
    pub stop: TurboStop,
}

fn turbo_iterations() -> u8 {
    TurboDecoding::default().iterations_max
}

impl TurboCode {
    /// This code with the decoder's defaults.
    pub fn new(information_bits: usize, rate: TurboRate) -> TurboCode {
        let TurboDecoding { iterations_max, stop } = TurboDecoding::default();
        TurboCode { information_bits, rate, iterations_max, stop }
    }

    /// The code.
    pub const fn spec(&self) -> TurboSpec {
        TurboSpec { information_bits: self.information_bits, rate: self.rate }
    }

    /// The decoder.
    pub const fn decoding(&self) -> TurboDecoding {
        TurboDecoding { iterations_max: self.iterations_max, stop: self.stop }
    }

    /// The marker of its rate (131.0-B-5 9.3).
    pub const fn marker(&self) -> Marker {
        match self.rate {
            TurboRate::R1_2 => Marker::CCSDS_64,
            TurboRate::R1_3 => Marker::CCSDS_96,
            TurboRate::R1_4 => Marker::CCSDS_128,
            TurboRate::R1_6 => Marker::CCSDS_192,
        }
    }

    pub(super) fn validate(&self) -> Result<(), TurboSpecError> {
        self.spec().validate()?;
        match self.iterations_max {
            1..=crate::turbo::ITERATIONS_MAX => Ok(()),
            iterations => Err(TurboSpecError::Iterations(iterations)),
        }
    }
}

/// An LDPC code of one frame a codeword, and its decoder. In configuration `k`, `rate` and `iterations_max`; C2 is
/// `k = 7136`, `rate = "7/8"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LdpcKeys", into = "LdpcKeys")]
pub struct LdpcCode {
    /// The code.
    pub ldpc: LdpcSpec,
    /// When the decoder gives up.
    pub iterations_max: u16,
}

/// A sliced stream of frames, and its decoder. In configuration `k`, `rate`, `codewords`, `frame_len` and
/// `iterations_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LdpcStreamKeys", into = "LdpcStreamKeys")]
pub struct LdpcStreamCode {
    /// Octets of the frames that are sliced.
    pub frame_len: usize,
    /// The code of the slices.
    pub ldpc: LdpcSpec,
    /// Codewords of a codeblock, 1 to 8.
    pub codewords: u8,
    /// When the decoder gives up.
    pub iterations_max: u16,
}

impl LdpcCode {
    /// This code with the decoder's default.
    pub const fn new(ldpc: LdpcSpec) -> LdpcCode {
        LdpcCode { ldpc, iterations_max: ldpc.iterations_default() }
    }

    pub(super) fn validate(&self) -> Result<(), CodeSpecError> {
        match self.iterations_max {
            1..=ldpc::ITERATIONS_MAX => Ok(()),
            iterations => Err(CodeSpecError::LdpcIterations(iterations)),
        }
    }
}

impl LdpcStreamCode {
    /// A stream of one codeword a codeblock with the decoder's default.
    pub const fn new(ldpc: LdpcSpec, frame_len: usize) -> LdpcStreamCode {
        LdpcStreamCode { frame_len, ldpc, codewords: 1, iterations_max: ldpc.iterations_default() }
    }

    pub(super) fn validate(&self) -> Result<(), CodeSpecError> {
        if !(1..=ldpc::CODEWORDS_MAX).contains(&self.codewords) {
            return Err(CodeSpecError::Codewords(self.codewords));
        }
        LdpcCode { ldpc: self.ldpc, iterations_max: self.iterations_max }.validate()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LdpcKeys {
    k: u32,
    rate: String,
    /// That of the code where it is not said.
    iterations_max: Option<u16>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LdpcStreamKeys {
    k: u32,
    rate: String,
    codewords: u8,
    frame_len: usize,
    /// That of the code where it is not said.
    iterations_max: Option<u16>,
}

impl TryFrom<LdpcKeys> for LdpcCode {
    type Error = LdpcSpecError;

    fn try_from(keys: LdpcKeys) -> Result<LdpcCode, LdpcSpecError> {
        let code = LdpcCode::new(LdpcSpec::new(keys.k, &keys.rate)?);
        Ok(LdpcCode { iterations_max: keys.iterations_max.unwrap_or(code.iterations_max), ..code })
    }
}

impl From<LdpcCode> for LdpcKeys {
    fn from(code: LdpcCode) -> LdpcKeys {
        let (k, rate) = (code.ldpc.information_bits() as u32, code.ldpc.rate_name().to_owned());
        LdpcKeys { k, rate, iterations_max: Some(code.iterations_max) }
    }
}

impl TryFrom<LdpcStreamKeys> for LdpcStreamCode {
    type Error = LdpcSpecError;

    fn try_from(keys: LdpcStreamKeys) -> Result<LdpcStreamCode, LdpcSpecError> {
        let code = LdpcStreamCode::new(LdpcSpec::new(keys.k, &keys.rate)?, keys.frame_len);
        let iterations_max = keys.iterations_max.unwrap_or(code.iterations_max);
        Ok(LdpcStreamCode { codewords: keys.codewords, iterations_max, ..code })
    }
}

impl From<LdpcStreamCode> for LdpcStreamKeys {
    fn from(code: LdpcStreamCode) -> LdpcStreamKeys {
        LdpcStreamKeys {
            k: code.ldpc.information_bits() as u32,
            rate: code.ldpc.rate_name().to_owned(),
            codewords: code.codewords,
            frame_len: code.frame_len,
            iterations_max: Some(code.iterations_max),
        }
    }
}
