//! The judgement of frames: colour, several spacecraft on one channel, operational control fields, what the mission does not
//! describe, counters across interruptions.

mod made;
mod record;

use fep_ccsds::{Fhp, FrameParts, Gvcid, Header, TmDataField, TmHeader, UslpHeader};
use fep_downlink::{Chain, ChainEvent, ChainOptions, Framing, IdlePolicy, Reception, ReorderSpec};
use fep_mission::{ChannelConfig, Colour};
use fep_record::{BadReason, FrameFlags};
use fep_time::{Monotonic, Tai};
use made::{aos_frame, cadus, channel_of};
use record::Recorder;

use Colour::{Black, Red};

/// AOS frames with a red virtual channel 1 beside a black one 0.
const RED_AOS: &str = r#"
title = "red and black"
[spacecraft.a]
scid = 7
[channel.link]
spacecraft = "a"
randomizer = "none"
frame = { kind = "aos", frame_len = 223, fecf = "crc16" }
sync = { marker = "1acffc1d" }
code = { code = "reed_solomon", interleave = 1 }
[[channel.link.vc]]
id = 0
service = "m_pdu"
[[channel.link.vc]]
id = 1
service = "m_pdu"
colour = "red"
"#;

/// TM frames of one spacecraft, plain, with FECF.
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
service = "packets"
[[channel.link.vc]]
id = 7
service = "idle"
"#;

/// A TM frame of packets.
fn tm(channel: &ChannelConfig, scid: u16, vcid: u8, mc_count: u8, vc_count: u8, pointer: Fhp) -> Vec<u8> {
    let data_field = TmDataField::Packets { first_header_pointer: pointer };
    tm_with(
        channel,
        TmHeader { scid, vcid, ocf: true, mc_count, vc_count, secondary_header: false, data_field },
    )
}

fn tm_with(channel: &ChannelConfig, header: TmHeader) -> Vec<u8> {
    let zone: Vec<u8> =
        (0..channel.frame.frame_len - 6 - 4 - 2).map(|at| at as u8 ^ header.vc_count).collect();
    let mut parts = FrameParts::new(Header::Tm(header), &zone);
    parts.ocf = Some([1, header.vcid << 2, 0, header.vc_count]);
    let mut frame = Vec::new();
    parts.build(&channel.frame, &mut frame).expect("a frame");
    frame
}

/// Writes octets over a frame and makes its CRC right again.
fn rewrite(frame: &mut [u8], at: usize, octets: &[u8]) {
    frame[at..at + octets.len()].copy_from_slice(octets);
    let (body, fecf) = frame.split_last_chunk_mut::<2>().expect("a frame with FECF");
    *fecf = fep_coding::crc::crc16_fecf(body).to_be_bytes();
}

fn decode(channel: &ChannelConfig, options: ChainOptions, frames: &[Vec<u8>]) -> (Chain, Recorder) {
    let mut chain = Chain::with_options(channel, options).expect("a chain");
    let mut recorder = Recorder::default();
    chain.receive(&Reception::new(&cadus(channel, frames), Tai(5)), Monotonic(5), &mut recorder);
    chain.disconnected(&mut recorder);
    assert!(chain.ledger().is_balanced(), "{}", chain.ledger());
    (chain, recorder)
}

/// Feeds frames one by one, each with its receive time.
fn feed(chain: &mut Chain, channel: &ChannelConfig, frames: &[(Vec<u8>, i64)], recorder: &mut Recorder) {
    for (frame, received_ns) in frames {
        let cadu = cadus(channel, std::slice::from_ref(frame));
        chain.receive(&Reception::new(&cadu, Tai(*received_ns)), Monotonic(*received_ns), recorder);
    }
}

