//! Frame counters and sequence counts: gaps, duplicates and resets told apart.

use fep_ccsds::packet::ApidTracker;
use fep_ccsds::{
    AosHeader, Continuity, Fhp, Frame, FrameParts, FrameSpec, Header, MasterChannel, PacketType,
    SequenceFlags, SpacePacketHeader, TmDataField, TmHeader, UslpHeader, UslpHeaderRest, VcTracker,
};
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
    let continuity = channel.observe(&frame);
    (continuity.master, continuity.virtual_channel)
}

use Continuity::{Duplicate, First, Gap, Next, Reset};

// REQ: FEP-FRAME-014
#[test]
fn a_24_bit_counter_tells_gaps_duplicates_and_resets_apart_across_its_wrap() {
    let mut tracker = VcTracker::new(1 << 24);
    for (count, expected) in [
        (0xFF_FFFE, First),
        (0xFF_FFFF, Next),
        (0, Next),
        (0, Duplicate),
        (5, Gap { lost: 4 }),
        (4, Reset),
        (0x80_0003, Gap { lost: 0x7F_FFFE }),
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
        assert_eq!(tracker.observe(2), Gap { lost: 4 }, "{bits} bits");
    }
    let mut none = VcTracker::new(1);
    assert_eq!((none.observe(0), none.observe(0)), (Continuity::Uncounted, Continuity::Uncounted));
}

// REQ: FEP-FRAME-015
#[test]
fn the_master_channel_counter_settles_what_eight_bits_leave_open() {
    let mut channel = MasterChannel::new();
    assert_eq!(observe_tm(&mut channel, 10, 0, 100), (First, First));
    assert_eq!(observe_tm(&mut channel, 11, 1, 50), (Next, First));
    assert_eq!(observe_tm(&mut channel, 12, 0, 101), (Next, Next));
    // 150 frames of virtual channel 0 lost: backwards by the plain rule, but the master channel lost as many.
    assert_eq!(observe_tm(&mut channel, 12 + 127, 1, 51), (Gap { lost: 126 }, Next));
    assert_eq!(observe_tm(&mut channel, 12 + 127 + 30, 0, 252), (Gap { lost: 29 }, Gap { lost: 150 }));
    // Nothing is missing on the master channel: a small jump forward of the virtual channel counter is no loss.
    assert_eq!(observe_tm(&mut channel, 170, 0, 0), (Next, Reset));
    // The same virtual channel count, but not the same frame; then the same frame.
    assert_eq!(observe_tm(&mut channel, 171, 0, 0), (Next, Reset));
    assert_eq!(observe_tm(&mut channel, 171, 0, 0), (Duplicate, Duplicate));
    // After a restart of the master channel counter: the plain rule, for each virtual channel once.
    assert_eq!(observe_tm(&mut channel, 50, 0, 7), (Reset, Gap { lost: 6 }));
    assert_eq!(observe_tm(&mut channel, 51, 1, 0), (Next, Reset));
    // An outage of more frames than the master channel counts: the plain rule.
    assert_eq!(observe_tm(&mut channel, 54, 0, 96), (Gap { lost: 2 }, Gap { lost: 88 }));
}

#[test]
fn an_aos_cycle_makes_a_28_bit_counter() {
    let mut channel = MasterChannel::new();
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
        channel.observe(&Frame::parse(&spec, &octets).expect("a frame")).virtual_channel
    };
    assert_eq!(observe(0xFF_FFFF, 3), First);
    assert_eq!(observe(0, 4), Next);
    assert_eq!(observe(0, 5), Gap { lost: (1 << 24) - 1 });
}

// REQ: FEP-FRAME-016
#[test]
fn uslp_keeps_one_counter_for_each_quality_of_service() {
    let mut channel = MasterChannel::new();
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
        channel.observe(&Frame::parse(&spec, &octets).expect("a frame")).virtual_channel
    };
    assert_eq!(observe(false, 7, (1 << 56) - 1), First);
    assert_eq!(observe(true, 1, 9), First);
    assert_eq!(observe(false, 7, 0), Next);
    assert_eq!(observe(true, 1, 12), Gap { lost: 2 });
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
    assert_eq!((observe(5, 0), observe(900, 10)), (Next, Gap { lost: 5 }));
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
        let expected = if lost == 0 { Next } else if restart { Reset } else { Gap { lost } };
        prop_assert_eq!(tracker.observe(count), expected);
    }

    #[test]
    fn frames_lost_anywhere_in_a_tm_stream_are_counted_on_both_counters(
        vcids in prop::collection::vec(0_u8..4, 1..400), lost in prop::collection::vec(prop::bool::weighted(0.3), 400),
    ) {
        let mut channel = MasterChannel::new();
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
                lost => Gap { lost },
            };
            prop_assert_eq!(master, expected(!any_seen, missing_mc));
            prop_assert_eq!(virtual_channel, expected(!seen[vc], missing_vc[vc]));
            (any_seen, seen[vc], missing_mc, missing_vc[vc]) = (true, true, 0, 0);
        }
    }
}
