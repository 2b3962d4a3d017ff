//! The merge of antennas against a naive oracle: frames are made with their true numbers, which only the oracle looks at.

mod passes;

use std::collections::{BTreeMap, BTreeSet};

use fep_downlink::{Fate, Merge, MergeInput, MergeSpec, MergeSpecError, Merged, Quality};
use fep_mission::Colour;
use fep_record::{BadReason, FrameFlags, FrameRecord};
use fep_time::{Monotonic, Tai};
use passes::{AntennaSim, Arrival, Kind, Pass, Random, arrivals};
use proptest::prelude::*;

const MS: i64 = 1_000_000;

/// A frame that came out of the merge.
#[derive(Debug, Clone, Copy)]
struct Out {
    /// Its true number.
    seq: u64,
    antenna: u16,
    at: i64,
    fate: Fate,
}

/// What went in and came out.
struct Run {
    merge: Merge,
    out: Vec<Out>,
    arrivals: Vec<Arrival>,
}

fn record_of(arrival: &Arrival) -> FrameRecord {
    let mut record = FrameRecord { link_id: arrival.antenna, ..FrameRecord::default() };
    record.flags.insert(FrameFlags::CODED);
    record.symbols_corrected = arrival.symbols_corrected;
    record.flags.set(FrameFlags::CORRECTED, arrival.symbols_corrected > 0);
    record
}

fn run(pass: &Pass, spec: MergeSpec, arrivals: Vec<Arrival>) -> Run {
    let mut merge = Merge::new(spec).expect("a merge");
    let mut out = Vec::new();
    for arrival in &arrivals {
        poll_until(&mut merge, arrival.at, &mut out);
        let mut sink = sink_at(arrival.at, &mut out);
        if arrival.is_end {
            merge.antenna_gone(arrival.antenna, Monotonic(arrival.at), &mut sink);
            continue;
        }
        let mut record = record_of(arrival);
        if arrival.is_bad {
            record.reason = BadReason::Uncorrectable;
        }
        let input = MergeInput {
            octets: &pass.frames[arrival.frame].octets,
            record,
            received: Tai(arrival.received),
            colour: Colour::Black,
            antenna: arrival.antenna,
            seq: arrival.frame as u64,
            quality: Quality::Unstated,
        };
        merge.push(&input, Monotonic(arrival.at), &mut sink);
        assert!(merge.ledger().is_balanced(), "{:?}", merge.ledger());
    }
    poll_until(&mut merge, i64::MAX, &mut out);
    assert!(merge.ledger().antennas.iter().all(|(_, counts)| counts.pending == 0), "nothing waits for ever");
    let last = arrivals.last().map_or(0, |arrival| arrival.at);
    merge.flush(&mut sink_at(last, &mut out));
    Run { merge, out, arrivals }
}

fn poll_until(merge: &mut Merge, until: i64, out: &mut Vec<Out>) {
    while let Some(timeout) = merge.next_timeout().filter(|timeout| timeout.0 <= until) {
        let before = merge.next_timeout();
        merge.poll(timeout, &mut sink_at(timeout.0, out));
        assert_ne!(merge.next_timeout(), before, "a timer that ran out has done something");
    }
}

fn sink_at(at: i64, out: &mut Vec<Out>) -> impl FnMut(Merged<'_>) {
    move |merged: Merged<'_>| {
        assert_eq!(merged.record.link_id, merged.antenna, "the record says which antenna was chosen");
        out.push(Out { seq: merged.seq, antenna: merged.antenna, at, fate: merged.fate });
    }
}

fn spec(pass: &Pass, antennas: u16, wait_ns: i64) -> MergeSpec {
    MergeSpec {
        antennas: (0..antennas).collect(),
        frame: pass.spec.clone(),
        wait_ns,
        window_frames: 4096,
        in_order: true,
        report_unserved: false,
    }
}

/// By channel: the true numbers of what was served, in order.
fn served_by_channel(pass: &Pass, run: &Run) -> BTreeMap<usize, Vec<u64>> {
    let mut served: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for out in &run.out {
        served.entry(pass.frames[out.seq as usize].channel).or_default().push(out.seq);
    }
    served
}

/// By channel: the true numbers of what any antenna delivered.
fn delivered_by_channel(pass: &Pass, run: &Run) -> BTreeMap<usize, BTreeSet<u64>> {
    let mut delivered: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
    for arrival in run.arrivals.iter().filter(|arrival| !arrival.is_bad && !arrival.is_end) {
        delivered.entry(pass.frames[arrival.frame].channel).or_default().insert(arrival.frame as u64);
    }
    delivered
}

