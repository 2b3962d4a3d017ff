//! Time correlation held against clocks whose drift, jumps and measurement errors are known.

use fep_ccsds::time::{CorrelationError, CorrelationSpec, Correlator, PairVerdict, TimePair};
use fep_time::Tai;
use proptest::prelude::*;

const SECOND: i64 = 1_000_000_000;

/// A clock that started at a ground time and runs slow by a number of parts per billion.
#[derive(Clone, Copy)]
struct Clock {
    start: i64,
    slow_ppb: i64,
}

impl Clock {
    fn ground(&self, onboard_ns: i64) -> i64 {
        self.start + onboard_ns + (i128::from(onboard_ns) * i128::from(self.slow_ppb) / 1_000_000_000) as i64
    }

    fn pair(&self, onboard_ns: i64, delay_ns: i64, error_ns: i64) -> TimePair {
        TimePair { onboard_ns, received: Tai(self.ground(onboard_ns) + delay_ns + error_ns), delay_ns }
    }
}

// Sixty years after 1958: big numbers, so that lost precision would show.
const CLOCK: Clock = Clock { start: 2_000_000_000 * SECOND, slow_ppb: -1234 };

// REQ: FEP-TIME-007
#[test]
fn drift_and_offset_of_a_clock_are_found_to_the_nanosecond() {
    let mut correlator = Correlator::new(CorrelationSpec::default()).expect("a specification");
    for minute in 0..60 {
        let verdict = correlator.add(CLOCK.pair(minute * 60 * SECOND, minute * 7_000_000, 0));
        assert_eq!(verdict, PairVerdict::Kept);
    }
    let correlation = correlator.fit().expect("enough pairs");
    assert!((correlation.drift - -1234e-9).abs() < 1e-14, "{correlation:?}");
    assert!(correlation.residual_max_ns <= 1.0);
    assert_eq!((correlation.pairs_used, correlation.pairs_rejected), (60, 0));
    // An hour later, and years earlier.
    for onboard_ns in [2 * 3600 * SECOND, 0, 86_400 * SECOND] {
        let ground = correlation.to_ground(onboard_ns).expect("in range");
        assert!(ground.0.abs_diff(CLOCK.ground(onboard_ns)) <= 2);
    }
    assert!(correlation.is_valid_at(Tai(CLOCK.ground(3600 * SECOND))));
    assert!(!correlation.is_valid_at(Tai(CLOCK.ground(-SECOND))));
    assert!(!correlation.is_valid_at(Tai(CLOCK.ground(2 * 86_400 * SECOND))));
}

// REQ: FEP-TIME-008
#[test]
fn wrong_pairs_are_rejected_and_do_not_bend_the_line() {
    let mut correlator = Correlator::new(CorrelationSpec::default()).expect("a specification");
    for index in 0..40_i64 {
        // Jitter of ±50 µs; every fifth pair is off by seconds, always late as a queue on the ground would make it.
        let jitter = (index * 37 % 11 - 5) * 10_000;
        let error = if index % 5 == 2 { 3 * SECOND } else { jitter };
        correlator.add(CLOCK.pair(index * 10 * SECOND, 250_000_000, error));
    }
    let correlation = correlator.fit().expect("enough pairs");
    assert_eq!((correlation.pairs_used, correlation.pairs_rejected), (32, 8));
    assert!(correlation.residual_max_ns < 100_000.0);
    let ground = correlation.to_ground(200 * SECOND).expect("in range");
    assert!(ground.0.abs_diff(CLOCK.ground(200 * SECOND)) < 50_000);
    let outliers = correlator.pairs().filter(|pair| correlation.residual_ns(pair).abs() > 1e9).count();
    assert_eq!(outliers, 8);
}

