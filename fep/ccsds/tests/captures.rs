//! Recordings of real satellites, from their bits to their packets, held against what other programs found in them.
//!
//! For the two recordings with injected errors the vector files tell which frames are beyond correction and what the others
//! are, but their list of packets is short: the program behind it believed the headers of damaged frames and so gave up
//! packets that are whole (96 of 101, 0 of 1). There the oracle is the undamaged recording: of its packets, walked one by
//! one along their lengths, those must come out that touch no frame beyond correction.

use fep_ccsds::{
    Continuity, Frame, FrameSpec, MasterChannel, PacketAssembler, PacketEvent, SpacePacketHeader, Tai,
    packet::ApidTracker,
};
use fep_coding::randomizer::{Derandomizer, Randomizer};
use fep_coding::rs::{Basis, ReedSolomon, RsE, RsSpec};
use fep_coding::sync::{FrameSync, Marker, SyncSpec};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cadu").join(name)
}

/// The recordings without injected errors ship with the `ccsds` package, which the benchmarks depend on.
fn shipped(name: &str) -> PathBuf {
    let listing = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(listing.status.success(), "{}", String::from_utf8_lossy(&listing.stderr));
    let metadata: Value = serde_json::from_slice(&listing.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let package =
        packages.iter().find(|package| package["name"] == "ccsds").expect("the package is a dependency");
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a folder").join("tests/fixtures/cadu").join(name)
}

type Digests = Vec<(u64, u64, u64, u64, u64, String)>;

#[derive(Default)]
struct Found {
    /// Every good frame, by the number of its block.
    good: BTreeMap<usize, Vec<u8>>,
    frames: BTreeMap<String, u64>,
    uncorrectable: u64,
    corrected: u64,
    symbols_corrected: u64,
    frames_sha256: Sha256,
    /// By virtual channel and application process.
    packets: BTreeMap<(u8, u16), Sha256>,
    trackers: BTreeMap<u8, ApidTracker>,
    assemblers: BTreeMap<u8, PacketAssembler>,
    lost_frames: u64,
}

/// The whole chain, by the parameters that the vector file names.
fn decode(capture: &[u8], vectors: &Value) -> Found {
    let config = &vectors["config"];
    let number = |value: &Value| value.as_u64().expect("a number") as usize;
    let mut spec = FrameSpec::aos(number(&config["frame_len"]));
    spec.insert_zone_len = number(&config["insert_zone"]);
    spec.trailer_len = number(&config["trailer"]);
    spec.validate().expect("a spacecraft flies it");
    let block_len = number(&config["cadu_len_without_asm"]);
    let rs = RsSpec {
        e: RsE::E16,
        interleave: number(&config["interleave"]) as u8,
        virtual_fill: 0,
        basis: Basis::Dual,
    };
    let mut decoder = ReedSolomon::new(rs).expect("a code of the standard");
    let derandomizer = Derandomizer::new(Randomizer::Legacy255, block_len);
    let marker = Marker::new(&[0x1A, 0xCF, 0xFC, 0x1D]).expect("the marker of the standard");
    let mut sync = FrameSync::new(SyncSpec::ccsds(marker, block_len)).expect("valid parameters");

    let mut found = Found::default();
    let mut channel = MasterChannel::default();
    let mut block = vec![0; block_len];
    let mut blocks = 0..;
    let mut take = |data: &[u8]| {
        let index = blocks.next().expect("blocks without end");
        derandomizer.apply_to(data, &mut block);
        let verdict = decoder.decode(&mut block);
        if verdict.codewords_failed > 0 {
            found.uncorrectable += 1;
            return;
        }
        found.corrected += u64::from(verdict.symbols_corrected > 0);
        found.symbols_corrected += u64::from(verdict.symbols_corrected);
        let octets = &block[..spec.frame_len];
        found.frames_sha256.update(octets);
        found.good.insert(index, octets.to_vec());
        let frame = Frame::parse(&spec, octets).expect("a frame that the code vouches for");
        let key = format!("{}:{}:{}", frame.gvcid.tfvn, frame.gvcid.scid, frame.gvcid.vcid);
        *found.frames.entry(key).or_default() += 1;
        let continuity = channel.observe(&frame, Tai(0)).virtual_channel;
        assert!(!matches!(continuity, Continuity::Duplicate | Continuity::Reset), "{continuity:?}");
        assert_eq!(continuity == Continuity::Uncounted, frame.idle);
        found.lost_frames += continuity.lost();
        if frame.idle {
            return;
        }
        let vcid = frame.gvcid.vcid;
        let zone = match frame.packet_zone() {
            Ok(zone) => zone.expect("every channel of these spacecraft is read as packets"),
            // One channel of one of them carries no M_PDUs; what it carries is not looked into.
            Err(invalid) => {
                return assert!(
                    matches!(invalid, fep_ccsds::FrameInvalid::FirstHeaderPointer { .. }),
                    "{invalid}"
                );
            }
        };
        let tracker = found.trackers.entry(vcid).or_default();
        let packets = &mut found.packets;
        found.assemblers.entry(vcid).or_default().push(
            zone.first_header_pointer,
            zone.data,
            continuity,
            &mut |event| {
                let (PacketEvent::Packet { bytes, .. } | PacketEvent::Idle { packet: Some(bytes), .. }) =
                    event
                else {
                    return;
                };
                let header = SpacePacketHeader::parse(bytes).expect("these spacecraft send space packets");
                tracker.observe(&header, bytes.len());
                packets.entry((vcid, header.apid)).or_default().update(bytes);
            },
        );
    };
    // In odd pieces, as a socket would give them.
    for piece in capture.chunks(7001) {
        sync.push(piece, &mut |block| take(block.data));
    }
    sync.finish(&mut |block| take(block.data));
    found
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Number, octets, breaks of sequence and digest of the packets of each application process.
fn digests(found: &Found) -> Digests {
    let mut digests = Vec::new();
    for ((vcid, apid), digest) in &found.packets {
        let counters = found.trackers[vcid].counters(*apid).expect("it was seen");
        let row = (counters.packets, counters.octets, counters.gaps, hex(digest.clone()));
        digests.push(((*vcid).into(), (*apid).into(), row.0, row.1, row.2, row.3));
    }
    digests
}

/// As the vector file tells them.
fn digests_of(vectors: &Value) -> Digests {
    let row = |entry: &Value| {
        let number = |name: &str| entry[name].as_u64().expect("a number");
        let digest = entry["sha256_concat"].as_str().expect("a digest").to_owned();
        (number("vcid"), number("apid"), number("packets"), number("bytes"), number("seq_gaps"), digest)
    };
    vectors["packets"]["per_vcid_apid"].as_array().expect("a list").iter().map(row).collect()
}

/// The packets of one virtual channel of an undamaged recording that touch none of the blocks `lost`, each taken by its
/// length from where the one before ended.
fn surviving(good: &BTreeMap<usize, Vec<u8>>, vcid: u8, blocks: usize, lost: &[usize]) -> Digests {
    let mut stream = Vec::new();
    let mut origin = Vec::new();
    let mut at = None;
    for (index, frame) in good.range(..blocks).filter(|(_, frame)| frame[1] & 0x3F == vcid) {
        let pointer = usize::from(u16::from_be_bytes([frame[6], frame[7]]) & 0x7FF);
        if at.is_none() && pointer != 0x7FF {
            at = Some(stream.len() + pointer);
        }
        stream.extend_from_slice(&frame[8..]);
        origin.resize(stream.len(), *index);
    }
    let mut at = at.expect("a packet starts somewhere");
    let mut by_apid: BTreeMap<u16, (u64, u64, u64, Sha256, Option<u16>)> = BTreeMap::new();
    while let Some(header) = stream.get(at..at + 6) {
        let word = |offset: usize| u16::from_be_bytes([header[offset], header[offset + 1]]);
        let end = at + 7 + usize::from(word(4));
        let Some(packet) = stream.get(at..end) else { break };
        if !origin[at..end].iter().any(|index| lost.contains(index)) {
            let entry = by_apid.entry(word(0) & 0x7FF).or_default();
            let count = word(2) & 0x3FFF;
            let breaks = entry.4.is_some_and(|last| count != (last + 1) & 0x3FFF);
            entry.0 += 1;
            entry.1 += packet.len() as u64;
            entry.2 += u64::from(breaks);
            entry.3.update(packet);
            entry.4 = Some(count);
        }
        at = end;
    }
    let row = |(apid, (packets, octets, gaps, digest, _))| {
        (u64::from(vcid), u64::from(apid), packets, octets, gaps, hex(digest))
    };
    by_apid.into_iter().map(row).collect()
}

/// Decodes a recording and compares its frames with the vectors.
fn decoded(capture: &Path, vectors: &str) -> (Found, Value) {
    let octets = std::fs::read(capture).unwrap_or_else(|error| panic!("{}: {error}", capture.display()));
    let text = std::fs::read_to_string(golden(vectors)).expect("the vector file is there");
    let vectors: Value = serde_json::from_str(&text).expect("vector files are JSON");
    assert_eq!(
        hex(Sha256::new_with_prefix(&octets)),
        vectors["capture_sha256"],
        "not the recording of the vectors"
    );
    let found = decode(&octets, &vectors);
    let frames = &vectors["rs_all_frames_rs2"];
    assert_eq!(found.uncorrectable, frames["frames_uncorrectable"]);
    assert_eq!(found.corrected, frames["frames_corrected"]);
    assert_eq!(hex(found.frames_sha256.clone()), frames["good_frames_concat_sha256"]);
    let channels = frames["by_version:scid:vcid"].as_object().expect("channels");
    let expected: BTreeMap<String, u64> = channels
        .iter()
        .filter(|(channel, _)| *channel != "uncorrectable")
        .map(|(channel, count)| {
            let count = |name: &str| count[name].as_u64().expect("a count");
            (channel.clone(), count("ok") + count("corrected"))
        })
        .collect();
    assert_eq!(found.frames, expected);
    assert_eq!(found.lost_frames > 0, found.uncorrectable > 0);
    for assembler in found.assemblers.values() {
        let counters = assembler.counters();
        let out = counters.packet_octets + counters.idle_octets + counters.discarded_total();
        assert_eq!(counters.octets_in, out + assembler.held() as u64);
    }
    (found, vectors)
}

fn assert_agrees(name: &str) {
    let (found, vectors) = decoded(&shipped(&format!("{name}.dat")), &format!("{name}.json"));
    assert_eq!(digests(&found), digests_of(&vectors));
}

/// The damaged recording must give what survives of the undamaged one, and no less than the vectors' program found.
fn assert_survivors(damaged: &str, undamaged: &str, vcid: u8) {
    let (found, vectors) = decoded(&golden(&format!("{damaged}.dat")), &format!("{damaged}.json"));
    let (whole, _) = decoded(&shipped(&format!("{undamaged}.dat")), &format!("{undamaged}.json"));
    let lost: Vec<usize> = vectors["rs_all_frames_rs2"]["uncorrectable_block_indexes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|index| index.as_u64().expect("a number") as usize)
        .collect();
    assert!(!lost.is_empty());
    let blocks = vectors["sync"]["blocks"].as_u64().expect("a number") as usize;
    let expected = surviving(&whole.good, vcid, blocks, &lost);
    assert!(!expected.is_empty());
    let ours: Digests = digests(&found).into_iter().filter(|row| row.0 == u64::from(vcid)).collect();
    assert_eq!(ours, expected);
    let count = |rows: &Digests| rows.iter().map(|row| row.2).sum::<u64>();
    assert!(count(&ours) >= count(&digests_of(&vectors)));
}

// REQ: FEP-FRAME-017, FEP-PKT-012
#[test]
fn the_packets_of_npp_are_those_that_other_programs_found() {
    assert_agrees("npp.20241206T173815");
}

#[test]
fn the_packets_of_noaa20_are_those_that_other_programs_found() {
    assert_agrees("noaa20.20241206T162710");
}

#[test]
fn the_packets_of_aqua_are_those_that_other_programs_found() {
    assert_agrees("aqua.20241206T175646");
}

#[test]
fn the_packets_of_metopb_are_those_that_other_programs_found() {
    assert_agrees("metopb.20241206T152751");
}

// REQ: FEP-PKT-012
#[test]
fn of_a_damaged_aqua_recording_every_packet_survives_that_touches_no_lost_frame() {
    assert_survivors("aqua_errors", "aqua.20241206T175646", 30);
}

// REQ: FEP-PKT-012
#[test]
fn of_a_damaged_npp_recording_every_packet_survives_that_touches_no_lost_frame() {
    assert_survivors("npp_errors", "npp.20241206T173815", 16);
}
