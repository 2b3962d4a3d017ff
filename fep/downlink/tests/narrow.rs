//! The merge on counters of eight bits: strays of one antenna among the frames of others, and outages that all antennas
//! share, with the judgement behind the merge.

mod made;
mod passes;
mod record;

use std::collections::BTreeSet;

use fep_ccsds::{Fhp, FrameParts, Header, TmDataField, TmHeader};
use fep_downlink::{ChainOptions, Merge, MergeInput, MergeSpec, Merged, Quality, Spacecraft};
use fep_mission::{ChannelConfig, VcColour};
use fep_record::{FrameFlags, FrameRecord};
use fep_time::{Monotonic, Tai};
use made::channel_of;
use passes::Random;
use record::Recorder;

const MS: i64 = 1_000_000;
const WAIT: i64 = 40 * MS;
/// Added to the number of a frame that the spacecraft did not send.
const STRAY: u64 = 1 << 63;

const TM: &str = r#"
title = "telemetry"
[spacecraft.a]
scid = 121
[channel.link]
spacecraft = "a"
randomizer = "none"
frame = { kind = "tm", frame_len = 60, fecf = "crc16" }
sync = { marker = "1acffc1d" }
code = { code = "none" }
[[channel.link.vc]]
id = 0
service = "vca"
packets = false
"#;

/// A merge, the judgement behind it, and what comes out.
struct Lab {
    channel: ChannelConfig,
    merge: Merge,
    judgement: Spacecraft,
    recorder: Recorder,
    is_verified: bool,
}

impl Lab {
    fn new(antennas: u16) -> Lab {
        let channel = channel_of(TM);
        let spec = MergeSpec {
            antennas: (0..antennas).collect(),
            frame: channel.frame.clone(),
            wait_ns: WAIT,
            window_frames: 4096,
            in_order: true,
            report_unserved: false,
        };
        Lab {
            merge: Merge::new(spec).expect("a merge"),
            judgement: Spacecraft::behind_merge(&channel, &ChainOptions::default()),
            recorder: Recorder::default(),
            channel,
            is_verified: true,
        }
    }

    /// A frame with this count, and content that no other number has.
    fn octets(&self, number: u64, count: u8) -> Vec<u8> {
        let header = TmHeader {
            scid: 121,
            vcid: 0,
            ocf: false,
            mc_count: count,
            vc_count: count,
            secondary_header: false,
            data_field: TmDataField::Packets { first_header_pointer: Fhp::None },
        };
        let mut zone = [0; 60 - 6 - 2];
        zone[..8].copy_from_slice(&number.to_be_bytes());
        let mut random = Random(number);
        zone[8..].iter_mut().for_each(|octet| *octet = random.next() as u8);
        let mut octets = Vec::new();
        FrameParts::new(Header::Tm(header), &zone).build(&self.channel.frame, &mut octets).expect("a frame");
        octets
    }

    fn push(&mut self, arrival: &Arrival) {
        self.poll(arrival.at);
        let octets = self.octets(arrival.number, arrival.count);
        let mut record = FrameRecord { link_id: arrival.antenna, ..FrameRecord::default() };
        record.flags.set(FrameFlags::CODED, self.is_verified);
        let input = MergeInput {
            octets: &octets,
            record,
            received: Tai(arrival.received),
            colour: VcColour::Black,
            antenna: arrival.antenna,
            seq: arrival.number,
            quality: Quality::Unstated,
        };
        let Lab { merge, judgement, recorder, .. } = self;
        merge.push(&input, Monotonic(arrival.at), &mut |merged| serve(&merged, judgement, recorder));
        assert!(merge.ledger().is_balanced(), "{:?}", merge.ledger());
    }

    fn poll(&mut self, until: i64) {
        let Lab { merge, judgement, recorder, .. } = self;
        while let Some(timeout) = merge.next_timeout().filter(|timeout| timeout.0 <= until) {
            merge.poll(timeout, &mut |merged| serve(&merged, judgement, recorder));
        }
    }

    /// No antenna hears the spacecraft any more: what the spacecraft's role does then.
    fn all_gone(&mut self, antennas: u16, now: i64) {
        let Lab { merge, judgement, recorder, .. } = self;
        for antenna in 0..antennas {
            merge.antenna_gone(antenna, Monotonic(now), &mut |merged| serve(&merged, judgement, recorder));
        }
        merge.flush(&mut |merged| serve(&merged, judgement, recorder));
        judgement.interrupted();
    }

