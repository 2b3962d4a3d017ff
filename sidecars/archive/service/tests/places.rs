//! Where rows and octets come from: files, their copies in the object store, index files on a server.

mod served;
#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use std::path::Path;

use fep_archive::retrieval::{Archive, Payload, Plan};
use fep_archive_query::{Retrieval, Unit};
use fep_catalogue::{Ingest, Keeper, Store, StoreConfig, StoredObject};
use hyper::StatusCode;
use served::Served;
use support::s3::{Proxy, S3, config};
use support::{MS, Recorder, START, TestFrame, catalogue_at, ingest_config, layouts, tm_frame};
use tokio::runtime::Handle;

fn frames(count: u64) -> Vec<TestFrame> {
    (0..count).map(|count| tm_frame(1, 0, count, START + count as i64 * MS)).collect()
}

fn joined(frames: &[TestFrame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.octets.clone()).collect()
}

/// An archive of the segments below `directory/segments`, all taken in, with its store as given.
async fn archive(directory: &Path, store: Store) -> Archive {
    let segments = directory.join("segments");
    let catalogue = catalogue_at(directory).await;
    let mut ingest = Ingest::open(ingest_config(&segments), catalogue.clone(), store.clone()).await.unwrap();
    ingest.step().await.unwrap();
    Archive { segments, catalogue, store, tail: ingest.tail(), fleet: Default::default() }
}

