//! One ring, one process: order, contents, ledgers, resuming, refusing.

use std::fs;

use fep_bus::{
    BusError, ClaimError, Colour, Consumer, GapCause, Ledger, Origin, Poll, Producer, Resume, RingSpec, Tag,
    list,
};
use fep_time::Monotonic;
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

// REQ: FEP-BUS-003
#[test]
fn a_filter_skips_records_without_touching_payloads_and_still_balances() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut consumer = Consumer::attach(dir.path(), "frames", "filter", Resume::Oldest).unwrap();
    let mut out = Vec::new();
    publish(&mut producer, 40);
    let mut read = 0;
    while let Poll::Record(record) = consumer.peek() {
        if record.tag.flags % 4 == 0 {
            assert_eq!(consumer.poll(&mut out), Poll::Record(record));
            assert_eq!(out, payload(record.seq));
            read += 1;
        } else {
            consumer.skip();
        }
    }
    assert_eq!(read, 10);
    // Without a peek before it, a skip is nothing.
    consumer.skip();
    assert_balanced(&producer, 1, consumer.ledger());
    assert_eq!(consumer.ledger().lost_records, 0);
}

#[test]
fn a_payload_visited_in_place_is_what_was_written_in_pieces() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut consumer = Consumer::attach(dir.path(), "frames", "visitor", Resume::Oldest).unwrap();
    for step in [1, 7, 63, 64, 65, 200, 1000] {
        let whole: Vec<u8> = (0..1115_u32).map(|index| (index * 7 + step as u32) as u8).collect();
        let mut claim = producer.claim(whole.len() + 5).unwrap();
        whole.chunks(step).for_each(|piece| claim.write(piece));
        assert_eq!(claim.remaining(), 5);
        let seq = claim.commit(Tag::default());
        let Poll::Record((record, words)) = consumer.visit(|_, payload| payload.words().collect::<Vec<_>>())
        else {
            panic!("record {seq} was not there");
        };
        assert_eq!(record.seq, seq);
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(&octets[..1115], whole, "written in steps of {step}");
        assert!(octets[1115..].iter().all(|octet| *octet == 0), "what was not written is zero");
    }
}

#[test]
fn a_claim_that_is_dropped_leaves_no_trace() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    for _ in 0..500 {
        let mut claim = producer.claim(1000).unwrap();
        claim.write(&[0xEE; 1000]);
        drop(claim);
        publish(&mut producer, 1);
        assert_eq!(drain(&mut consumer), 1);
    }
}

// REQ: FEP-BUS-005
#[test]
fn a_span_is_the_log_verbatim_and_can_be_walked_by_its_headers() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut recorder = Consumer::attach(dir.path(), "frames", "recorder", Resume::Oldest).unwrap();
    let mut log = Vec::new();
    for _ in 0..200 {
        publish(&mut producer, 30);
        while let Poll::Record(span) = recorder.span(8192) {
            assert_eq!(span.begin.pos, log.len() as u64, "spans follow one another");
            let mut piece = vec![0; span.len()];
            recorder.copy_span(&span, &mut piece);
            assert!(recorder.confirm(&span));
            assert_eq!(recorder.position(), span.end);
            log.extend(piece);
        }
    }
    let (mut at, mut seq) = (0, 1);
    while at < log.len() {
        let word = |offset: usize| u64::from_le_bytes(log[at + offset..at + offset + 8].try_into().unwrap());
        assert_eq!((word(0), word(8)), (seq, at as u64));
        let (len, kind) = (word(16) as u32 as usize, (word(16) >> 32) as u16);
        if kind != fep_bus::KIND_PAD {
            assert_eq!(&log[at + 64..at + 64 + len], payload(seq));
            seq += 1;
        }
        at += (64 + len).next_multiple_of(64);
    }
    assert_eq!(seq, producer.head().seq);
    assert_balanced(&producer, 1, recorder.ledger());
}

#[test]
fn a_span_overwritten_before_it_is_confirmed_becomes_a_gap() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut recorder = Consumer::attach(dir.path(), "frames", "recorder", Resume::Oldest).unwrap();
    publish(&mut producer, 20);
    let Poll::Record(span) = recorder.span(1 << 20) else { panic!("nothing there") };
    publish(&mut producer, 1000);
    assert!(!recorder.confirm(&span));
    assert!(matches!(recorder.poll(&mut Vec::new()), Poll::Gap(gap) if gap.from_seq == 1));
    drain(&mut recorder);
    assert_balanced(&producer, 1, recorder.ledger());
}

