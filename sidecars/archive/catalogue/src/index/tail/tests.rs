//! Of the open tail.

use super::super::builder::Record;
use super::*;
use crate::PacketLayouts;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use fep_record::{FrameRecord, KIND_FRAME};
use fep_time::LeapSeconds;

const SERIES: u64 = 7;

/// Rows of frames with these sequence numbers, received one a nanosecond.
fn rows(seqs: impl IntoIterator<Item = u64>) -> PackedRows {
    let (flags, words) = FrameRecord::default().to_words();
    let mut rows = PackedRows::default();
    for seq in seqs {
        let rx_tai_ns = seq as i64;
        let record =
            Record { seq, offset: 0, kind: KIND_FRAME, flags, rx_tai_ns, words, payload: &[1, 2, 3] };
        rows.push(&record, &PacketLayouts::default(), &LeapSeconds::builtin());
    }
    rows
}

fn seqs(snapshot: &TailSnapshot) -> Vec<u64> {
    let of = |piece: TailPiece| {
        let batch = piece.batch().expect("it can be read");
        assert_eq!(batch.num_rows(), piece.rows());
        let column = batch.column_by_name("seq").expect("a column").as_primitive::<Int64Type>().clone();
        column.values().iter().map(|seq| *seq as u64).collect::<Vec<_>>()
    };
    snapshot.frames().flat_map(|(_, _, piece)| of(piece)).collect()
}

fn limited(memory_octets: usize, disk_octets: u64, directory: &std::path::Path) -> Tail {
    let directory = Some(directory.to_owned());
    Tail::new(TailLimits { memory_octets, disk_octets, directory })
}

// REQ: FEP-ARC-406
#[test]
fn a_row_of_the_tail_takes_no_more_than_64_octets_however_the_rows_come() {
    for batch in [1, 7, 100, 5000] {
        let tail = Tail::default();
        let mut seq = 1;
        while seq < 20_000 {
            tail.add(Colour::Black, "a.frames", SERIES, &rows(seq..seq + batch));
            seq += batch;
        }
        let octets = tail.memory_octets() as f64 / tail.rows() as f64;
        assert!((48.0..=64.0).contains(&octets), "{octets} octets a row in batches of {batch}");
        tail.forget(Colour::Black, "a.frames", SERIES, seq);
        assert_eq!((tail.rows(), tail.memory_octets()), (0, 0), "all of it is given back");
    }
}