// REQ: FEP-CHN-101
#[test]
fn what_cannot_be_attributed_is_red_where_a_virtual_channel_is_red_and_the_rest_has_its_own_colour() {
    let channel = channel_of(RED_AOS);
    let mut red_with_bad_pointer = aos_frame(&channel, 7, 1, 2);
    rewrite(&mut red_with_bad_pointer, 6, &[0x03, 0x00]);
    let mut black_with_bad_pointer = aos_frame(&channel, 7, 0, 1);
    rewrite(&mut black_with_bad_pointer, 6, &[0x03, 0x00]);
    let mut fecf_wrong = aos_frame(&channel, 7, 0, 2);
    fecf_wrong[100] ^= 1;
    let frames = [
        (aos_frame(&channel, 7, 0, 0), Black, BadReason::None),
        (aos_frame(&channel, 7, 1, 1), Red, BadReason::None),
        (red_with_bad_pointer, Red, BadReason::PointerInvalid),
        (black_with_bad_pointer, Black, BadReason::PointerInvalid),
        (fecf_wrong, Red, BadReason::FecfFailed),
        (aos_frame(&channel, 7, 9, 1), Red, BadReason::UnknownVc),
        (aos_frame(&channel, 8, 0, 1), Red, BadReason::UnknownSpacecraft),
        (aos_frame(&channel, 7, 63, 0), Black, BadReason::None),
        (aos_frame(&channel, 7, 1, 3), Red, BadReason::Uncorrectable),
    ];
    let sent: Vec<Vec<u8>> = frames.iter().map(|(frame, ..)| frame.clone()).collect();
    let mut stream = cadus(&channel, &sent);
    let last = stream.len() - 200;
    stream[last..last + 40].iter_mut().for_each(|octet| *octet ^= 0x5A);
    let (mut chain, mut recorder) = (Chain::new(&channel).expect("a chain"), Recorder::default());
    chain.receive(&Reception::new(&stream, Tai(5)), Monotonic(5), &mut recorder);
    chain.disconnected(&mut recorder);
    let found: Vec<_> = recorder.frames.iter().map(|frame| (frame.colour, frame.record.reason)).collect();
    assert_eq!(found, frames.iter().map(|(_, colour, reason)| (*colour, *reason)).collect::<Vec<_>>());
    assert!(chain.ledger().is_balanced(), "{}", chain.ledger());

    // Datagrams: of a wrong length, and decoded by the station, which nothing here verifies without a FECF.
    let options = ChainOptions { framing: Framing::DatagramFrame, ..ChainOptions::default() };
    let mut chain = Chain::with_options(&channel, options).expect("a chain");
    let mut recorder = Recorder::default();
    for octets in [&sent[0][..100], &sent[0], &sent[1]] {
        chain.receive(&Reception::new(octets, Tai(5)), Monotonic(5), &mut recorder);
    }
    let colours: Vec<Colour> = recorder.frames.iter().map(|frame| frame.colour).collect();
    assert_eq!(colours, [Red, Black, Red]);
}

// REQ: FEP-CHN-101
#[test]
fn without_a_red_virtual_channel_nothing_is_red() {
    let channel = channel_of(&RED_AOS.replace("colour = \"red\"", ""));
    let mut fecf_wrong = aos_frame(&channel, 7, 0, 2);
    fecf_wrong[100] ^= 1;
    let frames = [
        fecf_wrong,
        aos_frame(&channel, 7, 9, 1),
        aos_frame(&channel, 8, 0, 1),
        aos_frame(&channel, 7, 1, 1),
    ];
    let (_, recorder) = decode(&channel, ChainOptions::default(), &frames);
    assert!(recorder.frames.iter().all(|frame| frame.colour == Black));
}

