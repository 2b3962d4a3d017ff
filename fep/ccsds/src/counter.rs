//! Frame counters: what the count of a frame says about the frames before it.
//!
//! [`VcTracker`] judges one counter by its own values. [`MasterChannel`] follows all channels of one spacecraft and
//! lets the TM master channel counter settle what eight bits of a virtual channel counter leave open.
//!
//! # The rule
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
//! real gap of that size lands on one of those counts once in a million times.
//!
//! A frame that comes late (reordered by a network) jumps backwards and is a reset; the frame after it is then a gap or
//! a reset again. The receiver of datagrams puts order right before the counters are looked at.
//!
//! Counts wrap: what is lost is known modulo the modulus. With 24 bits or more that is hours of frames; with the 8 bits
//! of TM it is 256 frames, and a gap of 128 or more looks like a jump backwards. [`MasterChannel`] uses the second
//! counter there: see [`MasterChannel::observe`].

use crate::frame::Frame;

/// What a frame count says about the frames before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Continuity {
    /// The first frame seen: nothing to compare with.
    First,
    /// The frame right after the last one.
    Next,
    /// Frames are missing before this one.
    Gap {
        /// How many, modulo the modulus.
        lost: u64,
    },
    /// The same count as the last frame.
    Duplicate,
    /// The count jumped backwards: the counter was reset, or frames came out of order.
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
            Continuity::Gap { lost } => lost,
            _ => 0,
        }
    }
}

/// Follows one counter.
///
/// ```
/// use fep_ccsds::{Continuity, VcTracker};
/// let mut tracker = VcTracker::new(1 << 24);
/// assert_eq!(tracker.observe(0xFF_FFFE), Continuity::First);
/// assert_eq!(tracker.observe(0xFF_FFFF), Continuity::Next);
/// assert_eq!(tracker.observe(2), Continuity::Gap { lost: 2 });
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
        let continuity = match self.forward_distance(count) {
            None => Continuity::First,
            Some(0) => Continuity::Duplicate,
            Some(1) => Continuity::Next,
            Some(distance) if self.is_restart(distance, count % self.modulus) => Continuity::Reset,
            Some(distance) if distance < self.modulus.div_ceil(2) => Continuity::Gap { lost: distance - 1 },
            Some(_) => Continuity::Reset,
        };
        self.last = Some(count % self.modulus);
        continuity
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

    fn is_restart(&self, distance: u64, count: u64) -> bool {
        const WIDE: u64 = 1 << 16;
        const FIRST_COUNTS: u64 = 16;
        self.modulus >= WIDE && distance > self.modulus / 16 && count < FIRST_COUNTS
    }

    fn forward_distance(&self, count: u64) -> Option<u64> {
        let last = self.last?;
        let count = count % self.modulus;
        Some(if count >= last { count - last } else { count + (self.modulus - last) })
    }
}

/// What the counters of one frame say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameContinuity {
    /// Master channel counter; [`Continuity::Uncounted`] for AOS and USLP, which have none.
    pub master: Continuity,
    /// Virtual channel counter.
    pub virtual_channel: Continuity,
}

#[derive(Debug, Clone)]
struct VcState {
    tracker: VcTracker,
    /// Frames that the master channel had lost, in all, when this channel was last seen.
    master_lost: u64,
    /// How often the master channel had been reset, when this channel was last seen.
    master_resets: u64,
}

/// Follows the counters of all channels of one spacecraft: the master channel counter of TM, the virtual channel
/// counters of TM and AOS, both counters (sequence-controlled and expedited) of each USLP virtual channel.
#[derive(Debug, Clone)]
pub struct MasterChannel {
    master: VcTracker,
    master_lost: u64,
    master_resets: u64,
    /// By virtual channel; the second half for the expedited counters of USLP.
    channels: Vec<Option<VcState>>,
}

impl Default for MasterChannel {
    fn default() -> Self {
        MasterChannel::new()
    }
}

impl MasterChannel {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> MasterChannel {
        MasterChannel {
            master: VcTracker::new(1 << 8),
            master_lost: 0,
            master_resets: 0,
            channels: vec![None; 128],
        }
    }

    /// Takes the next frame of this spacecraft.
    ///
    /// TM: let `missing` be the frames that the master channel lost since this virtual channel was last seen. A virtual
    /// channel cannot lose more frames than its master channel. So, where the rule of the module is in doubt:
    /// * nothing is missing, but the virtual channel counter jumped: [`Continuity::Reset`], however small the jump;
    /// * a jump backwards that the missing frames explain (d − 1 ≤ missing): [`Continuity::Gap`] of d − 1;
    /// * the same virtual channel count, but the master channel counter went on: another frame, so [`Continuity::Reset`].
    ///
    /// After a reset of the master channel counter, and for AOS and USLP, the plain rule holds. Frames of the AOS and USLP
    /// idle channel are [`Continuity::Uncounted`]: real spacecraft leave their count at 0, and nothing is lost with them.
    pub fn observe(&mut self, frame: &Frame<'_>) -> FrameContinuity {
        let master = match frame.mc_count {
            Some(count) => self.master.observe(u64::from(count)),
            None => Continuity::Uncounted,
        };
        match master {
            Continuity::Gap { lost } => self.master_lost += lost,
            Continuity::Reset => self.master_resets += 1,
            _ => {}
        }
        if frame.idle && frame.mc_count.is_none() {
            return FrameContinuity { master, virtual_channel: Continuity::Uncounted };
        }
        // 63 is the greatest virtual channel of any frame kind.
        let slot = usize::from(frame.gvcid.vcid & 63) + if frame.is_expedited() { 64 } else { 0 };
        let modulus = frame.frame_count_modulus;
        let state = match &mut self.channels[slot] {
            Some(state) if state.tracker.modulus == modulus => state,
            // A new channel, or one that changed the width of its counter: nothing to compare with.
            empty => empty.insert(VcState {
                tracker: VcTracker::new(modulus),
                master_lost: self.master_lost,
                master_resets: self.master_resets,
            }),
        };
        let distance = state.tracker.forward_distance(frame.frame_count).unwrap_or(1);
        let mut virtual_channel = state.tracker.observe(frame.frame_count);
        if frame.mc_count.is_some() && state.master_resets == self.master_resets {
            let missing = self.master_lost - state.master_lost;
            virtual_channel = match virtual_channel {
                Continuity::Gap { .. } if missing == 0 => Continuity::Reset,
                Continuity::Reset if distance - 1 <= missing => Continuity::Gap { lost: distance - 1 },
                Continuity::Duplicate if matches!(master, Continuity::Next | Continuity::Gap { .. }) => {
                    Continuity::Reset
                }
                other => other,
            };
        }
        state.master_lost = self.master_lost;
        state.master_resets = self.master_resets;
        FrameContinuity { master, virtual_channel }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = MasterChannel::new();
    }
}
