//! Why a code cannot be built.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::differential::LineCode;
use crate::isa::IsaUnavailable;

/// A code that cannot be built, or that does not fit its frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeSpecError {
    /// A frame of an impossible length.
    #[error("frame_len = {0}: a frame of this code has 1 to 65536 octets (CCSDS 131.0-B-5 11)")]
    FrameLen(usize),
    /// Parameters that the code does not have.
    #[error(transparent)]
    Codec(CodecError),
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
        /// How the code's length is made.
        why: &'static str,
    },
    /// A differential line code around a code that is decoded from the symbols of the channel.
    #[error(
        "{code} is decoded from the symbols of the channel and is not combined with {line_code}: nrz_l is possible"
    )]
    LineCode {
        /// Which code.
        code: &'static str,
        /// Which line code.
        line_code: LineCode,
    },
    /// Kernels were asked for that this machine does not have.
    #[error(transparent)]
    Isa(#[from] IsaUnavailable),
}

impl CodeSpecError {
    /// The error of one codec, as [`CodeSpecError::Codec`].
    pub fn of_codec(error: impl Error + Send + Sync + 'static) -> CodeSpecError {
        CodeSpecError::Codec(CodecError(Arc::new(error)))
    }

    /// The codec's own error, if it is one and of this type.
    ///
    /// ```
    /// use fep_coding::rs::{Basis, RsE, RsSpec, RsSpecError};
    /// use fep_coding::CodeSpec;
    /// let odd = RsSpec { e: RsE::E16, interleave: 6, virtual_fill: 0, basis: Basis::Dual };
    /// let error = CodeSpec::from(odd).validate().expect_err("no such interleaving");
    /// assert_eq!(error.codec::<RsSpecError>(), Some(&RsSpecError::Interleave(6)));
    /// ```
    pub fn codec<E: Error + 'static>(&self) -> Option<&E> {
        match self {
            CodeSpecError::Codec(CodecError(error)) => error.downcast_ref(),
            _ => None,
        }
    }
}

/// The error of one codec, of whatever type its module has. Two are equal when they say the same.
#[derive(Debug, Clone)]
pub struct CodecError(Arc<dyn Error + Send + Sync>);

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl PartialEq for CodecError {
    fn eq(&self, other: &CodecError) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for CodecError {}
