//! Decoding and encoding of blocks: lengths are checked here, codecs do the work.

use super::codec::{Codec, DecodeOctets, DecodeSymbols, EncodeOctets};
use super::{CodeSpecError, DecodeVerdict};
use crate::isa::Isa;
use crate::soft::{LEVEL_1_BIT, SoftVerdict, from_hard};

/// Decodes blocks in place. Owns its scratch; nothing is allocated after it was built.
#[derive(Debug)]
pub struct BlockDecoder {
    block_len: usize,
    frame_len: usize,
    decoder: Box<dyn DecodeOctets>,
}

impl BlockDecoder {
    /// The decoder of a codec with the kernels of `isa`.
    ///
    /// # Errors
    /// See [`CodeSpec::build`](super::CodeSpec::build).
    pub fn new(codec: &dyn Codec, isa: Isa) -> Result<BlockDecoder, CodeSpecError> {
        codec.validate()?;
        let decoder = codec.decoder(isa.require()?)?;
        Ok(BlockDecoder { block_len: codec.block_len(), frame_len: codec.frame_len(), decoder })
    }

    /// See [`CodeSpec::block_len`](super::CodeSpec::block_len).
    pub fn block_len(&self) -> usize {
        self.block_len
    }

    /// See [`CodeSpec::frame_len`](super::CodeSpec::frame_len). The decoded frame is the first `frame_len` octets of its
    /// block.
    pub fn frame_len(&self) -> usize {
        self.frame_len
    }

    /// Decodes `verdicts.len()` derandomised blocks in place: block k lies at `blocks[k * stride..]`, its frame then at
    /// `blocks[k * stride..][..frame_len]`. A block beyond correction is left as received.
    ///
    /// # Panics
    /// When `stride` is less than the block length or `blocks` is too short for the batch: caller's mistakes.
    pub fn decode_batch(&mut self, blocks: &mut [u8], stride: usize, verdicts: &mut [DecodeVerdict]) {
        let block_len = self.block_len;
        assert!(stride >= block_len, "stride of {stride} octets, blocks of {block_len}");
        if let Some(last) = verdicts.len().checked_sub(1) {
            let needed = last * stride + block_len;
            assert!(blocks.len() >= needed, "batch needs {needed} octets, got {}", blocks.len());
        }
        self.decoder.decode_batch(blocks, stride, verdicts);
    }
}

/// Decodes derandomised blocks of soft symbols: a codeword with one frame, or a codeblock of codewords with slices of a
/// stream. Faster in batches; the answers are the same.
#[derive(Debug)]
pub struct SoftBlockDecoder {
    block_symbols: usize,
    payload_len: usize,
    codewords: usize,
    decoder: Box<dyn DecodeSymbols>,
}

impl SoftBlockDecoder {
    /// The decoder of a codec with the kernels of `isa`.
    ///
    /// # Errors
    /// See [`CodeSpec::build_soft`](super::CodeSpec::build_soft).
    pub fn new(codec: &dyn Codec, isa: Isa) -> Result<SoftBlockDecoder, CodeSpecError> {
        codec.validate()?;
        Ok(SoftBlockDecoder {
            block_symbols: codec.block_symbols(),
            payload_len: codec.payload_len(),
            codewords: codec.codewords(),
            decoder: codec.soft_decoder(isa.require()?)?,
        })
    }

    /// See [`CodeSpec::block_symbols`](super::CodeSpec::block_symbols).
    pub fn block_symbols(&self) -> usize {
        self.block_symbols
    }

    /// See [`CodeSpec::payload_len`](super::CodeSpec::payload_len).
    pub fn payload_len(&self) -> usize {
        self.payload_len
    }

    /// Verdicts of a block: codewords.
    pub fn codewords(&self) -> usize {
        self.codewords
    }

    /// Decodes blocks of [`SoftBlockDecoder::block_symbols`], one behind the other, into
    /// [`SoftBlockDecoder::payload_len`] octets each, with [`SoftBlockDecoder::codewords`] verdicts each. What does not
    /// converge is given as far as it was decoded.
    ///
    /// # Panics
    /// When the lengths do not match.
    pub fn decode_batch(&mut self, blocks: &[i8], payloads: &mut [u8], verdicts: &mut [SoftVerdict]) {
        self.decoder.decode_batch(blocks, payloads, verdicts);
    }
}

