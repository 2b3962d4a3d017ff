//! The synchroniser of a stream of bits, with the places of its blocks: where blocks of octets are cut out.

use fep_coding::{Block, FrameSync, SyncCounters, SyncState};
use fep_time::Tai;

use crate::block::BlockNote;
use crate::times::BlockPlaces;

/// Cuts a stream of bits into blocks and says how each follows the one before.
pub(crate) struct Framer {
    sync: Box<FrameSync>,
    places: BlockPlaces,
}

impl Framer {
    pub(crate) fn new(sync: FrameSync) -> Framer {
        let places = BlockPlaces::new(sync.spec().period_bits());
        Framer { sync: Box::new(sync), places }
    }

    /// Takes the next octets. `time` says when the bit at a place was received, `out` takes every block that is found.
    #[inline]
    pub(crate) fn push(
        &mut self,
        octets: &[u8],
        antenna: u16,
        time: &mut impl FnMut(u64) -> Tai,
        out: &mut impl FnMut(&Block<'_>, BlockNote),
    ) {
        let places = &mut self.places;
        self.sync.push(octets, &mut |block| take(&block, antenna, places, time, out));
    }

    /// The stream has ended: takes what is still held, and begins anew.
    pub(crate) fn finish(
        &mut self,
        antenna: u16,
        time: &mut impl FnMut(u64) -> Tai,
        out: &mut impl FnMut(&Block<'_>, BlockNote),
    ) {
        let places = &mut self.places;
        self.sync.finish(&mut |block| take(&block, antenna, places, time, out));
        self.reset();
    }

    /// Forgets the stream.
    pub(crate) fn reset(&mut self) {
        self.sync.reset();
        self.places.clear();
    }

    pub(crate) fn counters(&self) -> &SyncCounters {
        self.sync.counters()
    }

    pub(crate) fn state(&self) -> SyncState {
        self.sync.state()
    }

    /// Bits from one marker to the next.
    pub(crate) fn period_bits(&self) -> u64 {
        self.sync.spec().period_bits()
    }
}

#[inline]
fn take(
    block: &Block<'_>,
    antenna: u16,
    places: &mut BlockPlaces,
    time: &mut impl FnMut(u64) -> Tai,
    out: &mut impl FnMut(&Block<'_>, BlockNote),
) {
    let interrupted = places.is_interrupted(block.stream_bit, block.slip_bits);
    out(block, BlockNote::of(block, time(block.stream_bit), antenna, interrupted));
}
