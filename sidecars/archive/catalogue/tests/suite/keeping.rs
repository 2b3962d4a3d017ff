//! Scrub, tiers, retention, backup and restore, with damage of every kind.

use std::path::Path;

use crate::orders::{actor, options_at};
use crate::support::s3::S3;
use crate::support::{Archive, MS, Recorder, START, archive, catalogue_at, ingest_config, layouts, tm_frame};
use fep_catalogue::{
    DiskLevel, Error, GapFilter, GapState, Ingest, Keeper, RetentionRule, Scope, SegmentFilter, SegmentId,
    SegmentState, Store, StoreConfig, Tier, Watermarks,
};

pub(crate) const DAY: i64 = 86_400_000 * MS;

/// An archive with three segments of one ring, and its keeper.
pub(crate) async fn filled() -> (Archive, Keeper, Vec<SegmentId>) {
    let mut archive = archive().await;
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    for part in 0..3 {
        let frames: Vec<_> = (0..150)
            .map(|count| part * 160 + count)
            .map(|count| tm_frame(1, 0, count, START + count as i64 * 10 * MS))
            .collect();
        recorder.frames(&frames);
    }
    archive.ingest.step().await.unwrap();
    let keeper = Keeper::new(archive.root(), archive.catalogue.clone(), archive.store.clone(), layouts());
    let segments = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let ids = segments.iter().map(|segment| segment.facts.id()).collect();
    (archive, keeper, ids)
}

pub(crate) fn flip(path: &Path) {
    let mut octets = std::fs::read(path).unwrap();
    let at = octets.len() / 2;
    octets[at] ^= 0x40;
    std::fs::write(path, octets).unwrap();
}

async fn scrub(archive: &Archive, keeper: &Keeper) -> fep_catalogue::ScrubReport {
    let mut told = 0;
    let report = keeper.scrub(&SegmentFilter::default(), START, |_| told += 1).await.unwrap();
    assert_eq!(told, report.segments);
    assert_eq!(archive.catalogue.audit_problem().await.unwrap(), None);
    report
}

// REQ: FEP-ARC-052
#[tokio::test]
async fn a_scrub_of_a_whole_archive_finds_nothing() {
    let (archive, keeper, _) = filled().await;
    let report = scrub(&archive, &keeper).await;
    assert_eq!((report.segments, report.findings.len()), (3, 0), "{report:?}");
    assert!(report.octets > 0);
}

// REQ: FEP-ARC-052
#[tokio::test]
async fn a_flipped_octet_without_a_copy_puts_the_segment_into_quarantine_until_it_is_right_again() {
    let (archive, keeper, ids) = filled().await;
    let path = keeper.file(&ids[1]);
    let good = std::fs::read(&path).unwrap();
    flip(&path);
    let report = scrub(&archive, &keeper).await;
    assert_eq!(report.quarantined, [ids[1].clone()]);
    assert!(!report.findings[0].repaired);
    let segment = archive.catalogue.segment(&ids[1]).await.unwrap().unwrap();
    assert_eq!(segment.state, SegmentState::Quarantined);
    assert!(!segment.state_reason.is_empty());
    // It is said once; what is in quarantine is looked at again, and comes out when its octets are back.
    assert_eq!(scrub(&archive, &keeper).await.quarantined, []);
    std::fs::write(&path, good).unwrap();
    assert_eq!(scrub(&archive, &keeper).await.released, [ids[1].clone()]);
}

// REQ: FEP-ARC-052
#[tokio::test]
async fn a_damaged_or_missing_file_comes_back_from_its_copy_and_a_damaged_copy_from_the_file() {
    let (archive, keeper, ids) = filled().await;
    for id in &ids {
        keeper.store_segment(id).await.unwrap();
    }
    let (damaged, missing) = (keeper.file(&ids[0]), keeper.file(&ids[1]));
    let good = std::fs::read(&damaged).unwrap();
    flip(&damaged);
    std::fs::remove_file(&missing).unwrap();
    let copy = archive.catalogue.segment(&ids[2]).await.unwrap().unwrap().object.unwrap();
    flip(&archive.root().join(&copy.key));
    let report = scrub(&archive, &keeper).await;
    assert_eq!(report.findings.len(), 3, "{report:?}");
    assert!(report.findings.iter().all(|finding| finding.repaired), "{report:?}");
    assert_eq!(report.quarantined, []);
    assert_eq!(std::fs::read(&damaged).unwrap(), good);
    assert!(missing.exists());
    assert!(archive.root().join(format!("quarantine/{}.seg", ids[0])).exists());
    assert!(scrub(&archive, &keeper).await.findings.is_empty());
}

