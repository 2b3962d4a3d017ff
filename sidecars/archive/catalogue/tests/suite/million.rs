//! A catalogue of a million segments: what a round costs that finds nothing, and how long it takes to find one pass. Prints and
//! asserts no time.

use std::time::Instant;

use crate::support::{MS, SCID, START, catalogue_at, ingest_config};
use fep_catalogue::{Catalogue, ContactFilter, Ingest, SegmentFilter, Store, StoreConfig};
use rustix::time::{ClockId, clock_gettime};
use sqlx::AssertSqlSafe;

/// Reception of one segment, and from one to the next.
const LONG: i64 = 600_000 * MS;

/// Puts `count` segments of one ring into the catalogue, each with one presence and one run.
async fn fill(catalogue: &Catalogue, count: u64) {
    const AT_ONCE: usize = 200;
    let hash = "0".repeat(64);
    let columns = [
        "segments (id, ring, colour, series, base_pos, first_seq, end_seq, records, lost_records, file_octets, \
         content_sha256, chain, previous_chain, first_rx, last_rx, frames, packets, payload_octets, state, state_reason, tier)",
        "presences (segment_id, part, link, session, scid, by_packets, first_rx, last_rx, units, bad, corrected, idle, octets)",
        "runs (segment_id, ring, colour, series, link, session, tfvn, scid, vcid, expedited, apid, first_seq, last_seq, \
         first_rx, last_rx, first_count, last_count, units, duplicates, modulus, first_flags)",
    ];
    let row = |number: u64, table: usize| {
        let id = format!("black/one.frames/0000000000001234-{number:016x}");
        let (first, last) = (START + number as i64 * LONG, START + number as i64 * LONG + LONG - MS);
        match table {
            0 => format!(
                "('{id}','one.frames','black',4660,{number},{number},{number},1,0,1000,'{hash}','{hash}','{hash}',{first},{last},\
                 1,0,1,'ok','','hot')"
            ),
            1 => format!("('{id}',0,1,0,{SCID},0,{first},{last},60000,0,0,0,1)"),
            _ => format!(
                "('{id}','one.frames','black',4660,1,0,0,{SCID},0,0,-1,{number},{number},{first},{last},0,95,60000,0,256,0)"
            ),
        }
    };
    let mut writing = catalogue.database().begin("filling a catalogue").await.unwrap();
    for numbers in (0..count).collect::<Vec<_>>().chunks(AT_ONCE) {
        for (table, columns) in columns.iter().enumerate() {
            let rows: Vec<String> = numbers.iter().map(|number| row(*number, table)).collect();
            let sql = format!("INSERT INTO {columns} VALUES {}", rows.join(","));
            sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(&mut *writing).await.unwrap();
        }
    }
    writing.commit().await.unwrap();
}

fn cpu_us() -> i64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

async fn measure(count: u64) {
    let directory = tempfile::tempdir().unwrap();
    let catalogue = catalogue_at(directory.path()).await;
    fill(&catalogue, count).await;
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
