//! Rings that nobody writes any more are removed only when nothing in them is unread.

use fep_bus::{Consumer, Poll, Producer, Removal, Resume, RingSpec, Tag, list, remove_if_drained};

fn spec() -> RingSpec {
    RingSpec { prefault: false, ..RingSpec::new("old.frames", "ccsds.frame.v1") }
}

fn read(consumer: &mut Consumer, records: usize) {
    let mut octets = Vec::new();
    for _ in 0..records {
        while !matches!(consumer.poll(&mut octets), Poll::Record(_)) {}
    }
    consumer.store_cursor().unwrap();
}

// REQ: FEP-BUS-300
#[test]
fn a_ring_is_removed_when_nobody_writes_or_follows_it_and_everybody_has_read_it_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let attempt = || remove_if_drained(dir.path(), "old.frames", |name| name == "fepd").unwrap();
    let attach = |name: &str| Consumer::attach(dir.path(), "old.frames", name, Resume::Cursor).unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec()).unwrap();
    for octet in 0..100 {
        producer.publish(Tag::default(), &[octet; 40]).unwrap();
    }
    assert_eq!(attempt(), Removal::Written);
    drop(producer);
    assert_eq!(attempt(), Removal::NeverRead);
    // One of the caller's own is nobody.
    read(&mut attach("fepd"), 100);
    assert_eq!(attempt(), Removal::NeverRead);
    let mut recorder = attach("recorder");
    assert_eq!(attempt(), Removal::Followed { consumer: "recorder".into() });
    read(&mut recorder, 99);
    drop(recorder);
    assert_eq!(attempt(), Removal::Unread { consumer: "recorder".into() });
    read(&mut attach("recorder"), 1);
    // A file that says nothing may be anybody's place.
    let odd = dir.path().join("black/old.frames/cursors/odd");
    std::fs::write(&odd, "nonsense").unwrap();
    assert_eq!(attempt(), Removal::Unread { consumer: "odd".into() });
    std::fs::remove_file(odd).unwrap();
    // Everything kept so far was kept whole.
    let mut late = attach("late");
    read(&mut late, 100);
    drop(late);
    assert_eq!(attempt(), Removal::Removed);
    assert!(list(dir.path()).unwrap().is_empty());
    assert_eq!(std::fs::read_dir(dir.path().join("black")).unwrap().count(), 0, "nothing is left");
    // And the name is free.
    let producer = Producer::create_or_attach(dir.path(), &spec()).unwrap();
    assert_eq!(producer.head().seq, 1);
}
