//! Packets of segments of frames whose packets were not recorded: the index that is made of them.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use fep_catalogue::{PacketLayouts, SegmentFilter};
use fep_ccsds::Gvcid;
use fep_mission::Fleet;
use fep_record::{FrameFlags, FrameRecord, PacketRecord};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use crate::support::{Archive, MS, Recorder, START, TestFrame, catalogue_at, ingest_config};

const SCID: u16 = 42;
const FRAME_LEN: usize = 60;
const ZONE_LEN: usize = FRAME_LEN - 8;

fn layouts() -> PacketLayouts {
    let text = format!(
        "title = \"t\"\n[spacecraft.s]\nscid = {SCID}\npackets.all = {{ kind = \"pus_c\" }}\n[channel.c]\n\
         spacecraft = \"s\"\nrandomizer = \"none\"\nframe = {{ kind = \"tm\", frame_len = {FRAME_LEN}, fecf = \"crc16\" }}\n\
         sync = {{ marker = \"1acffc1d\" }}\ncode = {{ code = \"none\" }}\n\
         vc = [{{ id = 0, service = \"packets\" }}, {{ id = 1, service = \"packets\" }}]\n"
    );
    let mission = fep_mission::load_text("m", "m.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    PacketLayouts::from(Fleet::of([&mission]).unwrap())
}

/// A space packet of `len` octets with a PUS header of service 3.
fn packet(apid: u16, count: u16, len: usize) -> Vec<u8> {
    let mut octets = vec![0x08 | (apid >> 8) as u8, apid as u8, 0xC0 | (count >> 8) as u8, count as u8];
    octets.extend(((len - 7) as u16).to_be_bytes());
    octets.extend([0x20, 3, 25, 0, 0, 0, 0]);
    octets.resize(len.max(13), count as u8);
    octets.truncate(len);
    octets
}

/// The frames of a virtual channel with these packets, filled up with idle packets.
fn frames_of(vcid: u8, packets: &[Vec<u8>]) -> Vec<TestFrame> {
    let mut stream = packets.concat();
    let mut starts: Vec<usize> =
        packets.iter().scan(0, |at, packet| Some(std::mem::replace(at, *at + packet.len()))).collect();
    let mut fill = stream.len().next_multiple_of(ZONE_LEN) - stream.len();
    while fill > 0 && fill < 7 {
        fill += ZONE_LEN;
    }
    if fill > 0 {
        starts.push(stream.len());
        let mut idle = vec![0x07, 0xFF, 0xC0, 0];
        idle.extend(((fill - 7) as u16).to_be_bytes());
        idle.resize(fill, 0xAA);
        stream.extend(idle);
    }
    let zones = stream.chunks(ZONE_LEN).enumerate();
    zones
        .map(|(number, zone)| {
            let from = number * ZONE_LEN;
            let start = starts.iter().find(|start| (from..from + ZONE_LEN).contains(*start));
            let pointer = start.map_or(0x7FF, |start| (start - from) as u16);
            let mut octets = (SCID << 4 | u16::from(vcid) << 1).to_be_bytes().to_vec();
            octets.extend([0, number as u8]);
            octets.extend((0x1800 | pointer).to_be_bytes());
            octets.extend_from_slice(zone);
            // Its check is looked at once, to find out which mission describes it.
            let crc = crc16(&octets);
            octets.extend(crc.to_be_bytes());
            TestFrame {
                record: FrameRecord {
                    gvcid: Gvcid { tfvn: 0, scid: SCID, vcid },
                    frame_count: (number % 256) as u32,
                    flags: FrameFlags::CODED,
                    link_id: 5,
                    ..FrameRecord::default()
                },
                rx_tai_ns: 0,
                octets,
            }
        })
        .collect()
}

/// CRC-CCITT bit by bit (132.0-B-3 4.1.6.2).
fn crc16(octets: &[u8]) -> u16 {
    octets.iter().fold(0xFFFF, |crc, octet| {
        (0..8).fold(crc ^ u16::from(*octet) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

/// Two channels, frame by frame in turn.
fn traffic(packets: [&[Vec<u8>]; 2]) -> Vec<TestFrame> {
    let mut channels = [frames_of(0, packets[0]).into_iter(), frames_of(1, packets[1]).into_iter()];
    let mut frames = Vec::new();
    while channels.iter().any(|channel| channel.len() > 0) {
        for channel in &mut channels {
            frames.extend(channel.next());
        }
    }
    for (number, frame) in frames.iter_mut().enumerate() {
        frame.rx_tai_ns = START + number as i64 * MS;
    }
    frames
}

async fn archive() -> Archive {
    let directory = tempfile::tempdir().unwrap();
    let catalogue = catalogue_at(directory.path()).await;
    std::fs::create_dir(directory.path().join("store")).unwrap();
    let store =
        fep_catalogue::Store::open(&fep_catalogue::StoreConfig::directory(&directory.path().join("store")))
            .unwrap();
    let config = fep_catalogue::IngestConfig { packets: layouts(), ..ingest_config(directory.path()) };
    let ingest = fep_catalogue::Ingest::open(config, catalogue.clone(), store.clone()).await.unwrap();
    Archive { directory, catalogue, store, ingest }
}

/// Takes in what there is until there is nothing more to do; returns the segments whose packets were taken out later.
async fn take_in(archive: &mut Archive) -> usize {
    let (mut extracted, mut idle) = (0, 0);
    while idle < 3 {
        let step = archive.ingest.step().await.unwrap();
        assert!(step.refused.is_empty(), "{step:?}");
        extracted += step.extracted.len();
        idle = if step.is_idle() { idle + 1 } else { 0 };
    }
    extracted
}

fn read(path: &Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(|batch| batch.unwrap()).collect()
}

/// VCID, APID, sequence count and length of the packets in the index, in order, without idle ones.
async fn indexed(archive: &Archive, ring: &str) -> Vec<(i32, i32, i32, i32)> {
    let filter = SegmentFilter { ring: Some(ring.to_owned()), ..SegmentFilter::default() };
    let mut rows = Vec::new();
    for segment in archive.catalogue.segments(&filter).await.unwrap() {
        let index = segment.packets_index.expect("its packets have been taken out");
        assert_eq!(index.rows, segment.packets);
        for batch in read(&archive.root().join("store").join(&index.key)) {
            let column = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>().clone();
            let wide = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
            let idle = batch.column_by_name("idle").unwrap().as_boolean().clone();
            let (vcid, apid, count, len) =
                (column("vcid"), column("apid"), column("sequence_count"), column("len"));
            for row in (0..batch.num_rows()).filter(|row| !idle.value(*row)) {
                assert_eq!(
                    column("service").value(row),
                    3,
                    "its secondary header is read as the mission says"
                );
                assert!(wide("segment").value(row) as u64 <= segment.facts.base_pos);
                assert_eq!(wide("frame_seq").value(row), wide("seq").value(row));
                rows.push((vcid.value(row), apid.value(row), count.value(row), len.value(row)));
            }
        }
    }
    rows
}

fn expected(vcid: i32, packets: &[Vec<u8>]) -> Vec<(i32, i32, i32, i32)> {
    let row = |packet: &Vec<u8>| {
        let number = |at: usize| i32::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
        (vcid, number(0) & 0x7FF, number(2) & 0x3FFF, packet.len() as i32)
    };
    packets.iter().map(row).collect()
}

fn of_channel(rows: &[(i32, i32, i32, i32)], vcid: i32) -> Vec<(i32, i32, i32, i32)> {
    rows.iter().copied().filter(|row| row.0 == vcid).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    // REQ: FEP-ARC-225
    #[test]
    fn wherever_segments_are_cut_and_whenever_they_are_taken_in_every_packet_is_indexed_once(
        lens in prop::collection::vec(13usize..700, 2..8), cuts in prop::collection::btree_set(1usize..60, 0..8),
        early in any::<bool>(),
    ) {
        let numbered = || lens.iter().zip(0u16..);
        let black: Vec<Vec<u8>> = numbered().map(|(len, count)| packet(100 + count % 2, count, *len)).collect();
        let other: Vec<Vec<u8>> = numbered().map(|(len, count)| packet(200, count, 713 - *len)).collect();
        let frames = traffic([&black, &other]);
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let mut archive = archive().await;
            let mut recorder = Recorder::new(archive.root(), "one.frames");
            if early {
                take_in(&mut archive).await;
            }
            let cuts: BTreeSet<usize> = cuts.into_iter().filter(|cut| *cut < frames.len()).chain([frames.len()]).collect();
            let mut from = 0;
            for cut in &cuts {
                recorder.frames(&frames[from..*cut]);
                from = *cut;
                if early {
                    take_in(&mut archive).await;
                }
            }
            let later = take_in(&mut archive).await;
            assert_eq!(later, if early { 0 } else { cuts.len() }, "taken in with the packets, or these after it");
            let rows = indexed(&archive, "one.frames").await;
            assert_eq!(of_channel(&rows, 0), expected(0, &black));
            assert_eq!(of_channel(&rows, 1), expected(1, &other));
            assert_eq!(take_in(&mut archive).await, 0, "nothing is done twice");
        });
    }
}

// REQ: FEP-ARC-226
#[tokio::test]
async fn where_packets_of_the_link_were_recorded_they_are_used_and_elsewhere_the_frames_are() {
    let mut archive = archive().await;
    let packets: Vec<Vec<u8>> = (0..20).map(|count| packet(100, count, 150)).collect();
    let frames = traffic([&packets, &packets]);
    let recorded = |rx_tai_ns: i64| {
        let record = PacketRecord {
            gvcid: Gvcid { tfvn: 0, scid: SCID, vcid: 0 },
            apid: 100,
            link_id: 5,
            flags: FrameFlags::CODED,
            ..PacketRecord::default()
        };
        (record, rx_tai_ns, packets[0].clone())
    };
    // Antenna 5 of a group: its frames beside the packets of the group, which came by it. A day later only frames.
    let mut antenna = Recorder::new(archive.root(), "antenna.frames");
    let day = 86_400_000 * MS;
    let path = antenna.frames(&frames);
    let mut group = Recorder::new(archive.root(), "group.packets");
    group.packets(&[recorded(START), recorded(START + 100 * MS)]);
    let later: Vec<TestFrame> =
        frames.iter().map(|frame| TestFrame { rx_tai_ns: frame.rx_tai_ns + day, ..frame.clone() }).collect();
    antenna.frames(&later);
    // A spacecraft that no mission describes is archived, too.
    let mut stranger = Recorder::new(archive.root(), "stranger.frames");
    stranger.frames(&[crate::support::tm_frame(9, 0, 1, START)]);
    assert_eq!(take_in(&mut archive).await, 1, "of the day without recorded packets");
    let all = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let with_packets: Vec<(&str, bool, bool)> = all
        .iter()
        .map(|segment| {
            let is_first =
                path.ends_with(format!("{}.seg", segment.facts.id().0.rsplit('/').next().unwrap()));
            (segment.facts.ring.as_str(), is_first, segment.packets_index.is_some())
        })
        .collect();
    assert_eq!(
        with_packets,
        [
            ("antenna.frames", true, false),
            ("antenna.frames", false, true),
            ("group.packets", true, true),
            ("stranger.frames", true, false)
        ]
    );
}

// REQ: FEP-ARC-225
#[tokio::test]
async fn an_index_of_extracted_packets_that_is_lost_is_made_again_octet_by_octet() {
    let mut archive = archive().await;
    let packets: Vec<Vec<u8>> = (0..40).map(|count| packet(100, count, 400)).collect();
    let frames = traffic([&packets, &packets]);
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    for part in frames.chunks(50) {
        recorder.frames(part);
    }
    take_in(&mut archive).await;
    let rows = indexed(&archive, "one.frames").await;
    assert_eq!(of_channel(&rows, 1), expected(1, &packets));
    let segments = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    assert!(segments.len() > 4);
    let keeper = fep_catalogue::Keeper::new(
        archive.root(),
        archive.catalogue.clone(),
        archive.store.clone(),
        layouts(),
    );
    let file = archive.root().join("store").join(&segments[3].packets_index.as_ref().unwrap().key);
    let before = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let report = keeper.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap();
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert!(report.findings[0].repaired);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    // One of a restart, too: found missing, made again.
    std::fs::remove_file(&file).unwrap();
    let config = fep_catalogue::IngestConfig { packets: layouts(), ..ingest_config(archive.root()) };
    archive.ingest =
        fep_catalogue::Ingest::open(config, archive.catalogue.clone(), archive.store.clone()).await.unwrap();
    take_in(&mut archive).await;
    assert_eq!(std::fs::read(&file).unwrap(), before);
}
