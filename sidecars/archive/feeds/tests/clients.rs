//! Feeds with clients over real sockets, fed by rings that the tests write.

mod support;

use std::io::Read;
use std::net::{TcpListener, UdpSocket};

use fep_feed_wire::control::FromFeed;
use fep_feed_wire::wire::{Message, parse};
use fep_feeds::status::FeedStatus;
use fep_record::{BadReason, FrameFlags, FrameRecord, Session};
use support::*;

// REQ: FEP-FEED-001
#[test]
fn clients_with_different_filters_each_get_what_they_asked_for_once_and_in_order() {
    let mut house = House::new(&["a.frames"]);
    house.frames("a.frames", 0..400, Session::Ops);
    let bad = FrameRecord {
        flags: FrameFlags::UNCORRECTABLE,
        reason: BadReason::Uncorrectable,
        ..FrameRecord::default()
    };
    house.publish("a.frames", bad, &payload(400));
    house.start(FRAMED);
    let address = house.address("f");
    let mut all = Client::named(address, "all", "");
    let mut one = Client::named(address, "one", ",\"filter\":{\"vcs\":[1]}");
    let mut two = Client::named(address, "two", ",\"filter\":{\"vcs\":[2,3],\"spacecraft\":[673]}");
    let mut none = Client::named(address, "none", ",\"filter\":{\"spacecraft\":[1]}");
    assert_eq!(all.numbers(400), (0..400).collect::<Vec<_>>());
    assert_eq!(one.numbers(100), (0..400).filter(|number| number % 4 == 1).collect::<Vec<_>>());
    assert_eq!(two.numbers(200), (0..400).filter(|number| number % 4 >= 2).collect::<Vec<_>>());
    house.frames("a.frames", 401..405, Session::Ops);
    assert_eq!(all.numbers(4), [401, 402, 403, 404]);
    assert_eq!(one.numbers(1), [401]);
    assert!(matches!(all.controls[0], FromFeed::State { live: true, next_seq: 1, .. }), "{:?}", all.controls);
    assert!(matches!(none.next(), Got::Control(_)), "it is told that the feed is alive, and nothing else");
    house.until("all are there", "f", |status| {
        status.clients.iter().all(|client| client.counts.followed == 405)
    });
    for (name, sent) in [("all", 404), ("one", 101), ("two", 202), ("none", 0)] {
        let client = house.client("f", name);
        assert!(is_balanced(&client), "{client:?}");
        assert_eq!(client.counts.sent, sent, "{name}");
        assert_eq!(client.counts.filtered["quality"], 1, "the feed's own filter comes first");
    }
    assert_eq!(house.client("f", "one").counts.filtered["virtual_channel"], 303);
    assert_eq!(house.client("f", "none").counts.filtered["spacecraft"], 404);
}

// REQ: FEP-FEED-002
// REQ: FEP-FEED-003
#[test]
fn a_client_that_comes_again_goes_on_where_it_acknowledged_and_is_told_what_it_may_have_had() {
    let mut house = House::new(&["a.frames"]);
    house.start(FRAMED);
    house.frames("a.frames", 0..100, Session::Ops);
    let address = house.address("f");
    let mut client = Client::named(address, "c", ",\"acknowledge\":true");
    assert_eq!(client.numbers(60), (0..60).collect::<Vec<_>>());
    client.acknowledge(40);
    house.until("the acknowledgement is taken", "f", |status| {
        status.clients[0].sources.first().is_some_and(|source| source.confirmed_seq == 41)
    });
    drop(client);
    house.until("it is gone", "f", |status| status.clients[0].peer.is_none());
    let mut again = Client::named(address, "c", ",\"acknowledge\":true");
    assert_eq!(again.sources[0].next_seq, 41, "from what it did not acknowledge");
    assert_eq!(again.sources[0].sent_before_seq, 101, "all hundred may have been on their way");
    for number in 40..100 {
        let (head, octets) = again.record();
        assert_eq!((head.seq, octets), (number + 1, payload(number)));
        assert_eq!(head.number, number - 39, "numbers begin anew with every connection");
        assert!(head.repeated, "it may have had this one");
    }
    house.frames("a.frames", 100..101, Session::Ops);
    let (head, _) = again.record();
    assert!(!head.repeated, "this one it cannot have had");
    // Another name is another client.
    assert_eq!(Client::named(address, "d", "").numbers(101), (0..101).collect::<Vec<_>>());
}

