//! What cannot be read, and what is not where it was: nothing of it keeps the rest from being taken in and followed.

use std::path::Path;

use super::keeping::filled;
use crate::support::{Archive, MS, Recorder, START, archive, catalogue_at, ingest_config, layouts, tm_frame};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use fep_catalogue::{Ingest, IngestConfig, Keeper, SegmentFilter, Tier};

fn frames(from: u64, to: u64) -> Vec<crate::support::TestFrame> {
    (from..to).map(|count| tm_frame(1, 0, count, START + count as i64 * 10 * MS)).collect()
}

async fn watching() -> Archive {
    let mut archive = archive().await;
    let config = IngestConfig { tail: true, ..ingest_config(archive.root()) };
    archive.ingest = Ingest::open(config, archive.catalogue.clone(), archive.store.clone()).await.unwrap();
    archive
}

/// Sequence numbers in the tail of a ring.
fn tail(archive: &Archive, ring: &str) -> Vec<i64> {
    let snapshot = archive.ingest.tail().snapshot();
    let of_ring = snapshot.frames().filter(|(_, of, _)| *of == ring);
    of_ring
        .flat_map(|(_, _, piece)| {
            let batch = piece.batch().unwrap();
            batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().values().to_vec()
        })
        .collect()
}

fn spoil(path: &Path, at: impl Fn(usize) -> usize) {
    let mut octets = std::fs::read(path).unwrap();
    let at = at(octets.len());
    octets[at] ^= 0xFF;
    std::fs::write(path, octets).unwrap();
}

// REQ: FEP-ARC-408
#[tokio::test]
async fn a_segment_with_a_damaged_header_or_footer_holds_up_neither_its_own_stream_nor_another() {
    let mut archive = watching().await;
    let mut header = Recorder::new(archive.root(), "header.frames");
    spoil(&header.frames(&frames(0, 50)), |_| 8);
    let mut footer = Recorder::new(archive.root(), "footer.frames");
    spoil(&footer.frames(&frames(0, 50)), |len| len - 4000);
    let mut well = Recorder::new(archive.root(), "well.frames");
    well.frames(&frames(0, 50));
    let _growing = (footer.growing(&frames(50, 60)), well.growing(&frames(50, 60)));
    let step = archive.ingest.step().await.unwrap();
    assert_eq!((step.segments.len(), step.refused.len()), (1, 2), "{step:?}");
    assert_eq!(tail(&archive, "well.frames"), (51..=60).collect::<Vec<_>>());
    assert_eq!(tail(&archive, "footer.frames"), (51..=60).collect::<Vec<_>>());
    assert_eq!(archive.ingest.unfollowed().count(), 0, "a damaged segment is passed over");
    // The recorder goes on under a new name: so does the tail, and the next sealed segment is taken in.
    let growing = header.growing(&frames(50, 70));
    archive.ingest.step().await.unwrap();
    assert_eq!(tail(&archive, "header.frames"), (51..=70).collect::<Vec<_>>());
    assert_eq!(archive.ingest.unfollowed().count(), 0);
    header.seal(growing);
    let step = archive.ingest.step().await.unwrap();
    assert_eq!((step.segments.len(), step.refused.len()), (1, 0), "{step:?}");
    assert_eq!(tail(&archive, "header.frames"), [0_i64; 0]);
}

// REQ: FEP-ARC-408
#[tokio::test]
async fn a_link_in_the_place_of_a_segment_is_not_followed_and_the_segment_is_taken_in_when_it_is_back() {
    let mut archive = archive().await;
    let path = Recorder::new(archive.root(), "one.frames").frames(&frames(0, 50));
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).unwrap();
    std::os::unix::fs::symlink(archive.root().join("nowhere"), &path).unwrap();
    Recorder::new(archive.root(), "two.frames").frames(&frames(0, 50));
    let step = archive.ingest.step().await.unwrap();
    assert_eq!((step.segments.len(), step.put_off.len(), step.refused.len()), (1, 0, 0), "{step:?}");
    assert!(archive.ingest.step().await.unwrap().is_idle());
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(archive.ingest.step().await.unwrap().segments.len(), 1);
}

