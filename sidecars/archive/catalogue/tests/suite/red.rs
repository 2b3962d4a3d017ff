//! Red beside black: who can read what the archive writes, and what does not exist for a service without red data.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::orders::{actor, options_at};
use crate::support::{Archive, MS, Recorder, START, archive, catalogue_at, ingest_config, layouts, tm_frame};
use fep_bus::Colour;
use fep_catalogue::{
    ContactFilter, Error, GapFilter, GapState, Ingest, Keeper, RetentionRule, SegmentFilter, SegmentId,
    Store, StoreConfig, Tier,
};

/// An archive with one black and one red segment, each with a gap; the catalogue has taken in what `sees_red` allows.
async fn filled(sees_red: bool) -> (Archive, Keeper) {
    let mut archive = archive().await;
    for (colour, ring) in [(Colour::Black, "one.frames"), (Colour::Red, "one.red.frames")] {
        let frames: Vec<_> = (0..300)
            .filter(|count| !(100..110).contains(count))
            .map(|count| tm_frame(1, 0, count, START + count as i64 * 10 * MS))
            .collect();
        Recorder::of(archive.root(), colour, ring).frames(&frames);
    }
    if !sees_red {
        archive.catalogue = archive.catalogue.black_only();
    }
    archive.ingest =
        Ingest::open(ingest_config(archive.root()), archive.catalogue.clone(), archive.store.clone())
            .await
            .unwrap();
    assert_eq!(archive.ingest.step().await.unwrap().segments.len(), 1 + usize::from(sees_red));
    let keeper = Keeper::new(archive.root(), archive.catalogue.clone(), archive.store.clone(), layouts());
    (archive, keeper)
}

/// Every file and directory below some places.
fn everything(places: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = places.to_vec();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.push(path);
    }
    found
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn is_red(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("red" | "colour=red")))
}

