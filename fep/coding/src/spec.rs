//! Which channel code a physical channel uses, and the decoder and encoder that go with it.
//!
//! A [`CodeSpec`] is the code of one *block*: what lies between two markers once the randomiser is off. Callers see only
//! lengths, batches and verdicts, so that a code joins as one more variant here and they stay as they are:
//! * turbo, LDPC and BCH are block codes too; they decode in place and leave the frame at the front of the block;
//! * a convolutional code works on the stream in front of the synchroniser (131.0-B-5 3), so a concatenated channel is
//!   two things: a stream decoder before [`crate::FrameSync`], and a `CodeSpec` behind it;
//! * soft symbols change what a block is made of, not who calls whom: [`CodeSpec::block_len`] is the octets a block takes.

use serde::{Deserialize, Serialize};

use crate::isa::{Isa, IsaUnavailable};
use crate::rs::{ReedSolomon, RsSpec, RsSpecError, RsVerdict};

/// The longest frame without a code: 65 536 octets (131.0-B-5 11, USLP).
pub const UNCODED_FRAME_LEN_MAX: usize = 65_536;

/// What decoding found in one block. For codes without codewords of their own kind, a block is one codeword.
pub type DecodeVerdict = RsVerdict;

/// The channel code between marker and marker. In configuration files the key `code` names the variant.
///
/// ```
/// use fep_coding::{CodeSpec, Isa};
/// let code = CodeSpec::ReedSolomon(fep_coding::rs::RsSpec {
///     e: fep_coding::rs::RsE::E16, interleave: 4, virtual_fill: 0, basis: fep_coding::rs::Basis::Dual });
/// assert_eq!((code.block_len(), code.frame_len()), (1020, 892));
/// let decoder = code.build(Isa::best())?;
/// assert_eq!(decoder.frame_len(), 892);
/// # Ok::<(), fep_coding::CodeSpecError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum CodeSpec {
    /// No code: the block is the frame. Errors are then found by the FECF alone.
    None {
        /// Octets of a frame, 1 to 65 536.
        frame_len: usize,
    },
    /// Reed-Solomon (131.0-B-5 4).
    ReedSolomon(RsSpec),
}

