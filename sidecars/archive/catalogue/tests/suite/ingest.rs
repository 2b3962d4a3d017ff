//! Segments into catalogue and index: once, twice, in any order, after deletions, from nothing.

use crate::support::{
    self, Archive, MS, Recorder, SCID, START, archive, bad_frame, catalogue_at, ingest_config, tm_frame,
};
use fep_catalogue::{
    Cause, CompletenessQuery, ContactFilter, FrameRow, GapFilter, GapState, Ingest, SegmentFilter,
    SegmentState, Silence, Store, StoreConfig,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

/// Frames of one channel at 100 a second.
fn pass(link: u16, vcid: u8, counts: impl IntoIterator<Item = u64>) -> Vec<support::TestFrame> {
    counts.into_iter().map(|count| tm_frame(link, vcid, count, START + count as i64 * 10 * MS)).collect()
}

async fn dump(archive: &Archive) -> Vec<String> {
    crate::dump::dump(&archive.catalogue).await
}

// REQ: FEP-ARC-041
#[tokio::test]
async fn a_sealed_segment_is_in_the_catalogue_with_an_index_of_every_frame() {
    let mut archive = archive().await;
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    let mut frames = pass(1, 0, 0..300);
    frames.push(bad_frame(1, START + 3000 * MS));
    recorder.frames(&frames);
    let step = archive.ingest.step().await.unwrap();
    assert_eq!(step.segments.len(), 1);
    assert!(step.refused.is_empty(), "{step:?}");
    assert!(archive.ingest.step().await.unwrap().is_idle());

    let segments = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let [segment] = segments.as_slice() else { panic!("{segments:?}") };
    assert_eq!((segment.frames, segment.packets, segment.state), (301, 0, SegmentState::Ok));
    assert_eq!(segment.first_rx_tai_ns, Some(START));
    let index = segment.frames_index.as_ref().unwrap();
    assert!(
        index.key.starts_with("index/v1/frames/colour=black/ring=one.frames/date=2026-11-26/"),
        "{}",
        index.key
    );

    // The rows say what was recorded, and where in the file each frame is.
    let file = std::fs::File::open(archive.root().join(&index.key)).unwrap();
    let batches: Vec<_> = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    let octets = std::fs::read(archive.root().join(format!("{}.seg", segment.facts.id()))).unwrap();
    let column = |name: &str| -> Vec<i64> {
        let array =
            arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Int64);
        array.unwrap().as_any().downcast_ref::<arrow::array::Int64Array>().unwrap().values().to_vec()
    };
    let (counts, offsets, lens, qualities) =
        (column("frame_count"), column("offset"), column("len"), column("quality"));
    assert_eq!(batch.num_rows(), 301);
    assert_eq!(batch.schema(), FrameRow::schema());
    for (row, frame) in frames.iter().enumerate() {
        let from = offsets[row] as usize + 64;
        assert_eq!(&octets[from..from + lens[row] as usize], frame.octets, "row {row}");
        assert_eq!(counts[row], i64::from(frame.record.frame_count));
    }
    assert_eq!((qualities[0], qualities[300]), (3, 0));
}

// REQ: FEP-ARC-042
#[tokio::test]
async fn gaps_within_and_between_segments_are_listed_with_their_counts() {
    let mut archive = archive().await;
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    recorder.frames(&pass(1, 0, (0..100).chain(110..200)));
    recorder.frames(&pass(1, 0, 205..300));
    archive.ingest.step().await.unwrap();
    let gaps = archive.catalogue.gaps(&GapFilter::default()).await.unwrap();
    let found: Vec<_> = gaps.iter().map(|gap| (gap.from_count, gap.to_count, gap.lost, gap.cause)).collect();
    assert_eq!(found, [(100, 109, 10, Cause::Loss), (200, 204, 5, Cause::Loss)]);
    assert!(gaps.iter().all(|gap| gap.state == GapState::Open));
    let contacts = archive.catalogue.contacts(&ContactFilter::default()).await.unwrap();
    let [contact] = contacts.as_slice() else { panic!("{contacts:?}") };
    assert_eq!(contact.presence.counts.units, 285);
    assert_eq!(contact.presence.last_rx_tai_ns, START + 2990 * MS);
}

// REQ: FEP-ARC-043
#[tokio::test]
async fn what_is_missing_between_two_contacts_was_not_lost() {
    let mut archive = archive().await;
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    recorder.frames(&pass(1, 0, 0..50));
    let later: Vec<_> = (0..50)
        .map(|count| tm_frame(1, 0, 90 + count, START + 5_400_000 * MS + count as i64 * 10 * MS))
        .collect();
    recorder.frames(&later);
    archive.ingest.step().await.unwrap();
    assert_eq!(archive.catalogue.gaps(&GapFilter::default()).await.unwrap(), []);
    assert_eq!(archive.catalogue.contacts(&ContactFilter::default()).await.unwrap().len(), 2);
    // Between the two there is none, and the search for its ends comes to an end.
    let between = ContactFilter {
        from_tai_ns: Some(START + 1_800_000 * MS),
        to_tai_ns: Some(START + 3_600_000 * MS),
        ..ContactFilter::default()
    };
    assert_eq!(archive.catalogue.contacts(&between).await.unwrap(), []);
}

