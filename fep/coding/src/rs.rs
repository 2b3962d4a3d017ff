//! Reed-Solomon (255,223) and (255,239) of CCSDS 131.0-B-5 section 4: encoder and decoder over whole codeblocks.
//!
//! A *codeblock* is a transfer frame followed by its check symbols, I codewords interleaved symbol by symbol, as it
//! lies on the wire without its marker and after derandomising. The codec knows nothing of markers, randomisers or
//! frames. It allocates in its constructor only.
//!
//! A codeword with at most E wrong symbols is corrected; any other is left exactly as received and counted, unless it
//! happens to lie within E symbols of another valid codeword, which no decoder can tell. A correction is accepted only
//! if it is whole: as many distinct error places as the locator's degree, all among the symbols that were sent.

mod field;
mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;

use serde::{Deserialize, Serialize};

use crate::isa::{Isa, IsaUnavailable};
use scalar::ScalarCodec;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use vector::VectorKernel;

/// Symbols of a codeword, virtual fill included.
pub const CODEWORD_LEN: usize = 255;

/// The largest number of symbol errors that either code corrects.
const E_MAX: usize = 16;

/// Interleaving depths of the standard.
const INTERLEAVES: [u8; 6] = [1, 2, 3, 4, 5, 8];

/// Error correction capability E: the number of wrong symbols that one codeword can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum RsE {
    /// (255,239): 16 check symbols.
    E8,
    /// (255,223): 32 check symbols.
    E16,
}

/// Representation of symbols on the wire (4.3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Berlekamp's dual basis: what the standard prescribes.
    #[default]
    Dual,
    /// Polynomial basis: what some missions fly all the same.
    Conventional,
}

/// Managed parameters of a Reed-Solomon coded channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RsSpec {
    /// Correction capability: 16 for (255,223), 8 for (255,239).
    pub e: RsE,
    /// Codewords of a codeblock: 1, 2, 3, 4, 5 or 8.
    pub interleave: u8,
    /// Zero symbols in front of every codeword that are never sent (q; the standard's Q is q times I).
    #[serde(default)]
    pub virtual_fill: u8,
    /// Representation of symbols on the wire.
    #[serde(default)]
    pub basis: Basis,
}

/// Parameters for which no codec exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RsSpecError {
    /// E is neither 8 nor 16.
    #[error("Reed-Solomon e = {0}: CCSDS 131.0-B-5 knows 16 for (255,223) and 8 for (255,239)")]
    Correction(u8),
    /// The interleaving depth is not of the standard.
    #[error("Reed-Solomon interleave = {0}: CCSDS 131.0-B-5 allows 1, 2, 3, 4, 5 and 8")]
    Interleave(u8),
    /// The fill leaves no information symbol.
    #[error(
        "Reed-Solomon virtual_fill = {fill} leaves no information: at most {max} of {information} symbols"
    )]
    VirtualFill {
        /// The fill asked for, symbols a codeword.
        fill: u8,
        /// The largest fill possible.
        max: u8,
        /// Information symbols of a codeword.
        information: u8,
    },
    /// The instruction set asked for is not on this machine.
    #[error(transparent)]
    Isa(#[from] IsaUnavailable),
}

/// What became of one codeblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct RsVerdict {
    /// Symbols corrected, in all codewords together.
    pub symbols_corrected: u16,
    /// Codewords in which at least one symbol was corrected.
    pub codewords_corrected: u8,
    /// Codewords beyond correction, left as received.
    pub codewords_failed: u8,
}

/// Encoder and decoder for one set of parameters on one instruction set.
#[derive(Debug)]
pub struct ReedSolomon {
    spec: RsSpec,
    isa: Isa,
    kernel: Kernel,
}

/// The codec proper, chosen once by instruction set.
#[derive(Debug)]
enum Kernel {
    Scalar(Box<ScalarCodec>),
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Vector(VectorKernel),
}

/// What became of one codeword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CodewordVerdict {
    Clean,
    /// With the number of symbols changed.
    Corrected(u8),
    Failed,
}

impl RsE {
    /// E itself.
    pub const fn correctable(self) -> usize {
        match self {
            RsE::E8 => 8,
            RsE::E16 => 16,
        }
    }

    /// Check symbols of a codeword: 2E.
    pub const fn check_symbols(self) -> usize {
        2 * self.correctable()
    }

    /// Information symbols of a codeword (k), virtual fill included.
    pub const fn information_symbols(self) -> usize {
        CODEWORD_LEN - self.check_symbols()
    }

    /// The generator's roots are alpha^(11 j) for j from 128-E to 127+E (section 4): the first j.
    const fn first_root(self) -> usize {
        128 - self.correctable()
    }
}

impl TryFrom<u8> for RsE {
    type Error = RsSpecError;

    fn try_from(e: u8) -> Result<RsE, RsSpecError> {
        match e {
            8 => Ok(RsE::E8),
            16 => Ok(RsE::E16),
            other => Err(RsSpecError::Correction(other)),
        }
    }
}

impl From<RsE> for u8 {
    fn from(e: RsE) -> u8 {
        e.correctable() as u8
    }
}

impl RsSpec {
    /// Octets of a transfer frame: (k - q) I.
    pub const fn frame_len(&self) -> usize {
        (self.e.information_symbols() - self.virtual_fill as usize) * self.interleave as usize
    }

