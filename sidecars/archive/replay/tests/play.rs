//! Replays that run: steered, over every way out, and never to be taken for live data.

use fep_time::Tai;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use fep_bus::{Colour, Consumer, Poll, Position, Record, Resume, Tag};
use fep_ccsds::Gvcid;
use fep_feed_wire::control::FromFeed;
use fep_feed_wire::filter::{Filter, Filtered};
use fep_feed_wire::wire::{Decoder, MESSAGE_MAX, Message, RecordHead, parse};
use fep_record::{FrameRecord, KIND_FRAME, REPLAY_RING_PREFIX, Session};
use fep_replay::{
    Order, Phase, Played, Policy, Reel, Replay, ReplaySpec, ReplayStatus, SegmentReel, Shelf, Speed,
    StartError,
};
use fep_segments::{Chain, SegmentHeader, SegmentWriter, Stream};

const LONG: Duration = Duration::from_secs(60);
const MS: i64 = 1_000_000;

fn tag(rx_tai_ns: i64, session: Session) -> Tag {
    let gvcid = Gvcid { tfvn: 0, scid: 673, vcid: 1 };
    let (flags, words) = FrameRecord { gvcid, session, link_id: 9, ..FrameRecord::default() }.to_words();
    Tag { kind: KIND_FRAME, flags, received: Tai(rx_tai_ns), published: Tai(rx_tai_ns + 5), words }
}

fn payload(number: u64) -> Vec<u8> {
    (0..100).map(|octet| (number as u8).wrapping_mul(31).wrapping_add(octet)).collect()
}

fn streams() -> Vec<Stream> {
    vec![Stream::new(Colour::Black, "x.frames")]
}

/// `count` frames of live operations, one every `gap_ns`.
fn shelf(count: u64, gap_ns: i64) -> Shelf {
    let record = |number: u64| {
        let rx_tai_ns = 1_000_000 * MS + number as i64 * gap_ns;
        let record = Record {
            seq: number + 1,
            pos: number * 192,
            len: 100,
            tag: tag(rx_tai_ns, Session::Ops),
            payload_before: number * 100,
        };
        (Played { stream: 0, record }, payload(number))
    };
    Shelf::new(streams(), (0..count).map(record).collect())
}

fn spec(target: serde_json::Value, more: serde_json::Value) -> ReplaySpec {
    let mut spec = serde_json::json!({ "name": "test", "target": target });
    let members = more.as_object().expect("an object").clone();
    spec.as_object_mut().expect("an object").extend(members);
    serde_json::from_value(spec).expect("a specification")
}

