//! The clocks of the machine.
//!
//! TAI comes from the kernel (CLOCK_TAI, read through the vDSO) where the time daemon has set the kernel's offset;
//! otherwise [`TAI_MINUS_UTC_S`] is added to UTC. Timers never use TAI, which may step; they use [`Monotonic`].

use std::sync::atomic::{AtomicI64, Ordering};

use crate::{Monotonic, NS_PER_DAY, NS_PER_SECOND as NS, Tai};
use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};

/// TAI - UTC in seconds, used when the kernel does not know the offset. In force since 2017-01-01 (IERS Bulletin C 52);
/// no further leap second has been announced.
pub const TAI_MINUS_UTC_S: i64 = 37;

/// How long a known difference between clocks is used before it is measured again.
const REFRESH_NS: i64 = 100_000_000;

/// TAI - UTC as last measured, and the UTC at which it was: shared by all callers of [`tai_now`].
static TAI_MINUS_UTC_NS: AtomicI64 = AtomicI64::new(0);
static MEASURED_AT_UTC_NS: AtomicI64 = AtomicI64::new(i64::MIN);

/// What a test has added to the clock of this process: see [`step_for_test`].
static STEP_NS: AtomicI64 = AtomicI64::new(0);

/// TAI now. One vDSO read; every 100 ms a look whether the kernel's offset has changed.
#[must_use]
pub fn tai_now() -> Tai {
    let utc_ns = utc_now_ns();
    let age_ns = utc_ns.saturating_sub(MEASURED_AT_UTC_NS.load(Ordering::Acquire));
    if (0..REFRESH_NS).contains(&age_ns) {
        return since_1970(utc_ns + TAI_MINUS_UTC_NS.load(Ordering::Relaxed));
    }
    let offset_ns = tai_minus_utc_ns();
    TAI_MINUS_UTC_NS.store(offset_ns, Ordering::Relaxed);
    MEASURED_AT_UTC_NS.store(utc_ns, Ordering::Release);
    since_1970(utc_ns + offset_ns)
}

/// UTC now as Unix counts it: nanoseconds since 1970-01-01T00:00:00 UTC, 0 before that. For the times of files.
#[must_use]
pub fn unix_now_ns() -> u64 {
    u64::try_from(utc_now_ns()).unwrap_or(0)
}

/// The monotonic clock.
pub(crate) fn monotonic_now() -> Monotonic {
    Monotonic(read_ns(ClockId::Monotonic))
}

/// Steps the clock of this process, and of no other, by so many nanoseconds: what an operator does who sets the clock of
/// the machine. Only tests of clock steps call it.
///
/// # Errors
/// All steps together would be more than [`STEP_MAX_NS`] either way; nothing is stepped.
pub fn step_for_test(step_ns: i64) -> Result<(), StepRefused> {
    let stepped =
        |so_far: i64| so_far.checked_add(step_ns).filter(|sum| (-STEP_MAX_NS..=STEP_MAX_NS).contains(sum));
    let update = STEP_NS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, stepped);
    update.map(|_| ()).map_err(|so_far_ns| StepRefused { step_ns, so_far_ns })
}

/// Most that the clock of a process can be stepped in all, either way: 100 years of 365 days, so that every time stays one
/// that [`Tai`] holds.
pub const STEP_MAX_NS: i64 = 36_500 * NS_PER_DAY;

/// A step of the clock that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a step of {step_ns} ns, after {so_far_ns} ns so far: all steps together must stay within ±{STEP_MAX_NS} ns (100 years)"
)]
pub struct StepRefused {
    /// The step asked for.
    pub step_ns: i64,
    /// All steps before it.
    pub so_far_ns: i64,
}

/// A reading of `CLOCK_TAI`, or of its like, which counts from 1970.
const fn since_1970(ns: i64) -> Tai {
    Tai::UNIX_EPOCH.saturating_add_ns(ns)
}

/// UTC as the kernel counts it, since 1970-01-01.
fn utc_now_ns() -> i64 {
    read_ns(ClockId::Realtime) + STEP_NS.load(Ordering::Relaxed)
}

fn read_ns(id: ClockId) -> i64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
    tv_sec * NS + tv_nsec
}

fn tai_minus_utc_ns() -> i64 {
    // The offset is whole seconds, so readings need only be close; ones torn apart by a pause of the thread are taken again.
    for _ in 0..8 {
        let before = read_ns(ClockId::Realtime);
        // Every kernel since 3.10 has CLOCK_TAI; one that has not counts as one that does not know the offset.
        let tai =
            clock_gettime_dynamic(DynamicClockId::Tai).map_or(before, |tai| tai.tv_sec * NS + tai.tv_nsec);
        if (0..NS / 4).contains(&(read_ns(ClockId::Realtime) - before)) {
            return whole_offset_ns(tai - before);
        }
    }
    TAI_MINUS_UTC_S * NS
}

/// One monotonic reading a turn serves timers and time stamps alike: for whoever stamps what it receives.
///
/// The differences between the monotonic clock, UTC and TAI change only when somebody steps the clock (or at a leap second):
/// they are measured again every 100 ms, and a difference is adopted only when it exceeds the noise of measuring,
/// so that the stamps of one link do not jitter.
#[derive(Debug)]
pub struct ReceiveClock {
    utc_minus_monotonic_ns: i64,
    tai_minus_utc_ns: i64,
    refresh_at: Monotonic,
}

