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
        assert_eq!(verdict, PairVerdict::Agrees);
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
    // Set forward by an hour: in doubt at first, then the truth.
    let later = Clock { start: CLOCK.start - 3600 * SECOND, ..CLOCK };
    let onboard = |second: i64| (3600 + second) * SECOND;
    for second in 30..34 {
        assert_eq!(correlator.add(later.pair(onboard(second), 0, 0)), PairVerdict::Doubtful);
        let correlation = correlator.fit().expect("enough pairs");
        assert!(correlation.to_ground(0).expect("in range").0.abs_diff(CLOCK.ground(0)) <= 2);
    }
    assert_eq!(correlator.fit().expect("enough pairs").pairs_rejected, 4);
    assert_eq!(correlator.add(later.pair(onboard(34), 0, 0)), PairVerdict::ClockJumped);
    let correlation = correlator.fit().expect("enough pairs");
    assert_eq!((correlation.pairs_used, correlation.pairs_rejected), (5, 0));
    assert!(
        correlation.to_ground(onboard(40)).expect("in range").0.abs_diff(later.ground(onboard(40))) <= 100
    );
    // It starts again from 0, and a wrong pair comes among its first.
    let reset = Clock { start: CLOCK.start + 40 * SECOND, ..CLOCK };
    let verdicts: Vec<PairVerdict> = (0..9)
        .map(|second| {
            let error = if second == 1 { 7 * SECOND } else { 0 };
            correlator.add(reset.pair(second * SECOND, 0, error))
        })
        .collect();
    // Its predecessor left only five pairs: those are outvoted, not forgotten.
    assert_eq!(verdicts[..5], [PairVerdict::Doubtful; 5]);
    assert_eq!(verdicts[8], PairVerdict::Agrees);
    let correlation = correlator.fit().expect("enough pairs");
    assert!(
        correlation.to_ground(60 * SECOND).expect("in range").0.abs_diff(reset.ground(60 * SECOND)) <= 100
    );
}

// REQ: FEP-TIME-009
#[test]
fn a_clock_that_starts_again_is_believed_when_five_pairs_in_a_row_agree() {
    let mut correlator = Correlator::new(CorrelationSpec::default()).expect("a specification");
    for second in 0..100 {
        correlator.add(CLOCK.pair(second * SECOND, 0, 0));
    }
    let again = Clock { start: CLOCK.start + 110 * SECOND, ..CLOCK };
    let verdicts: Vec<PairVerdict> = (0..8)
        .map(|second| again.pair(second * SECOND, 0, if second == 1 { 7 * SECOND } else { 0 }))
        .map(|pair| correlator.add(pair))
        .collect();
    assert_eq!(verdicts[..6], [PairVerdict::Doubtful; 6], "the wrong pair starts the count again");
    assert_eq!(verdicts[6..], [PairVerdict::ClockJumped, PairVerdict::Agrees]);
    let correlation = correlator.fit().expect("enough pairs");
    assert_eq!((correlation.pairs_used, correlation.pairs_rejected), (6, 0));
    assert!(
        correlation.to_ground(60 * SECOND).expect("in range").0.abs_diff(again.ground(60 * SECOND)) <= 100
    );
}

