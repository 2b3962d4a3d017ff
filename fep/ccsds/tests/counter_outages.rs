//! Outages of a simulated spacecraft whose losses are known: the counters tell the truth, or say "at least".

use fep_ccsds::{
    AosHeader, Continuity, CounterSpec, CounterState, Delivery, Fhp, Frame, FrameKind, FrameParts, FrameSpec,
    Header, MasterChannel, MasterChannelState, TmDataField, TmHeader,
};
use fep_time::Tai;
use proptest::prelude::*;

const SECOND: i64 = 1_000_000_000;

/// What stands between two frames that were received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    /// Lock or connection lost.
    Interruption,
    /// In lock: the blocks came, but could not be read.
    Unreadable,
    /// The process started again, from what it had kept in words.
    Restart,
    /// Datagrams went missing, and nothing tells.
    Datagrams,
}

const BREAKS: [Break; 4] = [Break::Interruption, Break::Unreadable, Break::Restart, Break::Datagrams];

/// A spacecraft that sends frames at a steady rate, its virtual channels by a pattern that repeats.
struct Spacecraft {
    kind: FrameKind,
    pattern: Vec<u8>,
    period_ns: i64,
    /// The master channel counter stays at 0.
    mute_master: bool,
    number: u64,
    now: i64,
    master: u64,
    counts: [u64; 8],
}

impl Spacecraft {
    fn new(kind: FrameKind, pattern: &[u8], rate_hz: i64) -> Spacecraft {
        Spacecraft {
            kind,
            pattern: pattern.to_vec(),
            period_ns: SECOND / rate_hz,
            mute_master: false,
            number: 0,
            now: 2_000_000_000 * SECOND,
            master: 250,
            counts: [250; 8],
        }
    }

    fn spec(&self) -> FrameSpec {
        FrameSpec::new(self.kind, 20)
    }

    /// The next frame and its virtual channel.
    fn send(&mut self) -> (u8, Vec<u8>) {
        let vcid = self.pattern[(self.number % self.pattern.len() as u64) as usize];
        let count = self.counts[usize::from(vcid)];
        let header = match self.kind {
            FrameKind::Tm => Header::Tm(TmHeader {
                scid: 7,
                vcid,
                ocf: false,
                mc_count: if self.mute_master { 0 } else { self.master as u8 },
                vc_count: count as u8,
                secondary_header: false,
                data_field: TmDataField::Packets { first_header_pointer: Fhp::None },
            }),
            _ => Header::Aos(AosHeader {
                scid: 7,
                vcid,
                vc_count: count as u32 & 0xFF_FFFF,
                replay: false,
                vc_count_cycle_used: false,
                reserved: 0,
                vc_count_cycle: 0,
            }),
        };
        self.number += 1;
        self.now += self.period_ns;
        self.master += 1;
        self.counts[usize::from(vcid)] += 1;
        let mut octets = Vec::new();
        FrameParts::new(header, &[0; 14]).build(&self.spec(), &mut octets).expect("a frame");
        (vcid, octets)
    }

    fn starts_again(&mut self) {
        (self.master, self.counts) = (0, [0; 8]);
    }
}

/// A receiver that knows the truth beside what the counters say.
struct Receiver {
    channel: MasterChannel,
    spec: CounterSpec,
    seen: [bool; 8],
    missing: [u64; 8],
    jitter_ns: i64,
    clock_step_ns: i64,
    sum: Sum,
}

/// What the verdicts said, in all.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    lost: u64,
    truth: u64,
    gaps: u64,
    at_least: u64,
    resets: u64,
    duplicates: u64,
}

impl Receiver {
    fn new(spec: CounterSpec) -> Receiver {
        Receiver {
            channel: MasterChannel::new(spec),
            spec,
            seen: [false; 8],
            missing: [0; 8],
            jitter_ns: 0,
            clock_step_ns: 0,
            sum: Sum::default(),
        }
    }

    fn receive(&mut self, spacecraft: &mut Spacecraft) -> Result<(), TestCaseError> {
        let number = spacecraft.number as i64;
        let (vcid, octets) = spacecraft.send();
        let frame = Frame::parse(&spacecraft.spec(), &octets).expect("a frame");
        let jitter = if self.jitter_ns == 0 { 0 } else { number * 7919 % self.jitter_ns };
        let received = Tai(spacecraft.now + jitter + self.clock_step_ns);
        let verdict = self.channel.observe(&frame, received).virtual_channel;
        let truth = std::mem::take(&mut self.missing[usize::from(vcid)]);
        let first = !std::mem::replace(&mut self.seen[usize::from(vcid)], true);
        match verdict {
            Continuity::First => prop_assert!(first),
            Continuity::Next => prop_assert_eq!(truth, 0, "at {}", number),
            Continuity::Gap { lost, at_least: false } => prop_assert_eq!(lost, truth, "at {}", number),
            Continuity::Gap { lost, at_least: true } => {
                prop_assert!(lost <= truth, "at least {} of {} lost at {}", lost, truth, number);
                self.sum.at_least += 1;
            }
            Continuity::Reset => self.sum.resets += 1,
            Continuity::Duplicate => self.sum.duplicates += 1,
            Continuity::Uncounted => prop_assert!(false, "every frame has a count"),
        }
        self.sum.gaps += u64::from(matches!(verdict, Continuity::Gap { .. }));
        self.sum.lost += verdict.lost();
        self.sum.truth += if first { 0 } else { truth };
        Ok(())
    }

