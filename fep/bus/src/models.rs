//! The two halves of the protocol against each other on bare memory: loom models (every interleaving and every value
//! the memory model allows, within bounds), the same bodies on real threads, and what only a broken writer can do.
//!
//! Loom: `RUSTFLAGS="--cfg loom" cargo test -p fep-bus --release --lib models`; Miri:
//! `cargo +nightly miri test -p fep-bus --lib models`.

use std::sync::Arc;

use fep_time::Tai;

use crate::descriptor::Tag;
use crate::latest;
use crate::layout::{Position, Shape};
use crate::memory::{AtomicU64, HeapMemory};
use crate::reader::{Ledger, Look, Reader};
use crate::writer::Writer;

const START: Position = Position { seq: 1, pos: 0, payload: 0 };

/// `slots` descriptors and a log of `lines` lines in two extents.
fn shape(desc_log2: u32, lines: u64, wait: bool) -> Shape {
    Shape {
        desc_log2,
        data_len: lines * 64,
        extent_len: lines * 32,
        payload_max: 64,
        reserve_stride: 64,
        wait,
        seq0: START.seq,
        pos0: START.pos,
        payload0: START.payload,
    }
    .checked()
    .unwrap()
}

/// Eight octets that follow from the sequence number, twice: once in the tag, once in the payload.
fn mark(seq: u64) -> u64 {
    seq.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn publish(writer: &mut Writer<Arc<HeapMemory>>) {
    let seq = writer.next().seq;
    let tag = Tag { kind: 1, words: [mark(seq), 0], ..Tag::default() };
    assert_eq!(writer.publish(tag, &mark(seq).to_le_bytes()), Ok(seq));
}

/// One look and, when there is a record, one reading. Whatever is believed must be whole and in order.
fn turn(reader: &mut Reader<Arc<HeapMemory>>) {
    let expected = reader.next();
    match reader.look() {
        Look::Record(record) => {
            assert_eq!(record.seq, expected.seq);
            assert_eq!(record.tag.words[0], mark(record.seq), "a descriptor mixed from two records");
            let mut octets = [0; 8];
            if reader.read(&record, |payload| payload.copy_to(&mut octets)).is_some() {
                assert_eq!(u64::from_le_bytes(octets), mark(record.seq), "a payload mixed from two records");
            }
        }
        Look::Gap(gap) => {
            assert_eq!(gap.from_seq, expected.seq);
            assert!(gap.to_seq > gap.from_seq);
            assert_eq!(gap.bytes, 8 * gap.records, "every record has eight octets");
        }
        Look::Empty => {}
    }
    let ledger = reader.ledger();
    assert_eq!(ledger.consumed_records + ledger.lost_records, reader.next().seq - START.seq);
    assert_eq!(ledger.consumed_bytes + ledger.lost_bytes, reader.next().payload - START.payload);
}

fn pair(shape: Shape) -> (Writer<Arc<HeapMemory>>, Reader<Arc<HeapMemory>>) {
    let memory = Arc::new(HeapMemory::new(&shape));
    let writer = Writer::recover(Arc::clone(&memory), shape);
    (writer, Reader::new(memory, shape, START, Ledger::default()))
}

/// One slot of a latest-value page.
fn latest_slots() -> Arc<Vec<AtomicU64>> {
    Arc::new((0..2 * 16).map(|_| AtomicU64::new(0)).collect())
}

/// Stores update `number` of a key: everything in it follows from the number.
fn update(slots: &[AtomicU64], key: u64, number: u64) {
    update_slot(latest::find(slots, 1, key), key, number);
}

fn update_slot(words: &[AtomicU64], key: u64, number: u64) {
    let mut value = [0; 32];
    for octets in value.chunks_exact_mut(8) {
        octets.copy_from_slice(&mark(number).to_le_bytes());
    }
    let len = (number % 5 * 8) as usize;
    assert_eq!(latest::write_slot(words, key, &value[..len], Tai(number.cast_signed())), number);
}

/// Reads a key; whatever is believed is one update as it was written, and not older than `seen`.
fn read_latest(slots: &[AtomicU64], key: u64, seen: u64) -> u64 {
    let found = match latest::read(slots, 1, key) {
        Ok(Some(found)) => found,
        Ok(None) => {
            assert_eq!(seen, 0, "a value that was there has gone");
            return 0;
        }
        Err(busy) => {
            assert_eq!(busy.key, key);
            return seen;
        }
    };
    assert_eq!(found.received, Tai(found.updates.cast_signed()), "a time and a count of two updates");
    assert_eq!(found.value().len() as u64, found.updates % 5 * 8, "a length of another update");
    for octets in found.value().chunks_exact(8) {
        assert_eq!(octets, mark(found.updates).to_le_bytes(), "a value mixed from two updates");
    }
    assert!(found.updates >= seen, "an older value than before");
    found.updates
}

#[cfg(loom)]
mod under_loom {
    use super::*;

    fn check(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.max_branches = 10_000;
        builder.max_duration = Some(std::time::Duration::from_secs(60));
        builder.check(model);
    }

    // REQ: FEP-BUS-004
    #[test]
    fn a_reader_sees_a_record_whole_or_not_at_all() {
        check(|| {
            let (mut writer, mut reader) = pair(shape(1, 4, false));
            let thread = loom::thread::spawn(move || publish(&mut writer));
            turn(&mut reader);
            turn(&mut reader);
            thread.join().unwrap();
        });
    }

    // REQ: FEP-BUS-004
    #[test]
    fn a_reader_that_is_lapped_while_reading_never_believes_a_mixture() {
        check(|| {
            let (mut writer, mut reader) = pair(shape(1, 4, false));
            publish(&mut writer);
            let thread = loom::thread::spawn(move || {
                publish(&mut writer);
                publish(&mut writer);
            });
            turn(&mut reader);
            turn(&mut reader);
            thread.join().unwrap();
        });
    }

    // REQ: FEP-BUS-004
    #[test]
    fn a_payload_overwritten_while_its_descriptor_still_stands_is_discarded() {
        check(|| {
            // Eight slots but room for two records: the log laps long before the descriptors do.
            let (mut writer, mut reader) = pair(shape(3, 4, false));
            publish(&mut writer);
            let thread = loom::thread::spawn(move || {
                publish(&mut writer);
                publish(&mut writer);
            });
            turn(&mut reader);
            thread.join().unwrap();
            turn(&mut reader);
        });
    }

    // REQ: FEP-BUS-004
    #[test]
    fn two_readers_do_not_disturb_each_other() {
        check(|| {
            let shape = shape(1, 4, false);
            let (mut writer, mut reader) = pair(shape);
            let mut other = Reader::new(Arc::clone(reader.memory()), shape, START, Ledger::default());
            let thread = loom::thread::spawn(move || turn(&mut other));
            publish(&mut writer);
            turn(&mut reader);
            thread.join().unwrap();
        });
    }

    // REQ: FEP-BUS-107
    #[test]
    fn a_latest_value_is_read_whole_while_it_is_replaced_twice() {
        check(|| {
            let slots = latest_slots();
            update(&slots, 9, 1);
            let writing = Arc::clone(&slots);
            let thread = loom::thread::spawn(move || {
                update(&writing, 9, 2);
                update(&writing, 9, 3);
            });
            let seen = read_latest(&slots, 9, 1);
            read_latest(&slots, 9, seen);
            thread.join().unwrap();
            assert_eq!(read_latest(&slots, 9, 3), 3);
        });
    }

    // REQ: FEP-BUS-107
    #[test]
    fn a_first_value_is_seen_with_its_key_or_not_at_all() {
        check(|| {
            let slots = latest_slots();
            let writing = Arc::clone(&slots);
            let thread = loom::thread::spawn(move || update(&writing, 9, 1));
            let seen = read_latest(&slots, 9, 0);
            thread.join().unwrap();
            assert_eq!(read_latest(&slots, 9, seen), 1);
        });
    }
}

#[cfg(not(loom))]
mod on_threads {
    use super::*;
    use crate::layout::{desc, page};
    use crate::memory::{Memory, Ordering};
    use crate::reader::GapCause;

    const ROUNDS: u64 = if cfg!(miri) { 60 } else { 200_000 };

    // REQ: FEP-BUS-004
    #[test]
    fn readers_on_other_threads_balance_to_the_unit() {
        for (desc_log2, lines) in [(1, 4), (3, 4), (2, 64), (6, 16)] {
            let (mut writer, reader) = pair(shape(desc_log2, lines, false));
            let memory = Arc::clone(reader.memory());
            let shape = *reader.shape();
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    let mut reader = Reader::new(Arc::clone(&memory), shape, START, Ledger::default());
                    scope.spawn(move || {
                        while reader.next().seq <= ROUNDS {
                            turn(&mut reader);
                            std::thread::yield_now();
                        }
                        let ledger = reader.ledger();
                        assert_eq!(ledger.consumed_records + ledger.lost_records, ROUNDS);
                        assert_eq!(ledger.consumed_bytes + ledger.lost_bytes, ROUNDS * 8);
                    });
                }
                for _ in 0..ROUNDS {
                    publish(&mut writer);
                }
            });
        }
    }

    // REQ: FEP-BUS-107
    #[test]
    fn latest_values_read_on_other_threads_are_whole_and_never_older() {
        let slots = latest_slots();
        std::thread::scope(|scope| {
            for key in [3, 4] {
                let slots = Arc::clone(&slots);
                scope.spawn(move || {
                    let mut seen = 0;
                    while seen < ROUNDS {
                        seen = read_latest(&slots, key, seen);
                        std::thread::yield_now();
                    }
                });
            }
            for number in 1..=ROUNDS {
                update(&slots, 3, number);
                update(&slots, 4, number);
            }
        });
    }

    // REQ: FEP-BUS-108
    #[test]
    fn a_writer_that_died_between_any_two_stores_leaves_the_value_before() {
        let shared = || (0..16).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        for before in 0..4 {
            let whole = |updates: u64| {
                let words = shared();
                for number in 1..=updates {
                    update_slot(&words, 9, number);
                }
                words.iter().map(|word| word.load(Ordering::Relaxed)).collect::<Vec<_>>()
            };
            let (old, new) = (whole(before), whole(before + 1));
            // The count is stored last; of the words before it any may have been stored.
            for kept in 0..1_u32 << 7 {
                let words = shared();
                let half = 2 + 8 * ((before + 1) % 2) as usize;
                let stored = |word: usize| match word {
                    1 => kept & 1 != 0,
                    word if (half..half + 6).contains(&word) => kept >> (word - half + 1) & 1 != 0,
                    _ => false,
                };
                for (index, word) in words.iter().enumerate() {
                    let value = if stored(index) { new[index] } else { old[index] };
                    word.store(value, Ordering::Relaxed);
                }
                let found = latest::read_slot(&words).unwrap().map_or(0, |latest| latest.updates);
                assert_eq!(found, before);
                if before > 0 {
                    read_latest_of(&words, before);
                }
            }
        }
    }

    /// As [`read_latest`], of one slot alone.
    fn read_latest_of(words: &[AtomicU64], updates: u64) {
        let found = latest::read_slot(words).unwrap().unwrap();
        assert_eq!(found.received, Tai(updates.cast_signed()));
        assert_eq!(found.value(), &mark(updates).to_le_bytes().repeat(4)[..(updates % 5 * 8) as usize]);
    }

    // REQ: FEP-BUS-010
    #[test]
    fn a_writer_that_died_between_any_two_stores_continues_the_sequence() {
        // The words a commit stores, in its order; a death after `kept` of them leaves the rest as they were.
        let shape = shape(2, 64, false);
        for published in 0..12 {
            for kept in 0..=9 {
                let (mut writer, mut reader) = pair(shape);
                for _ in 0..published {
                    publish(&mut writer);
                }
                let next = writer.next();
                let memory = Arc::clone(reader.memory());
                let slot = crate::descriptor::slot(memory.descriptors(), &shape, next.seq);
                let record = crate::descriptor::Record {
                    seq: next.seq,
                    pos: next.pos,
                    len: 8,
                    tag: Tag::default(),
                    payload_before: next.payload,
                };
                let words = record.to_words();
                let mut stores = vec![(0, next.seq - 1)];
                stores.extend((1..8).map(|word| (word, words[word])));
                stores.push((0, next.seq));
                for (word, value) in &stores[..kept] {
                    slot[*word].store(*value, Ordering::Relaxed);
                }
                drop(writer);
                let recovered = Writer::recover(Arc::clone(&memory), shape);
                let expected = if kept == 9 { record.end() } else { next };
                assert_eq!(recovered.next(), expected, "{published} published, died after {kept} stores");
                // What was published before is still there, and nothing half-written is.
                while reader.next().seq < next.seq {
                    turn(&mut reader);
                }
                assert_eq!(matches!(reader.look(), Look::Record(_)), kept == 9);
            }
        }
    }

    // REQ: FEP-BUS-010
    #[test]
    fn a_restart_with_stale_hints_finds_the_head_by_search() {
        let shape = shape(3, 64, false);
        let (mut writer, reader) = pair(shape);
        for _ in 0..50 {
            publish(&mut writer);
        }
        let memory = Arc::clone(reader.memory());
        memory.page()[page::HEAD_SEQ / 8].store(7, Ordering::Relaxed);
        let head = writer.next();
        drop(writer);
        assert_eq!(Writer::recover(memory, shape).next(), head);
    }

    // REQ: FEP-BUS-006
    #[test]
    fn nonsense_in_a_descriptor_costs_one_counted_record() {
        let shape = shape(3, 64, false);
        for (word, value) in [
            (desc::POS / 8, u64::MAX),
            (desc::POS / 8, 63),
            (desc::LEN / 8, u64::from(u32::MAX)),
            (desc::PAYLOAD_BEFORE / 8, 12345),
        ] {
            let (mut writer, mut reader) = pair(shape);
            for _ in 0..4 {
                publish(&mut writer);
            }
            let slot = crate::descriptor::slot(reader.memory().descriptors(), &shape, 2);
            slot[word].store(value, Ordering::Relaxed);
            turn(&mut reader);
            let Look::Gap(gap) = reader.look() else { panic!("record 2 was believed") };
            assert_eq!((gap.from_seq, gap.to_seq, gap.records, gap.cause), (2, 3, 1, GapCause::Corrupt));
            turn(&mut reader);
            turn(&mut reader);
            assert_eq!(reader.ledger().consumed_records, 3);
            assert_eq!(reader.ledger().lost_records, 1);
        }
    }

    // REQ: FEP-BUS-012
    #[test]
    fn a_waiting_writer_stops_at_the_limit_and_goes_on_when_it_moves() {
        let shape = shape(2, 64, true);
        let (mut writer, mut reader) = pair(shape);
        for _ in 0..4 {
            publish(&mut writer);
        }
        let full = writer.publish(Tag::default(), &[0; 8]);
        assert_eq!(full, Err(crate::error::ClaimError::Full));
        turn(&mut reader);
        let limit = &reader.memory().page()[page::LIMIT_SEQ / 8];
        limit.store(reader.next().seq + shape.slots(), Ordering::Release);
        publish(&mut writer);
        assert_eq!(writer.publish(Tag::default(), &[0; 8]), Err(crate::error::ClaimError::Full));
    }
}
