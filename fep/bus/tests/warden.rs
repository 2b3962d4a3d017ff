//! The warden: who is watched, warned, evicted, ignored; and rings that wait.

use std::fs;

use fep_bus::{
    ClaimError, Consumer, CursorProblem, GapCause, GateState, GateStatus, OnFull, Poll, Producer, Resume,
    RingSpec, Tag, Warden, WardenEvent, WardenSpec,
};
use fep_time::Monotonic;
use tempfile::TempDir;

fn spec(on_full: OnFull) -> RingSpec {
    RingSpec {
        desc_log2: 8,
        data_len: 1 << 20,
        extent_len: 64 << 10,
        payload_max: 1000,
        gates: vec!["recorder".to_owned()],
        on_full,
        ..RingSpec::new("watched", "test.v1")
    }
}

fn publish(producer: &mut Producer, count: u64) {
    for _ in 0..count {
        producer.publish(Tag::default(), &[7; 100]).unwrap();
    }
    producer.housekeep(Monotonic(1));
}

fn scan(warden: &mut Warden, now_ns: i64) -> Vec<WardenEvent> {
    let mut events = Vec::new();
    warden.scan(Monotonic(now_ns), &mut |event| events.push(event));
    events
}

fn status(warden: &Warden, consumer: &str) -> GateStatus {
    warden.status().unwrap().into_iter().find(|status| status.consumer == consumer).unwrap()
}

fn drain(consumer: &mut Consumer) -> Vec<Poll> {
    let mut out = Vec::new();
    let mut gaps = Vec::new();
    loop {
        match consumer.poll(&mut out) {
            Poll::Empty | Poll::Closed => break gaps,
            Poll::Record(_) => {}
            other => gaps.push(other),
        }
    }
}

// REQ: FEP-BUS-015
#[test]
fn a_slow_gate_is_warned_then_evicted_and_counts_the_gap_when_it_comes_back() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec(OnFull::Evict)).unwrap();
    let mut warden = Warden::open(dir.path(), "watched", WardenSpec::default()).unwrap();
    assert_eq!(status(&warden, "recorder").state, GateState::Absent);
    let mut recorder = Consumer::attach(dir.path(), "watched", "recorder", Resume::Oldest).unwrap();
    let name = || "recorder".to_owned();
    assert!(recorder.is_gated());
    assert_eq!(scan(&mut warden, 1), [WardenEvent::Armed { consumer: name() }]);
    publish(&mut producer, 150);
    assert_eq!(scan(&mut warden, 2), []);
    publish(&mut producer, 50);
    assert_eq!(scan(&mut warden, 3), [WardenEvent::Warned { consumer: name(), credit_permille: 218 }]);
    assert_eq!(status(&warden, "recorder").state, GateState::Warned);
    assert_eq!(status(&warden, "recorder").lag_records, 200);
    drain(&mut recorder);
    recorder.store_cursor().unwrap();
    assert_eq!(scan(&mut warden, 4), [WardenEvent::Recovered { consumer: name() }]);
    publish(&mut producer, 300);
    assert_eq!(scan(&mut warden, 5), [WardenEvent::Evicted { consumer: name(), at_seq: 201 }]);
    assert_eq!(scan(&mut warden, 6), [], "once is enough");
    let evicted = status(&warden, "recorder");
    assert_eq!((evicted.state, evicted.evicted_at_seq, evicted.evictions), (GateState::Evicted, 201, 1));
    let gaps = drain(&mut recorder);
    assert!(
        matches!(gaps.as_slice(), [Poll::Gap(gap)] if gap.from_seq == 201 && gap.cause == GapCause::Evicted)
    );
    recorder.store_cursor().unwrap();
    assert_eq!(
        scan(&mut warden, 7),
        [WardenEvent::Armed { consumer: name() }],
        "it asked to be watched again"
    );
    let ledger = status(&warden, "recorder").ledger;
    assert_eq!(ledger.consumed_records + ledger.lost_records, 500);
    assert_eq!(ledger.consumed_bytes + ledger.lost_bytes, 50_000);
    recorder.detach().unwrap();
    scan(&mut warden, 8);
    assert_eq!(status(&warden, "recorder").state, GateState::Detached);
}