// REQ: FEP-CHN-101
// REQ: FEP-CHN-110
#[test]
fn frames_that_nothing_verifies_are_unchecked_and_red_beside_a_red_virtual_channel_and_so_are_their_packets()
{
    let text = RED_AOS
        .replace("fecf = \"crc16\"", "fecf = \"none\"")
        .replace("\"reed_solomon\", interleave = 1", "\"none\"");
    for (text, colour) in [(text.clone(), Red), (text.replace("colour = \"red\"", ""), Black)] {
        let channel = channel_of(&text);
        let mut frame = aos_frame(&channel, 7, 0, 0);
        // One packet of 7 octets at the start of the zone, idle packets behind it.
        frame[6..8].copy_from_slice(&[0, 0]);
        frame[8..15].copy_from_slice(&[0x08, 0x05, 0xC0, 0, 0, 0, 0x77]);
        let rest = channel.frame.frame_len - 15;
        frame[15..21].copy_from_slice(&[0x07, 0xFF, 0xC0, 0, 0, (rest - 7) as u8]);
        let (chain, recorder) = decode(&channel, ChainOptions::default(), &[frame]);
        assert_eq!((recorder.frames[0].colour, recorder.packet_colours[0]), (colour, colour));
        assert!(!recorder.frames[0].record.flags.contains(FrameFlags::CODED));
        assert_eq!((chain.ledger().counts.unchecked, chain.ledger().counts.good), (1, 1));
    }
    let (chain, _) =
        decode(&channel_of(RED_AOS), ChainOptions::default(), &[aos_frame(&channel_of(RED_AOS), 7, 0, 0)]);
    assert_eq!(chain.ledger().counts.unchecked, 0, "a code or a FECF verifies the others");
}

// REQ: FEP-CHN-101
// REQ: FEP-CHN-110
#[test]
fn a_truncated_uslp_frame_has_no_fecf_and_is_not_called_verified() {
    let text = r#"
        title = "uslp"
        [spacecraft.a]
        scid = 500
        [channel.link]
        spacecraft = "a"
        randomizer = "none"
        frame = { kind = "uslp", frame_len = 64, fecf = "crc16", variable_len = true, truncated_len = 9 }
        sync = { marker = "1acffc1d" }
        code = { code = "none" }
        [[channel.link.vc]]
        id = 3
        service = "vca"
        [[channel.link.vc]]
        id = 4
        service = "vca"
        colour = "red"
    "#;
    let channel = channel_of(text);
    let header = UslpHeader { scid: 500, destination: false, vcid: 3, map_id: 0, rest: None };
    let mut frame = Vec::new();
    header.emit(&mut frame);
    frame.extend_from_slice(&[0xE0, 1, 2, 3, 4]);
    let options = ChainOptions { framing: Framing::DatagramFrame, ..ChainOptions::default() };
    let mut chain = Chain::with_options(&channel, options).expect("a chain");
    let mut recorder = Recorder::default();
    chain.receive(&Reception::new(&frame, Tai(5)), Monotonic(5), &mut recorder);
    let frame = &recorder.frames[0];
    assert_eq!((frame.record.reason, frame.colour), (BadReason::None, Red));
    assert!(!frame.record.flags.contains(FrameFlags::CODED));
    assert_eq!(chain.ledger().counts.unchecked, 1);
}

// REQ: FEP-CHN-102
#[test]
fn every_spacecraft_of_a_channel_has_counters_channels_and_ledgers_of_its_own() {
    let text = TM
        .replace("[spacecraft.a]", "[spacecraft.b]\nscid = 122\n[spacecraft.a]")
        .replace("spacecraft = \"a\"", "spacecraft = [\"a\", \"b\"]")
        + "[[channel.link.vc]]\nid = 0\nspacecraft = \"b\"\nservice = \"packets\"\n";
    let channel = channel_of(&text);
    assert_eq!(channel.scids().collect::<Vec<_>>(), [121, 122]);
    let mut frames = Vec::new();
    // Spacecraft b runs 77 counts ahead and loses counts 20 to 22; of a nothing is lost.
    for count in 0..60_u8 {
        frames.push(tm(&channel, 121, 0, count, count, Fhp::None));
        if !(20..23).contains(&count) {
            frames.push(tm(&channel, 122, 0, count + 77, count + 77, Fhp::None));
        }
    }
    let (chain, recorder) = decode(&channel, ChainOptions::default(), &frames);
    assert!(recorder.frames.iter().all(|frame| frame.record.reason == BadReason::None));
    let vcs: Vec<_> =
        chain.vcs().map(|(gvcid, vc)| (gvcid.to_string(), vc.frames, vc.lost, vc.gaps)).collect();
    let expected = [("121/0", 60, 0, 0), ("121/7", 0, 0, 0), ("122/0", 57, 3, 1)];
    assert_eq!(vcs, expected.map(|(name, frames, lost, gaps)| (name.to_owned(), frames, lost, gaps)));
    assert_eq!((recorder.frames[0].vc, recorder.frames[1].vc), (Some(0), Some(2)));

    let mut next = Chain::new(&channel).expect("a chain");
    next.resume(&chain.resume_point());
    let after = [tm(&channel, 122, 0, 142, 142, Fhp::None), tm(&channel, 121, 0, 60, 60, Fhp::None)];
    let mut recorder = Recorder::default();
    next.receive(&Reception::new(&cadus(&channel, &after), Tai(5)), Monotonic(5), &mut recorder);
    next.disconnected(&mut recorder);
    assert_eq!(recorder.frames.iter().map(|frame| frame.lost).collect::<Vec<_>>(), [5, 0]);
}

