//! The stream of frames that codeblocks carry in slices (131.0-B-5 8), and where in it codewords failed.

use std::collections::VecDeque;
use std::ops::Range;

use fep_coding::Block;
use fep_coding::spec::DecodeVerdict;

use crate::Sink;
use crate::block::{BlockNote, Judgement};
use crate::decoding::DecodedBlock;
use crate::framer::Framer;
use crate::times::ChunkTimes;

/// Frames out of slices.
pub(crate) struct Slices {
    framer: Framer,
    slice_bits: u64,
    fates: Fates,
    /// Bits given to the synchroniser since its start.
    stream_bits: u64,
    /// By the place of a codeblock's first bit, when it was received: a frame has the time of the codeblock in which it
    /// begins.
    times: ChunkTimes,
}

/// What became of the codewords of the stream.
struct Fates {
    period: u64,
    failed: VecDeque<Range<u64>>,
    /// Symbols corrected that no frame accounts for yet.
    corrected: u64,
}

impl Slices {
    /// `slice_len`: octets of a slice, the information of one codeword.
    pub(crate) fn new(framer: Framer, slice_len: usize) -> Slices {
        let fates = Fates { period: framer.period_bits(), failed: VecDeque::new(), corrected: 0 };
        let slice_bits = 8 * slice_len as u64;
        Slices { framer, slice_bits, fates, stream_bits: 0, times: ChunkTimes::default() }
    }

    /// Takes the slices of a codeblock.
    pub(crate) fn push(&mut self, block: DecodedBlock<'_>, antenna: u16, out: &mut Judgement<'_, impl Sink>) {
        let DecodedBlock { payload, verdicts, note } = block;
        if note.interrupted && self.stream_bits > 0 {
            // Slices are missing: the frames before and behind do not join.
            self.finish(antenna, out);
        }
        out.count_iterations(verdicts);
        self.times.begin(self.stream_bits, note.received);
        for verdict in verdicts {
            let end = self.stream_bits + self.slice_bits;
            if !verdict.converged || note.failed {
                self.fates.failed.push_back(self.stream_bits..end);
            }
            self.fates.corrected += u64::from(verdict.symbols_corrected);
            self.stream_bits = end;
        }
        let Slices { framer, fates, times, .. } = self;
        framer.push(payload, antenna, &mut |bit| times.at(bit), &mut |block, note| {
            fates.take(block, note, out)
        });
    }

    /// The stream has ended.
    pub(crate) fn finish(&mut self, antenna: u16, out: &mut Judgement<'_, impl Sink>) {
        let Slices { framer, fates, times, .. } = self;
        framer.finish(antenna, &mut |bit| times.at(bit), &mut |block, note| fates.take(block, note, out));
        self.reset();
    }

    pub(crate) fn reset(&mut self) {
        self.framer.reset();
        self.stream_bits = 0;
        self.times.clear();
        self.fates.failed.clear();
        self.fates.corrected = 0;
    }
}

impl Fates {
    /// A frame of a sliced stream is as good as the codewords that it lies in. What was corrected is reported with the
    /// frame that ends next.
    fn take(&mut self, block: &Block<'_>, note: BlockNote, out: &mut Judgement<'_, impl Sink>) {
        let (start, end) = (block.stream_bit, block.stream_bit + self.period);
        // Frames come in order, but a marker that was found early makes two of them overlap by less than a frame.
        while self.failed.front().is_some_and(|range| range.end + self.period <= start) {
            self.failed.pop_front();
        }
        let hit = self.failed.iter().filter(|range| range.start < end && range.end > start).count();
        let corrected = std::mem::take(&mut self.corrected);
        let verdict = DecodeVerdict {
            symbols_corrected: corrected.min(u64::from(u16::MAX)) as u16,
            codewords_corrected: u8::from(corrected > 0),
            codewords_failed: hit.min(255) as u8,
        };
        out.frame(block.data, &note, Some(&verdict));
    }
}
