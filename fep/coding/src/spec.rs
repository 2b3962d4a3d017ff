//! Which channel code a physical channel uses, and the decoders and encoders that go with it.
//!
//! A [`CodeSpec`] gives sizes, rate and marker, refuses what is impossible, and builds:
//!
//! | what | from | for |
//! |---|---|---|
//! | [`BlockDecoder`] | [`CodeSpec::build`] | blocks of octets, decoded in place: all codes but sliced streams |
//! | [`SoftBlockDecoder`] | [`CodeSpec::build_soft`] | blocks of soft symbols: codes whose marker is among the symbols |
//! | [`crate::conv::ConvReceiver`] | [`CodeSpec::convolutional`] | the stream in front of the synchroniser, if there is an inner code |
//! | [`BlockEncoder`] | [`CodeSpec::build_encoder`] | blocks of octets |
//! | [`ChannelEncoder`] | [`ChannelEncoder::new`] | the symbols of a whole channel: marker, randomiser, line code and inner code too |
//!
//! A *block* is what lies between two markers once the randomiser is off. Where the marker is searched,
//! [`CodeSpec::domain`] says: among bits (of the inner decoder, if there is one) or among symbols. With an inner
//! convolutional code the block is that of the outer code.
//!
//! # Adding a code
//!
//! A code is one module in `spec/codecs`, which implements [`Codec`] and [`Configured`], and one line in the registry
//! ([`CodeSpec`] in `spec/registry.rs`). Everything else asks the codec: the configuration reads the keys it lists, the
//! chain of decoders is made of what it can do ([`CodeSpec::domain`], [`CodeSpec::convolutional`],
//! [`CodeSpec::slicing`]). No code outside this crate names one.

mod block;
mod channel;
mod codec;
mod codecs;
mod error;
mod keys;
mod registry;
mod verdict;

use serde::{Deserialize, Serialize};

use crate::conv::ConvSpec;
use crate::differential::LineCode;
use crate::isa::Isa;
use crate::soft::SoftVerdict;
use crate::sync::Marker;

pub use block::{BlockDecoder, BlockEncoder, SoftBlockDecoder};
pub use channel::ChannelEncoder;
pub use codec::{
    Codec, Configured, DecodeOctets, DecodeSymbols, EncodeOctets, EncodeStream, OctetCorrection, Slicing,
};
pub use codecs::{
    ConcatenatedCode, ConvolutionalCode, LdpcCode, LdpcCodeError, LdpcStreamCode, TurboCode, UncodedFrames,
};
pub use error::{CodeSpecError, CodecError};
pub use keys::{Form, FrameShape, Key, Refusal, Value, Values, names};
#[doc(hidden)]
pub use registry::deserialize;
pub use registry::{CodeSpec, Entry};
pub use verdict::DecodeVerdict;

/// The longest frame without a code: 65 536 octets (131.0-B-5 11, USLP).
pub const UNCODED_FRAME_LEN_MAX: usize = 65_536;

/// Where the marker of a code is searched (131.0-B-5 9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncDomain {
    /// Among bits: as received, or as the convolutional decoder gives them.
    Bits,
    /// Among the symbols of the channel.
    Symbols,
}