// REQ: FEP-TIME-009
#[test]
fn a_clock_that_was_set_is_followed() {
    let mut correlator = Correlator::new(CorrelationSpec::default()).expect("a specification");
    for second in 0..30 {
        correlator.add(CLOCK.pair(second * SECOND, 0, 0));
    }
    // Set forward by an hour: outliers at first, then the truth.
    let later = Clock { start: CLOCK.start - 3600 * SECOND, ..CLOCK };
    let onboard = |second: i64| (3600 + second) * SECOND;
    for second in 30..34 {
        assert_eq!(correlator.add(later.pair(onboard(second), 0, 0)), PairVerdict::Kept);
    }
    assert_eq!(correlator.fit().expect("enough pairs").pairs_rejected, 4);
    correlator.add(later.pair(onboard(34), 0, 0));
    let correlation = correlator.fit().expect("enough pairs");
    assert_eq!((correlation.pairs_used, correlation.pairs_rejected), (5, 0));
    assert!(
        correlation.to_ground(onboard(40)).expect("in range").0.abs_diff(later.ground(onboard(40))) <= 100
    );
    // Set back: older readings mean nothing any more.
    let reset = Clock { start: CLOCK.start + 40 * SECOND, ..CLOCK };
    assert_eq!(correlator.add(reset.pair(0, 0, 0)), PairVerdict::ClockReset);
    assert_eq!(correlator.fit(), Err(CorrelationError::TooFewPairs { pairs: 1, needed: 3 }));
}

#[test]
fn what_cannot_be_fitted_is_refused_with_the_reason() {
    let spec = CorrelationSpec::default;
    for (wrong, name) in [
        (CorrelationSpec { max_pairs: 1, ..spec() }, "max_pairs"),
        (CorrelationSpec { min_pairs: 1, ..spec() }, "min_pairs"),
        (CorrelationSpec { outlier_sigma: f64::NAN, ..spec() }, "outlier_sigma"),
        (CorrelationSpec { outlier_floor_ns: -1.0, ..spec() }, "outlier_floor_ns"),
        (CorrelationSpec { restart_after: 1, ..spec() }, "restart_after"),
        (CorrelationSpec { validity_ns: -1, ..spec() }, "validity_ns"),
    ] {
        assert_eq!(Correlator::new(wrong).map(|_| ()), Err(CorrelationError::Spec(name)));
    }
    let mut correlator = Correlator::new(spec()).expect("a specification");
    assert_eq!(correlator.fit(), Err(CorrelationError::TooFewPairs { pairs: 0, needed: 3 }));
    for _ in 0..5 {
        correlator.add(CLOCK.pair(SECOND, 0, 0));
    }
    assert_eq!(correlator.fit(), Err(CorrelationError::NoSpan));
    assert_eq!(correlator.add(CLOCK.pair(SECOND, 0, -5)), PairVerdict::OutOfOrder);
}

#[test]
fn only_the_latest_pairs_are_kept() {
    let spec = CorrelationSpec { max_pairs: 10, ..CorrelationSpec::default() };
    let mut correlator = Correlator::new(spec).expect("a specification");
    for second in 0..100 {
        correlator.add(CLOCK.pair(second * SECOND, 0, 0));
    }
    assert_eq!(correlator.pairs().count(), 10);
    assert_eq!(correlator.fit().expect("enough pairs").valid_from, Tai(CLOCK.ground(90 * SECOND)));
}

proptest! {
    // REQ: FEP-TIME-010
    #[test]
    fn the_two_conversions_are_inverses(
        start in -4_000_000_000_i64..4_000_000_000, slow_ppb in -100_000_i64..100_000, onboard in any::<i32>(),
    ) {
        let clock = Clock { start: start * SECOND, slow_ppb };
        let mut correlator = Correlator::new(CorrelationSpec::default()).expect("a specification");
        for second in 0..10 {
            correlator.add(clock.pair(second * SECOND, 0, 0));
        }
        let correlation = correlator.fit().expect("enough pairs");
        let onboard_ns = i64::from(onboard) * SECOND;
        let ground = correlation.to_ground(onboard_ns).expect("in range");
        let back = correlation.to_onboard(ground).expect("in range");
        // 68 years off, the correction itself (up to 10^14 ns) has a resolution of 1/64 ns.
        prop_assert!(back.abs_diff(onboard_ns) <= 1, "{} ns", back - onboard_ns);
    }

    #[test]
    fn no_pairs_make_the_fit_panic(
        pairs in prop::collection::vec((any::<i64>(), any::<i64>(), any::<i64>()), 0..30), at in any::<i64>(),
    ) {
        let mut correlator = Correlator::new(CorrelationSpec::default()).expect("a specification");
        for (onboard_ns, received, delay_ns) in pairs {
            correlator.add(TimePair { onboard_ns, received: Tai(received), delay_ns });
        }
        if let Ok(correlation) = correlator.fit() {
            let _ = (correlation.to_ground(at), correlation.to_onboard(Tai(at)));
        }
    }
}
