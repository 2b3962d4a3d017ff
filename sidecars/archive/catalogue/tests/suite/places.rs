//! Places in which others may put anything: backups, stores and directories of segments.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use fep_catalogue::{Keeper, Store, StoreConfig};

use crate::support::{Archive, MS, Recorder, START, TestFrame, archive, layouts, tm_frame};

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

/// What waits for a FIFO without end is let go after a minute, and fails.
async fn at_once<T>(what: &str, fifo: &Path, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), work).await {
        Ok(done) => done,
        Err(_) => {
            // A thread that waits would keep the test from ending.
            drop(fs::OpenOptions::new().read(true).write(true).open(fifo));
            panic!("{what} waits");
        }
    }
}

fn frames(from: u64) -> Vec<TestFrame> {
    (from..from + 200).map(|count| tm_frame(1, 0, count, START + count as i64 * MS)).collect()
}

/// Two segments, taken in.
async fn recorded() -> (Archive, Keeper, Recorder) {
    let mut archive = archive().await;
    let mut recorder = Recorder::new(archive.root(), "one.frames");
    recorder.frames(&frames(0));
    recorder.frames(&frames(200));
    archive.ingest.step().await.unwrap();
    let keeper = Keeper::new(archive.root(), archive.catalogue.clone(), archive.store.clone(), layouts());
    (archive, keeper, recorder)
}

// REQ: FEP-ARC-191
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_in_the_place_of_a_backups_manifest_is_refused_at_once_by_backup_and_restore() {
    let (_archive, keeper, _) = recorded().await;
    for kind in ["a FIFO", "a directory", "a symbolic link"] {
        let directory = tempfile::tempdir().unwrap();
        let target = Store::open(&StoreConfig::directory(directory.path())).unwrap();
        let place = directory.path().join("backup.json");
        match kind {
            "a FIFO" => fifo(&place),
            "a directory" => fs::create_dir(&place).unwrap(),
            _ => symlink("/dev/zero", &place).unwrap(),
        }
        let done = at_once(kind, &place, keeper.backup(&target, 1, |_| {})).await;
        let told = done.unwrap_err().to_string();
        assert!(told.contains("backup.json") && told.contains(kind), "{kind}: {told}");
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "{kind}: nothing is copied before");
        let other = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::directory(other.path())).unwrap();
        let database = fep_database::Options::new(&crate::support::url_at(other.path()));
        let restored =
            at_once(kind, &place, Keeper::restore(&target, other.path(), &store, &database, |_| {})).await;
        assert!(restored.unwrap_err().to_string().contains(kind), "{kind}");
    }
    let empty = tempfile::tempdir().unwrap();
    let target = Store::open(&StoreConfig::directory(empty.path())).unwrap();
    let database = fep_database::Options::new(&crate::support::url_at(empty.path()));
    let restored = Keeper::restore(&target, empty.path(), &target, &database, |_| {}).await;
    assert!(restored.unwrap_err().to_string().contains("there is no finished backup"));
}