    fn miss(&mut self, spacecraft: &mut Spacecraft, frames: u64, how: Break) {
        for _ in 0..frames {
            let (vcid, _) = spacecraft.send();
            self.missing[usize::from(vcid)] += 1;
        }
        self.break_off(frames, how);
    }

    /// The spacecraft sends nothing for that time.
    fn pause(&mut self, spacecraft: &mut Spacecraft, time_ns: i64, how: Break) {
        spacecraft.now += time_ns;
        self.break_off(0, how);
    }

    fn break_off(&mut self, frames: u64, how: Break) {
        match how {
            Break::Interruption => self.channel.interrupted(),
            Break::Unreadable => self.channel.unreadable(frames),
            Break::Datagrams => {}
            Break::Restart => {
                let state = self.channel.state();
                let channels = state.channels.iter().map(|counter| {
                    CounterState::from_words(counter.vcid, counter.expedited, counter.to_words())
                        .expect("the words of a counter")
                });
                let kept = MasterChannelState::from_words(state.to_words(), channels.collect());
                assert_eq!(kept, state);
                self.channel = MasterChannel::new(self.spec);
                self.channel.resume(&kept);
            }
        }
    }
}

fn delivery(how: Break) -> CounterSpec {
    let delivery = if how == Break::Datagrams { Delivery::Units } else { Delivery::Stream };
    CounterSpec { delivery, ..CounterSpec::default() }
}

const OUTAGES: [u64; 9] = [0, 1, 127, 128, 150, 255, 256, 300, 1000];

// REQ: FEP-FRAME-104
#[test]
fn after_an_outage_of_a_steady_channel_the_loss_is_exact_beyond_whole_turns_of_eight_bits() {
    for mute_master in [false, true] {
        for pattern in [&[0][..], &[0, 1], &[0, 0, 1, 0, 2]] {
            for how in [Break::Interruption, Break::Unreadable, Break::Restart] {
                for outage in OUTAGES {
                    let mut spacecraft = Spacecraft::new(FrameKind::Tm, pattern, 100);
                    spacecraft.mute_master = mute_master;
                    let mut receiver = Receiver::new(delivery(how));
                    let frames = 100 * pattern.len();
                    for _ in 0..frames {
                        receiver.receive(&mut spacecraft).expect("in lock");
                    }
                    receiver.miss(&mut spacecraft, outage, how);
                    for _ in 0..frames {
                        receiver.receive(&mut spacecraft).expect("the truth");
                    }
                    let Sum { lost, truth, at_least, resets, duplicates, .. } = receiver.sum;
                    let case = format!("{outage} frames, {how:?}, pattern {pattern:?}, mute {mute_master}");
                    assert_eq!(truth, outage, "{case}");
                    assert_eq!((resets, duplicates), (0, 0), "{case}");
                    // The only counter follows on: the channel may as well have paused.
                    if outage == 256 && pattern.len() == 1 && how != Break::Unreadable {
                        assert_eq!((lost, at_least), (0, 1), "{case}");
                    } else {
                        assert_eq!((lost, at_least), (outage, 0), "{case}");
                    }
                }
            }
        }
    }
}

// REQ: FEP-FRAME-104
#[test]
fn a_source_that_paused_while_nobody_listened_has_lost_nothing_for_certain() {
    for mute_master in [false, true] {
        for pattern in [&[0][..], &[0, 1]] {
            for how in [Break::Interruption, Break::Restart] {
                let mut spacecraft = Spacecraft::new(FrameKind::Tm, pattern, 100);
                spacecraft.mute_master = mute_master;
                let mut receiver = Receiver::new(CounterSpec::default());
                for _ in 0..300 {
                    receiver.receive(&mut spacecraft).expect("in lock");
                }
                // Time for some ten turns of the counter.
                receiver.pause(&mut spacecraft, 26 * SECOND, how);
                for _ in 0..300 {
                    receiver.receive(&mut spacecraft).expect("the truth");
                }
                let Sum { lost, at_least, resets, .. } = receiver.sum;
                let case = format!("{how:?}, pattern {pattern:?}, mute {mute_master}");
                assert_eq!((lost, resets), (0, 0), "{case}");
                assert!(at_least > 0, "{case}");
            }
        }
    }
}