// REQ: FEP-FEED-003
#[test]
fn cursors_outlive_the_process_and_nothing_is_repeated_that_arrived() {
    let mut house = House::new(&["a.frames"]);
    house.frames("a.frames", 0..50, Session::Ops);
    house.start(FRAMED);
    let mut client = Client::named(house.address("f"), "c", "");
    assert_eq!(client.numbers(50), (0..50).collect::<Vec<_>>());
    house.until("its TCP has them", "f", |status| {
        status.clients[0].sources.first().is_some_and(|source| source.confirmed_seq == 51)
    });
    house.stop();
    house.frames("a.frames", 50..80, Session::Ops);
    house.start(FRAMED);
    let mut again = Client::named(house.address("f"), "c", "");
    assert_eq!((again.sources[0].next_seq, again.sources[0].sent_before_seq), (51, 51));
    let (head, octets) = again.record();
    assert_eq!((octets, head.repeated), (payload(50), false));
    assert_eq!(again.numbers(29), (51..80).collect::<Vec<_>>());
}

// REQ: FEP-FEED-004
#[test]
fn records_of_another_session_reach_no_client_not_even_from_the_same_ring() {
    let mut house = House::new(&["a.frames"]);
    let test_feed = FRAMED.replace("feeds.f", "feeds.t").replace("OPS", "TEST");
    house.start(&format!("{FRAMED}{test_feed}"));
    for number in 0..300 {
        let session = [Session::Ops, Session::Replay, Session::Test][(number % 3) as usize];
        house.frames("a.frames", number..number + 1, session);
    }
    let mut ops = Client::named(house.address("f"), "c", ",\"filter\":{\"quality\":\"any\"}");
    let mut test = Client::named(house.address("t"), "c", "");
    assert_eq!(ops.numbers(100), (0..300).step_by(3).collect::<Vec<_>>());
    assert_eq!(test.numbers(100), (2..300).step_by(3).collect::<Vec<_>>());
    house.until("all are judged", "f", |status| status.clients[0].counts.followed == 300);
    assert_eq!(house.client("f", "c").counts.filtered["session"], 200);
}

// REQ: FEP-FEED-005
#[test]
fn a_client_that_takes_nothing_holds_up_nobody() {
    let mut house = House::new(&["a.frames"]);
    house.start(FRAMED);
    let address = house.address("f");
    let stalled = Client::named(address, "stalled", "");
    let mut quick = Client::named(address, "quick", "");
    // Far more than the ring, the socket and the feed's buffers hold; the quick one takes all of it.
    for batch in 0..100 {
        house.frames("a.frames", batch * 500..(batch + 1) * 500, Session::Ops);
        assert_eq!(quick.numbers(500), (batch * 500..(batch + 1) * 500).collect::<Vec<_>>());
    }
    let quick = house.until("quick is through", "f", |status| {
        status.clients.iter().any(|client| client.name == "quick" && client.counts.sent == 50_000)
    });
    let slow = quick.clients.iter().find(|client| client.name == "stalled").expect("it is connected");
    assert!(slow.peer.is_some() && slow.counts.sent < 50_000, "{slow:?}");
    drop(stalled);
}