    fn end(&mut self) {
        self.poll(i64::MAX);
        let Lab { merge, judgement, recorder, .. } = self;
        merge.flush(&mut |merged| serve(&merged, judgement, recorder));
    }

    /// Numbers of the frames that the spacecraft sent, as they were served.
    fn served(&self) -> Vec<u64> {
        let numbers = self.recorder.frames.iter().map(|frame| number_of(&frame.octets));
        numbers.filter(|number| number & STRAY == 0).collect()
    }
}

fn serve(merged: &Merged<'_>, judgement: &mut Spacecraft, recorder: &mut Recorder) {
    judgement.merged(merged, recorder);
}

fn number_of(octets: &[u8]) -> u64 {
    octets[6..14].iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
}

/// A frame as an antenna delivers it.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: i64,
    received: i64,
    antenna: u16,
    number: u64,
    count: u8,
}

/// What an antenna does.
#[derive(Debug, Clone, Copy)]
struct Antenna {
    delay: i64,
    /// Of a thousand frames of the spacecraft, how many it delivers.
    keeps: u64,
    /// Of a thousand, how many strays it delivers besides.
    strays: u64,
}

const GOOD: Antenna = Antenna { delay: 2 * MS, keeps: 1000, strays: 0 };
const LOSSY: Antenna = Antenna { delay: 5 * MS, keeps: 900, strays: 0 };
const STRAYS_ONLY: Antenna = Antenna { delay: MS, keeps: 0, strays: 300 };
const MANY_STRAYS_ONLY: Antenna = Antenna { delay: MS, keeps: 0, strays: 1000 };
const MIXED: Antenna = Antenna { delay: 0, keeps: 950, strays: 50 };
const SLOW_MIXED: Antenna = Antenna { delay: 9 * MS, keeps: 950, strays: 50 };

fn arrivals(antennas: &[Antenna], frames: u64, period: i64, random: &mut Random) -> Vec<Arrival> {
    let mut all = Vec::new();
    for (antenna, sim) in antennas.iter().enumerate() {
        for number in 0..frames {
            let sent = number as i64 * period;
            let (antenna, at) = (antenna as u16, sent + sim.delay);
            let arrival = Arrival { at, received: sent, antenna, number, count: number as u8 };
            if random.below(1000) < sim.keeps {
                all.push(arrival);
            }
            if random.below(1000) < sim.strays {
                let (number, count) = (STRAY | number << 8 | u64::from(antenna), random.next() as u8);
                let later = period / 3;
                all.push(Arrival { at: at + later, received: sent + later, number, count, ..arrival });
            }
        }
    }
    all.sort_by_key(|arrival| (arrival.at, arrival.antenna));
    all
}

/// What became of the frames that the spacecraft sent, over several passes.
#[derive(Debug, Default)]
struct Outcome {
    delivered: usize,
    not_served: usize,
    out_of_order: usize,
}

fn outcome(antennas: &[Antenna], is_verified: bool, period: i64) -> Outcome {
    let mut outcome = Outcome::default();
    for seed in 0..12 {
        let mut lab = Lab { is_verified, ..Lab::new(antennas.len() as u16) };
        let all = arrivals(antennas, 1500, period, &mut Random(seed));
        all.iter().for_each(|arrival| lab.push(arrival));
        lab.end();
        let sent = all.iter().map(|arrival| arrival.number).filter(|number| number & STRAY == 0);
        let delivered: BTreeSet<u64> = sent.collect();
        let served = lab.served();
        let distinct: BTreeSet<u64> = served.iter().copied().collect();
        outcome.delivered += delivered.len();
        outcome.not_served += delivered.difference(&distinct).count();
        outcome.out_of_order += served.windows(2).filter(|pair| pair[0] >= pair[1]).count();
    }
    outcome
}

const PERIODS: [i64; 4] = [MS / 5, MS, 15 * MS, 100 * MS];

// REQ: FEP-MRG-300
#[test]
fn strays_of_one_antenna_cost_no_frame_of_the_others_on_counters_of_eight_bits() {
    let antennas: [(&str, &[Antenna]); 3] = [
        ("one good, one of strays", &[GOOD, STRAYS_ONLY]),
        ("one good, one of many strays", &[GOOD, MANY_STRAYS_ONLY]),
        ("two that lose frames, one of strays", &[LOSSY, Antenna { delay: 3 * MS, ..LOSSY }, STRAYS_ONLY]),
    ];
    for (what, antennas) in antennas {
        for (is_verified, period) in
            [true, false].into_iter().flat_map(|it| PERIODS.map(|period| (it, period)))
        {
            let outcome = outcome(antennas, is_verified, period);
            let is_whole = outcome.not_served == 0 && outcome.out_of_order == 0;
            assert!(is_whole, "{what}, verified {is_verified}, {period} ns: {outcome:?}");
        }
    }
}

