//! What any queue must do to carry frames, whatever it is made of: the suite is generic, the ring is one backend, a
//! queue behind a mutex the reference. Another backend is dropped in by implementing [`Backend`] and one line of
//! [`conformance!`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use fep_bus::{Consumer, Poll, Producer, Resume, RingSpec, Tag};
use tempfile::TempDir;

/// What a reader got in one call.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Record { seq: u64, payload: Vec<u8> },
    Lost { records: u64, bytes: u64 },
    Nothing,
}

trait Backend {
    type Reader: Reader;
    /// A queue that keeps at least `records` records of up to 200 octets.
    fn with_room_for(records: u64) -> Self;
    /// Numbers records from one; never blocks and never fails.
    fn publish(&mut self, payload: &[u8]) -> u64;
    fn reader_from_start(&self, name: &str) -> Self::Reader;
    fn reader_from_now(&self, name: &str) -> Self::Reader;
}

trait Reader {
    fn take(&mut self) -> Taken;
}

struct Ring {
    dir: TempDir,
    producer: Producer,
}

struct RingReader {
    consumer: Consumer,
    out: Vec<u8>,
}

impl Backend for Ring {
    type Reader = RingReader;

    fn with_room_for(records: u64) -> Ring {
        let dir = TempDir::new().unwrap();
        let spec = RingSpec {
            desc_log2: (records * 2).next_power_of_two().trailing_zeros().max(2),
            data_len: (records * 2 * 320).next_power_of_two().max(8192),
            extent_len: 4096,
            payload_max: 200,
            ..RingSpec::new("conformance", "test.v1")
        };
        let producer = Producer::create_or_attach(dir.path(), &spec).unwrap();
        Ring { dir, producer }
    }

    fn publish(&mut self, payload: &[u8]) -> u64 {
        self.producer.publish(Tag::default(), payload).unwrap()
    }

    fn reader_from_start(&self, name: &str) -> RingReader {
        let consumer = Consumer::attach(self.dir.path(), "conformance", name, Resume::Oldest).unwrap();
        RingReader { consumer, out: Vec::new() }
    }

    fn reader_from_now(&self, name: &str) -> RingReader {
        let consumer = Consumer::attach(self.dir.path(), "conformance", name, Resume::Latest).unwrap();
        RingReader { consumer, out: Vec::new() }
    }
}

impl Reader for RingReader {
    fn take(&mut self) -> Taken {
        match self.consumer.poll(&mut self.out) {
            Poll::Record(record) => Taken::Record { seq: record.seq, payload: self.out.clone() },
            Poll::Gap(gap) => Taken::Lost { records: gap.records, bytes: gap.bytes },
            Poll::Empty | Poll::Closed | Poll::Restarted { .. } | Poll::Recreated => Taken::Nothing,
        }
    }
}

/// The reference: obviously right, shared by a lock.
#[derive(Clone)]
struct Locked(Arc<Mutex<LockedState>>);

struct LockedState {
    room: usize,
    first_seq: u64,
    records: VecDeque<Vec<u8>>,
    dropped_bytes: u64,
}

struct LockedReader {
    queue: Locked,
    next_seq: u64,
    bytes_before: u64,
}

impl Backend for Locked {
    type Reader = LockedReader;

    fn with_room_for(records: u64) -> Locked {
        let room = records as usize;
        Locked(Arc::new(Mutex::new(LockedState {
            room,
            first_seq: 1,
            records: VecDeque::new(),
            dropped_bytes: 0,
        })))
    }

    fn publish(&mut self, payload: &[u8]) -> u64 {
        let mut state = self.0.lock().unwrap();
        state.records.push_back(payload.to_vec());
        if state.records.len() > state.room {
            let dropped = state.records.pop_front().unwrap();
            state.first_seq += 1;
            state.dropped_bytes += dropped.len() as u64;
        }
        state.first_seq + state.records.len() as u64 - 1
    }

    fn reader_from_start(&self, _name: &str) -> LockedReader {
        let state = self.0.lock().unwrap();
        LockedReader { queue: self.clone(), next_seq: state.first_seq, bytes_before: state.dropped_bytes }
    }

    fn reader_from_now(&self, _name: &str) -> LockedReader {
        let state = self.0.lock().unwrap();
        let held: u64 = state.records.iter().map(|record| record.len() as u64).sum();
        LockedReader {
            queue: self.clone(),
            next_seq: state.first_seq + state.records.len() as u64,
            bytes_before: state.dropped_bytes + held,
        }
    }
}

impl Reader for LockedReader {
    fn take(&mut self) -> Taken {
        let state = self.queue.0.lock().unwrap();
        if self.next_seq < state.first_seq {
            let lost = Taken::Lost {
                records: state.first_seq - self.next_seq,
                bytes: state.dropped_bytes - self.bytes_before,
            };
            (self.next_seq, self.bytes_before) = (state.first_seq, state.dropped_bytes);
            return lost;
        }
        let Some(payload) = state.records.get((self.next_seq - state.first_seq) as usize) else {
            return Taken::Nothing;
        };
        self.bytes_before += payload.len() as u64;
        self.next_seq += 1;
        Taken::Record { seq: self.next_seq - 1, payload: payload.clone() }
    }
}

