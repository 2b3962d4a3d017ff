//! From frames to the symbols that are radiated: code, randomiser, marker, line code, inner code (131.0-B-5 2.2).

use super::codec::{Codec, EncodeStream};
use super::{BlockEncoder, CodeSpec, CodeSpecError, SyncDomain};
use crate::conv::ConvEncoder;
use crate::differential::{DifferentialEncoder, LineCode};
use crate::isa::Isa;
use crate::randomizer::{Derandomizer, Randomizer};
use crate::soft::from_hard;
use crate::sync::Marker;

#[derive(Debug)]
enum Outer {
    Block { encoder: Box<BlockEncoder>, randomizer: Derandomizer, block: Vec<u8> },
    Stream { encoder: Box<dyn EncodeStream>, octets: Vec<u8> },
}

/// Makes the symbols of a channel from its frames: 1 for a 0, -1 for a 1.
///
/// ```
/// use fep_coding::{CodeSpec, Marker, Randomizer};
/// use fep_coding::spec::{ChannelEncoder, UncodedFrames};
/// let code = CodeSpec::from(UncodedFrames { frame_len: 2 });
/// let mut encoder = ChannelEncoder::new(&code, Marker::CCSDS_32, Randomizer::None)?;
/// let mut symbols = Vec::new();
/// encoder.encode(&[0xFF, 0x00], &mut symbols);
/// assert_eq!(symbols.len(), 48);
/// assert_eq!(symbols[..8], [1, 1, 1, -1, -1, 1, -1, 1]); // 1A
/// # Ok::<(), fep_coding::CodeSpecError>(())
/// ```
#[derive(Debug)]
pub struct ChannelEncoder {
    marker: Marker,
    shape: Shape,
    outer: Outer,
    air: Air,
}

/// What follows behind the marker: the line code, then the inner code.
#[derive(Debug)]
struct Air {
    line: DifferentialEncoder,
    inner: Option<Box<ConvEncoder>>,
    levels: Vec<u8>,
}

/// What of the code is needed to radiate its blocks.
#[derive(Debug, Clone, Copy)]
struct Shape {
    name: &'static str,
    domain: SyncDomain,
    frame_len: usize,
    block_len: usize,
    block_symbols: usize,
    /// Octets of the marker that blocks of a stream come with.
    code_marker_len: usize,
}

impl ChannelEncoder {
    /// An encoder for one physical channel. `marker` stands in front of every block; frames of a sliced stream have a
    /// marker of their own besides.
    ///
    /// # Errors
    /// As [`CodeSpec::validate`].
    pub fn new(
        spec: &CodeSpec,
        marker: Marker,
        randomizer: Randomizer,
    ) -> Result<ChannelEncoder, CodeSpecError> {
        ChannelEncoder::of_codec(spec.codec(), marker, randomizer)
    }

    /// The same for a codec of any registry.
    ///
    /// # Errors
    /// As [`Codec::validate`].
    pub fn of_codec(
        codec: &dyn Codec,
        marker: Marker,
        randomizer: Randomizer,
    ) -> Result<ChannelEncoder, CodeSpecError> {
        codec.validate()?;
        let isa = Isa::best();
        let outer = match codec.stream_encoder(randomizer, isa)? {
            Some(encoder) => Outer::Stream { encoder, octets: Vec::new() },
            None => Outer::Block {
                encoder: Box::new(BlockEncoder::new(codec, isa)?),
                randomizer: Derandomizer::new(randomizer, codec.block_len()),
                block: vec![0; codec.block_len()],
            },
        };
        let inner = codec.convolutional().map(ConvEncoder::new).transpose()?.map(Box::new);
        let shape = Shape {
            name: codec.name(),
            domain: codec.domain(),
            frame_len: codec.frame_len(),
            block_len: codec.block_len(),
            block_symbols: codec.block_symbols(),
            code_marker_len: codec.marker().as_bytes().len(),
        };
        let air = Air { line: DifferentialEncoder::new(LineCode::NrzL), inner, levels: Vec::new() };
        Ok(ChannelEncoder { marker, shape, outer, air })
    }

