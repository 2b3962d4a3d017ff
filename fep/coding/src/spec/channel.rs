//! From frames to the symbols that are radiated: code, randomiser, marker, inner code (131.0-B-5 2.2).

use super::{BlockEncoder, CodeSpec, CodeSpecError};
use crate::conv::ConvEncoder;
use crate::isa::Isa;
use crate::ldpc::{LdpcStreamEncoder, LdpcStreamSpec, LdpcStreamSpecError};
use crate::randomizer::{Derandomizer, Randomizer};
use crate::soft::from_hard;
use crate::sync::Marker;

#[derive(Debug)]
enum Outer {
    Block { encoder: Box<BlockEncoder>, randomizer: Derandomizer, block: Vec<u8> },
    Stream { encoder: Box<LdpcStreamEncoder>, octets: Vec<u8> },
}

/// Makes the symbols of a channel from its frames: 1 for a 0, -1 for a 1.
///
/// ```
/// use fep_coding::{CodeSpec, Marker, Randomizer};
/// use fep_coding::spec::ChannelEncoder;
/// let code = CodeSpec::None { frame_len: 2 };
/// let mut encoder = ChannelEncoder::new(&code, Marker::CCSDS_32, Randomizer::None)?;
/// let mut symbols = Vec::new();
/// encoder.encode(&[0xFF, 0x00], &mut symbols);
/// assert_eq!(symbols.len(), 48);
/// assert_eq!(symbols[..8], [1, 1, 1, -1, -1, 1, -1, 1]); // 1A
/// # Ok::<(), fep_coding::CodeSpecError>(())
/// ```
#[derive(Debug)]
pub struct ChannelEncoder {
    spec: CodeSpec,
    marker: Marker,
    outer: Outer,
    inner: Option<Box<ConvEncoder>>,
}

impl ChannelEncoder {
    /// An encoder for one physical channel. `marker` stands in front of every block; frames of a sliced stream have the
    /// standard's 32-bit marker besides.
    ///
    /// # Errors
    /// As [`CodeSpec::validate`].
    pub fn new(
        spec: &CodeSpec,
        marker: Marker,
        randomizer: Randomizer,
    ) -> Result<ChannelEncoder, CodeSpecError> {
        spec.validate()?;
        let outer = match spec {
            CodeSpec::LdpcStream(code) => {
                let stream = LdpcStreamSpec { ldpc: code.ldpc, codewords: code.codewords, randomizer };
                let encoder = LdpcStreamEncoder::new(stream).map_err(|error| match error {
                    LdpcStreamSpecError::Codewords(codewords) => CodeSpecError::Codewords(codewords),
                    LdpcStreamSpecError::Isa(unavailable) => CodeSpecError::Isa(unavailable),
                })?;
                Outer::Stream { encoder: Box::new(encoder), octets: Vec::new() }
            }
            _ => Outer::Block {
                encoder: Box::new(spec.build_encoder(Isa::best())?),
                randomizer: Derandomizer::new(randomizer, spec.block_len()),
                block: vec![0; spec.block_len()],
            },
        };
        let inner = spec.convolutional().map(ConvEncoder::new).transpose()?.map(Box::new);
        Ok(ChannelEncoder { spec: *spec, marker, outer, inner })
    }

    /// The code.
    pub fn spec(&self) -> &CodeSpec {
        &self.spec
    }

    /// Appends the symbols that `frame` completes.
    ///
    /// # Panics
    /// When `frame` is not [`CodeSpec::frame_len`] octets long.
    pub fn encode(&mut self, frame: &[u8], symbols: &mut Vec<i8>) {
        match &mut self.outer {
            Outer::Block { encoder, randomizer, block } => {
                encoder.encode(frame, block);
                randomizer.apply(block);
                let bits = self.spec.block_symbols();
                radiate(self.marker.as_bytes(), 8 * self.marker.as_bytes().len(), &mut self.inner, symbols);
                radiate(block, bits, &mut self.inner, symbols);
            }
            Outer::Stream { encoder, octets } => {
                assert_eq!(frame.len(), self.spec.frame_len(), "frame length");
                octets.clear();
                encoder.push(frame, octets);
                radiate_codeblocks(octets, encoder.spec(), &self.marker, symbols);
            }
        }
    }

    /// Ends the stream: what an inner code or a sliced stream still holds comes out.
    pub fn finish(&mut self, symbols: &mut Vec<i8>) {
        if let Outer::Stream { encoder, octets } = &mut self.outer {
            octets.clear();
            encoder.finish(octets);
            radiate_codeblocks(octets, encoder.spec(), &self.marker, symbols);
        }
        if let Some(inner) = &mut self.inner {
            inner.finish_soft(1, symbols);
        }
    }
}

fn radiate(octets: &[u8], bits: usize, inner: &mut Option<Box<ConvEncoder>>, symbols: &mut Vec<i8>) {
    match inner {
        // Blocks in front of an inner code are whole octets.
        Some(inner) => inner.push_soft(octets, 1, symbols),
        None => from_hard(octets, bits, 1, symbols),
    }
}

/// Codeblocks come with the marker of their code in front; the channel's own takes its place.
fn radiate_codeblocks(octets: &[u8], stream: &LdpcStreamSpec, marker: &Marker, symbols: &mut Vec<i8>) {
    let code_marker_len = stream.code_marker().as_bytes().len();
    for codeblock in octets.chunks_exact(code_marker_len + stream.codeblock_bits() / 8) {
        from_hard(marker.as_bytes(), 8 * marker.as_bytes().len(), 1, symbols);
        from_hard(&codeblock[code_marker_len..], stream.codeblock_bits(), 1, symbols);
    }
}
