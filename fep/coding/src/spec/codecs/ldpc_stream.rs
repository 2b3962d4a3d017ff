//! LDPC of a sliced stream of frames (131.0-B-5 8).

use serde::{Serialize, Serializer};

use super::ldpc::{ITERATIONS, K, LdpcCode, LdpcCodeError, RATE};
use super::uncoded::UncodedFrames;
use crate::isa::Isa;
use crate::ldpc::{CODEWORDS_MAX, LdpcSpec, LdpcStreamEncoder, LdpcStreamSpec, LdpcStreamSpecError};
use crate::randomizer::Randomizer;
use crate::spec::SyncDomain;
use crate::spec::codec::{
    Codec, Configured, DecodeOctets, DecodeSymbols, EncodeOctets, EncodeStream, Slicing, check_frame_len,
};
use crate::spec::error::CodeSpecError;
use crate::spec::keys::{Form, FrameShape, Key, Refusal, Values};
use crate::sync::Marker;

/// A sliced stream of frames, and its decoder. In configuration `k`, `rate`, `codewords` and `iterations_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl LdpcStreamCode {
    /// A stream of one codeword a codeblock with the decoder's default.
    pub const fn new(ldpc: LdpcSpec, frame_len: usize) -> LdpcStreamCode {
        LdpcStreamCode { frame_len, ldpc, codewords: 1, iterations_max: ldpc.iterations_default() }
    }

    /// The code of one slice.
    const fn codeword(&self) -> LdpcCode {
        LdpcCode { ldpc: self.ldpc, iterations_max: self.iterations_max }
    }
}

impl Codec for LdpcStreamCode {
    fn name(&self) -> &'static str {
        "sliced LDPC"
    }

    fn block_len(&self) -> usize {
        self.ldpc.codeword_len() * self.codewords()
    }

    fn frame_len(&self) -> usize {
        self.frame_len
    }

    fn payload_len(&self) -> usize {
        self.ldpc.information_len() * self.codewords()
    }

    fn codewords(&self) -> usize {
        usize::from(self.codewords)
    }

    /// Of codeblocks (131.0-B-5 8.2.2).
    fn marker(&self) -> Marker {
        self.ldpc.marker()
    }

    fn domain(&self) -> SyncDomain {
        SyncDomain::Symbols
    }

    fn detects_errors(&self) -> bool {
        true
    }

    fn slicing(&self) -> Option<Slicing> {
        Some(Slicing {
            slice_len: self.ldpc.information_len(),
            codewords: self.codewords(),
            frame_len: self.frame_len,
            frame_marker: Marker::CCSDS_32,
            codeword: self.codeword().into(),
            frame: UncodedFrames { frame_len: self.frame_len }.into(),
        })
    }

    fn validate(&self) -> Result<(), CodeSpecError> {
        check_frame_len(self.frame_len)?;
        if !(1..=CODEWORDS_MAX).contains(&self.codewords) {
            return Err(LdpcCodeError::Codewords(self.codewords).into());
        }
        self.codeword().validate()
    }

    fn decoder(&self, _isa: Isa) -> Result<Box<dyn DecodeOctets>, CodeSpecError> {
        Err(CodeSpecError::NoBlocks)
    }

    fn soft_decoder(&self, isa: Isa) -> Result<Box<dyn DecodeSymbols>, CodeSpecError> {
        self.codeword().soft_decoder(isa)
    }

    fn encoder(&self, _isa: Isa) -> Result<Box<dyn EncodeOctets>, CodeSpecError> {
        Err(CodeSpecError::NoBlocks)
    }

    fn stream_encoder(
        &self,
        randomizer: Randomizer,
        isa: Isa,
    ) -> Result<Option<Box<dyn EncodeStream>>, CodeSpecError> {
        let stream = LdpcStreamSpec { ldpc: self.ldpc, codewords: self.codewords, randomizer };
        let encoder = LdpcStreamEncoder::with_isa(stream, isa).map_err(|error| match error {
            LdpcStreamSpecError::Codewords(codewords) => LdpcCodeError::Codewords(codewords).into(),
            LdpcStreamSpecError::Isa(unavailable) => CodeSpecError::Isa(unavailable),
        })?;
        Ok(Some(Box::new(encoder)))
    }
}

impl EncodeStream for LdpcStreamEncoder {
    fn push(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        LdpcStreamEncoder::push(self, frame, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        LdpcStreamEncoder::finish(self, out);
    }
}

impl Configured for LdpcStreamCode {
    const KEYS: &'static [Key] =
        &[K, RATE, Key::new("codewords", Form::Integer { least: 1, most: CODEWORDS_MAX as u64 }), ITERATIONS];
    const OPEN_FRAME_LEN: bool = true;

    fn from_values(values: &Values, frame: &FrameShape) -> Result<LdpcStreamCode, Refusal> {
        let LdpcCode { ldpc, iterations_max } = LdpcCode::from_values(values, frame)?;
        let codewords = values.integer("codewords").unwrap_or(1);
        Ok(LdpcStreamCode { frame_len: frame.required_len()?, ldpc, codewords, iterations_max })
    }
}

#[derive(Serialize)]
struct Written {
    #[serde(flatten)]
    codeword: LdpcCode,
    codewords: u8,
    frame_len: usize,
}

impl Serialize for LdpcStreamCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let codeword = self.codeword();
        Written { codeword, codewords: self.codewords, frame_len: self.frame_len }.serialize(serializer)
    }
}
