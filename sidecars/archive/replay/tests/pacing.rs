//! The pacing core against a head that is moved by plain arithmetic, under any order of any orders.

use fep_replay::{Due, LATENESS_MAX_NS, Pacer, Speed};
use proptest::prelude::*;

const MS: i64 = 1_000_000;

#[derive(Debug, Clone, Copy)]
enum Act {
    Pass(i64),
    Pause,
    Resume,
    Step(u64),
    Speed(u32),
    Fastest,
    /// To this record's time, plus or minus a little.
    Seek(usize, i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0_i64..50 * MS).prop_map(Act::Pass),
        1 => Just(Act::Pause),
        2 => Just(Act::Resume),
        1 => (1_u64..4).prop_map(Act::Step),
        2 => prop_oneof![Just(100_u32), Just(500), Just(1000), Just(2500), Just(1_000_000), 100_u32..1_000_000].prop_map(Act::Speed),
        1 => Just(Act::Fastest),
        1 => (any::<usize>(), -3_i64..3).prop_map(|(record, off)| Act::Seek(record, off)),
    ]
}

/// What a head does, in the plainest way: archive time in thousandths of nanoseconds, moved step by step.
struct Model {
    head: Option<i128>,
    speed: Option<u32>,
    paused: bool,
    steps: u64,
}

