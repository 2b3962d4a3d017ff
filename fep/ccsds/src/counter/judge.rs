//! The verdict on one step of one counter, from its two counts and what else is known of the step.

use super::Continuity;

/// From this modulus on a counter is wide: a turn takes so long that a jump of that size is a reset.
const WIDE: u64 = 1 << 16;
/// A wide counter that jumps to a count below this has started again.
const FIRST_COUNTS: u64 = 16;

/// How many frames the time without frames is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expected {
    /// Hardly less.
    pub(super) low: f64,
    /// Hardly more.
    pub(super) high: f64,
}

/// What is known of a step beside the two counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Evidence {
    /// Lock, connection or process ended between the two frames.
    pub(super) interrupted: bool,
    /// Blocks between the two that gave no frame, where the stream was not interrupted.
    pub(super) unreadable: u64,
    /// Frames that the master channel lost in between: a virtual channel cannot have lost more.
    pub(super) missing: Option<u64>,
    /// Frames of this counter that the time without frames is worth; `None` when the time or the rate is not known.
    pub(super) expected: Option<Expected>,
}

/// Judges the step from `last` to `count`, both below `modulus`, which is at least 2.
pub(super) fn judge(last: u64, count: u64, modulus: u64, evidence: &Evidence) -> Continuity {
    let step = Step::new(last, count, modulus);
    if let Some(missing) = evidence.missing {
        if step.least > missing {
            // More is missing than the master channel lost. In an unbroken stream the counter jumped; after an
            // interruption the spacecraft may have started both counters again, and nothing is certain.
            return if evidence.interrupted { step.unresolved() } else { Continuity::Reset };
        }
        return if missing - step.least < modulus {
            step.exactly(step.least)
        } else {
            step.by_time(evidence.expected, missing)
        };
    }
    if evidence.interrupted {
        return match step.by_time(evidence.expected, u64::MAX) {
            // The count follows on. Whole turns may have gone by, but a source that paused is far likelier.
            Continuity::Gap { .. } if step.distance == 1 => step.unresolved(),
            verdict => verdict,
        };
    }
    if step.least > evidence.unreadable {
        return step.plain();
    }
    if evidence.unreadable - step.least < modulus && step.distance != 0 {
        return step.exactly(step.least);
    }
    step.by_time(evidence.expected, evidence.unreadable)
}

/// Whether a jump backwards is a loss of as many frames as the time is worth.
pub(super) fn is_explained(last: u64, count: u64, modulus: u64, expected: Expected) -> Option<Continuity> {
    let step = Step::new(last, count, modulus);
    let least = step.least as f64;
    let fits = step.distance != 0 && (expected.low..=expected.high).contains(&least);
    fits.then_some(Continuity::Gap { lost: step.least, at_least: expected.high >= least + modulus as f64 })
}

/// Whether a gap of a wide counter is far more than the time can hold: nothing was lost, the frame is out of sequence.
pub(super) fn is_impossible(lost: u64, modulus: u64, expected: Expected) -> bool {
    modulus >= WIDE && lost as f64 > expected.high
}

#[derive(Clone, Copy)]
struct Step {
    count: u64,
    modulus: u64,
    /// (count − last) mod modulus.
    distance: u64,
    /// The least number of frames lost that gives this step, if it is no duplicate.
    least: u64,
}

impl Step {
    fn new(last: u64, count: u64, modulus: u64) -> Step {
        let distance = if count >= last { count - last } else { count + (modulus - last) };
        let least = if distance == 0 { modulus - 1 } else { distance - 1 };
        Step { count, modulus, distance, least }
    }

    /// By the table of the module.
    fn plain(self) -> Continuity {
        match self.distance {
            0 => Continuity::Duplicate,
            1 => Continuity::Next,
            _ if self.is_backwards() => Continuity::Reset,
            distance => Continuity::Gap { lost: distance - 1, at_least: false },
        }
    }

    fn is_backwards(self) -> bool {
        let restart = self.is_wide() && self.distance > self.modulus / 16 && self.count < FIRST_COUNTS;
        restart || self.distance >= self.modulus.div_ceil(2) && self.distance > 1
    }

    fn is_wide(self) -> bool {
        self.modulus >= WIDE
    }

    fn exactly(self, lost: u64) -> Continuity {
        if lost == 0 { Continuity::Next } else { Continuity::Gap { lost, at_least: false } }
    }

    /// A gap of which only the least number is known. The same count again may be a frame that came twice.
    fn unresolved(self) -> Continuity {
        let lost = if self.distance == 0 { 0 } else { self.least };
        Continuity::Gap { lost, at_least: true }
    }

    /// Among `least` and whole turns more, but no more than `most`, the number that the time allows.
    fn by_time(self, expected: Option<Expected>, most: u64) -> Continuity {
        let Some(Expected { low, high }) = expected else {
            return if self.is_wide() { self.plain() } else { self.unresolved() };
        };
        let (least, modulus) = (self.least as f64, self.modulus as f64);
        let high = high.min(most as f64);
        // The first number that is not too few, if it is not too many, and whether the next is too many.
        let turns = ((low - least) / modulus).ceil().max(0.0);
        let (first, second) = (least + turns * modulus, least + (turns + 1.0) * modulus);
        // The same count again is a loss only where the time asks for one: else the frame may have come twice.
        let may_be_duplicate = self.distance == 0 && low < least / 2.0;
        if (low..=high).contains(&first) && second > high && !may_be_duplicate {
            // Whole numbers below 2^53 by far: rates of channels times ages of processes.
            return self.exactly(self.least.saturating_add((turns as u64).saturating_mul(self.modulus)));
        }
        if self.is_wide() {
            // No turn is in question, or none can be told: as the table says.
            let possible = least <= high;
            return match self.plain() {
                Continuity::Next if least + modulus <= high => self.unresolved(),
                Continuity::Duplicate if possible => self.unresolved(),
                Continuity::Gap { lost, .. } => {
                    Continuity::Gap { lost, at_least: possible && least + modulus <= high }
                }
                other => other,
            };
        }
        match self.distance {
            // Less time than a turn takes: the frame came twice.
            0 if high < least => Continuity::Duplicate,
            0 => self.unresolved(),
            // Fewer are missing than the channel sends in that time (it may have paused), but a turn more is far too many.
            _ if least <= high && least + modulus > 2.0 * high => self.exactly(self.least),
            _ => self.unresolved(),
        }
    }
}