// REQ: FEP-FEED-006
#[test]
fn what_neither_ring_nor_archive_has_any_more_is_counted_and_told_in_its_place() {
    let mut house = House::new(&["a.frames"]);
    house.frames("a.frames", 0..10, Session::Ops);
    house.start(FRAMED);
    let mut client = Client::named(house.address("f"), "c", "");
    assert_eq!(client.numbers(10), (0..10).collect::<Vec<_>>());
    house.until("it has them", "f", |status| {
        status.clients[0].sources.first().is_some_and(|source| source.confirmed_seq == 11)
    });
    house.stop();
    // The ring goes round several times while nobody records it.
    house.frames("a.frames", 10..20_000, Session::Ops);
    house.start(FRAMED);
    let mut again = Client::named(house.address("f"), "c", "");
    let (head, octets) = again.record();
    let lost = again.controls.iter().find_map(|said| match said {
        FromFeed::Lost { from_seq, to_seq, .. } => Some((*from_seq, *to_seq)),
        _ => None,
    });
    let (from, to) = lost.expect("it is told");
    assert_eq!((from, to), (11, head.seq), "exactly what is missing, in its place");
    assert_eq!(octets, payload(head.seq - 1));
    let status = house.client("f", "c");
    assert_eq!(status.counts.lost["source"], to - from);
    assert!(is_balanced(&status));
}

#[test]
fn a_newer_connection_of_a_client_takes_over_and_a_wrong_hello_is_refused_with_what_is_right() {
    let mut house = House::new(&["a.frames"]);
    house.frames("a.frames", 0..5, Session::Ops);
    house.start(FRAMED);
    let address = house.address("f");
    let mut old = Client::named(address, "c", ",\"acknowledge\":true");
    assert_eq!(old.numbers(5), [0, 1, 2, 3, 4]);
    let mut new = Client::named(address, "c", ",\"acknowledge\":true");
    assert_eq!(new.numbers(5), [0, 1, 2, 3, 4], "nothing was acknowledged");
    let mut rest = Vec::new();
    old.stream.read_to_end(&mut rest).expect("it is closed");
    for (hello, reason) in [
        ("{}", "no hello"),
        ("{\"say\":\"hello\",\"protocol\":2,\"client\":\"x\"}", "protocol 2"),
        ("{\"say\":\"hello\",\"protocol\":1,\"client\":\"../x\"}", "is no name"),
        ("{\"say\":\"hello\",\"protocol\":1,\"client\":\"x\",\"filter\":{\"vc\":[1]}}", "unknown field `vc`"),
    ] {
        let told = Client::connect(address, hello).err().expect("refused");
        assert!(told.contains(reason), "{hello}: {told}");
    }
    new.acknowledge(99);
    let mut rest = Vec::new();
    new.stream.read_to_end(&mut rest).expect("it is closed");
    let status = house.until("it is closed", "f", |status| {
        status.clients[0].last_end.as_deref().is_some_and(|why| why.contains("99"))
    });
    assert_eq!(
        status.clients[0].last_end.as_deref(),
        Some("acknowledgement of record 99, 5 is the last one sent")
    );
}

#[test]
fn raw_frames_go_out_as_a_stream_of_one_length_and_as_datagrams_and_other_lengths_are_counted() {
    let mut house = House::new(&["a.frames"]);
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
    receiver.set_read_timeout(Some(LONG)).expect("a timeout");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let feeds = format!(
        "[feeds.u]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"raw\"\nstart = \"oldest\"\n\
         transport = {{ kind = \"udp\", to = \"{}\", pace_bps = 100_000_000, datagram_max = 100 }}\n\
         [feeds.s]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"raw\"\nframe_len = 100\nstart = \"oldest\"\n\
         transport = {{ kind = \"tcp_client\", address = \"{}\" }}\n",
        receiver.local_addr().expect("bound"),
        listener.local_addr().expect("bound"),
    );
    house.frames("a.frames", 0..20, Session::Ops);
    house.publish("a.frames", frame(20, Session::Ops), &[7; 101]);
    house.frames("a.frames", 21..40, Session::Ops);
    house.start(&feeds);
    let (mut stream, _) = listener.accept().expect("the feed connects");
    stream.set_read_timeout(Some(LONG)).expect("a timeout");
    let mut octets = [0; 100];
    for number in (0..40).filter(|number| *number != 20) {
        let len = receiver.recv(&mut octets).expect("a datagram");
        assert_eq!(&octets[..len], &payload(number)[..]);
        stream.read_exact(&mut octets).expect("a frame");
        assert_eq!(&octets[..], &payload(number)[..]);
    }
    for feed in ["u", "s"] {
        let status = house.until("all are sent", feed, |status| status.clients[0].counts.followed == 40);
        assert_eq!(
            (status.clients[0].counts.sent, status.clients[0].counts.lost["length"]),
            (39, 1),
            "{status:?}"
        );
    }
    // The client goes and comes: it goes on behind what its TCP had.
    house.until("all have arrived", "s", |status| {
        status.clients[0].sources.first().is_some_and(|source| source.confirmed_seq == 41)
    });
    drop(stream);
    house.until("it is gone", "s", |status| status.clients[0].peer.is_none());
    house.frames("a.frames", 40..45, Session::Ops);
    let (mut stream, _) = listener.accept().expect("the feed connects again");
    for number in 40..45 {
        stream.read_exact(&mut octets).expect("a frame");
        assert_eq!(&octets[..], &payload(number)[..]);
    }
}