// REQ: FEP-CHN-103
#[test]
fn every_good_frame_hands_over_its_operational_control_field_once_dropped_idle_frames_too() {
    let channel = channel_of(TM);
    let mut wrong = tm(&channel, 121, 0, 2, 1, Fhp::None);
    wrong[20] ^= 1;
    let frames = [
        tm(&channel, 121, 0, 0, 0, Fhp::None),
        tm(&channel, 121, 7, 1, 0, Fhp::IdleOnly),
        wrong,
        tm(&channel, 121, 3, 3, 0, Fhp::None),
        tm(&channel, 121, 0, 4, 2, Fhp::At(2000)),
    ];
    for idle in [IdlePolicy::Publish, IdlePolicy::Drop] {
        let (_, recorder) = decode(&channel, ChainOptions { idle, ..ChainOptions::default() }, &frames);
        let ocfs: Vec<_> =
            recorder.ocfs.iter().map(|ocf| (ocf.gvcid.vcid, ocf.octets, ocf.verified)).collect();
        let expected = [(0, [1, 0, 0, 0], true), (7, [1, 28, 0, 0], true), (0, [1, 0, 0, 2], true)];
        assert_eq!(ocfs, expected, "not of the damaged frame, nor of the unknown virtual channel");
    }
}

// REQ: FEP-CHN-104
#[test]
fn a_frame_with_an_impossible_pointer_was_received_on_tm_as_on_aos() {
    let (tm_channel, aos_channel) = (channel_of(TM), channel_of(RED_AOS));
    let pointers = [Fhp::None, Fhp::At(1999), Fhp::None];
    let tm_frames: Vec<_> =
        (0..3).map(|count| tm(&tm_channel, 121, 0, count, count, pointers[count as usize])).collect();
    let mut aos_frames: Vec<_> = (0..3).map(|count| aos_frame(&aos_channel, 7, 0, count)).collect();
    rewrite(&mut aos_frames[1], 6, &[0x03, 0x00]);
    for (channel, frames) in [(tm_channel, tm_frames), (aos_channel, aos_frames)] {
        let (chain, recorder) = decode(&channel, ChainOptions::default(), &frames);
        let found: Vec<_> =
            recorder.frames.iter().map(|frame| (frame.record.reason, frame.vc, frame.lost)).collect();
        let (good, bad) = (BadReason::None, BadReason::PointerInvalid);
        assert_eq!(found, [(good, Some(0), 0), (bad, Some(0), 0), (good, Some(0), 0)]);
        let (_, vc) = chain.vcs().next().expect("a virtual channel");
        assert_eq!((vc.frames, vc.pointer_invalid, vc.lost), (2, 1, 0));
        assert_eq!((chain.ledger().accepted(), chain.ledger().counts.good), (2, 3));
    }
}

