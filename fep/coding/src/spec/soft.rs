//! Decoding of blocks of soft symbols.

use super::{CodeSpec, CodeSpecError};
use crate::isa::Isa;
use crate::ldpc::LdpcDecoder;
use crate::soft::SoftVerdict;
use crate::turbo::TurboDecoder;

#[derive(Debug)]
enum Decoder {
    Turbo(Box<TurboDecoder>),
    Ldpc(Box<LdpcDecoder>),
}

/// Decodes derandomised blocks of soft symbols: a codeword with one frame, or a codeblock of codewords with slices of a
/// stream. Faster in batches; the answers are the same.
#[derive(Debug)]
pub struct SoftBlockDecoder {
    spec: CodeSpec,
    codewords: usize,
    decoder: Decoder,
}

impl SoftBlockDecoder {
    pub(super) fn new(spec: &CodeSpec, isa: Isa) -> Result<SoftBlockDecoder, CodeSpecError> {
        spec.validate()?;
        let ldpc = |ldpc, iterations_max| -> Result<Decoder, CodeSpecError> {
            Ok(Decoder::Ldpc(Box::new(LdpcDecoder::with_isa(ldpc, iterations_max, isa)?)))
        };
        let (decoder, codewords) = match spec {
            CodeSpec::Turbo(code) => {
                (Decoder::Turbo(Box::new(TurboDecoder::with_isa(code.spec(), code.decoding(), isa)?)), 1)
            }
            CodeSpec::Ldpc(code) => (ldpc(code.ldpc, code.iterations_max)?, 1),
            CodeSpec::LdpcStream(code) => {
                (ldpc(code.ldpc, code.iterations_max)?, usize::from(code.codewords))
            }
            _ => return Err(CodeSpecError::NoSymbols),
        };
        Ok(SoftBlockDecoder { spec: *spec, codewords, decoder })
    }

    /// The code.
    pub fn spec(&self) -> &CodeSpec {
        &self.spec
    }

    /// Verdicts of a block: codewords.
    pub fn codewords(&self) -> usize {
        self.codewords
    }

    /// Decodes blocks of [`CodeSpec::block_symbols`], one behind the other, into [`CodeSpec::payload_len`] octets each,
    /// with [`SoftBlockDecoder::codewords`] verdicts each. What does not converge is given as far as it was decoded.
    ///
    /// # Panics
    /// When the lengths do not match.
    pub fn decode_batch(&mut self, blocks: &[i8], payloads: &mut [u8], verdicts: &mut [SoftVerdict]) {
        match &mut self.decoder {
            Decoder::Turbo(turbo) => turbo.decode_batch(blocks, payloads, verdicts),
            Decoder::Ldpc(ldpc) => ldpc.decode_batch(blocks, payloads, verdicts),
        }
    }
}