// REQ: FEP-FRAME-104
#[test]
fn datagrams_that_went_missing_are_a_gap_where_the_time_explains_it() {
    for (pattern, outages) in
        [(&[0][..], &[1, 127, 128, 150, 200][..]), (&[0, 1], &[1, 127, 128, 150, 255, 300])]
    {
        for outage in outages {
            let mut spacecraft = Spacecraft::new(FrameKind::Tm, pattern, 100);
            spacecraft.mute_master = true;
            let mut receiver = Receiver::new(delivery(Break::Datagrams));
            for _ in 0..300 {
                receiver.receive(&mut spacecraft).expect("nothing lost");
            }
            receiver.miss(&mut spacecraft, *outage, Break::Datagrams);
            for _ in 0..300 {
                receiver.receive(&mut spacecraft).expect("the truth");
            }
            assert_eq!((receiver.sum.lost, receiver.sum.resets), (*outage, 0), "{outage} of {pattern:?}");
        }
    }
}

// REQ: FEP-FRAME-104
#[test]
fn without_a_rate_or_with_a_clock_that_was_set_the_loss_is_at_least_the_least() {
    for outage in OUTAGES {
        for step_ns in [3600 * SECOND, -3600 * SECOND] {
            let mut spacecraft = Spacecraft::new(FrameKind::Tm, &[0], 100);
            let mut receiver = Receiver::new(CounterSpec::default());
            for _ in 0..300 {
                receiver.receive(&mut spacecraft).expect("in lock");
            }
            receiver.clock_step_ns = step_ns;
            receiver.miss(&mut spacecraft, outage, Break::Interruption);
            receiver.receive(&mut spacecraft).expect("no more than the truth");
            let least = if outage % 256 == 255 { 0 } else { outage % 256 };
            assert_eq!((receiver.sum.lost, receiver.sum.at_least), (least, 1), "{outage}, {step_ns}");
        }
        // One frame only: there is no rate.
        let mut spacecraft = Spacecraft::new(FrameKind::Tm, &[0], 100);
        let mut receiver = Receiver::new(CounterSpec::default());
        receiver.receive(&mut spacecraft).expect("the first");
        receiver.miss(&mut spacecraft, outage, Break::Interruption);
        receiver.receive(&mut spacecraft).expect("no more than the truth");
        assert_eq!(receiver.sum.at_least, 1, "{outage}");
        // Where the channel's own rate is configured, a short outage cannot hold a turn.
        let spec = CounterSpec { max_frame_rate_hz: Some(100.0), ..CounterSpec::default() };
        let mut spacecraft = Spacecraft::new(FrameKind::Tm, &[0], 100);
        let mut receiver = Receiver::new(spec);
        receiver.receive(&mut spacecraft).expect("the first");
        receiver.miss(&mut spacecraft, outage, Break::Interruption);
        receiver.receive(&mut spacecraft).expect("no more than the truth");
        assert_eq!(receiver.sum.at_least, u64::from(outage >= 255), "{outage}");
    }
}

// REQ: FEP-FRAME-105
#[test]
fn a_wide_counter_after_an_outage_is_a_loss_or_a_reset_by_the_time_that_went_by() {
    let prepared = |outage| {
        let mut spacecraft = Spacecraft::new(FrameKind::Aos, &[0], 1000);
        spacecraft.counts[0] = 5_000_000;
        let mut receiver = Receiver::new(CounterSpec::default());
        for _ in 0..1000 {
            receiver.receive(&mut spacecraft).expect("in lock");
        }
        receiver.miss(&mut spacecraft, outage, Break::Interruption);
        (spacecraft, receiver)
    };
    // Ten seconds lost; more than a turn lost.
    for outage in [10_000, 17_000_000] {
        let (mut spacecraft, mut receiver) = prepared(outage);
        receiver.receive(&mut spacecraft).expect("the truth");
        assert_eq!((receiver.sum.lost, receiver.sum.at_least), (outage, 0));
    }
    // The spacecraft started again in an outage of ten seconds: its count is no loss of twelve million frames.
    let (mut spacecraft, mut receiver) = prepared(10_000);
    spacecraft.starts_again();
    spacecraft.counts[0] = 3000;
    receiver.receive(&mut spacecraft).expect("no loss");
    assert_eq!((receiver.sum.lost, receiver.sum.resets), (0, 1));
}