/// Times of reception that a query of frames yields.
async fn times(archive: &Archive, query: &str) -> Vec<i64> {
    let plan = Plan::make(archive, Retrieval::parse(Unit::Frames, query).unwrap()).await.unwrap();
    let runtime = Handle::current();
    let read = move || {
        let (mut rows, mut found) = (plan.rows(&runtime), Vec::new());
        while let Some(next) = rows.next().unwrap() {
            found.push(next.row.number(plan.columns.rx));
        }
        found
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

// REQ: FEP-ARCS-015
#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_file_on_a_server_only_the_footer_and_what_a_query_needs_is_fetched() {
    let server = S3::start();
    let proxy = Proxy::transparent(server.address);
    let directory = tempfile::tempdir().unwrap();
    // Three row groups.
    let mut recorded = frames(300_000);
    recorded.iter_mut().for_each(|frame| frame.octets.truncate(16));
    Recorder::new(&directory.path().join("segments"), "one.frames").frames(&recorded);
    let direct = archive(directory.path(), Store::open(&server.config()).unwrap()).await;
    let segments = direct.catalogue.segments(&Default::default()).await.unwrap();
    let index_octets = segments[0].frames_index.as_ref().unwrap().octets;
    let archive = Archive { store: Store::open(&config(proxy.address)).unwrap(), ..direct };

    let (from, to) = (START + 299_000 * MS, START + 299_500 * MS);
    let found = times(&archive, &format!("from=tai:{from}&to=tai:{to}")).await;
    assert_eq!(found, (299_000..299_500).map(|count| START + count * MS).collect::<Vec<_>>());
    let (requests, ranges) = proxy.asked_for();
    assert_eq!(requests, ranges.len(), "nothing is asked for whole");
    let fetched: u64 = ranges.iter().map(|(from, to)| to - from).sum();
    assert!(proxy.answered() >= fetched, "the proxy counts what passes");
    assert!(fetched < index_octets / 4, "{fetched} of {index_octets} octets for one row group of three");
    assert!(requests <= 4, "{requests} requests: {ranges:?}");

    // All of it comes as well, and a row group is not fetched twice.
    assert_eq!(times(&archive, "").await.len(), recorded.len());
    let all: u64 = proxy.asked_for().1.iter().map(|(from, to)| to - from).sum();
    assert!(all - fetched < index_octets + index_octets / 4, "{} of {index_octets} octets", all - fetched);
}

/// Copies the only segment of a running service into its store; gives its file and its copy.
async fn copied(served: &Served) -> (std::path::PathBuf, StoredObject) {
    let root = served.root();
    let store = Store::open(&StoreConfig::directory(&root.join("store"))).unwrap();
    let catalogue = catalogue_at(root).await;
    let id = catalogue.segments(&Default::default()).await.unwrap()[0].facts.id();
    let keeper = Keeper::new(&root.join("segments"), catalogue, store, layouts());
    (keeper.file(&id), keeper.store_segment(&id).await.unwrap())
}

// REQ: FEP-ARCS-016
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_whose_file_is_damaged_or_gone_is_served_from_its_copy_and_that_is_said() {
    let recorded = frames(400);
    let directory = tempfile::tempdir().unwrap();
    Recorder::new(&directory.path().join("segments"), "one.frames").frames(&recorded);
    let served = Served::start(directory, "", 1).await;
    let (file, copy) = copied(&served).await;
    let good = std::fs::read(&file).unwrap();
    let frame = &recorded[250].octets;
    let at = good.windows(frame.len()).position(|window| window == frame).unwrap();
    let flipped = |at: usize| {
        let mut octets = good.clone();
        octets[at] ^= 0x10;
        Some(octets)
    };
    let mut told = 0;
    for (case, damaged) in [("an octet", flipped(at)), ("the header", flipped(16)), ("all of it", None)] {
        match damaged {
            Some(octets) => std::fs::write(&file, octets).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let answer = served.get("/v1/frames?format=frames").await;
        assert_eq!((answer.status, answer.broken), (StatusCode::OK, false), "{case}: {}", answer.text());
        assert_eq!(answer.body, joined(&recorded), "{case}");
        let manifest = served.get("/v1/frames/manifest?format=frames").await.json();
        let from_copy = manifest["read_from_copy"].as_object().unwrap();
        assert_eq!(from_copy.len(), 1, "{case}: {manifest}");
        let (id, problem) = from_copy.iter().next().unwrap();
        assert_eq!(format!("segments/{id}.seg"), copy.key, "{case}");
        assert!(problem.as_str().unwrap().starts_with("its file: "), "{case}: {problem}");
        assert_eq!(manifest["quarantined_segments"], serde_json::json!([]), "{case}");
        told += 1;
        let line = format!("fep_archive_retrieved_total{{what=\"segments_from_copy\"}} {told}");
        let metrics = served.get("/metrics").await.text();
        assert!(metrics.contains(&line), "{case}: {metrics}");
        assert!(served.get("/health").await.text().contains("was read from its copy"), "{case}");
    }
    // Without a good copy nothing is served that is not as recorded.
    let store = Store::open(&StoreConfig::directory(&served.root().join("store"))).unwrap();
    std::fs::write(store.file(&copy.key).unwrap(), flipped(at).unwrap()).unwrap();
    let answer = served.get("/v1/frames?format=frames").await;
    assert!(answer.broken || answer.status != StatusCode::OK, "{}", answer.status);
    assert!(joined(&recorded).starts_with(&answer.body) || answer.status != StatusCode::OK);
}

// REQ: FEP-ARCS-016
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_moves_to_the_store_between_plan_and_reading_is_read_there() {
    let recorded = frames(200);
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("store")).unwrap();
    let store = Store::open(&StoreConfig::directory(&directory.path().join("store"))).unwrap();
    Recorder::new(&directory.path().join("segments"), "one.frames").frames(&recorded);
    let archive = archive(directory.path(), store.clone()).await;
    let plan = Plan::make(&archive, Retrieval::all(Unit::Frames)).await.unwrap();
    let id = archive.catalogue.segments(&Default::default()).await.unwrap()[0].facts.id();
    let keeper = Keeper::new(&archive.segments, archive.catalogue.clone(), store, layouts());
    keeper.store_segment(&id).await.unwrap();
    keeper.release_file(&id).await.unwrap();
    assert!(!keeper.file(&id).exists());
    let runtime = Handle::current();
    let read = move || {
        let (mut rows, mut octets, mut found) =
            (plan.rows(&runtime), plan.octets(runtime.clone()), Vec::new());
        while let Some(next) = rows.next().unwrap() {
            let source = &plan.sources[next.source];
            match octets.of(source.colour, &source.ring, &plan.columns, &next.row).unwrap() {
                Payload::Octets(octets, _) => found.extend_from_slice(octets),
                Payload::NotYet => panic!("it is in a sealed segment"),
            }
        }
        assert!(octets.from_copies().is_empty(), "it lies where it should: there is nothing to tell");
        found
    };
    assert_eq!(tokio::task::spawn_blocking(read).await.unwrap(), joined(&recorded));
}