impl CodeSpec {
    /// What people call the code.
    pub fn name(&self) -> &'static str {
        self.codec().name()
    }

    /// Octets between the end of a marker and the start of the next; a last octet need not be filled
    /// ([`CodeSpec::block_symbols`]).
    pub fn block_len(&self) -> usize {
        self.codec().block_len()
    }

    /// Bits, or symbols, between the end of a marker and the start of the next, in front of an inner code.
    pub fn block_symbols(&self) -> usize {
        self.codec().block_symbols()
    }

    /// Octets of the transfer frames.
    pub fn frame_len(&self) -> usize {
        self.codec().frame_len()
    }

    /// Octets that come out of a block: the frame, or the slices of a stream.
    pub fn payload_len(&self) -> usize {
        self.codec().payload_len()
    }

    /// The marker of the standard in front of every block (131.0-B-5 9.3; of a sliced stream 8.2.2).
    pub fn marker(&self) -> Marker {
        self.codec().marker()
    }

    /// Where the marker is searched.
    pub fn domain(&self) -> SyncDomain {
        self.codec().domain()
    }

    /// The inner code, which works on the stream in front of the synchroniser.
    pub fn convolutional(&self) -> Option<&ConvSpec> {
        self.codec().convolutional()
    }

    /// How blocks carry frames, where they carry slices of a stream of frames; `None` where a block is a frame.
    pub fn slicing(&self) -> Option<Slicing> {
        self.codec().slicing()
    }

    /// What the code corrects, where it works on octets in codewords of its own.
    pub fn octet_correction(&self) -> Option<OctetCorrection> {
        self.codec().octet_correction()
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
        self.codec().detects_errors()
    }

    /// Whether anything tells a good frame from a bad one: the code, or the frame's FECF. Where nothing does, frames are
    /// *unchecked*: they are to be marked so, because the decoder may have made any of them. The standard asks for a FECF
    /// with such codes (131.0-B-5 12.2.2); spacecraft fly without.
    pub fn verifies_frames(&self, has_fecf: bool) -> bool {
        has_fecf || self.detects_errors()
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`CodeSpecError`] says which parameter is impossible and what is allowed.
    pub fn validate(&self) -> Result<(), CodeSpecError> {
        self.codec().validate()
    }

    /// Checks that frames of this length go with the code.
    ///
    /// # Errors
    /// As [`CodeSpec::validate`], or [`CodeSpecError::FrameOfAnotherLength`].
    pub fn check_frame(&self, frame_len: usize) -> Result<(), CodeSpecError> {
        let codec = self.codec();
        codec.validate()?;
        let (code, code_len, why) = (codec.name(), codec.frame_len(), codec.frame_len_rule());
        if code_len == frame_len {
            Ok(())
        } else {
            Err(CodeSpecError::FrameOfAnotherLength { code, code_len, frame_len, why })
        }
    }

    /// Checks that the code goes with a line code. Differential ones (NRZ-M, NRZ-S) go with codes that work on bits, and
    /// lie in front of the inner code; turbo and LDPC have none.
    ///
    /// # Errors
    /// [`CodeSpecError::LineCode`].
    pub fn check_line_code(&self, line_code: LineCode) -> Result<(), CodeSpecError> {
        channel::check_line_code(self.name(), self.domain(), line_code)
    }

    /// The verdict on a block from those on its codewords ([`DecodeVerdict::of_codewords`]).
    pub fn judge(&self, verdicts: &[SoftVerdict]) -> DecodeVerdict {
        DecodeVerdict::of_codewords(verdicts, self.detects_errors())
    }

    /// The decoder of blocks of octets, with the kernels of `isa`. Codes that work on soft symbols take the octets for
    /// hard ones; of an inner code nothing is left here.
    ///
    /// # Errors
    /// As [`CodeSpec::validate`], [`CodeSpecError::NoBlocks`], or [`CodeSpecError::Isa`] when this machine lacks `isa`.
    pub fn build(&self, isa: Isa) -> Result<BlockDecoder, CodeSpecError> {
        BlockDecoder::new(self.codec(), isa)
    }

    /// The decoder of blocks of soft symbols, with the kernels of `isa`.
    ///
    /// # Errors
    /// As [`CodeSpec::validate`], [`CodeSpecError::NoSymbols`], or [`CodeSpecError::Isa`] when this machine lacks `isa`.
    pub fn build_soft(&self, isa: Isa) -> Result<SoftBlockDecoder, CodeSpecError> {
        SoftBlockDecoder::new(self.codec(), isa)
    }

    /// The encoder of blocks, with the kernels of `isa`.
    ///
    /// # Errors
    /// As [`CodeSpec::build`].
    pub fn build_encoder(&self, isa: Isa) -> Result<BlockEncoder, CodeSpecError> {
        BlockEncoder::new(self.codec(), isa)
    }
}
