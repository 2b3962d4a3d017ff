//! The object store against a real S3 server (moto, from PyPI), and through a proxy that makes it busy, slow and broken.

use crate::support::s3::{Fault, Proxy, S3, config};
use crate::support::{MS, Recorder, START, catalogue_at, ingest_config, layouts, tm_frame};
use bytes::Bytes;
use fep_catalogue::{Error, Ingest, Keeper, SegmentFilter, Store, StoreConfig, StoredObject, Tier};

fn octets(len: usize) -> Bytes {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

// REQ: FEP-ARC-057
#[tokio::test]
async fn segments_and_indexes_are_kept_in_a_real_s3_server() {
    let server = S3::start();
    let store = Store::open(&server.config()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let catalogue = catalogue_at(directory.path()).await;
    let mut ingest =
        Ingest::open(ingest_config(directory.path()), catalogue.clone(), store.clone()).await.unwrap();
    let frames: Vec<_> =
        (0..400).map(|count| tm_frame(1, 0, count, START + count as i64 * 10 * MS)).collect();
    Recorder::new(directory.path(), "one.frames").frames(&frames);
    let ids = ingest.step().await.unwrap().segments;
    let keeper = Keeper::new(directory.path(), catalogue.clone(), store.clone(), layouts());
    let good = std::fs::read(keeper.file(&ids[0])).unwrap();
    keeper.store_segment(&ids[0]).await.unwrap();
    keeper.release_file(&ids[0]).await.unwrap();
    let report = keeper.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap();
    assert_eq!((report.segments, report.findings.len()), (1, 0), "{report:?}");

    // Everything else is lost and made again from the server.
    let before = catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let index = before[0].frames_index.clone().unwrap();
    store.delete(&index.key).await.unwrap();
    assert_eq!(store.size(&index.key).await.unwrap(), None);
    let elsewhere = tempfile::tempdir().unwrap();
    let catalogue = catalogue_at(elsewhere.path()).await;
    let mut again =
        Ingest::open(ingest_config(elsewhere.path()), catalogue.clone(), store.clone()).await.unwrap();
    assert_eq!(again.step_objects().await.unwrap().segments, ids);
    assert_eq!(catalogue.segments(&SegmentFilter::default()).await.unwrap(), before);
    assert_eq!(before[0].tier, Tier::Warm);
    let keeper = Keeper::new(elsewhere.path(), catalogue, store.clone(), layouts());
    assert_eq!(std::fs::read(keeper.recall_file(&ids[0]).await.unwrap()).unwrap(), good);

    // A stretch, a listing, and an object of several parts.
    let large = octets(40 << 20);
    let stored = store.put("segments/black/x.frames/large.seg", large.clone()).await.unwrap();
    assert_eq!(store.look_at(&stored.key).await.unwrap(), stored);
    assert_eq!(
        store.get_range(&stored.key, 20_000_000, 20_000_100).await.unwrap(),
        large[20_000_000..20_000_100]
    );
    assert!(store.list("segments").await.unwrap().contains_key(&stored.key));
    assert_eq!(store.list("segments").await.unwrap().len(), 2);
}

async fn survives(fault: Fault, len: usize) {
    let server = S3::start();
    let proxy = Proxy::start(server.address, fault, 3);
    let mut config = config(proxy.address);
    config.request_timeout_s = if matches!(fault, Fault::Slow) { 60 } else { 2 };
    let store = Store::open(&config).unwrap();
    let sent = octets(len);
    let stored = store.put("index/one", sent.clone()).await.unwrap();
    assert_eq!(store.get_if_exists("index/one", 100 << 20).await.unwrap().unwrap(), sent);
    let direct = Store::open(&server.config()).unwrap();
    assert_eq!(direct.look_at("index/one").await.unwrap(), stored);
    assert!(proxy.faults_left() < 3, "no connection was treated badly");
}

// REQ: FEP-ARC-058
#[tokio::test]
async fn a_server_that_says_503_is_asked_again_until_it_has_the_octets() {
    survives(Fault::Busy, 100_000).await;
}

// REQ: FEP-ARC-058
#[tokio::test]
async fn a_server_that_is_silent_is_asked_again_until_it_has_the_octets() {
    survives(Fault::Silent, 100_000).await;
}

// REQ: FEP-ARC-058
#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    survives(Fault::Broken, 100_000).await;
}

// REQ: FEP-ARC-058
#[tokio::test]
async fn a_slow_server_is_waited_for() {
    survives(Fault::Slow, 500_000).await;
}

// REQ: FEP-ARC-058
#[tokio::test]
async fn nothing_counts_as_stored_while_the_server_refuses() {
    let server = S3::start();
    let proxy = Proxy::start(server.address, Fault::Busy, u32::MAX);
    let mut config = config(proxy.address);
    config.retry_timeout_s = 1;
    let store = Store::open(&config).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let catalogue = catalogue_at(directory.path()).await;
    let frames: Vec<_> = (0..50).map(|count| tm_frame(1, 0, count, START)).collect();
    Recorder::new(directory.path(), "one.frames").frames(&frames);
    let direct = Store::open(&server.config()).unwrap();
    let opened = Ingest::open(ingest_config(directory.path()), catalogue.clone(), store.clone()).await;
    assert!(matches!(opened, Err(Error::Store { .. })));
    // The index is in the store, the server becomes busy: the copy of the segment is not believed.
    let mut ingest = Ingest::open(ingest_config(directory.path()), catalogue.clone(), direct).await.unwrap();
    let ids = ingest.step().await.unwrap().segments;
    let keeper = Keeper::new(directory.path(), catalogue.clone(), store, layouts());
    let stored = keeper.store_segment(&ids[0]).await;
    assert!(matches!(stored, Err(Error::Store { .. })), "{stored:?}");
    let segment = catalogue.segment(&ids[0]).await.unwrap().unwrap();
    assert_eq!((segment.tier, segment.object), (Tier::Hot, None));
    assert!(keeper.file(&ids[0]).exists());
    // It is well again: the same call succeeds.
    proxy.is_well();
    keeper.store_segment(&ids[0]).await.unwrap();
    keeper.release_file(&ids[0]).await.unwrap();
    assert_eq!(catalogue.segment(&ids[0]).await.unwrap().unwrap().tier, Tier::Warm);
}

// REQ: FEP-ARC-062
#[tokio::test]
async fn a_large_object_comes_part_by_part_into_a_file_and_into_another_store() {
    const PART_LEN: u64 = 16 << 20;
    let server = S3::start();
    let direct = Store::open(&server.config()).unwrap();
    let sent = octets(40_000_001);
    let stored = direct.put("segments/black/x.frames/large.seg", sent.clone()).await.unwrap();
    let proxy = Proxy::transparent(server.address);
    let source = Store::open(&config(proxy.address)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deep/large.seg");
    source.get_file(&stored, &file).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), sent);
    let target = Store::open(&StoreConfig::directory(directory.path())).unwrap();
    target.put_from(&source, &stored).await.unwrap();
    assert_eq!(target.look_at(&stored.key).await.unwrap(), stored);
    let (answers, ranges) = proxy.asked_for();
    assert_eq!((answers, ranges.len()), (6, 6), "three parts, twice; nothing was asked for whole");
    assert!(ranges.iter().all(|(from, to)| to - from <= PART_LEN), "{ranges:?}");
}

// REQ: FEP-ARC-062
#[tokio::test]
async fn an_object_that_is_not_what_was_stored_gets_neither_into_a_file_nor_into_another_store() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        std::fs::create_dir_all(directory.path().join(name)).unwrap();
        Store::open(&StoreConfig::directory(&directory.path().join(name))).unwrap()
    };
    let (source, target) = (place("source"), place("target"));
    let file = directory.path().join("copy");
    for len in [1000, 40_000_000] {
        let stored = source.put("one", octets(len)).await.unwrap();
        let expected = StoredObject { sha256: [7; 32], ..stored.clone() };
        let short = StoredObject { octets: stored.octets + 1, ..stored };
        for wrong in [expected, short] {
            let copied = target.put_from(&source, &wrong).await;
            assert!(matches!(copied, Err(Error::ObjectDiffers { .. })), "{copied:?}");
            let copied = source.get_file(&wrong, &file).await;
            assert!(matches!(copied, Err(Error::ObjectDiffers { .. })), "{copied:?}");
        }
        assert_eq!((target.size("one").await.unwrap(), file.exists()), (None, false));
        assert!(!directory.path().join("copy.building").exists(), "nothing is left lying about");
    }
}
