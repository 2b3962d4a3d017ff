//! Frame counters and sequence counts: gaps, duplicates and resets told apart.

use fep_ccsds::packet::ApidTracker;
use fep_ccsds::{
    AosHeader, Continuity, CounterSpec, Fhp, Frame, FrameParts, FrameSpec, Header, MasterChannel,
    MasterChannels, Mcid, PacketType, SequenceFlags, SpacePacketHeader, TmDataField, TmHeader, UslpHeader,
    UslpHeaderRest, VcTracker,
};
use fep_time::Tai;
use proptest::prelude::*;

fn tm(mc_count: u8, vcid: u8, vc_count: u8) -> Vec<u8> {
    let data_field = TmDataField::Packets { first_header_pointer: Fhp::None };
    let header =
        TmHeader { scid: 7, vcid, ocf: false, mc_count, vc_count, secondary_header: false, data_field };
    let mut octets = Vec::new();
    FrameParts::new(Header::Tm(header), &[0; 10]).build(&FrameSpec::tm(16), &mut octets).expect("a frame");
    octets
}

fn observe_tm(channel: &mut MasterChannel, mc_count: u8, vcid: u8, vc_count: u8) -> (Continuity, Continuity) {
    let octets = tm(mc_count, vcid, vc_count);
    let frame = Frame::parse(&FrameSpec::tm(16), &octets).expect("a frame");
    let continuity = channel.observe(&frame, Tai(0));
    (continuity.master, continuity.virtual_channel)
}

use Continuity::{Duplicate, First, Next, Reset};

/// A gap of which the number lost is certain.
fn gap(lost: u64) -> Continuity {
    Continuity::Gap { lost, at_least: false }
}

// REQ: FEP-FRAME-014
#[test]
fn a_24_bit_counter_tells_gaps_duplicates_and_resets_apart_across_its_wrap() {
    let mut tracker = VcTracker::new(1 << 24);
    for (count, expected) in [
        (0xFF_FFFE, First),
        (0xFF_FFFF, Next),
        (0, Next),
        (0, Duplicate),
        (5, gap(4)),
        (4, Reset),
        (0x80_0003, gap(0x7F_FFFE)),
        (0, Reset),
        (0x80_0000, Reset),
    ] {
        assert_eq!(tracker.observe(count), expected, "at {count:#X}");
    }
    tracker.reset();
    assert_eq!(tracker.observe(77), First);
}

#[test]
fn counters_of_every_width_lose_exactly_what_is_missing_at_their_wrap() {
    for bits in [8, 16, 24, 28, 32, 40, 48, 56] {
        let modulus = 1_u64 << bits;
        let mut tracker = VcTracker::new(modulus);
        tracker.observe(modulus - 3);
        assert_eq!(tracker.observe(2), gap(4), "{bits} bits");
    }
    let mut none = VcTracker::new(1);
    assert_eq!((none.observe(0), none.observe(0)), (Continuity::Uncounted, Continuity::Uncounted));
}

/// Two virtual channels in turn, so many frames of each: then the master channel counter is believed. The next counts
/// are 2 · `frames` on the master channel and `frames` on virtual channels 0 and 1.
fn proved(frames: u8) -> MasterChannel {
    let mut channel = MasterChannel::default();
    for count in 0..frames {
        observe_tm(&mut channel, 2 * count, 0, count);
        observe_tm(&mut channel, 2 * count + 1, 1, count);
    }
    channel
}

// REQ: FEP-FRAME-015
#[test]
fn the_master_channel_counter_settles_what_eight_bits_leave_open() {
    let channel = proved(20);
    // 150 frames of virtual channel 0 lost: backwards by the plain rule, but the master channel lost as many.
    let mut gaps = channel.clone();
    assert_eq!(observe_tm(&mut gaps, 40 + 126, 1, 20), (gap(126), Next));
    assert_eq!(observe_tm(&mut gaps, 40 + 126 + 30, 0, 20 + 150), (gap(29), gap(150)));
    // Nothing is missing on the master channel: a small jump forward of the virtual channel counter is no loss.
    let mut jump = channel.clone();
    assert_eq!(observe_tm(&mut jump, 40, 0, 24), (Next, Reset));
    // The same virtual channel count, but not the same frame; then the same frame.
    let mut same = channel.clone();
    assert_eq!(observe_tm(&mut same, 40, 0, 19), (Next, Reset));
    assert_eq!(observe_tm(&mut same, 40, 0, 19), (Duplicate, Duplicate));
    // After a jump backwards of the master channel counter: the plain rule, for each virtual channel once.
    let mut restart = channel.clone();
    assert_eq!(observe_tm(&mut restart, 240, 0, 27), (Reset, gap(7)));
    assert_eq!(observe_tm(&mut restart, 241, 1, 5), (Next, Reset));
    // Both counters start at 0: the spacecraft started again, although 216 lost frames would look the same.
    let mut again = proved(120);
    assert_eq!(observe_tm(&mut again, 0, 0, 0), (Reset, Reset));
    assert_eq!(observe_tm(&mut again, 1, 1, 0), (Next, Reset));
}