// REQ: FEP-FEED-007
#[test]
fn two_rings_come_as_one_stream_of_messages_over_udp_too() {
    let mut house = House::new(&["a.frames", "b.frames"]);
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
    receiver.set_read_timeout(Some(LONG)).expect("a timeout");
    house.frames("a.frames", 0..100, Session::Ops);
    house.frames("b.frames", 1000..1100, Session::Ops);
    house.start(&format!(
        "[feeds.u]\nsources = [\"a.frames\", \"b.frames\"]\nsession = \"OPS\"\nform = \"framed\"\nstart = \"oldest\"\n\
         transport = {{ kind = \"udp\", to = \"{}\", pace_bps = 50_000_000 }}\n",
        receiver.local_addr().expect("bound"),
    ));
    let mut datagram = vec![0; 65_536];
    let mut seen = [Vec::new(), Vec::new()];
    let mut last = 0;
    while seen.iter().map(Vec::len).sum::<usize>() < 200 {
        let len = receiver.recv(&mut datagram).expect("a datagram");
        if let Message::Record(head, octets) = parse(&datagram[..len]).expect("a message") {
            assert_eq!(head.number, last + 1, "none is missing");
            last = head.number;
            seen[usize::from(head.source)]
                .push(u64::from_be_bytes(octets[..8].try_into().expect("8 octets")));
        }
    }
    assert_eq!(seen, [(0..100).collect::<Vec<_>>(), (1000..1100).collect::<Vec<_>>()]);
}

// REQ: FEP-FEED-008
#[test]
fn a_feed_is_disabled_and_enabled_over_http_and_goes_on_where_it_was() {
    let mut house = House::new(&["a.frames"]);
    house.frames("a.frames", 0..10, Session::Ops);
    house.start(FRAMED);
    let address = house.address("f");
    let mut client = Client::named(address, "c", "");
    assert_eq!(client.numbers(10), (0..10).collect::<Vec<_>>());
    house.until("it has them", "f", |status| {
        status.clients[0].sources.first().is_some_and(|source| source.confirmed_seq == 11)
    });
    let told: FeedStatus =
        serde_json::from_str(&house.try_request("POST", "/feeds/f/disable").expect("an answer"))
            .expect("a status");
    assert!(!told.enabled);
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).expect("it is closed");
    house.frames("a.frames", 10..20, Session::Ops);
    house.try_request("POST", "/feeds/f/enable").expect("an answer");
    let mut client = Client::named(house.address("f"), "c", "");
    assert_eq!(client.numbers(10), (10..20).collect::<Vec<_>>());
    let unknown = house.try_request("POST", "/feeds/g/enable").expect_err("there is none");
    assert!(unknown.contains("404") && unknown.contains("\"allowed\":\"f\""), "{unknown}");
    let sent = "fep_feeds_records_total{client=\"c\",feed=\"f\",reason=\"\",what=\"sent\"} 20";
    house.until_said("/metrics", sent);
    let health = house.until_said("/health", "\"f\":{\"state\":\"well\"}");
    assert!(health.contains("{\"state\":\"well\",\"program\""), "{health}");
}
