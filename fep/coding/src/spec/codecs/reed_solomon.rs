//! Reed-Solomon alone (131.0-B-5 4).

use crate::isa::Isa;
use crate::rs::{Basis, ReedSolomon, RsE, RsSpec, RsSpecError, RsVerdict};
use crate::spec::codec::{Codec, Configured, DecodeOctets, EncodeOctets, OctetCorrection};
use crate::spec::error::CodeSpecError;
use crate::spec::keys::{Form, FrameShape, Key, Refusal, Values, names};
use crate::spec::verdict::DecodeVerdict;

/// Verdicts that lie on the stack between the decoder and its caller.
const VERDICTS: usize = 64;

const E: [(&str, RsE); 2] = [("8", RsE::E8), ("16", RsE::E16)];
const INTERLEAVES: [(&str, u8); 6] = [("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5), ("8", 8)];
const BASES: [(&str, Basis); 2] = [("dual", Basis::Dual), ("conventional", Basis::Conventional)];

impl Codec for RsSpec {
    fn name(&self) -> &'static str {
        "Reed-Solomon"
    }

    fn block_len(&self) -> usize {
        self.codeblock_len()
    }

    fn frame_len(&self) -> usize {
        RsSpec::frame_len(self)
    }

    fn frame_len_rule(&self) -> &'static str {
        "frame_len = (255 - 2 x e - virtual_fill) x interleave"
    }

    fn detects_errors(&self) -> bool {
        true
    }

    fn octet_correction(&self) -> Option<OctetCorrection> {
        Some(OctetCorrection { interleave: self.interleave, correctable: self.e.into() })
    }

    fn validate(&self) -> Result<(), CodeSpecError> {
        Ok(RsSpec::validate(self)?)
    }

    fn decoder(&self, isa: Isa) -> Result<Box<dyn DecodeOctets>, CodeSpecError> {
        Ok(Box::new(ReedSolomon::with_isa(*self, isa)?))
    }

    fn encoder(&self, isa: Isa) -> Result<Box<dyn EncodeOctets>, CodeSpecError> {
        Ok(Box::new(ReedSolomon::with_isa(*self, isa)?))
    }
}

impl DecodeOctets for ReedSolomon {
    fn decode_batch(&mut self, blocks: &mut [u8], stride: usize, verdicts: &mut [DecodeVerdict]) {
        let mut found = [RsVerdict::default(); VERDICTS];
        for (blocks, verdicts) in blocks.chunks_mut(VERDICTS * stride).zip(verdicts.chunks_mut(VERDICTS)) {
            let found = &mut found[..verdicts.len()];
            ReedSolomon::decode_batch(self, blocks, stride, found);
            for (verdict, found) in verdicts.iter_mut().zip(found) {
                *verdict = (*found).into();
            }
        }
    }
}

impl EncodeOctets for ReedSolomon {
    fn encode(&mut self, frame: &[u8], block: &mut [u8]) {
        let (information, check) = block.split_at_mut(frame.len());
        information.copy_from_slice(frame);
        ReedSolomon::encode(self, frame, check);
    }
}

impl Configured for RsSpec {
    const KEYS: &'static [Key] = &[
        Key::new("e", Form::Choice(&names(&E))),
        Key::new("interleave", Form::Choice(&names(&INTERLEAVES))),
        Key::new("virtual_fill", Form::Integer { least: 0, most: 238 }),
        Key::new("basis", Form::Choice(&names(&BASES))),
    ];

    fn from_values(values: &Values, _frame: &FrameShape) -> Result<RsSpec, Refusal> {
        Ok(RsSpec {
            e: values.choice("e", &E).unwrap_or(RsE::E16),
            interleave: values.choice("interleave", &INTERLEAVES).unwrap_or(1),
            virtual_fill: values.integer("virtual_fill").unwrap_or(0),
            basis: values.choice("basis", &BASES).unwrap_or_default(),
        })
    }
}

impl From<RsSpecError> for CodeSpecError {
    fn from(error: RsSpecError) -> CodeSpecError {
        match error {
            RsSpecError::Isa(unavailable) => CodeSpecError::Isa(unavailable),
            error => CodeSpecError::of_codec(error),
        }
    }
}
