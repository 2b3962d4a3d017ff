//! Turbo codes (131.0-B-5 6), one frame a codeword.

use serde::Serialize;

use crate::isa::Isa;
use crate::soft::SoftVerdict;
use crate::spec::SyncDomain;
use crate::spec::block::HardInput;
use crate::spec::codec::{Codec, Configured, DecodeOctets, DecodeSymbols, EncodeOctets};
use crate::spec::error::CodeSpecError;
use crate::spec::keys::{Form, FrameShape, Key, Refusal, Values, names};
use crate::sync::Marker;
use crate::turbo::{
    ITERATIONS_MAX, TurboDecoder, TurboDecoding, TurboEncoder, TurboRate, TurboSpec, TurboSpecError,
    TurboStop,
};

const INFORMATION_BITS: [(&str, usize); 4] = [("1784", 1784), ("3568", 3568), ("7136", 7136), ("8920", 8920)];
const RATES: [(&str, TurboRate); 4] =
    [("1/2", TurboRate::R1_2), ("1/3", TurboRate::R1_3), ("1/4", TurboRate::R1_4), ("1/6", TurboRate::R1_6)];
const STOPS: [(&str, TurboStop); 3] =
    [("never", TurboStop::Never), ("agreement", TurboStop::Agreement), ("fecf", TurboStop::Fecf)];

/// A turbo code and its decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TurboCode {
    /// Bits of a frame: 1784, 3568, 7136 or 8920.
    pub information_bits: usize,
    /// Nominal rate: "1/2", "1/3", "1/4" or "1/6".
    pub rate: TurboRate,
    /// When the decoder gives up.
    pub iterations_max: u8,
    /// When it ends earlier.
    pub stop: TurboStop,
}

impl TurboCode {
    /// This code with the decoder's defaults.
    pub fn new(information_bits: usize, rate: TurboRate) -> TurboCode {
        let TurboDecoding { iterations_max, stop } = TurboDecoding::default();
        TurboCode { information_bits, rate, iterations_max, stop }
    }

    /// The code.
    pub const fn spec(&self) -> TurboSpec {
        TurboSpec { information_bits: self.information_bits, rate: self.rate }
    }

    /// The decoder.
    pub const fn decoding(&self) -> TurboDecoding {
        TurboDecoding { iterations_max: self.iterations_max, stop: self.stop }
    }
}

impl Codec for TurboCode {
    fn name(&self) -> &'static str {
        "turbo"
    }

    fn block_len(&self) -> usize {
        self.spec().codeword_len()
    }

    fn block_symbols(&self) -> usize {
        self.spec().codeword_bits()
    }

    fn frame_len(&self) -> usize {
        self.spec().information_len()
    }

    fn frame_len_rule(&self) -> &'static str {
        "frame_len = information_bits / 8"
    }

    /// That of its rate (131.0-B-5 9.3).
    fn marker(&self) -> Marker {
        match self.rate {
            TurboRate::R1_2 => Marker::CCSDS_64,
            TurboRate::R1_3 => Marker::CCSDS_96,
            TurboRate::R1_4 => Marker::CCSDS_128,
            TurboRate::R1_6 => Marker::CCSDS_192,
        }
    }

    fn domain(&self) -> SyncDomain {
        SyncDomain::Symbols
    }

    fn detects_errors(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), CodeSpecError> {
        self.spec().validate()?;
        match self.iterations_max {
            1..=ITERATIONS_MAX => Ok(()),
            iterations => Err(TurboSpecError::Iterations(iterations).into()),
        }
    }

    fn decoder(&self, isa: Isa) -> Result<Box<dyn DecodeOctets>, CodeSpecError> {
        Ok(Box::new(HardInput::new(self, isa)?))
    }

    fn soft_decoder(&self, isa: Isa) -> Result<Box<dyn DecodeSymbols>, CodeSpecError> {
        Ok(Box::new(TurboDecoder::with_isa(self.spec(), self.decoding(), isa)?))
    }

    fn encoder(&self, _isa: Isa) -> Result<Box<dyn EncodeOctets>, CodeSpecError> {
        Ok(Box::new(TurboEncoder::new(self.spec())?))
    }
}

impl DecodeSymbols for TurboDecoder {
    fn decode_batch(&mut self, blocks: &[i8], payloads: &mut [u8], verdicts: &mut [SoftVerdict]) {
        TurboDecoder::decode_batch(self, blocks, payloads, verdicts);
    }
}

impl EncodeOctets for TurboEncoder {
    fn encode(&mut self, frame: &[u8], block: &mut [u8]) {
        TurboEncoder::encode(self, frame, block);
    }
}

impl Configured for TurboCode {
    const KEYS: &'static [Key] = &[
        Key::new("information_bits", Form::Choice(&names(&INFORMATION_BITS))),
        Key::required("rate", Form::Choice(&names(&RATES))),
        Key::new("iterations_max", Form::Integer { least: 1, most: ITERATIONS_MAX as u64 }),
        Key::new("stop", Form::Choice(&names(&STOPS))),
    ];

    fn from_values(values: &Values, frame: &FrameShape) -> Result<TurboCode, Refusal> {
        let information_bits = values
            .choice("information_bits", &INFORMATION_BITS)
            .or_else(|| frame.frame_len?.checked_mul(8))
            .ok_or(Refusal::Missing("information_bits"))?;
        let rate = values.choice("rate", &RATES).ok_or(Refusal::Missing("rate"))?;
        let defaults = TurboCode::new(information_bits, rate);
        let stop = values.choice("stop", &STOPS).unwrap_or(defaults.stop);
        if stop == TurboStop::Fecf && frame.has_crc16 == Some(false) {
            return Err(Refusal::At {
                key: "stop",
                message: "the frame has no CRC-16 that could stop the decoder".to_owned(),
                allowed: "never, agreement",
            });
        }
        let iterations_max = values.integer("iterations_max").unwrap_or(defaults.iterations_max);
        Ok(TurboCode { iterations_max, stop, ..defaults })
    }
}

impl From<TurboSpecError> for CodeSpecError {
    fn from(error: TurboSpecError) -> CodeSpecError {
        match error {
            TurboSpecError::Isa(unavailable) => CodeSpecError::Isa(unavailable),
            error => CodeSpecError::of_codec(error),
        }
    }
}
