//! The chain on real satellite data: counts and hashes made by other programs (`tests/golden/cadu`), whatever the
//! pieces in which the data arrives.

mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use fep_downlink::{Chain, Extraction, Ledger, Reception, RecordedFrame};
use fep_mission::Fleet;
use fep_record::BadReason;
use fep_time::{Monotonic, Tai};
use record::{Recorder, hex, sha256};
use serde_json::Value;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/cadu");

fn channel(mission: &str) -> fep_mission::ChannelConfig {
    let mission = fep_mission::load(mission).unwrap_or_else(|errors| panic!("{errors}"));
    mission.channels.into_values().next().expect("a mission of one channel")
}

fn golden(name: &str) -> Value {
    let text = std::fs::read_to_string(format!("{GOLDEN}/{name}")).expect("golden file");
    serde_json::from_str(&text).expect("golden JSON")
}

fn capture(mission: &str) -> Vec<u8> {
    let capture = fep_sim::captures::find_one(mission).unwrap_or_else(|error| panic!("{error}"));
    std::fs::read(capture.path).expect("capture")
}

fn decode(mission: &str, data: &[u8], piece: usize) -> (Recorder, Ledger) {
    let mut chain = Chain::new(&channel(mission)).expect("chain");
    let mut recorder = Recorder::default();
    for piece in data.chunks(piece) {
        chain.receive(&Reception::new(piece, Tai(1)), Monotonic(1), &mut recorder);
    }
    chain.disconnected(&mut recorder);
    assert!(chain.ledger().is_balanced(), "{}", chain.ledger());
    assert_eq!(recorder.frames.len() as u64, chain.ledger().counts.published);
    (recorder, *chain.ledger())
}

fn hash_of_good_frames(recorder: &Recorder) -> String {
    hex(&sha256(
        recorder.frames.iter().filter(|frame| frame.record.reason == BadReason::None).map(|f| &f.octets[..]),
    ))
}

/// Packets, octets and SHA-256 of all of them, by virtual channel and application process.
type Sums = BTreeMap<(u64, u64), (u64, u64, String)>;

fn sums(packets: &BTreeMap<(u8, u16), Vec<Vec<u8>>>) -> Sums {
    let sum = |((vcid, apid), list): (&(u8, u16), &Vec<Vec<u8>>)| {
        let octets = list.iter().map(|packet| packet.len() as u64).sum();
        let hash = hex(&sha256(list.iter().map(Vec::as_slice)));
        ((u64::from(*vcid), u64::from(*apid)), (list.len() as u64, octets, hash))
    };
    packets.iter().map(sum).collect()
}

fn golden_packets(golden: &Value) -> Sums {
    let entries = golden["packets"]["per_vcid_apid"].as_array().expect("a list");
    entries
        .iter()
        .map(|entry| {
            let number = |key: &str| entry[key].as_u64().expect("a number");
            let hash = entry["sha256_concat"].as_str().expect("a hash").to_owned();
            ((number("vcid"), number("apid")), (number("packets"), number("bytes"), hash))
        })
        .collect()
}

// REQ: FEP-ARC-223
#[test]
fn the_packets_extracted_from_recorded_frames_of_every_capture_are_those_of_other_programs() {
    // What the archive has: all built-in missions, and no name of a channel.
    let fleet = Arc::new(Fleet::load(&BTreeMap::new()).unwrap_or_else(|errors| panic!("{errors}")));
    for (mission, file) in [
        ("npp", "npp.20241206T173815.json"),
        ("noaa20", "noaa20.20241206T162710.json"),
        ("aqua", "aqua.20241206T175646.json"),
        ("metopb", "metopb.20241206T152751.json"),
    ] {
        let (recorder, ledger) = decode(mission, &capture(mission), 64 << 10);
        let mut extraction = Extraction::new(Arc::clone(&fleet));
        let mut again = Recorder::default();
        for (place, frame) in recorder.frames.iter().enumerate() {
            let frame = RecordedFrame {
                octets: &frame.octets,
                record: frame.record,
                received: frame.received,
                place,
            };
            extraction
                .frame(&frame, &mut |packet| again.packets.push((packet.record, packet.octets.to_vec())));
        }
        assert_eq!(sums(&again.packets_by_apid()), golden_packets(&golden(file)), "{mission}");
        assert!(again.packets == recorder.packets, "{mission}: as the daemon published them, in its order");
        assert_eq!(extraction.ledger().octets_discarded, ledger.counts.packet_bytes_discarded, "{mission}");
    }
}