// REQ: FEP-BUS-009
#[test]
fn a_consumer_resumes_where_its_cursor_stood_with_its_ledger() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut first = Consumer::attach(dir.path(), "frames", "reader", Resume::Cursor).unwrap();
    publish(&mut producer, 30);
    drain(&mut first);
    drop(first);
    publish(&mut producer, 10);
    let mut second = Consumer::attach(dir.path(), "frames", "reader", Resume::Cursor).unwrap();
    assert_eq!(drain(&mut second), 10);
    drop(second);
    publish(&mut producer, 5000);
    let mut third = Consumer::attach(dir.path(), "frames", "reader", Resume::Cursor).unwrap();
    drain(&mut third);
    assert_balanced(&producer, 1, third.ledger());
    assert!(third.ledger().lost_records > 4000);
}

// REQ: FEP-BUS-007
#[test]
fn a_cursor_file_cut_short_or_filled_with_nonsense_starts_the_consumer_anew() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    publish(&mut producer, 10);
    let cursor = dir.path().join("black/frames/cursors/reader");
    let good = {
        drop(Consumer::attach(dir.path(), "frames", "reader", Resume::Cursor).unwrap());
        fs::read(&cursor).unwrap()
    };
    for bad in [Vec::new(), good[..100].to_vec(), vec![0xFF; 512], vec![0; 4096]] {
        fs::write(&cursor, bad).unwrap();
        let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Cursor).unwrap();
        assert_eq!(drain(&mut consumer), 10);
        drop(consumer);
        // And it is a good cursor again.
        let mut again = Consumer::attach(dir.path(), "frames", "reader", Resume::Cursor).unwrap();
        assert_eq!(drain(&mut again), 0);
    }
}

#[test]
fn one_torn_slot_of_a_cursor_costs_one_update_not_the_place() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    let cursor = dir.path().join("black/frames/cursors/reader");
    publish(&mut producer, 10);
    drain(&mut consumer);
    consumer.store_cursor().unwrap();
    let earlier = fs::read(&cursor).unwrap();
    publish(&mut producer, 10);
    drain(&mut consumer);
    consumer.store_cursor().unwrap();
    let later = fs::read(&cursor).unwrap();
    std::mem::forget(consumer);
    // The death fell into the write of the later slot: some of its octets are new, some old.
    let mut torn = earlier.clone();
    let slot = (0x80..0x180).find(|at| earlier[*at] != later[*at]).unwrap() / 0x80 * 0x80;
    torn[slot..slot + 0x20].copy_from_slice(&later[slot..slot + 0x20]);
    let other = dir.path().join("black/frames/cursors/heir");
    fs::write(&other, &torn).unwrap();
    let mut heir = Consumer::attach(dir.path(), "frames", "heir", Resume::Cursor).unwrap();
    assert_eq!(drain(&mut heir), 10, "goes on from the earlier slot");
}

// REQ: FEP-BUS-010
#[test]
fn a_producer_restarts_in_sequence_and_readers_are_told() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    assert_eq!(*producer.origin(), Origin::Created);
    let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    let mut out = Vec::new();
    publish(&mut producer, 10);
    drain(&mut consumer);
    assert_eq!(consumer.poll(&mut out), Poll::Empty);
    drop(producer);
    assert_eq!(consumer.poll(&mut out), Poll::Closed);
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    assert_eq!(*producer.origin(), Origin::Resumed);
    assert_eq!(consumer.poll(&mut out), Poll::Restarted { epoch: 2, first_seq: 11 });
    assert_eq!(consumer.poll(&mut out), Poll::Empty);
    publish(&mut producer, 1);
    assert_eq!(drain(&mut consumer), 1);
    assert_balanced(&producer, 1, consumer.ledger());
}

// REQ: FEP-BUS-011
#[test]
fn only_one_producer_and_one_consumer_of_a_name_live_at_a_time() {
    let dir = TempDir::new().unwrap();
    let producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let second = Producer::create_or_attach(dir.path(), &small("frames"));
    assert!(matches!(second, Err(BusError::Held { pid, .. }) if pid == std::process::id()));
    let consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    let second = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest);
    assert!(matches!(second, Err(BusError::Held { pid, .. }) if pid == std::process::id()));
    drop((producer, consumer));
    Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
}

