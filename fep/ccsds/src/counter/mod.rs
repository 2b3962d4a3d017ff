//! Frame counters: what the count of a frame says about the frames before it.
//!
//! | type | what it follows |
//! |---|---|
//! | [`VcTracker`] | one counter, by its values alone |
//! | [`MasterChannel`] | all counters of one spacecraft, with receive times, interruptions and unreadable blocks |
//! | [`MasterChannels`] | every spacecraft of one physical channel |
//!
//! # An unbroken stream
//!
//! With `d` = (count − last count) mod modulus:
//!
//! | d | verdict |
//! |---|---|
//! | 1 | [`Continuity::Next`] |
//! | 0 | [`Continuity::Duplicate`]: the same count again |
//! | 2 ≤ d < modulus / 2 | [`Continuity::Gap`] of d − 1 frames |
//! | d ≥ modulus / 2 | [`Continuity::Reset`]: a jump backwards |
//! | d > modulus / 16, to a count below 16, modulus at least 2^16 | [`Continuity::Reset`]: a counter that starts again |
//!
//! The last line is for wide counters: a restart from a high count would else look like the loss of millions of frames. A
//! real gap of that size reaches one of those counts once in a million times.
//!
//! Where the rate of the channel is known, a gap of a wide counter that is longer than what the channel sends in the time
//! since its last frame and ten seconds more (a station or a network may have held frames back) is a [`Continuity::Reset`]:
//! a frame of another sequence, and the frame after it, are out of sequence, and nothing was lost.
//!
//! Where blocks of the channel were unreadable since the counter was last seen, a jump that they explain
//! (d − 1 ≤ unreadable) is a gap, however it looks by the table.
//!
//! # After an interruption
//!
//! Lock was lost, the connection is new, the process started again: any number of frames may be missing, whole turns of
//! the counter too. A jump is then a gap. The time without frames at the rate of the channel, as the unbroken stream
//! showed it, gives the least and the most that can be missing; of the numbers that the counts allow (d − 1, and whole
//! turns more) the one that fits is the loss. Where none fits, or several, the gap is `at_least` d − 1. So it is where the
//! count follows on (d = 1) and whole turns would fit: a source that paused, as between passes, looks the same. A wide
//! counter (2^16 and more) whose jump needs more frames than the time can hold was reset.
//!
//! A frame that comes late (reordered by a network) jumps backwards and is a reset. The receiver of datagrams restores the
//! order before the counters are looked at.

mod judge;
mod master;
mod rate;
mod spacecraft;
mod state;

pub use master::{CounterSpec, Delivery, FrameContinuity, MasterChannel};
pub use rate::RateBounds;
pub use spacecraft::{MasterChannels, Mcid};
pub use state::{CounterState, MasterChannelState};

use judge::{Evidence, judge};

/// What a frame count says about the frames before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Continuity {
    /// The first frame seen: nothing to compare with.
    First,
    /// The frame right after the last one.
    Next,
    /// Frames are missing before this one.
    Gap {
        /// How many.
        lost: u64,
        /// The counts allow whole turns of the counter more, and time does not tell how many: `lost` is the least number.
        /// It may be 0: the count follows on after an interruption in which the counter may have turned.
        at_least: bool,
    },
    /// The same count as the last frame.
    Duplicate,
    /// The count jumped in an unbroken stream: the counter was reset, or frames came out of order.
    Reset,
    /// The frame has no count (USLP with a count of no octets, truncated frames).
    Uncounted,
}

impl Continuity {
    /// Whether data of the frame before and of this one are contiguous. Without a count nobody knows; the first header
    /// pointers then tell, so an uncounted frame counts as contiguous.
    #[must_use]
    pub const fn is_contiguous(self) -> bool {
        matches!(self, Continuity::First | Continuity::Next | Continuity::Uncounted)
    }

    /// Frames lost before this one.
    #[must_use]
    pub const fn lost(self) -> u64 {
        match self {
            Continuity::Gap { lost, .. } => lost,
            _ => 0,
        }
    }

    /// Whether more frames may be lost than [`Continuity::lost`] says.
    #[must_use]
    pub const fn is_at_least(self) -> bool {
        matches!(self, Continuity::Gap { at_least: true, .. })
    }
}

/// Follows one counter by its values alone, as in an unbroken stream.
///
/// ```
/// use fep_ccsds::{Continuity, VcTracker};
/// let mut tracker = VcTracker::new(1 << 24);
/// assert_eq!(tracker.observe(0xFF_FFFE), Continuity::First);
/// assert_eq!(tracker.observe(0xFF_FFFF), Continuity::Next);
/// assert_eq!(tracker.observe(2), Continuity::Gap { lost: 2, at_least: false });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VcTracker {
    modulus: u64,
    last: Option<u64>,
}

impl VcTracker {
    /// Follows a counter that runs from 0 to `modulus` − 1. A modulus of 0 or 1 means that there is no counter.
    #[must_use]
    pub const fn new(modulus: u64) -> VcTracker {
        VcTracker { modulus, last: None }
    }

    /// Takes the next count and says what it means. The count is taken modulo the modulus.
    pub fn observe(&mut self, count: u64) -> Continuity {
        if self.modulus <= 1 {
            return Continuity::Uncounted;
        }
        let count = count % self.modulus;
        match self.last.replace(count) {
            None => Continuity::First,
            Some(last) => judge(last, count, self.modulus, &Evidence::default()),
        }
    }

    /// Forgets the last count: the next is [`Continuity::First`].
    pub fn reset(&mut self) {
        self.last = None;
    }

    /// The modulus.
    #[must_use]
    pub const fn modulus(&self) -> u64 {
        self.modulus
    }

    /// The last count seen.
    #[must_use]
    pub const fn last(&self) -> Option<u64> {
        self.last
    }
}