// REQ: FEP-MRG-300
#[test]
fn strays_among_an_antennas_own_frames_cost_few_frames_on_counters_of_eight_bits() {
    // A stray that is close ahead of its antenna's last frame is taken for the next one behind a gap: eight bits do not tell.
    let antennas: [(&str, &[Antenna]); 4] = [
        ("the faster of two brings strays", &[LOSSY, MIXED]),
        ("the slower of two brings strays", &[LOSSY, SLOW_MIXED]),
        ("both bring strays", &[MIXED, SLOW_MIXED]),
        ("three, two bring strays", &[LOSSY, MIXED, MANY_STRAYS_ONLY]),
    ];
    for (what, antennas) in antennas {
        for (is_verified, period) in
            [true, false].into_iter().flat_map(|it| PERIODS.map(|period| (it, period)))
        {
            let outcome = outcome(antennas, is_verified, period);
            let is_little = 40 * (outcome.not_served + outcome.out_of_order) <= outcome.delivered;
            assert!(is_little, "{what}, verified {is_verified}, {period} ns: {outcome:?}");
        }
    }
}

// REQ: FEP-MRG-301
#[test]
fn an_outage_that_all_antennas_share_is_a_loss_of_that_length_or_of_at_least_so_many() {
    for outage in [1, 127, 128, 150, 255, 256, 257, 300, 700] {
        for (how, says_gone, stamped_on_arrival) in [
            ("reported", true, false),
            ("unseen", false, false),
            ("reported, stamped on arrival", true, true),
        ] {
            let mut lab = Lab::new(2);
            let antennas = [GOOD, LOSSY];
            let mut random = Random(outage);
            let (before, after, period) = (600, 200, 10 * MS);
            let mut all = arrivals(&antennas, before + outage + after, period, &mut random);
            all.retain(|arrival| !(before..before + outage).contains(&arrival.number));
            let mut is_before = true;
            for arrival in &mut all {
                if says_gone && is_before && arrival.number >= before {
                    is_before = false;
                    lab.all_gone(2, (before as i64 - 1) * period + LOSSY.delay + 1);
                }
                if stamped_on_arrival {
                    arrival.received = arrival.at;
                }
                lab.push(arrival);
            }
            lab.end();
            let expected: Vec<u64> = (0..before).chain(before + outage..before + outage + after).collect();
            assert!(lab.served() == expected, "{outage}, {how}: {:?}", lab.merge.ledger());
            let counts = lab.judgement.ledger().counts;
            let is_true = counts.lost == outage || counts.lost < outage && counts.gaps_at_least > 0;
            assert!(is_true && counts.resets == 0, "{outage} frames, {how}: {counts:?}");
            if says_gone && !stamped_on_arrival {
                assert_eq!((counts.lost, counts.gaps_at_least), (outage, 0), "{outage} frames, {how}");
            }
        }
    }
}

// REQ: FEP-MRG-304
#[test]
fn steps_of_the_clock_of_any_size_cost_no_frame_and_no_search_through_the_turns_between() {
    const YEAR: i64 = 31_557_600_000 * MS;
    // The last is more than the frames of any counter: positions must not run out either.
    for step in [3_600_000 * MS, YEAR, 50 * YEAR, -50 * YEAR, 200 * YEAR, -200 * YEAR] {
        let mut lab = Lab::new(2);
        let mut random = Random(step.unsigned_abs());
        let (frames, period) = (1500, MS);
        let mut all = arrivals(&[GOOD, LOSSY], frames, period, &mut random);
        for arrival in &mut all {
            // Each antenna stamps by the clock of the same machine, which was set twice.
            let steps = i64::from(arrival.at > 500 * MS) + i64::from(arrival.at > 1000 * MS);
            arrival.received = arrival.at.saturating_add(steps.saturating_mul(step));
            lab.push(arrival);
        }
        lab.end();
        let served = lab.served();
        assert_eq!(served.iter().copied().collect::<BTreeSet<_>>().len() as u64, frames, "{step}");
        // The few that were under way between the two antennas at each step may come twice: their times contradict.
        assert!(served.len() as u64 <= frames + 2 * 3, "{step}: {:?}", lab.merge.ledger());
    }
}