// REQ: FEP-ARC-410
#[tokio::test]
async fn a_new_catalogue_finds_what_is_in_the_object_store_alone_by_itself() {
    let (archive, keeper, ids) = filled().await;
    for id in &ids[..2] {
        keeper.store_segment(id).await.unwrap();
        keeper.release_file(id).await.unwrap();
    }
    let before = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    // With what is left of them on the disk, and after the disk was lost as well.
    for lost in [false, true] {
        if lost {
            std::fs::remove_dir_all(archive.root().join("black")).unwrap();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let catalogue = catalogue_at(elsewhere.path()).await;
        let mut again = Ingest::open(ingest_config(archive.root()), catalogue.clone(), archive.store.clone())
            .await
            .unwrap();
        let step = again.step().await.unwrap();
        assert_eq!(step.segments.len(), if lost { 2 } else { 3 }, "{step:?}");
        let found = catalogue.segments(&SegmentFilter::default()).await.unwrap();
        assert_eq!(found, before[..found.len()]);
        assert!(found[..2].iter().all(|segment| segment.tier == Tier::Warm));
        assert!(again.step().await.unwrap().is_idle());
        // And it brings them back.
        let keeper = Keeper::new(archive.root(), catalogue, archive.store.clone(), layouts());
        let path = keeper.recall_file(&ids[0]).await.unwrap();
        assert_eq!(fep_segments::verify(&path).unwrap().findings, []);
        std::fs::remove_file(path).unwrap();
    }
}

// REQ: FEP-ARC-411
#[tokio::test]
async fn the_index_claims_to_reach_no_further_than_what_was_taken_in() {
    let mut archive = watching().await;
    let tail = archive.ingest.tail();
    assert_eq!(tail.indexed_to_tai_ns(), None, "nothing is claimed before the first round");
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    recorder.frames(&frames(0, 50));
    let before = fep_time::tai_now().0;
    archive.ingest.step().await.unwrap();
    let reached = tail.indexed_to_tai_ns().unwrap();
    assert!(reached >= before, "everything is sealed: it reaches to the round itself");
    let growing = recorder.growing(&frames(50, 60));
    archive.ingest.step().await.unwrap();
    assert_eq!(
        tail.indexed_to_tai_ns(),
        Some(START + 50 * 10 * MS),
        "to the first that is in no sealed segment"
    );
    // Sealed, and it cannot be read now: what it holds is in the tail no less than before.
    let path = recorder.seal(growing);
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).unwrap();
    std::os::unix::fs::symlink(archive.root().join("nowhere"), &path).unwrap();
    recorder.frames(&frames(60, 70));
    archive.ingest.step().await.unwrap();
    assert_eq!(tail.indexed_to_tai_ns(), Some(START + 49 * 10 * MS), "not beyond a segment that waits");
    std::fs::rename(&away, &path).unwrap();
    archive.ingest.step().await.unwrap();
    assert!(tail.indexed_to_tai_ns().unwrap() >= before);
}

// REQ: FEP-CAT-153
#[tokio::test]
async fn what_the_recorder_put_aside_is_shown_and_a_repaired_file_is_taken_in_without_a_restart() {
    let mut archive = watching().await;
    let path = Recorder::new(archive.root(), "one.frames").frames(&frames(0, 50));
    let good = std::fs::read(&path).unwrap();
    spoil(&path, |_| 8);
    assert_eq!(archive.ingest.step().await.unwrap().refused.len(), 1);
    assert_eq!(archive.ingest.step().await.unwrap().refused, [], "it is not tried again for nothing");
    assert_eq!(archive.ingest.refused().count(), 1);
    let aside = fep_segments::put_aside(&path, "its header is damaged").unwrap();
    archive.ingest.step().await.unwrap();
    let shown: Vec<_> = archive.ingest.set_aside().map(|file| (&file.path, file.reason.as_deref())).collect();
    assert_eq!(shown, [(&aside, Some("its header is damaged"))]);
    std::fs::write(&aside, good).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(archive.ingest.step().await.unwrap().segments.len(), 1);
    assert_eq!((archive.ingest.set_aside().count(), archive.ingest.refused().count()), (0, 0));
    // One that somebody removes is not shown any more; a start finds what lies there.
    let second = Recorder::new(archive.root(), "two.frames").frames(&frames(0, 50));
    archive.ingest.step().await.unwrap();
    let aside = fep_segments::put_aside(&second, "a test").unwrap();
    let config = ingest_config(archive.root());
    archive.ingest = Ingest::open(config, archive.catalogue.clone(), archive.store.clone()).await.unwrap();
    archive.ingest.step().await.unwrap();
    assert_eq!(archive.ingest.set_aside().count(), 1);
    std::fs::remove_file(aside).unwrap();
    archive.ingest.step().await.unwrap();
    assert_eq!(archive.ingest.set_aside().count(), 0);
}