    /// The same with a line code: on the bits of markers and blocks, in front of the inner code where there is one. That is
    /// where HRIT, LRIT and the X-band broadcasts have it: the receiver undoes it behind its Viterbi decoder, or on the bits
    /// that the demodulator decides.
    ///
    /// # Errors
    /// [`CodeSpecError::LineCode`] when the code does not go with it ([`CodeSpec::check_line_code`]).
    pub fn with_line_code(mut self, line_code: LineCode) -> Result<ChannelEncoder, CodeSpecError> {
        check_line_code(self.shape.name, self.shape.domain, line_code)?;
        self.air.line = DifferentialEncoder::new(line_code);
        Ok(self)
    }

    /// Whether a convolutional code lies around the stream: its decoder needs more symbols behind the last frame.
    pub fn has_inner_code(&self) -> bool {
        self.air.inner.is_some()
    }

    /// Appends the symbols that `frame` completes.
    ///
    /// # Panics
    /// When `frame` is not [`CodeSpec::frame_len`] octets long.
    pub fn encode(&mut self, frame: &[u8], symbols: &mut Vec<i8>) {
        let shape = self.shape;
        assert_eq!(frame.len(), shape.frame_len, "frame length");
        match &mut self.outer {
            Outer::Block { encoder, randomizer, block } => {
                encoder.encode(frame, block);
                randomizer.apply(block);
                self.air.radiate(&self.marker, block, shape.block_symbols, symbols);
            }
            Outer::Stream { encoder, octets } => {
                octets.clear();
                encoder.push(frame, octets);
                self.air.radiate_blocks(octets, shape, &self.marker, symbols);
            }
        }
    }

    /// Ends the stream: what an inner code or a sliced stream still holds comes out.
    pub fn finish(&mut self, symbols: &mut Vec<i8>) {
        if let Outer::Stream { encoder, octets } = &mut self.outer {
            octets.clear();
            encoder.finish(octets);
            self.air.radiate_blocks(octets, self.shape, &self.marker, symbols);
        }
        if let Some(inner) = &mut self.air.inner {
            inner.finish_soft(1, symbols);
        }
    }
}

impl Air {
    /// Blocks of a stream come with the marker of their code in front; the channel's own takes its place.
    fn radiate_blocks(&mut self, octets: &[u8], shape: Shape, marker: &Marker, symbols: &mut Vec<i8>) {
        for block in octets.chunks_exact(shape.code_marker_len + shape.block_len) {
            self.radiate(marker, &block[shape.code_marker_len..], shape.block_symbols, symbols);
        }
    }

    fn radiate(&mut self, marker: &Marker, block: &[u8], bits: usize, symbols: &mut Vec<i8>) {
        let marker = marker.as_bytes();
        self.radiate_bits(marker, 8 * marker.len(), symbols);
        self.radiate_bits(block, bits, symbols);
    }

    fn radiate_bits(&mut self, octets: &[u8], bits: usize, symbols: &mut Vec<i8>) {
        self.levels.clear();
        self.levels.extend_from_slice(octets);
        self.line.apply_bits(&mut self.levels, bits);
        match &mut self.inner {
            // Blocks in front of an inner code are whole octets.
            Some(inner) => inner.push_soft(&self.levels, 1, symbols),
            None => from_hard(&self.levels, bits, 1, symbols),
        }
    }
}

/// A decoder of soft symbols takes those of the channel; levels would have to be undone in front of it, at a loss that no
/// mission accepts.
pub(super) fn check_line_code(
    code: &'static str,
    domain: SyncDomain,
    line_code: LineCode,
) -> Result<(), CodeSpecError> {
    if domain == SyncDomain::Symbols && line_code.is_differential() {
        return Err(CodeSpecError::LineCode { code, line_code });
    }
    Ok(())
}