/// Nothing twice, in order, nothing waits longer than it may, every copy accounted for.
fn check_always(pass: &Pass, run: &Run, wait_ns: i64, tells_turns: bool) -> Result<(), TestCaseError> {
    let mut first_arrival: BTreeMap<(u64, u16), i64> = BTreeMap::new();
    for arrival in run.arrivals.iter().filter(|arrival| !arrival.is_end && !arrival.is_bad) {
        first_arrival.entry((arrival.frame as u64, arrival.antenna)).or_insert(arrival.at);
    }
    for (channel, served) in served_by_channel(pass, run) {
        let channel_of = &pass.channels[channel];
        if !channel_of.is_counted || channel_of.repeats && !tells_turns {
            continue;
        }
        for pair in served.windows(2) {
            prop_assert!(pair[0] < pair[1], "channel {channel}: {} before {}", pair[0], pair[1]);
        }
    }
    for out in &run.out {
        prop_assert_eq!(out.fate, Fate::Served);
        let arrived = first_arrival[&(out.seq, out.antenna)];
        prop_assert!(out.at - arrived <= wait_ns, "frame {} waited {} ns", out.seq, out.at - arrived);
    }
    prop_assert!(run.merge.ledger().is_balanced());
    let total: u64 = run.merge.ledger().antennas.iter().map(|(_, counts)| counts.served).sum();
    prop_assert_eq!(total, run.out.len() as u64);
    Ok(())
}

/// Everything that any antenna has is served, and the best copy that came in time is chosen.
fn check_complete(pass: &Pass, run: &Run, tells_turns: bool) -> Result<(), TestCaseError> {
    let served = served_by_channel(pass, run);
    for (channel, delivered) in delivered_by_channel(pass, run) {
        let served = served.get(&channel).cloned().unwrap_or_default();
        let channel_of = &pass.channels[channel];
        if channel_of.repeats && !tells_turns && !channel_of.is_alike {
            // Frames that repeat with the counter, and times that do not tell the turns apart: which is which, nobody knows.
            continue;
        }
        if channel_of.is_alike {
            // Equal octets without a count.
            let own = |antenna: u16| {
                let own = run.arrivals.iter().filter(|arrival| {
                    let frame = !arrival.is_bad && !arrival.is_end && arrival.antenna == antenna;
                    frame && pass.frames[arrival.frame].channel == channel
                });
                own.map(|arrival| arrival.frame).collect::<BTreeSet<_>>().len()
            };
            let most = run.merge.ledger().antennas.iter().map(|(antenna, _)| own(*antenna)).max();
            prop_assert!(served.len() <= delivered.len() && Some(served.len()) >= most);
            continue;
        }
        let distinct: BTreeSet<u64> = served.iter().copied().collect();
        prop_assert_eq!(distinct.len(), served.len(), "channel {}: a frame was served twice", channel);
        let missing: Vec<&u64> = delivered.difference(&distinct).collect();
        prop_assert!(
            missing.is_empty(),
            "channel {}: {:?} were not served, {:?}",
            channel,
            missing,
            run.merge.ledger()
        );
    }
    for out in run.out.iter().filter(|out| pass.channels[pass.frames[out.seq as usize].channel].is_counted) {
        let copies = run.arrivals.iter().filter(|arrival| {
            arrival.frame as u64 == out.seq && arrival.at < out.at && !arrival.is_bad && !arrival.is_end
        });
        let best = copies.map(|arrival| arrival.symbols_corrected).min();
        let chosen = run
            .arrivals
            .iter()
            .find(|arrival| {
                arrival.frame as u64 == out.seq && arrival.antenna == out.antenna && !arrival.is_bad
            })
            .map(|arrival| arrival.symbols_corrected);
        // Where octets repeat, an antenna that comes back may have to wait until receive times tell where it is.
        let repeats = pass.channels[pass.frames[out.seq as usize].channel].repeats;
        let is_best = best.is_none_or(|best| chosen <= Some(best)) || repeats;
        prop_assert!(is_best, "frame {}: not the best copy", out.seq);
    }
    Ok(())
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Tm), Just(Kind::Aos), (0_u8..=4).prop_map(|octets| Kind::Uslp { octets })]
}