// REQ: FEP-FRAME-101
#[test]
fn a_master_channel_counter_that_does_not_move_settles_nothing() {
    for constant in [0, 77] {
        let mut channel = MasterChannel::default();
        let (mut lost, mut gaps) = (0, 0);
        for number in (0..400).filter(|number| !(100..=106).contains(number) && *number != 200) {
            let (_, verdict) = observe_tm(&mut channel, constant, 0, number as u8);
            lost += verdict.lost();
            gaps += u64::from(matches!(verdict, Continuity::Gap { at_least: false, .. }));
            assert!(matches!(verdict, First | Next | Continuity::Gap { .. }), "{verdict:?} at {number}");
        }
        assert_eq!((lost, gaps), (8, 2), "master channel count {constant}");
    }
}

// REQ: FEP-FRAME-101
#[test]
fn a_master_channel_counter_that_does_not_count_every_frame_hides_no_loss() {
    // Virtual channel 0 sends most frames, 1 every fifth. What the master channel counter of each frame says:
    type Counter = fn(u32, u32, u32) -> u8;
    let counters: [(&str, Counter); 5] = [
        ("counts virtual channel 0 only", |_, of_0, _| of_0 as u8),
        ("counts virtual channel 1 only", |_, _, of_1| of_1 as u8),
        ("is random", |number, _, _| (number.wrapping_mul(2_654_435_761) >> 13) as u8),
        ("runs twice as fast", |number, _, _| (2 * number) as u8),
        ("runs backwards", |number, _, _| (0_u32.wrapping_sub(number)) as u8),
    ];
    for (name, counter) in counters {
        let mut channel = MasterChannel::default();
        let (mut counts, mut lost, mut false_verdicts) = ([0_u32; 2], [0; 2], 0);
        for number in 0..5000_u32 {
            let vcid = u8::from(number % 5 == 4);
            let own = counts[usize::from(vcid)];
            counts[usize::from(vcid)] += 1;
            if number % 250 >= 240 && number > 500 {
                continue;
            }
            let octets = tm(counter(number, counts[0], counts[1]), vcid, own as u8);
            let frame = Frame::parse(&FrameSpec::tm(16), &octets).expect("a frame");
            let verdict = channel.observe(&frame, Tai(0)).virtual_channel;
            lost[usize::from(vcid)] += verdict.lost();
            false_verdicts += u64::from(verdict == Reset || verdict == Duplicate);
        }
        assert_eq!((lost, false_verdicts), ([17 * 8, 17 * 2], 0), "the master channel counter {name}");
    }
}

// REQ: FEP-FRAME-101
#[test]
fn a_station_that_drops_frames_and_numbers_the_rest_again_hides_losses_twice_at_most() {
    let mut channel = MasterChannel::default();
    let (mut passed_on, mut lost) = (0_u8, 0);
    for number in (0..4000_u32).filter(|number| number % 50 < 47) {
        let (_, verdict) = observe_tm(&mut channel, passed_on, 0, number as u8);
        passed_on = passed_on.wrapping_add(1);
        lost += verdict.lost();
    }
    // Of 79 losses of three frames all but the first two are seen. After each the counter needs four times the proof.
    assert_eq!(lost, 77 * 3);
}

// REQ: FEP-FRAME-102
#[test]
fn frames_of_virtual_channels_that_nobody_wants_move_the_master_channel_counter() {
    let spec = FrameSpec::tm(16);
    let mut channel = MasterChannel::default();
    let mut lost = 0;
    for number in 0..1000_u32 {
        // Every third frame is of virtual channel 7; that of virtual channel 0 before it is lost now and then.
        let octets =
            if number % 3 == 2 { tm(number as u8, 7, (number / 3) as u8) } else { tm(number as u8, 0, 0) };
        let frame = Frame::parse(&spec, &octets).expect("a frame");
        if number % 3 != 2 || number % 60 == 59 {
            continue;
        }
        let verdict = channel.observe(&frame, Tai(0));
        lost += verdict.virtual_channel.lost();
        assert!(verdict.virtual_channel != Reset, "at {number}");
    }
    assert_eq!(lost, 16);
}

