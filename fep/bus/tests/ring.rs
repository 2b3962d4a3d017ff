//! One ring, one process: order, contents, ledgers, resuming, refusing.

use std::fs;

use fep_bus::{
    BusError, ClaimError, Colour, Consumer, GapCause, Ledger, Origin, Poll, Producer, Resume, RingSpec, Tag,
    list,
};
use tempfile::TempDir;

fn small(name: &str) -> RingSpec {
    RingSpec {
        desc_log2: 6,
        data_len: 64 << 10,
        extent_len: 16 << 10,
        payload_max: 4 << 10,
        ..RingSpec::new(name, "test.record.v1")
    }
}

/// Payload of record `seq`: its length and every octet follow from the number.
fn payload(seq: u64) -> Vec<u8> {
    let len = (seq * 37 % 1500) as usize;
    (0..len).map(|index| (seq as usize * 31 + index) as u8).collect()
}

fn publish(producer: &mut Producer, count: u64) {
    for _ in 0..count {
        let seq = producer.head().seq;
        let tag = Tag { kind: 1, flags: seq as u16, words: [seq, !seq], ..Tag::default() };
        assert_eq!(producer.publish(tag, &payload(seq)).unwrap(), seq);
    }
}

/// Reads until empty or closed; checks every octet; returns the records read.
fn drain(consumer: &mut Consumer) -> u64 {
    let (mut records, mut out) = (0, Vec::new());
    loop {
        match consumer.poll(&mut out) {
            Poll::Record(record) => {
                assert_eq!(out, payload(record.seq), "record {}", record.seq);
                assert_eq!(record.tag.words, [record.seq, !record.seq]);
                records += 1;
            }
            Poll::Gap(gap) => assert_eq!(gap.records, gap.to_seq - gap.from_seq),
            Poll::Restarted { .. } => {}
            Poll::Empty | Poll::Closed | Poll::Recreated => return records,
        }
    }
}

fn assert_balanced(producer: &Producer, start: u64, ledger: Ledger) {
    let published: u64 = (start..producer.head().seq).count() as u64;
    let octets: u64 = (start..producer.head().seq).map(|seq| payload(seq).len() as u64).sum();
    assert_eq!(ledger.consumed_records + ledger.lost_records, published);
    assert_eq!(ledger.consumed_bytes + ledger.lost_bytes, octets);
}

// REQ: FEP-BUS-001
#[test]
fn records_arrive_once_in_order_and_whole() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    for _ in 0..100 {
        publish(&mut producer, 20);
        assert_eq!(drain(&mut consumer), 20);
    }
    assert_balanced(&producer, 1, consumer.ledger());
    assert_eq!(consumer.ledger().lost_records, 0);
}

// REQ: FEP-BUS-002
#[test]
fn a_lapped_consumer_counts_records_and_octets_exactly() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    for burst in [1, 63, 64, 65, 200, 1000, 5, 64_000, 3] {
        publish(&mut producer, burst);
        drain(&mut consumer);
        assert_balanced(&producer, 1, consumer.ledger());
    }
    assert!(consumer.ledger().lost_records > 60_000);
}