// REQ: FEP-ARC-400
#[tokio::test]
async fn red_is_for_the_owner_alone_and_nothing_for_everybody_in_store_quarantine_backup_and_restore() {
    // The umask takes nothing away: what is narrow was made so.
    rustix::process::umask(rustix::fs::Mode::empty());
    let (archive, keeper) = filled(true).await;
    let segments = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    for segment in &segments {
        keeper.store_segment(&segment.facts.id()).await.unwrap();
        let path = keeper.file(&segment.facts.id());
        let mut octets = std::fs::read(&path).unwrap();
        octets[5000] ^= 1;
        std::fs::write(&path, octets).unwrap();
    }
    let scrubbed = keeper.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap();
    assert!(scrubbed.findings.iter().all(|finding| finding.repaired), "{scrubbed:?}");
    let red = segments.iter().map(|segment| segment.facts.id()).find(|id| id.0.starts_with("red/")).unwrap();
    keeper.release_file(&red).await.unwrap();
    let recalled = keeper.recall_file(&red).await.unwrap();

    let backup = tempfile::tempdir().unwrap();
    let target = Store::open(&StoreConfig::directory(backup.path())).unwrap();
    keeper.backup(&target, START, |_| {}).await.unwrap();
    let fresh = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::directory(fresh.path())).unwrap();
    Keeper::restore(&target, fresh.path(), &store, &options_at(fresh.path()), |_| {}).await.unwrap();

    let written = |root: &Path, names: &[&str]| names.iter().map(|name| root.join(name)).collect::<Vec<_>>();
    let places = [
        written(archive.root(), &["index", "segments", "quarantine"]),
        written(backup.path(), &["index", "segments", "backup.json", "state"]),
        written(fresh.path(), &["index", "black", "red"]),
        vec![recalled],
    ]
    .concat();
    let found = everything(&places);
    assert!(found.iter().filter(|path| path.is_file()).count() >= 14, "{found:?}");
    for path in &found {
        let others = if is_red(path) { 0o077 } else { 0o007 };
        assert_eq!(mode(path) & others, 0, "{}: {:o}", path.display(), mode(path));
    }
    let catalogues = [&archive.root().join("catalogue.sqlite3"), &fresh.path().join("catalogue.sqlite3")];
    for of_all in catalogues.into_iter().chain([&backup.path().join("backup.json")]) {
        assert_eq!(mode(of_all), 0o600, "{}", of_all.display());
    }
    let state = everything(&[backup.path().join("state")]);
    let files: Vec<_> = state.iter().filter(|path| path.is_file()).collect();
    assert!(files.len() == 2 && files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

// REQ: FEP-ARC-400
#[tokio::test]
async fn a_copy_is_readable_by_no_more_than_its_source_and_an_open_catalogue_is_closed() {
    let (archive, keeper) = filled(false).await;
    let id = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap().remove(0).facts.id();
    std::fs::set_permissions(keeper.file(&id), std::fs::Permissions::from_mode(0o600)).unwrap();
    keeper.store_segment(&id).await.unwrap();
    assert_eq!(mode(&archive.root().join(format!("segments/{id}.seg"))), 0o600);

    // What an older version left open to all.
    let path = archive.root().join("catalogue.sqlite3");
    archive.catalogue.close().await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    catalogue_at(archive.root()).await.note(START, "ada", "note", "", "").await.unwrap();
    for file in ["catalogue.sqlite3", "catalogue.sqlite3-wal", "catalogue.sqlite3-shm"] {
        let file = archive.root().join(file);
        assert!(!file.exists() || mode(&file) == 0o600, "{}: {:o}", file.display(), mode(&file));
    }
}

// REQ: FEP-ARC-401
#[tokio::test]
async fn a_service_without_red_data_takes_in_and_indexes_none() {
    let (mut archive, keeper) = filled(false).await;
    assert!(archive.ingest.step().await.unwrap().is_idle());
    assert!(!everything(&[archive.root().join("index")]).iter().any(|path| is_red(path)));
    // Not from the object store either.
    let key = "segments/red/one.red.frames/0000000000001234-0000000000000000.seg";
    let file = archive.root().join("red/one.red.frames/0000000000001234-0000000000000000.seg");
    archive.store.put_file(key, &file).await.unwrap();
    assert_eq!(archive.ingest.step_objects().await.unwrap().segments, []);
    assert_eq!(archive.catalogue.totals().await.unwrap().segments, 1);
    drop(keeper);
}

// REQ: FEP-ARC-401
#[tokio::test]
async fn red_that_is_in_the_catalogue_does_not_exist_for_a_service_without_red_data() {
    let (archive, cleared) = filled(true).await;
    let all = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let red: SegmentId =
        all.iter().map(|segment| segment.facts.id()).find(|id| id.0.starts_with("red/")).unwrap();
    let gaps = archive.catalogue.gaps(&GapFilter::default()).await.unwrap();
    let red_gap = gaps.iter().find(|gap| gap.id.starts_with("red/")).unwrap();
    let asked = archive
        .catalogue
        .request_deletion(std::slice::from_ref(&red), "old", &actor("ada"), START)
        .await
        .unwrap();

    let black = archive.catalogue.black_only();
    let keeper = Keeper::new(archive.root(), black.clone(), archive.store.clone(), layouts());
    let listed = black.segments(&SegmentFilter::default()).await.unwrap();
    assert_eq!(listed.iter().map(|segment| segment.facts.ring.as_str()).collect::<Vec<_>>(), ["one.frames"]);
    assert_eq!(black.segment(&red).await.unwrap(), None);
    assert_eq!(black.contacts(&ContactFilter::default()).await.unwrap().len(), 1);
    let totals = black.totals().await.unwrap();
    assert_eq!((totals.segments, totals.frames, totals.open_gaps), (1, 290, 1));
    assert_eq!(black.gaps(&GapFilter::default()).await.unwrap().len(), 1);
    assert!(matches!(black.gap(&red_gap.id).await, Err(Error::NotFound { .. })));
    let accepted = black.set_gap_state(&red_gap.id, GapState::Accepted, "ada", "", START).await;
    assert!(matches!(accepted, Err(Error::NotFound { .. })), "{accepted:?}");

    assert_eq!(black.deletions().await.unwrap(), []);
    for refused in [
        black.approve_deletion(&asked.id, &actor("bo"), None, START).await.map(drop),
        black.request_deletion(std::slice::from_ref(&red), "old", &actor("bo"), START).await.map(drop),
        keeper.carry_out(&asked.id, START).await.map(drop),
        keeper.store_segment(&red).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    }
    let rules = [RetentionRule {
        class: "all".to_owned(),
        ring: None,
        colour: None,
        keep_days: Some(0),
        hot_days: Some(0),
    }];
    let later = START + 86_400_000 * MS * 2;
    assert_eq!(keeper.due_for_deletion(&rules, later).await.unwrap().len(), 1);
    assert_eq!(keeper.round(&rules, later).await.unwrap().moved.len(), 1);
    assert_eq!(keeper.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap().segments, 1);
    assert_eq!(archive.catalogue.segment(&red).await.unwrap().unwrap().tier, Tier::Hot);
    assert!(cleared.file(&red).exists());

    // A copy of the catalogue would hold the red rows.
    let backup = tempfile::tempdir().unwrap();
    let target = Store::open(&StoreConfig::directory(backup.path())).unwrap();
    let refused = keeper.backup(&target, START, |_| {}).await;
    assert!(matches!(&refused, Err(Error::Refused { why, .. }) if why.contains("serve_red")), "{refused:?}");
    assert_eq!(std::fs::read_dir(backup.path()).unwrap().count(), 0);
    // One that never had any is backed up without.
    let (_archive, keeper) = filled(false).await;
    keeper.backup(&target, START, |_| {}).await.unwrap();
    assert!(!everything(&[backup.path().to_owned()]).iter().any(|path| is_red(path)));
}