// REQ: FEP-CHN-105
#[test]
fn frames_of_packet_telemetry_are_taken_and_reported_once_for_each_virtual_channel() {
    // Fault 15 of issue 8: 892 octets, 079F, counts, 0FFE.
    let text = TM.replace("frame_len = 60", "frame_len = 892");
    let channel = channel_of(&text);
    let data_field = TmDataField::LegacyPackets {
        first_header_pointer: Fhp::IdleOnly,
        reverse_order: false,
        segment_length_id: 1,
    };
    let frames: Vec<Vec<u8>> = (0..5_u8)
        .map(|count| {
            let header = TmHeader {
                scid: 121,
                vcid: 7,
                ocf: true,
                mc_count: count,
                vc_count: count,
                secondary_header: false,
                data_field,
            };
            tm_with(&channel, header)
        })
        .collect();
    assert_eq!((&frames[0][..2], &frames[0][4..6]), (&[0x07, 0x9F][..], &[0x0F, 0xFE][..]), "as flown");
    let (chain, recorder) = decode(&channel, ChainOptions::default(), &frames);
    assert_eq!((chain.ledger().accepted(), chain.ledger().counts.idle), (5, 5));
    let reported = recorder.events.iter().filter(|event| matches!(event, ChainEvent::LegacyStatus { .. }));
    assert_eq!(reported.count(), 1);
}

// REQ: FEP-CHN-106
#[test]
fn a_secondary_header_whose_length_field_is_wrong_is_read_by_the_length_of_the_mission() {
    let text = TM.replace("fecf = \"crc16\"", "fecf = \"crc16\", secondary_header_len = 8");
    let channel = channel_of(&text);
    assert_eq!(channel.frame.secondary_header_len, Some(8));
    let header = TmHeader {
        scid: 121,
        vcid: 0,
        ocf: false,
        mc_count: 0,
        vc_count: 0,
        secondary_header: true,
        data_field: TmDataField::Packets { first_header_pointer: Fhp::At(0) },
    };
    // Its first octet says version 0, length 0: impossible, and really eight octets.
    let mut zone = vec![0x08, 0x05, 0xC0, 0, 0, 37];
    zone.resize(60 - 6 - 8 - 2, 0x33);
    let mut parts = FrameParts::new(Header::Tm(header), &zone);
    parts.secondary_header = Some(&[0, 1, 2, 3, 4, 5, 6, 7]);
    let mut frame = Vec::new();
    parts.build(&channel.frame, &mut frame).expect("a frame");
    let (_, recorder) = decode(&channel, ChainOptions::default(), &[frame]);
    assert_eq!(recorder.packets[0].1, zone);
}

// REQ: FEP-CHN-107
#[test]
fn loss_is_seen_where_the_master_channel_counter_never_moves() {
    // Fault 14 of issue 8.
    let channel = channel_of(TM);
    let frames: Vec<Vec<u8>> = (0..400_u16)
        .filter(|count| !(100..=106).contains(count) && *count != 200)
        .map(|count| tm(&channel, 121, 0, 0, count as u8, Fhp::None))
        .collect();
    let (chain, _) = decode(&channel, ChainOptions::default(), &frames);
    let counts = chain.ledger().counts;
    assert_eq!((counts.lost, counts.gaps, counts.resets), (8, 2, 0));
}

/// 100 frames a second, from a count on.
fn run(channel: &ChannelConfig, from: u64, frames: u64) -> Vec<(Vec<u8>, i64)> {
    let made = (from..from + frames)
        .map(|count| (tm(channel, 121, 0, count as u8, count as u8, Fhp::None), 10_000_000 * count as i64));
    made.collect()
}

// REQ: FEP-CHN-107
#[test]
fn an_outage_of_any_length_is_a_gap_that_time_resolves_after_a_disconnection_and_after_a_restart() {
    let channel = channel_of(TM);
    for outage in [1, 127, 128, 150, 255, 256, 300, 700] {
        for restart in [false, true] {
            let mut recorder = Recorder::default();
            let mut chain = Chain::new(&channel).expect("a chain");
            feed(&mut chain, &channel, &run(&channel, 0, 600), &mut recorder);
            chain.disconnected(&mut recorder);
            if restart {
                let point = chain.resume_point();
                chain = Chain::new(&channel).expect("a chain");
                chain.resume(&point);
            }
            feed(&mut chain, &channel, &run(&channel, 600 + outage, 50), &mut recorder);
            chain.disconnected(&mut recorder);
            let counts = chain.ledger().counts;
            // After 256 the count follows on: the channel may have paused.
            let (lost, at_least) = if outage == 256 { (0, 1) } else { (outage, 0) };
            assert_eq!(
                (counts.lost, counts.gaps, counts.gaps_at_least, counts.resets),
                (lost, 1, at_least, 0),
                "{outage} frames, restart {restart}"
            );
        }
    }
}

