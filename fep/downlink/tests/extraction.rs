//! Packets out of recorded frames: against the packets that were made, and against what the chain itself published.

mod lab;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use fep_ccsds::Gvcid;
use fep_downlink::{Chain, ChainOptions, Extraction, Framing, Reception, RecordedFrame};
use fep_mission::{Fleet, Mission};
use fep_record::{BadReason, FrameFlags, FrameRecord, PacketRecord, Session};
use fep_time::{Monotonic, Tai};
use proptest::prelude::*;
use record::Recorder;

const SCID: u16 = 42;
const VCS: u8 = 3;
const PACKET_MAX: usize = 65_542;

fn mission(frame_len: usize) -> Mission {
    let vcs: Vec<String> = (0..VCS).map(|vcid| format!("{{ id = {vcid}, service = \"packets\" }}")).collect();
    let text = format!(
        "title = \"t\"\n[spacecraft.s]\nscid = {SCID}\n[channel.c]\nspacecraft = \"s\"\nrandomizer = \"none\"\n\
         frame = {{ kind = \"tm\", frame_len = {frame_len}, fecf = \"crc16\" }}\nsync = {{ marker = \"1acffc1d\" }}\n\
         code = {{ code = \"none\" }}\nvc = [{}]\n",
        vcs.join(", ")
    );
    fep_mission::load_text("m", "m.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn fleet(frame_len: usize) -> Arc<Fleet> {
    Arc::new(Fleet::of([&mission(frame_len)]).expect("one mission contradicts nobody"))
}

/// A space packet of `len` octets, 7 at least.
fn packet(apid: u16, count: u16, len: usize) -> Vec<u8> {
    let len = len.clamp(7, PACKET_MAX);
    let mut octets = vec![(apid >> 8) as u8, apid as u8, 0xC0 | (count >> 8 & 0x3F) as u8, count as u8];
    octets.extend(((len - 7) as u16).to_be_bytes());
    octets.extend((6..len).map(|at| (at as u16 ^ count.wrapping_mul(31) ^ apid) as u8));
    octets
}

/// A frame of the recording, and of its own virtual channel the octets `from..to` that it carries.
#[derive(Debug, Clone)]
struct Made {
    record: FrameRecord,
    octets: Vec<u8>,
    from: usize,
    to: usize,
}

fn tm_frame(frame_len: usize, vcid: u8, count: u64, pointer: u16, zone: &[u8]) -> Made {
    let first = SCID << 4 | u16::from(vcid) << 1;
    let mut octets = first.to_be_bytes().to_vec();
    octets.extend([0, count as u8]);
    octets.extend((0x1800 | pointer).to_be_bytes());
    octets.extend_from_slice(zone);
    octets.resize(frame_len - 2, 0x55);
    let crc = fep_coding::crc::crc16_fecf(&octets);
    octets.extend(crc.to_be_bytes());
    let record = FrameRecord {
        gvcid: Gvcid { tfvn: 0, scid: SCID, vcid },
        frame_count: (count % 256) as u32,
        flags: FrameFlags::CODED,
        ..FrameRecord::default()
    };
    Made { record, octets, from: 0, to: 0 }
}

/// The frames of one virtual channel that carry these packets, filled up with an idle packet. `idle_after`: an idle frame
/// follows each frame with these numbers.
fn frames_of(frame_len: usize, vcid: u8, packets: &[Vec<u8>], idle_after: &[usize]) -> Vec<Made> {
    let zone_len = frame_len - 8;
    let mut stream = packets.concat();
    let mut starts: Vec<usize> =
        packets.iter().scan(0, |at, packet| Some(std::mem::replace(at, *at + packet.len()))).collect();
    let mut fill = stream.len().next_multiple_of(zone_len) - stream.len();
    while fill > 0 && fill < 7 {
        fill += zone_len;
    }
    if fill > 0 {
        starts.push(stream.len());
        stream.extend(packet(2047, 0, fill));
    }
    let (mut frames, mut count) = (Vec::new(), 0);
    for (number, zone) in stream.chunks(zone_len).enumerate() {
        let (from, to) = (number * zone_len, (number + 1) * zone_len);
        let start = starts.iter().find(|start| (from..to).contains(*start));
        let pointer = start.map_or(0x7FF, |start| (start - from) as u16);
        frames.push(Made { from, to, ..tm_frame(frame_len, vcid, count, pointer, zone) });
        count += 1;
        if idle_after.contains(&number) {
            // It carries none of the octets, but lies between those before and those behind it.
            frames.push(Made { from: to, to, ..tm_frame(frame_len, vcid, count, 0x7FE, &vec![0; zone_len]) });
            count += 1;
        }
    }
    frames
}

type Taken = (u8, Vec<u8>, u64);

/// Packets of frames, by channel, in order; with the number of the frame in which each ended.
fn extract(extraction: &mut Extraction<u64>, frames: &[Made], first: u64) -> Vec<Taken> {
    let mut taken = Vec::new();
    for (place, made) in (first..).zip(frames) {
        let frame =
            RecordedFrame { octets: &made.octets, record: made.record, received: Tai(place as i64), place };
        extraction.frame(&frame, &mut |packet| {
            assert!(packet.began <= place, "a packet begins before it ends");
            assert_eq!(packet.received, Tai(place as i64));
            if packet.record.apid != 2047 {
                taken.push((packet.record.gvcid.vcid, packet.octets.to_vec(), place));
            }
        });
    }
    taken
}

fn by_channel(taken: &[Taken]) -> BTreeMap<u8, Vec<&[u8]>> {
    let mut channels: BTreeMap<u8, Vec<&[u8]>> = BTreeMap::new();
    for (vcid, octets, _) in taken {
        channels.entry(*vcid).or_default().push(octets);
    }
    channels
}

/// Lengths of packets: short ones, ones of many frames, now and then the longest.
fn lens() -> impl Strategy<Value = Vec<usize>> {
    let len = prop_oneof![20 => 7usize..60, 10 => 60usize..900, 1 => Just(PACKET_MAX)];
    prop::collection::vec(len, 1..8)
}

/// Frames of three channels in a random order of channels.
#[derive(Debug, Clone)]
struct Traffic {
    frame_len: usize,
    packets: Vec<Vec<Vec<u8>>>,
    frames: Vec<Made>,
}

fn traffic() -> impl Strategy<Value = Traffic> {
    (
        15usize..300,
        prop::collection::vec(lens(), usize::from(VCS)),
        prop::collection::vec(0usize..40, 0..4),
        prop::collection::vec(0..VCS, 64),
    )
        .prop_map(|(frame_len, lens, idle_after, turns)| {
            let packets: Vec<Vec<Vec<u8>>> = lens
                .iter()
                .zip(1u16..)
                .map(|(lens, apid)| {
                    let numbered = lens.iter().zip(0u16..);
                    numbered.map(|(len, count)| packet(apid * 100 + count % 3, count, *len)).collect()
                })
                .collect();
            let mut channels: Vec<_> = packets
                .iter()
                .zip(0u8..)
                .map(|(packets, vcid)| frames_of(frame_len, vcid, packets, &idle_after).into_iter())
                .collect();
            let mut frames = Vec::new();
            for turn in turns.into_iter().cycle() {
                if channels.iter().all(|channel| channel.len() == 0) {
                    break;
                }
                frames.extend(channels[usize::from(turn)].next());
                frames.extend(channels.iter_mut().find_map(Iterator::next));
            }
            Traffic { frame_len, packets, frames }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    // REQ: FEP-ARC-221
    #[test]
    fn exactly_the_packets_of_which_every_frame_is_there_come_out(
        traffic in traffic(), lost in prop::collection::vec(0usize..4000, 0..12),
    ) {
        let Traffic { frame_len, packets, frames } = traffic;
        let lost: Vec<usize> = lost.iter().map(|number| number % frames.len()).collect();
        let (mut kept, mut missing) = (Vec::new(), Vec::new());
        for (number, frame) in frames.into_iter().enumerate() {
            if lost.contains(&number) { missing.push(frame) } else { kept.push(frame) }
        }
        let mut extraction = Extraction::new(fleet(frame_len));
        let taken = extract(&mut extraction, &kept, 0);
        for vcid in 0..VCS {
            let (mut at, mut whole) = (0, Vec::new());
            for packet in &packets[usize::from(vcid)] {
                let (from, to) = (at, at + packet.len());
                at = to;
                // An idle frame that is missing within a packet cannot be told from one with a part of it.
                let hits = |frame: &Made| frame.record.gvcid.vcid == vcid
                    && (frame.from < to && frame.to > from || frame.from == frame.to && frame.from > from && frame.from < to);
                if !missing.iter().any(hits) {
                    whole.push(packet.as_slice());
                }
            }
            let of_channel = by_channel(&taken).remove(&vcid).unwrap_or_default();
            prop_assert!(of_channel == whole, "{} packets of {}", of_channel.len(), whole.len());
        }
    }

    // REQ: FEP-ARC-222
    #[test]
    fn extraction_that_begins_again_where_a_packet_began_gives_what_it_would_have_given(
        traffic in traffic(), cuts in prop::collection::vec(0usize..4000, 1..6),
    ) {
        let Traffic { frame_len, frames, .. } = traffic;
        let fleet = fleet(frame_len);
        let all = extract(&mut Extraction::new(Arc::clone(&fleet)), &frames, 0);
        for cut in cuts {
            let cut = cut % (frames.len() + 1);
            let mut before = Extraction::new(Arc::clone(&fleet));
            let mut joined = extract(&mut before, &frames[..cut], 0);
            prop_assert!(before.in_progress().count() <= usize::from(VCS));
            let from = before.in_progress().map(|(_, began)| began as usize).min().unwrap_or(cut);
            let mut behind = Extraction::new(Arc::clone(&fleet));
            drop(extract(&mut behind, &frames[from..cut], from as u64));
            joined.extend(extract(&mut behind, &frames[cut..], cut as u64));
            prop_assert!(joined == all, "cut at {cut} of {}", frames.len());
        }
    }
}

/// Puts frames through a chain as it runs in the daemon, and takes the packets out of what it published.
fn by_chain_and_again(
    frame_len: usize,
    frames: &[Vec<u8>],
) -> (Recorder, Vec<(PacketRecord, Vec<u8>)>, u64, u64) {
    let mission = mission(frame_len);
    let options =
        ChainOptions { framing: Framing::DatagramFrame, session: Session::Test, ..ChainOptions::default() };
    let mut chain = Chain::with_options(&mission.channels["c"], options).expect("a chain");
    let mut published = Recorder::default();
    for (number, frame) in frames.iter().enumerate() {
        let ns = number as i64 * 1_000_000;
        chain.receive(&Reception::new(frame, Tai(ns)), Monotonic(ns), &mut published);
    }
    let mut extraction = Extraction::new(Arc::new(Fleet::of([&mission]).expect("one mission")));
    let mut packets = Vec::new();
    for (place, frame) in published.frames.iter().enumerate() {
        let frame =
            RecordedFrame { octets: &frame.octets, record: frame.record, received: frame.received, place };
        extraction.frame(&frame, &mut |packet| packets.push((packet.record, packet.octets.to_vec())));
    }
    let discarded = chain.ledger().counts.packet_bytes_discarded;
    (published, packets, discarded, extraction.ledger().octets_discarded)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    // REQ: FEP-ARC-223
    #[test]
    fn the_packets_of_a_recording_are_those_that_the_daemon_published(
        traffic in traffic(),
        faults in prop::collection::vec((0usize..4000, 0u8..5, 0usize..400), 0..12),
    ) {
        let Traffic { frame_len, frames, .. } = traffic;
        let mut sent: Vec<Vec<u8>> = frames.into_iter().map(|frame| frame.octets).collect();
        for (number, fault, at) in faults {
            let number = number % sent.len();
            match fault {
                // Lost; twice; damaged; a pointer outside of its zone under a good check; another spacecraft.
                0 => drop(sent.remove(number)),
                1 => sent.insert(number, sent[number].clone()),
                2 => sent[number][at % frame_len] ^= 0x20,
                3 | 4 => {
                    let frame = &mut sent[number];
                    if fault == 3 { frame[4..6].copy_from_slice(&[0x1F, 0xF0]) } else { frame[0] = 0 }
                    let crc = fep_coding::crc::crc16_fecf(&frame[..frame_len - 2]);
                    frame[frame_len - 2..].copy_from_slice(&crc.to_be_bytes());
                }
                _ => unreachable!("five kinds"),
            }
            if sent.is_empty() {
                sent.push(vec![0; frame_len]);
            }
        }
        let (published, again, discarded, discarded_again) = by_chain_and_again(frame_len, &sent);
        prop_assert!(published.packets == again, "{} of {}", again.len(), published.packets.len());
        let duplicates = published.frames.iter().any(|frame| frame.record.flags.contains(FrameFlags::DUPLICATE));
        prop_assert!(duplicates || discarded >= discarded_again);
    }
}

// REQ: FEP-ARC-224
#[test]
fn endless_continuation_hostile_lengths_and_strangers_never_hold_more_than_a_packet_a_channel() {
    let frame_len = 300;
    let mut extraction = Extraction::new(fleet(frame_len));
    let mut frames = Vec::new();
    for count in 0..2000u64 {
        for vcid in 0..VCS {
            // Every hundredth frame begins a packet of the greatest length, or something that is no packet; nothing ends it.
            let (pointer, zone) = match count % 100 {
                0 => (0, packet(7, 0, PACKET_MAX)[..292].to_vec()),
                50 => (0, vec![0x60; 292]),
                _ => (0x7FF, vec![0xFF; 292]),
            };
            frames.push(tm_frame(frame_len, vcid, count, pointer, &zone));
        }
        // A channel and a spacecraft that no mission has, and a frame that is too short.
        let mut stranger = tm_frame(frame_len, 0, count, 0, &packet(9, 0, 292));
        stranger.record.gvcid.scid = (count % 1000) as u16 + 50;
        frames.push(stranger);
        let mut short = tm_frame(frame_len, 1, count, 0, &packet(9, 0, 292));
        short.octets.truncate(5);
        frames
            .push(Made { record: FrameRecord { reason: BadReason::LengthInvalid, ..short.record }, ..short });
    }
    let taken = extract(&mut extraction, &frames, 0);
    assert_eq!(taken.len(), 0, "no packet is whole");
    assert!(extraction.in_progress().count() <= usize::from(VCS));
    let ledger = extraction.ledger();
    assert_eq!((ledger.frames, ledger.undescribed, ledger.passed_over), (frames.len() as u64, 2000, 2000));
    let zones = 2000 * u64::from(VCS) * 292;
    assert!(zones - ledger.octets_discarded <= u64::from(VCS) * PACKET_MAX as u64, "{ledger:?}");
}