// REQ: FEP-FRAME-103
#[test]
fn each_spacecraft_of_a_physical_channel_has_its_own_counters() {
    let spec = FrameSpec::tm(16);
    let mut channels = MasterChannels::new(CounterSpec::default(), 2);
    let frame_of = |scid: u16, count: u8| {
        let mut octets = tm(count, 0, count);
        octets[..2].copy_from_slice(&(scid << 4).to_be_bytes());
        octets
    };
    for count in 0..50 {
        for (scid, start) in [(3, 0), (400, 100)] {
            let octets = frame_of(scid, start + count);
            let frame = Frame::parse(&spec, &octets).expect("a frame");
            let verdict = channels.observe(&frame, Tai(0)).expect("room");
            let expected = if count == 0 { First } else { Next };
            assert_eq!((verdict.master, verdict.virtual_channel), (expected, expected));
        }
        // Spacecraft beyond the capacity are refused and push out none.
        let octets = frame_of(500 + u16::from(count), count);
        assert_eq!(channels.observe(&Frame::parse(&spec, &octets).expect("a frame"), Tai(0)), None);
    }
    assert_eq!(channels.iter().map(|(mcid, _)| mcid.scid).collect::<Vec<_>>(), [3, 400]);
    // What could not be read may have been of either; an interruption is of both.
    channels.unreadable(200);
    let octets = frame_of(400, 100_u8.wrapping_add(50).wrapping_add(150));
    let verdict = channels.observe(&Frame::parse(&spec, &octets).expect("a frame"), Tai(0)).expect("known");
    assert_eq!(verdict.virtual_channel, gap(150));
    channels.interrupted();
    let octets = frame_of(3, 50_u8.wrapping_add(150));
    let verdict = channels.observe(&Frame::parse(&spec, &octets).expect("a frame"), Tai(0)).expect("known");
    assert_eq!(verdict.virtual_channel, Continuity::Gap { lost: 150, at_least: true });
    assert_eq!(channels.get(Mcid { tfvn: 0, scid: 3 }).and_then(MasterChannel::last_count), Some(200));
}

#[test]
fn an_aos_cycle_makes_a_28_bit_counter() {
    let mut channel = MasterChannel::default();
    let spec = FrameSpec::aos(20);
    let mut observe = |vc_count, vc_count_cycle| {
        let header = AosHeader {
            scid: 1,
            vcid: 2,
            vc_count,
            replay: false,
            vc_count_cycle_used: true,
            reserved: 0,
            vc_count_cycle,
        };
        let mut octets = Vec::new();
        FrameParts::new(Header::Aos(header), &[0; 14]).build(&spec, &mut octets).expect("a frame");
        channel.observe(&Frame::parse(&spec, &octets).expect("a frame"), Tai(0)).virtual_channel
    };
    assert_eq!(observe(0xFF_FFFF, 3), First);
    assert_eq!(observe(0, 4), Next);
    assert_eq!(observe(0, 5), gap((1 << 24) - 1));
}

// REQ: FEP-FRAME-016
#[test]
fn uslp_keeps_one_counter_for_each_quality_of_service() {
    let mut channel = MasterChannel::default();
    let spec = FrameSpec { variable_len: true, ..FrameSpec::uslp(64) };
    let mut observe = |bypass, vcf_count_len, vcf_count| {
        let rest = UslpHeaderRest {
            frame_len: 0,
            bypass,
            protocol_control_command: false,
            reserved: 0,
            ocf: false,
            vcf_count_len,
            vcf_count,
        };
        let header = UslpHeader { scid: 1, destination: false, vcid: 3, map_id: 0, rest: Some(rest) };
        let mut octets = Vec::new();
        FrameParts::new(Header::Uslp(header), &[0xE4; 8]).build(&spec, &mut octets).expect("a frame");
        channel.observe(&Frame::parse(&spec, &octets).expect("a frame"), Tai(0)).virtual_channel
    };
    assert_eq!(observe(false, 7, (1 << 56) - 1), First);
    assert_eq!(observe(true, 1, 9), First);
    assert_eq!(observe(false, 7, 0), Next);
    assert_eq!(observe(true, 1, 12), gap(2));
    assert_eq!(observe(false, 0, 0), Continuity::Uncounted);
    assert_eq!(observe(true, 2, 13), First, "a counter of another width is another counter");
}