// REQ: FEP-CHN-107
#[test]
fn a_loss_that_nothing_resolves_is_reported_as_the_least_number() {
    let channel = channel_of(TM);
    let mut chain = Chain::new(&channel).expect("a chain");
    let mut recorder = Recorder::default();
    // All received at the same time, as from a file: time says nothing.
    let still =
        |frames: Vec<(Vec<u8>, i64)>| frames.into_iter().map(|(frame, _)| (frame, 0)).collect::<Vec<_>>();
    feed(&mut chain, &channel, &still(run(&channel, 0, 20)), &mut recorder);
    chain.disconnected(&mut recorder);
    feed(&mut chain, &channel, &still(run(&channel, 320, 20)), &mut recorder);
    chain.disconnected(&mut recorder);
    let counts = chain.ledger().counts;
    assert_eq!((counts.lost, counts.gaps, counts.gaps_at_least, counts.resets), (300 - 256, 1, 1, 0));
    let first = &recorder.frames[20];
    assert!(
        first.record.flags.contains(FrameFlags::GAP)
            && first.record.flags.contains(FrameFlags::LOSS_AT_LEAST)
    );
    let gvcid = Gvcid { tfvn: 0, scid: 121, vcid: 0 };
    let gap = ChainEvent::Gap { gvcid, lost: 44, at_least: true, count: 64 };
    assert!(recorder.events.contains(&gap));
    assert_eq!(chain.vcs().next().expect("a virtual channel").1.gaps_at_least, 1);
}

// REQ: FEP-CHN-107
#[test]
fn frames_of_virtual_channels_that_nobody_wants_move_the_master_channel_counter() {
    let channel = channel_of(TM);
    let mut frames: Vec<_> = (0..20).map(|count| tm(&channel, 121, 0, count, count, Fhp::None)).collect();
    // A hundred frames of another virtual channel, none lost, while the counter of this one is set.
    frames.extend((0..100).map(|count| tm(&channel, 121, 5, 20 + count, count, Fhp::None)));
    frames.push(tm(&channel, 121, 0, 120, 80, Fhp::None));
    let (chain, _) = decode(&channel, ChainOptions::default(), &frames);
    let counts = chain.ledger().counts;
    assert_eq!(
        (counts.lost, counts.resets),
        (0, 1),
        "the master channel counter says that nothing is missing"
    );
    assert_eq!(chain.refusals().seen[0].frames, 100);
}

// REQ: FEP-CHN-108
#[test]
fn refused_frames_are_counted_by_the_channel_that_their_header_names() {
    let channel = channel_of(TM);
    let frames = [
        tm(&channel, 121, 3, 0, 0, Fhp::None),
        tm(&channel, 121, 3, 1, 1, Fhp::None),
        tm(&channel, 99, 0, 0, 0, Fhp::None),
        tm(&channel, 121, 0, 2, 0, Fhp::None),
    ];
    let (chain, _) = decode(&channel, ChainOptions::default(), &frames);
    let seen: Vec<_> =
        chain.refusals().seen.iter().map(|seen| (seen.gvcid.to_string(), seen.reason, seen.frames)).collect();
    let expected = [("121/3", BadReason::UnknownVc, 2), ("99/0", BadReason::UnknownSpacecraft, 1)];
    assert_eq!(seen, expected.map(|(name, reason, frames)| (name.to_owned(), reason, frames)));
    assert_eq!(chain.refusals().frames(), 3);
}

