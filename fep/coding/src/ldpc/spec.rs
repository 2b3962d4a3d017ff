//! Which code: its sizes, its marker, its form in configuration files.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::code::ParityChecks;
use crate::sync::Marker;

/// Information bits of an AR4JA code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ar4jaInformation {
    /// 1024 bits, 128 octets.
    K1024,
    /// 4096 bits, 512 octets.
    K4096,
    /// 16384 bits, 2048 octets.
    K16384,
}

/// Rate of an AR4JA code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ar4jaRate {
    /// 1/2.
    Half,
    /// 2/3.
    TwoThirds,
    /// 4/5.
    FourFifths,
}

impl Ar4jaInformation {
    /// All sizes.
    pub const ALL: [Ar4jaInformation; 3] =
        [Ar4jaInformation::K1024, Ar4jaInformation::K4096, Ar4jaInformation::K16384];

    /// 1024, 4096 or 16384.
    pub const fn bits(self) -> usize {
        match self {
            Ar4jaInformation::K1024 => 1024,
            Ar4jaInformation::K4096 => 4096,
            Ar4jaInformation::K16384 => 16384,
        }
    }
}

impl Ar4jaRate {
    /// All rates.
    pub const ALL: [Ar4jaRate; 3] = [Ar4jaRate::Half, Ar4jaRate::TwoThirds, Ar4jaRate::FourFifths];

    /// "1/2", "2/3" or "4/5".
    pub const fn name(self) -> &'static str {
        match self {
            Ar4jaRate::Half => "1/2",
            Ar4jaRate::TwoThirds => "2/3",
            Ar4jaRate::FourFifths => "4/5",
        }
    }

    /// K: block columns of information in the parity-check matrix; two more are sent.
    pub(super) const fn information_blocks(self) -> usize {
        match self {
            Ar4jaRate::Half => 2,
            Ar4jaRate::TwoThirds => 4,
            Ar4jaRate::FourFifths => 8,
        }
    }
}

/// One of the ten codes.
///
/// In configuration files either by `code = "c2"`, or by size and rate: `k = 1024`, `rate = "1/2"` (C2 then is
/// `k = 7136`, `rate = "7/8"`). The second form is the one written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub enum LdpcSpec {
    /// (8160,7136), "rate 7/8": 131.0-B-5 7.3.
    C2,
    /// 131.0-B-5 7.4.
    Ar4ja {
        /// Information bits.
        information: Ar4jaInformation,
        /// Information bits of those sent.
        rate: Ar4jaRate,
    },
}

/// The form in configuration files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
}

/// A code that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LdpcSpecError {
    /// A name that no code has.
    #[error("code = \"{0}\": the LDPC codes are \"c2\", or \"ar4ja\" with k and rate (CCSDS 131.0-B-5 7)")]
    Code(String),
    /// A rate that no code has.
    #[error("rate = \"{0}\": LDPC has \"1/2\", \"2/3\", \"4/5\" and, with k = 7136 (C2), \"7/8\"")]
    Rate(String),
    /// A size that no code of the rate has.
    #[error("k = {k}: LDPC with rate = \"{rate}\" has k = {allowed} (CCSDS 131.0-B-5 7)")]
    Information {
        /// What was asked for.
        k: u32,
        /// At this rate.
        rate: String,
        /// What is possible.
        allowed: &'static str,
    },
    /// AR4JA without its size or rate.
    #[error(
        "LDPC needs `k` (1024, 4096 or 16384) and `rate` (\"1/2\", \"2/3\" or \"4/5\"), or code = \"c2\": `{0}` is missing"
    )]
    Missing(&'static str),
    /// Two codes at once.
    #[error("code = \"c2\" is k = 7136, rate = \"7/8\"; here k = {k} and rate = \"{rate}\" say otherwise")]
    Contradiction {
        /// What `k` says.
        k: u32,
        /// What `rate` says.
        rate: String,
    },
}

const C2_INFORMATION: usize = 7136;
const C2_RATE: &str = "7/8";

impl TryFrom<Fields> for LdpcSpec {
    type Error = LdpcSpecError;

    fn try_from(fields: Fields) -> Result<LdpcSpec, LdpcSpecError> {
        match fields.code.as_deref() {
            Some("c2") => {
                let (k, rate) = (
                    fields.k.unwrap_or(C2_INFORMATION as u32),
                    fields.rate.unwrap_or_else(|| C2_RATE.to_owned()),
                );
                if k as usize == C2_INFORMATION && rate == C2_RATE {
                    Ok(LdpcSpec::C2)
                } else {
                    Err(LdpcSpecError::Contradiction { k, rate })
                }
            }
            None | Some("ar4ja") => {
                let k = fields.k.ok_or(LdpcSpecError::Missing("k"))?;
                let rate = fields.rate.ok_or(LdpcSpecError::Missing("rate"))?;
                match LdpcSpec::new(k, &rate)? {
                    LdpcSpec::C2 if fields.code.is_some() => Err(LdpcSpecError::Rate(rate)),
                    spec => Ok(spec),
                }
            }
            Some(other) => Err(LdpcSpecError::Code(other.to_owned())),
        }
    }
}

impl From<LdpcSpec> for Fields {
    fn from(spec: LdpcSpec) -> Fields {
        let (k, rate) = (spec.information_bits() as u32, spec.rate_name().to_owned());
        Fields { code: None, k: Some(k), rate: Some(rate) }
    }
}

