//! What the count of a frame or packet says about those before it, when time is known too.
//!
//! [`fep_ccsds::VcTracker`] judges a counter by its values alone: it cannot see a whole turn, and a jump backwards may be
//! either. The archive also knows when each unit came and how fast the ring was filled, so it can tell
//!
//! * a turn of the counter from nothing lost: the channel's own rate says how many units a silence is worth (8 bits of
//!   TM turn in a second at 256 frames/s), and the ring's rate whether there was a silence at all or only this channel
//!   had nothing to send;
//! * a jump that the time between cannot hold from a loss: the counter was reset on board;
//!
//! and where the engine, which knew the master channel counter, flagged a gap or a reset, it is believed.

use fep_ccsds::{Continuity, VcTracker};
use fep_record::FrameFlags;

use crate::model::{Cause, Run};

/// A unit of a channel, as far as its counter is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Ring sequence number: what came in between.
    pub seq: u64,
    /// Its count, below the modulus.
    pub count: u64,
    /// Reception.
    pub rx_tai_ns: i64,
    /// What the engine flagged: `GAP`, `RESET` and `DUPLICATE` matter.
    pub flags: FrameFlags,
}

/// How fast units come, in units a nanosecond, measured where nothing was missing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Of this channel, where it was seen long enough.
    pub channel: Option<f64>,
    /// Of all channels of the ring together: no channel is faster.
    pub ring: Option<f64>,
}

impl Rates {
    const ENOUGH_UNITS: u64 = 16;

    /// As a run shows them: within it nothing was missing.
    #[must_use]
    pub fn of(run: &Run) -> Rates {
        let time_ns = run.last_rx_tai_ns.saturating_sub(run.first_rx_tai_ns);
        if run.units < Rates::ENOUGH_UNITS || time_ns <= 0 {
            return Rates::default();
        }
        let rate = |units: u64| Some(units as f64 / time_ns as f64);
        Rates { channel: rate(run.units - 1), ring: rate(run.last_seq.saturating_sub(run.first_seq)) }
    }
}

/// What a count says of the units before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It follows on.
    Next,
    /// The same count again: the unit came twice.
    Duplicate,
    /// Units are missing.
    Gap {
        /// How many; 0 for a reset, where nobody knows.
        lost: u64,
        /// What it is taken for.
        cause: Cause,
    },
}

/// A silence is one when at least this share of what the ring should have brought did not come: rates are means.
const SILENCE_SHARE: f64 = 0.05;
/// A jump is impossible when it needs more than this many times the ring's rate, ...
const IMPOSSIBLE_RATE: f64 = 8.0;
/// ... and this many units more (packets of one frame come at one time, rates are means).
const IMPOSSIBLE_UNITS: f64 = 32.0;

/// Judges `next` after `last` of the same channel in the same contact.
#[must_use]
pub fn judge(modulus: u64, last: Unit, next: Unit, rates: Rates) -> Step {
    let mut tracker = VcTracker::new(modulus);
    tracker.observe(last.count);
    let continuity = tracker.observe(next.count);
    if continuity == Continuity::Uncounted {
        return Step::Next;
    }
    let distance = (next.count + modulus - last.count % modulus) % modulus;
    let elapsed_ns = next.rx_tai_ns.saturating_sub(last.rx_tai_ns).max(0) as f64;
    if next.flags.contains(FrameFlags::RESET) {
        return Step::Gap { lost: 0, cause: Cause::Reset };
    }
    let expected = expected_units(last, next, elapsed_ns, rates);
    // How many whole turns the time is worth beyond what the count itself says. Half a turn of doubt is left to the count.
    let turns = expected.map_or(0.0, |expected| ((expected - distance as f64) / modulus as f64).round());
    if turns >= 1.0 {
        let lost = (turns as u64).saturating_mul(modulus) + distance;
        return Step::Gap { lost: lost - 1, cause: Cause::Wrap };
    }
    match continuity {
        Continuity::First | Continuity::Next | Continuity::Uncounted => Step::Next,
        Continuity::Duplicate => Step::Duplicate,
        _ if next.flags.contains(FrameFlags::GAP) => Step::Gap { lost: distance - 1, cause: Cause::Loss },
        Continuity::Reset => {
            // A jump by more than half a turn. The channel's own rate may explain it as a loss.
            let explained =
                expected.is_some_and(|expected| (expected - distance as f64).abs() <= modulus as f64 / 8.0);
            let cause = if explained { Cause::Loss } else { Cause::Reset };
            Step::Gap { lost: if explained { distance - 1 } else { 0 }, cause }
        }
        Continuity::Gap { lost, .. } => {
            let possible = rates
                .ring
                .is_none_or(|rate| lost as f64 <= IMPOSSIBLE_RATE * rate * elapsed_ns + IMPOSSIBLE_UNITS);
            if possible {
                Step::Gap { lost, cause: Cause::Loss }
            } else {
                Step::Gap { lost: 0, cause: Cause::Reset }
            }
        }
    }
}

