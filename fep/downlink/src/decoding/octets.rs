//! Blocks of octets: no code, Reed-Solomon, and what an inner decoder gives.

use fep_coding::spec::DecodeVerdict;
use fep_coding::{BlockDecoder, CodeSpecError, Derandomizer, Isa, Randomizer};
use fep_mission::ChannelConfig;

use super::{Blocks, DecodeJob, Work};
use crate::block::BlockNote;

/// Octets of blocks decoded together: enough for the decoder to fill its lanes, little enough to stay in L2.
const BATCH_OCTETS: usize = 80 << 10;
/// Blocks start on cache lines.
const ALIGN: usize = 64;

/// Lengths of the blocks of a channel, and what makes decoders for them.
#[derive(Clone, Copy)]
pub(crate) struct OctetShape {
    code: fep_coding::CodeSpec,
    randomizer: Randomizer,
    isa: Isa,
    pub(crate) block_len: usize,
}

impl OctetShape {
    pub(crate) fn of(channel: &ChannelConfig, isa: Isa) -> OctetShape {
        let (code, randomizer) = match channel.code.slicing() {
            // Frames of a sliced stream are plain once the slices are decoded.
            Some(slicing) => (slicing.frame, Randomizer::None),
            None => (channel.code, channel.randomizer),
        };
        OctetShape { code, randomizer, isa, block_len: channel.sync.block_len }
    }
}

/// Blocks of octets that are decoded together.
pub(crate) struct OctetBlocks {
    block_len: usize,
    frame_len: usize,
    stride: usize,
    octets: Vec<u8>,
    notes: Vec<BlockNote>,
    verdicts: Vec<DecodeVerdict>,
    held: usize,
    derandomizer: Derandomizer,
    decoder: BlockDecoder,
}

/// A frame with its verdict, and how many more follow of the same batch.
pub(crate) struct DecodedFrame<'a> {
    pub(crate) frame: &'a [u8],
    pub(crate) verdict: &'a DecodeVerdict,
    pub(crate) note: &'a BlockNote,
    /// Frames of the batch, this one included, that have not been handed on.
    pub(crate) left: usize,
    /// Frames of the batch.
    pub(crate) batch: usize,
}

impl OctetBlocks {
    pub(crate) fn new(shape: &OctetShape) -> Result<OctetBlocks, CodeSpecError> {
        let OctetShape { code, randomizer, isa, block_len } = *shape;
        let decoder = code.build(isa)?;
        assert_eq!(block_len, decoder.block_len(), "configuration derives the one from the other");
        let stride = block_len.next_multiple_of(ALIGN);
        let capacity = (BATCH_OCTETS / stride).clamp(1, 64);
        Ok(OctetBlocks {
            block_len,
            frame_len: decoder.frame_len(),
            stride,
            octets: vec![0; capacity * stride],
            notes: vec![BlockNote::default(); capacity],
            verdicts: vec![DecodeVerdict::default(); capacity],
            held: 0,
            derandomizer: Derandomizer::with_isa(randomizer, block_len, isa)?,
            decoder,
        })
    }

    /// Takes a block as it was received. There is room for one.
    #[inline]
    pub(crate) fn put(&mut self, block: &[u8], note: BlockNote) {
        let start = self.held * self.stride;
        self.derandomizer.apply_to(block, &mut self.octets[start..start + self.block_len]);
        self.notes[self.held] = note;
        self.held += 1;
    }
}

impl Blocks for OctetBlocks {
    type Out<'a> = DecodedFrame<'a>;

    #[inline]
    fn is_empty(&self) -> bool {
        self.held == 0
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.held == self.notes.len()
    }

    fn decode(&mut self) {
        let octets = &mut self.octets[..self.held * self.stride];
        self.decoder.decode_batch(octets, self.stride, &mut self.verdicts[..self.held]);
    }

    fn give_up(&mut self) {
        self.notes[..self.held].iter_mut().for_each(|note| note.failed = true);
    }

    fn hand_on(&mut self, out: &mut impl FnMut(DecodedFrame<'_>)) {
        let batch = std::mem::take(&mut self.held);
        let blocks = self.octets.chunks_exact(self.stride).zip(&self.notes).zip(&self.verdicts[..batch]);
        for (index, ((block, note), verdict)) in blocks.enumerate() {
            let frame = &block[..self.frame_len];
            out(DecodedFrame { frame, verdict, note, left: batch - index, batch });
        }
    }

    fn clear(&mut self) {
        self.held = 0;
    }

    fn into_job(self) -> DecodeJob {
        Work::Octets(self).into()
    }

    fn from_job(job: DecodeJob) -> Option<OctetBlocks> {
        match job.work {
            Work::Octets(blocks) => Some(blocks),
            Work::Symbols(_) | Work::Windows(_) => None,
        }
    }
}