// REQ: FEP-BUS-400
#[test]
fn an_eviction_is_over_when_the_consumer_has_caught_up_though_it_lost_nothing() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec(OnFull::Evict)).unwrap();
    let mut warden = Warden::open(dir.path(), "watched", WardenSpec::default()).unwrap();
    let mut recorder = Consumer::attach(dir.path(), "watched", "recorder", Resume::Oldest).unwrap();
    scan(&mut warden, 1);
    publish(&mut producer, 252);
    let name = || "recorder".to_owned();
    assert_eq!(scan(&mut warden, 2), [WardenEvent::Evicted { consumer: name(), at_seq: 1 }]);
    recorder.heartbeat(Monotonic(3)).unwrap();
    assert_eq!(scan(&mut warden, 3), [], "it is still as far behind");
    assert_eq!(drain(&mut recorder), [], "nothing was overwritten");
    recorder.heartbeat(Monotonic(4)).unwrap();
    assert_eq!(scan(&mut warden, 4), [WardenEvent::Armed { consumer: name() }]);
    let over = status(&warden, "recorder");
    assert_eq!((over.state, over.evictions, over.evicted), (GateState::Gated, 1, Some(Monotonic(2))));
    recorder.heartbeat(Monotonic(5)).unwrap();
    assert_eq!(scan(&mut warden, 5), []);
}

// REQ: FEP-BUS-007
#[test]
fn a_cursor_file_cut_short_or_lying_is_ignored_and_reported_once() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec(OnFull::Evict)).unwrap();
    let mut warden = Warden::open(dir.path(), "watched", WardenSpec::default()).unwrap();
    let mut recorder = Consumer::attach(dir.path(), "watched", "recorder", Resume::Oldest).unwrap();
    publish(&mut producer, 100);
    drain(&mut recorder);
    recorder.store_cursor().unwrap();
    scan(&mut warden, 1);
    let cursor = dir.path().join("black/watched/cursors/recorder");
    let good = fs::read(&cursor).unwrap();
    for bad in [Vec::new(), good[..200].to_vec(), vec![0xA5; 512]] {
        fs::write(&cursor, bad).unwrap();
        let ignored = WardenEvent::CursorIgnored {
            consumer: "recorder".to_owned(),
            problem: CursorProblem::Unreadable,
        };
        assert_eq!(scan(&mut warden, 2), [ignored]);
        assert_eq!(scan(&mut warden, 3), []);
        assert_eq!(status(&warden, "recorder").problem, Some(CursorProblem::Unreadable));
        fs::write(&cursor, &good).unwrap();
        assert_eq!(scan(&mut warden, 4), []);
        assert_eq!(status(&warden, "recorder").problem, None);
    }
    // The gate kept its last believable place all the time.
    fs::write(&cursor, b"").unwrap();
    publish(&mut producer, 300);
    assert!(
        scan(&mut warden, 5).contains(&WardenEvent::Evicted { consumer: "recorder".to_owned(), at_seq: 101 })
    );
}

#[test]
fn a_cursor_of_another_ring_file_is_reported_as_such() {
    let dir = TempDir::new().unwrap();
    let other = TempDir::new().unwrap();
    let _producer = Producer::create_or_attach(dir.path(), &spec(OnFull::Evict)).unwrap();
    let _other_producer = Producer::create_or_attach(other.path(), &spec(OnFull::Evict)).unwrap();
    drop(Consumer::attach(other.path(), "watched", "recorder", Resume::Oldest).unwrap());
    fs::copy(
        other.path().join("black/watched/cursors/recorder"),
        dir.path().join("black/watched/cursors/recorder"),
    )
    .unwrap();
    let mut warden = Warden::open(dir.path(), "watched", WardenSpec::default()).unwrap();
    let problem = CursorProblem::OtherInstance;
    assert_eq!(
        scan(&mut warden, 1),
        [WardenEvent::CursorIgnored { consumer: "recorder".to_owned(), problem }]
    );
}

#[test]
fn free_consumers_are_listed_and_the_living_told_from_the_dead() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec(OnFull::Evict)).unwrap();
    let warden = Warden::open(dir.path(), "watched", WardenSpec::default()).unwrap();
    let living = Consumer::attach(dir.path(), "watched", "console", Resume::Oldest).unwrap();
    drop(Consumer::attach(dir.path(), "watched", "gone", Resume::Oldest).unwrap());
    publish(&mut producer, 10);
    let console = status(&warden, "console");
    assert_eq!((console.state, console.alive, console.lag_records), (GateState::Free, true, 10));
    assert_eq!(console.pid, u64::from(std::process::id()));
    assert!(!status(&warden, "gone").alive);
    drop(living);
    assert!(!status(&warden, "console").alive);
}