#[test]
fn what_cannot_be_fitted_is_refused_with_the_reason() {
    let spec = CorrelationSpec::default;
    for (wrong, name) in [
        (CorrelationSpec { max_pairs: 1, ..spec() }, "max_pairs"),
        (CorrelationSpec { min_pairs: 1, ..spec() }, "min_pairs"),
        (CorrelationSpec { outlier_sigma: f64::NAN, ..spec() }, "outlier_sigma"),
        (CorrelationSpec { outlier_floor_ns: -1.0, ..spec() }, "outlier_floor_ns"),
        (CorrelationSpec { restart_after: 2, ..spec() }, "restart_after"),
        (CorrelationSpec { restart_after: 65, ..spec() }, "restart_after"),
        (CorrelationSpec { max_drift: f64::NAN, ..spec() }, "max_drift"),
        (CorrelationSpec { max_drift: 1.0, ..spec() }, "max_drift"),
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
    // A clock that runs at twice the time is none.
    let mut correlator = Correlator::new(spec()).expect("a specification");
    for second in 0..5 {
        correlator.add(TimePair {
            onboard_ns: second * SECOND,
            received: Tai(2 * second * SECOND),
            delay_ns: 0,
        });
    }
    assert_eq!(correlator.fit(), Err(CorrelationError::NoDrift));
}

// REQ: FEP-TIME-101
#[test]
fn one_wrong_pair_neither_wipes_the_history_nor_blocks_what_follows() {
    let right = |second| CLOCK.pair(second * SECOND, 0, 0);
    let wrong = [
        // A reading an hour too high; one in the far past; a ground time 200 years in the future; one in the past.
        TimePair { onboard_ns: right(20).onboard_ns + 3600 * SECOND, ..right(20) },
        TimePair { onboard_ns: i64::MIN, ..right(20) },
        TimePair { received: Tai(i64::MAX), ..right(20) },
        TimePair { received: Tai(i64::MIN), delay_ns: i64::MAX, ..right(20) },
        TimePair { delay_ns: i64::MIN, ..right(20) },
    ];
    for wrong in wrong {
        let mut correlator = Correlator::new(CorrelationSpec::default()).expect("a specification");
        for second in 0..40 {
            let expected = if second == 20 { PairVerdict::Doubtful } else { PairVerdict::Agrees };
            let pair = if second == 20 { wrong } else { right(second) };
            assert_eq!(correlator.add(pair), expected, "{wrong:?} at {second}");
        }
        let correlation = correlator.fit().expect("enough pairs");
        assert_eq!((correlation.pairs_used, correlation.pairs_rejected), (39, 1), "{wrong:?}");
        assert_eq!(correlation.valid_from, Tai(CLOCK.ground(0)));
        for second in [0, 20, 39] {
            let ground = correlation.to_ground(second * SECOND).expect("in range");
            assert!(ground.0.abs_diff(CLOCK.ground(second * SECOND)) <= 2, "{wrong:?}");
        }
    }
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

/// Pairs that say nothing of the clock: anything at all, and what real faults make of a right pair.
fn wrong_pair() -> impl Strategy<Value = (u8, i64, i64, i64)> {
    (0_u8..6, any::<i64>(), any::<i64>(), any::<i64>())
}

fn spoil(right: TimePair, (how, a, b, c): (u8, i64, i64, i64)) -> TimePair {
    match how {
        0 => TimePair { onboard_ns: a, received: Tai(b), delay_ns: c },
        1 => TimePair { onboard_ns: a, ..right },
        2 => TimePair { received: Tai(b), ..right },
        3 => TimePair { delay_ns: c, ..right },
        4 => TimePair { received: Tai(right.received.0 + b % (10 * SECOND)), ..right },
        _ => TimePair { onboard_ns: right.onboard_ns + a % (SECOND / 100), ..right },
    }
}

proptest! {
    // REQ: FEP-TIME-101
    #[test]
    fn one_pair_in_five_that_is_wrong_moves_the_line_by_no_more_than_its_accuracy(
        slow_ppb in -50_000_i64..50_000,
        noise_ns in 1_i64..5_000_000,
        spacing_s in 1_i64..600,
        wrong in prop::collection::vec((0_usize..5, wrong_pair()), 4..50),
        extremes in any::<bool>(),
    ) {
        let clock = Clock { slow_ppb, ..CLOCK };
        let mut correlator = Correlator::new(CorrelationSpec::default()).expect("a specification");
        let blocks = wrong.len() as i64;
        // Noise above the floor of a millisecond must be seen in enough pairs.
        let noise_ns = if blocks < 20 { noise_ns.min(500_000) } else { noise_ns };
        // Every five pairs, one of them wrong.
        for (block, (place, fault)) in wrong.into_iter().enumerate() {
            for index in 0..5 {
                let number = (5 * block + index) as i64;
                let noise = number.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17) % noise_ns;
                let right = clock.pair(number * spacing_s * SECOND, 1000, noise);
                let fault = if extremes { (fault.0, i64::MIN, i64::MAX, i64::MIN) } else { fault };
                correlator.add(if index == place { spoil(right, fault) } else { right });
            }
        }
        let correlation = correlator.fit().expect("enough pairs");
        let last = (5 * blocks - 1) * spacing_s;
        let first = (last - 127 * spacing_s).max(0);
        for second in [first, i64::midpoint(first, last), last] {
            let ground = correlation.to_ground(second * SECOND).expect("in range");
            let off_ns = ground.0.abs_diff(clock.ground(second * SECOND)) as f64;
            prop_assert!(off_ns <= correlation.accuracy_ns, "{off_ns} ns off at {second} s: {correlation:?}");
        }
    }

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
