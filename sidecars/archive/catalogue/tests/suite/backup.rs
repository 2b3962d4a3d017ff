//! What a backup takes along, what it believes, and what it does not start again.

use super::keeping::{DAY, filled, flip};
use crate::orders::{actor, options_at};
use crate::support::{START, catalogue_at, layouts};
use fep_catalogue::{DeletionState, Error, Keeper, Store, StoreConfig};
use fep_jobs::JobState;

// REQ: FEP-ARC-155
#[tokio::test]
async fn what_is_there_already_is_read_again_after_a_week_and_copied_again_when_it_changed() {
    let (_archive, keeper, ids) = filled().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let target = Store::open(&StoreConfig::directory(elsewhere.path())).unwrap();
    let first = keeper.backup(&target, START, |_| {}).await.unwrap();
    assert_eq!((first.read_again, first.replaced.len()), (0, 0));
    // The same length, another octet: its size says nothing.
    let copy = elsewhere.path().join(format!("segments/{}.seg", ids[1]));
    flip(&copy);
    let soon = keeper.backup(&target, START + DAY, |_| {}).await.unwrap();
    assert_eq!(soon.read_again, 0, "they were read back yesterday");
    let later = keeper.backup(&target, START + 8 * DAY, |_| {}).await.unwrap();
    assert_eq!(later.read_again, 6, "three segments, three index files: {later:?}");
    assert_eq!(later.replaced, [format!("segments/{}.seg", ids[1])]);
    assert_eq!(fep_segments::verify(&copy).unwrap().findings, []);
    let next = keeper.backup(&target, START + 9 * DAY, |_| {}).await.unwrap();
    assert_eq!((next.read_again, next.replaced.len()), (0, 0));
    // A clock that was in the future is not believed, nor is a file that has gone.
    std::fs::remove_file(&copy).unwrap();
    let before = keeper.backup(&target, START + 2 * DAY, |_| {}).await.unwrap();
    assert_eq!((before.read_again, before.replaced.len()), (5, 1), "{before:?}");
    assert_eq!(fep_segments::verify(&copy).unwrap().findings, []);
}

