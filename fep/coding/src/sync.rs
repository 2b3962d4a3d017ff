//! The frame synchroniser: finds blocks in a stream of bits by their markers (131.0-B-5 9), at any bit alignment.
//!
//! It cuts; it does not judge. A block whose marker is damaged, missing or moved is still released, flagged; whether
//! its content is good is for the code or the FECF behind it to say. It never derandomises.
//!
//! # States and transitions
//!
//! Positions are bits since [`FrameSync::new`] or [`FrameSync::reset`]; the *period* is marker plus block.
//!
//! * **Search**: every bit position is looked at. The first one where the marker (or its complement, by
//!   [`Polarity`]) has at most `search_bit_errors` errors becomes the *candidate* and the state **Check**; with
//!   `check_markers = 0`, **Lock** at once.
//! * **Check**: markers are looked for one period apart, as in Lock, but blocks are held back. When `check_markers`
//!   more have been found: **Lock**, and every block since the candidate is released. When more than
//!   `flywheel_blocks` (at least 1) in a row are missing: back to **Search**, from the bit after the candidate. So
//!   neither a false marker in data nor a damaged one during the check costs a block.
//! * **Lock**: at the place where the next marker is due
//!   1. it is *found in place* if it has at most `lock_bit_errors` errors there, else
//!   2. it is *found slipped* at another place within `slip_window_bits` with at most as many errors (the place with
//!      the fewest, then the nearest): the block carries [`Block::slip_bits`], the following are aligned to it, else
//!   3. it is *missing*: **Flywheel**.
//! * **Flywheel**: as Lock, but the blocks without marker are held back until a later marker is found: then they are
//!   released flagged, and the state is **Lock**. When more than `flywheel_blocks` in a row are missing, lock is lost:
//!   **Search**, starting again *one bit behind the last marker that was really seen*. All data since then is still
//!   held, so however far the stream has slipped, no block behind the slip is lost. The blocks taken on trust are given
//!   out too, flagged, unless the search finds that real blocks overlap them.
//! * A marker that is found off its place, or after missing ones, is *judged* before it is believed, one period later:
//!   if another marker since the last one seen has a marker one period behind it, the stream is cut there and this one
//!   is chance; lock is lost, with the same search.
//!
//! Blocks are released in the order of their markers; in Lock, as soon as their last bit is there. What is released
//! depends on the stream alone, never on how it is cut into pieces.
//!
//! # What follows from these rules
//!
//! * A slip, drop-out or burst inside a block is only seen at the next marker. The damaged block was then released
//!   already; `slip_bits` is on the block *behind* it. (Holding every block until the next marker would cost a whole
//!   frame of delay where a link delivers frame by frame.)
//! * When bits were lost, the next marker comes before the damaged block's nominal end: those bits are released in
//!   both blocks and counted in [`SyncCounters::bits_shared`].
//! * A block is never released before lock unless the stream ends ([`FrameSync::finish`]) without contradicting it.
//!
//! # Soft symbols
//!
//! [`SoftSync`] is the same machine on soft symbols: a position is a symbol, and the *errors* of a marker are its symbols
//! that disagree, each counted by its confidence (see [`SoftSyncSpec`]).
//!
//! # Cost
//!
//! In Lock and on octet alignment a block is one marker comparison, borrowed from the input. At other alignments or
//! inverted it is copied once by a SIMD shift.
//!
//! No input is much slower than noise in Search. Which places hold a marker, and which of these have another one a period
//! behind, is judged once for each place and remembered (`marks`, `rivals`), so that a stream full of markers, from each of
//! which a chain may begin, costs some nanoseconds for each of them. The exception is `check_markers = 0`: there every
//! marker releases its block, however many overlap, and costs as much as copying that.
//!
//! Memory is bounded by about `max(check_markers, flywheel_blocks) + 4` periods, and twice that for what is remembered of
//! the places, 2 MiB at most.

mod bits;
mod buffer;
mod marker;
mod marks;
mod rivals;
mod search;
mod soft;
mod spec;
mod stream;
mod symbols;
mod tracker;

pub use marker::{Marker, MarkerError};
pub use soft::{SoftBlock, SoftSync, SoftSyncSpec, SoftSyncSpecError};
pub use spec::{BLOCK_LEN_MAX, HELD_BLOCKS_MAX, Polarity, SLIP_WINDOW_MAX, SyncSpec, SyncSpecError};

use serde::{Deserialize, Serialize};

use crate::isa::{Isa, IsaUnavailable};
use crate::kernels::Bitwise;
use bits::BitFinder;
use stream::Stream;

/// Where the synchroniser is; see the module's documentation for every transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// No marker in sight.
    Search,
    /// A marker was seen; more must follow.
    Check,
    /// Markers come when they are due.
    Lock,
    /// Locked, but the last markers due were missing.
    Flywheel,
}

