//! A block on its way from the synchroniser to the judgement of its spacecraft.

use fep_coding::Block;
use fep_coding::soft::SoftVerdict;
use fep_coding::spec::DecodeVerdict;
use fep_record::{BadReason, FrameFlags};
use fep_time::Tai;

use crate::decoding::DecodedFrame;
use crate::reception::Quality;
use crate::spacecraft::Spacecraft;
use crate::{ChainEvent, Sink};

/// What is known of a block before it is decoded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlockNote {
    /// When its first bit was received.
    pub(crate) received: Tai,
    /// Number of the link that received it.
    pub(crate) antenna: u16,
    /// What the station says of it.
    pub(crate) quality: Quality,
    pub(crate) marker_bit_errors: u8,
    pub(crate) flags: FrameFlags,
    /// It does not begin where the block before it ended.
    pub(crate) interrupted: bool,
    /// Its decoder did not come to an end: the octets mean nothing.
    pub(crate) failed: bool,
}

impl BlockNote {
    /// What a synchroniser says of a block whose first bit was received at this time by this antenna.
    #[inline]
    pub(crate) fn of<T>(block: &Block<'_, T>, received: Tai, antenna: u16, interrupted: bool) -> BlockNote {
        let mut flags = FrameFlags::empty();
        flags.set(FrameFlags::INVERTED, block.inverted);
        flags.set(FrameFlags::FLYWHEEL, block.flywheel);
        flags.set(FrameFlags::SLIP, block.slip_bits != 0);
        let marker_bit_errors = block.marker_bit_errors;
        BlockNote { received, antenna, marker_bit_errors, flags, interrupted, ..BlockNote::default() }
    }
}

/// Where decoded blocks go: the judgement, and through it the sink of the chain.
pub(crate) struct Judgement<'c, S> {
    pub(crate) spacecraft: &'c mut Spacecraft,
    pub(crate) sink: &'c mut S,
}

impl<S: Sink> Judgement<'_, S> {
    /// A frame out of a batch.
    #[inline]
    pub(crate) fn decoded(&mut self, decoded: DecodedFrame<'_>) {
        let DecodedFrame { frame, verdict, note, left, batch } = decoded;
        if left == batch {
            self.sink.batch_decoded(batch);
        }
        if note.failed {
            self.spacecraft.refuse(frame, note, BadReason::Uncorrectable, self.sink);
        } else {
            self.spacecraft.frame(frame, note, Some(verdict), self.sink);
        }
        if left == 1 {
            self.sink.batch_done();
        }
    }

    /// A frame by itself with the verdict of the code; `None` for one that was decoded before it reached us.
    pub(crate) fn frame(&mut self, octets: &[u8], note: &BlockNote, verdict: Option<&DecodeVerdict>) {
        self.sink.batch_decoded(1);
        if note.failed {
            self.spacecraft.refuse(octets, note, BadReason::Uncorrectable, self.sink);
        } else {
            self.spacecraft.frame(octets, note, verdict, self.sink);
        }
        self.sink.batch_done();
    }

    /// Octets that are no frame of this channel: of a wrong length, or behind a wrong marker.
    pub(crate) fn refuse(&mut self, octets: &[u8], note: &BlockNote, reason: BadReason) {
        self.sink.batch_decoded(1);
        self.spacecraft.refuse(octets, note, reason, self.sink);
        self.sink.batch_done();
    }

    /// Counts what decoding by iteration took.
    pub(crate) fn count_iterations(&mut self, verdicts: &[SoftVerdict]) {
        self.spacecraft.count_iterations(verdicts);
    }

    pub(crate) fn event(&mut self, event: ChainEvent) {
        self.sink.event(event);
    }
}