// REQ: FEP-ARC-156
#[tokio::test]
async fn the_configuration_and_the_public_key_are_in_a_backup_and_one_catalogue_only() {
    let (archive, keeper, _) = filled().await;
    let key = fep_segments::roots::signing_key(&archive.root().join("root.key")).unwrap();
    let newest = fep_segments::roots::newest_sealing(archive.root()).unwrap();
    let signed = fep_segments::roots::sign_past_days(archive.root(), newest + DAY as u64, &key).unwrap();
    assert_eq!(signed.days, 1);
    let configuration = archive.root().join("archive.toml");
    std::fs::write(&configuration, "[archive]\n").unwrap();
    let keeper = keeper.taking_along(vec![configuration]);
    let elsewhere = tempfile::tempdir().unwrap();
    let target = Store::open(&StoreConfig::directory(elsewhere.path())).unwrap();
    for turn in 0..2 {
        keeper.backup(&target, START + turn, |_| {}).await.unwrap();
    }
    assert_eq!(
        std::fs::read_dir(elsewhere.path().join("state")).unwrap().count(),
        1,
        "the one before has gone"
    );
    let fresh = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::directory(fresh.path())).unwrap();
    Keeper::restore(&target, fresh.path(), &store, &options_at(fresh.path()), |_| {}).await.unwrap();
    let read =
        |name: &str| std::fs::read_to_string(fresh.path().join("restored-configuration").join(name)).unwrap();
    assert_eq!(read("archive.toml"), "[archive]\n");
    let public: String = key.verifying_key().to_bytes().iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(read("root.pub").trim(), public);
    // The private key is nowhere in it.
    let private = std::fs::read_to_string(archive.root().join("root.key")).unwrap();
    let mut left = vec![elsewhere.path().to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let octets = std::fs::read(&path).unwrap();
            let found = octets.windows(private.len()).any(|window| window == private.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    // What was on its way is cleared away.
    for hidden in [".catalogue-backup-all", ".catalogue-restore"] {
        assert!(!archive.root().join(hidden).exists() && !fresh.path().join(hidden).exists(), "{hidden}");
    }
}

// REQ: FEP-ARC-157
#[tokio::test]
async fn nothing_that_was_open_when_the_backup_was_made_goes_on_after_a_restore() {
    let (archive, keeper, ids) = filled().await;
    let catalogue = &archive.catalogue;
    let asked = catalogue.request_deletion(&ids[..1], "old", &actor("ada"), START).await.unwrap();
    catalogue.approve_deletion(&asked.id, &actor("bo"), None, START).await.unwrap();
    let job = catalogue.add_job("archive.backup", "{}", "ada", START).await.unwrap();
    let busy = catalogue.add_job("archive.backup", "{}", "bo", START).await;
    assert!(matches!(busy, Err(Error::Refused { .. })), "{busy:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let target = Store::open(&StoreConfig::directory(elsewhere.path())).unwrap();
    keeper.backup(&target, START, |_| {}).await.unwrap();
    // Withdrawn after the backup: the backup does not know.
    catalogue.end_deletion(&asked.id, &actor("ada"), "needed", START).await.unwrap();
    let fresh = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::directory(fresh.path())).unwrap();
    let report =
        Keeper::restore(&target, fresh.path(), &store, &options_at(fresh.path()), |_| {}).await.unwrap();
    assert_eq!(report.orders_refused, 1);
    let restored = catalogue_at(fresh.path()).await;
    let deletion = restored.deletion(&asked.id).await.unwrap();
    // Its time may be over by the clock of this machine: then it expired.
    assert!(matches!(deletion.state, DeletionState::Refused | DeletionState::Expired), "{deletion:?}");
    assert_eq!(restored.job(&job.id).await.unwrap().state, JobState::Cancelled);
    let keeper = Keeper::new(fresh.path(), restored.clone(), store, layouts());
    assert_eq!(keeper.round(&[], START).await.unwrap().deleted, []);
    assert!(keeper.file(&ids[0]).exists());
}

// REQ: FEP-ARC-157
#[tokio::test]
async fn a_scrub_or_backup_that_is_stopped_ends_before_its_next_segment_and_the_old_backup_is_whole() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let (_archive, keeper, _) = filled().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let target = Store::open(&StoreConfig::directory(elsewhere.path())).unwrap();
    keeper.backup(&target, START, |_| {}).await.unwrap();
    let manifest = std::fs::read(elsewhere.path().join("backup.json")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = keeper.until(Arc::clone(&stop));
    let mut seen = 0;
    let result = stopped
        .scrub(&Default::default(), START, |_| {
            seen += 1;
            stop.store(true, Ordering::Relaxed);
        })
        .await;
    assert!(matches!(result, Err(Error::Stopped)) && seen == 1, "{result:?} after {seen}");
    let result = stopped.backup(&target, START + 1, |_| {}).await;
    assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
    assert_eq!(std::fs::read(elsewhere.path().join("backup.json")).unwrap(), manifest);
    let fresh = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::directory(fresh.path())).unwrap();
    Keeper::restore(&target, fresh.path(), &store, &options_at(fresh.path()), |_| {}).await.unwrap();
}

// REQ: FEP-CAT-150
#[tokio::test]
async fn a_new_catalogue_beside_an_index_of_before_has_lost_its_history() {
    let (archive, keeper, _) = filled().await;
    assert!(!keeper.has_lost_history().await.unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let lost = catalogue_at(elsewhere.path()).await;
    let keeper = Keeper::new(archive.root(), lost.clone(), archive.store.clone(), layouts());
    assert!(keeper.has_lost_history().await.unwrap());
    lost.note(START, "ada", "note", "", "").await.unwrap();
    assert!(!keeper.has_lost_history().await.unwrap());
    let store = Store::open(&StoreConfig::directory(elsewhere.path())).unwrap();
    let first = tempfile::tempdir().unwrap();
    let keeper = Keeper::new(first.path(), catalogue_at(first.path()).await, store, layouts());
    assert!(!keeper.has_lost_history().await.unwrap(), "the first start of all");
}