impl Default for ReceiveClock {
    fn default() -> ReceiveClock {
        ReceiveClock::new()
    }
}

impl ReceiveClock {
    const NOISE_NS: i64 = 2_000;

    /// Measures how the clocks differ.
    #[must_use]
    pub fn new() -> ReceiveClock {
        let mut clock =
            ReceiveClock { utc_minus_monotonic_ns: 0, tai_minus_utc_ns: 0, refresh_at: Monotonic::PAST };
        clock.measure();
        clock
    }

    /// Reads the monotonic clock once; now and then measures the differences again.
    pub fn turn(&mut self) -> Monotonic {
        let now = Monotonic::now();
        if now >= self.refresh_at {
            self.measure();
        }
        now
    }

    /// TAI at a monotonic reading.
    #[must_use]
    pub const fn tai(&self, at: Monotonic) -> Tai {
        since_1970(at.0 + self.utc_minus_monotonic_ns + self.tai_minus_utc_ns)
    }

    /// TAI of a kernel time stamp, which is UTC in nanoseconds since 1970-01-01. One that makes no sense gives the
    /// first or last instant there is.
    #[must_use]
    pub fn tai_of_kernel_stamp(&self, utc_ns: i64) -> Tai {
        since_1970(
            utc_ns.saturating_add(STEP_NS.load(Ordering::Relaxed)).saturating_add(self.tai_minus_utc_ns),
        )
    }

    fn measure(&mut self) {
        // The reading between two others of the monotonic clock is worth most where those two are closest.
        let (mut best_width, mut offset) = (i64::MAX, 0);
        for _ in 0..3 {
            let before = read_ns(ClockId::Monotonic);
            let utc = utc_now_ns();
            let after = read_ns(ClockId::Monotonic);
            if after - before < best_width {
                best_width = after - before;
                offset = utc - (before + (after - before) / 2);
            }
            self.refresh_at = Monotonic(after + REFRESH_NS);
        }
        if (offset - self.utc_minus_monotonic_ns).abs() > Self::NOISE_NS + best_width {
            self.utc_minus_monotonic_ns = offset;
        }
        self.tai_minus_utc_ns = tai_minus_utc_ns();
    }
}

/// TAI - UTC is a whole number of seconds; 0 means that nobody has set it in the kernel.
fn whole_offset_ns(measured_ns: i64) -> i64 {
    let seconds = (measured_ns + NS / 2).div_euclid(NS);
    if seconds == 0 { TAI_MINUS_UTC_S * NS } else { seconds * NS }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-NET-010
    #[test]
    fn an_offset_unknown_to_the_kernel_is_taken_from_the_constant() {
        assert_eq!(whole_offset_ns(-40), TAI_MINUS_UTC_S * NS);
        assert_eq!(whole_offset_ns(0), TAI_MINUS_UTC_S * NS);
    }

    // REQ: FEP-NET-010
    #[test]
    fn an_offset_known_to_the_kernel_is_rounded_to_whole_seconds() {
        assert_eq!(whole_offset_ns(36 * NS + 999_999_800), 37 * NS);
        assert_eq!(whole_offset_ns(38 * NS - 70), 38 * NS);
    }

    #[test]
    fn a_step_beyond_a_hundred_years_is_refused_and_steps_nothing() {
        // Two that cancel out: other tests of this process read the same clock.
        let hour_ns = 3_600 * NS;
        for step_ns in [i64::MAX, i64::MIN, STEP_MAX_NS + hour_ns, -STEP_MAX_NS - hour_ns] {
            let before = tai_now();
            let refused = step_for_test(step_ns).unwrap_err();
            assert_eq!(refused.step_ns, step_ns);
            assert!(refused.to_string().contains("100 years"), "{refused}");
            assert!((0..hour_ns).contains(&tai_now().ns_since(before)), "after {step_ns}");
        }
    }

    // REQ: FEP-NET-010
    #[test]
    fn stamps_of_a_turn_and_of_the_public_clock_are_of_one_scale() {
        let mut clock = ReceiveClock::new();
        let before = tai_now().0;
        let now = clock.turn();
        let stamp = clock.tai(now).0;
        let after = tai_now().0;
        // The offset between the clocks is measured, to within the noise that is allowed for.
        let noise = 2 * ReceiveClock::NOISE_NS + 1_000_000;
        assert!(before - noise <= stamp && stamp <= after + noise, "{before} {stamp} {after}");
    }

    // REQ: FEP-NET-010
    #[test]
    fn tai_is_ahead_of_utc_by_the_leap_seconds_so_far() {
        let utc_ns =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
        let ahead_ns = tai_now().ns_since(since_1970(utc_ns));
        // Whole seconds only: between the two readings the machine may have paused.
        assert!(ahead_ns >= TAI_MINUS_UTC_S * NS - NS, "{ahead_ns}");
        assert!(ahead_ns < (TAI_MINUS_UTC_S + 60) * NS, "{ahead_ns}");
    }
}
