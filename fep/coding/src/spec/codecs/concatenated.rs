//! Reed-Solomon inside, the convolutional code around it (131.0-B-5 5).

use serde::Serialize;

use super::convolutional::{CONVOLUTIONAL, inner};
use crate::conv::ConvSpec;
use crate::isa::Isa;
use crate::rs::RsSpec;
use crate::spec::codec::{Codec, Configured, DecodeOctets, EncodeOctets, OctetCorrection};
use crate::spec::error::CodeSpecError;
use crate::spec::keys::{Form, FrameShape, Key, Refusal, Values};

const REED_SOLOMON: Key = Key::required("reed_solomon", Form::Table(RsSpec::KEYS));

/// Two codes, one around the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConcatenatedCode {
    /// The outer code.
    pub reed_solomon: RsSpec,
    /// The inner code.
    pub convolutional: ConvSpec,
}

impl Codec for ConcatenatedCode {
    fn name(&self) -> &'static str {
        "the concatenated code"
    }

    fn block_len(&self) -> usize {
        self.reed_solomon.block_len()
    }

    fn frame_len(&self) -> usize {
        self.reed_solomon.frame_len()
    }

    fn frame_len_rule(&self) -> &'static str {
        self.reed_solomon.frame_len_rule()
    }

    fn convolutional(&self) -> Option<&ConvSpec> {
        Some(&self.convolutional)
    }

    fn detects_errors(&self) -> bool {
        self.reed_solomon.detects_errors()
    }

    fn octet_correction(&self) -> Option<OctetCorrection> {
        self.reed_solomon.octet_correction()
    }

    fn validate(&self) -> Result<(), CodeSpecError> {
        Codec::validate(&self.reed_solomon)?;
        Ok(self.convolutional.validate()?)
    }

    fn decoder(&self, isa: Isa) -> Result<Box<dyn DecodeOctets>, CodeSpecError> {
        self.reed_solomon.decoder(isa)
    }

    fn encoder(&self, isa: Isa) -> Result<Box<dyn EncodeOctets>, CodeSpecError> {
        self.reed_solomon.encoder(isa)
    }
}

impl Configured for ConcatenatedCode {
    const KEYS: &'static [Key] = &[CONVOLUTIONAL, REED_SOLOMON];

    fn from_values(values: &Values, frame: &FrameShape) -> Result<ConcatenatedCode, Refusal> {
        let outer = values.table(REED_SOLOMON.name).ok_or(Refusal::Missing(REED_SOLOMON.name))?;
        Ok(ConcatenatedCode {
            reed_solomon: RsSpec::from_values(outer, frame)?,
            convolutional: inner(values)?,
        })
    }
}
