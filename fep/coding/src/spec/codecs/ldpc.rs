//! LDPC (131.0-B-5 7), one frame a codeword.

use serde::{Serialize, Serializer};

use crate::isa::Isa;
use crate::ldpc::{CODEWORDS_MAX, ITERATIONS_MAX, LdpcDecoder, LdpcEncoder, LdpcSpec};
use crate::soft::SoftVerdict;
use crate::spec::SyncDomain;
use crate::spec::block::HardInput;
use crate::spec::codec::{Codec, Configured, DecodeOctets, DecodeSymbols, EncodeOctets};
use crate::spec::error::CodeSpecError;
use crate::spec::keys::{Form, FrameShape, Key, Refusal, Values, names};
use crate::sync::Marker;

const SIZES: [(&str, u32); 4] = [("1024", 1024), ("4096", 4096), ("16384", 16_384), ("7136", 7136)];
const RATES: [(&str, &str); 4] = [("1/2", "1/2"), ("2/3", "2/3"), ("4/5", "4/5"), ("7/8", "7/8")];

/// An LDPC code of one frame a codeword, and its decoder. In configuration `k`, `rate` and `iterations_max`; C2 is
/// `k = 7136`, `rate = "7/8"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LdpcCode {
    /// The code.
    pub ldpc: LdpcSpec,
    /// When the decoder gives up.
    pub iterations_max: u16,
}

/// Parameters that an LDPC channel cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LdpcCodeError {
    /// A decoder without an iteration, or with too many.
    #[error("iterations_max = {0}: 1 to {ITERATIONS_MAX}")]
    Iterations(u16),
    /// A codeblock without a codeword, or of too many.
    #[error("codewords = {0}: a codeblock of a sliced stream has 1 to {CODEWORDS_MAX} (CCSDS 131.0-B-5 8)")]
    Codewords(u8),
}

impl LdpcCode {
    /// This code with the decoder's default.
    pub const fn new(ldpc: LdpcSpec) -> LdpcCode {
        LdpcCode { ldpc, iterations_max: ldpc.iterations_default() }
    }
}

impl Codec for LdpcCode {
    fn name(&self) -> &'static str {
        "LDPC"
    }

    fn block_len(&self) -> usize {
        self.ldpc.codeword_len()
    }

    fn frame_len(&self) -> usize {
        self.ldpc.information_len()
    }

    fn frame_len_rule(&self) -> &'static str {
        "frame_len = k / 8; frames of other lengths take code = \"ldpc_stream\""
    }

    fn marker(&self) -> Marker {
        self.ldpc.marker()
    }

    fn domain(&self) -> SyncDomain {
        SyncDomain::Symbols
    }

    fn detects_errors(&self) -> bool {
        true
    }

    fn validate(&self) -> Result<(), CodeSpecError> {
        match self.iterations_max {
            1..=ITERATIONS_MAX => Ok(()),
            iterations => Err(LdpcCodeError::Iterations(iterations).into()),
        }
    }

    fn decoder(&self, isa: Isa) -> Result<Box<dyn DecodeOctets>, CodeSpecError> {
        Ok(Box::new(HardInput::new(self, isa)?))
    }

    fn soft_decoder(&self, isa: Isa) -> Result<Box<dyn DecodeSymbols>, CodeSpecError> {
        Ok(Box::new(LdpcDecoder::with_isa(self.ldpc, self.iterations_max, isa)?))
    }

    fn encoder(&self, isa: Isa) -> Result<Box<dyn EncodeOctets>, CodeSpecError> {
        Ok(Box::new(LdpcEncoder::with_isa(self.ldpc, isa)?))
    }
}

impl DecodeSymbols for LdpcDecoder {
    fn decode_batch(&mut self, blocks: &[i8], payloads: &mut [u8], verdicts: &mut [SoftVerdict]) {
        LdpcDecoder::decode_batch(self, blocks, payloads, verdicts);
    }
}

impl EncodeOctets for LdpcEncoder {
    fn encode(&mut self, frame: &[u8], block: &mut [u8]) {
        LdpcEncoder::encode(self, frame, block);
    }
}

impl Configured for LdpcCode {
    const KEYS: &'static [Key] = &[K, RATE, ITERATIONS];

    fn from_values(values: &Values, _frame: &FrameShape) -> Result<LdpcCode, Refusal> {
        let k = values.choice(K.name, &SIZES).ok_or(Refusal::Missing(K.name))?;
        let rate = values.choice(RATE.name, &RATES).ok_or(Refusal::Missing(RATE.name))?;
        // Of an AR4JA code and of C2 alike.
        let ldpc = LdpcSpec::new(k, rate).map_err(|error| Refusal::At {
            key: RATE.name,
            message: error.to_string(),
            allowed: "",
        })?;
        let iterations_max = values.integer(ITERATIONS.name).unwrap_or(ldpc.iterations_default());
        Ok(LdpcCode { ldpc, iterations_max })
    }
}

/// The keys of the code, which a sliced stream has too.
pub(super) const K: Key = Key::required("k", Form::Choice(&names(&SIZES)));
pub(super) const RATE: Key = Key::required("rate", Form::Choice(&names(&RATES)));
pub(super) const ITERATIONS: Key =
    Key::new("iterations_max", Form::Integer { least: 1, most: ITERATIONS_MAX as u64 });

#[derive(Serialize)]
struct Written {
    k: usize,
    rate: &'static str,
    iterations_max: u16,
}

impl Serialize for LdpcCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (k, rate) = (self.ldpc.information_bits(), self.ldpc.rate_name());
        Written { k, rate, iterations_max: self.iterations_max }.serialize(serializer)
    }
}

impl From<LdpcCodeError> for CodeSpecError {
    fn from(error: LdpcCodeError) -> CodeSpecError {
        CodeSpecError::of_codec(error)
    }
}
