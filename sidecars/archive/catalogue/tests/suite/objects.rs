//! The object store against a real S3 server (moto, from PyPI), and through a proxy that makes it busy, slow and broken.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::{MS, Recorder, START, catalogue_at, ingest_config, layouts, tm_frame};
use bytes::Bytes;
use fep_catalogue::{Error, Ingest, Keeper, SegmentFilter, Store, StoreConfig, Tier};

/// The S3 server of the Python package `moto`, on a port of its own.
struct S3 {
    process: Child,
    address: SocketAddr,
}

impl S3 {
    /// Starts it, with a bucket named `archive`.
    fn start() -> S3 {
        let python = std::env::var_os("FEP_TOOLS_PYTHON").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../target/tools/venv/bin/python"),
            PathBuf::from,
        );
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(&python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `make tools` installs moto", python.display()));
        let mut server = S3 { process, address };
        let deadline = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(address).is_err() {
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none(), "moto ended ({ended:?}); `make tools` installs it");
            assert!(Instant::now() < deadline, "moto does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "PUT /archive HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        server
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a proxy does to the next connections.
#[derive(Clone, Copy)]
enum Fault {
    /// Answers 503 itself.
    Busy,
    /// Takes the request and is silent.
    Silent,
    /// Breaks off in the middle of the answer.
    Broken,
    /// Passes on, a kilobyte at a time.
    Slow,
}

/// A proxy before the server that treats the first `faults` connections badly and then passes everything on.
struct Proxy {
    address: SocketAddr,
    left: Arc<AtomicU32>,
}

impl Proxy {
    fn start(server: SocketAddr, fault: Fault, faults: u32) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicU32::new(faults));
        let counter = Arc::clone(&left);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let bad = counter
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok();
                std::thread::spawn(move || serve(client, server, bad.then_some(fault)));
            }
        });
        Proxy { address, left }
    }
}

fn serve(mut client: TcpStream, server: SocketAddr, fault: Option<Fault>) {
    match fault {
        Some(Fault::Busy) => {
            let mut request = [0; 4096];
            let _ = client.read(&mut request);
            let body = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
            let answer = format!(
                "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = client.write_all(answer.as_bytes());
            let _ = client.shutdown(Shutdown::Write);
            // What is still on its way is read, so that the answer is not lost to a reset.
            let _ = std::io::copy(&mut client, &mut std::io::sink());
        }
        Some(Fault::Silent) => {
            let _ = std::io::copy(&mut client, &mut std::io::sink());
        }
        Some(Fault::Broken) => relay(client, server, Some(700), None),
        Some(Fault::Slow) => relay(client, server, None, Some(Duration::from_millis(2))),
        None => relay(client, server, None, None),
    }
}

/// Passes octets both ways; answers end after `limit` octets, or come a kilobyte each `pause`.
fn relay(client: TcpStream, server: SocketAddr, limit: Option<usize>, pause: Option<Duration>) {
    let Ok(upstream) = TcpStream::connect(server) else { return };
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (upstream, client);
    let (mut piece, mut passed) = ([0; 1024], 0);
    while let Ok(read) = from_server.read(&mut piece) {
        let take = limit.map_or(read, |limit| read.min(limit - passed));
        if take == 0 || to_client.write_all(&piece[..take]).is_err() {
            break;
        }
        passed += take;
        if limit == Some(passed) {
            break;
        }
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
    }
    let _ = to_client.shutdown(Shutdown::Both);
}

fn config(address: SocketAddr) -> StoreConfig {
    let mut config = StoreConfig::new("s3://archive/mission");
    for (name, value) in [
        ("aws_endpoint", format!("http://{address}")),
        ("aws_region", "us-east-1".to_owned()),
        ("aws_access_key_id", "test".to_owned()),
        ("aws_secret_access_key", "test".to_owned()),
        ("aws_allow_http", "true".to_owned()),
    ] {
        config.options.insert(name.to_owned(), value);
    }
    config
}

fn octets(len: usize) -> Bytes {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

// REQ: FEP-ARC-057
#[tokio::test]
async fn segments_and_indexes_are_kept_in_a_real_s3_server() {
    let server = S3::start();
    let store = Store::open(&config(server.address)).unwrap();
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
    assert_eq!(store.get("index/one").await.unwrap(), sent);
    let direct = Store::open(&self::config(server.address)).unwrap();
    assert_eq!(direct.look_at("index/one").await.unwrap(), stored);
    assert!(proxy.left.load(Ordering::SeqCst) < 3, "no connection was treated badly");
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
    let direct = Store::open(&self::config(server.address)).unwrap();
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
    proxy.left.store(0, Ordering::SeqCst);
    keeper.store_segment(&ids[0]).await.unwrap();
    keeper.release_file(&ids[0]).await.unwrap();
    assert_eq!(catalogue.segment(&ids[0]).await.unwrap().unwrap().tier, Tier::Warm);
}
