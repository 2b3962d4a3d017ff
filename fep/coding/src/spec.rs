//! Which channel code a physical channel uses, and the decoders and encoders that go with it.
//!
//! A [`CodeSpec`] tells sizes, rate and marker, refuses what cannot be, and builds:
//!
//! | what | from | for |
//! |---|---|---|
//! | [`BlockDecoder`] | [`CodeSpec::build`] | blocks of octets, decoded in place: all codes but sliced streams |
//! | [`SoftBlockDecoder`] | [`CodeSpec::build_soft`] | blocks of soft symbols: codes whose marker stands in the symbols |
//! | [`crate::conv::ConvReceiver`] | [`CodeSpec::convolutional`] | the stream in front of the synchroniser, if there is an inner code |
//! | [`BlockEncoder`] | [`CodeSpec::build_encoder`] | blocks of octets |
//! | [`ChannelEncoder`] | [`ChannelEncoder::new`] | the symbols of a whole channel: marker, randomiser and inner code too |
//!
//! A *block* is what lies between two markers once the randomiser is off. Where the marker is searched,
//! [`CodeSpec::domain`] says: among bits (of the inner decoder, if there is one) or among symbols. With an inner
//! convolutional code the block is that of the outer code.

mod block;
mod channel;
mod parameters;
mod soft;

use serde::{Deserialize, Serialize};

use crate::conv::{ConvSpec, ConvSpecError};
use crate::isa::{Isa, IsaUnavailable};
use crate::ldpc;
use crate::rs::{RsSpec, RsSpecError, RsVerdict};
use crate::soft::SoftVerdict;
use crate::sync::Marker;
use crate::turbo::TurboSpecError;

pub use block::{BlockDecoder, BlockEncoder};
pub use channel::ChannelEncoder;
pub use parameters::{LdpcCode, LdpcStreamCode, TurboCode};
pub use soft::SoftBlockDecoder;

/// The longest frame without a code: 65 536 octets (131.0-B-5 11, USLP).
pub const UNCODED_FRAME_LEN_MAX: usize = 65_536;

/// What decoding found in one block. For codes without codewords of their own kind, a block is one codeword.
pub type DecodeVerdict = RsVerdict;

/// The channel code between marker and marker, and the code around it. In configuration files the key `code` names the
/// variant.
///
/// ```
/// use fep_coding::{CodeSpec, Isa};
/// let code = CodeSpec::ReedSolomon(fep_coding::rs::RsSpec {
///     e: fep_coding::rs::RsE::E16, interleave: 4, virtual_fill: 0, basis: fep_coding::rs::Basis::Dual });
/// assert_eq!((code.block_len(), code.frame_len()), (1020, 892));
/// let decoder = code.build(Isa::best())?;
/// assert_eq!(decoder.frame_len(), 892);
///
/// let code: CodeSpec = serde_json::from_str(r#"{ "code": "ldpc", "k": 1024, "rate": "1/2" }"#).expect("a code");
/// assert_eq!((code.block_symbols(), code.frame_len(), code.marker().bits()), (2048, 128, 64));
/// # Ok::<(), fep_coding::CodeSpecError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case", deny_unknown_fields)]
pub enum CodeSpec {
    /// No code: the block is the frame. Errors are then found by the FECF alone.
    None {
        /// Octets of a frame, 1 to 65 536.
        frame_len: usize,
    },
    /// Reed-Solomon (131.0-B-5 4).
    ReedSolomon(RsSpec),
    /// The convolutional code alone (131.0-B-5 3).
    Convolutional {
        /// Octets of a frame, 1 to 65 536.
        frame_len: usize,
        /// The code.
        convolutional: ConvSpec,
    },
    /// Reed-Solomon inside, the convolutional code around it (131.0-B-5 5).
    Concatenated {
        /// The outer code.
        reed_solomon: RsSpec,
        /// The inner code.
        convolutional: ConvSpec,
    },
    /// Turbo (131.0-B-5 6), one frame a codeword.
    Turbo(TurboCode),
    /// LDPC (131.0-B-5 7), one frame a codeword.
    Ldpc(LdpcCode),
    /// LDPC of a sliced stream of frames (131.0-B-5 8).
    LdpcStream(LdpcStreamCode),
}

