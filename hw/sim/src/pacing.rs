//! Keeps a stream at its bit rate: exact on average, whatever the sleeps of the machine are.

use std::time::{Duration, Instant};

/// Behind its schedule by more than this a sender does not catch up: a transmitter that was held up has lost its slot. One
/// that waits for nobody always does: its schedule is that of the spacecraft.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(1);

/// Longest single sleep, so that a stop is obeyed soon.
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// Schedule of a stream. Without a rate nothing is ever waited for.
#[derive(Debug)]
pub(crate) struct Pacer {
    rate_bps: Option<u64>,
    waits_for_nobody: bool,
    started: Instant,
    bits: u128,
    stalls: u64,
}

impl Pacer {
    pub(crate) fn new(rate_bps: Option<u64>, waits_for_nobody: bool, now: Instant) -> Pacer {
        Pacer { rate_bps, waits_for_nobody, started: now, bits: 0, stalls: 0 }
    }

    /// Begins the schedule anew, as after a pause.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.started = now;
        self.bits = 0;
    }

    /// Counts `octets` as due from the schedule's end on.
    pub(crate) fn advance(&mut self, octets: usize) {
        self.bits += octets as u128 * 8;
    }

    /// How long to sleep before the octets counted last may have left; `None` when they may.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Duration> {
        let rate_bps = self.rate_bps?;
        let due_ns = self.bits * 1_000_000_000 / u128::from(rate_bps);
        let due = self.started + Duration::from_nanos(u64::try_from(due_ns).unwrap_or(u64::MAX / 2));
        if now > due + CATCH_UP_LIMIT && !self.waits_for_nobody {
            self.stalls += 1;
            self.restart(now);
        }
        due.checked_duration_since(now).filter(|wait| !wait.is_zero()).map(|wait| wait.min(SLEEP_MAX))
    }

    /// How often the schedule was given up because the other side did not take the data.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Octets worth sending in one go: about two milliseconds, at least `unit_len`.
    pub(crate) fn batch_len(&self, unit_len: usize) -> usize {
        const BATCH_MAX: u64 = 1 << 18;
        let octets = self.rate_bps.map_or(BATCH_MAX, |rate_bps| (rate_bps / 8 / 500).min(BATCH_MAX));
        usize::try_from(octets).expect("at most 256 KiB").max(unit_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // REQ: FEP-SIM-009
        #[test]
        fn the_schedule_is_exact_on_average_whatever_the_batches_and_the_sleeps(
            rate_bps in 1_000_u64..10_000_000_000,
            batches in prop::collection::vec((1_usize..100_000, 0_u64..900_000), 1..50),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut pacer = Pacer::new(Some(rate_bps), false, now);
            let mut octets = 0_u64;
            for (batch, oversleep_us) in batches {
                octets += batch as u64;
                pacer.advance(batch);
                while let Some(wait) = pacer.wait(now) {
                    // Only who sleeps can oversleep.
                    now += wait + Duration::from_micros(oversleep_us);
                }
                let due = Duration::from_nanos((u128::from(octets) * 8_000_000_000 / u128::from(rate_bps)) as u64);
                prop_assert!(now - start >= due, "nothing leaves early");
                prop_assert!(now - start <= due + CATCH_UP_LIMIT, "oversleeping is made up for");
            }
            prop_assert_eq!(pacer.stalls(), 0);
        }
    }

    #[test]
    fn a_sender_held_up_for_long_begins_a_new_schedule() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Some(8_000), false, start);
        pacer.advance(1_000);
        assert!(pacer.wait(start).is_some());
        let late = start + Duration::from_secs(60);
        assert_eq!(pacer.wait(late), None);
        assert_eq!(pacer.stalls(), 1);
        pacer.advance(1_000);
        assert!(pacer.wait(late).is_some(), "the minute is not made up for in one burst");
    }
    #[test]
    fn a_spacecraft_that_waits_for_nobody_keeps_its_schedule() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Some(8_000), true, start);
        let late = start + Duration::from_secs(60);
        for _ in 0..60 {
            assert_eq!(pacer.wait(late), None);
            pacer.advance(1_000);
        }
        assert!(pacer.wait(late - Duration::from_millis(1)).is_some() && pacer.stalls() == 0);
    }
}