// REQ: FEP-ARC-064
#[tokio::test]
async fn a_silence_within_a_span_is_told_by_link_and_over_all_links() {
    const SECOND: i64 = 1000 * MS;
    let mut archive = archive().await;
    let at = |link: u16, seconds: std::ops::Range<u64>| -> Vec<_> {
        seconds.map(|second| tm_frame(link, 0, second, START + second as i64 * SECOND)).collect()
    };
    // The first antenna is silent from 100 s to 900 s, the second hears the end of that.
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    recorder.frames(&at(1, 0..101));
    recorder.frames(&at(1, 900..1201));
    Recorder::new(archive.root(), "two.frames").frames(&at(2, 650..901));
    archive.ingest.step().await.unwrap();
    let query = CompletenessQuery {
        from_tai_ns: START,
        to_tai_ns: START + 1200 * SECOND,
        session: 0,
        scid: SCID,
        link: None,
        packets: false,
    };
    let silence = |link: Option<u16>, from: i64, to: i64| Silence {
        link,
        from_tai_ns: START + from * SECOND,
        to_tai_ns: START + to * SECOND,
    };
    let told = archive.catalogue.silences(&query).await.unwrap();
    assert_eq!(
        told,
        [silence(Some(1), 100, 900), silence(Some(2), 0, 650)],
        "together they were never silent for long"
    );
    let one = CompletenessQuery { link: Some(1), ..query };
    assert_eq!(archive.catalogue.silences(&one).await.unwrap(), [silence(Some(1), 100, 900)]);
    // A contact that was planned longer than anything came of it.
    let planned = CompletenessQuery { to_tai_ns: START + 2000 * SECOND, ..query };
    let told = archive.catalogue.silences(&planned).await.unwrap();
    assert_eq!(told[0], silence(None, 1200, 2000));
    // One of which nothing came at all.
    let (from, to) = (5000, 5300);
    let missed =
        CompletenessQuery { from_tai_ns: START + from * SECOND, to_tai_ns: START + to * SECOND, ..query };
    assert_eq!(archive.catalogue.silences(&missed).await.unwrap(), [silence(None, from, to)]);
}

// REQ: FEP-ARC-044
#[tokio::test]
async fn a_gap_that_another_antenna_received_is_filled_and_keeps_its_history() {
    let mut archive = archive().await;
    Recorder::new(archive.root(), "one.frames").frames(&pass(1, 0, (0..100).chain(110..200)));
    archive.ingest.step().await.unwrap();
    let [gap] = &archive.catalogue.gaps(&GapFilter::default()).await.unwrap()[..] else { panic!("one gap") };
    archive.catalogue.set_gap_state(&gap.id, GapState::Requested, "ada", "order 7", START).await.unwrap();
    // The second antenna holds the first half of the gap, then a third one the rest.
    Recorder::new(archive.root(), "two.frames").frames(&pass(2, 0, 50..105));
    archive.ingest.step().await.unwrap();
    assert_eq!(archive.catalogue.gap(&gap.id).await.unwrap().state, GapState::Requested);
    Recorder::new(archive.root(), "three.frames").frames(&pass(3, 0, 104..150));
    archive.ingest.step().await.unwrap();
    assert_eq!(archive.catalogue.gap(&gap.id).await.unwrap().state, GapState::Filled);
    let steps = archive.catalogue.gap_steps(&gap.id).await.unwrap();
    let moves: Vec<_> = steps.iter().map(|step| (step.person.as_str(), step.from, step.to)).collect();
    assert_eq!(
        moves,
        [("ada", GapState::Open, GapState::Requested), ("catalogue", GapState::Requested, GapState::Filled)]
    );
}

// REQ: FEP-ARC-045
#[tokio::test]
async fn a_deleted_index_file_is_made_again_to_the_octet() {
    let mut archive = archive().await;
    Recorder::new(archive.root(), "one.frames").frames(&pass(1, 0, 0..100));
    archive.ingest.step().await.unwrap();
    let before = dump(&archive).await;
    let segments = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let index = segments[0].frames_index.as_ref().unwrap();
    let path = archive.root().join(&index.key);
    let octets = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut again =
        Ingest::open(ingest_config(archive.root()), archive.catalogue.clone(), archive.store.clone())
            .await
            .unwrap();
    let step = again.step().await.unwrap();
    assert_eq!(step.repaired, [segments[0].facts.id()]);
    assert_eq!(std::fs::read(&path).unwrap(), octets);
    assert_eq!(dump(&archive).await, before);
}