impl LdpcSpec {
    /// The code of `k` information bits at `rate`: 1024, 4096 or 16384 at "1/2", "2/3" or "4/5", or 7136 at "7/8".
    ///
    /// # Errors
    /// [`LdpcSpecError`] says which of the two does not exist and what is allowed.
    pub fn new(k: u32, rate: &str) -> Result<LdpcSpec, LdpcSpecError> {
        let unknown = |allowed| LdpcSpecError::Information { k, rate: rate.to_owned(), allowed };
        if rate == C2_RATE {
            return if k as usize == C2_INFORMATION { Ok(LdpcSpec::C2) } else { Err(unknown("7136")) };
        }
        let known = Ar4jaRate::ALL.into_iter().find(|known| known.name() == rate);
        let known = known.ok_or_else(|| LdpcSpecError::Rate(rate.to_owned()))?;
        let information = Ar4jaInformation::ALL.into_iter().find(|size| size.bits() == k as usize);
        let information = information.ok_or_else(|| unknown("1024, 4096 or 16384"))?;
        Ok(LdpcSpec::Ar4ja { information, rate: known })
    }

    /// The ten codes.
    pub fn all() -> impl Iterator<Item = LdpcSpec> {
        let ar4ja = Ar4jaInformation::ALL.into_iter().flat_map(|information| {
            Ar4jaRate::ALL.into_iter().map(move |rate| LdpcSpec::Ar4ja { information, rate })
        });
        std::iter::once(LdpcSpec::C2).chain(ar4ja)
    }

    /// Iterations before a decoder gives up, if nothing else is said: beyond them hardly anything converges. The large
    /// codes of the lower rates are slow near their thresholds (`docs/coding/ldpc.md` has the figures).
    pub const fn iterations_default(self) -> u16 {
        use Ar4jaInformation::{K4096, K16384};
        use Ar4jaRate::{Half, TwoThirds};
        match self {
            LdpcSpec::Ar4ja { information: K4096 | K16384, rate: Half }
            | LdpcSpec::Ar4ja { information: K16384, rate: TwoThirds } => 100,
            LdpcSpec::C2 | LdpcSpec::Ar4ja { .. } => 50,
        }
    }

    /// Bits of a codeword as sent, a multiple of 32.
    pub const fn codeword_bits(self) -> usize {
        match self {
            LdpcSpec::C2 => 8160,
            LdpcSpec::Ar4ja { information, rate } => {
                let blocks = rate.information_blocks();
                information.bits() / blocks * (blocks + 2)
            }
        }
    }

    /// Octets of a codeword as sent.
    pub const fn codeword_len(self) -> usize {
        self.codeword_bits() / 8
    }

    /// Bits of information in a codeword, at its front.
    pub const fn information_bits(self) -> usize {
        match self {
            LdpcSpec::C2 => C2_INFORMATION,
            LdpcSpec::Ar4ja { information, .. } => information.bits(),
        }
    }

    /// Ones of the parity-check matrix, columns that are not sent included: messages of an iteration.
    pub const fn edges(self) -> usize {
        match self {
            LdpcSpec::C2 => 64 * 511,
            LdpcSpec::Ar4ja { information, rate } => {
                let rows = match rate {
                    Ar4jaRate::Half => 15,
                    Ar4jaRate::TwoThirds => 23,
                    Ar4jaRate::FourFifths => 39,
                };
                information.bits() / rate.information_blocks() * rows
            }
        }
    }

    /// Octets of information in a codeword.
    pub const fn information_len(self) -> usize {
        self.information_bits() / 8
    }

    /// Octets behind the information: parity, and the two fill bits of C2.
    pub const fn parity_len(self) -> usize {
        self.codeword_len() - self.information_len()
    }

    /// The marker in front of every codeword, or of every codeblock of sliced frames (131.0-B-5 8.2.2, 9.3).
    pub const fn marker(self) -> Marker {
        match self {
            LdpcSpec::C2 => Marker::CCSDS_32,
            LdpcSpec::Ar4ja { .. } => Marker::CCSDS_64,
        }
    }

    /// "7/8" (C2), "1/2", "2/3" or "4/5".
    pub const fn rate_name(self) -> &'static str {
        match self {
            LdpcSpec::C2 => C2_RATE,
            LdpcSpec::Ar4ja { rate, .. } => rate.name(),
        }
    }

    /// Whether `codeword` (octets, as sent) belongs to the code: all parity checks hold. Bits that are not sent follow
    /// from the others; C2's two fill bits are not looked at.
    ///
    /// # Panics
    /// When `codeword` is not [`LdpcSpec::codeword_len`] octets.
    pub fn is_codeword(self, codeword: &[u8]) -> bool {
        assert_eq!(codeword.len(), self.codeword_len(), "one codeword of {self}");
        let checks = ParityChecks::new(self);
        let sent = |i: usize| codeword[i / 8] >> (7 - i % 8) & 1 == 1;
        match self {
            LdpcSpec::C2 => checks.hold(|i| i >= C2_VIRTUAL_ZEROS && sent(i - C2_VIRTUAL_ZEROS)),
            LdpcSpec::Ar4ja { .. } => {
                let word = checks.with_punctured(self.codeword_bits(), sent);
                checks.hold(|i| word[i])
            }
        }
    }
}

/// Zeros in front of C2's information that are encoded but not sent.
pub(super) const C2_VIRTUAL_ZEROS: usize = 18;

impl fmt::Display for LdpcSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LdpcSpec::C2 => f.pad("LDPC C2 (8160,7136)"),
            LdpcSpec::Ar4ja { information, rate } => {
                f.pad(&format!("LDPC AR4JA {} k={}", rate.name(), information.bits()))
            }
        }
    }
}
