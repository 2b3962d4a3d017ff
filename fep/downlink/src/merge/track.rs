//! One antenna on one virtual channel: where in the sequence it is, and how fast frames come.

use std::collections::VecDeque;

use fep_time::{Monotonic, Tai};

use super::frame::{Facts, Held};

/// Frames over which a pace is measured.
const PACE_FRAMES: u64 = 64;
/// Before the first is finished, so many give an estimate.
const PACE_FRAMES_FIRST: u64 = 8;

/// The last frame of an antenna on a virtual channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    /// Its place in the unwrapped sequence.
    pub(super) position: u64,
    pub(super) count: u64,
    pub(super) hash: u64,
    pub(super) received: Tai,
}

impl Last {
    pub(super) const fn of(position: u64, facts: &Facts) -> Last {
        Last { position, count: facts.count, hash: facts.hash, received: facts.received }
    }
}

/// Follows one antenna.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// `None` until it is aligned with the sequence.
    pub(super) last: Option<Last>,
    /// A jump further than anything that is remembered, which the next frame has to confirm.
    pub(super) jump: Option<Last>,
    /// Its place was confirmed by the content of another antenna's frames, or by a whole turn without contradiction.
    pub(super) is_confirmed: bool,
    /// Frames in sequence since it was aligned.
    pub(super) run: u64,
    /// The antenna was gone since its last frame: any number of frames may be missing.
    pub(super) was_gone: bool,
    /// Bad frames of the antenna, on any virtual channel, when it delivered its last frame here.
    pub(super) bad_before: u64,
    /// How much later than others it receives, nanoseconds, as its receive times say.
    pub(super) skew_ns: Option<i64>,
    /// Frames that wait until it is known where they belong.
    pub(super) limbo: VecDeque<Held>,
    /// When its last frame arrived that lies near the sequence of the others.
    pub(super) followed: Option<Monotonic>,
    /// Frames one after the other that lie behind everything remembered.
    pub(super) late_run: u32,
    /// Receive time and position from which a pace is measured.
    pace_from: Option<(Tai, u64)>,
}

impl Track {
    /// When a frame that this antenna received at some time would have been received by the others.
    #[inline]
    pub(super) fn common_time(&self, received: Tai) -> Tai {
        received.saturating_add_ns(-self.skew_ns.unwrap_or(0))
    }

    /// A frame that this antenna received now had that time for the others.
    #[inline]
    pub(super) fn compare_time(&mut self, received: Tai, common: Tai) {
        let measured = received.ns_since(common);
        self.skew_ns = Some(self.skew_ns.map_or(measured, |skew| skew + (measured - skew) / 8));
    }

    /// The antenna goes on at this position.
    #[inline]
    pub(super) fn goes_on(&mut self, position: u64, received: Tai, pace: &mut Pace) {
        self.run += 1;
        let Some((from_time, from)) = self.pace_from else {
            self.pace_from = Some((received, position));
            return;
        };
        let frames = position.saturating_sub(from);
        if frames >= PACE_FRAMES {
            pace.measured(received.ns_since(from_time) / frames as i64);
            self.pace_from = Some((received, position));
        } else if pace.shortest_ns.is_none() && frames >= PACE_FRAMES_FIRST {
            pace.estimated(received.ns_since(from_time) / frames as i64);
        }
    }

    /// Its sequence was broken.
    pub(super) fn breaks_off(&mut self) {
        (self.pace_from, self.run) = (None, 0);
    }
}

/// How fast the frames of a virtual channel come. Estimates, used only where contents say nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    typical_ns: Option<i64>,
    shortest_ns: Option<i64>,
}

impl Pace {
    fn estimated(&mut self, period_ns: i64) {
        self.typical_ns = Some(period_ns).filter(|period_ns| *period_ns > 0);
    }

    fn measured(&mut self, period_ns: i64) {
        if period_ns <= 0 {
            return;
        }
        let before = self.typical_ns.filter(|_| self.shortest_ns.is_some());
        self.typical_ns = Some(before.map_or(period_ns, |typical| typical + (period_ns - typical) / 4));
        // The shortest of late: it forgets slowly.
        let shortest =
            self.shortest_ns.map_or(period_ns, |shortest| period_ns.min(shortest + 1 + shortest / 64));
        self.shortest_ns = Some(shortest);
    }

    /// Frames that come in so long; `None` while nothing was measured.
    pub(super) fn frames_in(&self, ns: i64) -> Option<i64> {
        Some(ns / self.typical_ns?)
    }

    /// Whether half a turn of the counter fits into so long.
    #[inline]
    pub(super) fn may_hide_half_a_turn(&self, ns: i64, modulus: u64) -> bool {
        // Narrow counters only: half a turn is 2^15 at most. A first estimate may be wrong by a factor of two.
        let shortest = self.shortest_ns.or(self.typical_ns.map(|typical| typical / 2));
        shortest.is_some_and(|shortest| ns >= shortest.saturating_mul((modulus / 2) as i64))
    }
}
