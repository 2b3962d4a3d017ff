//! What a channel code is to the rest of the crate: the trait that a codec's module implements.

use std::fmt;

use super::keys::{FrameShape, Key, Refusal, Values};
use super::{CodeSpec, CodeSpecError, DecodeVerdict, SyncDomain, UNCODED_FRAME_LEN_MAX};
use crate::conv::ConvSpec;
use crate::isa::Isa;
use crate::randomizer::Randomizer;
use crate::soft::SoftVerdict;
use crate::sync::Marker;

/// One channel code with its parameters. [`CodeSpec`] says what each answer means; a codec's module gives them.
///
/// What works on every block ([`DecodeOctets`], [`DecodeSymbols`], [`EncodeOctets`], [`EncodeStream`]) is built once, and
/// called once for a whole batch.
pub trait Codec: fmt::Debug {
    /// See [`CodeSpec::name`].
    fn name(&self) -> &'static str;

    /// See [`CodeSpec::block_len`].
    fn block_len(&self) -> usize;

    /// See [`CodeSpec::block_symbols`].
    fn block_symbols(&self) -> usize {
        8 * self.block_len()
    }

    /// See [`CodeSpec::frame_len`].
    fn frame_len(&self) -> usize;

    /// How the length of its frames is made, for who chose another one.
    fn frame_len_rule(&self) -> &'static str {
        "the code's own key says so"
    }

    /// See [`CodeSpec::payload_len`].
    fn payload_len(&self) -> usize {
        self.frame_len()
    }

    /// Codewords of a block of soft symbols, each with a verdict of its own.
    fn codewords(&self) -> usize {
        1
    }

    /// See [`CodeSpec::marker`].
    fn marker(&self) -> Marker {
        Marker::CCSDS_32
    }

    /// See [`CodeSpec::domain`].
    fn domain(&self) -> SyncDomain {
        SyncDomain::Bits
    }

    /// See [`CodeSpec::convolutional`].
    fn convolutional(&self) -> Option<&ConvSpec> {
        None
    }

    /// See [`CodeSpec::detects_errors`].
    fn detects_errors(&self) -> bool;

    /// See [`CodeSpec::octet_correction`].
    fn octet_correction(&self) -> Option<OctetCorrection> {
        None
    }

    /// See [`CodeSpec::slicing`].
    fn slicing(&self) -> Option<Slicing> {
        None
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`CodeSpecError`] says which parameter is impossible and what is allowed.
    fn validate(&self) -> Result<(), CodeSpecError>;

    /// The decoder of blocks of octets. The parameters have been validated, and this machine has `isa`.
    ///
    /// # Errors
    /// [`CodeSpecError::NoBlocks`] when blocks are no frames.
    fn decoder(&self, isa: Isa) -> Result<Box<dyn DecodeOctets>, CodeSpecError>;

    /// The decoder of blocks of soft symbols. The parameters have been validated, and this machine has `isa`.
    ///
    /// # Errors
    /// [`CodeSpecError::NoSymbols`] when the code works on bits.
    fn soft_decoder(&self, _isa: Isa) -> Result<Box<dyn DecodeSymbols>, CodeSpecError> {
        Err(CodeSpecError::NoSymbols)
    }

    /// The encoder of blocks of octets. The parameters have been validated, and this machine has `isa`.
    ///
    /// # Errors
    /// [`CodeSpecError::NoBlocks`] when blocks are no frames.
    fn encoder(&self, isa: Isa) -> Result<Box<dyn EncodeOctets>, CodeSpecError>;

    /// The encoder of a stream of frames, where blocks are no frames; `None` where [`Codec::encoder`] gives one. The
    /// parameters have been validated, and this machine has `isa`.
    ///
    /// # Errors
    /// What keeps the encoder from being built.
    fn stream_encoder(
        &self,
        _randomizer: Randomizer,
        _isa: Isa,
    ) -> Result<Option<Box<dyn EncodeStream>>, CodeSpecError> {
        Ok(None)
    }
}

/// A codec as configuration describes it.
pub trait Configured: Codec + Sized {
    /// Its keys.
    const KEYS: &'static [Key];

    /// Whether the code leaves the length of its frames open: then it is a key `frame_len` where no frame is described
    /// beside the code.
    const OPEN_FRAME_LEN: bool = false;

    /// Makes the codec from the values of its keys and from what is known of the frame. Parameters that each are possible
    /// but not together are left to [`Codec::validate`].
    ///
    /// # Errors
    /// [`Refusal`] names the key that is missing or cannot be.
    fn from_values(values: &Values, frame: &FrameShape) -> Result<Self, Refusal>;
}

/// What a code corrects that works on octets in codewords of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OctetCorrection {
    /// Codewords of a block: octet i of the block belongs to codeword i modulo this.
    pub interleave: u8,
    /// Wrong octets that are corrected in one codeword.
    pub correctable: u8,
}

/// A stream of frames cut into slices (131.0-B-5 8): what comes out of decoded blocks is a piece of a stream, in which
/// frames lie behind markers of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slicing {
    /// Octets of the stream that one codeword carries.
    pub slice_len: usize,
    /// Codewords of a block.
    pub codewords: usize,
    /// Octets of a frame.
    pub frame_len: usize,
    /// In front of every frame in the stream. No parameter changes it.
    pub frame_marker: Marker,
    /// The code of one codeword, as if each carried a frame.
    pub codeword: CodeSpec,
    /// The code of what lies between two markers of the stream: none, and no randomiser either.
    pub frame: CodeSpec,
}

/// Decodes blocks of octets in place.
pub trait DecodeOctets: fmt::Debug + Send {
    /// Decodes `verdicts.len()` derandomised blocks: block k lies at `blocks[k * stride..]`, its frame then at the same
    /// place. A block beyond correction is left as received. The lengths have been checked.
    fn decode_batch(&mut self, blocks: &mut [u8], stride: usize, verdicts: &mut [DecodeVerdict]);
}

/// Decodes blocks of soft symbols.
pub trait DecodeSymbols: fmt::Debug + Send {
    /// Decodes derandomised blocks, one behind the other, into payloads and verdicts, one behind the other.
    ///
    /// # Panics
    /// When the lengths do not match.
    fn decode_batch(&mut self, blocks: &[i8], payloads: &mut [u8], verdicts: &mut [SoftVerdict]);
}

/// Encodes frames into blocks of octets.
pub trait EncodeOctets: fmt::Debug + Send {
    /// Encodes one frame into one block, before randomising. The lengths have been checked.
    fn encode(&mut self, frame: &[u8], block: &mut [u8]);
}

/// Encodes a stream of frames into blocks that are no frames.
pub trait EncodeStream: fmt::Debug + Send {
    /// Appends the randomised blocks that `frame` completes, each behind the code's marker.
    fn push(&mut self, frame: &[u8], out: &mut Vec<u8>);

    /// Ends the stream: appends what waited, filled up to a block.
    fn finish(&mut self, out: &mut Vec<u8>);
}

/// Checks the length of a frame that the code leaves open.
pub(super) fn check_frame_len(frame_len: usize) -> Result<(), CodeSpecError> {
    match frame_len {
        1..=UNCODED_FRAME_LEN_MAX => Ok(()),
        _ => Err(CodeSpecError::FrameLen(frame_len)),
    }
}