/// A code that cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeSpecError {
    /// An uncoded frame of an impossible length.
    #[error("frame_len = {0}: an uncoded frame has 1 to 65536 octets (CCSDS 131.0-B-5 11)")]
    FrameLen(usize),
    /// Reed-Solomon parameters that do not exist.
    #[error(transparent)]
    ReedSolomon(#[from] RsSpecError),
    /// Kernels were asked for that this machine does not have.
    #[error(transparent)]
    Isa(#[from] IsaUnavailable),
}

impl CodeSpec {
    /// Octets between the end of a marker and the start of the next.
    pub fn block_len(&self) -> usize {
        match self {
            CodeSpec::None { frame_len } => *frame_len,
            CodeSpec::ReedSolomon(rs) => rs.codeblock_len(),
        }
    }

    /// Octets of the transfer frame that a block carries.
    pub fn frame_len(&self) -> usize {
        match self {
            CodeSpec::None { frame_len } => *frame_len,
            CodeSpec::ReedSolomon(rs) => rs.frame_len(),
        }
    }

    /// Whether the code itself tells a good frame from a bad one, so that no FECF is needed (131.0-B-5 4.1, 12.2.2).
    pub fn detects_errors(&self) -> bool {
        match self {
            CodeSpec::None { .. } => false,
            CodeSpec::ReedSolomon(_) => true,
        }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`CodeSpecError`] says which parameter is impossible and what is allowed.
    pub fn validate(&self) -> Result<(), CodeSpecError> {
        match self {
            CodeSpec::None { frame_len } if !(1..=UNCODED_FRAME_LEN_MAX).contains(frame_len) => {
                Err(CodeSpecError::FrameLen(*frame_len))
            }
            CodeSpec::None { .. } => Ok(()),
            CodeSpec::ReedSolomon(rs) => Ok(rs.validate()?),
        }
    }

    /// The decoder, with the kernels of `isa`.
    ///
    /// # Errors
    /// As [`CodeSpec::validate`], or [`CodeSpecError::Isa`] when this machine lacks `isa`.
    pub fn build(&self, isa: Isa) -> Result<BlockDecoder, CodeSpecError> {
        Ok(BlockDecoder { codec: Codec::new(self, isa)?, spec: *self })
    }

    /// The encoder, with the kernels of `isa`.
    ///
    /// # Errors
    /// As [`CodeSpec::build`].
    pub fn build_encoder(&self, isa: Isa) -> Result<BlockEncoder, CodeSpecError> {
        Ok(BlockEncoder { codec: Codec::new(self, isa)?, spec: *self })
    }
}

#[derive(Debug)]
enum Codec {
    None,
    ReedSolomon(Box<ReedSolomon>),
}

impl Codec {
    fn new(spec: &CodeSpec, isa: Isa) -> Result<Codec, CodeSpecError> {
        spec.validate()?;
        isa.require()?;
        Ok(match spec {
            CodeSpec::None { .. } => Codec::None,
            CodeSpec::ReedSolomon(rs) => Codec::ReedSolomon(Box::new(ReedSolomon::with_isa(*rs, isa)?)),
        })
    }
}

/// Decodes blocks in place. Owns its scratch; nothing is allocated after [`CodeSpec::build`].
#[derive(Debug)]
pub struct BlockDecoder {
    spec: CodeSpec,
    codec: Codec,
}

impl BlockDecoder {
    /// The code.
    pub fn spec(&self) -> &CodeSpec {
        &self.spec
    }

    /// See [`CodeSpec::block_len`].
    pub fn block_len(&self) -> usize {
        self.spec.block_len()
    }

    /// See [`CodeSpec::frame_len`]. The decoded frame is the first `frame_len` octets of its block.
    pub fn frame_len(&self) -> usize {
        self.spec.frame_len()
    }

    /// Decodes `verdicts.len()` derandomised blocks in place: block k lies at `blocks[k * stride..]`, its frame then at
    /// `blocks[k * stride..][..frame_len]`. A block beyond correction is left as received.
    ///
    /// # Panics
    /// When `stride` is less than the block length or `blocks` is too short for the batch: caller's mistakes.
    pub fn decode_batch(&mut self, blocks: &mut [u8], stride: usize, verdicts: &mut [DecodeVerdict]) {
        let block_len = self.block_len();
        assert!(stride >= block_len, "stride of {stride} octets, blocks of {block_len}");
        if let Some(last) = verdicts.len().checked_sub(1) {
            let needed = last * stride + block_len;
            assert!(blocks.len() >= needed, "batch needs {needed} octets, got {}", blocks.len());
        }
        match &mut self.codec {
            Codec::None => verdicts.fill(DecodeVerdict::default()),
            Codec::ReedSolomon(rs) => rs.decode_batch(blocks, stride, verdicts),
        }
    }
}

/// Encodes frames into blocks (simulators, tests, replay).
#[derive(Debug)]
pub struct BlockEncoder {
    spec: CodeSpec,
    codec: Codec,
}

impl BlockEncoder {
    /// The code.
    pub fn spec(&self) -> &CodeSpec {
        &self.spec
    }

    /// See [`CodeSpec::block_len`].
    pub fn block_len(&self) -> usize {
        self.spec.block_len()
    }

    /// See [`CodeSpec::frame_len`].
    pub fn frame_len(&self) -> usize {
        self.spec.frame_len()
    }

    /// Encodes `frame` into `block`, before randomising.
    ///
    /// # Panics
    /// When `frame` is not `frame_len` or `block` not `block_len` octets long.
    pub fn encode(&mut self, frame: &[u8], block: &mut [u8]) {
        assert_eq!(frame.len(), self.frame_len(), "frame length");
        assert_eq!(block.len(), self.block_len(), "block length");
        let (information, check) = block.split_at_mut(frame.len());
        information.copy_from_slice(frame);
        match &mut self.codec {
            Codec::None => {}
            Codec::ReedSolomon(rs) => rs.encode(frame, check),
        }
    }
}