/// Encodes frames into blocks (simulators, tests, replay).
#[derive(Debug)]
pub struct BlockEncoder {
    block_len: usize,
    frame_len: usize,
    encoder: Box<dyn EncodeOctets>,
}

impl BlockEncoder {
    /// The encoder of a codec with the kernels of `isa`.
    ///
    /// # Errors
    /// See [`CodeSpec::build_encoder`](super::CodeSpec::build_encoder).
    pub fn new(codec: &dyn Codec, isa: Isa) -> Result<BlockEncoder, CodeSpecError> {
        codec.validate()?;
        let encoder = codec.encoder(isa.require()?)?;
        Ok(BlockEncoder { block_len: codec.block_len(), frame_len: codec.frame_len(), encoder })
    }

    /// See [`CodeSpec::block_len`](super::CodeSpec::block_len).
    pub fn block_len(&self) -> usize {
        self.block_len
    }

    /// See [`CodeSpec::frame_len`](super::CodeSpec::frame_len).
    pub fn frame_len(&self) -> usize {
        self.frame_len
    }

    /// Encodes `frame` into `block`, before randomising. Of a turbo codeword the last bits of the last octet may belong to
    /// nothing ([`CodeSpec::block_symbols`](super::CodeSpec::block_symbols)).
    ///
    /// # Panics
    /// When `frame` is not `frame_len` or `block` not `block_len` octets long.
    pub fn encode(&mut self, frame: &[u8], block: &mut [u8]) {
        assert_eq!(frame.len(), self.frame_len, "frame length");
        assert_eq!(block.len(), self.block_len, "block length");
        self.encoder.encode(frame, block);
    }
}

/// Blocks that are their frames: nothing to decode, nothing to encode.
#[derive(Debug)]
pub(super) struct Plain;

impl DecodeOctets for Plain {
    fn decode_batch(&mut self, _blocks: &mut [u8], _stride: usize, verdicts: &mut [DecodeVerdict]) {
        verdicts.fill(DecodeVerdict::default());
    }
}

impl EncodeOctets for Plain {
    fn encode(&mut self, frame: &[u8], block: &mut [u8]) {
        block.copy_from_slice(frame);
    }
}

/// Feeds a decoder of soft symbols, one codeword and one frame a block, with hard ones.
#[derive(Debug)]
pub(super) struct HardInput {
    decoder: Box<dyn DecodeSymbols>,
    detects_errors: bool,
    block_len: usize,
    block_symbols: usize,
    symbols: Vec<i8>,
    payload: Vec<u8>,
}

impl HardInput {
    pub(super) fn new(codec: &dyn Codec, isa: Isa) -> Result<HardInput, CodeSpecError> {
        Ok(HardInput {
            decoder: codec.soft_decoder(isa)?,
            detects_errors: codec.detects_errors(),
            block_len: codec.block_len(),
            block_symbols: codec.block_symbols(),
            symbols: Vec::with_capacity(8 * codec.block_len()),
            payload: vec![0; codec.payload_len()],
        })
    }

    fn decode(&mut self, block: &mut [u8]) -> DecodeVerdict {
        self.symbols.clear();
        from_hard(block, self.block_symbols, LEVEL_1_BIT, &mut self.symbols);
        let mut verdict = [SoftVerdict::default()];
        self.decoder.decode_batch(&self.symbols, &mut self.payload, &mut verdict);
        let verdict = DecodeVerdict::of_codewords(&verdict, self.detects_errors);
        if !verdict.is_uncorrectable() {
            block[..self.payload.len()].copy_from_slice(&self.payload);
        }
        verdict
    }
}

impl DecodeOctets for HardInput {
    fn decode_batch(&mut self, blocks: &mut [u8], stride: usize, verdicts: &mut [DecodeVerdict]) {
        let block_len = self.block_len;
        for (block, verdict) in blocks.chunks_mut(stride).zip(verdicts) {
            *verdict = self.decode(&mut block[..block_len]);
        }
    }
}