impl Model {
    fn pass(&mut self, ns: i64) {
        if let (Some(head), Some(speed), false) = (&mut self.head, self.speed, self.paused) {
            *head += i128::from(ns) * i128::from(speed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    // REQ: FEP-REPLAY-001
    // REQ: FEP-REPLAY-002
    #[test]
    fn under_any_orders_records_come_in_order_never_early_never_while_held_and_at_the_speed_asked_for(
        gaps in prop::collection::vec(0_i64..20 * MS, 1..60),
        acts in prop::collection::vec(act(), 0..120),
        speed in prop_oneof![Just(None), (100_u32..1_000_000).prop_map(Some)],
    ) {
        let times: Vec<i64> = gaps.iter().scan(1_000 * MS, |time, gap| { *time += gap; Some(*time) }).collect();
        let mut pacer = Pacer::new(speed.map_or(Speed::Fastest, Speed::Thousandths), None);
        let mut model = Model { head: None, speed, paused: false, steps: 0 };
        let (mut now, mut next) = (7 * MS, 0_usize);
        for act in acts {
            match act {
                Act::Pass(ns) => {
                    // In pieces as a runner would sleep them, so that no record is later than a piece.
                    let mut left = ns;
                    while left > 0 {
                        let piece = left.min(MS);
                        now += piece;
                        model.pass(piece);
                        left -= piece;
                        drain(&mut pacer, &mut model, &times, &mut next, now)?;
                    }
                }
                Act::Pause => { pacer.pause(now); model.paused = true; }
                Act::Resume => { pacer.resume(now); model.paused = false; model.steps = 0; }
                Act::Step(records) => { pacer.step(records, now); model.paused = true; model.steps += records; }
                Act::Speed(speed) => { pacer.set_speed(Speed::Thousandths(speed), now); model.speed = Some(speed); }
                Act::Fastest => { pacer.set_speed(Speed::Fastest, now); model.speed = None; }
                Act::Seek(record, off) => {
                    let target = times[record % times.len()] + off;
                    next = times.iter().position(|time| *time >= target).unwrap_or(times.len());
                    pacer.seek(target, now);
                    model.head = Some(i128::from(target) * 1000);
                }
            }
            drain(&mut pacer, &mut model, &times, &mut next, now)?;
        }
    }

    #[test]
    fn a_record_is_due_exactly_its_distance_divided_by_the_speed_after_the_first(
        distance in 0_i64..86_400_000_000_000, speed in 100_u32..=1_000_000, start in -1_000_000_000_i64..1_000_000_000,
    ) {
        let mut pacer = Pacer::new(Speed::Thousandths(speed), None);
        prop_assert_eq!(pacer.due(5, start), Due::Now);
        pacer.sent(5, start);
        let exact = (i128::from(distance) * 1000 + i128::from(speed) - 1) / i128::from(speed);
        let expected = if exact == 0 { Due::Now } else { Due::At(start + exact as i64) };
        prop_assert_eq!(pacer.due(5 + distance, start), expected);
        prop_assert_eq!(pacer.due(5 + distance, start + exact as i64), Due::Now);
    }

    #[test]
    fn speeds_are_read_as_they_are_written_and_others_are_refused(times in -10.0_f64..2000.0) {
        let spoken = Speed::times(times);
        if (0.1..=1000.0).contains(&times) {
            let text = serde_json::to_string(&spoken.clone().expect("within")).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<Speed>(&text).expect("JSON"), spoken.expect("within"));
        } else {
            prop_assert!(spoken.is_err());
            prop_assert!(serde_json::from_str::<Speed>(&times.to_string()).is_err());
        }
    }
}

/// Lets everything go that may, and holds each verdict against the model.
fn drain(
    pacer: &mut Pacer,
    model: &mut Model,
    times: &[i64],
    next: &mut usize,
    now: i64,
) -> Result<(), TestCaseError> {
    while let Some(time) = times.get(*next) {
        let ahead = model.head.map_or(0, |head| i128::from(*time) * 1000 - head);
        match pacer.due(*time, now) {
            Due::Now => {
                if model.steps == 0 {
                    prop_assert!(!model.paused, "a record went while the replay was held");
                    prop_assert!(
                        model.speed.is_none() || ahead <= 0,
                        "early by {ahead} thousandths of a nanosecond"
                    );
                }
                pacer.sent(*time, now);
                if model.steps > 0 || model.head.is_none() || model.speed.is_none() {
                    model.head = Some(i128::from(*time) * 1000);
                }
                // Made up for is only what is not too late; the pacer says what it gave up.
                model.steps = model.steps.saturating_sub(1);
                if let (Some(head), Some(speed)) = (model.head, model.speed) {
                    let late = (head - i128::from(*time) * 1000) / i128::from(speed);
                    if late > i128::from(LATENESS_MAX_NS) {
                        model.head = Some(i128::from(*time) * 1000);
                    }
                }
                *next += 1;
            }
            Due::At(due) => {
                prop_assert!(!model.paused && model.steps == 0);
                prop_assert!(due > now);
                let Some(speed) = model.speed else {
                    return Err(TestCaseError::fail("as fast as possible, and yet it waits"));
                };
                // The head arrives then, to the nanosecond, and not before.
                let arrives = i128::from(due - now) * i128::from(speed) - ahead;
                prop_assert!((0..i128::from(speed)).contains(&arrives), "off by {arrives}");
                return Ok(());
            }
            Due::Held => {
                prop_assert!(model.paused && model.steps == 0, "held without an order");
                return Ok(());
            }
        }
    }
    Ok(())
}

#[test]
fn a_slow_receiver_shifts_the_rest_and_is_not_made_up_for_in_a_burst() {
    let mut pacer = Pacer::new(Speed::ORIGINAL, None);
    pacer.sent(0, 0);
    // Due after 10 ms, taken after 5 s: the one that follows keeps its distance of 10 ms.
    assert_eq!(pacer.due(10 * MS, 5_000 * MS), Due::Now);
    pacer.sent(10 * MS, 5_000 * MS);
    assert_eq!(pacer.due(20 * MS, 5_000 * MS), Due::At(5_010 * MS));
    assert_eq!(pacer.slipped_ns(), 4_990 * MS);
    // A little late is made up for: the next one comes at its own time, not later.
    assert_eq!(pacer.due(20 * MS, 5_013 * MS), Due::Now);
    pacer.sent(20 * MS, 5_013 * MS);
    assert_eq!(pacer.due(30 * MS, 5_013 * MS), Due::At(5_020 * MS));
}

#[test]
fn a_silence_between_contacts_lasts_no_longer_than_asked_for() {
    let mut pacer = Pacer::new(Speed::ORIGINAL, Some(200 * MS));
    pacer.sent(0, 0);
    assert_eq!(pacer.due(150 * MS, 0), Due::At(150 * MS), "shorter ones are as they were");
    assert_eq!(pacer.due(150 * MS, 150 * MS), Due::Now);
    pacer.sent(150 * MS, 150 * MS);
    let next_contact = 5_400_000 * MS;
    assert_eq!(pacer.due(next_contact, 151 * MS), Due::At(351 * MS));
    assert_eq!(pacer.due(next_contact, 351 * MS), Due::Now);
    pacer.sent(next_contact, 351 * MS);
    assert_eq!(
        pacer.due(next_contact + 10 * MS, 351 * MS),
        Due::At(361 * MS),
        "and the timing goes on as it was"
    );
}

#[test]
fn a_clock_of_the_station_that_was_set_back_neither_stops_nor_floods_the_replay() {
    let mut pacer = Pacer::new(Speed::ORIGINAL, None);
    pacer.sent(100_000 * MS, 0);
    assert_eq!(pacer.due(40_000 * MS, 5 * MS), Due::Now);
    pacer.sent(40_000 * MS, 5 * MS);
    assert_eq!(pacer.due(40_010 * MS, 5 * MS), Due::At(15 * MS));
}