// REQ: FEP-CHN-108
#[test]
fn exploration_takes_spacecraft_and_virtual_channels_as_they_come() {
    let channel = channel_of(TM);
    let mut frames = Vec::new();
    for count in 0..10 {
        frames.push(tm(&channel, 99, 4, 2 * count, count, Fhp::None));
        frames.push(tm(&channel, 121, 5, count, count, Fhp::None));
    }
    frames.remove(6);
    let options = ChainOptions { explore: true, ..ChainOptions::default() };
    let (chain, recorder) = decode(&channel, options, &frames);
    assert_eq!((chain.ledger().accepted(), chain.refusals().frames()), (19, 0));
    let vcs: Vec<_> = chain.vcs().map(|(gvcid, vc)| (gvcid.to_string(), vc.frames, vc.lost)).collect();
    let expected = [("121/0", 0, 0), ("121/7", 0, 0), ("99/4", 9, 1), ("121/5", 10, 0)];
    assert_eq!(vcs, expected.map(|(name, frames, lost)| (name.to_owned(), frames, lost)));
    assert_eq!(recorder.frames[0].vc, Some(2), "behind the configured ones");
}

// REQ: FEP-CHN-109
#[test]
fn packets_with_undeclared_apids_are_taken_reported_or_rejected_as_the_mission_says() {
    for (policy, published, reported) in [("accept", 4, 0), ("report", 4, 3), ("reject", 1, 3)] {
        let named = format!("scid = 121\nundeclared_apids = \"{policy}\"\napids = {{ 5 = \"known\" }}");
        let channel = channel_of(&TM.replace("scid = 121", &named));
        let mut zone = Vec::new();
        for apid in [5, 6, 6, 7_u8] {
            zone.extend_from_slice(&[0x08, apid, 0xC0, 0, 0, 0, 0x77]);
        }
        zone.extend_from_slice(&[0x07, 0xFF, 0xC0, 0, 0, 16 - 7]);
        zone.resize(60 - 6 - 2, 0x55);
        let header = TmHeader {
            scid: 121,
            vcid: 0,
            ocf: false,
            mc_count: 0,
            vc_count: 0,
            secondary_header: false,
            data_field: TmDataField::Packets { first_header_pointer: Fhp::At(0) },
        };
        // The idle packet takes what is left.
        let idle_len = zone.len() - 28;
        zone[33] = (idle_len - 7) as u8;
        let mut frame = Vec::new();
        FrameParts::new(Header::Tm(header), &zone).build(&channel.frame, &mut frame).expect("a frame");
        let options = ChainOptions { idle: IdlePolicy::Drop, ..ChainOptions::default() };
        let (chain, recorder) = decode(&channel, options, &[frame]);
        assert_eq!(recorder.packets.len(), published, "{policy}");
        assert_eq!(chain.ledger().counts.packets_undeclared, reported, "{policy}");
        let seen: Vec<_> = chain.undeclared_packets().map(|(_, packets)| packets.seen.clone()).collect();
        let events =
            recorder.events.iter().filter(|event| matches!(event, ChainEvent::UndeclaredApid { .. }));
        if reported > 0 {
            assert_eq!((seen, events.count()), (vec![vec![(6, 2), (7, 1)]], 2), "{policy}: each APID once");
        } else {
            assert_eq!((seen, events.count()), (vec![], 0));
        }
    }
}

/// Datagrams as they reach the chain, one a millisecond.
fn datagrams(channel: &ChannelConfig, reorder: Option<ReorderSpec>, frames: &[Vec<u8>]) -> (Chain, Recorder) {
    let options = ChainOptions { framing: Framing::DatagramFrame, reorder, ..ChainOptions::default() };
    let mut chain = Chain::with_options(channel, options).expect("a chain");
    let mut recorder = Recorder::default();
    for (number, frame) in frames.iter().enumerate() {
        let at = number as i64 * 1_000_000;
        chain.receive(&Reception::new(frame, Tai(at)), Monotonic(at), &mut recorder);
        assert!(chain.ledger().is_balanced(), "{}", chain.ledger());
    }
    (chain, recorder)
}

const REORDER: Option<ReorderSpec> = Some(ReorderSpec { wait_ns: 10_000_000, window_frames: 64 });

/// Frames of AOS and TM with these counts, and their channels.
fn both(counts: &[u8]) -> [(ChannelConfig, Vec<Vec<u8>>); 2] {
    let (aos, telemetry) = (channel_of(RED_AOS), channel_of(TM));
    let aos_frames = counts.iter().map(|count| aos_frame(&aos, 7, 0, u32::from(*count))).collect();
    let tm_frames = counts.iter().map(|count| tm(&telemetry, 121, 0, *count, *count, Fhp::None)).collect();
    [(aos, aos_frames), (telemetry, tm_frames)]
}

