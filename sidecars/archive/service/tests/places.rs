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
    let indexes = Keeper::new(&segments, catalogue.clone(), store.clone(), layouts()).indexes();
    Archive { segments, catalogue, store, tail: ingest.tail(), indexes, fleet: Default::default() }
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

/// Asks until it holds.
async fn until(what: &str, served: &Served, path: &str, holds: impl Fn(&str) -> bool) -> String {
    let started = std::time::Instant::now();
    loop {
        let text = served.get(path).await.text();
        if holds(&text) {
            return text;
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(60), "{what}: {text}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

// REQ: FEP-ARC-195
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_file_is_answered_from_its_segment_named_by_health_counted_and_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::new(&directory.path().join("segments"), "one.frames");
    let recorded = frames(600);
    recorder.frames(&recorded[..300]);
    recorder.frames(&recorded[300..]);
    let served = Served::start(directory, "", 2).await;
    let catalogue = catalogue_at(served.root()).await;
    let store = Store::open(&StoreConfig::directory(&served.root().join("store"))).unwrap();
    let segments = catalogue.segments(&Default::default()).await.unwrap();
    let files: Vec<_> = segments.iter().filter_map(|segment| segment.frames_index.clone()).collect();
    let (path, other) = (store.file(&files[0].key).unwrap(), store.file(&files[1].key).unwrap());
    let good = std::fs::read(&path).unwrap();
    let rows = "/v1/frames?format=csv";
    let answer = served.get(rows).await.body;
    let flipped = |at: usize| {
        let mut octets = good.clone();
        octets[at] ^= 0x10;
        octets
    };
    let mut cases: Vec<(String, Option<Vec<u8>>)> = vec![
        ("cut short".to_owned(), Some(good[..good.len() / 2].to_vec())),
        ("without its end".to_owned(), Some(good[..good.len() - 1].to_vec())),
        ("empty".to_owned(), Some(Vec::new())),
        ("longer".to_owned(), Some([good.as_slice(), b"x"].concat())),
        ("foreign".to_owned(), Some(b"no index at all, but some other file".to_vec())),
        ("another segment's".to_owned(), Some(std::fs::read(&other).unwrap())),
        ("missing".to_owned(), None),
        ("a FIFO".to_owned(), None),
        ("a directory".to_owned(), None),
        ("a link".to_owned(), None),
    ];
    // Octets of every part: what no decoder would notice is noticed as well.
    for at in (0..good.len()).step_by(good.len() / 12) {
        cases.push((format!("octet {at} flipped"), Some(flipped(at))));
    }
    let counted = |text: &str, what: &str| -> u64 {
        let name = format!("fep_archive_index_files_total{{what=\"{what}\"}} ");
        let line =
            text.lines().find_map(|line| line.strip_prefix(&name)).expect("it is counted from the start");
        line.parse().expect("a number")
    };
    let (mut found, mut made) = (0, 0);
    for (case, octets) in &cases {
        std::fs::remove_file(&path).unwrap();
        match (case.as_str(), octets) {
            (_, Some(octets)) => std::fs::write(&path, octets).unwrap(),
            ("a FIFO", None) => fifo(&path),
            ("a directory", None) => std::fs::create_dir(&path).unwrap(),
            ("a link", None) => std::os::unix::fs::symlink(&other, &path).unwrap(),
            _ => {}
        }
        let now = served.get(rows).await;
        assert_eq!((now.status, now.broken), (StatusCode::OK, false), "{case}: {}", now.text());
        assert_eq!(now.body, answer, "{case}");
        let metrics = until(case, &served, "/metrics", |text| {
            counted(text, "found_damaged") > found
                && counted(text, "made_again") > made
                && text.contains("index_files_damaged 0")
        })
        .await;
        (found, made) = (counted(&metrics, "found_damaged"), counted(&metrics, "made_again"));
        assert_eq!(std::fs::read(&path).unwrap(), good, "{case}: made again to the octet");
        until(case, &served, "/health", |text| text.contains(&files[0].key)).await;
        assert_eq!(served.get(rows).await.body, answer, "{case}");
    }
    let metrics = served.get("/metrics").await.text();
    assert_eq!(counted(&metrics, "found_damaged"), found, "a good file is not met as a damaged one");
}

// REQ: FEP-ARC-195
#[tokio::test(flavor = "multi_thread")]
async fn an_index_file_that_cannot_be_made_again_is_named_until_its_segment_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::create_dir_all(root.join("store")).unwrap();
    let store = Store::open(&StoreConfig::directory(&root.join("store"))).unwrap();
    Recorder::new(&root.join("segments"), "one.frames").frames(&frames(100));
    let archive = archive(root, store.clone()).await;
    let segment = archive.catalogue.segments(&Default::default()).await.unwrap().remove(0);
    let index = segment.frames_index.clone().unwrap();
    let path = store.file(&index.key).unwrap();
    let file = root.join(format!("segments/{}.seg", segment.facts.id()));
    std::fs::write(&path, b"").unwrap();
    std::fs::rename(&file, root.join("aside")).unwrap();
    let read = async || {
        let plan = Plan::make(&archive, Retrieval::all(Unit::Frames)).await.unwrap();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || plan.rows(&runtime).next().map(|found| found.is_some()))
            .await
            .unwrap()
    };
    read().await.unwrap_err();
    let damaged = archive.indexes.damaged();
    assert_eq!((damaged.len(), damaged[0].file.clone()), (1, index));
    assert!(damaged[0].not_made.is_some());
    archive.indexes.mend().await.unwrap();
    assert_eq!(archive.indexes.damaged().len(), 1, "it is tried, and named still");
    std::fs::rename(root.join("aside"), &file).unwrap();
    archive.indexes.mend().await.unwrap();
    let started = std::time::Instant::now();
    while !archive.indexes.damaged().is_empty() {
        assert!(started.elapsed() < std::time::Duration::from_secs(60));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(read().await.unwrap());
    assert_eq!(archive.indexes.figures().made, 1);
}