// REQ: FEP-BUS-013
#[test]
fn a_ring_laid_out_anew_continues_the_numbers_and_the_missed_records_are_a_gap() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    let mut idle = Consumer::attach(dir.path(), "frames", "idle", Resume::Oldest).unwrap();
    publish(&mut producer, 20);
    drain(&mut consumer);
    drop(idle.store_cursor());
    drop(idle);
    drop(producer);
    let larger = RingSpec { desc_log2: 8, ..small("frames") };
    let mut producer = Producer::create_or_attach(dir.path(), &larger).unwrap();
    assert_eq!(*producer.origin(), Origin::LaidOutAnew);
    assert_eq!(producer.head().seq, 21);
    publish(&mut producer, 5);
    consumer.heartbeat(Monotonic(1)).unwrap();
    let mut out = Vec::new();
    while matches!(consumer.poll(&mut out), Poll::Restarted { .. }) {}
    assert_eq!(consumer.poll(&mut out), Poll::Recreated);
    consumer.reattach().unwrap();
    assert_eq!(drain(&mut consumer), 5);
    assert_eq!(consumer.ledger().lost_records, 0);
    assert_balanced(&producer, 1, consumer.ledger());
    let mut idle = Consumer::attach(dir.path(), "frames", "idle", Resume::Cursor).unwrap();
    assert!(matches!(
        idle.poll(&mut out),
        Poll::Gap(gap) if (gap.from_seq, gap.to_seq, gap.cause) == (1, 21, GapCause::Recreated)
    ));
    assert_eq!(drain(&mut idle), 5);
    assert_balanced(&producer, 1, idle.ledger());
}

#[test]
fn a_silent_producer_counts_as_closed_until_it_speaks_again() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    let (second, mut out) = (1_000_000_000, Vec::new());
    producer.housekeep(Monotonic(100 * second));
    consumer.heartbeat(Monotonic(100 * second)).unwrap();
    assert_eq!(consumer.poll(&mut out), Poll::Empty);
    consumer.heartbeat(Monotonic(102 * second)).unwrap();
    assert_eq!(consumer.poll(&mut out), Poll::Closed);
    producer.housekeep(Monotonic(103 * second));
    consumer.heartbeat(Monotonic(103 * second)).unwrap();
    assert_eq!(consumer.poll(&mut out), Poll::Empty);
}

// REQ: FEP-BUS-006
#[test]
fn a_ring_file_that_is_not_whole_is_refused_with_the_reason() {
    let dir = TempDir::new().unwrap();
    let producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let path = producer.path().to_owned();
    drop(producer);
    let good = fs::read(&path).unwrap();
    let attach = || Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).map(|_| ());
    // Every octet of the static page that the layout depends on.
    for at in (0..0x60).chain(0x68..0x80).filter(|at| !(0x18..0x20).contains(at)) {
        let mut bad = good.clone();
        bad[at] ^= 0x80;
        fs::write(&path, &bad).unwrap();
        let harmless = (0x68..0x80).contains(&at) || (0x50..0x54).contains(&at);
        match attach() {
            Ok(()) => assert!(harmless, "octet {at:#x} was not checked"),
            Err(error) => assert!(matches!(error, BusError::Layout { .. }), "octet {at:#x}: {error}"),
        }
    }
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(attach().unwrap_err().to_string().contains("truncated"));
    fs::write(&path, b"FEPRING1").unwrap();
    assert!(attach().is_err());
    fs::write(&path, &good).unwrap();
    attach().unwrap();
    // A producer replaces what it cannot believe, and says so.
    fs::write(&path, &good[..4096]).unwrap();
    let producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    assert!(matches!(producer.origin(), Origin::Replaced { .. }));
}

// REQ: FEP-BUS-008
#[test]
fn red_and_black_rings_lie_apart_with_their_own_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let black = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let red_spec = RingSpec { colour: Colour::Red, mode: 0o600, ..small("frames") };
    let red = Producer::create_or_attach(dir.path(), &red_spec).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(black.path()), 0o640);
    assert_eq!(mode(black.path().parent().unwrap()), 0o750);
    assert_eq!(mode(red.path()), 0o600);
    assert_eq!(mode(red.path().parent().unwrap()), 0o700);
    let attach = |ring| {
        Consumer::attach(dir.path(), ring, "reader", Resume::Oldest).map(|consumer| consumer.instance())
    };
    assert!(matches!(attach("frames"), Err(BusError::Ambiguous { .. })));
    assert_eq!(attach("red/frames").unwrap(), red.instance());
    assert_eq!(attach("black/frames").unwrap(), black.instance());
    assert!(matches!(attach("packets"), Err(BusError::NotFound { .. })));
    assert!(attach("../frames").is_err());
    let rings: Vec<_> = list(dir.path()).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(rings.iter().map(|ring| ring.colour).collect::<Vec<_>>(), [Colour::Black, Colour::Red]);
    assert!(rings.iter().all(|ring| ring.producer_alive && ring.consumers == ["reader"]));
}

