//! What the rows of the index say: packets with their secondary headers, and the open tail.

use crate::support::{self, MS, Recorder, SCID, START, archive, catalogue_at, layouts, tm_frame};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use fep_bus::{Producer, RingSpec};
use fep_catalogue::{
    Colour, FrameRow, Ingest, IngestConfig, PacketRow, SegmentFilter, Store, StoreConfig, TailSnapshot,
};
use fep_ccsds::Gvcid;
use fep_record::{FrameFlags, PacketRecord, Session};
use fep_time::{LeapSeconds, Tai};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn read(path: &std::path::Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn i32s(batch: &RecordBatch, name: &str) -> Vec<Option<i32>> {
    batch.column_by_name(name).unwrap().as_primitive::<Int32Type>().iter().collect()
}

fn i64s(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().collect()
}

/// A telemetry packet with these octets in its data field.
fn packet(scid: u16, apid: u16, count: u16, data_field: &[u8]) -> (PacketRecord, i64, Vec<u8>) {
    let record = PacketRecord {
        gvcid: Gvcid { tfvn: 1, scid, vcid: 5 },
        apid,
        sequence: 3 << 14 | count,
        link_id: 9,
        session: Session::Test,
        pvn: 0,
        frame_seq: 4_000_000_000,
        flags: FrameFlags::CODED | FrameFlags::CORRECTED,
    };
    let mut octets = Vec::new();
    octets.extend_from_slice(&(0x0800 | apid).to_be_bytes());
    octets.extend_from_slice(&record.sequence.to_be_bytes());
    octets.extend_from_slice(&(data_field.len() as u16 - 1).to_be_bytes());
    octets.extend_from_slice(data_field);
    (record, START + i64::from(count) * MS, octets)
}

// REQ: FEP-ARC-041
// REQ: FEP-ARC-061
#[tokio::test]
async fn packets_are_indexed_with_type_and_on_board_time_as_the_mission_has_them() {
    let directory = tempfile::tempdir().unwrap();
    let packets = serde_json::from_str(
        r#"{"673": {"all": {"kind": "pus_c", "time": {"code": "cuc", "coarse_octets": 4, "fine_octets": 3}},
                    "apids": {"8": {"kind": "none"}}},
            "157": {"all": {"kind": "time", "time": {"code": "cds", "sub_millisecond_octets": 2}}}}"#,
    )
    .unwrap();
    let config = IngestConfig {
        archive: directory.path().to_owned(),
        bus: None,
        tail: false,
        tail_limits: Default::default(),
        packets,
        service: String::new(),
    };
    let catalogue = catalogue_at(directory.path()).await;
    let store = Store::open(&StoreConfig::directory(directory.path())).unwrap();
    let mut ingest = Ingest::open(config, catalogue.clone(), store).await.unwrap();
    // PUS version 2, service 3, subtype 25, then 0x12345678.25 s of TAI.
    let pus = [0x20, 3, 25, 0, 1, 0, 0, 0x12, 0x34, 0x56, 0x78, 0x40, 0, 0, 0xAA];
    // Day 24000 since 1958, 43 200 000 ms, 500 µs.
    let cds = [0x5D, 0xC0, 0x02, 0x93, 0x2E, 0x00, 0x01, 0xF4, 0xBB];
    let recorded = [
        packet(SCID, 7, 0, &pus),
        packet(SCID, 8, 1, &pus),
        packet(157, 7, 2, &cds),
        packet(1, 7, 3, &pus),
        // Too short for what its mission says: the time stays open.
        packet(157, 7, 4, &[0x5D]),
    ];
    Recorder::new(directory.path(), "one.packets").packets(&recorded);
    let step = ingest.step().await.unwrap();
    assert_eq!(step.refused, []);
    let segment = catalogue.segments(&SegmentFilter::default()).await.unwrap().remove(0);
    let batch = read(&directory.path().join(&segment.packets_index.unwrap().key));
    assert_eq!(batch.schema(), PacketRow::schema());
    assert_eq!(i32s(&batch, "service"), [Some(3), None, None, None, None]);
    assert_eq!(i32s(&batch, "subtype"), [Some(25), None, None, None, None]);
    let cuc_ns = 0x1234_5678 * 1_000_000_000 + 250_000_000;
    let utc = fep_time::Utc::from_day_and_ns(24_000, 43_200_000 * MS + 500_000).unwrap();
    let cds_ns = LeapSeconds::builtin().tai(utc).unwrap().0;
    assert_eq!(i64s(&batch, "onboard_tai_ns"), [Some(cuc_ns), None, Some(cds_ns), None, None]);
    assert_eq!(i32s(&batch, "apid"), [Some(7), Some(8), Some(7), Some(7), Some(7)]);
    assert_eq!(i32s(&batch, "sequence_count"), [Some(0), Some(1), Some(2), Some(3), Some(4)]);
    assert_eq!(i32s(&batch, "sequence_flags"), [Some(3); 5]);
    assert_eq!(i32s(&batch, "quality"), [Some(2); 5]);
    assert_eq!(i32s(&batch, "session"), [Some(1); 5]);
    // Where in the file each packet is.
    let file = std::fs::read(directory.path().join(format!("{}.seg", segment.facts.id()))).unwrap();
    for ((offset, len), (.., octets)) in i64s(&batch, "offset").iter().zip(i32s(&batch, "len")).zip(&recorded)
    {
        let from = offset.unwrap() as usize + 64;
        assert_eq!(&file[from..from + len.unwrap() as usize], octets);
    }
    assert_eq!(i64s(&batch, "frame_seq"), [Some(4_000_000_000); 5]);
    let utc_us = batch.column_by_name("rx_utc").unwrap().as_primitive::<TimestampMicrosecondType>().value(0);
    let expected = LeapSeconds::builtin().utc(Tai(START)).unwrap();
    assert_eq!(
        utc_us,
        (i64::from(expected.day_since_1958()) - 4383) * 86_400_000_000 + expected.ns_of_day() / 1000
    );
}

