//! The turbo codes of telemetry (131.0-B-5 6): rates 1/2, 1/3, 1/4 and 1/6, frames of 1784, 3568, 7136 and 8920 bits.
//!
//! Two recursive convolutional encoders of 16 states, the second behind an interleaver; both start at zero and are ended
//! by four more bit times, so that a codeword has (k + 4) / r symbols. At rate 1/3 that is no whole number of octets:
//! codewords end in the middle of one ([`TurboSpec::codeword_bits`], [`TurboSpec::codeword_len`]).
//!
//! [`TurboEncoder`] works on octets by tables. [`TurboDecoder`] is max-log-MAP on saturated octets with scaled extrinsic
//! information; it decodes many codewords side by side when data waits and one by one when it does not, to the same
//! answers. The code is not transparent: inverted symbols decode to nothing of use.
//!
//! ```
//! use fep_coding::turbo::{TurboDecoder, TurboDecoding, TurboEncoder, TurboRate, TurboSpec};
//! let spec = TurboSpec { information_bits: 1784, rate: TurboRate::R1_3 };
//! let frame = [0x5A; 223];
//! let mut codeword = vec![0; spec.codeword_len()];
//! TurboEncoder::new(spec)?.encode(&frame, &mut codeword);
//! let symbols: Vec<i8> = (0..spec.codeword_bits())
//!     .map(|i| if codeword[i / 8] << (i % 8) & 0x80 == 0 { 20 } else { -20 })
//!     .collect();
//! let mut decoded = [0; 223];
//! let verdict = TurboDecoder::new(spec, TurboDecoding::default())?.decode(&symbols, &mut decoded);
//! assert!(verdict.converged && decoded == frame);
//! # Ok::<(), fep_coding::turbo::TurboSpecError>(())
//! ```

#[cfg(target_arch = "x86_64")]
mod batch;
mod decoder;
mod encoder;
mod interleaver;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod scalar;
mod schedule;
#[cfg(target_arch = "x86_64")]
mod single;
mod siso;
mod trellis;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::isa::IsaUnavailable;

pub use decoder::{ITERATIONS_MAX, TurboDecoder, TurboDecoding, TurboStop};
pub use encoder::TurboEncoder;
pub use interleaver::interleaver;

/// Bit times after the information that bring both encoders back to zero.
const TAIL_STEPS: usize = 4;
/// Bits of a frame that the standard allows (131.0-B-5 6.3).
pub const INFORMATION_BITS: [usize; 4] = [1784, 3568, 7136, 8920];

/// Information bits for each transmitted symbol, nominally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TurboRate {
    /// 1/2
    #[serde(rename = "1/2")]
    R1_2,
    /// 1/3
    #[serde(rename = "1/3")]
    R1_3,
    /// 1/4
    #[serde(rename = "1/4")]
    R1_4,
    /// 1/6
    #[serde(rename = "1/6")]
    R1_6,
}

/// Which turbo code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurboSpec {
    /// Bits of a frame: 1784, 3568, 7136 or 8920.
    pub information_bits: usize,
    /// Nominal rate.
    pub rate: TurboRate,
}

/// Parameters that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TurboSpecError {
    /// A frame of a length for which there is no interleaver.
    #[error("information_bits = {0}: 1784, 3568, 7136 or 8920 (CCSDS 131.0-B-5 6.3)")]
    InformationBits(usize),
    /// No iteration, or too many.
    #[error("iterations_max = {0}: 1 to 50")]
    Iterations(u8),
    /// Kernels were asked for that this machine does not have.
    #[error(transparent)]
    Isa(#[from] IsaUnavailable),
}

impl TurboRate {
    /// All rates.
    pub const ALL: [TurboRate; 4] = [TurboRate::R1_2, TurboRate::R1_3, TurboRate::R1_4, TurboRate::R1_6];

    /// Symbols of every bit time.
    pub const fn symbols_per_bit(self) -> usize {
        match self {
            TurboRate::R1_2 => 2,
            TurboRate::R1_3 => 3,
            TurboRate::R1_4 => 4,
            TurboRate::R1_6 => 6,
        }
    }
}

impl fmt::Display for TurboRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1/{}", self.symbols_per_bit())
    }
}

impl TurboSpec {
    /// Octets of a frame.
    pub const fn information_len(&self) -> usize {
        self.information_bits / 8
    }

    /// Symbols of a codeword: (k + 4) / r. A multiple of 8 except at rate 1/3, where 4 remain.
    pub const fn codeword_bits(&self) -> usize {
        (self.information_bits + TAIL_STEPS) * self.rate.symbols_per_bit()
    }

    /// Octets that a codeword takes; at rate 1/3 the last four bits of the last octet belong to nothing.
    pub const fn codeword_len(&self) -> usize {
        self.codeword_bits().div_ceil(8)
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`TurboSpecError::InformationBits`] when there is no such frame length.
    pub fn validate(&self) -> Result<(), TurboSpecError> {
        if INFORMATION_BITS.contains(&self.information_bits) {
            Ok(())
        } else {
            Err(TurboSpecError::InformationBits(self.information_bits))
        }
    }
}

impl fmt::Display for TurboSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turbo {} bits, rate {}", self.information_bits, self.rate)
    }
}