fn antenna(delay_ms: std::ops::Range<i64>) -> impl Strategy<Value = AntennaSim> {
    (
        delay_ms,
        0_i64..200_000,
        0_u32..200,
        prop::collection::vec((0.2_f64..1.0, 1_usize..700), 0..3),
        0_u32..300,
        0_u32..20,
    )
        .prop_map(
            |(delay_ms, jitter_ns, loss_permille, outages, corrected_permille, repeat_permille)| AntennaSim {
                delay_ns: delay_ms * MS,
                jitter_ns,
                loss_permille,
                outages,
                corrected_permille,
                repeat_permille,
                ..AntennaSim::default()
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    // REQ: FEP-MRG-001
    // REQ: FEP-MRG-002
    // REQ: FEP-MRG-004
    #[test]
    fn whatever_any_antenna_has_is_served_once_in_order_and_as_the_best_copy_within_the_wait(
        kind in kinds(),
        seed in any::<u64>(),
        rate_hz in 500_i64..60_000,
        antennas in prop::collection::vec(antenna(0..40), 1..5),
        stamped_on_arrival in any::<bool>(),
    ) {
        let pass = Pass::new(kind, seed, rate_hz, 3000);
        let wait_ns = 100 * MS;
        // One antenna stays in lock: what all of them miss unseen, only receive times tell from a turn of the counter.
        let mut antennas = antennas;
        antennas[0].outages.clear();
        let mut random = Random(seed ^ 1);
        // Stations whose receive times are those of the network differ by their delays.
        let arrivals = arrivals(&pass, &antennas, stamped_on_arrival, &mut random);
        let run = run(&pass, spec(&pass, antennas.len() as u16, wait_ns), arrivals);
        let tells_turns = !stamped_on_arrival;
        check_always(&pass, &run, wait_ns, tells_turns)?;
        check_complete(&pass, &run, tells_turns)?;
        let late: u64 = run.merge.ledger().antennas.iter().map(|(_, counts)| counts.late).sum();
        prop_assert!(late == 0 || !tells_turns, "{} late", late);
    }

    // REQ: FEP-MRG-003
    // REQ: FEP-MRG-004
    #[test]
    fn beyond_the_wait_nothing_is_served_twice_or_out_of_order_and_what_is_late_is_counted(
        kind in kinds(),
        seed in any::<u64>(),
        rate_hz in 500_i64..20_000,
        antennas in prop::collection::vec(antenna(0..120), 2..5),
        gone in any::<bool>(),
    ) {
        let pass = Pass::new(kind, seed, rate_hz, 2000);
        let wait_ns = 10 * MS;
        let mut random = Random(seed ^ 2);
        let antennas: Vec<_> = antennas.into_iter().map(|antenna| AntennaSim { says_gone: gone, ..antenna }).collect();
        let arrivals = arrivals(&pass, &antennas, false, &mut random);
        let run = run(&pass, spec(&pass, antennas.len() as u16, wait_ns), arrivals);
        check_always(&pass, &run, wait_ns, true)?;
    }
}

// REQ: FEP-MRG-001
#[test]
fn a_merge_that_cannot_be_is_refused() {
    let pass = Pass::new(Kind::Tm, 1, 1000, 1);
    let good = spec(&pass, 2, 1);
    let refused = |change: &dyn Fn(&mut MergeSpec)| {
        let mut spec = good.clone();
        change(&mut spec);
        Merge::new(spec).err()
    };
    assert_eq!(refused(&|_| ()), None);
    assert_eq!(refused(&|spec| spec.antennas.clear()), Some(MergeSpecError::Antennas { antennas: 0 }));
    assert_eq!(refused(&|spec| spec.antennas = vec![3, 4, 3]), Some(MergeSpecError::Twice { antenna: 3 }));
    assert_eq!(refused(&|spec| spec.window_frames = 0), Some(MergeSpecError::Window { window_frames: 0 }));
    assert_eq!(refused(&|spec| spec.wait_ns = -1), Some(MergeSpecError::Wait { wait_ns: -1 }));
}

// REQ: FEP-MRG-303
#[test]
fn a_corrected_frame_waits_for_a_better_copy_until_the_other_antenna_has_delivered_or_passed_it_and_no_longer()
 {
    let pass = Pass::new(Kind::Aos, 3, 1000, 200);
    let frames: Vec<usize> = (0..200).filter(|frame| pass.frames[*frame].channel == 0).collect();
    let arrival = |at_ms: i64, antenna: u16, frame: usize, symbols_corrected: u16| Arrival {
        at: at_ms * MS,
        antenna,
        frame: frames[frame],
        received: at_ms * MS,
        symbols_corrected,
        is_bad: false,
        is_end: false,
    };
    let all = vec![
        arrival(0, 0, 0, 0),
        arrival(1, 1, 0, 0),
        // The other copy is better, worse, not there; and then the other antenna is silent.
        arrival(10, 0, 1, 5),
        arrival(13, 1, 1, 0),
        arrival(20, 0, 2, 5),
        arrival(24, 1, 2, 7),
        arrival(30, 0, 3, 5),
        arrival(35, 1, 4, 0),
        arrival(36, 0, 4, 0),
        arrival(40, 0, 5, 5),
        arrival(41, 0, 6, 0),
    ];
    let run = run(&pass, spec(&pass, 2, 50 * MS), all);
    let served: Vec<(usize, u16, i64)> =
        run.out.iter().map(|out| (out.seq as usize, out.antenna, out.at / MS)).collect();
    let expected = [(0, 0, 1), (1, 1, 13), (2, 0, 24), (3, 0, 35), (4, 1, 35), (5, 0, 90), (6, 0, 90)];
    assert_eq!(served, expected.map(|(frame, antenna, at)| (frames[frame], antenna, at)));
}