// REQ: FEP-ARC-061
#[test]
fn missions_that_describe_the_packets_of_one_spacecraft_differently_are_refused() {
    let mission = |name: &str, packets: &str| {
        let text = format!(
            "title = \"t\"\n[spacecraft.s]\nscid = 42\n{packets}\n[channel.c]\nspacecraft = \"s\"\nrandomizer = \"none\"\n\
             frame = {{ kind = \"tm\", frame_len = 100 }}\nsync = {{ marker = \"1acffc1d\" }}\ncode = {{ code = \"none\" }}\n\
             vc = [{{ id = 0, service = \"packets\" }}]\n"
        );
        fep_mission::load_text(name, "m.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let (pus, other) = (
        r#"packets.all = { kind = "pus_c" }"#,
        r#"packets.all = { kind = "none" }
packets.apids.7 = { kind = "pus_c" }"#,
    );
    let layouts =
        |second: &str| fep_catalogue::PacketLayouts::of_missions(&[mission("a", pus), mission("b", second)]);
    assert_eq!(
        layouts("").unwrap().fleet().layouts().len(),
        1,
        "a mission that says nothing contradicts nobody"
    );
    assert_eq!(layouts(pus).unwrap().fleet().layouts().len(), 1);
    let error = layouts(other).unwrap_err().to_string();
    assert!(error.contains("mission b") && error.contains("SCID 42"), "{error}");
}

fn tail_counts(snapshot: &TailSnapshot) -> Vec<i64> {
    snapshot.frames().flat_map(|(_, _, piece)| i64s(&piece.batch().unwrap(), "seq")).flatten().collect()
}

// REQ: FEP-ARC-060
#[tokio::test]
async fn records_in_the_ring_alone_can_be_asked_for_and_go_when_their_segment_is_catalogued() {
    let directory = tempfile::tempdir().unwrap();
    let bus = tempfile::tempdir_in("/dev/shm").unwrap();
    let spec = RingSpec {
        desc_log2: 10,
        data_len: 1 << 20,
        extent_len: 64 << 10,
        payload_max: 2000,
        ..RingSpec::new("one.frames", "ccsds.v1")
    };
    let mut producer = Producer::create_or_attach(bus.path(), &spec).unwrap();
    let frames: Vec<_> =
        (0..100).map(|count| tm_frame(1, 0, count, START + count as i64 * 10 * MS)).collect();
    for frame in &frames {
        producer.publish(frame.tag(), &frame.octets).unwrap();
    }
    // The stream's directory is what the recorder makes first.
    std::fs::create_dir_all(directory.path().join("black/one.frames")).unwrap();
    let config = IngestConfig {
        archive: directory.path().to_owned(),
        bus: Some(bus.path().to_owned()),
        tail: true,
        tail_limits: Default::default(),
        packets: layouts(),
        service: String::new(),
    };
    let catalogue = catalogue_at(directory.path()).await;
    let store = Store::open(&StoreConfig::directory(directory.path())).unwrap();
    let mut ingest = Ingest::open(config, catalogue.clone(), store).await.unwrap();
    let tail = ingest.tail();
    let step = ingest.step().await.unwrap();
    assert_eq!(step.tail_records, 100);
    let snapshot = tail.snapshot();
    assert_eq!(tail_counts(&snapshot), (1..=100).collect::<Vec<_>>());
    for (colour, ring, piece) in snapshot.frames() {
        let batch = piece.batch().unwrap();
        assert_eq!((colour, ring), (Colour::Black, "one.frames"));
        assert_eq!(batch.schema(), FrameRow::schema());
        // They have no place in a file yet.
        assert!(i64s(&batch, "offset").iter().all(|offset| *offset == Some(-1)));
    }
    // A reader that took the snapshot first and finds a segment in the catalogue drops what that one has.
    let mut snapshot = snapshot;
    let series = snapshot.frames().next().unwrap().2.series();
    snapshot.drop_before(Colour::Black, "one.frames", series, 61);
    assert_eq!(tail_counts(&snapshot), (61..=100).collect::<Vec<_>>());
    assert_eq!(tail.rows(), 100);
}

// REQ: FEP-ARC-162
#[tokio::test]
async fn services_of_different_names_and_a_red_one_beside_a_black_one_follow_one_bus() {
    let directory = tempfile::tempdir().unwrap();
    let bus = tempfile::tempdir().unwrap();
    let spec = RingSpec {
        desc_log2: 10,
        data_len: 1 << 20,
        extent_len: 64 << 10,
        payload_max: 2000,
        ..RingSpec::new("one.frames", "ccsds.v1")
    };
    let mut producer = Producer::create_or_attach(bus.path(), &spec).unwrap();
    for frame in frames(0, 100) {
        producer.publish(frame.tag(), &frame.octets).unwrap();
    }
    std::fs::create_dir_all(directory.path().join("black/one.frames")).unwrap();
    let open = async |service: &str, red: bool| {
        // Each has a catalogue and a store of its own.
        let own = tempfile::tempdir().unwrap();
        let config = IngestConfig {
            archive: directory.path().to_owned(),
            bus: Some(bus.path().to_owned()),
            tail: true,
            service: service.to_owned(),
            ..support::ingest_config(directory.path())
        };
        let catalogue = catalogue_at(own.path()).await;
        let catalogue = if red { catalogue } else { catalogue.black_only() };
        let store = Store::open(&StoreConfig::directory(own.path())).unwrap();
        (Ingest::open(config, catalogue, store).await.unwrap(), own)
    };
    let mut running = Vec::new();
    for (service, red) in [("", false), ("", true), ("second", false), ("second", true), ("a", false)] {
        let (mut ingest, own) = open(service, red).await;
        let step = ingest.step().await.unwrap();
        assert_eq!((step.tail_records, ingest.unfollowed().count()), (100, 0), "{service:?} {red}");
        running.push((ingest, own));
    }
    let (mut doubled, _own) = open("second", false).await;
    doubled.step().await.unwrap();
    assert_eq!(doubled.unfollowed().count(), 1, "a name has one reader at a time");
}

/// An archive that keeps the tail.
async fn watching() -> support::Archive {
    let mut archive = archive().await;
    let config = IngestConfig { tail: true, ..support::ingest_config(archive.root()) };
    archive.ingest = Ingest::open(config, archive.catalogue.clone(), archive.store.clone()).await.unwrap();
    archive
}

fn frames(from: u64, to: u64) -> Vec<support::TestFrame> {
    (from..to).map(|count| tm_frame(1, 0, count, START + count as i64 * 10 * MS)).collect()
}

// REQ: FEP-ARC-060
#[tokio::test]
async fn a_growing_segment_is_in_the_tail_and_once_sealed_in_the_catalogue_alone() {
    let mut archive = watching().await;
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    recorder.frames(&frames(0, 50));
    let growing = recorder.growing(&frames(50, 80));
    let tail = archive.ingest.tail();
    let step = archive.ingest.step().await.unwrap();
    assert_eq!((step.segments.len(), step.tail_records), (1, 30));
    assert_eq!(tail_counts(&tail.snapshot()), (51..=80).collect::<Vec<_>>());
    assert_eq!(tail.earliest_rx_tai_ns(), Some(START + 50 * 10 * MS));
    recorder.seal(growing);
    let step = archive.ingest.step().await.unwrap();
    assert_eq!(step.segments.len(), 1);
    assert_eq!((tail.rows(), tail.earliest_rx_tai_ns()), (0, None));
    assert_eq!(archive.catalogue.totals().await.unwrap().frames, 80);
}

// REQ: FEP-ARC-063
#[tokio::test]
async fn every_row_arrives_once_and_in_order_however_soon_its_segment_is_sealed() {
    let mut archive = watching().await;
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    let tail = archive.ingest.tail();
    let mut arrivals = tail.arrivals();
    let mut growing = recorder.growing(&frames(0, 30));
    archive.ingest.step().await.unwrap();
    // The rest of it, and another segment, are sealed before anybody has seen a record of them.
    for frame in frames(30, 50) {
        growing.record(frame.tag(), &frame.octets).unwrap();
    }
    recorder.seal(growing);
    recorder.frames(&frames(50, 70));
    let growing = recorder.growing(&frames(70, 75));
    archive.ingest.step().await.unwrap();
    assert_eq!(tail_counts(&tail.snapshot()), (71..=75).collect::<Vec<_>>(), "the catalogue has the others");
    drop((growing, archive, tail));
    let mut came = Vec::new();
    while let Some(arrival) = arrivals.next().await {
        assert_eq!((arrival.colour, arrival.ring.as_str()), (Colour::Black, "one.frames"));
        came.extend(i64s(&arrival.frames.unwrap(), "seq").into_iter().flatten());
    }
    assert_eq!((came, arrivals.take_missed()), ((1..=75).collect(), 0));
}