// REQ: FEP-ARC-052
#[tokio::test]
async fn a_damaged_index_file_is_made_again() {
    let (archive, keeper, ids) = filled().await;
    let index = archive.catalogue.segment(&ids[0]).await.unwrap().unwrap().frames_index.unwrap();
    let path = archive.root().join(&index.key);
    let good = std::fs::read(&path).unwrap();
    flip(&path);
    let report = scrub(&archive, &keeper).await;
    assert_eq!((report.findings.len(), report.findings[0].repaired), (1, true));
    assert_eq!(std::fs::read(&path).unwrap(), good);
}

// REQ: FEP-ARC-053
#[tokio::test]
async fn old_segments_move_to_the_object_store_and_can_be_recalled_and_indexed_from_there() {
    let (archive, keeper, ids) = filled().await;
    let good = std::fs::read(keeper.file(&ids[0])).unwrap();
    let rule = |ring: &str, hot_days| RetentionRule {
        class: "telemetry".to_owned(),
        ring: Some(ring.to_owned()),
        colour: None,
        keep_days: None,
        hot_days: Some(hot_days),
    };
    let rules = [rule("other*", 0), rule("one*", 7)];
    assert_eq!(keeper.round(&rules, START + 6 * DAY).await.unwrap().moved, []);
    assert_eq!(keeper.round(&rules, START + 8 * DAY).await.unwrap().moved, ids);
    for id in &ids {
        let segment = archive.catalogue.segment(id).await.unwrap().unwrap();
        assert_eq!(segment.tier, Tier::Warm);
        assert!(!keeper.file(id).exists());
        let mark = std::fs::read_to_string(keeper.file(id).with_extension("stored")).unwrap();
        assert_eq!(mark.trim(), segment.object.unwrap().key, "feeds learn from it that nothing is lost");
    }
    assert!(scrub(&archive, &keeper).await.findings.is_empty());
    // Database and index lost: everything is made again from the object store alone.
    let before = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    std::fs::remove_dir_all(archive.root().join("index")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let catalogue = catalogue_at(elsewhere.path()).await;
    let mut again =
        Ingest::open(ingest_config(archive.root()), catalogue.clone(), archive.store.clone()).await.unwrap();
    assert_eq!(again.step().await.unwrap().segments, ids, "nobody has to ask for them");
    assert!(again.step_objects().await.unwrap().is_idle());
    assert_eq!(catalogue.segments(&SegmentFilter::default()).await.unwrap(), before);

    let path = keeper.recall_file(&ids[0]).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), good);
    assert!(!keeper.file(&ids[0]).with_extension("stored").exists());
}

// REQ: FEP-ARC-053
#[tokio::test]
async fn a_file_is_not_given_up_for_a_copy_that_is_not_whole() {
    let (archive, keeper, ids) = filled().await;
    let none = keeper.release_file(&ids[0]).await;
    assert!(matches!(none, Err(Error::Refused { .. })), "{none:?}");
    let copy = keeper.store_segment(&ids[0]).await.unwrap();
    flip(&archive.root().join(&copy.key));
    let damaged = keeper.release_file(&ids[0]).await;
    assert!(matches!(damaged, Err(Error::ObjectDiffers { .. })), "{damaged:?}");
    assert!(keeper.file(&ids[0]).exists());
    // And a damaged file is not copied as if it were good.
    flip(&keeper.file(&ids[1]));
    let refused = keeper.store_segment(&ids[1]).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(archive.catalogue.segment(&ids[1]).await.unwrap().unwrap().object, None);
}

// REQ: FEP-ARC-054
#[tokio::test]
async fn retention_proposes_by_class_and_names_the_holds() {
    let (archive, keeper, ids) = filled().await;
    let rules = [RetentionRule {
        class: "housekeeping".to_owned(),
        ring: Some("one.frames".to_owned()),
        colour: None,
        keep_days: Some(30),
        hot_days: None,
    }];
    assert_eq!(keeper.due_for_deletion(&rules, START + 29 * DAY).await.unwrap(), []);
    let scope = Scope { to_tai_ns: Some(START + MS), ..Scope::default() };
    let hold = archive.catalogue.hold(&scope, "inquiry", "judge", START).await.unwrap();
    let due = keeper.due_for_deletion(&rules, START + 31 * DAY).await.unwrap();
    assert_eq!(due.iter().map(|due| due.segment.clone()).collect::<Vec<_>>(), ids);
    assert_eq!(due[0].holds, [hold.id]);
    assert!(due[1].holds.is_empty());
    assert_eq!(due[0].class, "housekeeping");
    // A proposal deletes nothing.
    assert!(ids.iter().all(|id| keeper.file(id).exists()));
}