fn counts_of(recorder: &Recorder) -> Vec<u32> {
    recorder.frames.iter().map(|frame| frame.record.frame_count).collect()
}

// REQ: FEP-MRG-007
#[test]
fn datagrams_that_changed_places_are_put_right_and_nothing_is_called_lost() {
    for (channel, frames) in both(&[0, 1, 3, 2, 4, 7, 6, 5, 8]) {
        let (chain, recorder) = datagrams(&channel, REORDER, &frames);
        let counts = chain.ledger().counts;
        assert_eq!((counts.lost, counts.gaps, counts.resets, counts.good), (0, 0, 0, 9));
        assert_eq!(counts_of(&recorder), (0..9).collect::<Vec<_>>());
        let (chain, _) = datagrams(&channel, None, &frames);
        assert!(
            chain.ledger().counts.lost + chain.ledger().counts.resets > 0,
            "without it they look like losses"
        );
    }
}

// REQ: FEP-MRG-007
#[test]
fn a_datagram_that_never_comes_is_waited_for_no_longer_than_allowed_and_counts_as_lost() {
    let mut counts: Vec<u8> = (0..40).collect();
    counts.remove(5);
    for (channel, frames) in both(&counts) {
        let (chain, recorder) = datagrams(&channel, REORDER, &frames[..14]);
        assert_eq!(counts_of(&recorder), [0, 1, 2, 3, 4], "frames 6 to 14 wait");
        assert!(chain.is_waiting());
        let (mut chain, mut recorder) = datagrams(&channel, REORDER, &frames[..14]);
        chain.idle(Monotonic(15_000_000), &mut recorder);
        assert_eq!(counts_of(&recorder), [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        assert!(!chain.is_waiting());
        let (mut chain, mut recorder) = datagrams(&channel, REORDER, &frames[..8]);
        chain.disconnected(&mut recorder);
        assert_eq!(
            counts_of(&recorder),
            [0, 1, 2, 3, 4, 6, 7, 8],
            "the end of a connection waits for nothing"
        );
        let (chain, recorder) = datagrams(&channel, REORDER, &frames);
        assert_eq!(
            (recorder.frames.len(), chain.ledger().counts.lost, chain.ledger().counts.gaps),
            (39, 1, 1)
        );
    }
}

// REQ: FEP-MRG-007
#[test]
fn datagrams_that_come_twice_or_too_late_are_published_and_said_to_be_so() {
    let mut counts: Vec<u8> = (0..40).collect();
    counts.remove(5);
    counts.insert(30, 5);
    counts.insert(10, 8);
    counts.insert(3, 2);
    for (channel, frames) in both(&counts) {
        let (chain, recorder) = datagrams(&channel, REORDER, &frames);
        assert_eq!(recorder.frames.len(), counts.len(), "nothing disappears");
        let ledger = chain.ledger();
        assert_eq!((ledger.bad.of(BadReason::Late), ledger.counts.duplicates), (1, 2));
        assert_eq!((ledger.counts.lost, ledger.counts.resets), (1, 0));
        let late = recorder
            .frames
            .iter()
            .find(|frame| frame.record.reason == BadReason::Late)
            .expect("the late one");
        assert_eq!((late.record.frame_count, late.vc), (5, Some(0)));
    }
}

// REQ: FEP-MRG-007
#[test]
fn a_spacecraft_that_starts_its_counters_again_is_followed_through_the_reordering() {
    let channel = channel_of(RED_AOS);
    let counts = (1000..1050).chain(0..50);
    let frames: Vec<Vec<u8>> = counts.clone().map(|count| aos_frame(&channel, 7, 0, count)).collect();
    let (mut chain, mut recorder) = datagrams(&channel, REORDER, &frames);
    chain.disconnected(&mut recorder);
    assert_eq!(counts_of(&recorder), counts.collect::<Vec<_>>());
    assert_eq!((chain.ledger().counts.resets, chain.ledger().counts.lost), (1, 0));
}