// REQ: FEP-FRAME-105
#[test]
fn a_spacecraft_that_starts_again_in_an_unbroken_stream_loses_nothing() {
    for after in [300, 301, 400, 500, 1000] {
        let mut spacecraft = Spacecraft::new(FrameKind::Tm, &[0, 1, 0], 100);
        let mut receiver = Receiver::new(CounterSpec::default());
        for _ in 0..after {
            receiver.receive(&mut spacecraft).expect("in lock");
        }
        spacecraft.starts_again();
        for _ in 0..500 {
            receiver.receive(&mut spacecraft).expect("nothing lost");
        }
        assert_eq!((receiver.sum.lost, receiver.sum.resets), (0, 2), "after {after} frames");
    }
}

#[test]
fn words_of_a_counter_that_cannot_be_are_no_counter() {
    assert_eq!(CounterState::from_words(0, false, [0, 256, 0, 0, 0]), None);
    assert_eq!(CounterState::from_words(0, false, [257, 256, 0, 0, 0]), None);
    assert_eq!(CounterState::from_words(0, false, [u64::MAX, 0, 0, 0, 0]), None);
    let state = CounterState::from_words(3, true, [256, 256, 9, f64::NAN.to_bits(), u64::MAX]);
    let state = state.expect("a counter without a rate");
    assert_eq!((state.count, state.received, state.rate), (255, Tai(9), None));
}

fn tm_or_aos() -> impl Strategy<Value = FrameKind> {
    prop_oneof![Just(FrameKind::Tm), Just(FrameKind::Aos)]
}

proptest! {
    // REQ: FEP-FRAME-104
    #[test]
    fn the_counters_tell_the_truth_or_less_and_say_so(
        kind in tm_or_aos(),
        pattern in prop::collection::vec(0_u8..4, 1..12),
        rate_hz in 20_i64..3000,
        mute_master in any::<bool>(),
        jitter_ns in 0_i64..400_000,
        outages in prop::collection::vec((0_u64..1500, 0_usize..3, 300_u64..900), 1..6),
    ) {
        let mut spacecraft = Spacecraft::new(kind, &pattern, rate_hz);
        spacecraft.mute_master = mute_master;
        let mut receiver = Receiver::new(CounterSpec::default());
        receiver.jitter_ns = jitter_ns;
        for (outage, how, frames) in outages {
            for _ in 0..frames {
                receiver.receive(&mut spacecraft)?;
            }
            receiver.miss(&mut spacecraft, outage, BREAKS[how]);
        }
        for _ in 0..100 {
            receiver.receive(&mut spacecraft)?;
        }
        prop_assert_eq!((receiver.sum.resets, receiver.sum.duplicates), (0, 0));
    }

    // REQ: FEP-FRAME-104
    #[test]
    fn where_nothing_was_lost_no_loss_is_reported(
        kind in tm_or_aos(),
        pattern in prop::collection::vec(0_u8..8, 1..300),
        rate_hz in 1_i64..100_000,
        mute_master in any::<bool>(),
        use_master_count in any::<bool>(),
        units in any::<bool>(),
        breaks in prop::collection::vec((0_usize..3, 0_u64..500), 0..8),
    ) {
        let mut spacecraft = Spacecraft::new(kind, &pattern, rate_hz);
        spacecraft.mute_master = mute_master;
        let delivery = if units { Delivery::Units } else { Delivery::Stream };
        let mut receiver =
            Receiver::new(CounterSpec { use_master_count, delivery, ..CounterSpec::default() });
        for (how, frames) in breaks {
            for _ in 0..frames {
                receiver.receive(&mut spacecraft)?;
            }
            receiver.miss(&mut spacecraft, 0, BREAKS[how]);
        }
        for _ in 0..500 {
            receiver.receive(&mut spacecraft)?;
        }
        prop_assert_eq!((receiver.sum.lost, receiver.sum.resets, receiver.sum.duplicates), (0, 0, 0));
    }

    #[test]
    fn no_counts_times_or_states_make_the_counters_panic(
        steps in prop::collection::vec((any::<u32>(), 0_u8..3, any::<i64>(), 0_u8..6, any::<u64>()), 0..60),
        words in any::<[u64; 5]>(), master in any::<[u64; 4]>(),
    ) {
        let mut channel = MasterChannel::default();
        let counter = CounterState::from_words(1, false, words);
        channel.resume(&MasterChannelState::from_words(master, counter.into_iter().collect()));
        for (count, vcid, received, action, amount) in steps {
            match action {
                0 => channel.interrupted(),
                1 => channel.unreadable(amount),
                _ => {
                    let header = AosHeader {
                        scid: 7, vcid, vc_count: count, replay: false, vc_count_cycle_used: action == 2,
                        reserved: 0, vc_count_cycle: action,
                    };
                    let mut octets = Vec::new();
                    let spec = FrameSpec::aos(20);
                    FrameParts::new(Header::Aos(header), &[0; 14]).build(&spec, &mut octets).expect("a frame");
                    channel.observe(&Frame::parse(&spec, &octets).expect("a frame"), Tai(received));
                }
            }
        }
    }
}
