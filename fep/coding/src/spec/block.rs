//! Decoding and encoding of blocks of octets.

use super::{CodeSpec, CodeSpecError, DecodeVerdict, SoftBlockDecoder};
use crate::isa::Isa;
use crate::ldpc::LdpcEncoder;
use crate::rs::ReedSolomon;
use crate::soft::{LEVEL_1_BIT, SoftVerdict, from_hard};
use crate::turbo::TurboEncoder;

#[derive(Debug)]
enum Decoder {
    None,
    ReedSolomon(Box<ReedSolomon>),
    /// A code of soft symbols, fed with hard ones.
    Soft(Box<HardInput>),
}

#[derive(Debug)]
struct HardInput {
    decoder: SoftBlockDecoder,
    symbols: Vec<i8>,
    payload: Vec<u8>,
}

/// Decodes blocks in place. Owns its scratch; nothing is allocated after [`CodeSpec::build`].
#[derive(Debug)]
pub struct BlockDecoder {
    spec: CodeSpec,
    decoder: Decoder,
}

impl BlockDecoder {
    pub(super) fn new(spec: &CodeSpec, isa: Isa) -> Result<BlockDecoder, CodeSpecError> {
        spec.validate()?;
        isa.require()?;
        let decoder = match spec {
            CodeSpec::None { .. } | CodeSpec::Convolutional { .. } => Decoder::None,
            CodeSpec::ReedSolomon(rs) | CodeSpec::Concatenated { reed_solomon: rs, .. } => {
                Decoder::ReedSolomon(Box::new(ReedSolomon::with_isa(*rs, isa)?))
            }
            CodeSpec::Turbo(_) | CodeSpec::Ldpc(_) => Decoder::Soft(Box::new(HardInput {
                decoder: SoftBlockDecoder::new(spec, isa)?,
                symbols: Vec::with_capacity(8 * spec.block_len()),
                payload: vec![0; spec.payload_len()],
            })),
            CodeSpec::LdpcStream(_) => return Err(CodeSpecError::NoBlocks),
        };
        Ok(BlockDecoder { spec: *spec, decoder })
    }

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
        match &mut self.decoder {
            Decoder::None => verdicts.fill(DecodeVerdict::default()),
            Decoder::ReedSolomon(rs) => rs.decode_batch(blocks, stride, verdicts),
            Decoder::Soft(hard) => {
                let symbols = self.spec.block_symbols();
                for (block, verdict) in blocks.chunks_mut(stride).zip(verdicts) {
                    *verdict = hard.decode(&mut block[..block_len], symbols);
                }
            }
        }
    }
}

impl HardInput {
    fn decode(&mut self, block: &mut [u8], symbols: usize) -> DecodeVerdict {
        self.symbols.clear();
        from_hard(block, symbols, LEVEL_1_BIT, &mut self.symbols);
        let mut verdict = [SoftVerdict::default()];
        self.decoder.decode_batch(&self.symbols, &mut self.payload, &mut verdict);
        let verdict = self.decoder.spec().judge(&verdict);
        if !verdict.is_uncorrectable() {
            block[..self.payload.len()].copy_from_slice(&self.payload);
        }
        verdict
    }
}

#[derive(Debug)]
enum Encoder {
    None,
    ReedSolomon(Box<ReedSolomon>),
    Turbo(Box<TurboEncoder>),
    Ldpc(Box<LdpcEncoder>),
}

/// Encodes frames into blocks (simulators, tests, replay).
#[derive(Debug)]
pub struct BlockEncoder {
    spec: CodeSpec,
    encoder: Encoder,
}

impl BlockEncoder {
    pub(super) fn new(spec: &CodeSpec, isa: Isa) -> Result<BlockEncoder, CodeSpecError> {
        spec.validate()?;
        isa.require()?;
        let encoder = match spec {
            CodeSpec::None { .. } | CodeSpec::Convolutional { .. } => Encoder::None,
            CodeSpec::ReedSolomon(rs) | CodeSpec::Concatenated { reed_solomon: rs, .. } => {
                Encoder::ReedSolomon(Box::new(ReedSolomon::with_isa(*rs, isa)?))
            }
            CodeSpec::Turbo(code) => Encoder::Turbo(Box::new(TurboEncoder::new(code.spec())?)),
            CodeSpec::Ldpc(code) => Encoder::Ldpc(Box::new(LdpcEncoder::with_isa(code.ldpc, isa)?)),
            CodeSpec::LdpcStream(_) => return Err(CodeSpecError::NoBlocks),
        };
        Ok(BlockEncoder { spec: *spec, encoder })
    }

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

    /// Encodes `frame` into `block`, before randomising. Of a turbo codeword the last bits of the last octet may belong to
    /// nothing ([`CodeSpec::block_symbols`]).
    ///
    /// # Panics
    /// When `frame` is not `frame_len` or `block` not `block_len` octets long.
    pub fn encode(&mut self, frame: &[u8], block: &mut [u8]) {
        assert_eq!(frame.len(), self.frame_len(), "frame length");
        assert_eq!(block.len(), self.block_len(), "block length");
        match &mut self.encoder {
            Encoder::None => block.copy_from_slice(frame),
            Encoder::ReedSolomon(rs) => {
                let (information, check) = block.split_at_mut(frame.len());
                information.copy_from_slice(frame);
                rs.encode(frame, check);
            }
            Encoder::Turbo(turbo) => turbo.encode(frame, block),
            Encoder::Ldpc(ldpc) => ldpc.encode(frame, block),
        }
    }
}
