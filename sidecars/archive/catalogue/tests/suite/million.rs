//! A catalogue of a million segments: what a round costs that finds nothing, and how long it takes to find one pass. Prints and
//! asserts no time.

use std::time::Instant;

use crate::support::{MS, SCID, START, catalogue_at, ingest_config};
use fep_catalogue::{ContactFilter, Ingest, SegmentFilter, Store, StoreConfig};
use rustix::time::{ClockId, clock_gettime};

/// Reception of one segment, and from one to the next.
const LONG: i64 = 600_000 * MS;

/// Rows of the dump of `count` segments of one ring, each with one presence and one run.
fn rows(count: u64) -> impl Iterator<Item = String> {
    let hash = "0".repeat(64);
    let of = move |number: u64, table: usize| {
        let id = format!("black/one.frames/0000000000001234-{number:016x}");
        let (first, last) = (START + number as i64 * LONG, START + number as i64 * LONG + LONG - MS);
        match table {
            0 => format!(
                r#"{{"table":"segments","id":"{id}","ring":"one.frames","colour":"black","series":4660,"base_pos":{number},
"first_seq":{number},"end_seq":{number},"records":1,"lost_records":0,"file_octets":1000,"content_sha256":"{hash}",
"chain":"{hash}","previous_chain":"{hash}","first_rx":{first},"last_rx":{last},"frames":1,"packets":0,"payload_octets":1,
"state":"ok","state_reason":"","tier":"hot","object_key":null,"object_octets":null,"object_sha256":null,"frames_key":null,
"frames_octets":null,"frames_sha256":null,"packets_key":null,"packets_octets":null,"packets_sha256":null}}"#
            ),
            1 => format!(
                r#"{{"table":"presences","segment_id":"{id}","part":0,"link":1,"session":0,"scid":{SCID},"by_packets":0,
"first_rx":{first},"last_rx":{last},"units":60000,"bad":0,"corrected":0,"idle":0,"octets":1}}"#
            ),
            _ => format!(
                r#"{{"table":"runs","segment_id":"{id}","ring":"one.frames","colour":"black","series":4660,"link":1,"session":0,
"tfvn":0,"scid":{SCID},"vcid":0,"expedited":0,"apid":-1,"first_seq":{number},"last_seq":{number},"first_rx":{first},
"last_rx":{last},"first_count":0,"last_count":95,"units":60000,"duplicates":0,"modulus":256,"first_flags":0}}"#
            ),
        }
    };
    (0..count)
        .flat_map(move |number| (0..3).map(move |table| (number, table)))
        .map(move |(number, table)| of(number, table))
}

fn cpu_us() -> i64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

async fn measure(count: u64) {
    let directory = tempfile::tempdir().unwrap();
    let catalogue = catalogue_at(directory.path()).await;
    let lines: Vec<String> = rows(count).collect();
    catalogue.load(lines.iter().map(String::as_str)).await.unwrap();
    drop(lines);
    let ring = directory.path().join("black/one.frames");
    std::fs::create_dir_all(&ring).unwrap();
    for number in 0..count {
        std::fs::File::create(ring.join(format!("0000000000001234-{number:016x}.seg"))).unwrap();
    }
    let store = Store::open(&StoreConfig::directory(directory.path())).unwrap();
    let mut ingest = Ingest::open(ingest_config(directory.path()), catalogue.clone(), store).await.unwrap();
    let started = Instant::now();
    assert!(ingest.step().await.unwrap().is_idle(), "the catalogue knows all of them");
    println!("{count} segments: first round {} ms", started.elapsed().as_millis());
    let (rounds, before) = (1000, cpu_us());
    for _ in 0..rounds {
        assert!(ingest.step().await.unwrap().is_idle());
    }
    let each_us = (cpu_us() - before) as f64 / f64::from(rounds);
    println!(
        "{count} segments: idle round {each_us:.1} us of CPU, {:.3} ms a second at ten rounds a second",
        each_us / 100.0
    );

    for at in [0, count / 2, count - 2] {
        let (from, to) = (START + at as i64 * LONG + MS, START + (at as i64 + 1) * LONG + MS);
        let timed = Instant::now();
        let filter = SegmentFilter {
            from_tai_ns: Some(from),
            to_tai_ns: Some(to),
            scid: Some(SCID),
            vcid: Some(0),
            ..SegmentFilter::default()
        };
        let found = catalogue.segments(&filter).await.unwrap();
        assert_eq!(found.len(), 2);
        let segments_us = timed.elapsed().as_micros();
        let timed = Instant::now();
        // The presences of this archive follow on without a silence: a contact of all of it is not asked for.
        let heard = ContactFilter {
            from_tai_ns: Some(from),
            to_tai_ns: Some(to),
            scid: Some(1),
            ..ContactFilter::default()
        };
        assert_eq!(catalogue.contacts(&heard).await.unwrap(), []);
        let contacts_us = timed.elapsed().as_micros();
        println!(
            "{count} segments, pass at {at}: segments in {segments_us} us, contacts in {contacts_us} us"
        );
    }
    catalogue.close().await;
}

// REQ: FEP-ARC-409
#[tokio::test]
async fn a_round_over_known_segments_takes_nothing_in_and_a_pass_is_found_among_them() {
    measure(300).await;
}

#[tokio::test]
#[ignore = "a measurement of minutes: cargo test --release -p fep-catalogue --test suite million -- --ignored --nocapture"]
async fn measured_over_a_million_segments() {
    let count = std::env::var("FEP_SEGMENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    measure(count).await;
}
