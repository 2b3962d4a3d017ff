//! No code: the block is the frame.

use serde::Serialize;

use crate::isa::Isa;
use crate::spec::block::Plain;
use crate::spec::codec::{Codec, Configured, DecodeOctets, EncodeOctets, check_frame_len};
use crate::spec::error::CodeSpecError;
use crate::spec::keys::{FrameShape, Key, Refusal, Values};

/// Frames without a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UncodedFrames {
    /// Octets of a frame, 1 to 65 536.
    pub frame_len: usize,
}

impl Codec for UncodedFrames {
    fn name(&self) -> &'static str {
        "no code"
    }

    fn block_len(&self) -> usize {
        self.frame_len
    }

    fn frame_len(&self) -> usize {
        self.frame_len
    }

    fn detects_errors(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), CodeSpecError> {
        check_frame_len(self.frame_len)
    }

    fn decoder(&self, _isa: Isa) -> Result<Box<dyn DecodeOctets>, CodeSpecError> {
        Ok(Box::new(Plain))
    }

    fn encoder(&self, _isa: Isa) -> Result<Box<dyn EncodeOctets>, CodeSpecError> {
        Ok(Box::new(Plain))
    }
}

impl Configured for UncodedFrames {
    const KEYS: &'static [Key] = &[];
    const OPEN_FRAME_LEN: bool = true;

    fn from_values(_values: &Values, frame: &FrameShape) -> Result<UncodedFrames, Refusal> {
        Ok(UncodedFrames { frame_len: frame.required_len()? })
    }
}