// REQ: FEP-BUS-012
#[test]
fn a_ring_that_waits_loses_nothing_and_is_not_held_by_the_dead_for_ever() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec(OnFull::Wait)).unwrap();
    let mut warden = Warden::open(dir.path(), "watched", WardenSpec::default()).unwrap();
    let fill = |producer: &mut Producer| {
        let mut count = 0;
        while producer
            .publish(Tag::default(), &[7; 100])
            .map_err(|error| assert_eq!(error, ClaimError::Full))
            .is_ok()
        {
            count += 1;
        }
        producer.housekeep(Monotonic(1));
        count
    };
    // Even before its reader has come, nothing is overwritten.
    assert_eq!(fill(&mut producer), 256);
    scan(&mut warden, 1);
    assert_eq!(fill(&mut producer), 0);
    let mut recorder = Consumer::attach(dir.path(), "watched", "recorder", Resume::Oldest).unwrap();
    let mut published = 256;
    for _ in 0..20 {
        assert!(drain(&mut recorder).is_empty(), "no gap ever");
        recorder.heartbeat(Monotonic(2)).unwrap();
        scan(&mut warden, 2);
        let more = fill(&mut producer);
        assert_eq!(more, 256);
        published += more;
    }
    assert_eq!(recorder.ledger().consumed_records, published - 256);
    // Alive but slow holds for ever, dead only for a time: by the warden's own watch, whatever the heartbeat says.
    let dead_after_ns = WardenSpec::default().dead_after_ns;
    let died = 3 + 10 * dead_after_ns;
    for alive in [3, dead_after_ns + 3, died] {
        scan(&mut warden, alive);
        assert_eq!(fill(&mut producer), 0);
    }
    recorder.heartbeat(Monotonic(i64::MAX)).unwrap();
    drop(recorder);
    assert_eq!(scan(&mut warden, died), []);
    assert_eq!(scan(&mut warden, died + dead_after_ns), []);
    assert_eq!(fill(&mut producer), 0);
    let evicted = scan(&mut warden, died + dead_after_ns + 1);
    assert!(matches!(evicted.as_slice(), [WardenEvent::Evicted { .. }]), "{evicted:?}");
    producer.publish(Tag::default(), &[7; 100]).unwrap();
}

// REQ: FEP-BUS-103
#[test]
fn a_consumer_that_dies_and_comes_back_in_time_is_not_evicted() {
    let dir = TempDir::new().unwrap();
    let _producer = Producer::create_or_attach(dir.path(), &spec(OnFull::Wait)).unwrap();
    let mut warden = Warden::open(dir.path(), "watched", WardenSpec::default()).unwrap();
    let dead_after_ns = WardenSpec::default().dead_after_ns;
    let mut now = 1;
    for _ in 0..5 {
        let recorder = Consumer::attach(dir.path(), "watched", "recorder", Resume::Cursor).unwrap();
        assert_eq!(scan(&mut warden, now), [WardenEvent::Armed { consumer: "recorder".to_owned() }]);
        drop(recorder);
        assert_eq!(scan(&mut warden, now + 1), []);
        now += dead_after_ns;
        assert_eq!(scan(&mut warden, now), [], "dead for one nanosecond less than the limit");
    }
}

// REQ: FEP-BUS-101
#[test]
fn a_cursor_file_deleted_and_made_anew_is_found_again() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec(OnFull::Evict)).unwrap();
    let mut warden = Warden::open(dir.path(), "watched", WardenSpec::default()).unwrap();
    let recorder = Consumer::attach(dir.path(), "watched", "recorder", Resume::Oldest).unwrap();
    scan(&mut warden, 1);
    fs::remove_file(dir.path().join("black/watched/cursors/recorder")).unwrap();
    drop(recorder);
    publish(&mut producer, 100);
    let mut recorder = Consumer::attach(dir.path(), "watched", "recorder", Resume::Oldest).unwrap();
    drain(&mut recorder);
    recorder.store_cursor().unwrap();
    scan(&mut warden, 2);
    assert_eq!(status(&warden, "recorder").lag_records, 0);
    publish(&mut producer, 250);
    assert_eq!(
        scan(&mut warden, 3),
        [WardenEvent::Warned { consumer: "recorder".to_owned(), credit_permille: 23 }],
        "counted from where the new file stands"
    );
}