// REQ: FEP-ARC-191
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_names_what_is_no_file_among_the_roots_and_makes_damaged_index_files_again() {
    let (archive, keeper, _) = recorded().await;
    let roots = archive.root().join("roots");
    fs::create_dir_all(&roots).unwrap();
    fs::write(roots.join("2026-11-26.json"), "{}").unwrap();
    fifo(&roots.join("2026-11-27.json"));
    symlink("/dev/zero", roots.join("2026-11-28.json")).unwrap();
    symlink(archive.root(), roots.join("above")).unwrap();
    let segments = archive.catalogue.segments(&Default::default()).await.unwrap();
    let index = segments[0].frames_index.clone().unwrap();
    let file = archive.store.file(&index.key).unwrap();
    let good = fs::read(&file).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let target = Store::open(&StoreConfig::directory(directory.path())).unwrap();
    for damaged in ["flipped", "FIFO", "missing"] {
        fs::remove_file(&file).unwrap();
        match damaged {
            "flipped" => fs::write(&file, good.iter().map(|octet| octet ^ 1).collect::<Vec<_>>()).unwrap(),
            "FIFO" => fifo(&file),
            _ => {}
        }
        let place = directory.path().join("backup.json");
        let report = at_once(damaged, &file, keeper.backup(&target, 1, |_| {})).await.unwrap();
        let missing: Vec<&String> = report.missing.keys().collect();
        assert_eq!(missing.len(), 2, "{damaged}: {missing:?}");
        assert!(missing.iter().all(|name| name.ends_with("27.json") || name.ends_with("28.json")));
        assert_eq!(fs::read(directory.path().join(&index.key)).unwrap(), good, "{damaged}");
        assert_eq!(fs::read(&file).unwrap(), good, "{damaged}: the archive has it again, too");
        assert!(place.is_file());
        // The next one copies everything again.
        fs::remove_dir_all(directory.path()).unwrap();
        fs::create_dir(directory.path()).unwrap();
    }
}

// REQ: FEP-ARC-190
#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_named_as_a_segment_or_its_rest_is_refused_and_the_others_are_taken_in() {
    let (mut archive, keeper, mut recorder) = recorded().await;
    let directory = archive.root().join("black/one.frames");
    let fake = directory.join(format!("{:016x}-{:016x}.seg", 1, 1));
    fifo(&fake);
    let left = directory.join(format!("{:016x}-{:016x}.gone", 1, 2));
    fifo(&left);
    recorder.frames(&frames(400));
    let step = at_once("the intake", &fake, archive.ingest.step()).await.unwrap();
    assert_eq!((step.segments.len(), step.refused.len()), (1, 2), "{step:?}");
    assert!(step.refused.iter().all(|(_, why)| why.contains("no regular file")), "{step:?}");
    // In the place of a segment that is known, the scrub finds it.
    let segment = archive.catalogue.segments(&Default::default()).await.unwrap()[0].facts.id();
    let file = keeper.file(&segment);
    fs::rename(&file, archive.root().join("kept")).unwrap();
    fifo(&file);
    let report = at_once("the scrub", &file, keeper.scrub(&Default::default(), 1, |_| {})).await.unwrap();
    assert_eq!(report.quarantined, [segment]);
}

// REQ: FEP-ARC-190
#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_or_directory_in_the_place_of_an_index_file_holds_up_neither_intake_nor_scrub() {
    let (archive, keeper, _) = recorded().await;
    let segments = archive.catalogue.segments(&Default::default()).await.unwrap();
    let index = segments[0].frames_index.clone().unwrap();
    let file = archive.store.file(&index.key).unwrap();
    let good = fs::read(&file).unwrap();
    for kind in ["FIFO", "directory", "link"] {
        fs::remove_file(&file).unwrap();
        match kind {
            "FIFO" => fifo(&file),
            "directory" => fs::create_dir_all(file.join("full")).unwrap(),
            _ => symlink("/dev/zero", &file).unwrap(),
        }
        let report = at_once(kind, &file, keeper.scrub(&Default::default(), 1, |_| {})).await.unwrap();
        assert_eq!(report.findings.len(), 1, "{kind}: {report:?}");
        assert!(report.findings[0].repaired, "{kind}: {report:?}");
        assert_eq!(fs::read(&file).unwrap(), good, "{kind}");
    }
    // A new start finds that one is missing, and something in its place.
    fs::remove_file(&file).unwrap();
    fifo(&file);
    let config = crate::support::ingest_config(archive.root());
    let opened = fep_catalogue::Ingest::open(config, archive.catalogue.clone(), archive.store.clone());
    let mut ingest = opened.await.unwrap();
    let step = at_once("the intake", &file, ingest.step()).await.unwrap();
    assert_eq!(step.repaired.len(), 1, "{step:?}");
    assert_eq!(fs::read(&file).unwrap(), good);
}