    /// Octets of check symbols behind the frame: 2E I.
    pub const fn check_len(&self) -> usize {
        self.e.check_symbols() * self.interleave as usize
    }

    /// Octets of a codeblock: (255 - q) I.
    pub const fn codeblock_len(&self) -> usize {
        self.frame_len() + self.check_len()
    }

    /// Whether a codec exists for these parameters.
    ///
    /// # Errors
    /// [`RsSpecError`] names the parameter that is out of range.
    pub fn validate(&self) -> Result<(), RsSpecError> {
        if !INTERLEAVES.contains(&self.interleave) {
            return Err(RsSpecError::Interleave(self.interleave));
        }
        let information = self.e.information_symbols() as u8;
        if self.virtual_fill >= information {
            let (fill, max) = (self.virtual_fill, information - 1);
            return Err(RsSpecError::VirtualFill { fill, max, information });
        }
        Ok(())
    }
}

impl RsVerdict {
    /// Nothing was wrong.
    pub const fn is_clean(&self) -> bool {
        self.codewords_corrected == 0 && self.codewords_failed == 0
    }

    /// At least one codeword is still wrong.
    pub const fn is_uncorrectable(&self) -> bool {
        self.codewords_failed != 0
    }

    fn count(&mut self, codeword: CodewordVerdict) {
        match codeword {
            CodewordVerdict::Clean => {}
            CodewordVerdict::Corrected(symbols) => {
                self.symbols_corrected += u16::from(symbols);
                self.codewords_corrected += 1;
            }
            CodewordVerdict::Failed => self.codewords_failed += 1,
        }
    }
}

impl ReedSolomon {
    /// A codec on the fastest instruction set of this machine.
    ///
    /// # Errors
    /// [`RsSpecError`] if the parameters are out of range.
    pub fn new(spec: RsSpec) -> Result<ReedSolomon, RsSpecError> {
        ReedSolomon::with_isa(spec, Isa::best())
    }

    /// A codec on the instruction set asked for.
    ///
    /// # Errors
    /// [`RsSpecError`] if the parameters are out of range or the machine lacks the set.
    pub fn with_isa(spec: RsSpec, isa: Isa) -> Result<ReedSolomon, RsSpecError> {
        spec.validate()?;
        let kernel = match isa.require()? {
            Isa::Scalar => Kernel::Scalar(Box::new(ScalarCodec::new(spec))),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            vector => Kernel::Vector(VectorKernel::new(spec, vector)?),
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            foreign => return Err(RsSpecError::Isa(IsaUnavailable(foreign))),
        };
        Ok(ReedSolomon { spec, isa, kernel })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The parameters in use.
    pub fn spec(&self) -> &RsSpec {
        &self.spec
    }

    /// Computes the check symbols of all codewords of `frame` into `check`, interleaved, as they follow the frame on
    /// the wire.
    ///
    /// # Panics
    /// If `frame` is not [`RsSpec::frame_len`] octets or `check` is not [`RsSpec::check_len`] octets.
    pub fn encode(&mut self, frame: &[u8], check: &mut [u8]) {
        assert_eq!(frame.len(), self.spec.frame_len(), "octets of the frame to encode");
        assert_eq!(check.len(), self.spec.check_len(), "octets of room for check symbols");
        match &mut self.kernel {
            Kernel::Scalar(codec) => codec.encode(frame, check),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Kernel::Vector(kernel) => kernel.encode(frame, check),
        }
    }

    /// Corrects one codeblock in place; codewords beyond correction are left as received.
    ///
    /// # Panics
    /// If `codeblock` is not [`RsSpec::codeblock_len`] octets.
    pub fn decode(&mut self, codeblock: &mut [u8]) -> RsVerdict {
        assert_eq!(codeblock.len(), self.spec.codeblock_len(), "octets of the codeblock to decode");
        let mut verdict = [RsVerdict::default()];
        self.decode_batch(codeblock, self.spec.codeblock_len(), &mut verdict);
        verdict[0]
    }

    /// Corrects `verdicts.len()` codeblocks in place, the k-th at octet `k * stride`; octets between codeblocks are left
    /// alone. The answers are those of [`ReedSolomon::decode`] on each; damaged codewords of the whole batch are
    /// corrected together, which is much faster.
    ///
    /// # Panics
    /// If `stride` is shorter than a codeblock or `codeblocks` does not hold them all.
    pub fn decode_batch(&mut self, codeblocks: &mut [u8], stride: usize, verdicts: &mut [RsVerdict]) {
        let len = self.spec.codeblock_len();
        assert!(stride >= len, "codeblocks of {len} octets overlap at a stride of {stride}");
        let needed =
            verdicts.len().checked_sub(1).map_or(0, |last| last.saturating_mul(stride).saturating_add(len));
        let held = codeblocks.len();
        assert!(held >= needed, "{} codeblocks need {needed} octets, the slice holds {held}", verdicts.len());
        verdicts.fill(RsVerdict::default());
        match &mut self.kernel {
            Kernel::Scalar(codec) => codec.decode_batch(codeblocks, stride, verdicts),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Kernel::Vector(kernel) => kernel.decode_batch(codeblocks, stride, verdicts),
        }
    }
}