/// Where the marker of a code is searched (131.0-B-5 9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncDomain {
    /// Among bits: as received, or as the convolutional decoder gives them.
    Bits,
    /// Among the symbols of the channel.
    Symbols,
}

/// A code that cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeSpecError {
    /// A frame of an impossible length.
    #[error("frame_len = {0}: a frame of this code has 1 to 65536 octets (CCSDS 131.0-B-5 11)")]
    FrameLen(usize),
    /// Reed-Solomon parameters that do not exist.
    #[error(transparent)]
    ReedSolomon(#[from] RsSpecError),
    /// Convolutional parameters that cannot be.
    #[error("convolutional: {0}")]
    Convolutional(#[from] ConvSpecError),
    /// Turbo parameters that do not exist.
    #[error(transparent)]
    Turbo(#[from] TurboSpecError),
    /// An LDPC decoder without an iteration, or with too many.
    #[error("iterations_max = {0}: 1 to {most}", most = ldpc::ITERATIONS_MAX)]
    LdpcIterations(u16),
    /// A codeblock without a codeword, or of too many.
    #[error(
        "codewords = {0}: a codeblock of a sliced stream has 1 to {most} (CCSDS 131.0-B-5 8)",
        most = ldpc::CODEWORDS_MAX
    )]
    Codewords(u8),
    /// A block decoder was asked of a code whose blocks are no frames.
    #[error("a sliced stream has no blocks of octets: its codeblocks are decoded as soft symbols")]
    NoBlocks,
    /// A decoder of soft symbols was asked of a code that has none.
    #[error("this code works on bits: its marker is not searched among symbols")]
    NoSymbols,
    /// Frames of another length than the code's.
    #[error("{code} carries frames of {code_len} octets, but frame_len is {frame_len} ({why})")]
    FrameOfAnotherLength {
        /// Which code.
        code: &'static str,
        /// The code's.
        code_len: usize,
        /// The frame's.
        frame_len: usize,
        /// How the code's comes about.
        why: &'static str,
    },
    /// Nothing would tell a wrong frame from a right one.
    #[error(
        "{0} does not tell wrong frames from right ones: the frame needs a FECF (CCSDS 131.0-B-5 12.2.2)"
    )]
    NeedsFecf(&'static str),
    /// Kernels were asked for that this machine does not have.
    #[error(transparent)]
    Isa(#[from] IsaUnavailable),
}

impl CodeSpec {
    /// What people call the code.
    pub const fn name(&self) -> &'static str {
        match self {
            CodeSpec::None { .. } => "no code",
            CodeSpec::ReedSolomon(_) => "Reed-Solomon",
            CodeSpec::Convolutional { .. } => "the convolutional code",
            CodeSpec::Concatenated { .. } => "the concatenated code",
            CodeSpec::Turbo(_) => "turbo",
            CodeSpec::Ldpc(_) => "LDPC",
            CodeSpec::LdpcStream(_) => "sliced LDPC",
        }
    }

    /// Octets between the end of a marker and the start of the next; a last octet need not be filled
    /// ([`CodeSpec::block_symbols`]).
    pub fn block_len(&self) -> usize {
        match self {
            CodeSpec::None { frame_len } | CodeSpec::Convolutional { frame_len, .. } => *frame_len,
            CodeSpec::ReedSolomon(rs) | CodeSpec::Concatenated { reed_solomon: rs, .. } => rs.codeblock_len(),
            CodeSpec::Turbo(code) => code.spec().codeword_len(),
            CodeSpec::Ldpc(code) => code.ldpc.codeword_len(),
            CodeSpec::LdpcStream(code) => code.ldpc.codeword_len() * usize::from(code.codewords),
        }
    }

    /// Bits, or symbols, between the end of a marker and the start of the next, in front of an inner code.
    pub fn block_symbols(&self) -> usize {
        match self {
            CodeSpec::Turbo(code) => code.spec().codeword_bits(),
            _ => 8 * self.block_len(),
        }
    }

    /// Octets of the transfer frames.
    pub fn frame_len(&self) -> usize {
        match self {
            CodeSpec::None { frame_len } | CodeSpec::Convolutional { frame_len, .. } => *frame_len,
            CodeSpec::ReedSolomon(rs) | CodeSpec::Concatenated { reed_solomon: rs, .. } => rs.frame_len(),
            CodeSpec::Turbo(code) => code.information_bits / 8,
            CodeSpec::Ldpc(code) => code.ldpc.information_len(),
            CodeSpec::LdpcStream(code) => code.frame_len,
        }
    }

    /// Octets that come out of a block: the frame, or the slices of a stream.
    pub fn payload_len(&self) -> usize {
        match self {
            CodeSpec::LdpcStream(code) => code.ldpc.information_len() * usize::from(code.codewords),
            _ => self.frame_len(),
        }
    }

    /// The marker of the standard in front of every block (131.0-B-5 9.3; of a sliced stream 8.2.2).
    pub fn marker(&self) -> Marker {
        match self {
            CodeSpec::Turbo(code) => code.marker(),
            CodeSpec::Ldpc(LdpcCode { ldpc, .. }) | CodeSpec::LdpcStream(LdpcStreamCode { ldpc, .. }) => {
                ldpc.marker()
            }
            _ => Marker::CCSDS_32,
        }
    }

    /// Where the marker is searched.
    pub fn domain(&self) -> SyncDomain {
        match self {
            CodeSpec::Turbo(_) | CodeSpec::Ldpc(_) | CodeSpec::LdpcStream(_) => SyncDomain::Symbols,
            _ => SyncDomain::Bits,
        }
    }

    /// The inner code, which works on the stream in front of the synchroniser.
    pub fn convolutional(&self) -> Option<&ConvSpec> {
        match self {
            CodeSpec::Convolutional { convolutional, .. } | CodeSpec::Concatenated { convolutional, .. } => {
                Some(convolutional)
            }
            _ => None,
        }
    }

    /// Whether the link has to deliver symbols (hard ones at least): the code is not one of blocks of octets behind a
    /// marker of octets.
    pub fn needs_symbols(&self) -> bool {
        self.domain() == SyncDomain::Symbols || self.convolutional().is_some()
    }

    /// Information bits, of frames, for each symbol of the channel; markers do not count.
    pub fn rate(&self) -> f64 {
        let inner = self.convolutional().map_or(1.0, |conv| conv.rate.ratio());
        8.0 * self.payload_len() as f64 / self.block_symbols() as f64 * inner
    }

    /// Whether the code itself tells a good frame from a bad one, so that no FECF is needed (131.0-B-5 4.1, 12.2.2).
    pub fn detects_errors(&self) -> bool {
        match self {
            CodeSpec::None { .. } | CodeSpec::Convolutional { .. } | CodeSpec::Turbo(_) => false,
            CodeSpec::ReedSolomon(_)
            | CodeSpec::Concatenated { .. }
            | CodeSpec::Ldpc(_)
            | CodeSpec::LdpcStream(_) => true,
        }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`CodeSpecError`] says which parameter is impossible and what is allowed.
    pub fn validate(&self) -> Result<(), CodeSpecError> {
        let frame_len_fits = |frame_len: usize| match frame_len {
            1..=UNCODED_FRAME_LEN_MAX => Ok(()),
            _ => Err(CodeSpecError::FrameLen(frame_len)),
        };
        match self {
            CodeSpec::None { frame_len } => frame_len_fits(*frame_len),
            CodeSpec::ReedSolomon(rs) => Ok(rs.validate()?),
            CodeSpec::Convolutional { frame_len, convolutional } => {
                frame_len_fits(*frame_len)?;
                Ok(convolutional.validate()?)
            }
            CodeSpec::Concatenated { reed_solomon, convolutional } => {
                reed_solomon.validate()?;
                Ok(convolutional.validate()?)
            }
            CodeSpec::Turbo(code) => Ok(code.validate()?),
            CodeSpec::Ldpc(code) => code.validate(),
            CodeSpec::LdpcStream(code) => {
                frame_len_fits(code.frame_len)?;
                code.validate()
            }
        }
    }

    /// Checks that frames of this length, with or without a FECF, go with the code.
    ///
    /// # Errors
    /// As [`CodeSpec::validate`], or what of the frame does not fit.
    pub fn check_frame(&self, frame_len: usize, has_fecf: bool) -> Result<(), CodeSpecError> {
        self.validate()?;
        if self.frame_len() != frame_len {
            let why = match self {
                CodeSpec::ReedSolomon(_) | CodeSpec::Concatenated { .. } => {
                    "frame_len = (255 - 2 x e - virtual_fill) x interleave"
                }
                CodeSpec::Turbo(_) => "frame_len = information_bits / 8",
                CodeSpec::Ldpc(_) => "frame_len = k / 8; frames of other lengths take code = \"ldpc_stream\"",
                _ => "the code's own key says so",
            };
            let (code, code_len) = (self.name(), self.frame_len());
            return Err(CodeSpecError::FrameOfAnotherLength { code, code_len, frame_len, why });
        }
        match self {
            CodeSpec::Turbo(_) | CodeSpec::Convolutional { .. } if !has_fecf => {
                Err(CodeSpecError::NeedsFecf(self.name()))
            }
            _ => Ok(()),
        }
    }

    /// The verdict on a block from those on its codewords. Where the code vouches for nothing (turbo), a codeword that did
    /// not converge is for the FECF to judge.
    pub fn judge(&self, verdicts: &[SoftVerdict]) -> DecodeVerdict {
        let vouches = self.detects_errors();
        let count = |which: &dyn Fn(&SoftVerdict) -> bool| {
            verdicts.iter().filter(|verdict| which(verdict)).count().min(255) as u8
        };
        let corrected: u64 = verdicts.iter().map(|verdict| u64::from(verdict.symbols_corrected)).sum();
        DecodeVerdict {
            symbols_corrected: corrected.min(u64::from(u16::MAX)) as u16,
            codewords_corrected: count(&|verdict| verdict.symbols_corrected > 0),
            codewords_failed: count(&|verdict| vouches && !verdict.converged),
        }
    }

    /// The decoder of blocks of octets, with the kernels of `isa`. Codes that work on soft symbols take the octets for
    /// hard ones; of an inner code nothing is left here.
    ///
    /// # Errors
    /// As [`CodeSpec::validate`], [`CodeSpecError::NoBlocks`], or [`CodeSpecError::Isa`] when this machine lacks `isa`.
    pub fn build(&self, isa: Isa) -> Result<BlockDecoder, CodeSpecError> {
        BlockDecoder::new(self, isa)
    }

    /// The decoder of blocks of soft symbols, with the kernels of `isa`.
    ///
    /// # Errors
    /// As [`CodeSpec::validate`], [`CodeSpecError::NoSymbols`], or [`CodeSpecError::Isa`] when this machine lacks `isa`.
    pub fn build_soft(&self, isa: Isa) -> Result<SoftBlockDecoder, CodeSpecError> {
        SoftBlockDecoder::new(self, isa)
    }

    /// The encoder of blocks, with the kernels of `isa`.
    ///
    /// # Errors
    /// As [`CodeSpec::build`].
    pub fn build_encoder(&self, isa: Isa) -> Result<BlockEncoder, CodeSpecError> {
        BlockEncoder::new(self, isa)
    }
}
