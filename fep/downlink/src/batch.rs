//! The batch of blocks of octets that are decoded together.

use fep_coding::spec::DecodeVerdict;
use fep_coding::{Block, BlockDecoder, Derandomizer, Isa, Randomizer};
use fep_mission::ChannelConfig;
use fep_record::BadReason;
use fep_time::Tai;

use crate::block::{BlockNote, Judgement};
use crate::{ChainError, ChainOptions, Sink};

/// Octets of blocks decoded together: enough for the decoder to fill its lanes, little enough to stay in L2.
const BATCH_OCTETS: usize = 80 << 10;
/// Blocks start on cache lines.
const ALIGN: usize = 64;
/// Blocks on their way through the decoder.
pub(crate) struct Batch {
    block_len: usize,
    frame_len: usize,
    stride: usize,
    blocks: Vec<u8>,
    notes: Vec<BlockNote>,
    verdicts: Vec<DecodeVerdict>,
    held: usize,
    derandomizer: Derandomizer,
    decoder: BlockDecoder,
}

impl Batch {
    pub(crate) fn new(channel: &ChannelConfig, options: &ChainOptions) -> Result<Batch, ChainError> {
        let refused = |source| ChainError::Code { channel: channel.name.clone(), source };
        let isa = options.isa.unwrap_or_else(Isa::best);
        let (code, randomizer) = match channel.code.slicing() {
            // Frames of a sliced stream are plain once the slices are decoded.
            Some(slicing) => (slicing.frame, Randomizer::None),
            None => (channel.code, channel.randomizer),
        };
        let decoder = code.build(isa).map_err(refused)?;
        let block_len = channel.sync.block_len;
        assert_eq!(block_len, decoder.block_len(), "configuration derives the one from the other");
        let derandomizer =
            Derandomizer::with_isa(randomizer, block_len, isa).map_err(|error| refused(error.into()))?;
        let stride = block_len.next_multiple_of(ALIGN);
        let capacity = (BATCH_OCTETS / stride).clamp(1, 64);
        Ok(Batch {
            block_len,
            frame_len: decoder.frame_len(),
            stride,
            blocks: vec![0; capacity * stride],
            notes: vec![BlockNote::default(); capacity],
            verdicts: vec![DecodeVerdict::default(); capacity],
            held: 0,
            derandomizer,
            decoder,
        })
    }

    /// Octets between markers.
    pub(crate) fn block_len(&self) -> usize {
        self.block_len
    }

    /// Takes a block of the synchroniser.
    #[inline]
    pub(crate) fn push_block(
        &mut self,
        block: &Block<'_>,
        received: Tai,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        self.push_coded(block.data, BlockNote::of(block, received), out);
    }

    /// Takes a block as it was received.
    #[inline]
    pub(crate) fn push_coded(&mut self, block: &[u8], note: BlockNote, out: &mut Judgement<'_, impl Sink>) {
        let start = self.held * self.stride;
        self.derandomizer.apply_to(block, &mut self.blocks[start..start + self.block_len]);
        self.notes[self.held] = note;
        self.held += 1;
        if self.held == self.notes.len() {
            self.flush(out);
        }
    }

    /// Takes a frame that was decoded on the way here, with the verdict on it.
    pub(crate) fn push_judged(
        &mut self,
        frame: &[u8],
        note: BlockNote,
        verdict: &DecodeVerdict,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        self.flush(out);
        out.batch_decoded(1);
        out.frame(frame, &note, Some(verdict));
        out.batch_done();
    }

    /// Takes a frame that was decoded before it reached us.
    pub(crate) fn push_decoded(&mut self, frame: &[u8], note: BlockNote, out: &mut Judgement<'_, impl Sink>) {
        self.flush(out);
        out.batch_decoded(1);
        out.frame(frame, &note, None);
        out.batch_done();
    }

    /// Takes octets that are no frame of this channel: of a wrong length, or behind a wrong marker.
    pub(crate) fn push_bad(
        &mut self,
        octets: &[u8],
        note: BlockNote,
        reason: BadReason,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        self.flush(out);
        out.batch_decoded(1);
        out.refuse(octets, &note, reason);
        out.batch_done();
    }

    /// Decodes and hands over what is held.
    pub(crate) fn flush(&mut self, out: &mut Judgement<'_, impl Sink>) {
        if self.held == 0 {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let verdicts = &mut self.verdicts[..held];
        self.decoder.decode_batch(&mut self.blocks[..held * self.stride], self.stride, verdicts);
        out.batch_decoded(held);
        for ((block, note), verdict) in
            self.blocks.chunks_exact(self.stride).zip(&self.notes).zip(verdicts.iter())
        {
            out.frame(&block[..self.frame_len], note, Some(verdict));
        }
        out.batch_done();
    }

    /// Forgets what is held.
    pub(crate) fn reset(&mut self) {
        self.held = 0;
    }
}