// REQ: FEP-BUS-014
#[test]
fn a_specification_that_cannot_work_is_refused_in_words() {
    let dir = TempDir::new().unwrap();
    let base = small("frames");
    for (spec, word) in [
        (RingSpec { name: "../x".into(), ..base.clone() }, "name"),
        (RingSpec { name: String::new(), ..base.clone() }, "name"),
        (RingSpec { desc_log2: 1, ..base.clone() }, "desc_log2"),
        (RingSpec { desc_log2: 29, ..base.clone() }, "desc_log2"),
        (RingSpec { data_len: 100_000, ..base.clone() }, "data_len"),
        (RingSpec { data_len: 16 << 10, ..base.clone() }, "data_len"),
        (RingSpec { extent_len: 5000, ..base.clone() }, "extent_len"),
        (RingSpec { payload_max: 0, ..base.clone() }, "payload_max"),
        (RingSpec { payload_max: 5 << 10, ..base.clone() }, "payload_max"),
        (RingSpec { gates: vec!["a".into(), "a".into()], ..base.clone() }, "twice"),
        (RingSpec { gates: (0..17).map(|gate| format!("g{gate}")).collect(), ..base.clone() }, "gates"),
        (RingSpec { on_full: fep_bus::OnFull::Wait, ..base.clone() }, "gate"),
        (RingSpec { mode: 0o666, ..base.clone() }, "mode"),
        (RingSpec { group: Some("no-such-group".into()), ..base.clone() }, "no-such-group"),
    ] {
        let error = Producer::create_or_attach(dir.path(), &spec).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let mut producer = Producer::create_or_attach(dir.path(), &base).unwrap();
    let too_long = producer.publish(Tag::default(), &vec![0; 5000]);
    assert_eq!(too_long, Err(ClaimError::TooLong { len: 5000, payload_max: 4096 }));
    assert_eq!(producer.head().seq, 1);
}

/// Sets words of a ring file as a killed producer, or one of another boot, would have left them.
fn leave_words(path: &std::path::Path, words: &[(u64, u64)]) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    for (offset, word) in words {
        file.write_all_at(&word.to_le_bytes(), *offset).unwrap();
    }
}

// REQ: FEP-BUS-103
#[test]
fn without_a_sign_of_life_or_with_one_from_the_future_the_lock_says_whether_the_producer_lives() {
    const STATE: u64 = 0x1110;
    const HEARTBEAT: u64 = 0x1180;
    let (second, mut out) = (1_000_000_000_i64, Vec::new());
    for beat in [0, 1000 * second, i64::MAX] {
        let dir = TempDir::new().unwrap();
        let producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
        let path = producer.path().to_owned();
        let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
        leave_words(&path, &[(HEARTBEAT, beat.cast_unsigned())]);
        consumer.heartbeat(Monotonic(5 * second)).unwrap();
        assert_eq!(consumer.poll(&mut out), Poll::Empty, "it holds its lock: {beat}");
        let info = list(dir.path()).unwrap().remove(0).unwrap();
        assert!(info.producer_alive);
        assert_eq!(info.heartbeat_age_ns(Monotonic(5 * second)), None);
        drop(producer);
        leave_words(&path, &[(STATE, 1)]);
        consumer.heartbeat(Monotonic(6 * second)).unwrap();
        assert_eq!(consumer.poll(&mut out), Poll::Closed, "killed: {beat}");
        assert!(!list(dir.path()).unwrap().remove(0).unwrap().producer_alive);
        // The next producer does not inherit the sign of life.
        let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
        assert_eq!(list(dir.path()).unwrap().remove(0).unwrap().heartbeat, None);
        consumer.heartbeat(Monotonic(7 * second)).unwrap();
        assert!(matches!(consumer.poll(&mut out), Poll::Restarted { epoch: 2, .. }));
        assert_eq!(consumer.poll(&mut out), Poll::Empty);
        producer.housekeep(Monotonic(8 * second));
        let info = list(dir.path()).unwrap().remove(0).unwrap();
        assert_eq!(info.heartbeat_age_ns(Monotonic(9 * second)), Some(second));
        consumer.heartbeat(Monotonic(10 * second)).unwrap();
        assert_eq!(consumer.poll(&mut out), Poll::Closed, "stuck: it holds its lock and is silent");
    }
}

// REQ: FEP-BUS-103
#[test]
fn a_producer_killed_before_its_first_sign_of_life_does_not_hide_the_ring_that_came_after() {
    let dir = TempDir::new().unwrap();
    let producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    let old = fs::File::options().write(true).open(producer.path()).unwrap();
    drop(producer);
    std::os::unix::fs::FileExt::write_all_at(&old, &1_u64.to_le_bytes(), 0x1110).unwrap();
    fs::remove_dir_all(dir.path().join("black")).unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &small("frames")).unwrap();
    publish(&mut producer, 3);
    // Some process holds a lock of this name now, but it is that of another ring.
    consumer.heartbeat(Monotonic(1)).unwrap();
    assert_eq!(consumer.poll(&mut Vec::new()), Poll::Recreated);
}