fn packet(apid: u16, sequence_count: u16, sequence_flags: SequenceFlags) -> SpacePacketHeader {
    let packet_type = PacketType::Telemetry;
    SpacePacketHeader {
        packet_type,
        secondary_header: false,
        apid,
        sequence_flags,
        sequence_count,
        data_len: 4,
    }
}

// REQ: FEP-PKT-011
#[test]
fn sequence_counts_are_followed_for_each_application_process() {
    let mut tracker = ApidTracker::new();
    let mut observe = |apid, count| tracker.observe(&packet(apid, count, SequenceFlags::Unsegmented), 10);
    assert_eq!((observe(5, 16382), observe(900, 3)), (First, First));
    assert_eq!((observe(5, 16383), observe(900, 4)), (Next, Next));
    assert_eq!((observe(5, 0), observe(900, 10)), (Next, gap(5)));
    assert_eq!((observe(5, 0), observe(900, 2)), (Duplicate, Reset));
    let counters = tracker.counters(900).expect("seen");
    assert_eq!((counters.packets, counters.octets, counters.gaps, counters.lost), (4, 40, 2, 5));
    assert_eq!((counters.resets, tracker.counters(5).expect("seen").duplicates), (1, 1));
    assert_eq!(tracker.iter().map(|(apid, _)| apid).collect::<Vec<_>>(), [5, 900]);
    assert!(tracker.counters(6).is_none());
}

#[test]
fn a_broken_group_of_segments_is_noticed() {
    use SequenceFlags::{Continuation, First as Start, Last, Unsegmented};
    let broken = |groups: &[(u16, SequenceFlags)]| {
        let mut tracker = ApidTracker::new();
        for (count, flags) in groups {
            tracker.observe(&packet(1, *count, *flags), 10);
        }
        tracker.counters(1).expect("seen").broken_groups
    };
    assert_eq!(broken(&[(0, Start), (1, Continuation), (2, Last), (3, Unsegmented), (4, Start)]), 0);
    assert_eq!(broken(&[(0, Continuation), (1, Last), (2, Unsegmented)]), 0, "started before we listened");
    assert_eq!(broken(&[(0, Start), (1, Start), (2, Last)]), 1);
    assert_eq!(broken(&[(0, Unsegmented), (1, Last)]), 1);
    assert_eq!(broken(&[(0, Start), (5, Last), (6, Unsegmented)]), 1, "a gap inside the group");
}

proptest! {
    // REQ: FEP-FRAME-014
    #[test]
    fn a_gap_is_exactly_what_was_left_out(bits in 3_u32..57, start in 0_u64..1 << 60, lost in any::<u64>()) {
        let modulus = 1_u64 << bits;
        let lost = lost % (modulus / 2 - 1);
        let mut tracker = VcTracker::new(modulus);
        tracker.observe(start);
        let count = start.wrapping_add(lost + 1);
        let restart = bits >= 16 && lost + 1 > modulus / 16 && count % modulus < 16;
        let expected = if lost == 0 { Next } else if restart { Reset } else { gap(lost) };
        prop_assert_eq!(tracker.observe(count), expected);
    }

    #[test]
    fn frames_lost_anywhere_in_a_tm_stream_are_counted_on_both_counters(
        vcids in prop::collection::vec(0_u8..4, 1..400), lost in prop::collection::vec(prop::bool::weighted(0.3), 400),
    ) {
        let mut channel = MasterChannel::default();
        let mut vc_counts = [0_u8; 4];
        // Frames lost at the front, before anything was seen, are lost on no counter.
        let mut seen = [false; 4];
        let (mut missing_mc, mut missing_vc) = (0, [0_u64; 4]);
        let mut any_seen = false;
        for (index, vcid) in vcids.iter().enumerate() {
            let vc = usize::from(*vcid);
            let vc_count = vc_counts[vc];
            vc_counts[vc] = vc_count.wrapping_add(1);
            if lost[index] {
                missing_mc += u64::from(any_seen);
                missing_vc[vc] += u64::from(seen[vc]);
                continue;
            }
            let (master, virtual_channel) = observe_tm(&mut channel, index as u8, *vcid, vc_count);
            let expected = |first: bool, missing| match missing {
                _ if first => First,
                0 => Next,
                lost => gap(lost),
            };
            prop_assert_eq!(master, expected(!any_seen, missing_mc));
            prop_assert_eq!(virtual_channel, expected(!seen[vc], missing_vc[vc]));
            (any_seen, seen[vc], missing_mc, missing_vc[vc]) = (true, true, 0, 0);
        }
    }
}