// REQ: FEP-ARC-407
#[test]
fn what_has_no_room_in_memory_waits_on_the_disk_and_is_seen_like_the_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    let limit = 1 << 20;
    let tail = limited(limit, 1 << 30, directory.path());
    // With holes in some places, as of a ring that was lapped.
    let numbers: Vec<u64> = (1..100_000).filter(|seq| seq % 1000 != 500).collect();
    for batch in numbers.chunks(700) {
        tail.add(Colour::Black, "a.frames", SERIES, &rows(batch.iter().copied()));
        assert!(tail.memory_octets() <= limit, "{}", tail.memory_octets());
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 0, "the file has no name");
    assert_eq!((tail.rows(), tail.left_out_rows()), (numbers.len(), 0));
    assert_eq!(seqs(&tail.snapshot()), numbers);
    assert_eq!(tail.earliest_rx_tai_ns(), Some(1));
    for end_seq in [1, 2, 499, 501, 40_321, 99_999, 100_000] {
        let left: Vec<u64> = numbers.iter().copied().filter(|seq| *seq >= end_seq).collect();
        let mut snapshot = tail.snapshot();
        snapshot.drop_before(Colour::Black, "a.frames", SERIES, end_seq);
        assert_eq!(seqs(&snapshot), left, "from {end_seq} on");
        let before: Vec<u64> = tail
            .snapshot()
            .frames()
            .filter_map(|(_, _, piece)| piece.before(end_seq).expect("it can be read"))
            .flat_map(|piece| {
                let last = piece.last_seq().expect("it can be read");
                let batch = piece.batch().expect("it can be read");
                let column =
                    batch.column_by_name("seq").expect("a column").as_primitive::<Int64Type>().clone();
                assert_eq!(column.values().last().map(|seq| *seq as u64), Some(last));
                column.values().iter().map(|seq| *seq as u64).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(before, numbers[..numbers.len() - left.len()], "before {end_seq}");
    }
    // A reader that took a snapshot keeps its rows when they go.
    let kept = tail.snapshot();
    tail.forget(Colour::Black, "a.frames", SERIES, 50_000);
    assert_eq!(seqs(&tail.snapshot()).first(), Some(&50_000));
    assert_eq!(seqs(&kept).len(), numbers.len());
}

// REQ: FEP-ARC-407
#[test]
fn what_has_no_room_anywhere_is_left_out_counted_and_known_until_it_is_catalogued() {
    let directory = tempfile::tempdir().expect("a directory");
    for disk_octets in [0, 4 * CHUNK_OCTETS as u64] {
        let limit = 1 << 20;
        let tail = limited(limit, disk_octets, directory.path());
        for from in (1..200_000).step_by(1000) {
            tail.add(Colour::Black, "a.frames", SERIES, &rows(from..from + 1000));
            assert!(tail.memory_octets() <= limit);
        }
        let held = seqs(&tail.snapshot());
        assert_eq!(held.last(), Some(&200_000), "the newest are there");
        assert_eq!(held.len() as u64 + tail.left_out_rows(), 200_000, "nothing is left out unseen");
        assert!(tail.left_out_rows() > 0);
        assert_eq!(tail.earliest_rx_tai_ns(), Some(1), "what is left out is in no sealed segment either");
        tail.forget(Colour::Black, "a.frames", SERIES, 150_000);
        let still = tail.left_out_rows();
        assert_eq!(still > 0, held[0] > 150_000, "{still}");
        tail.forget(Colour::Black, "a.frames", SERIES, 200_001);
        assert_eq!((tail.rows(), tail.left_out_rows(), tail.earliest_rx_tai_ns()), (0, 0, None));
    }
    // A place that does not exist is no reason to grow.
    let tail = limited(1 << 20, 1 << 30, std::path::Path::new("/nowhere/at/all"));
    tail.add(Colour::Black, "a.frames", SERIES, &rows(1..100_000));
    assert!(tail.memory_octets() <= 1 << 20 && tail.left_out_rows() > 0);
}

// REQ: FEP-ARC-407
#[test]
fn of_several_streams_the_largest_makes_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let tail = limited(1 << 20, 1 << 30, directory.path());
    tail.add(Colour::Black, "small.frames", SERIES, &rows(1..100));
    for from in (1..50_000).step_by(1000) {
        tail.add(Colour::Black, "large.frames", SERIES, &rows(from..from + 1000));
    }
    assert!(tail.memory_octets() <= 1 << 20);
    assert_eq!((tail.rows(), tail.left_out_rows()), (50_099, 0));
    let inner = tail.lock();
    let small = &inner.streams[&(Colour::Black, "small.frames".to_owned())];
    assert!(small.frames.iter().all(Chunk::is_in_memory));
}

/// Octets of memory that this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("the kernel says");
    let pages: usize =
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// What ten minutes of a busy archive cost: 4 million frames in small batches, sealed a half at a time.
#[test]
#[ignore = "a measurement: cargo test --release -p fep-catalogue --lib measured -- --ignored --nocapture"]
fn measured_memory_and_time_of_the_tail() {
    let before = resident();
    let tail = Tail::new(TailLimits { memory_octets: 1 << 30, ..TailLimits::default() });
    let mut largest = 0;
    let started = std::time::Instant::now();
    for seal in 0..8_u64 {
        let from = seal * 500_000 + 1;
        for batch in (from..from + 500_000).step_by(200) {
            tail.add(Colour::Black, "a.frames", SERIES, &rows(batch..batch + 200));
        }
        largest = largest.max(resident());
        let octets = tail.memory_octets() as f64 / tail.rows() as f64;
        println!("{} rows: {octets:.1} octets a row, {} MiB resident", tail.rows(), resident() >> 20);
        tail.forget(Colour::Black, "a.frames", SERIES, from + 250_000);
    }
    let took = started.elapsed();
    tail.forget(Colour::Black, "a.frames", SERIES, u64::MAX);
    println!(
        "4000000 rows in {} ms ({} ns each); resident: {} MiB before, {} MiB at most, {} MiB after",
        took.as_millis(),
        took.as_nanos() / 4_000_000,
        before >> 20,
        largest >> 20,
        resident() >> 20
    );
}