// REQ: FEP-ARC-046
#[tokio::test]
async fn a_flipped_octet_in_a_sealed_segment_is_seen_and_the_rest_is_indexed() {
    let mut archive = archive().await;
    let frames = pass(1, 0, 0..200);
    let path = Recorder::new(archive.root(), "one.frames").frames(&frames);
    let mut octets = std::fs::read(&path).unwrap();
    let victim = &frames[100].octets;
    let at = octets.windows(victim.len()).position(|window| window == victim).unwrap();
    octets[at + 50] ^= 1;
    std::fs::write(&path, octets).unwrap();
    archive.ingest.step().await.unwrap();
    let segments = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    assert_eq!(segments[0].state, SegmentState::Quarantined);
    assert!(segments[0].state_reason.contains("do not hold"), "{}", segments[0].state_reason);
    assert!(segments[0].frames > 0 && segments[0].frames < 200, "{}", segments[0].frames);
}

/// Two antennas, each with losses of its own, cut into segments.
fn two_antennas() -> impl Strategy<Value = (Vec<Vec<u64>>, Vec<Vec<u64>>)> {
    let antenna = || {
        (proptest::collection::vec((0_u64..400, 1_u64..40), 0..7), 1_usize..6).prop_map(|(holes, parts)| {
            let lost = |count: &u64| holes.iter().any(|(from, len)| (*from..from + len).contains(count));
            let counts: Vec<u64> = (0..400).filter(|count| !lost(count)).collect();
            let part_len = counts.len().div_ceil(parts);
            counts.chunks(part_len).map(<[u64]>::to_vec).collect::<Vec<_>>()
        })
    };
    (antenna(), antenna())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    // REQ: FEP-ARC-047
    #[test]
    fn any_order_of_segments_with_repetitions_gives_the_same_catalogue(
        (one, two) in two_antennas(),
        order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
        repeated in proptest::collection::vec(0_usize..12, 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            // All segments at once, in order.
            let mut whole = archive().await;
            let mut files = Vec::new();
            for (link, ring, parts) in [(1, "one.frames", &one), (2, "two.frames", &two)] {
                let mut recorder = Recorder::new(whole.root(), ring);
                for part in parts {
                    files.push(recorder.frames(&pass(link, 0, part.iter().copied())));
                }
            }
            whole.ingest.step().await.unwrap();
            let expected = comparable(dump(&whole).await);

            // One by one in another order, some of them twice, each time by a new process.
            let pieces = tempfile::tempdir().unwrap();
            let catalogue = catalogue_at(pieces.path()).await;
            let store = Store::open(&StoreConfig::directory(pieces.path())).unwrap();
            for at in order.iter().chain(&repeated) {
                let Some(file) = files.get(*at) else { continue };
                let to = pieces.path().join(file.strip_prefix(whole.root()).unwrap());
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                std::fs::copy(file, to).unwrap();
                let mut ingest =
                    Ingest::open(ingest_config(pieces.path()), catalogue.clone(), store.clone()).await.unwrap();
                ingest.step().await.unwrap();
            }
            let found = comparable(crate::dump::dump(&catalogue).await);
            assert_eq!(found, expected);
        });
    }
}

/// A dump without what depends on the time of ingest: when the catalogue itself noticed that a gap was filled.
fn comparable(dump: Vec<String>) -> Vec<String> {
    let mut rows: Vec<String> = dump
        .into_iter()
        .map(|line| {
            let mut row: serde_json::Value = serde_json::from_str(&line).unwrap();
            if row["table"] == "gap_steps" {
                row["at"] = 0.into();
            }
            row.to_string()
        })
        .collect();
    rows.sort_unstable();
    rows
}

// REQ: FEP-ARC-048
#[tokio::test]
async fn catalogue_and_index_are_made_again_from_segments_alone() {
    let mut archive = archive().await;
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    recorder.frames(&pass(1, 0, (0..100).chain(103..200)));
    recorder.frames(&pass(1, 0, 201..300));
    Recorder::new(archive.root(), "two.frames").frames(&pass(2, 0, 90..220));
    archive.ingest.step().await.unwrap();
    let expected = comparable(dump(&archive).await);
    let index = |root: &std::path::Path| {
        let mut files = std::collections::BTreeMap::new();
        let mut folders = vec![root.join("index")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    files.insert(entry.path(), std::fs::read(entry.path()).unwrap());
                }
            }
        }
        files
    };
    let files = index(archive.root());
    assert_eq!(files.len(), 3);
    // Database and index are lost.
    archive.catalogue.close().await;
    for name in ["catalogue.sqlite3", "catalogue.sqlite3-wal", "catalogue.sqlite3-shm"] {
        let _ = std::fs::remove_file(archive.root().join(name));
    }
    std::fs::remove_dir_all(archive.root().join("index")).unwrap();
    let catalogue = catalogue_at(archive.root()).await;
    let mut again =
        Ingest::open(ingest_config(archive.root()), catalogue.clone(), archive.store.clone()).await.unwrap();
    again.step().await.unwrap();
    assert_eq!(comparable(crate::dump::dump(&catalogue).await), expected);
    assert_eq!(index(archive.root()), files);
}