/// Units of this channel that the time from `last` to `next` is worth, as far as the ring was silent; `None` when it was
/// not silent or nobody knows.
fn expected_units(last: Unit, next: Unit, elapsed_ns: f64, rates: Rates) -> Option<f64> {
    let (channel, ring) = (rates.channel?, rates.ring?);
    let due = ring * elapsed_ns;
    let missing = due - next.seq.saturating_sub(last.seq) as f64;
    (missing > SILENCE_SHARE * due).then(|| (channel * elapsed_ns).min(missing + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const TM: u64 = 1 << 8;
    const AOS: u64 = 1 << 24;

    /// Nothing else came in between, so the ring was silent.
    fn unit(count: u64, ms: i64) -> Unit {
        Unit { seq: 0, count, rx_tai_ns: ms * MS, flags: FrameFlags::empty() }
    }

    /// Frames a second, as a rate.
    fn per_second(channel: f64, ring: f64) -> Rates {
        Rates { channel: Some(channel / 1e9), ring: Some(ring / 1e9) }
    }

    // REQ: FEP-ARC-040
    #[test]
    fn a_counter_that_goes_round_at_its_own_pace_loses_nothing() {
        assert_eq!(judge(TM, unit(255, 0), unit(0, 10), per_second(100.0, 100.0)), Step::Next);
        assert_eq!(judge(AOS, unit(AOS - 1, 0), unit(0, 1), per_second(1000.0, 1000.0)), Step::Next);
    }

    // REQ: FEP-ARC-040
    #[test]
    fn a_silence_of_whole_turns_is_a_loss_although_the_count_follows_on() {
        // 100 frames/s, 5.13 s of silence: two turns of 256 and the next count.
        let step = judge(TM, unit(10, 0), unit(11, 5130), per_second(100.0, 100.0));
        assert_eq!(step, Step::Gap { lost: 512, cause: Cause::Wrap });
        // The same count again after a turn is no duplicate.
        let step = judge(TM, unit(10, 0), unit(10, 2560), per_second(100.0, 100.0));
        assert_eq!(step, Step::Gap { lost: 255, cause: Cause::Wrap });
        assert_eq!(judge(TM, unit(10, 0), unit(10, 1), per_second(100.0, 100.0)), Step::Duplicate);
    }

    // REQ: FEP-ARC-040
    #[test]
    fn a_channel_that_had_nothing_to_send_on_a_busy_link_lost_nothing() {
        let later = Unit { seq: 5130, ..unit(11, 5130) };
        assert_eq!(judge(TM, unit(10, 0), later, per_second(100.0, 1000.0)), Step::Next);
    }

    // REQ: FEP-ARC-040
    #[test]
    fn a_loss_of_more_than_half_a_turn_is_told_from_a_reset_by_time() {
        // 200 frames lost at 100/s: 2 s. By the count alone it would be a jump backwards.
        let step = judge(TM, unit(10, 0), unit(211, 2010), per_second(100.0, 100.0));
        assert_eq!(step, Step::Gap { lost: 200, cause: Cause::Loss });
        let step = judge(TM, unit(10, 0), unit(211, 10), per_second(100.0, 100.0));
        assert_eq!(step, Step::Gap { lost: 0, cause: Cause::Reset });
    }

    // REQ: FEP-ARC-040
    #[test]
    fn a_jump_that_the_time_cannot_hold_is_a_reset_on_board() {
        let step = judge(AOS, unit(1000, 0), unit(901_000, 10), per_second(100.0, 1000.0));
        assert_eq!(step, Step::Gap { lost: 0, cause: Cause::Reset });
        let step = judge(AOS, unit(1000, 0), unit(1100, 1000), per_second(100.0, 1000.0));
        assert_eq!(step, Step::Gap { lost: 99, cause: Cause::Loss });
    }

    // REQ: FEP-ARC-040
    #[test]
    fn what_the_engine_saw_by_the_master_channel_counter_is_believed() {
        let flagged = |flag, count, ms| Unit { flags: flag, ..unit(count, ms) };
        let step = judge(TM, unit(10, 0), flagged(FrameFlags::RESET, 13, 30), per_second(100.0, 100.0));
        assert_eq!(step, Step::Gap { lost: 0, cause: Cause::Reset });
        let step = judge(TM, unit(10, 0), flagged(FrameFlags::GAP, 200, 30), per_second(100.0, 100.0));
        assert_eq!(step, Step::Gap { lost: 189, cause: Cause::Loss });
    }

    // REQ: FEP-ARC-040
    #[test]
    fn without_any_rate_the_counter_alone_judges_as_the_tracker_does() {
        for modulus in [TM, AOS, 1 << 14] {
            for (last, next) in [(0, 1), (5, 5), (5, 9), (modulus - 1, 0), (modulus - 1, 3), (200, 100)] {
                let mut tracker = VcTracker::new(modulus);
                tracker.observe(last);
                let expected = match tracker.observe(next) {
                    Continuity::Next => Step::Next,
                    Continuity::Duplicate => Step::Duplicate,
                    Continuity::Gap { lost, .. } => Step::Gap { lost, cause: Cause::Loss },
                    _ => Step::Gap { lost: 0, cause: Cause::Reset },
                };
                assert_eq!(judge(modulus, unit(last, 0), unit(next, 1), Rates::default()), expected);
            }
        }
    }
}
