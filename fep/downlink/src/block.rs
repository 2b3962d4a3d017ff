//! A block on its way from the synchroniser to the judgement of its spacecraft.

use fep_coding::Block;
use fep_coding::soft::SoftVerdict;
use fep_coding::spec::DecodeVerdict;
use fep_record::{BadReason, FrameFlags};
use fep_time::Tai;

use crate::spacecraft::Spacecraft;
use crate::{ChainEvent, Sink};

/// What is known of a block before it is decoded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlockNote {
    /// When its first bit was received.
    pub(crate) received: Tai,
    pub(crate) marker_bit_errors: u8,
    pub(crate) flags: FrameFlags,
}

impl BlockNote {
    /// What a synchroniser says of a block whose first bit was received at this time.
    pub(crate) fn of<T>(block: &Block<'_, T>, received: Tai) -> BlockNote {
        let mut flags = FrameFlags::empty();
        flags.set(FrameFlags::INVERTED, block.inverted);
        flags.set(FrameFlags::FLYWHEEL, block.flywheel);
        flags.set(FrameFlags::SLIP, block.slip_bits != 0);
        BlockNote { received, marker_bit_errors: block.marker_bit_errors, flags }
    }
}

/// Where decoded blocks go: the judgement, and through it the sink of the chain.
pub(crate) struct Judgement<'c, S> {
    pub(crate) spacecraft: &'c mut Spacecraft,
    pub(crate) sink: &'c mut S,
}

impl<S: Sink> Judgement<'_, S> {
    /// So many blocks have been decoded and follow.
    #[inline]
    pub(crate) fn batch_decoded(&mut self, blocks: usize) {
        self.sink.batch_decoded(blocks);
    }

    /// They have been judged.
    #[inline]
    pub(crate) fn batch_done(&mut self) {
        self.sink.batch_done();
    }

    /// A frame with the verdict of the code; `None` for one that was decoded before it reached us.
    #[inline]
    pub(crate) fn frame(&mut self, octets: &[u8], note: &BlockNote, verdict: Option<&DecodeVerdict>) {
        self.spacecraft.frame(octets, note, verdict, self.sink);
    }

    /// Octets that are no frame of this channel.
    pub(crate) fn refuse(&mut self, octets: &[u8], note: &BlockNote, reason: BadReason) {
        self.spacecraft.refuse(octets, note, reason, self.sink);
    }

    /// Counts what decoding by iteration took.
    pub(crate) fn count_iterations(&mut self, verdicts: &[SoftVerdict]) {
        self.spacecraft.count_iterations(verdicts);
    }

    pub(crate) fn event(&mut self, event: ChainEvent) {
        self.sink.event(event);
    }
}