fn payload(seq: u64) -> Vec<u8> {
    (0..seq * 61 % 200).map(|index| (seq * 13 + index) as u8).collect()
}

fn publish<B: Backend>(queue: &mut B, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        assert_eq!(queue.publish(&payload(seq)), seq);
    }
}

/// Takes all there is; checks order and contents; returns records and octets, taken and lost.
fn drain(reader: &mut impl Reader, mut next_seq: u64) -> [u64; 4] {
    let mut sums = [0; 4];
    loop {
        match reader.take() {
            Taken::Record { seq, payload: found } => {
                assert_eq!(seq, next_seq, "out of order");
                assert_eq!(found, payload(seq), "record {seq}");
                next_seq += 1;
                sums[0] += 1;
                sums[1] += found.len() as u64;
            }
            Taken::Lost { records, bytes } => {
                next_seq += records;
                sums[2] += records;
                sums[3] += bytes;
            }
            Taken::Nothing => return sums,
        }
    }
}

fn octets(seqs: std::ops::RangeInclusive<u64>) -> u64 {
    seqs.map(|seq| payload(seq).len() as u64).sum()
}

fn nothing_is_lost_while_there_is_room<B: Backend>() {
    let mut queue = B::with_room_for(100);
    let mut reader = queue.reader_from_start("reader");
    for start in (1..=5000).step_by(100) {
        publish(&mut queue, start..=start + 99);
        assert_eq!(drain(&mut reader, start), [100, octets(start..=start + 99), 0, 0]);
        assert_eq!(reader.take(), Taken::Nothing);
    }
}

fn a_reader_that_stops_never_stops_the_writer_and_counts_what_it_lost<B: Backend>() {
    let mut queue = B::with_room_for(50);
    let mut reader = queue.reader_from_start("reader");
    let mut last = 0;
    for burst in [10, 49, 500, 1, 7000, 51] {
        publish(&mut queue, last + 1..=last + burst);
        let [taken, taken_octets, lost, lost_octets] = drain(&mut reader, last + 1);
        assert_eq!(taken + lost, burst);
        assert_eq!(taken_octets + lost_octets, octets(last + 1..=last + burst));
        assert!(taken > 0, "the newest records are there");
        last += burst;
    }
}

fn readers_are_independent<B: Backend>() {
    let mut queue = B::with_room_for(100);
    let mut quick = queue.reader_from_start("quick");
    let mut slow = queue.reader_from_start("slow");
    publish(&mut queue, 1..=90);
    assert_eq!(drain(&mut quick, 1)[0], 90);
    publish(&mut queue, 91..=100);
    assert_eq!(drain(&mut quick, 91)[0], 10);
    assert_eq!(drain(&mut slow, 1), [100, octets(1..=100), 0, 0]);
}

fn a_late_reader_sees_only_what_comes<B: Backend>() {
    let mut queue = B::with_room_for(100);
    publish(&mut queue, 1..=70);
    let mut late = queue.reader_from_now("late");
    assert_eq!(late.take(), Taken::Nothing);
    publish(&mut queue, 71..=75);
    assert_eq!(drain(&mut late, 71), [5, octets(71..=75), 0, 0]);
}

fn an_empty_payload_is_a_record<B: Backend>() {
    let mut queue = B::with_room_for(10);
    let mut reader = queue.reader_from_start("reader");
    assert_eq!(queue.publish(&[]), 1);
    assert_eq!(reader.take(), Taken::Record { seq: 1, payload: Vec::new() });
    assert_eq!(reader.take(), Taken::Nothing);
}

macro_rules! conformance {
    ($backend:ident, $module:ident) => {
        mod $module {
            // REQ: FEP-BUS-001
            #[test]
            fn nothing_is_lost_while_there_is_room() {
                super::nothing_is_lost_while_there_is_room::<super::$backend>();
            }
            // REQ: FEP-BUS-002
            #[test]
            fn a_reader_that_stops_never_stops_the_writer_and_counts_what_it_lost() {
                super::a_reader_that_stops_never_stops_the_writer_and_counts_what_it_lost::<super::$backend>(
                );
            }
            #[test]
            fn readers_are_independent() {
                super::readers_are_independent::<super::$backend>();
            }
            #[test]
            fn a_late_reader_sees_only_what_comes() {
                super::a_late_reader_sees_only_what_comes::<super::$backend>();
            }
            #[test]
            fn an_empty_payload_is_a_record() {
                super::an_empty_payload_is_a_record::<super::$backend>();
            }
        }
    };
}

conformance!(Ring, ring);
conformance!(Locked, behind_a_mutex);