// REQ: FEP-ARC-055
#[tokio::test]
async fn the_disk_is_reported_with_its_level() {
    let (_archive, keeper, _) = filled().await;
    let all = Watermarks { low_percent: 100.1, critical_percent: 0.0 };
    let disk = keeper.disk(&all).unwrap();
    assert!(disk.octets > disk.free_octets && disk.free_octets > 0);
    assert_eq!(disk.level, DiskLevel::Low);
}

/// Backs up twice and restores, by way of this store.
async fn restores_by_way_of(target: &Store) {
    let (mut archive, keeper, ids) = filled().await;
    let gap = archive.catalogue.gaps(&GapFilter::default()).await.unwrap().remove(0);
    archive.catalogue.set_gap_state(&gap.id, GapState::Accepted, "ada", "idle", START).await.unwrap();
    keeper.store_segment(&ids[0]).await.unwrap();
    keeper.release_file(&ids[0]).await.unwrap();
    let first = keeper.backup(target, START, |_| {}).await.unwrap();
    // Three segments, three index files, the footer that is left of the released file, the catalogue and its manifest.
    assert_eq!((first.copied, first.missing.len()), (9, 0), "{first:?}");
    Recorder::new(archive.root(), "two.frames")
        .frames(&(0..50).map(|count| tm_frame(2, 0, count, START)).collect::<Vec<_>>());
    archive.ingest.step().await.unwrap();
    let second = keeper.backup(target, START + 1, |_| {}).await.unwrap();
    assert_eq!(
        second.copied, 5,
        "the new segment, its index, what is left of a released file, the catalogue and its manifest: {second:?}"
    );

    let fresh = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::directory(fresh.path())).unwrap();
    let report =
        Keeper::restore(target, fresh.path(), &store, &options_at(fresh.path()), |_| {}).await.unwrap();
    assert_eq!(report.objects, second.objects);
    let catalogue = catalogue_at(fresh.path()).await;
    assert_eq!(catalogue.gap(&gap.id).await.unwrap().state, GapState::Accepted);
    assert_eq!(catalogue.audit_problem().await.unwrap(), None);
    let restored = Keeper::new(fresh.path(), catalogue.clone(), store, layouts());
    let scrubbed = restored.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap();
    assert_eq!((scrubbed.segments, scrubbed.findings.len()), (4, 0), "{scrubbed:?}");
    let facts = async |catalogue: &fep_catalogue::Catalogue| {
        let segments = catalogue.segments(&SegmentFilter::default()).await.unwrap();
        segments.into_iter().map(|segment| (segment.facts, segment.frames_index)).collect::<Vec<_>>()
    };
    assert_eq!(facts(&catalogue).await, facts(&archive.catalogue).await);
    let again =
        Keeper::restore(target, fresh.path(), &archive.store, &options_at(fresh.path()), |_| {}).await;
    assert!(matches!(again, Err(Error::Database(fep_database::Error::NotEmpty { .. }))), "{again:?}");
}

// REQ: FEP-ARC-056
#[tokio::test]
async fn a_backup_restores_to_the_same_archive_and_a_second_one_copies_only_what_is_new() {
    let elsewhere = tempfile::tempdir().unwrap();
    restores_by_way_of(&Store::open(&StoreConfig::directory(elsewhere.path())).unwrap()).await;
}

// REQ: FEP-ARC-056
#[tokio::test]
async fn a_backup_to_a_real_s3_server_restores_to_the_same_archive() {
    let server = S3::start();
    restores_by_way_of(&Store::open(&server.config()).unwrap()).await;
}