/// One block of the stream: of octets, or of soft symbols ([`SoftBlock`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a, T = u8> {
    /// Exactly `block_len` octets behind the marker, aligned and of right polarity. Borrowed from the input where it
    /// lies there whole, aligned and upright; from the synchroniser otherwise.
    pub data: &'a [T],
    /// Bits in which the marker was wrong (of a flywheel block: in which the bits at its assumed place differ).
    pub marker_bit_errors: u8,
    /// The block arrived complemented and was complemented back.
    pub inverted: bool,
    /// No marker was seen: the position is taken on trust.
    pub flywheel: bool,
    /// How many bits later (+) or earlier (-) than due the marker was found: the block *before* this one is damaged.
    pub slip_bits: i8,
    /// The place of the marker's first bit in the stream: bits (soft symbols) pushed before it since the stream began,
    /// that is since [`FrameSync::new`], or the last [`FrameSync::reset`] or [`FrameSync::finish`]. Exact, also behind
    /// slips and inversions; of a flywheel block the place taken on trust. Larger for every block than for the one
    /// before. The block's first bit lies the bits of a marker behind it, its end one period.
    pub stream_bit: u64,
}

/// What has happened since [`FrameSync::new`]; [`FrameSync::reset`] does not clear it.
///
/// Every bit is accounted for: `bits_in + bits_shared = blocks * period + bits_discarded + bits_held`. What are bits here
/// are soft symbols for a [`SoftSync`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SyncCounters {
    /// Blocks released, flywheel blocks included.
    pub blocks: u64,
    /// Blocks released without a marker seen.
    pub flywheel_blocks: u64,
    /// Wrong bits in the markers that were found.
    pub marker_bit_errors: u64,
    /// Blocks released whose marker was found off its place.
    pub slips: u64,
    /// Times lock was declared. Less `lock_lost` it is 1 while there is lock, else 0.
    pub lock_acquired: u64,
    /// Times lock was over: too many markers were missing, or the stream ended ([`FrameSync::finish`]) or was forgotten
    /// ([`FrameSync::reset`]) in lock.
    pub lock_lost: u64,
    /// Changes of polarity from one marker found to the next.
    pub inversions: u64,
    /// Bits pushed.
    pub bits_in: u64,
    /// Bits that belong to no block.
    pub bits_discarded: u64,
    /// Bits that belong to two blocks, because a marker came early (counted once more for the second block).
    pub bits_shared: u64,
    /// Bits not yet decided upon.
    pub bits_held: u64,
}

/// The synchroniser of one stream.
#[derive(Debug, Clone)]
pub struct FrameSync {
    spec: SyncSpec,
    stream: Stream<BitFinder>,
}

impl FrameSync {
    /// A synchroniser in Search, with the best kernels of this machine.
    ///
    /// # Errors
    /// [`SyncSpecError`] as [`SyncSpec::validate`].
    pub fn new(spec: SyncSpec) -> Result<FrameSync, SyncSpecError> {
        spec.validate()?;
        let stream = Stream::new(BitFinder::new(&spec, Bitwise::best()), spec.rules(), spec.block_len);
        Ok(FrameSync { spec, stream })
    }

    /// The same synchroniser with the kernels of `isa`.
    ///
    /// # Errors
    /// [`IsaUnavailable`] when this machine lacks it.
    pub fn with_isa(mut self, isa: Isa) -> Result<FrameSync, IsaUnavailable> {
        self.stream.finder_mut().bitwise = Bitwise::with_isa(isa)?;
        Ok(self)
    }

    /// What it was made from.
    pub fn spec(&self) -> &SyncSpec {
        &self.spec
    }

    /// Takes the next octets of the stream, first bit first, and gives every block that they complete to `sink`.
    pub fn push(&mut self, input: &[u8], sink: &mut impl FnMut(Block<'_>)) {
        self.stream.push(input, sink);
    }

    /// The stream ends here: releases the blocks still held back, as far as they are whole, and starts anew.
    ///
    /// A candidate whose following markers would lie behind the end counts as confirmed unless one of them was missing;
    /// one with a missing marker is released only where nothing better overlaps it. In Flywheel the data since the
    /// last marker is searched once more, as if lock were lost. Counters stay; positions start at 0 again.
    pub fn finish(&mut self, sink: &mut impl FnMut(Block<'_>)) {
        self.stream.finish(sink);
    }

    /// Forgets the stream: what is held is discarded, the state is Search, positions start at 0. Counters stay.
    pub fn reset(&mut self) {
        self.stream.reset();
    }

    /// Where it is.
    pub fn state(&self) -> SyncState {
        self.stream.state()
    }

    /// What has happened so far.
    pub fn counters(&self) -> &SyncCounters {
        self.stream.counters()
    }
}