// REQ: FEP-CHN-001
#[test]
fn every_capture_decodes_to_the_counts_and_hashes_of_other_programs() {
    for (mission, file) in [
        ("npp", "npp.20241206T173815.json"),
        ("noaa20", "noaa20.20241206T162710.json"),
        ("aqua", "aqua.20241206T175646.json"),
        ("metopb", "metopb.20241206T152751.json"),
    ] {
        let expected = golden(file);
        let (recorder, ledger) = decode(mission, &capture(mission), 64 << 10);
        let frames = &expected["rs_all_frames_rs2"];
        assert_eq!(ledger.counts.received, frames["good_frames"].as_u64().unwrap(), "{mission}");
        assert_eq!(ledger.counts.good, frames["frames_ok"].as_u64().unwrap(), "{mission}");
        assert_eq!(ledger.bad.total(), 0, "{mission}: {:?}", ledger.bad);
        assert_eq!(
            hash_of_good_frames(&recorder),
            frames["good_frames_concat_sha256"].as_str().unwrap(),
            "{mission}"
        );

        let mut by_vc: BTreeMap<String, u64> = BTreeMap::new();
        for frame in &recorder.frames {
            let vc = frame.record.gvcid;
            *by_vc.entry(format!("{}:{}:{}", vc.tfvn, vc.scid, vc.vcid)).or_default() += 1;
        }
        let expected_vcs: BTreeMap<String, u64> = frames["by_version:scid:vcid"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(vc, counts)| (vc.clone(), counts["ok"].as_u64().unwrap()))
            .collect();
        assert_eq!(by_vc, expected_vcs, "{mission}");

        assert_eq!(sums(&recorder.packets_by_apid()), golden_packets(&expected), "{mission}");
    }
}

// REQ: FEP-CHN-001
#[test]
fn damaged_captures_give_the_frames_that_can_be_given_and_flag_the_others() {
    for mission in ["npp", "aqua"] {
        let expected = golden(&format!("{mission}_errors.json"));
        let data = std::fs::read(format!("{GOLDEN}/{mission}_errors.dat")).expect("golden file");
        let (recorder, ledger) = decode(mission, &data, 1 << 20);
        let frames = &expected["rs_all_frames_rs2"];
        let number = |key: &str| frames[key].as_u64().unwrap();
        assert_eq!(ledger.counts.good, number("frames_ok"), "{mission}");
        assert_eq!(ledger.counts.corrected, number("frames_corrected"), "{mission}");
        assert_eq!(ledger.counts.uncorrectable, number("frames_uncorrectable"), "{mission}");
        assert_eq!(ledger.bad.of(BadReason::Uncorrectable), number("frames_uncorrectable"), "{mission}");
        assert_eq!(
            hash_of_good_frames(&recorder),
            frames["good_frames_concat_sha256"].as_str().unwrap(),
            "{mission}"
        );
        let uncorrectable: Vec<u64> = (0..)
            .zip(&recorder.frames)
            .filter(|(_, frame)| frame.record.reason == BadReason::Uncorrectable)
            .map(|(index, _)| index)
            .collect();
        let expected: Vec<u64> = frames["uncorrectable_block_indexes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i.as_u64().unwrap())
            .collect();
        assert_eq!(uncorrectable, expected, "{mission}");
    }
}

// REQ: FEP-CHN-002
#[test]
fn the_result_does_not_depend_on_how_the_stream_is_cut() {
    let data = capture("npp");
    let (whole, ledger) = decode("npp", &data, data.len());
    for piece in [1, 7, 1023, 4096, 100_003] {
        let (cut, cut_ledger) = decode("npp", &data[..300_000.min(data.len())], piece);
        let same = whole.frames.len().min(cut.frames.len());
        assert!(same > 280);
        assert_eq!(cut.frames[..same], whole.frames[..same], "pieces of {piece}");
        assert!(cut_ledger.counts.received < ledger.counts.received);
    }
}

// REQ: FEP-CHN-003
#[test]
fn noaa21_with_insert_zone_and_trailer_gives_whole_packets_without_a_gap() {
    let (recorder, ledger) = decode("noaa21", &capture("noaa21"), 64 << 10);
    assert_eq!(ledger.counts.good, ledger.counts.received);
    assert_eq!(ledger.bad.total(), 0, "{:?}", ledger.bad);
    assert!(ledger.counts.packets > 50, "{}", ledger.counts.packets);
    let apids = recorder.packets_by_apid();
    // CrIS is 1280 to 1410 and ATMS 515 to 531 on this spacecraft: other numbers would mean a wrong packet zone.
    for (vcid, apid) in apids.keys() {
        match vcid {
            0 => assert!(*apid < 2047, "housekeeping of spacecraft and instruments {apid}"),
            1 => assert!((500..540).contains(apid), "ATMS {apid}"),
            6 => assert!((1280..1420).contains(apid), "CrIS {apid}"),
            other => panic!("virtual channel {other}"),
        }
    }
    assert_eq!((ledger.counts.gaps, ledger.counts.duplicates, ledger.counts.resets), (0, 0, 0));
    // Only what was cut off at the beginning: the ends of packets that began before the recording.
    assert!(ledger.counts.packet_bytes_discarded < 3 * 65542, "{}", ledger.counts.packet_bytes_discarded);
}
