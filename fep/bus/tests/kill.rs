//! Real processes killed at random moments (SIGKILL). The oracle is the ledger and every octet of every record.
//!
//! 30 rounds each; `FEP_KILL_ROUNDS` asks for more. Not under the usual harness, because this very program is also the
//! process that is killed: `kill producer DIR`, `kill consumer DIR`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fep_bus::{Consumer, Poll, Producer, Resume, RingSpec, Tag};

fn spec() -> RingSpec {
    RingSpec {
        desc_log2: 10,
        data_len: 1 << 20,
        extent_len: 64 << 10,
        payload_max: 2000,
        gates: vec!["victim".to_owned()],
        ..RingSpec::new("killed", "test.v1")
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["producer", dir] => publish_for_ever(Path::new(dir)),
        ["consumer", dir] => consume_for_ever(Path::new(dir)),
        _ => {
            let rounds =
                std::env::var("FEP_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
            a_consumer_killed_at_any_moment_resumes_and_balances(rounds);
            a_producer_killed_at_any_moment_continues_its_sequence(rounds);
            println!("killed {rounds} consumers and {rounds} producers: every ledger balances");
        }
    }
}

fn payload_len(seq: u64) -> usize {
    (seq * 7919 % 2000) as usize
}

fn fill(seq: u64, payload: &mut Vec<u8>) {
    payload.clear();
    payload.extend((0..payload_len(seq)).map(|index| (seq as usize * 31 + index) as u8));
}

fn publish(producer: &mut Producer, payload: &mut Vec<u8>) {
    let seq = producer.head().seq;
    fill(seq, payload);
    let tag = Tag { words: [seq, !seq], ..Tag::default() };
    assert_eq!(producer.publish(tag, payload), Ok(seq));
}

fn publish_for_ever(dir: &Path) {
    let mut producer = Producer::create_or_attach(dir, &spec()).unwrap();
    let mut payload = Vec::new();
    loop {
        publish(&mut producer, &mut payload);
    }
}

/// Reads what is there; dies of an assertion when anything is not as published.
fn consume(consumer: &mut Consumer, found: &mut Vec<u8>, expected: &mut Vec<u8>) -> Poll {
    let poll = consumer.poll(found);
    if let Poll::Record(record) = poll {
        fill(record.seq, expected);
        assert_eq!(record.tag.words, [record.seq, !record.seq]);
        assert_eq!(found, expected, "record {}", record.seq);
    }
    poll
}

fn consume_for_ever(dir: &Path) {
    let mut consumer = Consumer::attach(dir, "killed", "victim", Resume::Cursor).unwrap();
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    loop {
        match consume(&mut consumer, &mut found, &mut expected) {
            Poll::Record(record) if record.seq % 7 != 0 => {}
            _ => consumer.store_cursor().unwrap(),
        }
    }
}

// REQ: FEP-BUS-009
fn a_consumer_killed_at_any_moment_resumes_and_balances(rounds: u32) {
    let dir = tempfile::tempdir().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec()).unwrap();
    drop(Consumer::attach(dir.path(), "killed", "victim", Resume::Oldest).unwrap());
    let (mut moments, mut payload) = (Moments(0x5EED), Vec::new());
    let mut places = vec![1];
    for _ in 0..rounds {
        let mut victim = start("consumer", dir.path());
        let end = Instant::now() + moments.next();
        while Instant::now() < end {
            for _ in 0..20 {
                publish(&mut producer, &mut payload);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        kill(&mut victim);
        // Whatever the kill tore, the place is one that the victim stored, and never behind an earlier one.
        let survivor = Consumer::attach(dir.path(), "killed", "victim", Resume::Cursor).unwrap();
        assert!(survivor.position().seq >= *places.last().unwrap());
        places.push(survivor.position().seq);
    }
    assert!(places.last() > places.first(), "no victim ever got anywhere");
    let mut last = Consumer::attach(dir.path(), "killed", "victim", Resume::Cursor).unwrap();
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    while consume(&mut last, &mut found, &mut expected) != Poll::Empty {}
    assert_balanced(&last, producer.head().seq);
}

// REQ: FEP-BUS-010
fn a_producer_killed_at_any_moment_continues_its_sequence(rounds: u32) {
    let dir = tempfile::tempdir().unwrap();
    drop(Producer::create_or_attach(dir.path(), &spec()).unwrap());
    let mut consumer = Consumer::attach(dir.path(), "killed", "reader", Resume::Oldest).unwrap();
    let (mut moments, mut found, mut expected) = (Moments(0xDEAD), Vec::new(), Vec::new());
    let mut restarts = 0;
    for _ in 0..rounds {
        let mut victim = start("producer", dir.path());
        let end = Instant::now() + moments.next();
        while Instant::now() < end {
            let poll = consume(&mut consumer, &mut found, &mut expected);
            restarts += u32::from(matches!(poll, Poll::Restarted { .. }));
        }
        kill(&mut victim);
        loop {
            match consume(&mut consumer, &mut found, &mut expected) {
                Poll::Restarted { .. } => restarts += 1,
                Poll::Empty | Poll::Closed => break,
                Poll::Record(_) | Poll::Gap(_) => {}
                Poll::Recreated => panic!("the ring was not laid out anew"),
            }
        }
    }
    assert!(consumer.position().seq > u64::from(rounds), "hardly anything was published");
    assert!(restarts > 0, "no restart was ever noticed");
    let producer = Producer::create_or_attach(dir.path(), &spec()).unwrap();
    assert_balanced(&consumer, producer.head().seq);
    assert_eq!(consumer.position().seq, producer.head().seq, "everything committed was read");
}

fn assert_balanced(consumer: &Consumer, head_seq: u64) {
    let ledger = consumer.ledger();
    let octets: u64 = (1..head_seq).map(|seq| payload_len(seq) as u64).sum();
    assert_eq!(ledger.consumed_records + ledger.lost_records, head_seq - 1);
    assert_eq!(ledger.consumed_bytes + ledger.lost_bytes, octets);
}

fn start(role: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap()).arg(role).arg(dir).stdout(Stdio::null()).spawn().unwrap()
}

/// SIGKILL; a victim that had already died of an assertion is a failure.
fn kill(victim: &mut Child) {
    assert_eq!(victim.try_wait().unwrap(), None, "the process ended by itself");
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// Random moments from 1 to 33 ms, the same in every run.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_micros(1000 + self.0 % 32_000)
    }
}