// REQ: FEP-ARC-056
#[tokio::test]
async fn a_backup_takes_the_copy_of_a_damaged_segment_and_names_what_has_no_good_copy() {
    let (archive, keeper, ids) = filled().await;
    for id in &ids[..2] {
        keeper.store_segment(id).await.unwrap();
    }
    ids.iter().for_each(|id| flip(&keeper.file(id)));
    flip(&archive.store.file(&format!("segments/{}.seg", ids[1])).unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let target = Store::open(&StoreConfig::directory(elsewhere.path())).unwrap();
    let report = keeper.backup(&target, START, |_| {}).await.unwrap();
    assert_eq!(report.missing.keys().collect::<Vec<_>>(), [&ids[1].0, &ids[2].0], "{report:?}");
    let copy = elsewhere.path().join(format!("segments/{}.seg", ids[0]));
    assert_eq!(fep_segments::verify(&copy).unwrap().findings, []);
}

// REQ: FEP-ARC-056
#[tokio::test]
async fn a_damaged_backup_is_noticed_before_the_catalogue_is_loaded() {
    let (_archive, keeper, ids) = filled().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let mut config = StoreConfig::directory(elsewhere.path());
    config.retry_timeout_s = 0;
    let target = Store::open(&config).unwrap();
    keeper.backup(&target, START, |_| {}).await.unwrap();
    flip(&elsewhere.path().join(format!("segments/{}.seg", ids[2])));
    let fresh = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::directory(fresh.path())).unwrap();
    let result = Keeper::restore(&target, fresh.path(), &store, &options_at(fresh.path()), |_| {}).await;
    assert!(matches!(result, Err(Error::ObjectDiffers { .. })), "{result:?}");
    assert!(!fresh.path().join("catalogue.sqlite3").exists());
}

// REQ: FEP-SEG-158
#[tokio::test]
async fn what_is_deleted_moved_and_brought_back_leaves_signed_records_and_the_archive_verifies() {
    use fep_segments::{Expected, RemovalRecord, verify_tree};
    let (archive, keeper, ids) = filled().await;
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("removals.key");
    let keeper = keeper.with_removal_key(&key);
    let catalogue = &archive.catalogue;
    let asked =
        catalogue.request_deletion(std::slice::from_ref(&ids[0]), "old", &actor("ada"), START).await.unwrap();
    catalogue.approve_deletion(&asked.id, &actor("bo"), None, START).await.unwrap();
    assert_eq!(keeper.carry_out(&asked.id, START).await.unwrap(), 1);
    for id in &ids[1..] {
        keeper.store_segment(id).await.unwrap();
        keeper.release_file(id).await.unwrap();
    }
    keeper.recall_file(&ids[2]).await.unwrap();
    let read = |number: u32| -> RemovalRecord {
        let path = archive.root().join(format!("roots/removals/black/{number:012}.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let text = |number| {
        let record = read(number);
        let act = serde_json::to_value(record.act).unwrap();
        let segment = format!("{}/{}", record.segments[0].stream, record.segments[0].segment);
        (act.as_str().unwrap().to_owned(), segment, record.order, record.by.join(" "))
    };
    let by_service =
        |act: &str, id: &SegmentId| (act.to_owned(), id.to_string(), None, "fep-archive".to_owned());
    assert_eq!(
        text(1),
        ("deleted".to_owned(), ids[0].to_string(), Some(asked.id.clone()), "ada bo".to_owned())
    );
    assert_eq!(text(2), by_service("moved", &ids[1]));
    assert_eq!(text(3), by_service("moved", &ids[2]));
    assert_eq!(text(4), by_service("recalled", &ids[2]));
    let removal_key = fep_segments::roots::public_key(&fep_segments::roots::public_file(&key)).unwrap();
    let expected = Expected { removal_key: Some(removal_key), ..Expected::default() };
    let report = verify_tree(archive.root(), &expected, |_, _| {}).unwrap();
    assert!(report.is_sound(), "{report:?}");
    // A keeper without a key, of an operator who wants no records, deletes as before; verification does not like it.
    let silent = Keeper::new(archive.root(), catalogue.clone(), archive.store.clone(), layouts());
    silent.release_file(&ids[2]).await.unwrap();
    assert!(!verify_tree(archive.root(), &expected, |_, _| {}).unwrap().is_sound());
}

// REQ: FEP-SEG-158
#[tokio::test]
async fn where_no_record_can_be_signed_nothing_is_removed() {
    let (archive, keeper, ids) = filled().await;
    let keeper = keeper.with_removal_key(&archive.root().join("nobody/\0/removals.key"));
    keeper.store_segment(&ids[0]).await.unwrap();
    assert!(keeper.release_file(&ids[0]).await.is_err());
    assert!(keeper.file(&ids[0]).exists());
}