fn until(what: &str, replay: &Replay, mut reached: impl FnMut(&ReplayStatus) -> bool) -> ReplayStatus {
    let give_up = Instant::now() + LONG;
    loop {
        let status = replay.status();
        if reached(&status) {
            return status;
        }
        assert!(Instant::now() < give_up, "{what} is not reached: {status:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Every record that a stream of messages holds; the welcome must come first and say REPLAY.
fn records(octets: &[u8]) -> Vec<(RecordHead, Vec<u8>)> {
    let mut decoder = Decoder::new(MESSAGE_MAX);
    decoder.push(octets);
    let mut found = Vec::new();
    let mut welcomed = false;
    while let Some(message) = decoder.next_message().expect("messages") {
        match message {
            Message::Control(json) => {
                let said: FromFeed = serde_json::from_slice(json).expect("control");
                assert!(matches!(said, FromFeed::Welcome { session: Session::Replay, .. }), "{said:?}");
                welcomed = true;
            }
            Message::Record(head, payload) => {
                assert!(welcomed, "a record before the welcome");
                found.push((head, payload.to_vec()));
            }
            Message::Acknowledgement(_) => panic!("from a server"),
        }
    }
    found
}

// REQ: FEP-REPLAY-003
#[test]
fn over_tcp_every_record_arrives_once_in_order_and_says_that_it_is_replayed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let policy = Policy { receivers: vec![address], ..Policy::default() };
    let target = serde_json::json!({ "kind": "tcp_client", "address": address });
    let spec = spec(target, serde_json::json!({ "speed": "fastest" }));
    let replay = Replay::start(spec, Box::new(shelf(5000, MS)), &policy).expect("it starts");
    let (mut stream, _) = listener.accept().expect("it connects");
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).expect("it ends");
    let status = replay.wait(LONG);
    assert_eq!((status.phase, status.sent, status.unfit), (Phase::Ended, 5000, 0));
    let found = records(&octets);
    assert_eq!(found.len(), 5000);
    for (number, (head, octets)) in (0_u64..).zip(&found) {
        assert_eq!((head.number, head.seq, head.live), (number + 1, number + 1, false));
        assert_eq!(octets, &payload(number));
        let was =
            FrameRecord::from_words(tag(0, Session::Ops).flags, tag(0, Session::Ops).words).expect("a frame");
        let is = FrameRecord::from_words(head.tag.flags, head.tag.words).expect("a frame");
        assert_eq!(is, FrameRecord { session: Session::Replay, ..was }, "all else as recorded");
    }
}

// REQ: FEP-REPLAY-005
#[test]
fn a_replay_pauses_steps_seeks_changes_speed_and_loops_as_ordered() {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
    receiver.set_read_timeout(Some(LONG)).expect("a timeout");
    let to = receiver.local_addr().expect("bound");
    let policy = Policy { receivers: vec![to], ..Policy::default() };
    let target = serde_json::json!({ "kind": "udp", "to": to, "form": "framed" });
    // A day between records: only orders can move it.
    let day = 86_400_000 * MS;
    let spec = spec(target, serde_json::json!({ "paused": true }));
    let replay = Replay::start(spec, Box::new(shelf(10, day)), &policy).expect("it starts");
    let mut datagram = vec![0; 65_536];
    let mut next = || loop {
        let len = receiver.recv(&mut datagram).expect("a datagram");
        if let Message::Record(head, _) = parse(&datagram[..len]).expect("a message") {
            return head.seq;
        }
    };
    let order = |order| replay.order(order).expect("it runs");
    assert_eq!(until("a pause", &replay, |status| status.phase == Phase::Paused).sent, 0);
    order(Order::Step { records: 3 });
    assert_eq!([next(), next(), next()], [1, 2, 3]);
    let status = until("three steps", &replay, |status| status.sent == 3);
    assert_eq!(status.phase, Phase::Paused, "it holds after its steps");
    // Back, to between two records: the first one after.
    order(Order::Seek { rx_tai_ns: 1_000_000 * MS + day / 2 });
    order(Order::Step { records: 1 });
    assert_eq!(next(), 2);
    order(Order::Loop { looping: true });
    order(Order::Speed { speed: Speed::Fastest });
    order(Order::Resume);
    let mut seen: Vec<u64> = (0..28).map(|_| next()).collect();
    assert_eq!(seen.remove(0), 3);
    let rest: Vec<u64> = (4..=10).chain(1..=10).chain(1..=10).collect();
    assert_eq!(seen, rest, "it begins again at its end");
    order(Order::Pause);
    let held = until("a pause", &replay, |status| status.phase == Phase::Paused);
    assert!(held.laps >= 2);
    order(Order::Stop);
    assert_eq!(replay.wait(LONG).phase, Phase::Stopped);
    assert!(replay.order(Order::Resume).is_err(), "it is over");
}

// REQ: FEP-REPLAY-006
#[test]
fn the_original_timing_is_kept_between_records() {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
    receiver.set_read_timeout(Some(LONG)).expect("a timeout");
    let to = receiver.local_addr().expect("bound");
    let target = serde_json::json!({ "kind": "udp", "to": to, "form": "raw" });
    let spec = spec(target, serde_json::json!({ "speed": 10.0 }));
    let policy = Policy { raw_targets: vec![to], ..Policy::default() };
    let began = Instant::now();
    let replay = Replay::start(spec, Box::new(shelf(6, 400 * MS)), &policy).expect("it starts");
    let mut datagram = [0; 200];
    for number in 0..6 {
        let len = receiver.recv(&mut datagram).expect("a datagram");
        assert_eq!(&datagram[..len], &payload(number)[..]);
        // Not before its time; how much after is the machine's affair.
        assert!(began.elapsed() >= Duration::from_millis(40 * number), "record {number} was early");
    }
    assert_eq!(replay.wait(LONG).phase, Phase::Ended);
}

// REQ: FEP-REPLAY-007
#[test]
fn a_replay_ring_waits_for_its_consumer_and_loses_nothing() {
    let rings = tempfile::tempdir().expect("a directory");
    let policy = Policy { rings: Some(rings.path().to_owned()), ..Policy::default() };
    // More than the ring holds at a time.
    let count = 40_000;
    let spec = spec(
        serde_json::json!({ "kind": "ring", "consumers": ["analyst"] }),
        serde_json::json!({ "speed": "fastest" }),
    );
    let replay = Replay::start(spec, Box::new(shelf(count, MS)), &policy).expect("it starts");
    let full = until("a full ring", &replay, |status| status.sent > 10_000);
    assert!(full.sent < count, "it waits");
    let mut consumer =
        Consumer::attach(rings.path(), "replay.test.frames", "analyst", Resume::Oldest).expect("it is there");
    let mut octets = Vec::new();
    let mut seen = 0;
    let mut idle = 0;
    while seen < count {
        match consumer.poll(&mut octets) {
            Poll::Record(record) => {
                assert_eq!(octets, payload(seen));
                assert_eq!(Session::of_record(record.tag.kind, record.tag.words), Some(Session::Replay));
                seen += 1;
                if seen % 1000 == 0 {
                    consumer.store_cursor().expect("it is stored");
                }
            }
            Poll::Empty | Poll::Closed => {
                idle += 1;
                assert!(idle < 600_000, "{:?}", replay.status());
                consumer.store_cursor().expect("it is stored");
                std::thread::sleep(Duration::from_micros(100));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(consumer.ledger().lost_records, 0);
    consumer.detach().expect("it is stored");
    let status = replay.wait(LONG);
    assert_eq!((status.phase, status.sent), (Phase::Ended, count));
    assert!(!rings.path().join("black/replay.test.frames").exists(), "it is gone when it is over");
}

// REQ: FEP-REPLAY-008
#[test]
fn a_replay_ring_can_be_told_by_its_name_its_schema_and_every_record_and_no_live_ring_can_be_written() {
    let rings = tempfile::tempdir().expect("a directory");
    let policy = Policy { rings: Some(rings.path().to_owned()), ..Policy::default() };
    let live = fep_bus::RingSpec {
        data_len: 8 << 20,
        extent_len: 1 << 20,
        payload_max: 4096,
        ..fep_bus::RingSpec::new("x.frames", "ccsds.frame.v1")
    };
    let producer = fep_bus::Producer::create_or_attach(rings.path(), &live).expect("a live ring");
    let head = producer.head().seq;
    let target = serde_json::json!({ "kind": "ring", "consumers": ["a"] });
    for name in ["../x", "x/../../y", "", ".x", "a-name-of-16-oct"] {
        let mut spec = spec(target.clone(), serde_json::json!({}));
        spec.name = name.to_owned();
        let refused = Replay::start(spec, Box::new(shelf(1, MS)), &policy).err();
        assert!(matches!(refused, Some(StartError::Name { .. })), "{name:?}");
    }
    let replay = Replay::start(spec(target, serde_json::json!({})), Box::new(shelf(3, 0)), &policy)
        .expect("it starts");
    until("the records", &replay, |status| status.sent == 3);
    let infos: Vec<_> = fep_bus::list(rings.path()).expect("rings").into_iter().flatten().collect();
    let info = infos.iter().find(|info| info.name.starts_with(REPLAY_RING_PREFIX)).expect("the replay ring");
    assert_ne!(info.schema, "ccsds.frame.v1", "a consumer that checks the schema refuses the ring");
    let mut consumer = Consumer::attach(rings.path(), &info.name, "a", Resume::Oldest).expect("it is there");
    let mut octets = Vec::new();
    for _ in 0..3 {
        let Poll::Record(record) = consumer.poll(&mut octets) else { panic!("a record") };
        // A feed of live operations, whatever it asks for, filters every one of them.
        let everything = Filter::default();
        assert_eq!(everything.judge(Session::Ops, &record.tag), Err(Filtered::Session));
    }
    assert_eq!(producer.head().seq, head, "the live ring of the same link is untouched");
}

#[test]
fn a_record_that_cannot_be_marked_does_not_leave() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let policy = Policy { receivers: vec![address], ..Policy::default() };
    let target = serde_json::json!({ "kind": "tcp_client", "address": address });
    let mut unknown = tag(5, Session::Ops);
    unknown.kind = 77;
    let record = |seq, tag| Record { seq, pos: 0, len: 1, tag, payload_before: 0 };
    let records_in = vec![
        (Played { stream: 0, record: record(1, unknown) }, vec![1]),
        (Played { stream: 0, record: record(2, tag(6, Session::Test)) }, vec![2]),
    ];
    let reel = Shelf::new(streams(), records_in);
    let spec = spec(target, serde_json::json!({ "speed": "fastest" }));
    let replay = Replay::start(spec, Box::new(reel), &policy).expect("it starts");
    let (mut stream, _) = listener.accept().expect("it connects");
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).expect("it ends");
    let status = replay.wait(LONG);
    assert_eq!((status.sent, status.unfit), (1, 1));
    assert_eq!(records(&octets).iter().map(|(head, _)| head.seq).collect::<Vec<_>>(), [2]);
}

/// Writes one segment of a stream with records at these times.
fn write_segment(
    archive: &std::path::Path,
    stream: &Stream,
    series: u64,
    base: Position,
    times: &[i64],
    seal: bool,
) -> Position {
    let header = SegmentHeader {
        stream: stream.clone(),
        schema: "ccsds.frame.v1".to_owned(),
        id: 77 + base.seq,
        instance: 5,
        series,
        base,
        created_unix_ns: 1,
        previous: None,
    };
    let mut writer = SegmentWriter::create(archive, header).expect("a segment");
    writer.set_block_len(4096);
    for (time, number) in times.iter().zip(base.seq - 1..) {
        writer.record(tag(*time, Session::Ops), &payload(number)).expect("it is written");
    }
    writer.flush().expect("it is written");
    let end = writer.position();
    if seal {
        writer.seal(Chain::default()).expect("it is sealed");
    }
    end
}

fn all(reel: &mut dyn Reel) -> Vec<(u16, u64, i64)> {
    let mut octets = Vec::new();
    let mut found = Vec::new();
    while let Some(played) = reel.next_record(&mut octets).expect("readable") {
        assert_eq!(octets, payload(played.record.seq - 1));
        found.push((played.stream, played.record.seq, played.record.tag.received.0));
    }
    found
}

#[test]
fn a_reel_over_segments_gives_a_span_of_time_of_several_streams_merged_and_winds_anywhere() {
    let archive = tempfile::tempdir().expect("a directory");
    let (a, b) = (Stream::new(Colour::Black, "a.frames"), Stream::new(Colour::Black, "b.frames"));
    let start = Position { seq: 1, pos: 0, payload: 0 };
    let times = |from: i64, count: i64| (from..from + count).map(|number| number * 10).collect::<Vec<_>>();
    let middle = write_segment(archive.path(), &a, 9, start, &times(0, 300), true);
    write_segment(archive.path(), &a, 9, middle, &times(300, 200), false);
    write_segment(
        archive.path(),
        &b,
        9,
        start,
        &(0..500).map(|number| number * 10 + 5).collect::<Vec<_>>(),
        true,
    );
    let open = |streams: &[Stream], from, until| {
        SegmentReel::open(archive.path(), streams.to_vec(), from, until).expect("readable")
    };
    let mut reel = open(std::slice::from_ref(&a), 2000, 4000);
    let expected: Vec<_> = (200..400).map(|number| (0, number + 1, number as i64 * 10)).collect();
    assert_eq!(all(&mut reel), expected, "over the end of one segment into one that still grows");
    reel.wind(3505).expect("readable");
    assert_eq!(all(&mut reel), expected[151..], "the first one after");
    reel.wind(i64::MIN).expect("readable");
    assert_eq!(all(&mut reel), expected, "never before the span");
    let mut merged = open(&[a.clone(), b.clone()], 2990, 3020);
    let order: Vec<_> = all(&mut merged).into_iter().map(|(stream, _, time)| (stream, time)).collect();
    assert_eq!(order, [(0, 2990), (1, 2995), (0, 3000), (1, 3005), (0, 3010), (1, 3015)]);
    let mut odd = open(&[a, b], 0, 100).with(Box::new(|record| record.seq % 2 == 1));
    assert_eq!(all(&mut odd).len(), 10);
    let red = vec![Stream::new(Colour::Black, "a.frames"), Stream::new(Colour::Red, "a.red.frames")];
    assert!(SegmentReel::open(archive.path(), red, 0, 1).is_err(), "red and black are never mixed");
}

// REQ: FEP-ARC-196
#[test]
fn segments_that_cannot_be_opened_or_went_to_the_store_are_passed_and_what_they_held_is_counted() {
    let archive = tempfile::tempdir().expect("a directory");
    let stream = Stream::new(Colour::Black, "a.frames");
    let mut base = Position { seq: 1, pos: 0, payload: 0 };
    let mut begins = Vec::new();
    for part in 0..5_i64 {
        begins.push(base.seq);
        let times: Vec<i64> = (part * 100..(part + 1) * 100).collect();
        base = write_segment(archive.path(), &stream, 9, base, &times, true);
    }
    let entries = fep_segments::list(archive.path(), &stream).expect("listed");
    let open = || {
        SegmentReel::open(archive.path(), vec![stream.clone()], i64::MIN, i64::MAX)
            .expect("the archive is there")
    };
    let (all_of, held) =
        (|part: u64| part * 100 + 1..=(part + 1) * 100, |parts: &[u64]| parts.len() as u64 * 100);
    let play = |reel: &mut SegmentReel, lacking: &[u64]| {
        let found: Vec<u64> = all(reel).into_iter().map(|(_, seq, _)| seq).collect();
        let expected: Vec<u64> = (0..5).filter(|part| !lacking.contains(part)).flat_map(all_of).collect();
        assert_eq!(found, expected, "without {lacking:?}");
        assert_eq!(reel.missing_records(), held(lacking), "without {lacking:?}");
        assert_eq!(reel.unread().count, lacking.len() as u64);
    };
    play(&mut open(), &[]);
    let mut reel = open();
    // A disk that cannot read it: the memory of a process at address 0 gives that error.
    let (third, aside) = (&entries[2].path, archive.path().join("aside"));
    std::fs::rename(third, &aside).expect("renamed");
    std::os::unix::fs::symlink("/proc/self/mem", third).expect("a link");
    play(&mut reel, &[2]);
    assert!(
        reel.unread().first.as_ref().is_some_and(|first| first.contains("os error 5")),
        "{:?}",
        reel.unread()
    );
    // It is gone, into quarantine, say.
    std::fs::remove_file(third).expect("removed");
    reel.wind(i64::MIN).expect("it goes on");
    play(&mut reel, &[2]);
    // It is back.
    std::fs::rename(&aside, third).expect("renamed");
    reel.wind(i64::MIN).expect("it goes on");
    play(&mut reel, &[]);
    // Its octets move to the store while it is played, and are there when another replay begins.
    reel.wind(i64::MIN).expect("it goes on");
    fep_segments::remove_sealed(third).expect("removed");
    std::fs::write(third.with_extension("stored"), "segments/x\n").expect("written");
    play(&mut reel, &[2]);
    play(&mut open(), &[2]);
    // Of what was not asked for nothing is missed.
    let mut other = SegmentReel::open(archive.path(), vec![stream.clone()], 0, 150).expect("readable");
    assert_eq!((all(&mut other).len(), other.missing_records()), (150, 0));
    // What was deleted before is not missed either.
    std::fs::remove_file(third.with_extension("stored")).expect("removed");
    let mut after = open();
    assert_eq!((all(&mut after).len(), after.missing_records()), (400, 0));
    assert_eq!(begins, [1, 101, 201, 301, 401]);
}

// REQ: FEP-ARC-196
#[test]
fn a_replay_over_a_segment_that_cannot_be_read_ends_in_order_and_shows_what_it_lacked() {
    let archive = tempfile::tempdir().expect("a directory");
    let stream = Stream::new(Colour::Black, "a.frames");
    let mut base = Position { seq: 1, pos: 0, payload: 0 };
    for part in 0..3_i64 {
        let times: Vec<i64> = (part * 100..(part + 1) * 100).collect();
        base = write_segment(archive.path(), &stream, 9, base, &times, true);
    }
    let entries = fep_segments::list(archive.path(), &stream).expect("listed");
    let reel = SegmentReel::open(archive.path(), vec![stream], i64::MIN, i64::MAX).expect("readable");
    std::fs::remove_file(&entries[1].path).expect("removed");
    std::os::unix::fs::symlink("/proc/self/mem", &entries[1].path).expect("a link");
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = receiver.local_addr().expect("bound");
    let policy = Policy { receivers: vec![to], ..Policy::default() };
    let target = serde_json::json!({ "kind": "udp", "to": to });
    let spec = spec(target, serde_json::json!({ "speed": "fastest" }));
    let replay = Replay::start(spec, Box::new(reel), &policy).expect("it starts");
    let status = replay.wait(LONG);
    assert_eq!((status.phase, status.sent, status.missing), (Phase::Ended, 200, 100), "{status:?}");
    assert_eq!(status.unread, 1);
    assert!(status.unread_first.is_some_and(|first| first.contains("os error 5")));
}
